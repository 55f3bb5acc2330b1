#!/usr/bin/env python3
# Copyright (c) 2026 The pyinit authors. SPDX-License-Identifier: MIT
"""Be PID 1 of a container: run one command, pass signals on to it, reap zombies.

The kernel treats PID 1, the first process of a container, as no other process:
- It drops signals that PID 1 has no handler for. So we block all signals before all
  else: blocked, they wait, and Init.run takes them one by one.
- It makes orphans children of PID 1. A dead child stays in the process table, a zombie,
  until its parent asks for its exit status: Init.reap.
- It kills all other processes when PID 1 exits. Init.leave tells them before.
The file follows pyinit's life; main() is its end. Names like signal(7) are man pages.
"""

# === Block signals: one that comes while we are not ready has to wait =================
try:
    import signal

    # All but those that the C library keeps for itself: 32, 33 and, in musl, 34.
    SIGNALS = (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    if __name__ == "__main__":
        mask_at_start = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    import os  # first, for the line below
    import argparse
except KeyboardInterrupt:  # what Python makes of a SIGINT that came before
    raise SystemExit(128 + 2) from None
except Exception as error:  # reading a module failed
    os.write(2, b"[pyinit] cannot start: %a\n" % error)
    raise SystemExit(125) from None

__version__ = "1.1.0"
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)  # what stops a job
NOT_PASSED_ON = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *STOPS)
SI_KERNEL = 128  # sigaction(2): the si_code of what a terminal sends, to a whole group
EVERYBODY = -1  # kill(2): from PID 1, all other processes of the container
ENOENT, ENOEXEC, EACCES = 2, 8, 13  # errno(3)
SEARCH_ON = (ENOENT, EACCES, 19, 20, 110, 116)  # ENODEV, ENOTDIR, ETIMEDOUT, ESTALE

# === Read the command line ============================================================
HELP = {
    "c": "signal the command alone, without a session or group (or DUMB_INIT_SETSID=0)",
    "r": "send M where N is received, nothing if M is 0: 15:3, TERM:QUIT, RTMIN+1:USR1;"
    " repeatable, the last one for an N wins; what TERM becomes, so does the farewell",
    "e": "exit 0 where the exit status would be CODE, 0 to 255; repeatable",
    "g": "how long what the command leaves behind may take to end after the farewell, a"
    " SIGTERM, before SIGKILL; 0, the default, waits for nobody",
    "v": "say on stderr what happens (or DUMB_INIT_DEBUG=1)",
    "status": "Exit status: the command's own, or 128 + N if signal N ended it; 127 if"
    " it was not found, 126 if it could not be run, 125 if pyinit failed, 2 if misused",
}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser for pyinit's options; what follows them is the command."""
    parser = argparse.ArgumentParser(
        prog="pyinit.py",
        usage="%(prog)s [options] [--] command [arg ...]",
        description="Be PID 1: run one command, pass signals on, reap zombies.",
        epilog=HELP["status"],
        # The default one loads five modules at once to ask the terminal for its width.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
        # Only before Python 3.8, which brought valid_signals, does -vc need them.
        allow_abbrev=not hasattr(signal, "valid_signals"),
    )
    add = parser.add_argument
    add("-c", "--single-child", action="store_true", help=HELP["c"])
    add("-r", "--rewrite", metavar="N:M", type=rewrite, action="append", help=HELP["r"])
    add("-e", "--expect", metavar="CODE", type=status, action="append", help=HELP["e"])
    add("--grace", metavar="SECONDS", type=seconds, help=HELP["g"])
    add("-v", "--verbose", action="store_true", help=HELP["v"])
    add("-V", "--version", action="version", version="pyinit " + __version__)
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(rewrite=[], expect=[], grace=0.0)
    parser.set_defaults(single_child=os.environ.get("DUMB_INIT_SETSID") == "0")
    parser.set_defaults(verbose=os.environ.get("DUMB_INIT_DEBUG") == "1")
    return parser


def rewrite(text: str) -> "tuple[int, int]":
    """Return (N, M) for the N:M of --rewrite."""
    numbers = {"0": 0, **signal_numbers()}
    # upper() of bytes changes ASCII alone: no letter of another alphabet becomes an S.
    source, _, target = os.fsdecode(os.fsencode(text).upper()).partition(":")
    if numbers.get(source, 0) in (0, *NOT_PASSED_ON) or target not in numbers:
        reason = "%r is not N:M, as TERM:QUIT (N is not KILL, STOP or CHLD)" % text
        raise argparse.ArgumentTypeError(reason)
    return numbers[source], numbers[target]


def signal_numbers() -> "dict[str, int]":
    """Return the number of each signal by its names: SIGTERM, SIGRTMIN+1, TERM, 15."""
    names = {"SIGSTKFLT": 16, **signal.Signals.__members__}  # Python's own since 3.11
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        names["SIGRTMIN+%d" % (number - signal.SIGRTMIN)] = number
        names["SIGRTMAX-%d" % (signal.SIGRTMAX - number)] = number
    names.update({name[len("SIG") :]: number for name, number in names.items()})
    return {**names, **{str(number): number for number in SIGNALS}}


def status(text: str) -> int:
    """Return the CODE of --expect."""
    if text not in map(str, range(256)):
        raise argparse.ArgumentTypeError("%r is not a number from 0 to 255" % text)
    return int(text)


def seconds(text: str) -> float:
    """Return the SECONDS of --grace. (float() alone also reads 1e3, nan and 1_0.)"""
    if set(text) - set("0123456789.") or float(text) > 1000000:
        raise argparse.ArgumentTypeError("%r is not a number from 0 to 1000000" % text)
    return float(text)


# === Start the command, in one of three places ========================================
# JOB      stdin is our terminal, and stdout is one too. The child leads a group of its
#          own in our session; Ctrl-C and Ctrl-Z reach that group. If it stops, we take
#          the terminal and stop our group. With SIGCONT the child gets it back.
# SINGLE   -c. The child stays in our group; Ctrl-C and Ctrl-Z reach both of us, so that
#          we do not pass them on. If it stops, so do we.
# SESSION  Neither. The child leads a session of its own, where no terminal reaches it:
#          we pass on what we get. If it stops, that is its own affair.
# JOB needs stdout: in "pyinit ... | less", less is in our group and needs the terminal.
JOB, SINGLE, SESSION = "job", "single", "session"


class Init:
    """The one command that pyinit runs, from fork to exit."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.at_terminal = isinstance(attempt(os.tcgetpgrp, 0), int)  # stdin is ours
        self.place = JOB if self.at_terminal and os.isatty(1) else SESSION
        if options.single_child:
            self.place = SINGLE
        # For each signal that can come, the one to send to the command, or 0.
        self.table = {n: n for n in SIGNALS if n not in NOT_PASSED_ON}
        if self.place != SINGLE:
            # The child's group can be orphaned: nobody else in its session could resume
            # it. Then STOPS do nothing to it, but SIGSTOP stops it.
            self.table.update(dict.fromkeys(STOPS, signal.SIGSTOP))
        self.table.update(options.rewrite)
        self.child, self.ended = 0, (0, 0)  # its pid; then waitpid(2) of it
        self.target = 0  # for kill(2): the child as its pid, or its group as -pid
        self.stop_lasts = False  # a stop signal was passed on, and no SIGCONT since

    def start(self, mask: "set[int | signal.Signals]") -> None:
        """Fork a child that becomes the command, with that signal mask; or OSError."""
        undo_locale_coercion()
        # Python handles SIGINT, and ignores two others. But before exec, too, a signal
        # has to do to the child what it would do to the command.
        handled = [n for n in SIGNALS if callable(signal.getsignal(n))]
        for number in (*handled, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        # While SIGCHLD is ignored, the kernel throws exit statuses away: wait(2).
        sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        in_foreground = attempt(os.tcgetpgrp, 0) == os.getpgrp()
        callable(os.waitid)  # AttributeError while there is no child: PyPy has it not
        self.child = os.fork()
        if self.child != 0:
            self.target = self.child if self.place == SINGLE else -self.child
            return
        try:
            if self.place == JOB:
                os.setpgid(0, 0)
                if in_foreground:
                    attempt(os.tcsetpgrp, 0, os.getpid())  # (SIGTTOU is blocked)
            elif self.place == SESSION:
                os.setsid()
            for name in ("LISTEN_PID", "WATCHDOG_PID"):  # sd_listen_fds(3)
                if os.environ.get(name) == str(os.getppid()):
                    os.environ[name] = str(os.getpid())
            signal.signal(signal.SIGCHLD, sigchld)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            execute(self.options.command)
        except Exception as error:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # SIGPIPE could end say()
            reason = getattr(error, "strerror", None) or error
            say("%s: %s" % (self.options.command[0], reason))
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
        finally:
            os._exit(126)  # whatever happens: never a second pyinit

    # === Pass signals on, and reap ====================================================
    def run(self) -> int:
        """Pass signals on and reap until the child has died; return its exit status."""
        child_died = self.child == 0 or self.reap()  # some died before SIGCHLD counted
        while not child_died:
            came = signal.sigwaitinfo(SIGNALS)
            if came.si_signo == signal.SIGCHLD:
                child_died = self.reap()
                self.follow_stop()
            elif self.child_was_told(came):
                continue
            elif came.si_signo == signal.SIGCONT:
                self.resume()
            elif came.si_signo in STOPS:
                self.stop(came)
            else:
                self.send(came.si_signo)
        return self.leave()

    def child_was_told(self, came: "signal.struct_siginfo") -> bool:
        """Tell whether the terminal has sent a signal to the child as well as to us."""
        from_terminal = came.si_code == SI_KERNEL and came.si_signo in TERMINAL_SIGNALS
        if not from_terminal or self.place != SINGLE:
            return False
        return attempt(os.getpgid, self.child) == os.getpgrp()  # it can have left ours

    def send(self, number: int, why: str = "") -> None:
        """Send the target what the table has for a signal; with -v say so, and why."""
        sent = self.table.get(number, number)  # only SIGKILL is not in it
        error = attempt(os.kill, self.target, sent)  # 0, for dropped, only looks
        if isinstance(error, ProcessLookupError) and self.child != 0:
            error = attempt(os.kill, self.child, sent)  # it leads no group yet
        if self.options.verbose:
            names = {self.child: str(self.child), EVERYBODY: "everybody"}
            whom = names.get(self.target, "group %d" % -self.target)
            what = "sent %s to %s" % (signal_name(sent), whom) if sent else "dropped"
            if isinstance(error, OSError) and sent:
                what = "not %s: %s" % (what, error.strerror)
            say("%s: %s" % (why or signal_name(number), what))

    def reap(self) -> bool:
        """Reap the dead, but not yet the command; return whether that has died."""
        while True:
            # One SIGCHLD stands for many deaths: while it is pending, others get lost.
            # The command, a zombie, keeps its pid until we have signalled its group.
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None or dead.si_pid == self.child:
                return dead is not None
            os.waitpid(dead.si_pid, 0)
            say("reaped %d" % dead.si_pid, self.options.verbose)

    # === Stop and resume, as a terminal and its shell do ==============================
    def follow_stop(self) -> None:
        """If the child has stopped, stop as well: see the three places above."""
        if self.place == SESSION or self.stop_lasts:
            return
        stopped = attempt(os.waitid, os.P_PID, self.child, os.WSTOPPED | os.WNOHANG)
        if not isinstance(stopped, os.waitid_result):
            return  # it runs, or is dead
        if self.place == JOB:
            self.take_terminal()
            self.suspend(0)
        elif stopped.si_status in STOPS or self.at_terminal:
            self.suspend(os.getpid())
            if attempt(os.waitid, os.P_PID, self.child, os.WCONTINUED | os.WNOHANG):
                # Who resumed us (fg) has resumed our group, and so the child. Passed on
                # as well, and late, that SIGCONT could undo the next Ctrl-Z.
                signal.sigtimedwait([signal.SIGCONT], 0)

    def suspend(self, whom: int) -> None:
        """Stop as a terminal stops a job: by SIGTSTP, to us or (whom: 0) our group."""
        attempt(os.kill, whom, signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])  # here we stop
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
        # The SIGCONT that resumed us is pending, or a new SIGTSTP that discarded it. If
        # not, nobody could: PID 1 and orphaned process groups are spared by SIGTSTP.
        if signal.sigpending().isdisjoint([signal.SIGCONT, signal.SIGTSTP]):
            self.stop_lasts = False
            if self.place == JOB:
                attempt(os.tcsetpgrp, 0, self.child)
            self.send(signal.SIGCONT, "nobody else could resume it")

    def resume(self) -> None:
        """SIGCONT has come: pass it on, and the terminal if our caller gave us that."""
        self.stop_lasts = False
        if self.place == JOB and attempt(os.tcgetpgrp, 0) == os.getpgrp():
            attempt(os.tcsetpgrp, 0, self.child)
        self.send(signal.SIGCONT)

    def stop(self, came: "signal.struct_siginfo") -> None:
        """A stop signal has come: pass it on and, unless that drops it, stop too."""
        self.send(came.si_signo)
        sent = self.table[came.si_signo]
        self.stop_lasts = sent in (*STOPS, signal.SIGSTOP)
        if sent != 0 and came.si_code == SI_KERNEL:
            self.suspend(os.getpid())  # the terminal has told the rest of our group
        elif sent != 0:
            self.take_terminal()
            # SIGSTOP discards a SIGCONT that has come by now, even of PID 1, which it
            # does not stop. (One that comes microseconds after the look is still lost.)
            if os.getpid() != 1 and signal.SIGCONT not in signal.sigpending():
                attempt(os.kill, os.getpid(), signal.SIGSTOP)

    def take_terminal(self) -> None:
        """Put our group into the foreground, if the child's is there."""
        if self.place == JOB and attempt(os.tcgetpgrp, 0) == self.child:
            attempt(os.tcsetpgrp, 0, os.getpgrp())

    # === Leave ========================================================================
    def leave(self) -> int:
        """Say farewell to what the dead child leaves behind; return its exit status."""
        self.take_terminal()
        if self.options.grace and os.getpid() == 1:
            self.target = EVERYBODY
        if self.target < 0:
            self.send(signal.SIGTERM, "farewell")
        if self.child != 0:  # 0 from now on: the pid can be another process's
            self.ended, self.child = os.waitpid(self.child, 0), 0
        pid, status = self.ended
        code, how = os.WEXITSTATUS(status), "exited with %d" % os.WEXITSTATUS(status)
        if os.WIFSIGNALED(status):
            code = 128 + os.WTERMSIG(status)
            how = "was ended by %s, status %d" % (signal_name(code - 128), code)
        say("%d %s" % (pid, how), self.options.verbose)
        if self.options.grace and self.target < 0:
            self.wait_for_others()
        return code

    def wait_for_others(self) -> None:
        """Reap and pass signals on while the target exists; after the grace kill it."""
        deadline = os.times().elapsed + self.options.grace  # a clock that nobody sets
        while True:
            has_children = not isinstance(attempt(self.reap), ChildProcessError)
            # No new process gets a group's number: if one has it, the group has ended.
            is_group = self.target != EVERYBODY
            if is_group and attempt(os.kill, -self.target, 0) is None:
                return
            look = attempt(os.kill, self.target, 0)
            if isinstance(look, ProcessLookupError):
                return
            rest = deadline - os.times().elapsed
            if rest <= 0:
                self.send(signal.SIGKILL, "grace is over")
                return
            # SIGCHLD tells of our children alone. For others, look every 20 ms.
            sigchld_tells = has_children and not is_group
            came = signal.sigtimedwait(SIGNALS, rest if sigchld_tells else 0.02)
            if (
                came and came.si_signo in self.table
            ):  # after a stop it can be any number
                self.send(came.si_signo)


# === Small functions that the phases use, rarer ones last =============================
def attempt(call: object, *arguments: object) -> object:
    """Return what a call returns, or its OSError: seccomp(2) can refuse any call."""
    assert callable(call)
    try:
        return call(*arguments)
    except OSError as error:
        return error


def say(text: str, wanted: bool = True) -> None:
    """Write one line to stderr, if it is wanted; where that fails the line is lost."""
    line = os.fsencode("[pyinit] %s\n" % text.replace("\n", "\\n"))
    if wanted and isinstance(attempt(os.write, 2, line), OSError):
        # The failure can have sent us one of these: it is not to be passed on.
        signal.sigtimedwait([signal.SIGPIPE, signal.SIGXFSZ], 0)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    names = {value: name for name, value in reversed(list(signal_numbers().items()))}
    return names.get(number, "signal %d" % number)  # the C library's have none


def execute(command: "list[str]") -> None:
    """Become the command, as execvp(3) does, binaries never by sh; OSError if not."""
    name = command[0]
    paths = [os.path.join(path or ".", name) for path in os.get_exec_path() if name]
    failure = OSError(ENOENT, os.strerror(ENOENT))
    for path in [name] if "/" in name else paths:
        try:
            os.execv(path, command)
        except OSError as error:
            is_text = b"\0" not in read(path, 256).partition(b"\n")[0]
            if error.errno == ENOEXEC and is_text:
                os.execv("/bin/sh", ["/bin/sh", path, *command[1:]])
            if "/" in name or error.errno not in SEARCH_ON:
                raise
            if error.errno == EACCES:
                failure = error
    raise failure


def read(path: str, length: int = -1) -> bytes:
    """Return up to so many bytes of a file, or all; b"" if it cannot be read."""
    try:  # a FIFO is not opened, since that would wait for somebody who writes
        with open(path if os.path.isfile(path) else "", "rb") as file:
            return file.read(length)
    except OSError:
        return b""


def would_start_us_again(path: str) -> bool:
    """Tell whether a script's "#!" line names us and no program: again, for ever."""
    is_run_by_it = "/" in path and os.access(path, os.X_OK, effective_ids=True)
    line = read(path, 256).partition(b"\n")[0].translate(None, b"'\"")
    words = [globals().get("__file__", "-"), *os.fsdecode(line[2:]).split()]
    own, *names = [os.path.splitext(os.path.basename(word))[0] for word in words]
    if not is_run_by_it or not line.startswith(b"#!") or own not in names:
        return False
    rest = words[names.index(own) + 2 :]
    return make_parser().parse_args(rest).command in ([], ["--"])


def undo_locale_coercion() -> None:
    """Take back the LC_CTYPE that Python sets in the C locale: PEP 538, proc(5)."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    environ = read("/proc/self/environ")
    _, found, rest = (b"\0" + environ).partition(b"\0LC_CTYPE=")
    if found:
        os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
    elif environ or [*os.environ][-1] == "LC_CTYPE":  # Python puts it last
        del os.environ["LC_CTYPE"]


def main(argv: "list[str] | None" = None) -> int:
    """Run argv, or our own words; return the exit status, or SystemExit of argparse."""
    try:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if __name__ == "__main__":
            mask = mask_at_start
        parser = make_parser()
        try:
            options = parser.parse_args(argv)
        finally:
            print(end="", flush=True)  # OSError here if help cannot be written
        if options.command[:1] == ["--"]:
            del options.command[0]
        if not options.command:
            parser.error("no command given")
        if would_start_us_again(options.command[0]):
            options.command.insert(0, "/bin/sh")
        init = Init(options)
        init.start(mask)
    except Exception as error:
        say("cannot start: %s" % (getattr(error, "strerror", None) or error))
        return 125
    while True:
        try:
            # So that what the command lets go of is not kept open, or busy, by us.
            attempt(os.chdir, "/")
            os.closerange(3, 65536)
            orphans = "ours" if os.getpid() == 1 else "PID 1's, which we are not"
            what = (init.child, options.command[0], orphans)
            say("%d runs %s; orphans are %s" % what, options.verbose)
            code = init.run()
            return 0 if code in options.expect else code
        except (OSError, MemoryError):
            continue  # whatever it is, the command runs


if __name__ == "__main__":
    os._exit(main())
