"""What differs from dumb-init, and nothing else: the rest is where DUMB_INIT_TOO is."""

import pytest
from support import (
    PYINIT,
    tool,
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
