"""The benchmark runs and prints its table. What it measures is nothing to test."""

import re
import subprocess
import sys

from support import ROOT, need_proc

SMALL = ["--starts=1", "--signals=20", "--growth=100", "--orphans=20", "--backlog=200"]
SMALL += ["--rounds=1", "--containers=0", f"--python={sys.executable}"]
# One that is not there, and one that passes no signal on.
PEERS = ["--peer=nothing=no-such-init --", """--peer=shell=sh -c '"$@"; exit $?' sh"""]


def bench(*words):
    return subprocess.run(
        [sys.executable, ROOT / "tests" / "bench.py", *words],
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
