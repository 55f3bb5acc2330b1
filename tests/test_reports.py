"""What people reported about inits, and pyinit 1.0.0 had wrong; each with its kind."""

import os
import signal
import socket
from pathlib import Path

import pytest
from support import (
    PYINIT,
    PYTHON,
    REPORTER,
    field,
    hold,
    namespace,
    until,
)

# --- Socket activation ----------------------------------------------------------------

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


# --- A program for another machine ----------------------------------------------------


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


# --- Stops and what resumes them ------------------------------------------------------


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_sigcont_close_behind_sigtstp(start, mode):
    # While pyinit passes the stop on, held up at the door of kill(2), SIGCONT comes:
    # SIGSTOP to itself would discard it, and both would stay stopped.
    process = start(*hold("kill", 0.5), *PYINIT, *mode, "--", *REPORTER)
    command = int(process.line().split()[1])
    init = int(field(Path(f"/proc/{command}/status").read_text(), "PPid"))
    tstp = 1 << (signal.SIGTSTP - 1)

    def taken():
        text = Path(f"/proc/{init}/status").read_text()
        return not int(field(text, "ShdPnd"), 16) & tstp

    os.kill(init, signal.SIGTSTP)
    until(taken, "pyinit has taken SIGTSTP")
    os.kill(init, signal.SIGCONT)
    got = process.line()
    if mode:  # the command gets the stop as it was sent
        assert got == str(int(signal.SIGTSTP))
        got = process.line()
    assert got == str(int(signal.SIGCONT))
    os.kill(init, signal.SIGRTMAX)
    process.expect(int(signal.SIGRTMAX))


# --- What -v says ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said", "reported"),
    [
        ([], "farewell: sent SIGTERM to everybody", "15"),
        (["-r", "TERM:QUIT"], "farewell: sent SIGQUIT to everybody", "3"),
        (["-r", "TERM:0"], "farewell: dropped", None),
    ],
)
def test_the_farewell_is_said(pid1, options, said, reported):
    command = 'setsid "$@" & read line; exit 4'
    words = ["-v", "--grace", "0.5", *options, "sh", "-c", command, "sh", *REPORTER]
    process = pid1(*words, stdin=-1)
    process.line()
    process.popen.stdin.close()
    process.popen.stdin = None
    assert process.wait() == 4
    lines = process.stderr.splitlines()
    assert f"[pyinit] {said}" in lines
    assert lines[-1] == "[pyinit] grace is over: sent SIGKILL to everybody"
    assert process.stdout.split("\n")[1] == (reported or "")


def test_what_is_said(pid1):
    process = pid1("-v", "-r", "USR1:0", "-r", "64:RTMIN+1", "--", *REPORTER, "5")
    process.line()
    os.kill(process.init, signal.SIGUSR1)
    os.kill(process.init, signal.SIGRTMAX)
    process.expect(int(signal.SIGRTMIN + 1))
    os.kill(process.init, signal.SIGTERM)
    assert process.wait() == 5
    child = process.stderr.split()[1]
    assert process.stderr.splitlines() == [
        f"[pyinit] {child} runs {PYTHON[0]}; orphans are ours",
        "[pyinit] SIGUSR1: dropped",
        f"[pyinit] SIGRTMAX: sent SIGRTMIN+1 to group {child}",
        f"[pyinit] SIGTERM: sent SIGTERM to group {child}",
        f"[pyinit] farewell: sent SIGTERM to group {child}",
        f"[pyinit] {child} exited with 5",
    ]


def test_the_end_by_a_signal_is_said(pyinit):
    process = pyinit("-v", "sh", "-c", "echo up; kill -KILL $$")
    assert process.wait() == 137
    said = process.stderr.splitlines()
    assert said[-1].endswith(" was ended by SIGKILL, status 137")
