#!/usr/bin/env python3
# Copyright (c) 2026 The pyinit authors. SPDX-License-Identifier: MIT
"""Be PID 1 of a container: run one command, pass signals on to it, reap zombies.

The kernel treats PID 1, the first process of a container, as no other process:
- It drops signals that PID 1 has no handler for. So we block all signals before all
  else: blocked, they wait, and Init.run takes them one by one.
- It makes orphans children of PID 1. A dead child stays in the process table, a zombie,
  until its parent asks for its exit status: Init.reap.
- It kills all other processes when PID 1 exits. So Init.leave sends SIGTERM before.
The file follows pyinit's life; main() is its end. Names like signal(7) are man pages.
"""

# === Block signals: one that comes while we are not ready has to wait =================
try:
    import signal

    # All but those that the C library keeps for itself: 32, 33 and, in musl, 34.
    SIGNALS = (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    if __name__ == "__main__":  # if we are imported, main() does this
        mask_at_start = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    import os  # before argparse: os.write says so if argparse fails
    import argparse
except KeyboardInterrupt:  # Python's answer to a SIGINT that came before the block
    raise SystemExit(128 + 2) from None
except Exception as error:
    os.write(2, b"[pyinit] cannot start: %a\n" % error)
    raise SystemExit(125) from None

__version__ = "1.1.0"
NOT_PASSED_ON = (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)
JOB_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)  # what a terminal stops by
TERMINAL_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *JOB_STOPS)
SI_KERNEL = 128  # sigaction(2): the si_code of the kernel's signals, such as Ctrl-C's
EVERYBODY, OUR_GROUP = -1, 0  # for kill(2); PID 1's everybody is the container


def attempt(call: object, *arguments: object) -> object:
    """Return what a call returns, or its OSError: no refused call may end PID 1."""
    assert callable(call)  # for mypy
    try:
        return call(*arguments)
    except OSError as error:
        return error


def say(text: str) -> None:
    """Write one line to stderr; where that fails the line is lost."""
    line = os.fsencode("[pyinit] %s\n" % text.replace("\n", "\\n"))
    if isinstance(attempt(os.write, 2, line), OSError):
        # Such a failure can send us a signal, which is not meant for the command.
        signal.sigtimedwait([signal.SIGPIPE, signal.SIGXFSZ], 0)


# === Read the command line ============================================================
HELP = {
    "c": "signal the command alone, without a session or group (or DUMB_INIT_SETSID=0)",
    "r": "send M where N is received, nothing if M is 0: 15:3, TERM:QUIT, RTMIN+1:USR1;"
    " repeatable, the last one for an N wins; also rewrites the farewell (see --grace)",
    "e": "exit 0 where the exit status would be CODE, 0 to 255; repeatable",
    "g": "when the command has ended, what it leaves behind gets a SIGTERM, the"
    " farewell, and SECONDS to end, then SIGKILL; 0, the default, waits for nobody",
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
        # (Without a width argparse imports five modules, to ask the terminal for one.)
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
        # (Python 3.6 and 3.7, which lack valid_signals, read -vc only if this is True.)
        allow_abbrev=not hasattr(signal, "valid_signals"),
    )
    add = parser.add_argument
    add("-c", "--single-child", action="store_true", help=HELP["c"])
    add("-r", "--rewrite", metavar="N:M", type=pair, action="append", help=HELP["r"])
    add("-e", "--expect", metavar="CODE", action="append", help=HELP["e"])
    add("--grace", metavar="SECONDS", help=HELP["g"])
    add("-v", "--verbose", action="store_true", help=HELP["v"])
    add("-V", "--version", action="version", version="pyinit " + __version__)
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(rewrite=[], expect=[], grace="0")
    parser.set_defaults(single_child=os.environ.get("DUMB_INIT_SETSID") == "0")
    parser.set_defaults(verbose=os.environ.get("DUMB_INIT_DEBUG") == "1")
    return parser


def pair(text: str) -> "tuple[int, int]":
    """Return (N, M) for the N:M of --rewrite, in ASCII letters; ArgumentTypeError."""
    numbers = {"0": 0, **signal_numbers()}
    source, _, target = os.fsdecode(os.fsencode(text).upper()).partition(":")
    if {source, target} - set(numbers) or numbers[source] in (0, *NOT_PASSED_ON):
        reason = "%r is not N:M, as TERM:QUIT (N is not KILL, STOP or CHLD)" % text
        raise argparse.ArgumentTypeError(reason)
    return numbers[source], numbers[target]


def signal_numbers() -> "dict[str, int]":
    """Return the number of each signal by its names: SIGTERM, SIGRTMIN+1, TERM, 15."""
    names = {"SIGSTKFLT": 16, **signal.Signals.__members__}  # since 3.11 a member
    for number in range(signal.SIGRTMIN, signal.SIGRTMAX + 1):
        names["SIGRTMIN+%d" % (number - signal.SIGRTMIN)] = number
        names["SIGRTMAX-%d" % (signal.SIGRTMAX - number)] = number
    names.update({name[len("SIG") :]: number for name, number in names.items()})
    return {**names, **{str(number): number for number in SIGNALS}}


def signal_name(number: int) -> str:
    """Return the name of a signal, such as SIGTERM."""
    names = [name for name, value in signal_numbers().items() if value == number]
    return names[0] if names else f"signal {number}"  # the C library's own have none


# === Start the command, in one of three modes =========================================
# JOB      stdin is our terminal, and stdout is a terminal. The child leads a group of
#          its own in our session. Ctrl-C and Ctrl-Z reach that group, and not us.
# SINGLE   -c. The child stays in our group. Ctrl-C and Ctrl-Z reach both the child and
#          us: child_was_told() keeps us from passing them on.
# SESSION  All else. The child leads a session of its own, which has no terminal, even
#          if ours has. So Ctrl-C and Ctrl-Z reach us alone: we pass them on.
# JOB needs stdout: in "pyinit ... | less", less is in our group and needs the terminal.
JOB, SINGLE, SESSION = "job", "single", "session"


class Init:
    """The one command that pyinit runs, from fork to exit."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.log = say if options.verbose else lambda text: None
        self.at_terminal = isinstance(attempt(os.tcgetpgrp, 0), int)  # stdin is ours
        self.mode = JOB if self.at_terminal and os.isatty(1) else SESSION
        if options.single_child:
            self.mode = SINGLE
        self.forward_as = {n: n for n in SIGNALS if n not in NOT_PASSED_ON}  # 0: drop
        if self.mode != SINGLE:
            # JOB_STOPS stop nobody in a group without a shell, as in its own session.
            self.forward_as.update(dict.fromkeys(JOB_STOPS, signal.SIGSTOP))
        self.forward_as.update(options.rewrite)  # pairs (N, M)
        self.child = 0  # its pid and, but in SINGLE, its group's number
        self.death: os.waitid_result | None = None  # of the child, once it has died
        self.target, self.target_name = 0, ""  # whom kill(2) signals; its name for -v
        self.child_told_to_stop = False  # by us, with no SIGCONT since

    def start(self, mask: "set[int | signal.Signals]") -> None:
        """Fork a child that becomes the command, with that signal mask; or OSError."""
        undo_locale_coercion()
        # Python has a handler (a callable) for SIGINT, and ignores SIGPIPE and SIGXFSZ.
        # The command is to have the defaults, as is the child while it is still Python.
        handled = [n for n in SIGNALS if callable(signal.getsignal(n))]
        for number in (*handled, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        # While SIGCHLD is ignored, the kernel throws exit statuses away: wait(2).
        sigchld_at_start = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        attempt(self.reap)  # (PyPy, which has no waitid, fails here)
        self.child = os.fork()
        if self.child != 0:
            self.target, self.target_name = -self.child, f"group {self.child}"
            if self.mode == SINGLE:
                self.target, self.target_name = self.child, str(self.child)
            return
        try:
            if self.mode == JOB:
                os.setpgid(0, 0)
                self.pass_terminal(os.getpgrp(), giver=os.getpgid(os.getppid()))
            elif self.mode == SESSION:
                os.setsid()
            for name in ("LISTEN_PID", "WATCHDOG_PID"):  # sd_listen_fds(3)
                if os.environ.get(name) == str(os.getppid()):
                    os.environ[name] = str(os.getpid())
            signal.signal(signal.SIGCHLD, sigchld_at_start)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            execute(self.options.command)
        except Exception as error:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # say() may raise SIGPIPE
            reason = getattr(error, "strerror", None) or error
            say(f"{self.options.command[0]}: {reason}")
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
        finally:
            os._exit(126)  # if all that failed: never a second pyinit

    # === Pass signals on, and reap ====================================================
    def run(self) -> int:
        """Pass signals on and reap until the child has died; return its exit status."""
        attempt(os.chdir, "/")  # so that no file system stays busy because of us,
        os.closerange(3, 65536)  # and no pipe open that the command has closed
        orphans = "ours" if os.getpid() == 1 else "PID 1's, which we are not"
        self.log(f"{self.child} runs {self.options.command[0]}; orphans are {orphans}")
        attempt(self.reap)  # zombies from before exec(2), or from before an error
        while self.death is None:
            info = signal.sigwaitinfo(SIGNALS)
            if info.si_signo == signal.SIGCHLD:  # a child has died, stopped or resumed
                self.reap()
                self.stop_if_child_stopped()
            elif self.child_was_told(info):
                continue
            elif info.si_signo == signal.SIGCONT:
                self.resume()
            elif info.si_signo in JOB_STOPS and self.forward_as[info.si_signo] != 0:
                self.pass_stop_on(info)
            else:
                self.send(info.si_signo)
        return self.leave(self.death)

    def child_was_told(self, info: "signal.struct_siginfo") -> bool:
        """Tell whether the terminal has sent a signal to the child as well as to us."""
        return (
            self.mode == SINGLE
            and info.si_signo in TERMINAL_SIGNALS
            and info.si_code == SI_KERNEL
            and attempt(os.getpgid, self.child) == os.getpgrp()  # it can have left ours
        )

    def send(self, number: int, why: str = "") -> None:
        """Send the target what a signal is forwarded as; with -v say so, and why."""
        to_send = self.forward_as.get(number, number)  # (SIGKILL has no entry)
        error = attempt(os.kill, self.target, to_send)  # 0 sends nothing
        if isinstance(error, ProcessLookupError) and self.death is None:
            # The child has not come to setpgid or setsid: it has no group yet.
            error = attempt(os.kill, self.child, to_send)
        if self.options.verbose:
            what = f"sent {signal_name(to_send)} to {self.target_name}"
            if to_send == 0:
                what = "dropped"
            elif isinstance(error, OSError):
                what = f"not {what}: {error.strerror}"
            say(f"{why or signal_name(number)}: {what}")

    def reap(self) -> None:
        """Reap dead children, but note the command's death; ChildProcessError: none."""
        while True:  # one SIGCHLD can stand for any number of deaths
            # WNOWAIT only looks: the command keeps its pid until leave() has used it.
            dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if dead is None:
                return
            if self.death is None and dead.si_pid == self.child:
                self.death = dead
                return
            os.waitpid(dead.si_pid, 0)
            self.log(f"reaped {dead.si_pid}")

    # === Stop and resume, as a terminal and its shell do ==============================
    # 1. JOB: the child stops (Ctrl-Z, say)    Take the terminal, SIGTSTP our group.
    # 2. SINGLE: the child stops               SIGTSTP ourselves.
    # 3. The terminal sends us a stop signal   Pass it on, SIGTSTP ourselves.
    # 4. A process sends us a stop signal      Pass it on, SIGSTOP ourselves.
    # SIGCONT, which the shell's fg sends, resumes us; then resume() resumes the child.
    # SIGTSTP cannot stop PID 1 or an orphaned group: only we can resume the child then.
    def stop_if_child_stopped(self) -> None:
        """Stop too if the child has stopped: 1 and 2 above."""
        if self.mode == SESSION or self.child_told_to_stop:
            return
        stopped = attempt(os.waitid, os.P_PID, self.child, os.WSTOPPED | os.WNOHANG)
        if not isinstance(stopped, os.waitid_result):
            return  # it runs, or has died
        if self.mode == JOB:
            self.pass_terminal(os.getpgrp(), giver=self.child)
            self.stop_ourselves(OUR_GROUP)
        elif stopped.si_status in JOB_STOPS or self.at_terminal:
            self.stop_ourselves(os.getpid())
            awake = attempt(os.waitid, os.P_PID, self.child, os.WCONTINUED | os.WNOHANG)
            if isinstance(awake, os.waitid_result):
                # fg has sent SIGCONT to our whole group, and so to the child. Take ours
                # away: passed on, and late, it could undo the next Ctrl-Z.
                signal.sigtimedwait([signal.SIGCONT], 0)

    def pass_terminal(self, taker: int, giver: "int | None" = None) -> None:
        """In JOB, make taker the foreground group, if that is the giver (None: any)."""
        if self.mode == JOB and giver in (None, attempt(os.tcgetpgrp, 0)):
            attempt(os.tcsetpgrp, 0, taker)  # blocked SIGTTOU cannot stop us

    def stop_ourselves(self, whom: int) -> None:
        """Send us (our pid) or OUR_GROUP a SIGTSTP; return when we are resumed."""
        attempt(os.kill, whom, signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])  # here we stop
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
        # If we stopped, what resumed us waits for run(): SIGCONT, or a newer SIGTSTP,
        # which discards SIGCONT. If neither is there, the kernel did not stop us.
        if not signal.sigpending() & {signal.SIGCONT, signal.SIGTSTP}:
            self.pass_terminal(self.child)  # else it stops again if it wants to read
            self.resume("nobody else could resume it")

    def resume(self, why: str = "") -> None:
        """Resume the child; give it the terminal if our group is in the foreground."""
        self.child_told_to_stop = False
        self.pass_terminal(self.child, giver=os.getpgrp())
        self.send(signal.SIGCONT, why)

    def pass_stop_on(self, info: "signal.struct_siginfo") -> None:
        """Pass a stop signal on, rewritten or not, and stop too: 3 and 4 above."""
        self.send(info.si_signo)
        sent = self.forward_as[info.si_signo]
        self.child_told_to_stop = sent in (*JOB_STOPS, signal.SIGSTOP)
        if info.si_code == SI_KERNEL:
            self.stop_ourselves(os.getpid())
            return
        self.pass_terminal(os.getpgrp(), giver=self.child)
        # SIGSTOP does not stop PID 1, and discards a SIGCONT that is pending. (One that
        # comes between this look and the kill is still lost.)
        if os.getpid() != 1 and signal.SIGCONT not in signal.sigpending():
            attempt(os.kill, os.getpid(), signal.SIGSTOP)

    # === Leave ========================================================================
    def leave(self, death: "os.waitid_result") -> int:
        """Send the farewell to what the child leaves behind; return its exit status."""
        self.pass_terminal(os.getpgrp(), giver=self.child)
        if self.options.grace and os.getpid() == 1:
            self.target, self.target_name = EVERYBODY, "everybody"
        if self.target != self.child:
            self.send(signal.SIGTERM, "farewell")
        attempt(os.waitpid, self.child, 0)  # from here on its pid can be anybody's
        status, how = death.si_status, f"exited with {death.si_status}"
        if death.si_code != os.CLD_EXITED:
            status = 128 + death.si_status
            how = f"was ended by {signal_name(death.si_status)}, status {status}"
        self.log(f"{self.child} {how}")
        if self.options.grace and self.target != self.child:
            self.wait_for_others()
        return status

    def wait_for_others(self) -> None:
        """Reap and pass signals on while the target exists; after the grace kill it."""
        deadline = os.times().elapsed + self.options.grace  # as time.monotonic()
        while True:
            is_over = os.times().elapsed >= deadline  # before we look who is there
            attempt(self.reap)
            if isinstance(attempt(os.kill, self.target, 0), ProcessLookupError):
                return
            # No process gets a group's number as its pid before the group has ended.
            if self.target != EVERYBODY and attempt(os.kill, -self.target, 0) is None:
                return
            if is_over:
                self.send(signal.SIGKILL, "grace is over")
                return
            info = signal.sigtimedwait(SIGNALS, 0)
            if info is None:
                # SIGCHLD tells of our children alone: look for others every 20 ms. (Its
                # result is no use: Python repeats old signals if it is stopped here.)
                signal.sigtimedwait([signal.SIGCHLD], 0.02)
            elif info.si_signo != signal.SIGCHLD:
                self.send(info.si_signo)


# === Rarer rules, and main ============================================================
def execute(command: "list[str]") -> None:
    """Become the command, found as execvp(3) finds it; OSError if that fails."""
    ENOENT, ENOEXEC, EACCES, ENODEV, ENOTDIR = 2, 8, 13, 19, 20  # errno(3)
    ETIMEDOUT, ESTALE = 110, 116
    name = command[0]
    paths = [name]
    if "/" not in name:
        paths = [os.path.join(path or ".", name) for path in os.get_exec_path() if name]
    failure = OSError(ENOENT, os.strerror(ENOENT))
    for path in paths:
        try:
            os.execv(path, command)
        except OSError as error:
            # A script without "#!" is for sh, a binary for another machine for nobody.
            is_text = b"\0" not in read(path, 256).partition(b"\n")[0]
            if error.errno == ENOEXEC and is_text:
                os.execv("/bin/sh", ["/bin/sh", path, *command[1:]])
            if error.errno == EACCES or "/" in name:
                failure = error
            if error.errno not in (ENOENT, EACCES, ENODEV, ENOTDIR, ETIMEDOUT, ESTALE):
                raise
    raise failure


def read(path: str, length: int = -1) -> bytes:
    """Return up to length bytes of a file, -1: all; b"" if it cannot be read."""
    if not os.path.isfile(path):  # to open a FIFO would wait for somebody who writes
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except OSError:
        return b""


def would_start_us_again(path: str) -> bool:
    """Tell whether a script begins with "#!/sbin/pyinit.py", say: a loop for ever."""
    is_executable = "/" in path and os.access(path, os.X_OK, effective_ids=True)
    line = read(path, 256).partition(b"\n")[0].translate(None, b"'\"")
    words = os.fsdecode(line).split()
    names = [os.path.splitext(os.path.basename(word))[0] for word in words]
    own = os.path.splitext(os.path.basename(globals().get("__file__", "")))[0]
    if not is_executable or not line.startswith(b"#!") or own not in names:
        return False
    options = words[names.index(own) + 1 :]
    return make_parser().parse_args(options).command in ([], ["--"])


def undo_locale_coercion() -> None:
    """Take back the LC_CTYPE that Python sets in the C locale: PEP 538."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    original = read("/proc/self/environ")
    _, found, rest = (b"\0" + original).partition(b"\0LC_CTYPE=")
    if found:
        os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
    elif original or [*os.environ][-1] == "LC_CTYPE":  # Python adds last
        del os.environ["LC_CTYPE"]


def main(argv: "list[str] | None" = None) -> int:
    """Run argv, or sys.argv; return the exit status, or SystemExit of argparse."""
    try:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if __name__ == "__main__":
            mask = mask_at_start  # since then they are blocked
        parser = make_parser()
        try:
            options = parser.parse_args(argv)
        finally:
            print(end="", flush=True)  # help that cannot be written: OSError
        if set(options.expect) - set(map(str, range(256))):
            parser.error(f"argument -e/--expect: {options.expect} is not 0 to 255")
        digits = os.fsencode(options.grace).replace(b".", b"", 1)
        if not digits.isdigit() or float(options.grace) > 1000000:
            parser.error(f"argument --grace: {options.grace!r} is not 0 to 1000000")
        options.grace = float(options.grace)
        if options.command[:1] == ["--"]:
            del options.command[0]
        if not options.command:
            parser.error("no command given")
        if would_start_us_again(options.command[0]):
            options.command.insert(0, "/bin/sh")  # sh ignores the first line
        init = Init(options)
        init.start(mask)
    except Exception as error:
        say(f"cannot start: {getattr(error, 'strerror', None) or error}")
        return 125
    while True:
        try:
            status = init.run()
            return 0 if str(status) in options.expect else status
        except (OSError, MemoryError):
            continue  # the command needs us; run() can go on from any point


if __name__ == "__main__":
    os._exit(main())
