"""What the command sees: exactly what it would see without pyinit."""

import errno
import os
import shlex
import shutil
import signal
import subprocess

import pytest
import surroundings
from support import (
    PYINIT,
    PYTHON,
    as_user,
    need,
    need_proc,
    public_directory,
    reason,
    tool,
)

NAMES = [one.name for one in surroundings.surroundings_names()]


@pytest.fixture(scope="module")
def scratch():
    directory = public_directory()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def probe(scratch):
    try:
        return surroundings.build_probe(scratch)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def all_surroundings(scratch):
    return {one.name: one for one in surroundings.surroundings(scratch)}


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_differs(name, mode, probe, all_surroundings, scratch):
    surrounding = all_surroundings[name]
    if surrounding.root and os.getuid():
        pytest.skip("only root can set this up")
    if "--mount" in surrounding.prefix:
        need(*surrounding.prefix, "true")  # root in a container may not
    report = scratch / "report"
    direct = surroundings.look(surrounding, probe, [], report)
    assert direct[-1].startswith("tty "), direct  # the probe has run, and to its end
    under = surroundings.look(surrounding, probe, [*PYINIT, *mode, "--"], report)
    assert under == direct


def test_negative_control_a_naive_parent_differs(probe, all_surroundings, scratch):
    # What any Python program does that starts a command and waits for it.
    naive = [
        *PYTHON,
        "-c",
        "import os, sys\nif not os.fork(): os.execvp(sys.argv[1], sys.argv[1:])\nos.wait()",
    ]
    report = scratch / "report"
    surrounding = all_surroundings["no environment"]
    direct = surroundings.look(surrounding, probe, [], report)
    under = surroundings.look(surrounding, probe, naive, report)
    kinds = {line.split()[0] for line in surroundings.differences(under, direct)}
    assert {"signal.13", "signal.25", "env.0"} <= kinds


def test_that_an_ignored_sigpipe_cannot_be_told():
    need_proc()
    # Python itself ignores SIGPIPE and SIGXFSZ before it runs any code, and keeps no
    # record of what they were: the command gets both at the default.
    show = "import os, signal; print(signal.getsignal(13), open('/proc/self/status').read())"
    seen = []
    for setup in (None, lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN)):
        result = subprocess.run(
            [*PYTHON, "-c", show],
            stdout=subprocess.PIPE,
            preexec_fn=setup,
            restore_signals=not setup,
        )
        lines = result.stdout.decode().splitlines()
        # Not all of "Sig": SigQ counts what is queued for all of the user's processes.
        ours = ("SigPnd", "SigBlk", "SigIgn", "SigCgt")
        seen.append([line for line in lines if line.startswith(ours)])
        assert len(seen[-1]) == len(ours)
    assert seen[0] == seen[1]


def test_a_command_in_the_path(start, tmp_path):
    # As execvp(3): the first that can be run, though EACCES came before, is taken.
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for directory in (first, second, third):
        directory.mkdir()
    (first / "thing").write_text("#!/bin/sh\necho first\n")
    for directory in (second, third):
        (directory / "thing").write_text(f"#!/bin/sh\necho {directory.name}\n")
        (directory / "thing").chmod(0o755)
    path = f"/etc/passwd:/nonexistent:{first}:{second}:{third}"
    process = start(*PYINIT, "thing", env={"PATH": path})
    process.expect("second")
    assert process.wait() == 0
    process = start(*PYINIT, "thing", env={"PATH": f"{first}:/nonexistent"})
    assert process.wait() == 126
    assert process.stderr == "[pyinit] thing: Permission denied\n"
    # Any other error ends the search: the program that is there is not passed over.
    (first / "loop").symlink_to("loop")
    (second / "loop").write_text("#!/bin/sh\n")
    (second / "loop").chmod(0o755)
    process = start(*PYINIT, "loop", env={"PATH": f"{first}:{second}"})
    assert process.wait() == 126
    assert process.stderr == f"[pyinit] loop: {reason(errno.ELOOP)}\n"
    # An empty entry, and an empty PATH, are the working directory; none is /bin:/usr/bin.
    process = start(*PYINIT, "thing", env={"PATH": "/nonexistent:"}, cwd=third)
    process.expect("third")
    process = start(*PYINIT, "thing", env={"PATH": ""}, cwd=third)
    process.expect("third")
    process = start(*PYINIT, "echo", "found", env={})
    process.expect("found")


def test_a_script_without_an_interpreter_line(start, tmp_path):
    script = tmp_path / "script"
    script.write_text('echo "$0" "$@"; exit 6\n')
    script.chmod(0o755)
    process = start(*PYINIT, script, "a b", "-c", "--")
    process.expect(f"{script} a b -c --")
    assert process.wait() == 6
    process = start(*PYINIT, "script", "x", env={"PATH": f"/nonexistent:{tmp_path}"})
    process.expect(f"{script} x")
    assert process.wait() == 6
    script.write_text("tr '\\0' '|' </proc/$$/cmdline; echo\n")
    process = start(*PYINIT, script, "x")
    process.expect(f"/bin/sh|{script}|x|")
    assert process.wait() == 0


def test_an_executable_that_may_not_be_read(start, public):
    program = public / "program"
    program.write_bytes(open("/bin/true", "rb").read())
    program.chmod(0o111)
    process = start(*as_user(64010, [*PYINIT, str(program)]))
    assert process.wait() == 0, process.stderr


def test_a_fifo_as_the_command_does_not_hang(start, tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o755)
    os.chmod(tmp_path / "fifo", 0o755)
    process = start(*PYINIT, tmp_path / "fifo")
    assert process.wait() == 126


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full", "2>&1 | true"])
@pytest.mark.parametrize("options", ["", "-v"])
def test_without_a_stderr_the_status_comes_back(start, redirect, options):
    command = shlex.join([*PYINIT, *options.split(), "sh", "-c", "sleep 0.1; exit 5"])
    program = f"set -o pipefail; {command} {redirect}"
    process = start(tool("bash"), "-c", program)
    assert process.wait() == 5


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_stdin_is_the_commands(start, mode):
    process = start(*PYINIT, *mode, "cat", stdin=subprocess.PIPE)
    process.popen.stdin.write(b"hello\n")
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("hello")
    assert process.wait() == 0
