"""A job's other members have the terminal that they would have without pyinit.

Each form of pipeline, list and substitution is typed at an interactive shell, as it is
and in a script, and then keys: all of it once without pyinit, once with. The forms and
keys are oracle.MATRIX; `python3 tests/tools/oracle.py --matrix` prints it as a table, beside
other inits. Where PYINIT_FULL is set each is typed at each shell, else at one of them.
"""

import os
import shlex

import oracle
import pytest
from support import FULL, PYINIT, namespace, open_terminal, tool

SCRIPTS = oracle.matrix(full=FULL)


@pytest.fixture(scope="module")
def reports():
    """Return the oracle's reports, by the names of the scripts."""
    namespace()
    for end in open_terminal():  # as the oracle does
        os.close(end)
    for words in (*oracle.SHELLS.values(), ["less"]):
        tool(words[0])
    found = oracle.consult(SCRIPTS, shlex.join(PYINIT))
    return {script["name"]: report for script, report in found}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script["name"])
def test_it_is_as_without_pyinit(reports, script):
    report = reports[script["name"]]
    if not oracle.passed(report):
        pytest.fail(oracle.show(script, report), pytrace=False)
    # Whatever the shell and pyinit agree on, nobody may be left without the terminal:
    # the shell has it in the end, or the last of the members that reads it.
    step, _, who, states = report["with"][0][-1]
    assert who == "shell" or any(state.endswith(":S") for state in states), step


@pytest.mark.parametrize("init", ["", shlex.join(PYINIT)], ids=["without", "with"])
def test_what_the_issue_on_reports_asks_for(reports, init):
    # What is right, in words of its own: an oracle that errs would err twice.
    side = "with" if init else "without"
    seen = 0
    for script in SCRIPTS:
        transcript = reports[script["name"]][side][0]
        written = [line for _, lines, _, _ in transcript for line in lines]
        if '"got $a"' in script["form"] and "hello" in script["name"]:
            assert "got hello" in written, oracle.show(script, reports[script["name"]])
            seen += 1
        if "less" in script["form"]:
            assert {"1", "22"} <= set(written)
            assert transcript[-1][2] == "shell"
            seen += 1
    assert seen >= 6
