"""The terminal oracle finds no difference; and it can find one.

PYINIT_ORACLE=N: how many scripts; PYINIT_SEED=S: what they are made from. A failure
prints both, and what was typed: `python3 tests/tools/oracle.py --seed S --only I --show`.
"""

import os
import shlex

import oracle
import pytest
from support import FULL, PROGRAMS, PYINIT, PYTHON, namespace, open_terminal, tool

COUNT = int(os.environ.get("PYINIT_ORACLE") or (100 if FULL else 10))
SEED = os.environ.get("PYINIT_SEED", "1")


@pytest.fixture(autouse=True)
def _tools():
    """Skip where there is no namespace or terminal, or not all of the shells."""
    namespace()
    for end in open_terminal():  # as the oracle does
        os.close(end)
    for shell in oracle.SHELLS.values():
        tool(shell[0])


def test_the_same_keys_leave_the_same_transcript():
    scripts = [oracle.make_script(SEED, number) for number in range(COUNT)]
    reports = list(oracle.consult(scripts, shlex.join(PYINIT)))
    assert len(reports) == COUNT
    failed = [
        oracle.show(*report) for report in reports if not oracle.passed(report[1])
    ]
    if failed:
        pytest.fail("\n\n".join(failed), pytrace=False)


def consult(init):
    """Return what the oracle says of an init and a Ctrl-Z, and the script."""
    keys = ["$P $R a", "hello", "^Z", "fg", "hello", "^D"]
    script = {"name": "Ctrl-Z", "shell": "bash", "form": "alone", "kinds": []}
    script["steps"] = [[key, key] for key in keys]
    [(script, report)] = oracle.consult([script], shlex.join(init))
    return script, report


@pytest.mark.parametrize("name", ["tini", "naive"])
def test_negative_control(name):
    naive = [*PYTHON, str(PROGRAMS / "naive.py")]
    words = {"tini": ["tini", "-s", "-g", "--"], "naive": naive}[name]
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
