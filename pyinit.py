#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 The pyinit authors
"""Be PID 1 in a container: run one command, pass signals on, reap zombies.

usage: pyinit.py [options] [--] command [arg ...]

options:
  -c, --single-child  leave the command in this session and process group, and
                      signal it alone; otherwise it gets a session (at a
                      terminal, a process group) of its own and every signal
                      goes to that whole group
  -r, --rewrite N:M   send M where N is received, nothing if M is 0; numbers or
                      names (15:3, TERM:QUIT, RTMIN+1:USR1); repeatable, the
                      last one for an N wins
  -e, --expect CODE   exit 0 where the exit status would have been CODE (0 to
                      255); repeatable
  --grace SECONDS     once the command has exited, how long the processes that
                      it leaves behind may take to end (default 0)
  -v, --verbose       say on stderr what happens, a line an event
  -V, --version       print the version and exit
  -h, --help          print this text and exit

DUMB_INIT_SETSID=0 in the environment means -c, DUMB_INIT_DEBUG=1 means -v.

exit status: the command's own, or 128 + N if signal N ended it; 127 if it was
not found, 126 if it could not be run; 125 if pyinit could not do its work; 2
if the command line is wrong.

Where pyinit is not PID 1, orphans go to whoever is: it can neither become a
subreaper nor ask for a signal when its own parent dies.
"""

try:
    import signal

    # All that Linux has but for those that the C library keeps for itself (32, 33 and,
    # in musl, 34). Numbers, since members of the enumeration cost more at every use.
    SIGNALS = [*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]
    if __name__ == "__main__":
        # Before all else: a signal that comes while we are not ready has to wait,
        # not to kill us or, as the kernel has it for PID 1, to be dropped.
        _mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
except KeyboardInterrupt:  # SIGINT until then, since Python has a handler for it
    raise SystemExit(130)

import os  # noqa: E402

__version__ = "1.0.0"

USAGE = "usage: pyinit.py [options] [--] command [arg ...]"
WITH_VALUE = ("--rewrite", "--expect", "--grace")
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
NOT_PASSED_ON = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)

# What a terminal sends to a whole group at once, and then si_code is SI_KERNEL. SIGHUP
# is not among them: it can be for the leader of the session alone.
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *STOPS)
SI_KERNEL = 128

ENOENT, ENOEXEC, EACCES, ENOTDIR = 2, 8, 13, 20  # errno(3): alike everywhere
EVERYBODY = -1  # kill(2): all but PID 1 and ourselves
POLL = 0.02  # seconds
MAX_GRACE = 1000000  # seconds


def rewrite(text: str) -> "tuple[int, int]":
    """Return (N, M) for "N:M"; ValueError if it is anything else."""
    names = {"SIGSTKFLT": 16, **signal.Signals.__members__}  # Python's own since 3.11
    for number in SIGNALS[31:]:
        names["SIGRTMIN+%d" % (number - signal.SIGRTMIN)] = number
        names["SIGRTMAX-%d" % (signal.SIGRTMAX - number)] = number
    numbers = {str(number): number for number in SIGNALS}
    for name in names:
        numbers[name] = numbers[name[len("SIG") :]] = int(names[name])
    # bytes.upper() leaves other alphabets alone: a long s does not become an S.
    source, target = os.fsdecode(os.fsencode(text).upper()).split(":")
    received = numbers.get(source, signal.SIGKILL)
    sent = 0 if target == "0" else numbers.get(target)
    if received in NOT_PASSED_ON or sent is None:
        raise ValueError(text)
    return received, sent


def status(text: str) -> int:
    """Return the exit status, 0 to 255, that text is; ValueError if it is none."""
    return [str(code) for code in range(256)].index(text)


def seconds(text: str) -> float:
    """Return text's number of seconds: digits, maybe with a point; or ValueError."""
    if set(text) <= set("0123456789.") and float(text) <= MAX_GRACE:
        return float(text)
    raise ValueError(text)


class Options:
    """What the command line and the environment say."""

    single_child = verbose = version = help = False
    rewrite: "list[tuple[int, int]]" = []
    expect: "list[int]" = []
    grace = 0.0


def parse(words: "list[str]") -> Options:
    """Return the options in words, each with its value joined to it; or ValueError."""
    options = Options()
    options.single_child = os.environ.get("DUMB_INIT_SETSID") == "0"
    options.verbose = os.environ.get("DUMB_INIT_DEBUG") == "1"
    if not words:
        return options
    import argparse  # a third of the start-up time, and most command lines need none

    def error(message: str) -> None:
        raise ValueError(message)

    parser = argparse.ArgumentParser(add_help=False)
    parser.error = error  # type: ignore[method-assign, assignment]
    parser.add_argument("-c", "--single-child", action="store_true")
    parser.add_argument("-r", "--rewrite", action="append", type=rewrite)
    parser.add_argument("-e", "--expect", action="append", type=status)
    parser.add_argument("--grace", type=seconds)
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("-V", "--version", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    return parser.parse_args(words, options)


def split(words: "list[str]") -> "tuple[list[str], list[str]]":
    """Return (options, command) as getopt(3) with "+" parts them.

    argparse cannot be asked: what it makes of "--" and of a command's own options
    differs between its versions. It gets each value joined to its option, so that it
    need not guess what "-1" is.
    """
    options, command = [], list(words)
    while command and command[0].startswith("-") and command[0] != "-":
        word = command.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            joint, valued = "=", any(name.startswith(word) for name in WITH_VALUE)
        else:
            joint, valued = "", word[1:].lstrip("cvVh") in ("r", "e")
        options.append(word + joint + command.pop(0) if valued and command else word)
    return options, command


def build_table(options: Options) -> "dict[int, int]":
    """Return what to send for each signal that is passed on; 0 sends nothing."""
    table = {number: number for number in SIGNALS if number not in NOT_PASSED_ON}
    if not options.single_child:
        # A session's group is orphaned, so the kernel would drop these.
        table.update((number, signal.SIGSTOP) for number in STOPS)
    table.update(options.rewrite)
    return table


def program_name(path: str = "") -> str:
    """Return the name of the program at path, or else of ours, without its .py.

    We have none, and are "pyinit", if started with -c, from stdin or from /dev/fd/63.
    """
    name = os.path.basename(path or os.sys.argv[0])  # type: ignore[attr-defined]
    name = name.partition(".py")[0]
    return name if name.strip("-c0123456789") or path else "pyinit"


def say(text: str) -> None:
    """Write one line to stderr; where that is impossible the line is lost."""
    line = "[%s] %s" % (program_name(), text.replace("\n", "\\n"))
    try:
        os.write(2, os.fsencode(line + "\n"))
    except OSError:
        # The failed write may have raised SIGPIPE or SIGXFSZ. Blocked signals wait even
        # if they are ignored, and these would be passed on to the command.
        for number in {signal.SIGPIPE, signal.SIGXFSZ} & signal.sigpending():
            signal.sigwait([number])


def undo_coercion() -> None:
    """Undo what Python 3.7 and later did to LC_CTYPE in the environment (PEP 538).

    All else there is as it was, to the byte: execv(3) hands on the C library's array.
    """
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            before = file.read()
    except OSError:
        # What is added comes last, and brings the UTF-8 mode (PEP 540).
        mode = getattr(os.sys.flags, "utf8_mode", 0)  # type: ignore[attr-defined]
        if not mode or [*os.environ][-1] != "LC_CTYPE":
            return
        before = b""
    _, found, rest = (b"\0" + before).partition(b"\0LC_CTYPE=")
    if found:
        os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
    else:
        del os.environb[b"LC_CTYPE"]


def starts_us(path: str) -> bool:
    """Tell whether path is a script whose interpreter line runs us without a program.

    The kernel turns "#!/usr/bin/env -S python3 /sbin/pyinit.py -v" into a run of ours
    that has the script as its command: executing that would start us again for ever.
    """
    # Opening a FIFO would wait for a writer.
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        return False
    with open(path, "rb") as file:
        line = file.read(256).partition(b"\n")[0]  # the kernel reads no more
    words = os.fsdecode(line[2:].translate(None, b"\"'")).split()
    names = [program_name(word) for word in words]
    if line[:2] != b"#!" or program_name() not in names:
        return False
    return not split(words[names.index(program_name()) + 1 :])[1]


def execute(command: "list[str]") -> None:
    """Become the command, found as execvp(3) finds it; OSError says why not."""
    name, error = command[0], OSError(ENOENT, os.strerror(ENOENT))
    directories = os.environ.get("PATH", os.defpath).split(":") if name else []
    for directory in [""] if "/" in name else directories:
        path = os.path.join(directory, name)
        try:
            if starts_us(path):
                raise OSError(ENOEXEC, os.strerror(ENOEXEC))
            os.execv(path, command)
        except OSError as reason:
            if reason.errno == ENOEXEC and os.access("/bin/sh", os.X_OK):
                os.execv("/bin/sh", ["/bin/sh", path, *command[1:]])
            if reason.errno == EACCES or "/" in name:
                error = reason  # but a later directory may have one that can be run
            elif reason.errno not in (ENOENT, ENOTDIR):
                raise
    raise error


def start(
    command: "list[str]", mask: "set[int]", single: bool, tty: "bool | None"
) -> int:
    """Fork, and run the command in the child. Return its pid; OSError if fork fails.

    mask is the signal mask that the command gets. If tty is None it leads a session,
    unless single; else a process group, in the foreground of the terminal if tty.
    """
    # If SIGCHLD stays ignored, the kernel throws exit statuses away: wait(2).
    sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # execve(2) would keep the caller's timers for the command, fork(2) does not.
    timers = [signal.setitimer(which, 0) for which in range(3)]
    child = os.fork()
    if child:
        return child
    code = 126
    try:
        if tty is not None:
            os.setpgid(0, 0)
            foreground(os.getpid() if tty else 0)
        elif not single:
            os.setsid()
        # What comes before execve must act as on the command: no Python handler may
        # run, and what Python ignores, PIPE and XFSZ, is not ignored.
        for number in set(SIGNALS) - {signal.SIGKILL, signal.SIGSTOP}:
            plain = signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN)
            if not plain or number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, sigchld)
        for which in range(3):
            signal.setitimer(which, *timers[which])
        undo_coercion()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        execute(command)
    except Exception as error:
        code = 127 if isinstance(error, FileNotFoundError) else 126
        say("%s: %s" % (command[0], getattr(error, "strerror", error)))
    finally:
        os._exit(code)


def let_go() -> None:
    """Keep neither the directory nor the descriptors from 3 up that we inherited."""
    try:
        os.chdir("/")
        # Not all that there could be: the limit can be a thousand million.
        numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        numbers = [*range(3, min(os.sysconf("SC_OPEN_MAX"), 65536))]
    for number in numbers:
        os.closerange(max(number, 3), number + 1)


def foreground(group: int = 0) -> int:
    """Make group, if given, the foreground group of the terminal; return which is.

    0 if stdin is not our controlling terminal: tcgetpgrp(3). SIGTTOU is blocked.
    """
    try:
        if group:
            os.tcsetpgrp(0, group)
        return os.tcgetpgrp(0)
    except OSError:
        return 0  # no terminal of ours, hung up, or nobody left in the group


def send(number: int, *targets: int) -> bool:
    """Send a signal with kill(2) to the first target that there is; tell if any is."""
    for target in targets:
        try:
            os.kill(target, number)
            return True
        except PermissionError:
            return True  # it is there, but somebody else's now
        except ProcessLookupError:
            pass
    return False


def suspend(pid: int) -> bool:
    """Do to us, or with 0 to our whole group, what SIGTSTP does; tell if it did.

    It does nothing where nobody could resume us: the kernel spares PID 1 and orphaned
    groups. If it stopped us, then a SIGCONT has come, and waits.
    """
    os.kill(pid, signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
    return signal.SIGCONT in signal.sigpending()


def reap(child: int, verbose: bool) -> bool:
    """Reap all that is dead except child, and tell if that is dead too.

    ChildProcessError if there are no children at all.
    """
    while True:
        # Looks without reaping, and not at the signal's own pid: one SIGCHLD stands
        # for any number of deaths.
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if not dead or dead.si_pid == child:
            return bool(dead)
        os.waitpid(dead.si_pid, 0)
        if verbose:
            say("reaped %d" % dead.si_pid)


def supervise(child: int, options: Options, tty: "bool | None") -> int:
    """Pass signals on and reap until the child has ended; return its exit status.

    tty is as for start(): None, or whether we have the terminal's foreground to give.
    """
    pid, group, single = os.getpid(), os.getpgrp(), options.single_child
    table = build_table(options)
    # The child is there from fork on, its group only from setsid on.
    targets = (child,) if single else (-child, child)
    paused = False  # by a signal that was passed on
    # Children that execve left to us may have died before SIGCHLD was blocked.
    os.kill(pid, signal.SIGCHLD)
    while True:
        info = signal.sigwaitinfo(SIGNALS)
        number = info.si_signo
        if number == signal.SIGCHLD:
            if reap(child, options.verbose):
                break
            if tty is not None and has_stopped(child) and not paused:
                # By the terminal, or by itself: stop like it or, if nobody could
                # resume us, resume it.
                tty = tty and not foreground(group)
                if not suspend(0):
                    foreground(group)
                    os.kill(pid, signal.SIGCONT)
            continue
        doubled = single and info.si_code == SI_KERNEL and number in FROM_TERMINAL
        if doubled and os.getpgid(child) == group:
            if number in STOPS:
                suspend(pid)
            continue
        if number == signal.SIGCONT:
            paused = False
            if tty is False and foreground() == group:
                tty = bool(foreground(child))
        send(table[number], *targets)
        if options.verbose:
            say("signal %d: sent %d" % (number, table[number]))
        if number in STOPS and table[number] in (*STOPS, signal.SIGSTOP):
            paused = True
            tty = tty and not foreground(group)
            os.kill(pid, signal.SIGSTOP)
    if tty:
        foreground(group)
    if options.grace and pid == 1:
        targets = (EVERYBODY,)
    # Not reaped yet, the child keeps its pid, so that this goes to no other group.
    send(table[signal.SIGTERM], *targets)
    ended = os.waitpid(child, 0)[1]
    signaled = os.WIFSIGNALED(ended)
    code = 128 + os.WTERMSIG(ended) if signaled else os.WEXITSTATUS(ended)
    if options.verbose:
        say("%d has ended with %d" % (child, code))
    if options.grace and targets[0] < 0:
        linger(targets[0], table, options)
    return code


def has_stopped(child: int) -> bool:
    """Tell whether the child has been stopped since last asked: waitid(2)."""
    try:
        return bool(os.waitid(os.P_PID, child, os.WSTOPPED | os.WNOHANG))
    except ChildProcessError:
        return False  # it has died since


def linger(target: int, table: "dict[int, int]", options: Options) -> None:
    """Wait until nobody of target is left, and kill whoever outstays the grace.

    Meanwhile reap, and pass signals on. target is EVERYBODY, or -group.
    """
    signal.setitimer(signal.ITIMER_REAL, options.grace)  # a clock; SIGALRM at its end
    number = 0
    while True:
        try:
            reap(0, options.verbose)
            pause = options.grace if target == EVERYBODY else POLL
        except ChildProcessError:
            pause = POLL  # nobody tells us when others' children end
        if not signal.getitimer(signal.ITIMER_REAL)[0]:
            number = signal.SIGKILL
        # If a process has the group's number, that was free, and the group has ended.
        recycled = target != EVERYBODY and send(0, -target)
        if recycled or not send(number, target) or number == signal.SIGKILL:
            return
        info = signal.sigtimedwait(SIGNALS, pause)
        number = table.get(info.si_signo, 0) if info else 0


def main(argv: "list[str] | None" = None, mask: "set[int] | None" = None) -> int:
    """Be the init of argv, or of the command line; return the exit status.

    mask is the command's signal mask, if not the present one. The process is ours from
    then on: its signals, its directory, its descriptors.
    """
    if mask is None:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        words = os.sys.argv[1:] if argv is None else argv  # type: ignore[attr-defined]
        words, command = split(words)
        options = parse(words)
        if options.help or options.version:
            version = "pyinit %s\n" % __version__
            os.write(1, (version if options.version else __doc__ or USAGE).encode())
            return 0
        if not command:
            raise ValueError("no command given")
        if not hasattr(signal, "sigwaitinfo"):
            raise RuntimeError("this Python has no waitid and sigwaitinfo")
        tty = None
        if foreground() and not options.single_child:
            tty = foreground() == os.getpgrp()
        child = start(command, mask, options.single_child, tty)
    except ValueError as error:
        say("%s; %s" % (error, USAGE))
        return 2
    except Exception as error:
        say("cannot start: %s" % getattr(error, "strerror", error))
        return 125
    let_go()
    code = supervise(child, options, tty)
    return 0 if code in options.expect else code


if __name__ == "__main__":
    os._exit(main(mask=_mask))
