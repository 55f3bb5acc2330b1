"""What the command sees: exactly what it would see without pyinit."""

import errno
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import surroundings
from support import (
    DEADLINE,
    PYINIT,
    PYTHON,
    as_user,
    mounted,
    namespace,
    need,
    need_proc,
    public_directory,
    reason,
    tool,
    until,
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


# --- Start ------------------------------------------------------------------------


def test_a_path_with_a_slash_is_not_looked_for_in_the_path(start, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        (place / "bin").mkdir(parents=True)
        for program in (place / "bin" / "program", place / "program"):
            program.write_text(f"#!/bin/sh\necho {place.name}\n")
            program.chmod(0o755)
    (there / "bin" / "other").symlink_to("program")
    env = {**os.environ, "PATH": f"{there}:{os.environ['PATH']}"}
    for words, status, said in (
        (["bin/program"], 0, "here\n"),
        (["./program"], 0, "here\n"),
        (["bin/other"], 127, ""),
        (["program"], 0, "there\n"),
    ):
        process = start(*PYINIT, *words, cwd=here, env=env)
        assert process.wait() == status, process.stderr
        assert process.stdout == said


# What sd_listen_fds(3) does, and then an answer to whoever connects.
SERVER = """
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()), os.environ["LISTEN_PID"]
assert os.environ["WATCHDOG_PID"] == str(os.getpid())
listening = socket.socket(fileno=2 + int(os.environ["LISTEN_FDS"]))
print("up", flush=True)
connection, _ = listening.accept()
connection.sendall(b"served by %d" % (os.getpid() > 1))
"""
# The process that becomes pyinit is the one for which the socket is.
ACTIVATE = 'export LISTEN_PID=$$ WATCHDOG_PID=$$ LISTEN_FDS=1; exec "$@"'


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
@pytest.mark.parametrize("as_pid_1", [True, False], ids=["PID 1", "not PID 1"])
def test_a_socket_is_the_commands(start, as_pid_1, mode):
    before = namespace() if as_pid_1 else []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hand_over():
            os.dup2(listening.fileno(), 3)

        process = start(
            *before,
            *["sh", "-c", ACTIVATE, "sh"],
            *[*PYINIT, *mode, *PYTHON, "-c", SERVER],
            preexec_fn=hand_over,
            close_fds=False,
        )
        process.expect("up")
        with socket.create_connection(listening.getsockname(), 30) as client:
            assert client.recv(100) == b"served by 1"
    assert process.wait() == 0


def test_variables_that_name_another_process_stay(start):
    names = {"LISTEN_PID": "99999", "WATCHDOG_PID": ""}
    program = 'echo "$LISTEN_PID,$WATCHDOG_PID"'
    process = start(*PYINIT, "sh", "-c", program, env={**os.environ, **names})
    process.expect("99999,")
    process = start(*PYINIT, "sh", "-c", "echo ${LISTEN_PID-unset}")
    process.expect("unset")


@pytest.fixture
def foreign(tmp_path):
    """Return a function that makes a program for another machine, of some length."""

    def foreign(length):
        header = bytearray(Path("/bin/true").read_bytes())
        header[18:20] = (0xF7).to_bytes(
            2, "little"
        )  # e_machine: BPF, which nobody runs
        path = tmp_path / "x"
        path.write_bytes(header[:length])
        path.chmod(0o755)
        return path

    return foreign


@pytest.mark.parametrize("length", [None, 1000, 64, 20, 8])
@pytest.mark.parametrize("search", [False, True], ids=["by path", "in PATH"])
@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_a_program_for_another_machine(start, foreign, length, search, mode):
    path = foreign(length)
    # Were it run by sh, or a later one found, something would come to stdout.
    later = path.parent / "later"
    later.mkdir()
    (later / "x").write_text("#!/bin/sh\necho another\n")
    (later / "x").chmod(0o755)
    name = "x" if search else "./x"
    env = {"PATH": f"{path.parent}:{later}"}
    process = start(*PYINIT, *mode, name, env=env, cwd=path.parent)
    assert process.wait() == 126
    assert process.stderr == f"[pyinit] {name}: Exec format error\n"
    assert process.stdout == ""


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (b"echo plain; exit 6", "plain\n"),
        (b"", ""),
        ("# Grüße, κόσμε\necho 'zażółć'\nexit 6\n".encode(), "zażółć\n"),
        (b"\n" * 300 + b"echo late; exit 6\n\0\0\0", "late\n"),
        (b"echo " + b"long" * 100 + b"\nexit 6\n", "long" * 100 + "\n"),
    ],
    ids=["plain", "empty", "UTF-8", "NUL later", "a long line"],
)
@pytest.mark.parametrize("search", [False, True], ids=["by path", "in PATH"])
def test_a_text_without_an_interpreter_line_is_run(
    start, tmp_path, text, output, search
):
    script = tmp_path / "script"
    script.write_bytes(text)
    script.chmod(0o755)
    name, env = ("script", {"PATH": str(tmp_path)}) if search else (script, None)
    process = start(*PYINIT, name, env=env)
    assert process.wait() == (6 if text else 0), process.stderr
    assert process.stdout == output


# Only bash can name a descriptor above 9.
CLOSES_IT = "exec {}>&-; echo closed; read line"


def test_pid_1_keeps_neither_descriptors_nor_directory(pid1):
    read, write = os.pipe()
    process = pid1(
        *(tool("bash"), "-c", CLOSES_IT.format(write)),
        pass_fds=[write],
        stdin=subprocess.PIPE,
        cwd="/usr",
    )
    os.close(write)
    os.close(read)
    process.expect("closed")
    listing = f"/proc/{process.init}/fd"
    until(lambda: sorted(os.listdir(listing)) == ["0", "1", "2"], "0, 1 and 2 only")
    assert os.readlink(f"/proc/{process.init}/cwd") == "/"


def test_no_descriptor_is_kept_without_proc(start):
    if os.getuid():
        pytest.skip("only root can cover /proc")
    closes_with_the_command(start, *mounted("mount -t tmpfs none /proc"))


def test_a_pipe_handed_to_the_command_closes_with_it(start):
    closes_with_the_command(start)


def closes_with_the_command(start, *before):
    """Hand a pipe on through pyinit, run by the words before: it keeps no copy."""
    read, write = os.pipe()
    words = [*before, *PYINIT, tool("bash"), "-c", CLOSES_IT.format(write)]
    process = start(*words, pass_fds=[write], stdin=subprocess.PIPE)
    os.close(write)
    process.expect("closed")
    # The end comes, though pyinit and the command live.
    assert select.select([read], [], [], DEADLINE)[0]
    assert os.read(read, 1) == b""
    assert process.popen.poll() is None
    os.close(read)
