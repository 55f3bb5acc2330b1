#!/usr/bin/env python3
"""Let each system call that pyinit makes fail, one at a time, and see what happens.

Use it when pyinit makes another system call, or one at another place: all calls and errors
take some ten minutes, one mode or call (--mode, --call) less than two. It says of each call
what happened; what broke the rule goes to stderr. tests/test_faults.py asserts the same.

Which calls are made is not listed here, it is found by tracing a run of each mode; here is
what Linux can answer to them. A case is one call of one process (pyinit from its first
rt_sigprocmask on, its child from fork to exec) with one error, in one mode. strace makes
the call fail. It stands outside of the PID namespace, so that it is no child of PID 1's,
and pyinit is held at a gate until strace has it.

What must hold, by the design: either the command does not run, and there is one line on
stderr and status 125, 126 or 127; or it runs, and then pyinit lives as long as it does,
reaps orphans, passes the next signal on, and ends with the command's own status.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import functools
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import (
    DEADLINE,
    PROGRAMS,
    PYINIT,
    PYTHON,
    Process,
    children,
    has_come,
    namespace,
    open_terminal,
    state,
    strace,
    tool,
)

WORKERS = int(os.environ.get("PYINIT_FAULTS_WORKERS", "4"))

# --- What Linux can answer --------------------------------------------------------------

# A security profile (seccomp's, AppArmor's, SELinux's, Landlock's) that refuses a call says
# EPERM or EACCES, and a container engine's for a call that it does not know ENOSYS.
PROFILE = ("EPERM", "EACCES")
FORKS = ("clone", "clone3", "fork", "vfork")
FILE = (*PROFILE, "ENOENT", "EIO", "ENOMEM", "ESTALE")
OPEN = (*FILE, "EMFILE", "ENFILE", "EINTR")
ERRORS = {
    **dict.fromkeys(("access", "faccessat", "faccessat2", "chdir"), FILE),
    **dict.fromkeys(("lstat", "newfstatat", "stat", "statx"), FILE),
    **dict.fromkeys(("readlink", "readlinkat"), FILE),
    **dict.fromkeys(("open", "openat"), OPEN),
    **dict.fromkeys(("read", "pread64"), ("EIO", "EINTR", "ENOMEM", "ESTALE")),
    **dict.fromkeys(("mmap", "madvise", "mprotect", "mremap", "munmap"), ("ENOMEM",)),
    **dict.fromkeys(FORKS, (*PROFILE, "EAGAIN", "ENOMEM", "ENOSYS")),
    **dict.fromkeys(("rt_sigtimedwait", "wait4", "waitid"), ("EINTR",)),
    **dict.fromkeys(("getpgid", "getsid", "setpgid", "setsid"), PROFILE),
    **dict.fromkeys(("rseq", "set_robust_list"), ("ENOSYS",)),
    "close": ("EIO", "EINTR", "ENOSPC"),
    "close_range": (*PROFILE, "ENOSYS"),
    **dict.fromkeys(("dup", "fcntl"), (*PROFILE, "EMFILE")),
    "execve": (*OPEN, "E2BIG", "EAGAIN", "EISDIR", "ELIBBAD", "ELOOP", "ENAMETOOLONG",
               "ENODEV", "ENOEXEC", "ENOTDIR", "ETIMEDOUT", "ETXTBSY"),
    "fstat": (*PROFILE, "EIO", "ENOMEM", "ESTALE"),
    "getdents64": (*PROFILE, "ENOENT", "EIO", "ENOMEM"),
    "getrandom": ("EAGAIN", "ENOSYS"),
    "ioctl": (*PROFILE, "ENOTTY", "EIO"),
    "kill": (*PROFILE, "ESRCH"),
    "lseek": ("ESPIPE", "EIO"),
    "write": (*PROFILE, "EPIPE", "EIO", "EAGAIN", "EINTR", "ENOSPC", "EFBIG"),
}  # fmt: skip

# What is left out, since no kernel that works answers anything but success to it: calls
# that cannot fail, or for arguments alone that Python does not give; that do not return;
# futex(2), which only a second thread could meet; brk(2), which answers no error but the
# old address (there is a test with too little memory); rt_sigaction and rt_sigprocmask,
# since what refuses them lets no program start; restart_syscall is strace's own. (Where
# getpid(2) failed, kill() would go to everybody.)
LEFT_OUT = {
    "brk", "clock_gettime", "exit_group", "futex", "getegid", "geteuid", "getgid",
    "getitimer", "getpgrp", "getpid", "getppid", "gettid", "getuid", "prlimit64",
    "restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn",
    "sched_yield", "setitimer", "times",
}  # fmt: skip
# Only these have to do with options, with being PID 1, or with a terminal: each mode tries
# them, and all others are tried in the default mode alone.
DIFFER = {"getpgid", "ioctl", "kill", "rt_sigtimedwait", "setpgid", "setsid", "wait4",
          "waitid", "write"}  # fmt: skip
# A fault of these may cost the one signal that is at hand.
MAY_LOSE = ("kill", "mmap", "mremap")

# --- The modes --------------------------------------------------------------------------

PATIENT = [*PYTHON, str(PROGRAMS / "patient.py")]
NO_MEMORY = [*PYTHON, str(PROGRAMS / "nomemory.py")]
GATE = 'echo gate >/proc/self/fd/$2; read go </proc/self/fd/$1; shift 2; exec "$@"'
# With -m, dash gives each job a process group and the terminal, as a shell does at its
# prompt; it resumes what was stopped by SIGSTOP or SIGTSTP. (bash needs a prompt for it.)
JOB = '"$@"; while s=$?; [ $s = 147 ] || [ $s = 148 ]; do fg >/dev/null; done; exit $s'
LAYOUTS = {  # what is PID 1, and runs pyinit
    "PID 1": [],
    "not PID 1": ["sh", "-c", '"$@"; exit $?', "sh"],
    "leader": ["setsid", "--ctty"],
    "job": ["setsid", "--ctty", "dash", "-mc", JOB, "dash"],
}
Mode = collections.namedtuple("Mode", "name layout options command")
MODES = {
    name: Mode(name, layout, tuple(options.split()), tuple(command))
    for name, layout, options, command in (
        ("default", "PID 1", "", PATIENT),
        ("default, not PID 1", "not PID 1", "", PATIENT),
        ("-c", "PID 1", "-c", PATIENT),
        ("-c, not PID 1", "not PID 1", "-c", PATIENT),
        ("terminal, PID 1", "leader", "", PATIENT),
        ("terminal, a job", "job", "", PATIENT),
        ("terminal, a job, -c", "job", "-c", PATIENT),
        ("--grace", "PID 1", "--grace 0.3", PATIENT),
        ("--grace, not PID 1", "not PID 1", "--grace 0.3", PATIENT),
        ("-v", "PID 1", "-v", PATIENT),
        ("-v --grace, not PID 1", "not PID 1", "-v --grace 0.3", PATIENT),
        ("not found", "PID 1", "", ["/no/such/command"]),
    )
}
# One fault: which process ("pyinit" or "child"), the call, the how manieth of this process
# since the gate, and the error.
Fault = collections.namedtuple("Fault", "process call number error")
FOR_GOOD = "1+"  # a number for strace: this one, and all that follow
# One run: with a fault, or with memory as Run takes it.
Case = collections.namedtuple("Case", "mode fault memory", defaults=[None])


class Broken(Exception):
    """A rule of the design was broken, or the run got stuck."""


class Run:
    """One run of pyinit in a mode, with at most one fault, through the whole scenario."""

    def __init__(self, mode, fault=None, memory=None, limit=None, trace=False):
        """Take at most one of what is to happen.

        fault: what strace is to inject
        memory: (N, who), where nomemory.py is to raise MemoryError
        limit: which of pyinit's resource limits is 0 once the command runs
        trace: for discover(), to trace all
        """
        self.mode, self.fault, self.trace = mode, fault, trace
        self.memory, self.limit = memory, limit
        self.no_kill = bool(fault) and fault.call == "kill" and fault.number == FOR_GOOD
        # Out of memory, it may have forgotten what it was about to do.
        self.may_lose = bool(memory) or (fault and fault.call in MAY_LOSE)
        self.text, self.notes = b"", []
        self.strace = self.command = None
        self.tty = mode.layout in ("leader", "job")
        self.deadline = time.monotonic() + (DEADLINE / 3 if memory else DEADLINE)

    # --- What happens around it -----------------------------------------------------

    def wait(self, condition, what, ending=False):
        """Wait until condition() is true; the end of the run is no good, but if asked."""
        while not condition():
            if not ending and self.status() is not None and not condition():
                raise Broken(f"ended with {self.status()} while waiting for {what}")
            if time.monotonic() > self.deadline:
                raise Broken(f"did not come: {what}")
            time.sleep(0.002)

    def status(self):
        code = self.process.popen.poll()
        return code if code is None or code >= 0 else 128 - code

    def said(self, line):
        """Return how often the command has said it."""
        with contextlib.suppress(BlockingIOError):
            self.text += os.read(self.events, 65536)
        if self.tty:  # which may not fill up
            with contextlib.suppress(OSError):
                os.read(self.master, 65536)
        return self.text.decode().split("\n").count(str(line))

    def tell(self, word):
        os.write(self.control, word.encode() + b"\n")

    def injected(self):
        """Return the lines of strace's log with a fault of strace's own, or the like."""
        if self.memory:
            return self.traced().splitlines()
        if not self.fault:
            return []
        lines = [x for x in self.traced().splitlines() if x.endswith("(INJECTED)")]
        if self.fault.process == "child":  # and each line begins with its process
            lines = [x for x in lines if not x.startswith(f"{self.init} ")]
        return lines

    # --- The scenario -----------------------------------------------------------------

    def go(self):
        """Run the whole scenario; return in a few words how it went, or raise Broken."""
        with contextlib.ExitStack() as stack:
            directory = tempfile.TemporaryDirectory(prefix="pyinit-")
            stack.enter_context(directory)
            self.log, self.err = (Path(directory.name, name) for name in ("log", "err"))
            self.log.touch()
            try:
                self.start(stack)
                self.scenario()
                return self.verdict()
            except (Broken, OSError) as error:  # OSError: /proc/PID has gone
                raise Broken(self.report(error)) from None

    def report(self, error):
        fault = self.fault or self.memory or self.limit
        return (
            f"{error}\nmode: {self.mode.name}, {fault}\n"
            f"status: {self.status()}, the command said: {self.text.split()}\n"
            f"stderr: {self.err.read_text(errors='replace')}\ninjected: {self.injected()}\n"
        ) + "\n".join(self.traced().splitlines()[-30:])

    def start(self, stack):
        """Start pyinit behind its gate, attach strace, and open the gate."""
        read, self.control = os.pipe()
        self.events, write = os.pipe()
        ours, theirs = [self.control, self.events], [read, write]
        os.set_blocking(self.events, False)
        layout = LAYOUTS[self.mode.layout]
        words = [tool("timeout"), "-s", "KILL", "120", *namespace(), "--"]
        words += [*map(tool, layout[:1]), *layout[1:]]
        words += ["sh", "-c", GATE, "sh", str(read), str(write)]
        # By its name, and in the second directory of PATH: the first execve that strace
        # counts is for nothing, so that a fault in the child's first one is not one here.
        place, name = os.path.split(PYINIT[0])
        path = ["/no/such/directory", place or os.defpath, os.environ["PATH"]]
        init = [name, *PYINIT[1:]]
        if self.memory:
            init = [*NO_MEMORY, *map(str, self.memory), str(self.log), PYINIT[-1]]
        words += [*init, *self.mode.options, "--", *self.mode.command]
        if self.mode.command == tuple(PATIENT):
            words += [str(read), str(write)]
        kwargs = {"stdout": subprocess.DEVNULL, "pass_fds": theirs}
        if self.tty:
            self.master, slave = open_terminal()
            os.set_blocking(self.master, False)
            kwargs.update(stdin=slave, stdout=slave)
            ours.append(self.master)
            theirs.append(slave)
        with open(self.err, "wb") as err:
            # No LANG: Python puts LC_CTYPE into the environment, which is to be undone.
            env = {"PATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1"}
            self.process = Process(words, env=env, stderr=err, **kwargs)
        for end in theirs:
            os.close(end)
        for end in ours:
            stack.callback(os.close, end)
        stack.callback(self.process.clean)
        self.wait(lambda: self.said("gate"), "the gate")
        depth = 3 if self.mode.layout in ("not PID 1", "job") else 2
        self.init = self.process.pid
        for _ in range(depth):
            (self.init,) = children(self.init)
        if self.fault or self.trace:
            self.attach(stack)
        self.tell("go")

    def attach(self, stack):
        """Have strace trace all of it, or make the one call fail; wait until it does."""
        words = [strace()[0], "-f"]
        if not self.trace:
            calls = f"{self.fault.call},rt_sigprocmask"
            words += ["-e", f"trace={calls}"]
            words += ["-e", "inject={1}:error={3}:when={2}".format(*self.fault)]
            if self.fault.process == "pyinit":
                words.remove("-f")
        words += ["-o", str(self.log), "-p", str(self.init)]
        self.strace = subprocess.Popen(words, stderr=subprocess.PIPE)
        stack.callback(self.detach)
        line = self.strace.stderr.readline()
        if b"attached" not in line:
            pytest.skip(line.decode())

    def detach(self):
        if self.strace:
            self.strace.terminate()
            self.strace.wait()
            self.strace.stderr.close()
            self.strace = None

    def scenario(self):
        """Lead the command, if it runs, through everything, to its end."""
        ready = functools.partial(self.said, "ready")
        self.wait(lambda: ready() or self.status() is not None, "ready", ending=True)
        if not ready():
            return
        self.command = children(self.init)[0]
        if self.fault and self.fault.process == "child":
            self.detach()  # it has had its fault, and the command is not to have one
        if self.limit:
            limit = getattr(resource, self.limit)
            hard = resource.prlimit(self.init, limit)[1]
            resource.prlimit(self.init, limit, (0, hard))
        self.signal(signal.SIGUSR1)
        self.do("orphan")
        if self.tty:
            self.event(lambda: self.type("\3"), signal.SIGINT)
            self.suspend()
        self.stop()
        self.do("orphan")
        self.signal(signal.SIGUSR2)
        self.signal(signal.SIGHUP)
        if self.mode.layout in ("PID 1", "leader"):
            self.wait(lambda: "Z" not in map(state, children(self.init)), "no zombie")
        if "--grace" in self.mode.options:
            self.do("leave")
        self.tell("exit")
        self.wait(lambda: self.status() is not None, "the end", ending=True)

    def traced(self):
        return self.log.read_text(errors="replace")

    def do(self, word):
        """Let the command do something, and wait until it has."""
        before = self.said(word)
        self.tell(word)
        self.wait(lambda: self.said(word) > before, word)

    def type(self, text):
        os.write(self.master, text.encode())

    def hit(self, faults):
        """Tell whether since so many faults one has come that may cost a signal."""
        return self.may_lose and len(self.injected()) > faults

    def signal(self, number, says=0):
        """Send a signal; the command is to say its number, or another."""
        self.event(lambda: os.kill(self.init, number), says or number)

    def event(self, cause, number):
        """Do what lets the command say number; only the fault itself may prevent it."""
        number = int(number)
        before, faults = self.said(number), len(self.injected())
        cause()
        what = f"signal {number}"
        self.wait(lambda: self.said(number) > before or self.hit(faults), what)
        if self.said(number) == before:
            self.notes.append("one signal not passed on")
            if number == signal.SIGCONT:
                self.resume()

    def suspend(self):
        """Type Ctrl-Z, which stops the command; somebody resumes it."""
        if self.no_kill:  # pyinit cannot
            self.type("\x1a")
            self.wait(lambda: state(self.command) == "T", "the stop by Ctrl-Z")
            self.event(self.resume, signal.SIGCONT)
        else:
            self.event(lambda: self.type("\x1a"), signal.SIGCONT)

    def resume(self):
        """Continue from outside what a lost signal has left stopped."""
        if self.no_kill:
            os.kill(self.command, signal.SIGCONT)
        else:
            self.signal(signal.SIGCONT)

    def stop(self):
        """Send SIGTSTP, which is to stop the command and pyinit, then SIGCONT."""
        if self.mode.layout == "job":  # whose shell resumes it at once
            self.signal(signal.SIGTSTP, says=signal.SIGCONT)
            return
        faults, stops = len(self.injected()), self.stops()
        os.kill(self.init, signal.SIGTSTP)

        def stopped():
            # With -c it is in our group, where nobody could resume it.
            if "-c" in self.mode.options or self.hit(faults):
                return True
            if self.trace:  # the command is traced too, and its state is not T but t
                # Both have to be, before SIGCONT comes; PID 1 does not stop itself.
                return self.stops() > stops + ("not PID 1" in self.mode.layout)
            return state(self.command) == "T"

        def through():
            """Tell whether pyinit is done with it, so that no SIGCONT comes too close."""
            # strace lets a PID 1 be stopped, that nothing else could stop, with a state of t.
            rests = state(self.init) in ("T", "S") or self.stops() > stops
            return rests and not has_come(self.init, signal.SIGTSTP)

        self.wait(lambda: stopped() and through(), "the stop")
        self.signal(signal.SIGCONT)

    def stops(self):
        return self.traced().count("--- stopped by ")

    # --- What came of it --------------------------------------------------------------

    def verdict(self):
        """Return in a few words how it went, or raise Broken."""
        self.detach()
        self.calls = self.traced()  # for discover(): the file does not stay
        status, lines = self.status(), self.err.read_text(errors="replace").splitlines()
        strangers = [line for line in lines if not line.startswith("[pyinit] ")]
        if strangers:
            raise Broken("lines that are not pyinit's")
        if (self.fault or self.memory) and not self.injected():
            return "not reached"
        if not self.said("ready"):
            if status not in (125, 126, 127):
                raise Broken("not 125, 126 or 127")
            # With -v there is more to say; and where it could not say it there is nothing.
            right = len(lines) == 1 or (lines and "-v" in self.mode.options)
            if not right and not (self.fault and self.fault.call == "write"):
                raise Broken("not one line")
            return f"status {status}"
        if status != 7:
            raise Broken("not the command's status")
        if lines and "-v" not in self.mode.options:
            raise Broken("it says something without -v")
        return self.notes[0] if self.notes else "works"


# --- Which calls there are --------------------------------------------------------------


def parse(log):
    """Read a log of strace -f: {pid: [[call, its arguments and result]]}, by first calls."""
    found = collections.defaultdict(list)
    for line in log.splitlines():
        begun = re.match(r"(\d+) +(\w+)\((.*)", line)
        ended = re.match(r"(\d+) +<\.\.\. \w+ resumed>(.*)", line)
        if begun:
            found[begun[1]].append([begun[2], begun[3]])
        elif ended:
            found[ended[1]][-1][1] += ended[2]
    return found


@functools.lru_cache(None)
def discover(mode):
    """Trace a run; return its [(process, call, number, rest)].

    rest is the call's arguments and its result, as strace prints them.
    """
    run = Run(mode, trace=True)
    run.go()
    ours, child, *_ = parse(run.calls).values()
    start = [call for call, _ in ours].index("rt_sigprocmask")
    found, counts = [], collections.Counter()
    for n, (call, rest) in enumerate(ours):
        counts[call] += 1
        if n >= start:
            found.append(("pyinit", call, counts[call], rest))
    mine = [one[1:3] for one in found]
    counts.clear()
    for call, rest in child:
        counts[call] += 1
        # strace counts in each process, so that pyinit's own would fail in the same run,
        # and that may only happen while its interpreter starts.
        if (call, counts[call]) not in mine:
            found.append(("child", call, counts[call], rest))
        if call == "execve" and rest.endswith("= 0"):
            break  # from here on it is the command
    return found


def cases(mode):
    """Return the cases of a mode, and the calls that neither table knows."""
    found, unknown = [], set()
    for process, call, number, rest in discover(mode):
        if mode.name == "not found":  # it is here for the line that the child writes
            wanted = (process, call) == ("child", "write")
        else:
            wanted = mode.name == "default" or call in DIFFER
        if call not in ERRORS and call not in LEFT_OUT:
            unknown.add(call)
        for error in ERRORS.get(call, ()) if wanted else ():
            # A group can have gone, but neither pyinit itself nor a child that is unreaped.
            if (call, error) != ("kill", "ESRCH") or rest.startswith("-"):
                found.append(Case(mode, Fault(process, call, number, error)))
    return found, unknown


def attempt(case):
    """Run a case; return (case, what happened, what was wrong)."""
    try:
        return case, Run(*case).go(), ""
    except Broken as error:
        return case, "broken", str(error)


def attempt_all(chosen):
    """Run cases, some at once; return what attempt() returns, in order."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(attempt, chosen))


def say(outcomes):
    """Print, for each call, what happened, and how often."""
    happened = collections.defaultdict(collections.Counter)
    for case, outcome, _ in outcomes:
        happened[case.fault.process, case.fault.call][outcome] += 1
    for (process, call), counts in sorted(happened.items()):
        what = ", ".join(f"{each}: {counts[each]}" for each in sorted(counts))
        print(f"  {process}, {call}: {what}", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = "this alone, one of: " + "; ".join(MODES)
    parser.add_argument("--mode", choices=MODES, metavar="NAME", help=names)
    parser.add_argument("--call", metavar="NAME", help="this system call alone")
    options = parser.parse_args()
    started, tried, broken = time.monotonic(), 0, 0
    for mode in [MODES[options.mode]] if options.mode else MODES.values():
        found, unknown = cases(mode)
        if unknown:
            sys.exit(f"not in the table of errors: {', '.join(unknown)}")
        if options.call:
            found = [case for case in found if case.fault.call == options.call]
        print(f"{mode.name}: {len(found)} faults", flush=True)
        outcomes = attempt_all(found)
        say(outcomes)
        wrong = [text for _, _, text in outcomes if text]
        print(*wrong, sep="\n\n", file=sys.stderr, flush=True)
        tried, broken = tried + len(found), broken + len(wrong)
    print(
        f"{tried} faults in {time.monotonic() - started:.0f} s, {broken} broke the rule"
    )
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
