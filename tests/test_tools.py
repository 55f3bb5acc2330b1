"""Everything at once, and the storm itself: it must see what an init does wrong."""

import os
import re
import shlex
import subprocess
import sys

import mutation
import pytest
from support import PROGRAMS, PYINIT, PYINIT_FILE, PYTHON, ROOT, namespace, need_proc

CARELESS = [*PYTHON, str(PROGRAMS / "careless.py")]
FULL = os.environ.get("PYINIT_FULL")


def storm(init, *options):
    """Return the status and the report of a storm with an init."""
    namespace()
    words = [
        *PYTHON,
        str(ROOT / "tests" / "tools" / "storm.py"),
        "--init",
        shlex.join(init),
    ]
    result = subprocess.run(
        [*words, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return result.returncode, result.stdout


def test_a_storm():
    status, report = storm(PYINIT, "--seconds", "10" if FULL else "3")
    assert status == 0, report


CONTROLS = [
    ("reaps-one", "zombies are left"),
    ("coalesces", "real-time signals are lost"),
]
if FULL:
    CONTROLS += [
        ("drops", "are lost"),
        ("repeats", "oftener than it was sent"),
        ("grows", "memory has grown"),
        ("polls", "wake-ups when idle"),
        ("none", "nothing lost, left or grown"),
    ]


@pytest.mark.parametrize(("fault", "seen"), CONTROLS)
def test_negative_control(fault, seen):
    # With one fault the storm must see that, and without one nothing.
    options = ["--seconds", "0.7", "--patience", "20" if fault == "none" else "1"]
    status, report = storm([*CARELESS, fault], *options)
    assert seen in report
    assert status == (fault != "none"), report


SMALL = ["--starts=1", "--signals=20", "--growth=100", "--orphans=20", "--backlog=200"]
SMALL += ["--rounds=1", "--containers=0", f"--python={sys.executable}"]
# One that is not there, and one that passes no signal on.
PEERS = ["--peer=nothing=no-such-init --", """--peer=shell=sh -c '"$@"; exit $?' sh"""]


def bench(*words):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "tools" / "bench.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=240,
    )


def test_the_benchmark_prints_one_table():
    need_proc()
    result = bench("--markdown", *SMALL, *PEERS)
    errors = result.stderr.decode()
    assert result.returncode == 0, errors
    table, _, notes = result.stdout.decode().partition("\n\n")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()
    ]
    columns = rows[0]
    assert {len(row) for row in rows} == {len(columns)}
    assert {"pyinit", "floor", "Python alone"} <= set(columns)
    cells = {row[0]: dict(zip(columns, row)) for row in rows[2:]}
    for measure in (
        "start, ms",
        "start, compiled, ms",
        "start with `-r 15:3`, ms",
        "start, library uncompiled, ms",
        "start to signals blocked, ms",
        "start to signals blocked, library uncompiled, ms",
        "anonymous memory, kB",
        "anonymous memory, library uncompiled, kB",
        "anonymous memory, compiled, kB",
        "one signal and its answer, µs",
        "memory grown by 100 signals, kB",
    ):
        assert cells[measure]["pyinit"], measure
    # Who cannot be measured at all has no column, and who can in part has empty cells.
    assert "nothing" not in columns
    assert re.search("not measured: .*nothing", errors)
    if "shell" in columns:
        assert cells["start, ms"]["shell"]
    assert not cells["one signal and its answer, µs"].get("shell")
    assert "Measured on CPython" in notes


def test_a_peer_without_words_is_refused():
    result = bench("--peer=nothing=")
    assert result.returncode == 2
    assert "invalid peer value: 'nothing='" in result.stderr.decode()


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
    found = [mutant for _, _, mutant in mutation.mutants(source)]
    assert len(found) == len({*found}) and source not in found
    for change in (
        "number != signal.SIGTERM",
        "signal.SIGRTMAX",
        "number == signal.SIGTERM or flags",
        "if (False):",
        "return None",
        "return (A)",
        "while (call(1",
        "[2]",
        "call(1, [2, 3])",
        "break",
        "number += (2)",
        "except (ZeroDivisionError):",
        "(1, [2, 3], key=(''))",
    ):
        assert any(change in mutant for mutant in found), change
    for mutant in found:
        compile(mutant, "mutant", "exec")
    every = mutation.mutants(PYINIT_FILE.read_text())
    assert len(every) > 500
    for line, _, mutant in every[::25]:
        compile(mutant, f"mutant of line {line}", "exec")


def test_a_broken_one_is_killed(tmp_path):
    namespace()
    whole = PYINIT_FILE.read_text()
    base, _ = mutation.baseline(whole, ["groups"], tmp_path / "base")
    assert mutation.judge(whole, base, ["groups"], 300)[0] == "survived"
    # To everybody but PID 1, as a wrong pid may have it: all that runs there is a test.
    broken = "import os\nos.kill(-1, 9)\n" + whole
    assert mutation.judge(broken, base, ["groups"], 300)[0] == "killed by status 137"
