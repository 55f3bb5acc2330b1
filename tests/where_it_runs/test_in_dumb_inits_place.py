"""What differs from dumb-init, and nothing else: the rest is where DUMB_INIT_TOO is."""

import signal

import pytest
from support import (
    PYINIT,
    has_come,
    hold,
    only_child,
    release,
    tool,
    until,
    until_state,
)

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
    init = [tool("dumb-init"), "sh", "-c", "exit 3"]
    process = start(*hold("setsid", follow=True), *init)
    only_child(process.pid, init[0])
    process.send(signal.SIGTERM)
    until(lambda: not has_come(process.pid, signal.SIGTERM), "it has taken it")
    until_state(process.pid, "S")  # and waits for the next
    release(process.pid)
    assert process.wait() == 3
