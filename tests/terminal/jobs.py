"""What the tests of job control share, beside support.py: shells, stops, and rest."""

import collections
import contextlib
import functools
import itertools
import os
import re
import shlex
import signal
import time
from pathlib import Path

import pytest
from support import (
    AT_PROMPT,
    BASH,
    FULL,
    PROGRAMS,
    PYINIT,
    PYTHON,
    as_container,
    as_exec,
    as_script,
    children,
    field,
    mask,
    state,
    tool,
    until,
)

SHELLS = ["bash", "dash"]
MODES = {"job": "", "single": "-c"}  # where stdin and stdout are a terminal
OPTIONS = {"default": [], "single": ["-c"]}
ANSWERS = [*PYTHON, str(PROGRAMS / "answers.py")]
ANSWER = shlex.join(ANSWERS)
WAYS = ["Ctrl-Z", "TSTP", "TTIN", "TTOU"]  # to stop


def crossed(unless=None, **values):
    """Parametrize a test: with PYINIT_FULL by all combinations of the values.

    Else by as few as have each value in them. unless(…) tells what is no case at all.
    """
    columns = [
        each.items()
        if isinstance(each, dict)
        else [(getattr(one, "name", str(one)), one) for one in each]
        for each in values.values()
    ]
    cases = {}  # by their names, one for each value
    for row in itertools.product(*columns):
        names, case = zip(*row)
        if not unless or not unless(*case):
            cases[names] = case
    if not FULL:
        wanted = {one for names in cases for one in enumerate(names)}
        picked, used = [], collections.Counter()

        def gain(names):  # the most that is new, and then the least that is not
            case = {*enumerate(names)}
            return len(wanted & case), -sum(used[one] for one in case)

        while wanted:
            picked.append(max(cases, key=gain))
            used.update(enumerate(picked[-1]))
            wanted -= {*enumerate(picked[-1])}
        cases = {names: cases[names] for names in picked}
    return pytest.mark.parametrize(
        [*values],
        [pytest.param(*case, id="-".join(names)) for names, case in cases.items()],
        indirect=[name for name in values if name in ("screen", "launch")],
    )


# --- Where pyinit is started ------------------------------------------------------------

NO_TERMINAL = ["pyinit", "pid1"]
LAYOUTS = ["container", "exec", "script"]
LENT = ["lent", "lent to PID 1"]  # as lxc-start -F has it: it is no session's terminal
AT_TERMINAL = {
    "container": as_container,
    "exec": as_exec,
    "script": as_script,
    "lent": functools.partial(as_exec, ours=False),
    "lent to PID 1": functools.partial(as_container, ours=False),
}


@pytest.fixture
def launch(request):
    """Return a function that starts pyinit where the parameter says.

    That is one of NO_TERMINAL (stdin is a pipe), LAYOUTS, LENT or SHELLS. What is returned
    has .where, .init (pyinit's pid), said() and write().
    """
    where = request.param

    def launch(*words, **kwargs):
        if where in NO_TERMINAL:
            process = request.getfixturevalue(where)(*words, stdin=-1, **kwargs)
            process.init = getattr(process, "init", process.pid)
        elif where in SHELLS:
            process = interactive(request.getfixturevalue("terminal"), where)
            process.init = type_job(process, shlex.join([*PYINIT, *words]))
        else:
            terminal = request.getfixturevalue("terminal")
            process = AT_TERMINAL[where](terminal, *words, **kwargs)
        process.where = where
        return process

    return launch


@pytest.fixture
def screen(request, terminal):
    """An interactive shell with job control, at its prompt: the parameter says which."""
    return interactive(terminal, request.param)


def interactive(terminal, name):
    """Start an interactive shell on a terminal of its own; return it at its prompt."""
    words = BASH if name == "bash" else ["dash", "-i"]
    screen = terminal(tool(name), *words[1:])
    screen.expect(AT_PROMPT)
    return screen


def type_job(screen, line):
    """Type a line that makes a job of the shell's; return the pid that leads its group."""
    before = {*children(screen.pid)}
    screen.type(line + "\n")

    def leader():
        found = {*children(screen.pid)} - before
        return [pid for pid in found if os.getpgid(pid) == pid]

    return until(leader, "the job leads its group")[0]


def job(screen, line):
    """Make pyinit a job of the shell's, until its command is up; return pyinit's pid."""
    pid = type_job(screen, line)
    screen.expect(f"^(?:{AT_PROMPT})?up\n")
    at_rest(pid)
    return pid


def up(process):
    """Wait until the command has said so, and is at rest; return its pid.

    (Just before it sleeps in read(2), Python would run no handler of a signal's.)
    """
    process.said("up")
    at_rest(process.init)
    return children(process.init)[0]


def received(rule):
    """Return the number of the signal that a rule of -r is for; or that a name means."""
    name, _, more = rule.partition(":")[0].partition("+")
    return getattr(signal, f"SIG{name}") + int(more or 0)


def stop(process, how):
    """Stop pyinit's command by a key, or by a signal to pyinit."""
    if how == "Ctrl-Z":
        process.press("\x1a")
    else:
        os.kill(process.init, received(how))


# --- Rest -------------------------------------------------------------------------------


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
    return letter, call, re.findall(r"switches:\s*(\d+)", status)


def descendants(pid):
    """Return the pids of all that a process has started, and they."""
    found = children(pid)
    for child in found:
        found.extend(children(child))
    return found


def at_rest(*pids):
    """Wait until processes have done all that they were to do; return their states.

    That is so when all of them, and all that they have started, are asleep or stopped,
    and none has run between two such looks. Who is about to stop would wake its parent.
    """
    before = None

    def rest():
        nonlocal before
        everybody = {*pids, *(one for pid in pids for one in descendants(pid))}
        now = {pid: look(pid) for pid in sorted(everybody)}
        before, last = now, before
        return None not in now.values() and now == last

    until(rest, f"{pids} are at rest: {[state(pid) for pid in pids]}")
    return [state(pid) for pid in pids]


def handled(pid):
    """Wait until pyinit has dealt with all that was sent to it: it sleeps or is stopped.

    Unlike at_rest() also where it looks for those left every 20 ms, in the grace.
    """

    def is_done():
        letter = state(pid)
        return letter in ("T", "Z", "") or (letter == "S" and not mask(pid, "ShdPnd"))

    for _ in range(2):  # between these two looks it can have run
        until(is_done, f"{pid} has dealt with its signals, is {state(pid)}")


def send(pid, *numbers):
    """Send signals to pyinit, each when it has dealt with the one before, until it ends."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            if not is_gone(pid):
                os.kill(pid, number)
            handled(pid)


def idle(pid, seconds=0.03):
    """Show that a process that has nothing to do takes no time of the CPU's."""
    at_rest(pid)
    schedstat = Path(f"/proc/{pid}/schedstat")  # first the nanoseconds that it has run
    before = schedstat.read_text().split()[0]
    time.sleep(seconds)  # a stretch of idleness, not a wait for something
    assert schedstat.read_text().split()[0] == before, "it takes none of the CPU's time"


def is_gone(pid):
    return state(pid) in ("Z", "")


def end(*pids):
    """Wait until processes have ended, whether their parent has waited for them or not."""
    until(lambda: all(map(is_gone, pids)), f"{pids} have ended")


# --- Who has the terminal ---------------------------------------------------------------


def shell_reads(screen):
    """Show that the terminal is the shell's: it reads what is typed, and nobody else."""
    until(lambda: screen.foreground() == screen.pid, "the shell has the terminal")
    screen.type("read word; echo =$word=\nfine\n")
    screen.expect("=fine=\n", AT_PROMPT)
    assert screen.foreground() == screen.pid, "the shell has the terminal"


def fg(screen, job):
    """Type fg; wait until the job, or its command, has the terminal."""
    screen.type("fg\n")
    until(
        lambda: screen.foreground() in (job, *descendants(job)),
        "the job has the terminal",
    )


def command_of(pid):
    """Return the pid of the command: the last of a chain of only children."""
    return descendants(pid)[-1]
