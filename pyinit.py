#!/usr/bin/env python3
# Copyright (c) 2026 The pyinit authors. SPDX-License-Identifier: MIT
"""Be PID 1 of a container: run one command, pass signals on to it, reap zombies.

The kernel treats PID 1, the first process of a container, as no other process:
- It drops signals that PID 1 has no handler for. So we block all signals before all
  else: blocked, they wait, and Init.run takes them one by one.
- It makes orphans children of PID 1. A dead child stays in the process table, a zombie,
  until its parent asks for its exit status: Init.reap.
- It kills all other processes when PID 1 exits. So Init.leave sends SIGTERM before.
"""

# === Block signals: one that comes while we are not ready has to wait =================
try:
    import signal

    REAL_TIME = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
    SIGNALS = (*range(1, 32), *REAL_TIME)  # in between are the C library's own
    if __name__ == "__main__":  # if we are imported, main() blocks them
        mask_at_start = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    import argparse
    import os

    LONG_NAMES = {"SIGSTKFLT": 16, **signal.Signals.__members__}  # new there in 3.11
    for n in REAL_TIME:
        LONG_NAMES["SIGRTMIN+%d" % (n - signal.SIGRTMIN)] = n
        LONG_NAMES["SIGRTMAX-%d" % (signal.SIGRTMAX - n)] = n
    SHORT_NAMES = {name[len("SIG") :]: n for name, n in LONG_NAMES.items()}
    SIGNAL_NUMBERS = {**LONG_NAMES, **SHORT_NAMES, **{str(n): n for n in SIGNALS}}
    # (Reversed: of a signal's names the first, the usual one, overwrites the others.)
    SIGNAL_NAMES = {n: name for name, n in reversed([*LONG_NAMES.items()])}
except KeyboardInterrupt:  # Python's answer to a SIGINT that came before the block
    raise SystemExit(128 + 2) from None
except Exception as error:
    with open(2, "w") as stderr:
        stderr.write("[pyinit] cannot start: %a\n" % error)
    raise SystemExit(125) from None

__version__ = "1.1.0"
TTY_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)  # Ctrl-Z is SIGTSTP
TTY_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *TTY_STOPS)
SI_KERNEL = 128  # sigaction(2): the si_code of the kernel's signals, such as Ctrl-C's
EVERYBODY = -1  # kill(2): all processes of the container, but for PID 1
OUR_GROUP = 0  # kill(2): all processes of our process group


def attempt(call: object, *arguments: object) -> object:
    """Return what a call returns, or its OSError: no refused call may end PID 1."""
    assert callable(call)  # for mypy
    try:
        return call(*arguments)
    except OSError as error:
        return error


def say(text: str) -> None:
    """Write a line to stderr; if that fails, drop the line and the signal it causes."""
    line = os.fsencode("[pyinit] %s\n" % text.replace("\n", "\\n"))
    if isinstance(attempt(os.write, 2, line), OSError):
        signal.sigtimedwait([signal.SIGPIPE, signal.SIGXFSZ], 0)


# === Read the command line ============================================================
def rewrite(text: str) -> "tuple[int, int]":
    """Return (N, M) for the text N:M of --rewrite, or raise ArgumentTypeError."""
    upper = os.fsencode(text).upper()  # in bytes: changes only ASCII letters
    received, _, sent = os.fsdecode(upper).partition(":")
    n = SIGNAL_NUMBERS.get(received)
    m = 0 if sent == "0" else SIGNAL_NUMBERS.get(sent)
    if n in (None, signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD) or m is None:
        reason = "%r is not N:M, as TERM:QUIT (N is not KILL, STOP or CHLD)" % text
        raise argparse.ArgumentTypeError(reason)
    return n, m


HELP = {
    "c": "signal the command alone, without a session or group (or DUMB_INIT_SETSID=0)",
    "r": "send M where N is received, nothing if M is 0; repeatable: 15:3, TERM:QUIT",
    "e": "exit 0 where the exit status would be CODE, 0 to 255; repeatable",
    "grace": "wait SECONDS for what the command leaves, then SIGKILL it (0: neither)",
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
    add("-r", "--rewrite", metavar="N:M", type=rewrite, action="append", help=HELP["r"])
    add("-e", "--expect", metavar="CODE", action="append", default=[], help=HELP["e"])
    add("--grace", metavar="SECONDS", default="0", help=HELP["grace"])
    add("-v", "--verbose", action="store_true", help=HELP["v"])
    add("-V", "--version", action="version", version="pyinit " + __version__)
    add("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.set_defaults(single_child=os.environ.get("DUMB_INIT_SETSID") == "0")
    parser.set_defaults(verbose=os.environ.get("DUMB_INIT_DEBUG") == "1")
    return parser


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
        self.stdin_is_our_terminal = isinstance(attempt(os.tcgetpgrp, 0), int)
        self.mode = JOB if self.stdin_is_our_terminal and os.isatty(1) else SESSION
        if options.single_child:
            self.mode = SINGLE
        self.forward_as = {n: n for n in SIGNALS}  # what is sent for each; 0: nothing
        if self.mode != SINGLE:
            # A group without a shell (POSIX: orphaned) is not stopped by TTY_STOPS.
            self.forward_as.update(dict.fromkeys(TTY_STOPS, signal.SIGSTOP))
        self.forward_as.update(options.rewrite or [])  # pairs (N, M)
        self.child = 0  # its pid; in JOB and SESSION also the number of its group
        self.target = 0  # whom kill(2) is to signal: N is process N, -N group N
        self.child_told_to_stop = False  # by a signal that we sent; no SIGCONT since
        self.death: "os.waitid_result | None" = None  # of the child, once it has died
        self.child_reaped = False  # if True, its pid can be another process's

    def start(self, mask: "set[int | signal.Signals]") -> None:
        """Fork a child that becomes the command, with that signal mask; or OSError."""
        undo_locale_coercion()
        # Python has a handler (a callable) for SIGINT, and ignores SIGPIPE and SIGXFSZ.
        # The command is not to inherit that, and no handler is to run before exec(2).
        handled = [n for n in SIGNALS if callable(signal.getsignal(n))]
        for number in (*handled, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        # While SIGCHLD is ignored, the kernel throws exit statuses away (see wait(2)).
        sigchld_at_start = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.reap()  # zombies from before exec(2) (PyPy, without waitid, fails here)
        self.child = os.fork()
        if self.child != 0:
            self.target = self.child if self.mode == SINGLE else -self.child
            return
        try:  # here we are the child
            if self.mode == JOB:
                os.setpgid(0, 0)
                self.pass_terminal(giver=os.getpgid(os.getppid()), taker=os.getpgrp())
            elif self.mode == SESSION:
                os.setsid()
            for name in ("LISTEN_PID", "WATCHDOG_PID"):  # systemd's: sd_listen_fds(3)
                if os.environ.get(name) == str(os.getppid()):  # it was meant for us
                    os.environ[name] = str(os.getpid())
            signal.signal(signal.SIGCHLD, sigchld_at_start)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            execute(self.options.command)
        except Exception as error:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a SIGPIPE would kill us
            reason = getattr(error, "strerror", None) or error
            say(f"{self.options.command[0]}: {reason}")
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
        finally:
            os._exit(126)  # even say() has failed; never let a second pyinit run on

    # === Pass signals on, and reap ====================================================
    def run(self) -> int:
        """Pass signals on and reap until the child has died; return its exit status."""
        attempt(os.chdir, "/")  # so we keep no file system busy
        os.closerange(3, 65536)  # so we keep no pipe open that the command closes
        whose = "ours" if os.getpid() == 1 else "PID 1's, which we are not"
        self.log(f"{self.child} runs {self.options.command[0]}; orphans are {whose}")
        self.reap()  # if main() calls us again after an error, a SIGCHLD can be lost
        while self.death is None:
            info = signal.sigwaitinfo(SIGNALS)
            if info.si_signo == signal.SIGCHLD:  # a child has died, stopped or resumed
                self.reap()
                self.follow_stop()
            elif self.terminal_told_child(info):
                continue
            elif info.si_signo == signal.SIGCONT:
                self.resume()
            elif info.si_signo in TTY_STOPS and self.forward_as[info.si_signo] != 0:
                self.pass_stop_on(info)
            else:
                self.forward(info.si_signo)
        return self.leave(self.death)

    def terminal_told_child(self, info: "signal.struct_siginfo") -> bool:
        """Tell whether the terminal has sent a signal to the child as well as to us."""
        return (
            self.mode == SINGLE
            and info.si_signo in TTY_SIGNALS
            and info.si_code == SI_KERNEL
            and attempt(os.getpgid, self.child) == os.getpgrp()  # it can have left ours
        )

    def forward(self, number: int, why: str = "") -> None:
        """Send the target what a signal is forwarded as; -v says so, and why."""
        to_send = self.forward_as[number]
        error = attempt(os.kill, self.target, to_send)  # 0 sends nothing
        if isinstance(error, ProcessLookupError) and not self.child_reaped:
            # The child was just forked and has not called setpgid or setsid: a race.
            error = attempt(os.kill, self.child, to_send)
        if self.options.verbose:
            groups = {EVERYBODY: "everybody", -self.child: f"group {self.child}"}
            whom = groups.get(self.target, str(self.child))
            what = f"sent {SIGNAL_NAMES.get(to_send)} to {whom}"
            if to_send == 0:
                what = "dropped"
            elif isinstance(error, OSError):
                what = f"not {what}: {error.strerror}"
            say(f"{why or SIGNAL_NAMES[number]}: {what}")

    def reap(self) -> None:
        """Reap dead children; of the command only note how it died, and return."""
        while True:  # one SIGCHLD can stand for any number of deaths
            try:
                # WNOWAIT: only look. leave() is to signal the command's group first: a
                # reaped pid, and with it the number of its group, can become another's.
                dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return  # there is no child
            if dead is None:
                return  # no child is dead
            if dead.si_pid == self.child and not self.child_reaped:
                self.death = dead
                return  # waitid(2) would name it again and again
            os.waitpid(dead.si_pid, 0)
            self.log(f"reaped {dead.si_pid}")

    # === Stop and resume, as a terminal and its shell do ==============================
    # 1. JOB      The child stops (Ctrl-Z, say)    Take the terminal, SIGTSTP our group.
    # 2. SINGLE   The child stops                  SIGTSTP ourselves.
    # 3. SESSION  The terminal stops us            Pass it on, SIGTSTP ourselves.
    # 4. (all)    A process sends a stop signal    Pass it on, SIGSTOP ourselves.
    # A shell sees us alone: so we stop too. Its fg resumes us, and we resume the child.
    # SIGTSTP does not stop PID 1 or a group without a shell: there we resume the child.
    def follow_stop(self) -> None:
        """Stop too if the child has stopped, 1 and 2, by SIGSTOP only at a terminal."""
        if self.mode == SESSION or self.child_told_to_stop:
            return
        stopped = attempt(os.waitid, os.P_PID, self.child, os.WSTOPPED | os.WNOHANG)
        if not isinstance(stopped, os.waitid_result):
            return  # it runs, or has died
        if self.mode == JOB:
            self.stop_us(OUR_GROUP)
        elif stopped.si_status in TTY_STOPS or self.stdin_is_our_terminal:
            self.stop_us(os.getpid())
            awake = attempt(os.waitid, os.P_PID, self.child, os.WCONTINUED | os.WNOHANG)
            if isinstance(awake, os.waitid_result):
                # fg has sent SIGCONT to our whole group, so to the child as well. Drop
                # ours: forwarded after the next Ctrl-Z, it would resume the child.
                signal.sigtimedwait([signal.SIGCONT], 0)

    def pass_stop_on(self, info: "signal.struct_siginfo") -> None:
        """Pass a stop signal on, or what -r makes of it, and stop too: 3, 4 above."""
        self.forward(info.si_signo)
        sent = self.forward_as[info.si_signo]
        self.child_told_to_stop = sent in (*TTY_STOPS, signal.SIGSTOP)
        if info.si_code == SI_KERNEL:
            self.stop_us(os.getpid())
        elif os.getpid() != 1 and signal.SIGCONT not in signal.sigpending():
            # (It does not stop PID 1. A SIGCONT between this look and it is discarded.)
            self.pass_terminal(giver=self.child, taker=os.getpgrp())
            attempt(os.kill, os.getpid(), signal.SIGSTOP)

    def stop_us(self, whom: int) -> None:
        """Stop by a SIGTSTP to us (our pid) or OUR_GROUP; return when resumed."""
        self.pass_terminal(giver=self.child, taker=os.getpgrp())
        attempt(os.kill, whom, signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])  # here we stop
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
        # If that has stopped us, what resumed us is now pending, for run(): a SIGCONT,
        # or a SIGTSTP that has come later and discarded the SIGCONT.
        if not signal.sigpending() & {signal.SIGCONT, signal.SIGTSTP}:
            if self.mode == JOB:  # the child can have stopped to wait for the terminal
                attempt(os.tcsetpgrp, 0, self.child)
            self.resume("nobody else could resume it")

    def resume(self, why: str = "") -> None:
        """Resume the child; give it the terminal if our group is in the foreground."""
        self.child_told_to_stop = False
        self.pass_terminal(giver=os.getpgrp(), taker=self.child)
        self.forward(signal.SIGCONT, why)

    def pass_terminal(self, giver: int, taker: int) -> None:
        """In JOB, make the taker the foreground group, if the giver is that now."""
        if self.mode == JOB and attempt(os.tcgetpgrp, 0) == giver:
            attempt(os.tcsetpgrp, 0, taker)  # (its SIGTTOU, blocked, does not stop us)

    # === Leave ========================================================================
    def leave(self, death: "os.waitid_result") -> int:
        """Send those left behind a SIGTERM, the farewell; return the exit status."""
        self.pass_terminal(giver=self.child, taker=os.getpgrp())
        if self.options.grace and os.getpid() == 1:
            self.target = EVERYBODY
        has_others = self.target != self.child  # in SINGLE it was the child alone
        if has_others and not self.child_reaped:
            self.forward(signal.SIGTERM, "farewell")  # (-r can rewrite it)
        self.child_reaped = True
        attempt(os.waitpid, self.child, os.WNOHANG)  # it has died, so no need to wait
        status = death.si_status
        how = f"exited with {status}"
        if death.si_code != os.CLD_EXITED:
            name = SIGNAL_NAMES.get(status, f"signal {status}")
            status += 128
            how = f"was ended by {name}, status {status}"
        self.log(f"{self.child} {how}")
        if self.options.grace and has_others:
            self.wait_for_others()
        return status

    def wait_for_others(self) -> None:
        """Reap and pass signals on while the target exists; after the grace kill it."""
        deadline = os.times().elapsed + self.options.grace  # monotonic
        while True:
            is_over = os.times().elapsed >= deadline
            self.reap()
            if isinstance(attempt(os.kill, self.target, 0), ProcessLookupError):
                return
            # If a process has the child's pid again, the group of that number is gone.
            if self.target != EVERYBODY and attempt(os.kill, self.child, 0) is None:
                return
            if is_over:  # and was before we looked: we can have been stopped since
                self.forward(signal.SIGKILL, "grace is over")
                return
            info = signal.sigtimedwait(SIGNALS, 0)
            if info is None:
                # SIGCHLD tells of our children alone: look for others every 20 ms. (Do
                # not use the result: Python returns an old signal if we stop in this.)
                signal.sigtimedwait([signal.SIGCHLD], 0.02)
            elif info.si_signo != signal.SIGCHLD:
                self.forward(info.si_signo)


# === Find and become the command; main ================================================
def execute(command: "list[str]") -> None:
    """Become the command, found as execvp(3) finds it; OSError if that fails."""
    ENOENT, ENOEXEC, EACCES = 2, 8, 13  # errno(3)
    GO_ON = (ENOENT, EACCES, 19, 20, 110, 116)  # ENODEV, ENOTDIR, ETIMEDOUT, ESTALE
    name = command[0]
    paths = [name]
    if "/" not in name:
        paths = [os.path.join(path or ".", name) for path in os.get_exec_path()]
    failure = OSError(ENOENT, os.strerror(ENOENT))
    for path in paths if name else []:
        try:
            os.execv(path, command)
        except OSError as error:
            if error.errno == ENOEXEC:
                is_text = b"\0" not in read_file(path, 256).partition(b"\n")[0]
                if is_text:  # else it is a binary for another machine
                    os.execv("/bin/sh", ["/bin/sh", path, *command[1:]])
            if "/" in name or error.errno not in GO_ON:
                raise
            if error.errno == EACCES:
                failure = error  # but there may be another one that we may run
    raise failure


def read_file(path: str, length: int = -1) -> bytes:
    """Return up to length bytes of a file, -1: all; b"" if it cannot be read."""
    if not os.path.isfile(path):  # to open a FIFO would wait for somebody who writes
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(length)
    except OSError:
        return b""


def would_start_us_again(path: str) -> bool:
    """Tell whether a script begins with "#!/sbin/pyinit.py", say: that never ends."""
    if "/" not in path or not os.access(path, os.X_OK, effective_ids=True):
        return False  # then it has not started us
    line = read_file(path, 256).partition(b"\n")[0]
    words = os.fsdecode(line.translate(None, b"'\"")).split()
    names = [os.path.splitext(os.path.basename(word))[0] for word in words]
    own = os.path.splitext(os.path.basename(globals().get("__file__", "")))[0]
    if not line.startswith(b"#!") or own not in names:
        return False
    rest = words[names.index(own) + 1 :]
    return make_parser().parse_args(rest).command in ([], ["--"])


def undo_locale_coercion() -> None:
    """Take back the LC_CTYPE that Python sets in the C locale: PEP 538."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    original = b"\0" + read_file("/proc/self/environ")
    _, was_set, rest = original.partition(b"\0LC_CTYPE=")
    if was_set:
        os.environb[b"LC_CTYPE"] = rest.partition(b"\0")[0]
    elif original != b"\0" or [*os.environ][-1] == "LC_CTYPE":  # (without /proc: last)
        del os.environ["LC_CTYPE"]


def main(argv: "list[str] | None" = None) -> int:
    """Run argv, or sys.argv; return the exit status, or SystemExit of argparse."""
    try:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if __name__ == "__main__":
            mask = mask_at_start  # the command is to have that one
        parser = make_parser()
        try:
            options = parser.parse_args(argv)
        finally:
            print(end="", flush=True)  # help that cannot be written is an OSError
        if not set(options.expect) <= {str(code) for code in range(256)}:
            parser.error(f"argument -e/--expect: {options.expect} is not 0 to 255")
        digits = os.fsencode(options.grace).replace(b".", b"", 1)  # ASCII digits
        if not digits.isdigit() or float(options.grace) > 1000000:
            parser.error(f"argument --grace: {options.grace!r} is not 0 to 1000000")
        options.grace = float(options.grace)
        if options.command[:1] == ["--"]:
            del options.command[0]
        if not options.command:
            parser.error("no command given")
        if would_start_us_again(options.command[0]):
            options.command.insert(0, "/bin/sh")  # to sh the first line is a comment
        init = Init(options)
        init.start(mask)
    except Exception as error:
        say(f"cannot start: {getattr(error, 'strerror', None) or error}")
        return 125
    while True:
        try:
            status = init.run()
            return 0 if str(status) in options.expect else status
        except Exception:  # no memory, say: the command still needs us
            continue


if __name__ == "__main__":
    os._exit(main())  # at once: nothing of Python's can hold us up
