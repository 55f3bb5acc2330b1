#!/usr/bin/env python3
# Copyright (c) 2026 The pyinit authors. SPDX-License-Identifier: MIT
"""Be PID 1 in a container: run one command, pass signals on, reap zombies.

usage: pyinit.py [options] [--] command [arg ...]

  -c, --single-child  make no session and no process group, and signal the
                      command alone, not its group (or DUMB_INIT_SETSID=0)
  -r, --rewrite N:M   send M where N is received, 0 for nothing: 15:3, TERM:QUIT,
                      RTMIN+1:USR1; repeatable, the last one for an N wins
  -e, --expect CODE   exit 0 where the status would be CODE, 0 to 255; repeatable
  --grace SECONDS     how long what outlives the command may take to end; 0 if unset
  -v, --verbose       say on stderr what happens (or DUMB_INIT_DEBUG=1)
  -V, --version       print the version and exit
  -h, --help          print this text and exit

Exit status: the command's own, or 128 + N if signal N ended it; 127 if it was not
found, 126 if it could not be run, 125 if pyinit could not start it, 2 for a wrong
command line. Not being PID 1, pyinit gets no orphans: it cannot be a subreaper.
"""

try:
    import signal

    # All but the C library's own: 32, 33 and, in musl, 34. As numbers, and with the
    # bare function: to make enum members takes a fiftieth of the time to start.
    SIGNALS = (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    sigmask = getattr(signal, "_signal", signal).pthread_sigmask
    # Before all else: a signal that comes while we are not ready has to wait, not to
    # kill us or, as the kernel has it for PID 1, to be dropped.
    BLOCK = SIGNALS if __name__ == "__main__" else ()
    INHERITED_MASK = sigmask(signal.SIG_BLOCK, BLOCK)
except KeyboardInterrupt:  # SIGINT until then, since Python has a handler for it
    raise SystemExit(130) from None

import os

__version__ = "1.0.0"
USAGE = "usage: pyinit.py [options] [--] command [arg ...]"
OPTIONS = ("single-child", "rewrite", "expect", "grace", "verbose", "version", "help")
LETTERS = "cre-vVh"  # of the same, and grace has none
WITH_VALUE = ("rewrite", "expect", "grace")
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
NOT_PASSED_ON = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)
# From a terminal to a whole group, with SI_KERNEL. SIGHUP can be for a leader alone.
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *STOPS)
SI_KERNEL = 128
ENOENT, ENOEXEC, EACCES, ENOTDIR = 2, 8, 13, 20  # errno(3): alike everywhere
EVERYBODY = -1  # kill(2): all but PID 1 and ourselves


def parse(command: "list[str]") -> "dict[str, list[str]]":
    """Take off the options, as getopt_long(3) does; return their values; ValueError."""
    values: dict[str, list[str]] = {name: [] for name in OPTIONS}
    while command and command[0].startswith("-") and command[0] != "-":
        word = command.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            start, joint, value = word[2:].partition("=")
            names = [name for name in OPTIONS if name.startswith(start)]
        else:
            joint = value = word[2:]
            names = [name for name, x in zip(OPTIONS, LETTERS) if x == word[1]]
        if len(names) != 1:
            raise ValueError("unknown or ambiguous option: %s" % word)
        if names[0] in WITH_VALUE:
            if not joint and not command:
                raise ValueError("no value for option: %s" % word)
            value = value if joint else command.pop(0)
        elif joint == "=" or value.startswith("-"):
            raise ValueError("option that takes no value: %s" % word)
        elif value:
            command.insert(0, "-" + value)  # the rest of -vc
        values[names[0]].append(value)
    return values


def rewrite(text: str) -> "tuple[int, int]":
    """Return (N, M) for "N:M"; ValueError if it is anything else."""
    names = {"SIGSTKFLT": 16, **signal.Signals.__members__}  # Python's own since 3.11
    for number in SIGNALS[31:]:
        names["SIGRTMIN+%d" % (number - signal.SIGRTMIN)] = number
        names["SIGRTMAX-%d" % (signal.SIGRTMAX - number)] = number
    numbers = {str(number): number for number in (0, *SIGNALS)}
    for name, number in names.items():
        numbers[name] = numbers[name[len("SIG") :]] = int(number)
    # bytes.upper() leaves other alphabets alone: a long s does not become an S.
    source, _, target = os.fsdecode(os.fsencode(text).upper()).partition(":")
    if numbers.get(source, 0) in (0, *NOT_PASSED_ON) or target not in numbers:
        raise ValueError("--rewrite takes N:M, not %r" % text)
    return numbers[source], numbers[target]


def signal_table(rewrites: "list[str]", single: bool) -> "dict[int, int]":
    """Return what to send for each signal that can be passed on; or ValueError."""
    table = {number: number for number in SIGNALS if number not in NOT_PASSED_ON}
    # The kernel drops STOPS for a group that has a session of its own.
    table.update(dict.fromkeys(() if single else STOPS, signal.SIGSTOP))
    table.update(map(rewrite, rewrites))
    return table


def program_name(path: str) -> str:
    """Return the name of the program at path without .py, "" for -, -c, /dev/fd/63."""
    name = os.path.basename(path).partition(".py")[0]
    return name if name.strip("-c0123456789") else ""


def say(text: str) -> None:
    """Write one line to stderr; where that is impossible the line is lost."""
    name = program_name(os.sys.argv[0]) or "pyinit"  # type: ignore[attr-defined]
    try:
        os.write(2, os.fsencode("[%s] %s\n" % (name, text.replace("\n", "\\n"))))
    except OSError:
        # What that may have raised is blocked, so it waits and would be passed on.
        for number in {signal.SIGPIPE, signal.SIGXFSZ} & signal.sigpending():
            signal.sigwait([number])


def undo_coercion() -> None:
    """Undo what Python does to LC_CTYPE (PEP 538): environ(7) is else as it was."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            before = b"\0" + file.read()
    except OSError:
        # What coercion adds comes last, and the UTF-8 mode with it (PEP 540).
        mode = getattr(os.sys.flags, "utf8_mode", 0)  # type: ignore[attr-defined]
        added = mode and [*os.environ][-1] == "LC_CTYPE"
        before = b"" if added else b"\0LC_CTYPE=" + os.environb[b"LC_CTYPE"]
    _, found, rest = before.partition(b"\0LC_CTYPE=")
    if found:
        os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
    else:
        del os.environb[b"LC_CTYPE"]


def starts_us(path: str) -> bool:
    """Tell whether path is a script whose "#!" line would start us again, for ever."""
    if not os.path.isfile(path) or not os.access(path, os.R_OK | os.X_OK):
        return False  # a FIFO, for instance: to open it would wait for a writer
    with open(path, "rb") as file:
        line = file.read(256).partition(b"\n")[0]  # the kernel reads no more
    # It would, if it names us and no program after us. (Without "#!" it is for sh too.)
    words = os.fsdecode(line[2:].translate(None, b"\"'")).split()
    us = program_name(os.sys.argv[0])  # type: ignore[attr-defined]
    names = [program_name(word) for word in words]
    if not us or us not in names:
        return False
    del words[: names.index(us) + 1]
    parse(words)
    return not words


def execute(command: "list[str]") -> None:
    """Become the command, found as execvp(3) finds it; OSError says why not."""
    name, error = command[0], OSError(ENOENT, os.strerror(ENOENT))
    directories = os.environ.get("PATH", os.defpath).split(":") if name else []
    paths = [os.path.join(directory or ".", name) for directory in directories]
    for path in [name] if "/" in name else paths:
        try:
            os.execv(path, command)
        except OSError as reason:
            if reason.errno == ENOEXEC:
                os.execv("/bin/sh", ["/bin/sh", path, *command[1:]])
            if reason.errno == EACCES or "/" in name:
                error = reason  # but a later directory may have one that can be run
            elif reason.errno not in (ENOENT, ENOTDIR):
                raise
    raise error


def start(command: "list[str]", single: bool, tty: "bool | None", mask: object) -> int:
    """Fork; the child becomes the command, with that mask. Return its pid; OSError."""
    # Done before fork(2) what can be: the child has to copy each page that it touches.
    undo_coercion()
    # What comes between fork and exec must act as on the command: not on a handler, and
    # Python has one for SIGINT, nor on the two that it ignores.
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)
    for number in (signal.SIGINT, *ignored) if BLOCK else SIGNALS:
        if number in ignored or callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    # If SIGCHLD stays ignored, the kernel throws exit statuses away: wait(2).
    sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # execve(2) would keep the caller's timers for the command, fork(2) does not.
    timers = [signal.setitimer(which, 0) for which in range(3)]
    child = os.fork()
    if child:
        return child
    try:
        if tty is not None:  # at our terminal, and in its foreground if tty is True
            os.setpgid(0, 0)
            foreground(os.getpid() if tty else 0)
        elif not single:
            os.setsid()
        signal.signal(signal.SIGCHLD, sigchld)
        for which in range(3):
            signal.setitimer(which, *timers[which])
        sigmask(signal.SIG_SETMASK, mask)
        execute(command)
    except Exception as error:
        sigmask(signal.SIG_BLOCK, SIGNALS)  # say() may raise SIGPIPE
        say("%s: %s" % (command[0], getattr(error, "strerror", error)))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(126)


def let_go() -> None:
    """Keep neither the directory nor the descriptors from 3 up that we inherited."""
    try:
        os.chdir("/")
        # Not all that there could be: the limit can be a thousand million.
        for number in map(int, os.listdir("/proc/self/fd")):
            os.closerange(max(number, 3), number + 1)
    except OSError:
        os.closerange(3, 65536)  # one by one, before Python 3.9


def foreground(group: int = 0) -> int:
    """Return the foreground group of our terminal on stdin, after making group that."""
    try:
        if group:
            os.tcsetpgrp(0, group)
        return os.tcgetpgrp(0)
    except OSError:
        return 0  # not our terminal, hung up, or nobody left in the group


def send(number: int, target: int) -> bool:
    """Send a signal with kill(2); tell if there is anybody to send it to."""
    try:
        os.kill(target, number)
    except OSError as error:  # EPERM: it is there, but has become somebody else's
        return isinstance(error, PermissionError)
    return True


def suspend(pid: int, group: int) -> None:
    """Stop by SIGTSTP, with pid 0 all our group; leave a SIGCONT to be passed on."""
    os.kill(pid, signal.SIGTSTP)
    sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])
    sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
    # What resumed us is pending, if the next Ctrl-Z has not discarded it: signal(7).
    if not {signal.SIGCONT, signal.SIGTSTP} & signal.sigpending():
        # We were spared, as PID 1 and orphaned groups are: nobody could resume us.
        foreground(group)
        os.kill(os.getpid(), signal.SIGCONT)


def changed(child: int, how: int) -> int:
    """Return the signal that has changed the child as how asks, or 0; see waitid(2)."""
    try:
        news = os.waitid(os.P_PID, child, how | os.WNOHANG)
    except ChildProcessError:
        return 0  # it has died
    return news.si_status if news else 0


def reap(child: int, verbose: bool) -> bool:
    """Reap all the dead but child; tell if it is dead. ChildProcessError: no child."""
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while True:
        # Not the signal's own pid: one SIGCHLD stands for any number of deaths.
        dead = os.waitid(os.P_ALL, 0, look)
        if not dead or dead.si_pid == child:
            return bool(dead)
        os.waitpid(dead.si_pid, 0)
        if verbose:
            say("reaped %d" % dead.si_pid)


def supervise(
    child: int, target: int, table: "dict[int, int]", tty: "bool | None", verbose: bool
) -> None:
    """Pass signals on and reap until the child has ended; it is not reaped itself."""
    pid, group, single = os.getpid(), os.getpgrp(), target == child
    home = 0 if single else group  # who has the terminal while the child is stopped
    # At a terminal any stop of the child is ours too: nano stops itself by SIGSTOP.
    follow = (*STOPS, signal.SIGSTOP) if foreground() else STOPS if single else ()
    paused = False  # by a signal that was passed on
    # Children that execve left to us may have died before SIGCHLD was blocked.
    os.kill(pid, signal.SIGCHLD)
    while True:
        info = signal.sigwaitinfo(SIGNALS)
        number, by_tty = info.si_signo, info.si_code == SI_KERNEL
        if number == signal.SIGCHLD:
            if reap(child, verbose):
                break
            if follow and not paused and changed(child, os.WSTOPPED) in follow:
                tty = tty and not foreground(home)
                suspend(pid if single else 0, home)
                if single and changed(child, os.WCONTINUED):
                    # As fg resumes us both. Passed on late, it would undo a Ctrl-Z.
                    signal.sigtimedwait([signal.SIGCONT], 0)
            continue
        if single and by_tty and number in FROM_TERMINAL and os.getpgid(child) == group:
            continue  # if it stops, so do we: not before, since it could still read
        if number == signal.SIGCONT:
            paused = False
            if tty is False and foreground() == home:
                tty = bool(foreground(child))
        # The child is there from fork on, its group only from setsid on.
        send(table[number], target) or send(table[number], child)
        if verbose:
            say("signal %d: sent %d" % (number, table[number]))
        if number in STOPS and table[number] in (*STOPS, signal.SIGSTOP):
            paused = True
            tty = tty and not foreground(home)
            # From a terminal it spares whom nobody could resume, as SIGTSTP does.
            suspend(pid, home) if by_tty else os.kill(pid, signal.SIGSTOP)
    foreground(home if tty else 0)


def linger(target: int, table: "dict[int, int]", grace: float, verbose: bool) -> None:
    """Reap and pass signals on until target has ended; kill what outstays the grace."""
    signal.setitimer(signal.ITIMER_REAL, grace)  # a clock; SIGALRM at its end
    number = 0
    while True:
        try:
            reap(0, verbose)
            told = target == EVERYBODY
        except ChildProcessError:
            told = False  # by nobody, when others' children end: look every 20 ms
        if not signal.getitimer(signal.ITIMER_REAL)[0]:
            number = signal.SIGKILL
        # If a process has the group's number, that was free, and the group has ended.
        left = (target == EVERYBODY or not send(0, -target)) and send(number, target)
        if verbose and number and left:
            say("sent %d to what is left" % number)
        if not left or number == signal.SIGKILL:
            return
        info = signal.sigtimedwait(SIGNALS, grace if told else 0.02)
        number = table.get(info.si_signo, 0) if info else 0


def finish(
    child: int, target: int, table: "dict[int, int]", grace: float, verbose: bool
) -> int:
    """Take leave of the dead child's group; reap it, and return its exit status."""
    target = EVERYBODY if grace and os.getpid() == 1 else target
    # Not reaped yet, the child keeps its pid, so that this goes to no other group.
    send(table[signal.SIGTERM], target)
    ended = os.waitpid(child, 0)[1]
    code = os.WEXITSTATUS(ended) + (os.WIFSIGNALED(ended) and 128 + os.WTERMSIG(ended))
    if verbose:
        say("%d has ended with %d" % (child, code))
    if grace and target < 0:
        linger(target, table, grace, verbose)
    return code


def main(argv: "list[str] | None" = None) -> int:
    """Be the init of argv, by default the command line's; return the exit status."""
    before = sigmask(signal.SIG_BLOCK, SIGNALS)  # not done yet if we are imported
    try:
        command = ["-c"] * (os.environ.get("DUMB_INIT_SETSID") == "0")
        command += ["-v"] * (os.environ.get("DUMB_INIT_DEBUG") == "1")
        command += os.sys.argv[1:] if argv is None else argv  # type: ignore
        options = parse(command)
        if options["help"] or options["version"]:
            about = "pyinit %s\n" % __version__
            os.write(1, (about if options["version"] else __doc__ or USAGE).encode())
            return 0
        single, verbose = bool(options["single-child"]), bool(options["verbose"])
        table = signal_table(options["rewrite"], single)
        grace = ["0", *options["grace"]][-1]
        if not set(grace) <= set("0123456789.") or float(grace) > 1000000:
            raise ValueError("--grace takes seconds, not %r" % grace)
        if not set(options["expect"]) <= set(map(str, range(256))):
            raise ValueError("--expect takes 0 to 255, not %r" % options["expect"])
        if not command:
            raise ValueError("no command given")
        if not hasattr(signal, "sigwaitinfo"):
            raise RuntimeError("this Python has no waitid and sigwaitinfo")
        # Found in PATH, a name without "/" comes back from the kernel with one.
        if "/" in command[0] and starts_us(command[0]):
            command.insert(0, "/bin/sh")
        tty = None if single or not foreground() else foreground() == os.getpgrp()
        child = start(command, single, tty, INHERITED_MASK if BLOCK else before)
    except Exception as error:
        bad_usage = isinstance(error, ValueError)
        reason = getattr(error, "strerror", error)
        say("%s; %s" % (error, USAGE) if bad_usage else "cannot start: %s" % reason)
        return 2 if bad_usage else 125
    let_go()
    if verbose:
        whose = "ours" if os.getpid() == 1 else "for PID 1, which we are not"
        say("%d runs %s; orphans are %s" % (child, command[0], whose))
    target = child if single else -child
    supervise(child, target, table, tty, verbose)
    code = finish(child, target, table, float(grace), verbose)
    return 0 if str(code) in options["expect"] else code


if __name__ == "__main__":
    os._exit(main())
