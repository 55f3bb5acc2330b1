"""What the command sees: exactly what it would see without pyinit."""

import errno
import os
import select
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import surroundings
from support import (
    BOTH_MODES,
    DEADLINE,
    PYINIT,
    PYTHON,
    as_user,
    mounted,
    namespace,
    need,
    public_directory,
    reason,
    strace,
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
    tool("cc")
    return surroundings.build_probe(scratch)


@pytest.fixture(scope="module")
def all_surroundings(scratch):
    return {one.name: one for one in surroundings.surroundings(scratch)}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_differs(name, probe, all_surroundings, scratch):
    surrounding = all_surroundings[name]
    if surrounding.root and os.getuid():
        pytest.skip("only root can set this up")
    if "--mount" in surrounding.prefix:
        need(*surrounding.prefix, "true")  # root in a container may not
    report = scratch / "report"
    direct = surroundings.look(surrounding, probe, [], report)
    assert direct[-1].startswith("tty "), direct  # the probe has run, and to its end
    for mode in ([], ["-c"]):
        under = surroundings.look(surrounding, probe, [*PYINIT, *mode, "--"], report)
        assert under == direct, mode


def test_negative_control_a_naive_parent_differs(probe, all_surroundings, scratch):
    # What any Python program does that starts a command and waits for it.
    naive = "import os, sys\nif not os.fork(): os.execvp(sys.argv[1], sys.argv[1:])\nos.wait()"
    report = scratch / "report"
    surrounding = all_surroundings["no environment"]
    direct = surroundings.look(surrounding, probe, [], report)
    under = surroundings.look(surrounding, probe, [*PYTHON, "-c", naive], report)
    kinds = {line.split()[0] for line in surroundings.differences(under, direct)}
    assert {"signal.13", "signal.25", "env.0"} <= kinds


# --- Variables that name a process ------------------------------------------------------

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


@BOTH_MODES
@pytest.mark.parametrize("as_pid_1", [True, False], ids=["PID 1", "not PID 1"])
def test_a_socket_is_the_commands(start, as_pid_1, mode):
    before = namespace() if as_pid_1 else []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = start(
            *before,
            *["sh", "-c", ACTIVATE, "sh"],
            *[*PYINIT, *mode, *PYTHON, "-c", SERVER],
            preexec_fn=lambda: os.dup2(listening.fileno(), 3),
            close_fds=False,
        )
        process.expect("up")
        with socket.create_connection(listening.getsockname(), 30) as client:
            assert client.recv(100) == b"served by 1"
    assert process.wait() == 0


def test_variables_that_name_another_process_stay(pyinit):
    show = ["sh", "-c", 'echo "${LISTEN_PID-unset},${WATCHDOG_PID-unset}"']
    names = {"LISTEN_PID": "99999", "WATCHDOG_PID": ""}
    pyinit(*show, env={**os.environ, **names}).expect("99999,")
    pyinit(*show).expect("unset,unset")


# --- Descriptors and the directory ------------------------------------------------------

# Only bash can name a descriptor above 9.
CLOSES_IT = "exec {}>&-; echo closed; read line"


def test_pid_1_keeps_neither_descriptors_nor_directory(pid1):
    read, write = os.pipe()
    words = [tool("bash"), "-c", CLOSES_IT.format(write)]
    process = pid1(*words, pass_fds=[write], stdin=subprocess.PIPE, cwd="/usr")
    os.close(write)
    os.close(read)
    process.expect("closed")
    listing = f"/proc/{process.init}/fd"
    until(lambda: sorted(os.listdir(listing)) == ["0", "1", "2"], "0, 1 and 2 only")
    assert os.readlink(f"/proc/{process.init}/cwd") == "/"


@pytest.mark.parametrize("before", ["", "mount -t tmpfs none /proc"], ids=str)
def test_a_pipe_handed_to_the_command_closes_with_it(start, before):
    if before and os.getuid():
        pytest.skip("only root can cover /proc")
    read, write = os.pipe()
    words = [*(mounted(before) if before else []), *PYINIT, tool("bash"), "-c"]
    process = start(*words, CLOSES_IT.format(write), pass_fds=[write], stdin=-1)
    os.close(write)
    process.expect("closed")
    # The end comes, though pyinit and the command live.
    assert select.select([read], [], [], DEADLINE)[0]
    assert os.read(read, 1) == b""
    assert process.popen.poll() is None
    os.close(read)


# --- Which program it becomes -----------------------------------------------------------


def write_program(path, text, mode=0o755):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def test_a_command_in_the_path(pyinit, tmp_path):
    # As execvp(3): the first that can be run, though EACCES came before, is taken.
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    write_program(first / "thing", "#!/bin/sh\necho first\n", 0o644)
    for directory in (second, third):
        write_program(directory / "thing", f"#!/bin/sh\necho {directory.name}\n")
    path = f"/etc/passwd:/nonexistent:{first}:{second}:{third}"
    process = pyinit("thing", env={"PATH": path})
    process.expect("second")
    assert process.wait() == 0
    process = pyinit("thing", env={"PATH": f"{first}:/nonexistent"})
    assert process.wait() == 126
    assert process.stderr == "[pyinit] thing: Permission denied\n"
    # What is there and cannot be run is what is said, not what is not there.
    (first / "loop").symlink_to("loop")
    process = pyinit("loop", env={"PATH": f"/nonexistent:{first}:/nonexistent"})
    assert process.wait() == 126
    assert process.stderr == f"[pyinit] loop: {reason(errno.ELOOP)}\n"
    # An empty entry, and an empty PATH, are the working directory; none is /bin:/usr/bin.
    pyinit("thing", env={"PATH": "/nonexistent:"}, cwd=third).expect("third")
    pyinit("thing", env={"PATH": ""}, cwd=third).expect("third")
    pyinit("echo", "found", env={}).expect("found")


def test_a_path_with_a_slash_is_not_looked_for_in_the_path(pyinit, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        for program in (place / "bin" / "program", place / "program"):
            write_program(program, f"#!/bin/sh\necho {place.name}\n")
    (there / "bin" / "other").symlink_to("program")
    env = {**os.environ, "PATH": f"{there}:{os.environ['PATH']}"}
    for word, status, said in (
        ("bin/program", 0, "here\n"),
        ("./program", 0, "here\n"),
        ("bin/other", 127, ""),
        ("program", 0, "there\n"),
    ):
        process = pyinit(word, cwd=here, env=env)
        assert process.wait() == status, process.stderr
        assert process.stdout == said


@pytest.mark.parametrize("error", ["ESTALE", "ENODEV", "ETIMEDOUT", "EACCES", "ENOENT"])
def test_a_directory_of_path_on_a_dead_mount(start, tmp_path, error):
    dead = write_program(tmp_path / "dead" / "program", "#!/bin/sh\necho dead\n")
    write_program(tmp_path / "alive" / "program", "#!/bin/sh\necho alive\n")
    trace = strace(
        "-P", dead, "-e", "trace=execve", "-e", f"inject=execve:error={error}"
    )
    for path, status, said in (
        (f"{dead.parent}:{tmp_path}/alive", [0], "alive\n"),
        (f"{dead.parent}", [126, 127], ""),
    ):
        words = [*trace, "env", f"PATH={path}", *PYINIT, "program"]
        process = start(*namespace(), *words)
        assert process.wait() in status
        assert process.stdout == said
        assert process.stderr.startswith("[pyinit] program: " if not said else "")
        assert process.stderr.count("\n") == (not said)


@pytest.mark.parametrize("length", [None, 1000, 64, 20, 8])
@pytest.mark.parametrize("name", ["./x", "x"], ids=["by path", "in PATH"])
def test_a_program_for_another_machine(pyinit, tmp_path, length, name):
    program = bytearray(Path("/bin/true").read_bytes())
    program[18:20] = (0xF7).to_bytes(2, "little")  # e_machine: BPF, which nobody runs
    write_program(tmp_path / "x", bytes(program[:length]))
    # Were it run by sh, or a later one found, something would come to stdout.
    if name == "./x":
        write_program(tmp_path / "later" / "x", "#!/bin/sh\necho another\n")
    env = {"PATH": f"{tmp_path}:{tmp_path}/later"}
    process = pyinit(name, env=env, cwd=tmp_path)
    assert process.wait() == 126
    assert process.stderr == f"[pyinit] {name}: Exec format error\n"
    assert process.stdout == ""


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (b'echo "$0" "$@"; exit 6', "{script} a b -c --\n"),
        (b"tr '\\0' '|' </proc/$$/cmdline; exit 6", "/bin/sh|{script}|a b|-c|--|"),
        (b"", ""),
        ("# Grüße, κόσμε\necho 'zażółć'\nexit 6\n".encode(), "zażółć\n"),
        (b"\n" * 300 + b"echo late; exit 6\n\0\0\0", "late\n"),
        (b"echo " + b"long" * 100 + b"\nexit 6\n", "long" * 100 + "\n"),
    ],
    ids=["its words", "its command line", "empty", "UTF-8", "NUL later", "a long line"],
)
@pytest.mark.parametrize("search", [False, True], ids=["by path", "in PATH"])
def test_a_text_without_an_interpreter_line_is_run(
    pyinit, tmp_path, text, output, search
):
    script = write_program(tmp_path / "script", text)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"} if search else None
    process = pyinit("script" if search else script, "a b", "-c", "--", env=env)
    assert process.wait() == (6 if text else 0), process.stderr
    assert process.stdout == output.format(script=script)


@pytest.mark.parametrize("user", ["--reuid", "--euid"])
def test_a_program_that_may_be_run_and_not_read(start, public, user):
    # access(2) asks for the real user, and open(2) for the effective one.
    program = public / "program"
    shutil.copy(os.path.realpath(tool("sh")), program)
    program.chmod(0o111)
    words = as_user(64010, [*PYINIT, program, "-c", "exit 9"])
    words = [word.replace("--reuid", user) for word in words]
    process = start(*words)
    assert process.wait() == 9
    assert process.stderr == ""


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "EACCES", "EPERM", "EIO"])
def test_a_program_that_cannot_be_opened(start, tmp_path, error):
    # By what the child does between fork and exec, or by pyinit before.
    program = tmp_path / "program"
    shutil.copy(os.path.realpath(tool("sh")), program)
    rules = ["-P", program, "-e", "trace=open,openat"]
    rules += ["-e", f"inject=open,openat:error={error}"]
    words = [*strace(*rules), *PYINIT, program, "-c", "exit 9"]
    process = start(*namespace(), *words)
    assert process.wait() == 9
    assert process.stderr == ""
