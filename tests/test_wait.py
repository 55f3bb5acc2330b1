"""--wait: once the command has ended, pyinit stays until all that it has left has ended.

Who is left is most often the reporter: it says each signal that comes, a farewell too.
"""

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from support import (
    BASH,
    FULL,
    INIT,
    PROGRAMS,
    PROMPT,
    PYINIT,
    PYTHON,
    REPORTER,
    STOPS,
    children,
    command_line,
    marked,
    mask,
    monotonic,
    namespace,
    only_child,
    state,
    tool,
    until,
)

REPORTS = shlex.join(REPORTER) + " 0 & "  # till SIGTERM comes
NEAR = f"({REPORTS}) ; "  # a double fork: its parent is gone, and it is in the group
FAR = f"(setsid {REPORTS}) ; "  # and in a session of its own
ENDS = "read line; exit 4"
MODES = pytest.mark.parametrize(
    ("options", "status"),
    [([], 4), (["-c"], 4), (["-e4"], 0)],
    ids=["default", "single", "expected"],
)
BUSY = "trap '' TERM; echo up; while :; do sleep 0.1; done"


def waits(start, left, *options):
    """Start pyinit with a command that leaves something; return it when it waits."""
    process = start("--wait", "-v", *options, "sh", "-c", left + ENDS, stdin=-1)
    for _ in range(left.count("reporter.py")):
        process.ready()
    process.let_go()
    process.until_stderr("exited with 4")
    init = getattr(process, "init", process.pid)
    until(lambda: "Z" not in map(state, children(init)), "the command is reaped")
    return process


def ends_by_term(process, init, status=4):
    process.send(signal.SIGTERM, init)
    process.expect(15)
    assert process.wait() == status


# --- As PID 1: everybody in the namespace ---------------------------------------------


@MODES
@pytest.mark.parametrize("left", [NEAR, FAR], ids=["double fork", "session"])
def test_what_is_left_is_waited_for_and_gets_no_farewell(pid1, left, options, status):
    process = waits(pid1, left, *options)
    # What comes first is the marker: no farewell was sent.
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMAX):
        process.send(number, process.init)
        process.expect(int(number))
    ends_by_term(process, process.init, status)
    assert "farewell" not in process.stderr


def test_what_is_said(pid1):
    process = waits(pid1, "read pid rest < /proc/self/stat; " + FAR, "-r", "USR2:0")
    (left,) = children(process.init)
    process.send(signal.SIGUSR2, process.init)
    process.until_stderr("dropped")
    process.send(signal.SIGHUP, process.init)
    process.expect(1)
    inside = Path(f"/proc/{left}/status").read_text().partition("NSpid:")[2].split()[1]
    ends_by_term(process, process.init)
    lines = [line for line in process.stderr.splitlines() if "reaped" not in line]
    assert lines == [
        "[pyinit] 2 runs sh; orphans are ours",
        "[pyinit] 2 exited with 4",
        "[pyinit] SIGUSR2: dropped",
        "[pyinit] SIGHUP: sent SIGHUP to everybody",
        "[pyinit] SIGTERM: sent SIGTERM to everybody",
    ]
    assert process.stderr.endswith(f"[pyinit] reaped {inside}\n")


@pytest.mark.parametrize("options", [[], ["-c"]], ids=["default", "single"])
def test_term_reaches_whoever_is_left_in_whatever_session(pid1, options):
    process = waits(pid1, NEAR + FAR + FAR, *options)
    process.send(signal.SIGTERM, process.init)
    process.expect(15, 15, 15)
    assert process.wait() == 4


def test_one_after_the_other(pid1):
    # The end of one of those left is not the end of all.
    process = waits(pid1, FAR + FAR)
    two = until(lambda: children(process.init)[1:] and children(process.init), "two")
    first, second = two[-2:]
    process.send(signal.SIGTERM, first)
    process.expect(15)
    process.until_stderr("reaped")
    until(lambda: children(process.init) == [second], "one is left")
    process.send(signal.SIGUSR1, process.init)
    process.expect(10)
    ends_by_term(process, process.init)


def test_there_is_no_deadline(pid1):
    # Who stays ignores SIGTERM, and nobody kills it: what ends it is the test.
    process = pid1("--wait", "sh", "-c", f"setsid sh -c {BUSY!r} & {ENDS}", stdin=-1)
    process.expect("up")
    command = only_child(process.init, "sh")
    left = only_child(command, "sh")
    process.let_go()
    until(lambda: left in children(process.init), "the command has ended")
    process.send(signal.SIGTERM, process.init)
    until(lambda: not mask(process.init, "ShdPnd"), "it is passed on")
    for _ in range(10):  # it goes on: each round is one of its sleeps
        before = children(left)
        until(lambda before=before: children(left) != before, "it goes on")
    process.send(signal.SIGKILL, left)
    assert process.wait() == 4


def test_the_status_of_a_command_that_a_signal_ends(pid1):
    for options, status in ([], 143), (["-e143"], 0):
        left = FAR + "kill -TERM $$; "
        process = pid1("--wait", "-v", *options, "sh", "-c", left + ENDS)
        process.ready()
        process.until_stderr("was ended by SIGTERM")
        process.send(signal.SIGUSR1, process.init)
        process.expect(10)
        ends_by_term(process, process.init, status)


def test_nobody_left_nothing_waited_for(pid1, pyinit):
    for start in (pid1, pyinit):
        for options in ([], ["-c"]):
            before = monotonic()
            process = start("--wait", *options, "sh", "-c", "exit 4")
            assert process.wait() == 4
            assert monotonic() - before < 10


def enter(process, *words):
    """Return the words that run the next ones in the namespace, as docker exec does."""
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    return [tool("nsenter"), "-t", str(process.init), "-p", *words]


@pytest.mark.parametrize("left", ["", FAR], ids=["alone", "beside one of ours"])
def test_a_process_that_is_not_our_child_is_waited_for(pid1, start, left):
    # As docker exec has it: its parent is outside, so no SIGCHLD tells of its end.
    process = pid1("--wait", "-v", "sh", "-c", f"{left}echo up; {ENDS}", stdin=-1)
    lines = {process.line().split()[0] for _ in range(1 + bool(left))}
    assert lines == {"up", "ready"} if left else {"up"}
    stranger = start(*enter(process, *REPORTER, "0"))
    stranger.ready()
    process.let_go()
    process.until_stderr("exited with 4")
    process.send(signal.SIGUSR1, process.init)
    stranger.expect(10)
    if left:  # who ends before the stranger does
        process.expect(10)
        process.send(signal.SIGTERM, only_child(process.init, REPORTER[0]))
        process.expect(15)
        until(lambda: not children(process.init), "ours has ended")
        process.send(signal.SIGUSR2, process.init)
        stranger.expect(12)
    process.send(signal.SIGTERM, process.init)
    stranger.expect(15)
    assert stranger.wait() == 0
    assert process.wait() == 4


def test_orphans_that_are_made_meanwhile(pid1):
    # One that ends is reaped; one that stays is waited for as well.
    process = waits(pid1, FAR)
    (left,) = children(process.init)
    words = enter(process, "sh", "-c", "sleep 0.1 & sleep 1000 &")
    os.spawnv(os.P_WAIT, words[0], words)
    until(lambda: len(children(process.init)) == 2, "the one that ends is reaped")
    process.send(signal.SIGTERM, left)
    process.expect(15)
    until(lambda: len(children(process.init)) == 1, "the one that stays")
    assert command_line(*children(process.init)) == ["sleep", "1000"]
    process.send(signal.SIGUSR2, process.init)
    assert process.wait() == 4


def rests(pid, duration):
    """Tell whether a process has used no CPU at all for a time."""
    used = Path(f"/proc/{pid}/schedstat")
    before = used.read_text()
    time.sleep(duration)
    return state(pid) == "S" and used.read_text() == before


def test_it_costs_nothing(pid1):
    if not os.path.exists("/proc/self/schedstat"):
        pytest.skip("the kernel counts no CPU time in /proc/PID/schedstat")
    process = waits(pid1, FAR)
    duration = 10 if FULL else 2
    # (In the first of them it may have to come to rest.)
    until(lambda: rests(process.init, duration), f"{duration} s without any CPU time")
    ends_by_term(process, process.init)


# --- Not PID 1: the command's group ---------------------------------------------------


def beside(start, *options, left, before="", lines=1):
    """Run pyinit as a child of PID 1, which waits for a line when pyinit has ended."""
    words = ["--wait", "-v", *options, "sh", "-c", left + ENDS]
    around = f'({before}exec "$@"); echo ended $?; read line'
    process = start(*namespace(), "sh", "-c", around, "sh", *PYINIT, *words, stdin=-1)
    for _ in range(lines):
        process.ready()
    process.write()  # ends the command
    process.until_stderr("exited with 4")
    process.init = only_child(only_child(process.pid), PYINIT[0])
    return process


@pytest.mark.parametrize(("options", "status"), [([], 4), (["-e4"], 0)], ids=str)
def test_not_pid_1_the_group_is_waited_for(start, options, status):
    process = beside(start, *options, left=NEAR)
    process.send(signal.SIGUSR1, process.init)
    process.expect(10)
    process.send(signal.SIGTERM, process.init)
    process.expect(15, f"ended {status}")
    assert "USR1: sent SIGUSR1 to group" in process.stderr
    assert "farewell" not in process.stderr


def test_not_pid_1_others_get_nothing_and_are_not_waited_for(start):
    process = beside(start, left=NEAR + FAR, lines=2)
    process.send(signal.SIGTERM, process.init)
    process.expect(15, "ended 4")
    (left,) = reporters(process)
    process.send(signal.SIGHUP, left)
    process.expect(1)  # and nothing before


@pytest.mark.parametrize("left", [FAR, NEAR], ids=["session", "double fork"])
def test_not_pid_1_single_the_child_alone(start, left):
    words = [*PYINIT, "--wait", "-c", "sh", "-c", left + ENDS]
    around = '"$@"; echo ended $?; read line'
    process = start(*namespace(), "sh", "-c", around, "sh", *words, stdin=-1)
    process.ready()
    process.write()
    process.expect("ended 4")
    (left,) = reporters(process)
    process.send(signal.SIGHUP, left)
    process.expect(1)


def reporters(process):
    alive = [pid for pid in marked(process.run) if state(pid) != "Z"]
    return [pid for pid in alive if REPORTER[-1] in command_line(pid)[:4]]


def test_not_pid_1_another_child_of_ours_is_not_waited_for(start):
    # exec(2) keeps children: the one from before it is ours, and not in the group. Of
    # those in the group none is our child, so that nothing tells of their end.
    before = f"setsid {REPORTS}"
    process = beside(start, left=NEAR, before=before, lines=2)
    process.send(signal.SIGTERM, process.init)
    process.expect(15, "ended 4")
    (left,) = reporters(process)
    process.send(signal.SIGHUP, left)
    process.expect(1)


@pytest.mark.parametrize("rule", [None, "USR2:STOP", "USR2:TSTP"])
@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: signal.Signals(stop).name)
def test_a_stop_freezes_nobody(pid1, start, stop, rule):
    # The reporter has all of them blocked but SIGSTOP, and would say that one came.
    options = ["-r", rule] if rule else []
    for process in (waits(pid1, NEAR, *options), beside(start, *options, left=NEAR)):
        for number in (stop, signal.SIGUSR2) if rule else (stop,):
            process.send(number, process.init)
            process.until_stderr("dropped\n")
            process.err = b""
        process.send(signal.SIGUSR1, process.init)
        process.expect(10)
        process.send(signal.SIGTERM, process.init)
        process.expect(15)
        if process.popen.stdin:
            process.expect("ended 4")
        else:
            assert process.wait() == 4


# --- A terminal -----------------------------------------------------------------------


def test_as_pid_1_the_terminal_is_given_back(container):
    screen = container("--wait", "-v", "sh", "-c", NEAR + ENDS)
    screen.expect("ready")
    assert screen.foreground() != screen.init
    screen.type("\n")
    screen.expect("exited with 4")
    until(lambda: screen.foreground() == screen.init, "pyinit's group has it")
    screen.type("\x03")  # so a key reaches pyinit, and by it whoever is left
    screen.expect(r"^2\n")
    os.kill(screen.init, signal.SIGTERM)
    screen.expect(r"^15\n")
    assert screen.process.status() == 4


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["default", "single"])
def test_in_a_shell_the_terminal_is_given_back(terminal, mode):
    # The shell is PID 1: it reaps whoever is left, so that the group is gone at once.
    shell = terminal(*namespace(), "--", tool("bash"), *BASH[1:])
    shell.expect(PROMPT)
    group = shell.foreground()
    command = shlex.join(["sh", "-c", NEAR + ENDS])
    shell.type(f"{INIT} --wait -v {shlex.join(mode)} {command}\n")
    shell.expect("ready")
    init = only_child(only_child(shell.pid, tool("bash")), PYINIT[0])
    if not mode:
        assert shell.foreground() not in (init, group)
    shell.type("\n")
    shell.expect("exited with 4")
    if not mode:
        until(lambda: shell.foreground() == init, "the job has it")
        shell.type("\x1a")  # freezes nobody
        shell.expect("dropped")
        shell.type("\x03")
        shell.expect(r"^2\n")
        os.kill(init, signal.SIGTERM)
        shell.expect(r"^15\n")
    shell.expect(PROMPT)
    assert shell.run("echo $?") == "4\n"
    assert shell.foreground() == group


# --- Servers that execute themselves anew ---------------------------------------------


UPGRADES = [*PYTHON, str(PROGRAMS / "upgrades.py")]


def answer(port):
    with socket.create_connection(("127.0.0.1", port), 5) as server:
        return server.makefile().readline()


@pytest.mark.parametrize("options", [[], ["-c"]], ids=["default", "single"])
@pytest.mark.parametrize("kind", ["group", "session"])
def test_a_server_that_upgrades_itself(pid1, options, kind):
    process = pid1("--wait", "-v", *options, *UPGRADES, kind)
    _, port, pid = process.line().split()
    old = only_child(process.init)
    for generation in range(2, 4):
        process.send(signal.SIGUSR2, old)
        said, pid = pid, process.line().split()[-1]
        (new,) = children(old)
        process.send(signal.SIGQUIT, old)
        until(lambda new=new: children(process.init) == [new], "the new one alone")
        process.until_stderr("exited with 0" if generation == 2 else f"reaped {said}")
        until(lambda n=generation: answer(int(port)) == f"{n}\n", "the new one serves")
        old = new
    process.send(signal.SIGTERM, process.init)
    process.expect("end 3")
    assert process.wait() == 0


def test_without_wait_the_upgrade_ends_it(pid1):
    process = pid1(*UPGRADES, "session")
    process.line()
    old = only_child(process.init)
    process.send(signal.SIGUSR2, old)
    process.line()
    process.send(signal.SIGQUIT, old)
    assert process.wait() == 0


APPLICATION = """
import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d\\n" % os.getppid()]
"""


@pytest.fixture(scope="session")
def gunicorn(tmp_path_factory):
    """Return the path of a gunicorn, installed for these tests."""
    if not FULL:
        pytest.skip("without PYINIT_FULL nothing is installed")
    directory = tmp_path_factory.mktemp("gunicorn")
    for words in (
        [sys.executable, "-m", "venv", directory],
        [directory / "bin/python", "-m", "pip", "install", "-q", "gunicorn"],
    ):
        result = subprocess.run(
            [os.fspath(word) for word in words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if result.returncode:
            said = result.stdout.decode(errors="replace").strip()
            pytest.skip(f"{words[1:]}: {said[-500:]}")
    yield directory / "bin/gunicorn"
    shutil.rmtree(directory, ignore_errors=True)


def test_gunicorn_upgrades_itself(pid1, gunicorn, tmp_path):
    (tmp_path / "site.py").write_text("")
    (tmp_path / "app.py").write_text(APPLICATION)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--chdir", tmp_path, "--bind", f"127.0.0.1:{port}", "--workers", "2"]
    words += ["--worker-tmp-dir", tmp_path, "app:application"]
    process = pid1("--wait", "-v", gunicorn, *words)

    def master():
        """Return the pid of the master of the worker that answers, "" if none does."""
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
                return page.read().decode().strip()
        return ""

    first = until(master, "the first master serves")
    old = only_child(process.init)
    before = {*children(old)}  # its workers
    process.send(signal.SIGUSR2, old)
    until(lambda: {master()} - {first, ""}, "the new master serves as well")
    process.send(signal.SIGQUIT, old)
    process.until_stderr(f"[pyinit] {first} exited with 0")
    until(lambda: len(children(process.init)) == 1, "the new master alone")
    (new,) = children(process.init)
    assert new not in before
    second = until(master, "the new master serves")
    assert second != first
    process.send(signal.SIGTERM, process.init)
    assert process.wait() == 0
    assert "Shutting down: Master" in process.stderr
    assert "SIGTERM: sent SIGTERM to everybody" in process.stderr


# --- The option -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "last", "other"),
    [
        (["--wait", "--grace", "1"], "--grace", "--wait"),
        (["--wait", "--grace=0"], "--grace", "--wait"),
        (["--grace", "1", "-v", "--wait"], "--wait", "--grace"),
    ],
    ids=["second", "0", "first"],
)
def test_wait_and_grace_exclude_each_other(pyinit, options, last, other):
    process = pyinit(*options, "sh", "-c", "exit 4")
    assert process.wait() == 2
    usage = "usage: pyinit.py [options] [--] command [arg ...]\n"
    error = f"pyinit.py: error: argument {last}: not allowed with argument {other}\n"
    assert process.stderr == usage + error


def test_the_command_has_a_wait_of_its_own(pyinit):
    process = pyinit("--grace", "1", "echo", "--wait")
    assert process.wait() == 0
    assert process.stdout == "--wait\n"
