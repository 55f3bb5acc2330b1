"""The tools: each runs, and finds what it is for."""

import re
import shlex
import sys

import mutation
import pytest
import support
from support import (
    FULL,
    PROGRAMS,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    ROOT,
    namespace,
    need_proc,
)

TOOLS = ROOT / "tests" / "tools"


def run(tool, *words):
    """Run a tool; return its status, and what it says on stdout and on stderr."""
    result = support.run(sys.executable, TOOLS / tool, *words, cwd="/", timeout=300)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


@pytest.mark.parametrize("tool", sorted(path.name for path in TOOLS.glob("*.py")))
def test_help(tool):
    status, out, errors = run(tool, "--help")
    assert (status, errors) == (0, "")
    assert out.startswith(f"usage: {tool} [-h]")


# --- The storm --------------------------------------------------------------------------


@pytest.mark.skipif(not FULL, reason="seconds for no rule: only with PYINIT_FULL")
def test_a_storm():
    namespace()
    init = shlex.join(PYINIT)
    seconds = "10" if FULL else "1"
    status, report, _ = run("storm.py", "--init", init, "--seconds", seconds)
    assert status == 0, report


FAULTS = {
    "reaps-one": "zombies are left",
    "coalesces": "real-time signals are lost",
    "drops": "are lost",
    "repeats": "oftener than it was sent",
    "grows": "memory has grown",
    "polls": "wake-ups when idle",
    "none": "nothing lost, left or grown",
}


@pytest.mark.parametrize("fault", FAULTS if FULL else ["coalesces"])
def test_a_storm_sees_what_an_init_does_wrong(fault):
    namespace()
    init = shlex.join([*PYTHON, str(PROGRAMS / "careless.py"), fault])
    patience = "20" if fault == "none" else "1"
    options = ["--init", init, "--seconds", "0.7", "--patience", patience]
    status, report, _ = run("storm.py", *options)
    assert FAULTS[fault] in report
    assert status == (fault != "none"), report


# --- The benchmark: what it measures is nothing to test ---------------------------------

SMALL = ["--starts=1", "--signals=20", "--orphans=20", "--rounds=1"]
# One that is not there, and one that passes no signal on.
PEERS = ["--peer", "nothing", "no-such-init --"]
PEERS += ["--peer", "shell", """sh -c '"$@"; exit $?' sh"""]


@pytest.mark.skipif(not FULL, reason="seconds for no rule: only with PYINIT_FULL")
def test_the_benchmark_prints_one_table():
    need_proc()
    status, out, errors = run("bench.py", "--markdown", *SMALL, *PEERS)
    assert status == 0, errors
    table, _, notes = out.partition("\n\n")
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()
    ]
    columns = rows[0]
    assert {len(row) for row in rows} == {len(columns)}
    assert {"pyinit", "floor"} <= set(columns)
    cells = {row[0]: dict(zip(columns, row)) for row in rows[2:]}
    for measure in ("start", "start to signals blocked", "anonymous memory"):
        for form in ("", ", library uncompiled"):
            unit = "kB" if "memory" in measure else "ms"
            assert cells[f"{measure}{form}, {unit}"]["pyinit"], measure
    for measure in ("one signal and its answer", "one orphan made and reaped"):
        assert cells[f"{measure}, µs"]["pyinit"], measure
    # Who cannot be measured at all has no column, and who can in part has empty cells.
    assert "nothing" not in columns
    assert re.search("not measured: .*nothing", errors)
    if "shell" in columns:
        assert cells["start, ms"]["shell"]
    assert not cells["one signal and its answer, µs"].get("shell")
    assert "Measured on CPython" in notes


# --- Mutation ---------------------------------------------------------------------------

SOURCE = """'Words.'
def send(number, flags):
    if number == signal.SIGTERM and flags:
        return A | B
    while not call(1, [2, 3], key="x"):
        continue
    try:
        number += 1
    except OSError:
        break
"""


def test_mutants_are_one_change_each():
    source = SOURCE.replace("break", "pass")
    found = [mutant.source for mutant in mutation.mutants(source)]
    assert len(found) == len({*found}) and source not in found
    for change in (
        "number != signal.SIGTERM",
        "signal.SIGRTMAX",
        "number == signal.SIGTERM or flags",
        "if False:",
        "return None",
        "return A\n",
        "while call(1",
        "[2]",
        "call(1, [2, 3])",
        "break",
        "number += 2",
        "except ZeroDivisionError:",
        "(1, [2, 3], key='')",
    ):
        assert any(change in mutant for mutant in found), change
    for mutant in found:
        compile(mutant, "mutant", "exec")
    every = mutation.mutants(PYINIT_FILE.read_text())
    assert len(every) > 500
    for mutant in every[::25]:
        compile(mutant.source, f"mutant of line {mutant.line}", "exec")


@pytest.mark.skipif(not FULL, reason="seconds for no rule: only with PYINIT_FULL")
def test_a_broken_one_is_killed():
    namespace()
    whole = PYINIT_FILE.read_text()
    known = mutation.learn(whole, ["groups"], 1)
    for test, (_, lines) in known.items():
        assert bool(lines) != ("dumb-init" in test), test
    assert mutation.judge(whole, ["groups"], [*known])[0] == "survived"
    # To everybody but PID 1, as a wrong pid may have it: all that runs there is a test.
    broken = "import os\nos.kill(-1, 9)\n" + whole
    outside = [test for test in known if "who_makes_a_session[pyinit]" in test]
    verdict = mutation.judge(broken, ["groups"], outside)[0]
    assert verdict == "killed by status 137"


def test_the_tests_that_run_the_broken_line_come_first():
    known = {"a[1]": (1, {3}), "a[2]": (2, {7}), "a[3]": (3, {7}), "b": (9, {8})}
    mutant = mutation.Mutant(line=7, last=8, function="", source="", diff="")
    assert mutation.ordered(known, mutant) == ["b", "a[2]", "a[3]", "a[1]"]
