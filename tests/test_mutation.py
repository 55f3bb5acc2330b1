"""The mutants compile and differ, and the judge tells a broken one from a whole one."""

import mutation
from support import PYINIT_FILE, namespace

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
