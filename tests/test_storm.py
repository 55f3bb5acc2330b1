"""Everything at once, and the storm itself: it must see what an init does wrong."""

import os
import shlex
import subprocess

import pytest
from support import PROGRAMS, PYINIT, PYTHON, ROOT, namespace

CARELESS = [*PYTHON, str(PROGRAMS / "careless.py")]
FULL = os.environ.get("PYINIT_FULL")


def storm(init, *options):
    """Return the status and the report of a storm with an init."""
    namespace()
    words = [*PYTHON, str(ROOT / "tests" / "storm.py"), "--init", shlex.join(init)]
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
