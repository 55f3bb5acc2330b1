"""What the tests of job control share, beside support.py: shells, stops, and rest."""

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import struct
import termios
import time
from pathlib import Path

import pytest
from support import (
    DEADLINE,
    PROGRAMS,
    PYINIT,
    PYTHON,
    STOPS,
    children,
    field,
    monotonic,
    namespace,
    only_child,
    state,
    tool,
    until,
)

try:
    from support import PROMPT
except ImportError:  # until it is there
    from test_terminal import PROMPT

INIT = shlex.join(PYINIT)
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "--noediting", "-i"],
    "dash": ["dash", "-i"],
}
SCRIPT_SHELLS = {"bash": ["bash", "--norc", "--noprofile"], "dash": ["dash"]}
MODES = {"job": "", "single": "-c"}  # where stdin and stdout are a terminal
ANSWERS = shlex.join([*PYTHON, str(PROGRAMS / "answers.py")])
AT_PROMPT = re.escape(PROMPT)
ENDS = [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]
EVERY_STOP = pytest.mark.parametrize("stop", STOPS, ids=lambda number: number.name)
EVERY_END = pytest.mark.parametrize("end", ENDS, ids=lambda number: number.name)
BOTH_MODES = pytest.mark.parametrize("mode", [*MODES.values()], ids=[*MODES])


@pytest.fixture(params=[*SHELLS])
def any_shell(request, terminal):
    """Each interactive shell with job control, at its prompt."""
    return interactive(terminal, request.param)


def interactive(terminal, name):
    """Start an interactive shell on a terminal of its own; return it at its prompt."""
    screen = terminal(tool(name), *SHELLS[name][1:])
    screen.expect(AT_PROMPT)
    screen.name = name
    return screen


def signals_of(pid, name):
    """Return a mask of /proc/PID/status as a set: "ShdPnd", "SigPnd", "SigIgn" …"""
    try:
        mask = int(field(Path(f"/proc/{pid}/status").read_text(), name), 16)
    except OSError:
        return set()
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def look(pid):
    """Return what tells whether a process has run since; None while it runs.

    A signal that it waits for wakes it at once. To read syscall, the kernel waits until
    a process has really left the CPU.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        call = Path(f"/proc/{pid}/syscall").read_text()
    except OSError:
        return "gone" if state(pid) in ("Z", "X", "") else None
    letter = field(status, "State")[0]
    if letter == "Z":
        return "gone"
    if letter not in "ST" or call.startswith("running"):
        return None
    switches = [
        field(status, f"{kind}_ctxt_switches") for kind in ("voluntary", "nonvoluntary")
    ]
    return (letter, call, *switches)


def at_rest(*pids):
    """Wait until processes have done all that they were to do; return their states.

    That is so when all are asleep or stopped, and none has run between two such looks.
    """
    before = None

    def rest():
        nonlocal before
        now = [look(pid) for pid in pids]
        before, last = now, before
        return None not in now and now == last

    until(rest, f"{pids} are at rest: {[state(pid) for pid in pids]}")
    return [state(pid) for pid in pids]


def handled(pid):
    """Wait until pyinit has dealt with all that was sent to it: it sleeps or is stopped.

    Unlike at_rest() also where it looks for those left every 20 ms, in the grace.
    """
    for _ in range(
        2
    ):  # between the look at its state and that at its signals it can run
        until(
            lambda: (
                state(pid) in ("T", "Z", "")
                or (state(pid) == "S" and not signals_of(pid, "ShdPnd"))
            ),
            f"{pid} has dealt with its signals, is {state(pid)}",
        )


def send(pid, *numbers):
    """Send signals to pyinit, each when it has dealt with the one before, until it ends."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            if state(pid) not in ("Z", ""):
                os.kill(pid, number)
            handled(pid)


def cpu(pid):
    """Return how many nanoseconds a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def idle(pid, seconds=0.3):
    """Show that a process that has nothing to do takes no time of the CPU's."""
    at_rest(pid)
    before = cpu(pid)
    time.sleep(seconds)  # a stretch of idleness, not a wait for something
    assert cpu(pid) == before, f"{(cpu(pid) - before) / 1e6:.3f} ms of CPU"


def descendants(pid):
    """Return the pids of all that a process has started, and they."""
    found = children(pid)
    for child in found:
        found.extend(children(child))
    return found


class Line:
    """The line discipline of a terminal: what was typed, and who has been told of it."""

    def __init__(self, screen):
        name = os.readlink(f"/proc/{screen.pid}/fd/2")  # (dash redirects 0 itself)
        self.slave = os.open(name, os.O_RDWR | os.O_NOCTTY)
        self.screen = screen

    def unread(self):
        """Return how many bytes were typed that nobody has read."""
        empty = struct.pack("i", 0)
        return struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, empty))[0]

    def press(self, keys):
        """Press keys; return when the line discipline has dealt with them.

        A worker of the kernel's does it, for which poll(2) waits if nothing is to be
        read; and what was to be read, a key that sends a signal throws away.
        """
        self.screen.type(keys)
        poll = select.poll()
        poll.register(self.slave, select.POLLIN)
        if keys.endswith("\n"):
            poll.poll(0)
        else:
            until(lambda: not poll.poll(0) and not self.unread(), "the key's signal")

    def flush(self):
        """Throw away what was typed that nobody has read."""
        termios.tcflush(self.slave, termios.TCIFLUSH)

    def close(self):
        os.close(self.slave)


@pytest.fixture
def press():
    """Return a function that presses keys of a terminal's: a line, or one for a signal.

    Without any, it throws away what was typed that nobody has read.
    """
    lines = {}

    def press(screen, keys=""):
        if screen not in lines:
            lines[screen] = Line(screen)
        lines[screen].press(keys) if keys else lines[screen].flush()

    yield press
    for line in lines.values():
        line.close()


def answers(screen, line):
    """Type a line to the command; return "answer" when that came, or "end" instead.

    The end is that of the program on the terminal.
    """
    screen.type(line + "\n")
    wanted = re.compile(f"^got {line}$", re.M)
    deadline = monotonic() + DEADLINE
    while True:
        found = wanted.search(screen.seen)
        if found:
            screen.seen = screen.seen[found.end() + 1 :]
            return "answer"
        if screen.process.popen.poll() is not None:
            return "end"
        if monotonic() > deadline:
            pytest.fail(f"no answer to {line}; the terminal:\n{screen.all}")
        if select.select([screen.master], [], [], 0.01)[0]:
            try:
                data = os.read(screen.master, 4096).decode(errors="replace")
            except OSError:
                data = ""
            screen.seen += data.replace("\r\n", "\n")
            screen.all += data


def shell_reads(screen):
    """Show that the terminal is the shell's: it reads what is typed, and nobody else."""
    until(lambda: screen.foreground() == screen.pid, "the shell has the terminal")
    screen.type("read word; echo =$word=\nfine\n")
    screen.expect("=fine=\n", AT_PROMPT)
    assert screen.foreground() == screen.pid, "the shell has the terminal"


def jobs_end(screen):
    """Wait until no job of the shell's is left; it can have waited for them or not."""
    until(
        lambda: not any(state(pid) not in ("Z", "") for pid in children(screen.pid)),
        "the jobs have ended",
    )


def tostop(screen, on):
    """Let the terminal stop who writes to it in the background, by SIGTTOU."""
    if on:
        attributes = termios.tcgetattr(screen.master)
        attributes[3] |= termios.TOSTOP
        termios.tcsetattr(screen.master, termios.TCSANOW, attributes)


def job_of(screen, foreground=False):
    """Return the pid of the shell's one job, when it leads its group."""
    job = only_child(screen.pid)
    until(lambda: os.getpgid(job) == job, "the job leads its group")
    if foreground:
        until(lambda: screen.foreground() != screen.pid, "the job has the terminal")
    return job


def foreground_of(screen, job):
    """Wait until the job, or its command, has the terminal."""
    until(
        lambda: screen.foreground() in (job, *descendants(job)),
        "the job has the terminal",
    )


def as_pid_1(terminal, *words):
    """Start words as PID 1 that leads the session of a terminal, as docker run -it."""
    screen = terminal(*namespace(), "--", *words)
    screen.init = only_child(screen.pid)
    return screen


AS = pytest.mark.parametrize("as_", ["pyinit", "pid1"], ids=["not PID 1", "PID 1"])


@pytest.fixture
def start_as(request):
    """Return a function that starts pyinit without a terminal, as PID 1 or not.

    Its stdin is a pipe; .init is pyinit's pid.
    """

    def start_as(as_, *words, **kwargs):
        kwargs.setdefault("stdin", -1)
        process = request.getfixturevalue(as_)(*words, **kwargs)
        if as_ == "pyinit":
            process.init = process.pid
        return process

    return start_as
