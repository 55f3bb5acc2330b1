#!/usr/bin/env python3
# Copyright (c) 2026 The pyinit authors. SPDX-License-Identifier: MIT
"""Be PID 1 of a container: run one command, pass signals on to it, reap zombies.

The kernel treats PID 1, the first process of a container, as no other process:
- It drops signals that PID 1 has no handler for. So we block all signals before all
  else: blocked, they wait, and pass_on() takes them one by one. No handler ever runs.
- It makes orphans children of PID 1. A dead child stays in the process table, a zombie,
  until its parent asks for its exit status: reap().
- It kills all other processes when PID 1 exits. bid_farewell() sends SIGTERM before.

The file is in the order of events: block, read the command line, start the command,
pass signals on and reap, stop and resume, leave. Until the command is started anything
may fail, with one line and a status. From then on nothing may end us before its end.
"""

# === Block signals: one that comes while we are not ready has to wait =================
try:
    import signal
    from signal import SIG_BLOCK, SIG_DFL, SIG_IGN, SIG_SETMASK, SIG_UNBLOCK, SIGALRM
    from signal import SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGPIPE, SIGQUIT
    from signal import SIGRTMAX, SIGRTMIN, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU
    from signal import SIGWINCH

    # (What is between 31 and SIGRTMIN is the C library's own.)
    SIGNALS = (*range(1, 32), *range(SIGRTMIN, SIGRTMAX + 1))
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
FINAL = (SIGTERM, SIGINT, SIGQUIT)  # what containers are ended by: STOPSIGNAL
ENDS = (SIGHUP, *FINAL)
SI_KERNEL = 128  # sigaction(2): the si_code of the kernel's signals, such as Ctrl-C's
EVERYBODY = -1  # kill(2): all processes of the container, but for PID 1
OUR_GROUP = 0  # kill(2): all processes of our process group
OUTSIDE = 0  # getpgrp(2), tcgetpgrp(3): a group that is not in our PID namespace
FOREVER = 2e9  # the grace that --wait gives, in seconds: 63 years
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
    """Return the terminal's foreground group; None if stdin is not our terminal."""
    try:
        return os.tcgetpgrp(0)
    except OSError:
        return None


def say(text: str) -> None:
    """Write a line to stderr; if that fails, drop the line and the signal it causes.

    Otherwise that SIGPIPE, say, would be passed on to the command.
    """
    line = "[pyinit] %s\n" % text.translate({10: "\\n", 13: "\\r"})
    if attempt(os.write, 2, line.encode(errors="surrogateescape")):
        signal.sigtimedwait([SIGPIPE, signal.SIGXFSZ], 0)


def reason(error: Exception) -> str:
    """Return what an error says; if it says nothing, MemoryError() and the like."""
    return getattr(error, "strerror", None) or repr(error)


def as_text(data: bytes) -> str:
    """Return bytes as a text that say() writes as the same bytes."""
    return data.decode(errors="surrogateescape")


def name_of(number: int) -> str:
    """Return SIGTERM for 15, SIGRTMIN+1 for 35 and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        # Python 3.11 is the first to name 16. (On MIPS that is SIGUSR1, named above.)
        return "SIGSTKFLT" if number == 16 else "SIGRTMIN%+d" % (number - SIGRTMIN)


# === Read the command line ============================================================
def rewrite(text: str) -> "tuple[int, int]":
    """Return (15, 3) for "15:3", "TERM:QUIT" and the like; or ValueError."""
    numbers = {"0": 0, **signal.Signals.__members__}
    for n in SIGNALS:
        numbers[str(n)] = numbers[name_of(n)] = n
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
        text = f"usage: {self.usage}\n{self.prog}: error: {message}\n"
        attempt(os.write, 2, text.encode(errors="surrogateescape"))
        self.exit(2)


def make_parser() -> Parser:
    """Return the parser for pyinit's options; what follows them is the command."""
    # (Python 3.6 and 3.7, which lack valid_signals, read -vc only with abbreviations.)
    abbreviates = not hasattr(signal, "valid_signals")
    parser = Parser(
        prog="pyinit.py",
        usage="pyinit.py [options] [--] command [arg ...]",
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
        action="store_const",
        dest="grace",
        const=FOREVER,
        help="wait for all that the command leaves; no SIGKILL, SIGTERM only after a"
        " TERM, INT or QUIT",
    )
    add(
        "-v",
        "--verbose",
        action="store_true",
        default=os.environ.get("DUMB_INIT_DEBUG") == "1",
        help="say on stderr what happens (or DUMB_INIT_DEBUG=1)",
    )
    add("-V", "--version", action="version", version="pyinit " + __version__)
    if abbreviates:
        # These could be --verbose or --version: an error, even among the command's own
        # words ("pyinit.py prog --ver"). So they are options by themselves.
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
    options.command = as_given(options.command)
    if starts_us_again(options.command[0]):
        options.command.insert(0, b"/bin/sh")  # to sh the first line is a comment
    return options


def as_given(command: "list[str]") -> "list[bytes]":
    """Return the command's words as the kernel has them: proc(5).

    Python decodes words as the C library does and encodes them by tables of its own: in
    EUC-JP, Big5 and others that makes other bytes.
    """
    words = read_file("/proc/self/cmdline").split(b"\0")[:-1]
    if __name__ != "__main__" or len(words) <= len(command):
        # They are a caller's, who has imported us, or there is no /proc.
        return [os.fsencode(word) for word in command]
    return words[-len(command) :]


def starts_us_again(script: bytes) -> bool:
    """Tell whether a script's first line names us without a program that we are to run.

    Such as "#!/usr/bin/env -S python3 /sbin/pyinit.py -v". The kernel adds the script,
    so that we start that, and it us again, with the very words of our parent: for ever.
    (Without /proc we go by the name alone.)
    """
    name = os.path.basename(globals().get("__file__", "pyinit.py")).split(".")[0]
    is_named = os.fsencode(name) in read_file(script, 256).partition(b"\n")[0]
    ours, parents = ["/proc/%s/cmdline" % who for who in ("self", os.getppid())]
    return is_named and read_file(ours) == read_file(parents)


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
    """Become the command, as execvp(3), but look on in PATH after every error."""
    name = command[0]
    path = os.environb.get(b"PATH", os.fsencode(os.defpath))
    places = [b""] if b"/" in name else [place or b"." for place in path.split(b":")]
    failure: "OSError | None" = None
    for file in [os.path.join(place, name) for place in places if name]:
        try:
            os.execv(file, command)
        except OSError as error:
            head = read_file(file, 4096)
            line = head.partition(b"\n")[0]
            if error.errno == ENOEXEC and b"\0" not in line:
                # A text. (What has a NUL there is a program for another machine.)
                os.execv("/bin/sh", [b"/bin/sh", file, *command[1:]])
            if error.errno == ENOENT and head:  # it is there; what is to run it is not
                word = line[2:].strip(b" \t").partition(b" ")[0]
                what = as_text(word) if line[:2] == b"#!" else "or loader"
                error.strerror = f"interpreter {what}: {error.strerror}"
            # The first error counts that says more than that it is not in this place.
            if head or file == name or error.errno not in (ENOENT, ENOTDIR):
                failure = failure or error
    raise failure or FileNotFoundError(ENOENT, os.strerror(ENOENT))


def undo_locale_coercion() -> None:
    """Take back the LC_CTYPE that Python sets in the C locale: PEP 538."""
    if os.environ.get("LC_CTYPE") in ("C.UTF-8", "C.utf8", "UTF-8"):
        given = b"\0" + read_file("/proc/self/environ")
        _, is_given, rest = given.partition(b"\0LC_CTYPE=")
        if is_given:
            os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
        elif [*os.environ][-1] == "LC_CTYPE":  # what Python has set comes last
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
# JOB      stdin is our terminal, and stdout is one too ("pyinit ... | less" is no JOB:
#          less needs the terminal) or we lead the session. The child leads a group of
#          its own in our session. Ctrl-C and Ctrl-Z reach that group, and not us.
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
        self.group = os.getpgrp()
        self.leads_session = os.getsid(0) == os.getpid()  # no shell before us is in it
        has_terminal = foreground() is not None and self.group != OUTSIDE
        self.mode = SESSION
        if options.single_child:
            self.mode = SINGLE
        elif has_terminal and (os.isatty(1) or self.leads_session):
            self.mode = JOB
        # Who stops when the child does, and dies of its Ctrl-C. In JOB it is our whole
        # group: the terminal's keys reach the child's group alone.
        self.us = OUR_GROUP if self.mode == JOB else os.getpid()
        self.forward_as = {n: n for n in SIGNALS}  # what is sent for each; 0: nothing
        if self.mode != SINGLE:
            # A group without a shell (POSIX: orphaned) is not stopped by TTY_STOPS.
            self.forward_as.update(dict.fromkeys(TTY_STOPS, SIGSTOP))
        self.forward_as.update(options.rewrite)  # pairs (N, M)
        self.child = 0  # its pid; in JOB and SESSION also the number of its group
        self.target = 0  # whom kill(2) is to signal: N is process N, -N group N
        self.stopped_by = 0  # the signal that has stopped it or, sent by us, is to
        self.is_ending = False  # one of FINAL has come: whom it missed gets a farewell
        self.death: "os.waitid_result | None" = None  # of the child, once it has died
        self.status = 0  # what we exit with
        self.dies_of = 0  # the signal that has ended the child, 0: it has exited

    def start(self, mask: "set[int | signal.Signals]") -> None:
        """Fork a child that becomes the command with that signal mask; or Exception."""
        undo_locale_coercion()
        # While SIGCHLD is ignored, the kernel throws exit statuses away (see wait(2));
        # ignored stops do not stop us. The command gets them ignored again.
        ours = (SIGCHLD, *TTY_STOPS)
        ignored = {int(n) for n in ours if signal.getsignal(n) == SIG_IGN}
        # Python ignores SIGPIPE and SIGXFSZ, and has a handler (a callable) for SIGINT.
        # The command must not inherit that, and no handler may run before exec(2).
        handled = [n for n in SIGNALS if callable(signal.getsignal(n))]
        for number in (*ours, *handled, SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, SIG_DFL)
        # If seccomp refuses these calls for good, fail here. (PyPy does: no waitid.)
        signal.sigtimedwait([], 0)
        self.reap()  # zombies from before exec(2)
        if self.mode == SINGLE:
            # A key that was hit by now has signalled us alone, but handle() takes the
            # terminal's signals for shared: so we send it to ourselves instead. (Hit
            # between this and the fork it is lost: a race that we leave.)
            for number in {*TTY_SIGNALS} & signal.sigpending():
                signal.sigwaitinfo([number])
                os.kill(os.getpid(), number)
        self.child = os.fork()
        if self.child == 0:
            self.be_child(mask, ignored)
        self.target = self.child if self.mode == SINGLE else -self.child

    def be_child(self, mask: "set[int | signal.Signals]", ignored: "set[int]") -> None:
        """Become the command; or say why not, and exit. We are in the child here."""
        what, status = "cannot start", 125  # what to say if the next line fails
        try:
            name_the_command()
            for number in ignored:
                signal.signal(number, SIG_IGN)
            if self.mode == JOB:
                what = "cannot start: setpgid"
                os.setpgid(0, 0)
                self.child = os.getpid()  # as the parent has it
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
    def settle(self) -> None:
        """Let go of what only the command needs."""
        attempt(os.chdir, "/")  # so we keep no file system busy
        close_inherited()  # so we keep no pipe open that the command closes
        whose = "ours" if os.getpid() == 1 else "PID 1's, which we are not"
        self.log(f"{self.child} runs {self.name}; orphans are {whose}")

    def pass_on(self) -> None:
        """Pass signals on and reap, until the child has died."""
        if self.death is None:
            self.reap()  # if we are here again after an error, a SIGCHLD can be lost
        while self.death is None:
            self.handle(signal.sigwaitinfo(SIGNALS))

    def handle(self, info: "signal.struct_siginfo") -> None:
        """Do what one signal asks for, whether the child runs or we wait for others."""
        number, by_kernel = info.si_signo, info.si_code == SI_KERNEL
        if number == SIGCHLD:  # a child has died, stopped or resumed
            self.reap()
            self.follow_stop()
        elif number == SIGCONT:
            if self.mode == SINGLE and self.take_news(os.WCONTINUED):
                # It is a shell's fg, for our group, so that the child has it. Passed on
                # it could undo a stop that has come since: a race.
                self.stopped_by = 0
            else:
                self.resume()
        elif by_kernel and number in TTY_SIGNALS and self.shares_keys():
            pass  # the terminal has sent it to the child, too
        else:
            sent = self.forward_as[number]
            if sent and (number in FINAL or sent in FINAL):
                self.is_ending = True
            self.send(sent, number)
            if sent and number in TTY_STOPS and self.death is None:
                # We stop, too, even if -r makes another signal of it: dumb-init does.
                # (Us alone: the terminal has signalled all whom it means.) A process's
                # signal stops us anyway: who has sent it can resume us.
                how = SIGTSTP if by_kernel else SIGSTOP
                if not self.stop_us(os.getpid(), how) and by_kernel:
                    self.resume("nobody else could resume it")

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
            whom = {EVERYBODY: "everybody", self.child: f"{self.child}"}
            name = whom.get(self.target, f"group {self.child}")
            text = f"sent {name_of(number)} to {name}" if number else "dropped"
            text = f"not {text}: {error.strerror}" if error else text
            say(f"{name_of(why) if isinstance(why, int) else why}: {text}")
        if number in STOPS:
            self.stopped_by = number
        elif number == SIGCONT:
            self.stopped_by = 0
            self.take_news(os.WCONTINUED)  # what handle() asks for is others' SIGCONT
        elif number and self.stopped_by and (number in ENDS or why in ENDS):
            self.send(SIGCONT, "it is to end")

    def take_news(self, what: int) -> "os.waitid_result | None":
        """Return what the child has done since we last asked, or None: waitid(2)."""
        try:
            return os.waitid(os.P_PID, self.child, what | os.WNOHANG)
        except ChildProcessError:
            return None  # it is dead

    def reap(self) -> bool:
        """Reap the dead, but only note the command's death; tell if any child is left.

        The command is, until reap_child().
        """
        while True:  # one SIGCHLD can stand for any number of deaths
            try:
                # WNOWAIT: only look. bid_farewell() is to signal its group first: a
                # reaped pid, and with it the number of its group, can become another's.
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if dead is None:
                return True  # none of them is dead
            if dead.si_pid == self.child and self.death is None:
                self.death = dead
                return True  # waitid(2) would name it again and again
            os.waitid(os.P_PID, dead.si_pid, os.WEXITED)
            self.log(f"reaped {dead.si_pid}")

    # === Stop and resume, as a terminal and its shell do ==============================
    # A shell sees us alone. So when the child stops, we stop; when the shell's fg or bg
    # resumes us, by a SIGCONT, we resume the child. A Ctrl-Z in JOB:
    # 1. The terminal stops the child; SIGCHLD comes. handle(), follow_stop().
    # 2. stop_us() takes the terminal back and stops our group, by SIGTSTP: the shell
    #    says "Stopped" and shows its prompt.
    # 3. fg gives our group the terminal and sends us SIGCONT: resume() gives the child
    #    the terminal and sends it SIGCONT, whatever -r makes of that.
    #
    # The child was stopped by      We do                        If that cannot stop us
    # ----------------------------  ---------------------------  -----------------------
    # Ctrl-Z, or itself: nano and   stop, by SIGTSTP             resume it: nobody else
    # mutt answer Ctrl-Z so                                      could
    # a signal that we have passed  stop, by SIGTSTP             leave it stopped: who
    # on from a process                                          sent it can resume it
    # SIGTTIN or SIGTTOU: it needs  give it the terminal, if no  leave it stopped
    # the terminal                  shell needs that; else stop
    #                               by the same
    # Signals are taken lowest number first: so SIGCHLD, a stop's, before a SIGCONT.
    def follow_stop(self) -> None:
        """Do what that table says, if the child has stopped."""
        news = self.mode != SESSION and self.take_news(os.WSTOPPED)
        if not news or (news.si_status == SIGSTOP and foreground() is None):
            return  # (a process's SIGSTOP, and no shell is there to see it)
        by = news.si_status
        was_sent = by == self.stopped_by  # by us: so it was passed on
        self.stopped_by = by
        if by in (SIGTTIN, SIGTTOU):
            if not self.give_terminal():
                # By the same: timeout(1) in our group ignores these two, not SIGTSTP.
                self.stop_us(self.us, by)
        elif not self.stop_us(self.us, SIGTSTP) and not was_sent:
            self.resume("nobody else could resume it")

    def give_terminal(self) -> bool:
        """Give the child the terminal and resume it; False if a shell can need that."""
        owner = foreground()
        has_ended = owner and not exists(-owner)
        is_free = self.leads_session or owner == self.group or has_ended
        if self.mode != JOB or not is_free or attempt(os.tcsetpgrp, 0, self.child):
            return False
        self.send(SIGCONT, "it has the terminal")
        return True

    def stop_us(self, whom: int, how: int) -> bool:
        """Stop us or OUR_GROUP; return when resumed, or False if that does not stop us.

        TTY_STOPS stop neither PID 1 nor a group without a shell (POSIX: orphaned).
        """
        if SIGCONT in signal.sigpending():
            return True  # already, and a stop signal would discard that SIGCONT
        self.pass_terminal(self.group)
        if os.getpid() != 1:  # that would stop nobody, but discard a SIGCONT: a race
            attempt(os.kill, whom, how)
        signal.pthread_sigmask(SIG_UNBLOCK, [how])  # here it stops us
        signal.pthread_sigmask(SIG_BLOCK, TTY_STOPS)
        # The SIGCONT that has resumed us is pending, for handle(); or a stop signal is,
        # that came later and has discarded it. (A shell outside: we cannot know.)
        signs = {SIGCONT, *TTY_STOPS}
        return self.group == OUTSIDE or not signs.isdisjoint(signal.sigpending())

    def resume(self, why: "str | int" = SIGCONT) -> None:
        """Resume the child; give it the terminal if our group is in the foreground."""
        self.pass_terminal(self.child)
        # (-r changes what is passed on, not how a stop ends.)
        self.send(SIGCONT if self.stopped_by else self.forward_as[SIGCONT], why)

    def pass_terminal(self, group: int) -> None:
        """In JOB, make the child's group or ours the foreground one, if either is."""
        if self.mode == JOB and foreground() in (self.child, self.group):
            attempt(os.tcsetpgrp, 0, group)  # (its SIGTTOU, blocked, does not stop us)

    # === Leave ========================================================================
    def bid_farewell(self) -> None:
        """Send those left a SIGTERM, while the dead child holds its group's number.

        Each phase is begun again after an error: so the SIGTERM comes last.
        """
        if attempt(signal.setitimer, signal.ITIMER_REAL, self.options.grace):
            self.options.grace = 0.0  # without a timer it would never end
        self.pass_terminal(self.group)
        self.mode = SESSION  # as there, the terminal is not that of those left
        if self.options.grace and os.getpid() == 1:
            self.target = EVERYBODY
        waits = self.options.grace == FOREVER and not self.is_ending
        if self.target != self.child and not waits:
            self.send(self.forward_as[SIGTERM], "farewell")

    def reap_child(self) -> None:
        """Reap the child at last; find our status in how it has died."""
        assert self.death is not None  # for mypy
        attempt(os.waitid, os.P_PID, self.child, os.WEXITED | os.WNOHANG)
        self.status, how = self.death.si_status, f"exited with {self.death.si_status}"
        if self.death.si_code != os.CLD_EXITED:
            self.status, self.dies_of = 128 + self.status, self.status
            how = f"was ended by {name_of(self.dies_of)}, status {self.status}"
        self.log(f"{self.child} {how}")
        if self.status in self.options.expect:
            self.status = self.dies_of = 0

    def wait_for_others(self) -> None:
        """Go on as before while others exist; when the grace is over, kill them."""
        while self.options.grace:
            # bid_farewell() has set the timer. It comes first: so we kill only whom we
            # have just seen, even if we were stopped in between.
            is_late = signal.getitimer(signal.ITIMER_REAL)[0] == 0
            has_child = self.reap()
            if not self.others_exist():
                return
            if is_late:
                self.send(SIGKILL, "grace is over")
                return
            info = signal.sigtimedwait(SIGNALS, 0)
            if info is None and has_child and os.getpid() == 1:
                info = signal.sigwaitinfo(SIGNALS)  # a death's at last, or the timer's
            if info is None:
                # No SIGCHLD tells of those who are not our children.
                signal.sigtimedwait([], LOOK)  # that is: sleep
            elif info.si_signo != SIGALRM or info.si_code != SI_KERNEL:
                self.handle(info)

    def die_of_ctrl_c(self) -> None:
        """Die of SIGINT if the child has, at a terminal: so a script's loop ends, too.

        PID 1 does not die of it. (We cannot know whether it was a Ctrl-C or a process.)
        """
        if self.dies_of == SIGINT and foreground() == self.group:
            attempt(os.kill, self.us, SIGINT)
            signal.pthread_sigmask(SIG_UNBLOCK, [SIGINT])

    def others_exist(self) -> bool:
        """Tell whether anybody is left of those that we signal."""
        if self.target == EVERYBODY:
            return exists(EVERYBODY)
        if self.target == self.child:
            return False  # -c: that was the child alone
        # If a process has the child's pid again, the group of that number is gone.
        return exists(self.target) and not exists(self.child)


def main(argv: "list[str] | None" = None) -> int:
    """Run argv, or sys.argv; return the exit status, or SystemExit of argparse."""
    try:
        mask = signal.pthread_sigmask(SIG_BLOCK, SIGNALS)  # if we are imported
        if __name__ == "__main__":
            mask = mask_at_start
        init = Init(read_command_line(argv))
        init.start(mask)
    except Exception as error:
        say(f"cannot start: {reason(error)}")
        return 125
    # The command runs: from here on nothing may end us before it. A phase that fails is
    # begun again; its error is said once, and costs no CPU as long as it lasts. (To say
    # it can fail, too: so that is done in the next round, within try.)
    phases = [init.settle, init.pass_on, init.bid_farewell, init.reap_child]
    phases += [init.wait_for_others, init.die_of_ctrl_c]
    failure, said = None, ""
    while phases:
        try:
            if failure is not None:
                signal.sigtimedwait([], 0.1)  # that is: sleep
                if said != repr(failure):
                    said = repr(failure)
                    init.log(f"going on after {said}")
            phases[0]()
            del phases[0]
            failure = None
        except Exception as error:  # no memory, say
            failure = error
    return init.status


if __name__ == "__main__":
    os._exit(main())  # at once: nothing of Python's can hold us up
