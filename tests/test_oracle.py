"""The terminal oracle finds no difference; and it can find one.

PYINIT_ORACLE=N: how many scripts; PYINIT_SEED=S: what they are made from. A failure
prints both, and what was typed: `python3 tests/oracle.py --seed S --only I --show`.
"""

import os
import shlex

import oracle
import pytest
from support import PYINIT, PYTHON, namespace, tool

COUNT = int(os.environ.get("PYINIT_ORACLE") or (os.environ.get("PYINIT_FULL") and 100) or 10)
SEED = os.environ.get("PYINIT_SEED", "1")

# A parent that starts the command in a group of its own with the terminal, waits for it,
# and takes no notice of its stops.
NAIVE = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
status = os.waitpid(child, 0)[1]
os.tcsetpgrp(0, os.getpgrp())
os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
"""


@pytest.fixture(autouse=True)
def _tools():
    """Skip where there is no namespace, or not all of the shells."""
    namespace()
    for shell in oracle.SHELLS.values():
        tool(shell[0])


def test_the_same_keys_leave_the_same_transcript():
    scripts = [oracle.make_script(SEED, number) for number in range(COUNT)]
    reports = list(oracle.consult(scripts, shlex.join(PYINIT)))
    assert len(reports) == COUNT
    failed = [oracle.show(*report) for report in reports if not oracle.passed(report[1])]
    assert not failed, "\n\n".join(failed)


def consult(init):
    """Return what the oracle says of an init and a Ctrl-Z, and the script."""
    keys = ["$P $R a", "hello", "^Z", "fg", "hello", "^D"]
    script = {"name": "Ctrl-Z", "shell": "bash", "form": "alone", "kinds": []}
    script["steps"] = [[key, key] for key in keys]
    [(script, report)] = oracle.consult([script], shlex.join(init))
    return script, report


@pytest.mark.parametrize("name", ["tini", "naive"])
def test_negative_control(name):
    words = {"tini": ["tini", "-g", "--"], "naive": [*PYTHON, "-c", NAIVE]}[name]
    tool(words[0])
    _, report = consult(words)
    assert report["verdict"] == "different"
    # It is the stop that differs, and not all that was typed.
    without, with_init = report["without"][0], report["with"][0]
    assert without[:2] == with_init[:2]
    assert without[2] != with_init[2]


def test_and_pyinit_passes_that():
    script, report = consult(PYINIT)
    assert report["verdict"] == "same", oracle.show(script, report)
