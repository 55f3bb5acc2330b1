"""The exit status: the command's own, 128 + N, 127, 126, 125; and -e."""

import errno
import os
import shlex
import signal
import subprocess

import pytest
from support import HOST, PYINIT, PYINIT_FILE, PYTHON, as_user, reason, tool

FATAL = [
    n
    for n in [*range(1, 32), *range(34, 65)]
    if n not in (17, 18, 19, 20, 21, 22, 23, 28)
]


def test_all_codes(tmp_path):
    program = (
        'i=0; while [ $i -lt 256 ]; do {} sh -c "exit $i"; echo $i $?; i=$((i+1)); done'
    )
    result = subprocess.run(
        ["sh", "-c", program.format(shlex.join(PYINIT))], stdout=subprocess.PIPE
    )
    assert result.stdout.decode() == "".join(f"{n} {n}\n" for n in range(256))


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_every_fatal_signal(pyinit, mode):
    for number in FATAL:
        process = pyinit(*mode, "sh", "-c", f"kill -{number} $$")
        assert process.wait() == 128 + number


def test_not_found(pyinit, tmp_path):
    for name in ("no-such-command", "./no-such-command", "/no/such/command", ""):
        process = pyinit("--", name)
        assert process.wait() == 127
        assert process.stderr == f"[pyinit] {name}: No such file or directory\n"


def test_an_interpreter_that_is_not_there(pyinit, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    process = pyinit(script)
    assert process.wait() == 127
    assert process.stderr == f"[pyinit] {script}: No such file or directory\n"


def test_cannot_be_run(pyinit, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    for path, why in (
        (plain, "Permission denied"),
        (tmp_path, "Permission denied"),
        (plain / "x", "Not a directory"),
        ("/" + "x" * 300, reason(errno.ENAMETOOLONG)),
    ):
        process = pyinit("--", path)
        assert process.wait() == 126
        assert process.stderr == f"[pyinit] {path}: {why}\n"


def test_a_newline_in_the_name_is_still_one_line(pyinit):
    process = pyinit("--", "no\nsuch")
    assert process.wait() == 127
    assert process.stderr == "[pyinit] no\\nsuch: No such file or directory\n"


def test_fork_that_fails(start):
    for limit, code, error in (
        ("4", 0, ""),
        ("0", 125, "[pyinit] cannot start: Resource temporarily unavailable\n"),
    ):
        # An id that nobody else has: the processes of one id are counted.
        words = as_user(64007, [tool("prlimit"), f"--nproc={limit}", *PYINIT, "true"])
        process = start(*words)
        assert process.wait() == code
        assert process.stderr == error


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [
        (["-e", "143"], 143, 0),
        (["--expect=143"], 7, 7),
        (["-e0"], 0, 0),
        (["-e", "255", "--expect", "3"], 3, 0),
        (["-e", "255", "--expect", "3"], 255, 0),
        (["-e", "127"], None, 0),
        (["-e", "1"], None, 127),
    ],
)
def test_expect(pyinit, options, code, status):
    command = ["sh", "-c", f"exit {code}"] if code is not None else ["no-such-command"]
    assert pyinit(*options, "--", *command).wait() == status


def test_expect_a_signal(pyinit):
    process = pyinit("-e", "143", "sh", "-c", "echo up; exec sleep 60")
    process.expect("up")
    process.send(signal.SIGTERM)
    assert process.wait() == 0


@pytest.mark.parametrize(
    "code", ["256", "-1", "", "x", "1.0", "+1", " 1", "1_0", "٣", "1e2"]
)
def test_bad_codes(pyinit, code):
    process = pyinit("-e", code, "--", "echo", "started")
    assert process.wait() == 2
    assert process.stdout == ""
    assert "argument -e/--expect: " in process.stderr
    assert repr(code) in process.stderr or ascii(code) in process.stderr
    assert "usage: " in process.stderr


def test_main_gives_the_status():
    program = f"import sys; sys.path.insert(0, {str(os.path.dirname(PYINIT[-1]))!r}); import pyinit; sys.exit(pyinit.main(['sh', '-c', 'exit 9']))"
    assert subprocess.run([*HOST, "-c", program], timeout=60).returncode == 9


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_not_found_with_nobody_to_tell(start, mode):
    # The write fails, and with the command's own signals in force it would also kill.
    read, write = os.pipe()
    os.close(read)
    process = start(*PYINIT, *mode, "no-such-command", stderr=write)
    os.close(write)
    assert process.wait() == 127


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("os._exit(pyinit.main(['no\\0name']))", 126, ": embedded null byte"),
        (
            "import threading\n"
            "def run(): os._exit(pyinit.main(['true']))\n"
            "threading.Thread(target=run).start()",
            125,
            "cannot start: signal only works in main thread",
        ),
    ],
    ids=["in the child", "before"],
)
def test_a_reason_that_is_not_the_kernels_is_said(start, body, status, said):
    # A host that imports pyinit can do what no command line can.
    program = f"import os, sys; sys.path.insert(0, {str(PYINIT_FILE.parent)!r})\n"
    process = start(*PYTHON, "-c", program + "import pyinit\n" + body)
    assert process.wait() == status, process.stderr
    assert process.stderr.startswith("[pyinit] ") and said in process.stderr
    assert process.stderr.count("\n") == 1


def test_the_end_by_a_signal_is_said(pyinit):
    process = pyinit("-v", "sh", "-c", "echo up; kill -KILL $$")
    assert process.wait() == 137
    said = process.stderr.splitlines()
    assert said[-1].endswith(" was ended by SIGKILL, status 137")
