"""The oracle's scripts with a name: what once went wrong, with and without pyinit.

`python3 tests/tools/oracle.py --named` types all of them, in each of the shells.
"""

import os
import shlex

import oracle
import pytest
from support import PYINIT, namespace, open_terminal, tool


def test_the_same_keys_leave_the_same_transcript():
    namespace()
    for end in open_terminal():  # as the oracle does
        os.close(end)
    for shell in oracle.SHELLS.values():
        tool(shell[0])
    scripts = oracle.named(full=bool(os.environ.get("PYINIT_FULL")))
    reports = list(oracle.consult(scripts, shlex.join(PYINIT)))
    assert len(reports) == len(scripts)
    failed = [
        oracle.show(*report) for report in reports if not oracle.passed(report[1])
    ]
    if failed:
        pytest.fail("\n\n".join(failed), pytrace=False)
