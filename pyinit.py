#!/usr/bin/env python3
# Copyright (c) 2026 The pyinit authors. SPDX-License-Identifier: MIT
"""Be PID 1 of a container: run one command, pass signals on to it, reap zombies.

The kernel treats PID 1, the first process of a container, as no other process:
- It drops signals that PID 1 has no handler for. So we block all signals before all
  else: blocked, they wait, and Init.run takes them one by one. No handler ever runs.
- It makes orphans children of PID 1. A dead child stays in the process table, a zombie,
  until its parent asks for its exit status: Init.reap.
- It kills all other processes when PID 1 exits. So Init.leave sends SIGTERM before.

The file is in the order of events: block, read the command line, start the command,
pass signals on and reap, stop and resume, leave. Until the command is started anything
may fail, with one line and a status. From then on nothing may end us before its end.
"""

# === Block signals: one that comes while we are not ready has to wait =================
try:
    import signal
    from signal import SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIG_UNBLOCK, SIGCHLD
    from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT, SIGRTMAX
    from signal import SIGRTMIN, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH

    REAL_TIME = range(SIGRTMIN, SIGRTMAX + 1)
    SIGNALS = (*range(1, 32), *REAL_TIME)  # in between are the C library's own
    if __name__ == "__main__":  # if we are imported, main() blocks them
        mask_at_start = signal.pthread_sigmask(SIG_BLOCK, SIGNALS)
    import argparse
    import os
except KeyboardInterrupt:  # Python's answer to a Ctrl-C that came before the block
    raise SystemExit(128 + 2) from None
except Exception as error:  # a Python that lacks a module, or another's in its place
    with open(2, "w") as stderr:
        stderr.write("[pyinit] cannot start: %a\n" % error)
    raise SystemExit(125) from None

__version__ = "1.2.0"
TTY_STOPS = (SIGTSTP, SIGTTIN, SIGTTOU)  # Ctrl-Z is SIGTSTP
STOPS = (SIGSTOP, *TTY_STOPS)
TTY_SIGNALS = (SIGINT, SIGQUIT, SIGWINCH, *TTY_STOPS)
ENDS = (SIGTERM, SIGHUP, SIGINT, SIGQUIT)
SI_KERNEL = 128  # sigaction(2): the si_code of the kernel's signals, such as Ctrl-C's
EVERYBODY = -1  # kill(2): all processes of the container, but for PID 1
OUR_GROUP = 0  # kill(2): all processes of our process group
LOOK = 0.02  # seconds from one look for those who are left to the next
ENOENT, ENOEXEC, ENOTDIR = 2, 8, 20  # execve(2)


def attempt(call: object, *arguments: object) -> "OSError | None":
    """Do what may be refused, for that must not end PID 1; return the error, if any."""
    assert callable(call)  # for mypy
    try:
        call(*arguments)
    except OSError as error:
        return error
    return None


def exists(whom: int) -> bool:
    """Tell whether there is a process N or a group -N, or for -1 anybody: kill(2)."""
    return not isinstance(attempt(os.kill, whom, 0), ProcessLookupError)


def foreground() -> "int | None":
    """Return the terminal's foreground group; None if stdin is not our terminal.

    It is 0 if that group is outside our PID namespace.
    """
    try:
        return os.tcgetpgrp(0)
    except OSError:
        return None


def say(text: str) -> None:
    """Write a line to stderr; if that fails, drop the line and the signal it causes.

    (That would else be passed on to the command, as all signals are.)
    """
    line = "[pyinit] %s\n" % text.translate({10: "\\n", 13: "\\r"})
    if attempt(os.write, 2, line.encode(errors="surrogateescape")):
        signal.sigtimedwait([SIGPIPE, signal.SIGXFSZ], 0)


def reason(error: Exception) -> str:
    """Return what an error says; if it says nothing, MemoryError() and the like."""
    return getattr(error, "strerror", None) or repr(error)


def as_text(data: bytes) -> str:
    """Return bytes as a text of which say() makes the same bytes."""
    return data.decode(errors="surrogateescape")


def name_of(number: int) -> str:
    """Return SIGTERM for 15, SIGRTMIN+1 for 35 and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        if number in REAL_TIME:
            return "SIGRTMIN+%d" % (number - SIGRTMIN)
        # Python 3.11 is the first to name 16. (On MIPS that is SIGUSR1, named above.)
        return "SIGSTKFLT" if number == 16 else "signal %d" % number


# === Read the command line ============================================================
def rewrite(text: str) -> "tuple[int, int]":
    """Return (15, 3) for "15:3", "TERM:QUIT" and the like; or ValueError."""
    numbers = {"0": 0, **signal.Signals.__members__}
    for n in SIGNALS:
        numbers[str(n)] = numbers[name_of(n)] = n
    for n in REAL_TIME:
        numbers["SIGRTMIN+%d" % (n - SIGRTMIN)] = n
        numbers["SIGRTMAX-%d" % (SIGRTMAX - n)] = n
    # (In ASCII: upper() makes an S of a long s, too.)
    words = ascii(text)[1:-1].upper().split(":")
    n, m = [numbers.get(word, numbers.get("SIG" + word)) for word in words]
    if n in (None, 0, SIGKILL, SIGSTOP, SIGCHLD) or m is None:
        raise ValueError
    return n, m


def code(text: str) -> int:
    """Return the number for "0" to "255"; or ValueError."""
    return [str(number) for number in range(256)].index(text)


def seconds(text: str) -> float:
    """Return the number for "10", "0.5" and the like, to a million; or ValueError."""
    if text.strip("0123456789") not in ("", ".") or float(text) > 1000000:
        raise ValueError
    return float(text)


class Parser(argparse.ArgumentParser):
    """argparse's, for a stderr that cannot be written, too: the status stays 2."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong, as argparse does, and raise SystemExit."""
        text = f"{self.format_usage()}{self.prog}: error: {message}\n"
        attempt(os.write, 2, text.encode(errors="surrogateescape"))
        self.exit(2)


def make_parser() -> Parser:
    """Return the parser for pyinit's options; what follows them is the command."""
    # (Python 3.6 and 3.7, which lack valid_signals, read -vc only with abbreviations.)
    abbreviates = not hasattr(signal, "valid_signals")
    parser = Parser(
        prog="pyinit.py",
        usage="%(prog)s [options] [--] command [arg ...]",
        description="Be PID 1: run one command, pass signals on, reap zombies.",
        epilog="Exit status: the command's own, or 128 + N if signal N ended it; 127 if"
        " it was not found, 126 if it could not be run, 125 if pyinit failed, 2 if"
        " misused",
        # (Without a width argparse imports five modules, to ask the terminal for one.)
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
        allow_abbrev=abbreviates,
    )
    add = parser.add_argument
    add(
        "-c",
        "--single-child",
        action="store_true",
        default=os.environ.get("DUMB_INIT_SETSID") == "0",
        help="signal the command alone, without a session or group (or"
        " DUMB_INIT_SETSID=0)",
    )
    add(
        "-r",
        "--rewrite",
        metavar="N:M",
        type=rewrite,
        action="append",
        default=[],
        help="send M where N is received, nothing if M is 0; repeatable: 15:3,"
        " TERM:QUIT; N is any signal but KILL, STOP and CHLD",
    )
    add(
        "-e",
        "--expect",
        metavar="CODE",
        type=code,
        action="append",
        default=[],
        help="exit 0 where the exit status would be CODE, 0 to 255; repeatable",
    )
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--grace",
        metavar="SECONDS",
        type=seconds,
        default=0.0,
        help="wait SECONDS for what the command leaves, then SIGKILL it (0: neither)",
    )
    either.add_argument(
        "--wait",
        action="store_true",
        help="wait for all that the command leaves; no SIGKILL, SIGTERM only if one has"
        " come",
    )
    add(
        "-v",
        "--verbose",
        action="store_true",
        default=os.environ.get("DUMB_INIT_DEBUG") == "1",
        help="say on stderr what happens (or DUMB_INIT_DEBUG=1)",
    )
    add("-V", "--version", action="version", version="pyinit " + __version__)
    if abbreviates:  # these could be --verbose or --version, even as the command's own
        words = ("--", "--v", "--ve", "--ver")
        add(*words, dest="verbose", action="store_true", help=argparse.SUPPRESS)
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def read_command_line(argv: "list[str] | None") -> argparse.Namespace:
    """Return the options of argv, or sys.argv, and the command; or SystemExit."""
    parser = make_parser()
    try:
        options = parser.parse_args(argv)
    finally:
        print(end="", flush=True)  # help that cannot be written is an OSError
    if options.command[:1] == ["--"]:
        del options.command[0]
    if not options.command:
        parser.error("no command given")
    before, options.command = as_given(options.command, argv)
    if starts_us_again(options.command[0], before):
        options.command.insert(0, b"/bin/sh")  # to sh the first line is a comment
    return options


def as_given(
    command: "list[str]", argv: "list[str] | None"
) -> "tuple[list[bytes], list[bytes]]":
    """Return the words before the command, and its own, as the kernel has them.

    Python decodes words as the C library does and encodes them by tables of its own: in
    EUC-JP, Big5 and others that makes other bytes. Those of proc(5) are as they were.
    """
    words = read_file("/proc/self/cmdline").split(b"\0")[:-1]
    if argv is not None or __name__ != "__main__" or len(words) <= len(command):
        words = [os.fsencode(word) for word in command]  # a caller's, or there is no /proc
    return words[: -len(command)], words[-len(command) :]


def starts_us_again(script: bytes, before: "list[bytes]") -> bool:
    """Tell whether a script's first line is what has started us, and so would again.

    Such as "#!/usr/bin/env -S python3 /sbin/pyinit.py -v", that has no program for us:
    the kernel has added the script to it. To run that once more would never end.
    """
    line = read_file(script, 256).partition(b"\n")[0].translate(None, b"'\"")
    if b"/" not in script or line[:2] != b"#!" or not os.access(script, os.X_OK):
        return False
    # Its words are the last of those before the script in our own command line. (That
    # begins as the line, or later: at what env(1) has run, found in PATH, or at python3.)
    words = b" ".join(line[2:].split())
    found = words.replace(b"/usr/bin/env ", b"/").replace(b"/-S ", b"/")
    ours = b" ".join(before) or os.fsencode(globals().get("__file__", "?"))
    return words.endswith(ours) or (b"/" + ours).endswith((words, found))


def read_file(path: "str | bytes", length: int = -1) -> bytes:
    """Return up to length bytes of a file, -1: all; b"" if it cannot be read."""
    try:
        if os.path.isfile(path):  # (to open a FIFO would wait for somebody who writes)
            with open(path, "rb") as file:
                return file.read(length)
    except (OSError, ValueError):  # ValueError: a path with a NUL byte
        pass
    return b""


# === Become the command ===============================================================
def become(command: "list[bytes]") -> None:
    """Become the command, found as execvp(3) finds it; OSError if that fails."""
    name = command[0]
    path = os.environb.get(b"PATH", os.fsencode(os.defpath))
    places = [b""] if b"/" in name else [place or b"." for place in path.split(b":")]
    failure: "OSError | None" = None
    for file in [os.path.join(place, name) for place in places if name]:
        try:
            os.execv(file, command)
        except OSError as error:
            head = read_file(file, 4096)
            if error.errno == ENOEXEC and b"\0" not in head.partition(b"\n")[0]:
                # A text. (What has a NUL there is a program for another machine.)
                os.execv("/bin/sh", [b"/bin/sh", file, *command[1:]])
            if error.errno == ENOENT and head:  # it is there
                error.strerror = f"interpreter {interpreter(head)}: {error.strerror}"
            if head or file == name or error.errno not in (ENOENT, ENOTDIR):
                failure = failure or error
    raise failure or FileNotFoundError(ENOENT, os.strerror(ENOENT))


def interpreter(head: bytes) -> str:
    """Return what is to run a file that begins so: "/bin/sh\r", say, or a loader."""
    if head[:2] == b"#!":
        what = head[2:].partition(b"\n")[0].strip(b" \t").partition(b" ")[0]
    else:  # a program: its first path, most often that of another C library
        paths = [part for part in head.split(b"\0") if part.count(b"/") > 1]
        what = b"".join(paths[:1])
    return as_text(what)


def undo_locale_coercion() -> None:
    """Take back the LC_CTYPE that Python sets in the C locale: PEP 538."""
    if os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        given = b"\0" + read_file("/proc/self/environ")
        _, is_given, rest = given.partition(b"\0LC_CTYPE=")
        if is_given:
            os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
        elif [*os.environ][-1] == "LC_CTYPE":  # (Python's is the last)
            del os.environ["LC_CTYPE"]


def name_the_command() -> None:
    """Let systemd's variables that name our parent name us: sd_listen_fds(3)."""
    for name in ("LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"):
        if os.environ.get(name) == str(os.getppid()):
            os.environ[name] = str(os.getpid())
            os.environ.pop(name + "FDID", None)  # LISTEN_PIDFDID says the same


def take_terminal() -> None:
    """Make stdin the terminal of our new session, if it is one that no session has.

    Opened by its name it becomes that, credentials(7). lxc-start -F has a command start
    with such a terminal, and else Ctrl-C would reach nobody.
    """
    os.close(os.open(os.ttyname(0), os.O_RDONLY | os.O_NONBLOCK))


def close_inherited() -> None:
    """Close what is open from descriptor 3 up, as the kernel lists it: proc(5)."""
    try:
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2:
                attempt(os.close, int(name))
    except Exception:  # there is no /proc, or something else in its place
        os.closerange(3, 65536)


# === Start the command, in one of three modes =========================================
# JOB      stdin is our terminal, stdout a terminal too ("pyinit ... | less" is no JOB:
#          less needs the terminal). The child leads a group of its own in our session.
#          Ctrl-C and Ctrl-Z reach that group, and not us.
# SINGLE   -c. The child stays in our group. Ctrl-C and Ctrl-Z reach both the child and
#          us, so that we do not pass them on.
# SESSION  All else. The child leads a session of its own, which has no terminal, even
#          if ours has. So Ctrl-C and Ctrl-Z reach us alone: we pass them on.
JOB, SINGLE, SESSION = "job", "single", "session"


class Init:
    """What PID 1 knows of the one command that it runs, and does for it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.log = say if options.verbose else lambda text: None
        self.name = as_text(options.command[0])
        self.group = os.getpgrp()  # 0: it is outside our PID namespace, with its shell
        self.mode = SESSION
        if options.single_child:
            self.mode = SINGLE
        elif foreground() is not None and os.isatty(1) and self.group:
            self.mode = JOB
        # Who is to stop with the child, and die of its Ctrl-C. In JOB that is our whole
        # group: the terminal's keys reach the child's group alone.
        self.us = OUR_GROUP if self.mode == JOB else os.getpid()
        self.forward_as = {n: n for n in SIGNALS}  # what is sent for each; 0: nothing
        if self.mode != SINGLE:
            # A group without a shell (POSIX: orphaned) is not stopped by TTY_STOPS.
            self.forward_as.update(dict.fromkeys(TTY_STOPS, SIGSTOP))
        self.forward_as.update(options.rewrite)  # pairs (N, M)
        self.child = 0  # its pid; in JOB and SESSION also the number of its group
        self.target = 0  # whom kill(2) is to signal: N is process N, -N group N
        self.whom = ""  # the same, in words
        self.is_settled = False  # where we wait for the child's end
        self.is_ending = False  # a SIGTERM has come: those whom it missed are to get it
        self.stopped_by = 0  # the stop signal that we last sent the child, or followed
        self.death: "os.waitid_result | None" = None  # of the child, once it has died
        self.deadline: "float | None" = None  # of the grace, once the farewell is sent

    def start(self, mask: "set[int | signal.Signals]") -> None:
        """Fork a child that becomes the command with that signal mask; or Exception."""
        undo_locale_coercion()
        # While SIGCHLD is ignored, the kernel throws exit statuses away (see wait(2));
        # while SIGTSTP is, it does not stop us. The command is to have them ignored.
        ours = (SIGCHLD, SIGTSTP)
        ignored = {int(n) for n in ours if signal.getsignal(n) == SIG_IGN}
        # Python ignores SIGPIPE and SIGXFSZ, and has a handler (a callable) for SIGINT.
        # The command is not to inherit that, and no handler is to run before exec(2).
        handled = [n for n in SIGNALS if callable(signal.getsignal(n))]
        for number in (*ours, *handled, SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, SIG_DFL)
        self.reap()  # zombies from before exec(2) (PyPy, without waitid, fails here)
        self.child = os.fork()
        if self.child == 0:
            self.be_child(mask, ignored)
        self.target, self.whom = -self.child, f"group {self.child}"
        if self.mode == SINGLE:
            self.target, self.whom = self.child, f"{self.child}"

    def be_child(self, mask: "set[int | signal.Signals]", ignored: "set[int]") -> None:
        """Become the command; or say why not, and exit. We are in the child here."""
        what, status = "cannot start", 125
        try:
            name_the_command()
            for number in ignored:
                signal.signal(number, SIG_IGN)
            if self.mode == JOB:
                what = "cannot start: setpgid"
                os.setpgid(0, 0)
                self.child = os.getpid()
                self.pass_terminal(self.child)
            elif self.mode == SESSION:
                what = "cannot start: setsid"
                os.setsid()
                attempt(take_terminal)
            signal.pthread_sigmask(SIG_SETMASK, mask)
            what, status = self.name, 126
            become(self.options.command)
        except Exception as error:
            signal.pthread_sigmask(SIG_BLOCK, SIGNALS)  # a SIGPIPE would kill us
            if isinstance(error, FileNotFoundError):
                status = 127
            say(f"{what}: {reason(error)}")
        finally:
            os._exit(status)  # even say() has failed; never let a second pyinit run on

    # === Pass signals on, and reap ====================================================
    def run(self) -> int:
        """Pass signals on and reap until all is over; return the exit status."""
        if not self.is_settled:
            attempt(os.chdir, "/")  # so we keep no file system busy
            close_inherited()  # so we keep no pipe open that the command closes
            whose = "ours" if os.getpid() == 1 else "PID 1's, which we are not"
            self.log(f"{self.child} runs {self.name}; orphans are {whose}")
            self.is_settled = True
        self.reap()  # if main() calls us again after an error, a SIGCHLD can be lost
        while self.death is None:
            self.handle(signal.sigwaitinfo(SIGNALS))
        return self.leave(self.death)

    def handle(self, info: "signal.struct_siginfo") -> None:
        """Do what one signal asks for: that is decided here, and nowhere else."""
        number, by_kernel = info.si_signo, info.si_code == SI_KERNEL
        if number == SIGCHLD:  # a child has died, stopped or resumed
            self.reap()
            self.follow_stop()
        elif number == SIGCONT:
            self.resume()
        elif by_kernel and number in TTY_SIGNALS and self.shares_keys():
            pass  # the terminal has sent it to the child, too
        else:
            sent = self.forward_as[number]
            self.is_ending = self.is_ending or number == SIGTERM
            self.send(sent, number)
            if sent and number in TTY_STOPS and self.death is None:
                # (Also if -r makes another signal of it: so does dumb-init.) By SIGTSTP
                # as the terminal would, or by SIGSTOP as a process would.
                how = SIGTSTP if by_kernel else SIGSTOP
                self.stop_us(os.getpid(), how, by_kernel)

    def shares_keys(self) -> bool:
        """Tell whether the terminal's keys reach the child, too: it is in our group."""
        return self.mode == SINGLE and os.getpgid(self.child) == self.group

    def send(self, number: int, why: "str | int") -> None:
        """Send the target a signal, 0: none; -v says so, and why, or for which one."""
        if self.death and number in STOPS:
            number = 0  # it would freeze those whom the grace is for
        error = attempt(os.kill, self.target, number)
        if isinstance(error, ProcessLookupError) and self.death is None:
            # The child was just forked and has not called setpgid or setsid: a race.
            error = attempt(os.kill, self.child, number)
        if self.options.verbose:
            text = f"sent {name_of(number)} to {self.whom}" if number else "dropped"
            text = f"not {text}: {error.strerror}" if error else text
            say(f"{name_of(why) if isinstance(why, int) else why}: {text}")
        if number in STOPS:
            self.stopped_by = number
        elif number == SIGCONT:
            self.stopped_by = 0
            # That is no news for follow_stop(), which could take it for that of a later
            # stop that is still on its way.
            attempt(os.waitid, os.P_PID, self.child, os.WCONTINUED | os.WNOHANG)
        elif self.stopped_by and number in ENDS:
            self.send(SIGCONT, "it is to end")

    def reap(self) -> bool:
        """Reap dead children, only note the command's death; tell if any is left."""
        while True:  # one SIGCHLD can stand for any number of deaths
            try:
                # WNOWAIT: only look. leave() is to signal the command's group first: a
                # reaped pid, and with it the number of its group, can become another's.
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if dead is None:
                return True  # none of them is dead
            if dead.si_pid == self.child and self.deadline is None:
                self.death = dead
                return True  # waitid(2) would name it again and again
            os.waitid(os.P_PID, dead.si_pid, os.WEXITED)
            self.log(f"reaped {dead.si_pid}")

    # === Stop and resume, as a terminal and its shell do ==============================
    # A shell sees us alone. So when the command stops, we stop; when the shell's fg or
    # bg resumes us, by a SIGCONT, we resume the command. A Ctrl-Z in JOB:
    # 1. The terminal stops the child; SIGCHLD comes. handle(), follow_stop().
    # 2. stop_us() takes the terminal back and stops our group, by SIGTSTP: the shell
    #    says "Stopped" and shows its prompt.
    # 3. fg gives our group the terminal and sends us SIGCONT. Signals are taken lowest
    #    number first, so SIGCHLD before SIGCONT; then resume().
    # 4. resume() gives the child the terminal and sends it SIGCONT.
    # SIGTSTP stops neither PID 1 nor a group that has no shell. There, nobody else can
    # resume the child, so we do at once: nothing comes of the Ctrl-Z. But who sends us
    # a stop signal can send SIGCONT, too: handle() passes it on, stops us by SIGSTOP,
    # and nothing is undone. (A child's own SIGSTOP is: nano and mutt answer Ctrl-Z so.)
    # The child is given the terminal if it is ours, never if a shell can be reading it.
    # What is stopped is resumed by a SIGCONT, whatever -r makes of that.
    def follow_stop(self) -> None:
        """Stop if the child has, or give it the terminal if it waits for that."""
        if self.mode == SESSION:
            return
        changes = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
        try:
            news = os.waitid(os.P_PID, self.child, changes)
        except ChildProcessError:
            return  # it is dead
        if news is None:
            return
        if news.si_code == os.CLD_CONTINUED:
            self.stopped_by = 0
            if self.mode == SINGLE:
                # A shell's fg has resumed our group, so the child as well. Drop our
                # SIGCONT: passed on after the next Ctrl-Z, it would resume the child.
                signal.sigtimedwait([SIGCONT], 0)
            return
        by = news.si_status
        # (A stop that we passed on and that the child has handled stopped nothing: if
        # it stops by another one now, that is not ours.)
        sent_by_us = by == self.stopped_by
        if self.mode == SINGLE and by == SIGSTOP and foreground() is None:
            return  # a process has stopped it, and there is no shell to see that
        self.stopped_by = by
        if SIGCONT in signal.sigpending():
            return  # we have been resumed: handle() takes that next, and resumes it
        waits = by in (SIGTTIN, SIGTTOU)  # for the terminal
        if self.mode == SINGLE or not waits or not self.give_terminal():
            self.stop_us(self.us, SIGTSTP, undo=not waits and not sent_by_us)

    def give_terminal(self) -> bool:
        """Give the child the terminal and resume it; False if a shell can need that."""
        owner = foreground()
        if not owner:
            return False
        is_free = isinstance(attempt(os.kill, -owner, 0), ProcessLookupError)  # ended
        if not is_free and owner != self.group and os.getsid(0) != os.getpid():
            return False
        if attempt(os.tcsetpgrp, 0, self.child):
            return False
        self.send(SIGCONT, "it has the terminal")
        return True

    def stop_us(self, whom: int, how: int, undo: bool) -> None:
        """Stop us or OUR_GROUP; return when resumed, or if that cannot stop us."""
        if SIGCONT in signal.sigpending():
            return  # we are resumed already, and a stop signal would discard that
        self.pass_terminal(self.group)
        attempt(os.kill, whom, how)
        signal.pthread_sigmask(SIG_UNBLOCK, [SIGTSTP])  # here it stops us
        signal.pthread_sigmask(SIG_BLOCK, [SIGTSTP])
        # What has resumed us is still pending, for handle(): a SIGCONT, or a SIGTSTP
        # that came later and discarded the SIGCONT. (Group 0 has its shell outside.)
        resumed = signal.sigpending() & {SIGCONT, SIGTSTP}
        if undo and not resumed and self.group:
            self.resume("nobody else could resume it")

    def resume(self, why: str = "") -> None:
        """Resume the child; give it the terminal if our group is in the foreground."""
        self.pass_terminal(self.child)
        # (-r changes what is passed on, not how a stop ends.)
        sent = SIGCONT if self.stopped_by else self.forward_as[SIGCONT]
        self.send(sent, why or SIGCONT)

    def pass_terminal(self, group: int) -> None:
        """In JOB, make the child's group or ours the foreground one, if either is."""
        if self.mode == JOB and foreground() in (self.child, self.group):
            attempt(os.tcsetpgrp, 0, group)  # (its SIGTTOU, blocked, does not stop us)

    # === Leave ========================================================================
    def leave(self, death: "os.waitid_result") -> int:
        """Send those left a SIGTERM, wait for them; return the exit status."""
        status, how = death.si_status, f"exited with {death.si_status}"
        if death.si_code != os.CLD_EXITED:
            status += 128
            how = f"was ended by {name_of(death.si_status)}, status {status}"
        waits = self.options.grace or self.options.wait
        is_at_terminal = foreground() in (self.child, self.group)
        if self.deadline is None:  # (else main() calls us again, after an error)
            deadline = now() + self.options.grace
            self.pass_terminal(self.group)
            self.mode = SESSION  # those left do not have our terminal: all is passed on
            if waits and os.getpid() == 1:
                self.target, self.whom = EVERYBODY, "everybody"
            if self.target != self.child and (self.is_ending or not self.options.wait):
                self.send(self.forward_as[SIGTERM], "farewell")
            self.deadline = deadline
            self.log(f"{self.child} {how}")
        attempt(os.waitid, os.P_PID, self.child, os.WEXITED | os.WNOHANG)
        if waits and self.target != self.child:  # (in SINGLE it was the child alone)
            self.wait_for_others(self.deadline)
        if status in self.options.expect:
            return 0
        if death.si_code != os.CLD_EXITED and status == 128 + 2 and is_at_terminal:
            # A script's shell ends its loop if SIGINT has reached it, and has ended us.
            # (So it does if a process has sent the child SIGINT: that cannot be told
            # from a Ctrl-C. PID 1 does not end of it.)
            attempt(os.kill, self.us, SIGINT)
            signal.pthread_sigmask(SIG_UNBLOCK, [SIGINT])
        return status

    def wait_for_others(self, deadline: float) -> None:
        """Go on as in run() while the target exists; after the grace kill it."""
        looks = 0
        while True:
            # Asked first: then we kill only whom we have just seen, even if we were
            # stopped in between. (The clock of times(2) can stand still, if refused.)
            is_late = now() >= deadline or looks * LOOK >= self.options.grace
            has_child = self.reap()
            if not self.others_exist():
                return
            if self.options.wait and has_child and self.target == EVERYBODY:
                self.handle(signal.sigwaitinfo(SIGNALS))  # the next death's, at last
            elif is_late and not self.options.wait:
                self.send(SIGKILL, "grace is over")
                return
            else:
                info = signal.sigtimedwait(SIGNALS, 0)
                if info is not None:
                    self.handle(info)
                else:
                    # No SIGCHLD tells of those who are not our children.
                    signal.sigtimedwait([], LOOK)  # that is: sleep
                    looks += 1

    def others_exist(self) -> bool:
        """Tell whether anybody is left of those that we signal."""
        if isinstance(attempt(os.kill, self.target, 0), ProcessLookupError):
            return False
        if self.target == EVERYBODY:
            return True
        # If a process has the child's pid again, the group of that number is gone.
        return isinstance(attempt(os.kill, self.child, 0), ProcessLookupError)


def now() -> float:
    """Return the seconds of a clock that nobody sets, times(2); 0 if it is refused."""
    try:
        return os.times().elapsed
    except OSError:
        return 0.0


def main(argv: "list[str] | None" = None) -> int:
    """Run argv, or sys.argv; return the exit status, or SystemExit of argparse."""
    try:
        mask = signal.pthread_sigmask(SIG_BLOCK, SIGNALS)
        if __name__ == "__main__":
            mask = mask_at_start  # the command is to have that one
        init = Init(read_command_line(argv))
        init.start(mask)
    except Exception as error:
        say(f"cannot start: {reason(error)}")
        return 125
    failure, said = None, ""
    while True:
        try:
            if failure is not None:
                # Go on at a pace that costs nothing; without that, as long as it runs.
                if attempt(signal.sigtimedwait, [], 0.1):
                    attempt(os.waitid, os.P_PID, init.child, os.WEXITED | os.WNOWAIT)
                    init.options.grace = init.options.wait = 0
                if said != repr(failure):
                    said = repr(failure)
                    init.log(f"going on after {said}")
            return init.run()
        except Exception as error:  # no memory, say: the command still needs us
            failure = error


if __name__ == "__main__":
    os._exit(main())  # at once: nothing of Python's can hold us up
