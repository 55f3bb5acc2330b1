"""Reaping: as a real PID 1, in a PID namespace of its own."""

import shlex
import signal

import pytest
from support import (
    DUMB_INIT_TOO,
    PROGRAMS,
    PYINIT,
    PYTHON,
    REPORTER,
    children,
    field,
    marked,
    rests,
    state,
    until,
    until_state,
)

ORPHANS = [*PYTHON, str(PROGRAMS / "orphans.py")]


@DUMB_INIT_TOO
def test_thousands_of_orphans(pid1):
    process = pid1("--", *ORPHANS, "2000", "500")
    process.expect("left 0")
    assert process.wait() == 42


def test_queued_signals_while_children_die(pid1):
    program = f'({shlex.join(ORPHANS)} 5000 100 >/dev/null &); exec "$@"'
    process = pid1("sh", "-c", program, "sh", *REPORTER)
    process.ready()
    numbers = [*[signal.SIGRTMAX] * 1000, signal.SIGUSR1]
    for number in numbers:
        process.send(number, process.init)
    assert sorted(int(process.line()) for _ in numbers) == sorted(numbers)
    # All five thousand and their middlemen are gone: what is left is the reporter.
    until(lambda: len(marked(process.run)) == 3, "unshare, pyinit and the reporter")


def test_many_exits_behind_one_sigchld(pid1):
    # While pyinit is stopped from outside, all deaths make one SIGCHLD.
    program = 'echo up; read line; "$@"; exit 9'
    process = pid1("sh", "-c", program, "sh", *ORPHANS, "600", "200", stdin=-1)
    process.expect("up")
    process.send(signal.SIGSTOP, process.init)
    until_state(process.init, "T")
    process.write()

    def zombies():
        return sum(state(pid) == "Z" for pid in children(process.init))

    until(lambda: zombies() == 600, "600 zombies")
    process.send(signal.SIGCONT, process.init)
    process.expect("left 0")
    assert process.wait() == 9


# What the process does that becomes pyinit by execve(2), which keeps children and what is
# ignored: an ignored SIGCHLD (tini hangs for ever), and a child that has died before.
IGNORES = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
LEAVES = "os.waitid(os.P_PID, os.fork() or os._exit(0), os.WEXITED | os.WNOWAIT)"


@pytest.mark.parametrize("before", [IGNORES, LEAVES], ids=["ignores", "leaves"])
def test_what_execve_has_left_to_us(start, before):
    become = f"import os, signal, sys; {before}; os.execv(sys.argv[1], sys.argv[1:])"
    show = "import sys; print(open('/proc/self/status').read(), flush=True); input(); sys.exit(5)"
    show = [*PYTHON, "-c", show]
    process = start(*PYTHON, "-c", become, *PYINIT, *show, stdin=-1)
    while not process.line().startswith("voluntary"):
        pass
    ignored = int(field(process.stdout, "SigIgn"), 16) >> (signal.SIGCHLD - 1) & 1
    assert ignored == (before == IGNORES)  # for the command, as it was
    until(lambda: len(children(process.pid)) == 1, "only the command")
    process.write()
    assert process.wait() == 5


def test_idle_it_makes_no_system_call(pid1):
    process = pid1("--", *REPORTER)
    process.ready()
    process.send(signal.SIGUSR1, process.init)
    process.expect(10)
    until(lambda: rests(process.init), "it does not wake up")
