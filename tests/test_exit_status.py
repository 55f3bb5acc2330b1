"""The exit status: the command's own, 128 + N, 127, 126, 125; and -e."""

import os
import shlex
import signal

import pytest
from support import (
    DUMB_INIT_TOO,
    PASSED_ON,
    PYINIT,
    hosted,
    tool,
)

# What does not end a process by default.
HARMLESS = {"CONT", "TSTP", "TTIN", "TTOU", "URG", "WINCH"}
HARMLESS = {signal.Signals["SIG" + name] for name in HARMLESS}
# In one interpreter: what starts hundreds of them takes seconds.
EACH = """
for command in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        os._exit(pyinit.main(["sh", "-c", command]))
    print(os.WEXITSTATUS(os.waitpid(pid, 0)[1]), flush=True)
"""


@DUMB_INIT_TOO
def test_every_code_and_every_fatal_signal(start, init):
    codes = [*range(0, 256, 17), 126, 127, 128, 129]
    signals = sorted({*PASSED_ON, signal.SIGKILL} - HARMLESS)
    commands = [f"exit {code}" for code in codes]
    commands += [f"kill -{number:d} $$" for number in signals]
    statuses = [*codes, *[128 + number for number in signals]]
    if init == PYINIT:
        process = start(*hosted(EACH), *commands)
        assert process.wait() == 0
        assert process.stdout == "".join(f"{status}\n" for status in statuses)
    else:
        for command, status in zip(commands, statuses):
            assert start(*init, "sh", "-c", command).wait() == status


def test_the_end_by_a_signal_is_said(pyinit):
    process = pyinit("-v", "-c", "sh", "-c", "kill -KILL $$")
    assert process.wait() == 137
    first, last = process.stderr.splitlines()
    assert first.endswith(" runs sh; orphans are PID 1's, which we are not")
    assert last.endswith(" was ended by SIGKILL, status 137")


# The words, dumb-init's status, and pyinit's. (What they share: DUMB_INIT_TOO.)
DIFFERENT = {
    "not found": ("no-such-command", 2, 127),
    "not runnable": ("/etc/passwd", 2, 126),
    "no command": ("", 1, 2),
    "unknown option": ("--nonsense true", 1, 2),
    "bad rewrite": ("-r x true", 1, 2),
    "names": ("-r TERM:QUIT true", 1, 0),
    "-e": ("-e 1 false", 1, 0),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_differs_from_dumb_init(start, name):
    words, *statuses = DIFFERENT[name]
    inits = [tool("dumb-init")], PYINIT
    assert [start(*init, *words.split()).wait() for init in inits] == statuses


# --- 125, 126 and 127: one line that says why (see test_which_program.py, too) ---


def test_not_found_with_nobody_to_tell(start):
    # The write fails, and with the command's own signals in force it would also kill.
    read, write = os.pipe()
    os.close(read)
    process = start(*PYINIT, "no-such-command", stderr=write)
    os.close(write)
    assert process.wait() == 127


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "2>&1 | true"])
@pytest.mark.parametrize("options", [[], ["-v"]], ids=str)
def test_without_a_stderr_the_status_comes_back(start, redirect, options):
    command = shlex.join([*PYINIT, *options, "sh", "-c", "sleep 0.1; exit 5"])
    program = f"set -o pipefail; {command} {redirect}"
    assert start(tool("bash"), "-c", program).wait() == 5


IN_A_THREAD = """
import threading
def run(): os._exit(pyinit.main(['true']))
threading.Thread(target=run).start()
"""


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("os._exit(pyinit.main(['no\\0name']))", 126, "embedded null"),
        (IN_A_THREAD, 125, "signal only works in main thread"),
    ],
    ids=["in the child", "before"],
)
def test_a_reason_that_is_not_the_kernels_is_said(start, body, status, said):
    # A host that imports pyinit can do what no command line can.
    process = start(*hosted(body))
    assert process.wait() == status, process.stderr
    assert said in process.stderr
    assert process.stderr.count("\n") == process.stderr.count("[pyinit] ") == 1


# --- -e -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "command", "status"),
    [
        (["-e", "143"], "kill -TERM $$", 0),
        (["--expect=143"], "exit 7", 7),
        (["-e", "255", "--expect", "3"], "exit 3", 0),
        (["-e", "255", "--expect", "3"], "exit 255", 0),
        (["-e", "1"], None, 127),
    ],
)
def test_expect(pyinit, options, command, status):
    words = ["sh", "-c", command] if command else ["no-such-command"]
    assert pyinit(*options, "--", *words).wait() == status
