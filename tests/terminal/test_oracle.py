"""The same keys leave the same transcript, with and without pyinit: the terminal oracle.

With PYINIT_FULL named scripts and pipelines are typed at each shell, else at one of them,
and of the keys for a form of pipeline the last alone. A failure shows what was typed and
both transcripts; `python3 tests/tools/oracle.py --help` says how to type it again.

PYINIT_ORACLE=N: how many random scripts; PYINIT_SEED=S: what they are made from
"""

import os
import shlex

import oracle
import pytest
from support import FULL, PROGRAMS, PYINIT, PYTHON, namespace, open_terminal, tool

COUNT = int(os.environ.get("PYINIT_ORACLE") or (100 if FULL else 3))
SEED = os.environ.get("PYINIT_SEED", "1")


@pytest.fixture(autouse=True)
def _tools():
    """Skip where there is no namespace or terminal, or not all of the programs."""
    namespace()
    for end in open_terminal():  # as the oracle does
        os.close(end)
    for words in (*oracle.SHELLS.values(), ["less"]):
        tool(words[0])


def consult(scripts, init=PYINIT):
    """Return the scripts with what the oracle says of them."""
    reports = list(oracle.consult(scripts, shlex.join(init)))
    assert len(reports) == len(scripts)
    return reports


def same(reports):
    """See that pyinit makes no difference."""
    failed = [oracle.show(*one) for one in reports if not oracle.passed(one[1])]
    if failed:
        pytest.fail("\n\n".join(failed), pytrace=False)


def test_random():
    same(consult([oracle.make_script(SEED, number) for number in range(COUNT)]))


def test_named():
    same(consult(oracle.named(full=FULL)))


def test_pipelines():
    reports = consult(oracle.matrix(full=FULL))
    same(reports)
    # What is right, in words of its own: an oracle that errs would err twice.
    for script, report in reports:
        for transcript, *_ in (report["without"], report["with"]):
            written = [line for _, lines, _, _ in transcript for line in lines]
            if '"got $a"' in script["form"] and "hello" in script["name"]:
                assert "got hello" in written, oracle.show(script, report)
            step, _, who, states = transcript[-1]
            if "less" in script["form"]:
                assert {"1", "22"} <= set(written) and who == "shell"
        # Nobody may be left without the terminal: in the end the shell has it, or the
        # last of the members that reads it.
        assert who == "shell" or any(state.endswith(":S") for state in states), step


def test_negative_control():
    naive = [*PYTHON, str(PROGRAMS / "naive.py")]
    keys = ["$P $R a", "hello", "^Z", "fg", "hello", "^D"]
    script = {"name": "Ctrl-Z", "shell": "bash", "form": "alone", "kinds": []}
    script["steps"] = [[key, key] for key in keys]
    [(script, report)] = consult([script], naive)
    assert report["verdict"] == "different"
    # It is the stop that differs, and not all that was typed.
    without, with_init = report["without"][0], report["with"][0]
    assert without[:2] == with_init[:2]
    assert without[2] != with_init[2]
