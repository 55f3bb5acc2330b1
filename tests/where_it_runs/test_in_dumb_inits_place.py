"""What differs from dumb-init, and nothing else: the rest is where DUMB_INIT_TOO is."""

import os
import signal

import pytest
from support import PYINIT, delay, only_child, strace, tool

# The words, dumb-init's status, and pyinit's.
DIFFERENT = {
    "not found": ("no-such-command", 2, 127),
    "not runnable": ("/etc/passwd", 2, 126),
    "no command": ("", 1, 2),
    "unknown option": ("--nonsense true", 1, 2),
    "bad rewrite": ("-r x true", 1, 2),
    "names": ("-r TERM:QUIT true", 1, 0),
    "-e": ("-e 1 false", 1, 0),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_status(start, name):
    words, *statuses = DIFFERENT[name]
    inits = [tool("dumb-init")], PYINIT
    assert [start(*init, *words.split()).wait() for init in inits] == statuses


def test_dumb_init_loses_a_signal_before_setsid(start):
    # test_signals.py shows that pyinit does not.
    trace = strace(*delay("setsid", 1))
    init = [tool("dumb-init"), "sh", "-c", "sleep 0.1"]
    process = start(*trace, *init)
    pid = only_child(process.pid, init[0])
    only_child(pid)
    os.kill(pid, signal.SIGTERM)
    assert process.wait() == 0
