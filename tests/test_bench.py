"""The benchmark runs and prints its table. What it measures is nothing to test."""

import subprocess
import sys

from support import ROOT

SMALL = ["--starts=2", "--signals=20", "--orphans=20", "--backlog=200"]
SMALL += ["--million=100", "--rounds=1", f"--python={sys.executable}"]


def test_the_benchmark_prints_one_table():
    result = subprocess.run(
        [sys.executable, ROOT / "tests" / "bench.py", "--markdown", *SMALL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr.decode()
    table, _, notes = result.stdout.decode().partition("\n\n")
    rows = [line.split("|")[1:-1] for line in table.splitlines()]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert {"pyinit", "compiled", "floor"} <= {cell.strip() for cell in rows[0]}
    measures = [row[0].strip() for row in rows]
    for measure in (
        "start, ms",
        "anonymous memory, kB",
        "one signal and its answer, µs",
    ):
        assert measure in measures
    assert "Measured on CPython" in notes
    assert "round 1 of" in result.stderr.decode()
