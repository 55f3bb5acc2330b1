"""--grace: what the command leaves behind gets its SIGTERM and its time."""

import os
import re
import shlex
import shutil
import signal
import time

import pytest
from support import (
    PROGRAMS,
    PYINIT,
    PYTHON,
    REPORTER,
    as_user,
    children,
    logged,
    marked,
    monotonic,
    namespace,
    need,
    only_child,
    state,
    strace,
    tool,
    until,
)

# Leaves a process of a session of its own that takes its time to end.
SLOW = "setsid sh -c 'trap \"sleep 0.5; echo bye; exit\" TERM; echo up; while :; do sleep 0.1; done' & "
STUBBORN = "setsid sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done' & "
WAIT = "read line; exit 4"
# Leaves a process in pyinit's target group that a SIGHUP ends, and reaps it from outside of
# the group. PID 1 of a container may be pytest, which reaps no orphans: a zombie of the
# group would be there until the grace is over.
LEAVE_AND_REAP = """
import os, signal
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
left = os.fork()
if left:
    os.setsid()
os.write(1, b"up\\n")
while not left:
    signal.pause()
os.wait()
"""


def let_go(process):
    """Let the command end, and return the time."""
    process.popen.stdin.close()
    process.popen.stdin = None
    return monotonic()


def test_a_leftover_in_a_session_of_its_own(pid1):
    process = pid1("--grace", "20", "sh", "-c", SLOW + WAIT, stdin=-1)
    process.expect("up")
    before = let_go(process)
    process.expect("bye")
    assert process.wait() == 4
    assert 0.4 < monotonic() - before < 10


def test_without_grace_it_gets_no_time(pid1):
    process = pid1("sh", "-c", SLOW + WAIT, stdin=-1)
    process.expect("up")
    let_go(process)
    assert process.wait() == 4
    assert "bye" not in process.stdout


def test_nobody_left_nothing_waited_for(pid1, pyinit):
    for start in (pid1, pyinit):
        before = monotonic()
        process = start("--grace", "20", "sh", "-c", "exit 4")
        assert process.wait() == 4
        assert monotonic() - before < 10


def test_a_leftover_that_ignores_term_is_killed_at_the_deadline(pid1):
    process = pid1("--grace", "0.7", "-v", "sh", "-c", STUBBORN + WAIT, stdin=-1)
    process.expect("up")
    before = let_go(process)
    assert process.wait() == 4
    assert 0.6 < monotonic() - before < 10
    assert not marked(process.run)
    assert process.stderr.endswith(
        "[pyinit] grace is over: sent SIGKILL to everybody\n"
    )


def test_a_leftover_that_is_stopped_at_the_deadline(pid1):
    stubborn = STUBBORN.replace("while :;", "kill -STOP $$; while :;")
    process = pid1("--grace", "0.7", "sh", "-c", stubborn + WAIT, stdin=-1)
    process.expect("up")
    before = let_go(process)
    assert process.wait() == 4
    assert monotonic() - before > 0.6
    assert not marked(process.run)


def test_a_leftover_that_forks_while_it_dies(pid1):
    # Each generation starts the next in a session of its own when SIGTERM comes.
    program = (
        "import os, signal, time\n"
        "def next(*_):\n"
        "    if not os.fork():\n"
        "        os.setsid(); time.sleep(0.2); os.write(1, b'next\\n'); os._exit(0)\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, next)\n"
        "os.write(1, b'up\\n')\n"
        "while True: signal.pause()\n"
    )
    command = shlex.join([*PYTHON, "-c", program]) + " & " + WAIT
    process = pid1("--grace", "20", "sh", "-c", command, stdin=-1)
    process.expect("up")
    before = let_go(process)
    process.expect("next")
    assert process.wait() == 4
    assert monotonic() - before < 10


def test_forks_without_end_are_killed_at_the_deadline(pid1):
    program = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "os.write(1, b'up\\n')\n"
        "while True:\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        "    time.sleep(0.01)\n"
    )
    command = shlex.join([*PYTHON, "-c", program]) + " & " + WAIT
    process = pid1("--grace", "0.7", "sh", "-c", command, stdin=-1)
    process.expect("up")
    let_go(process)
    assert process.wait() == 4
    assert not marked(process.run)


@pytest.mark.parametrize("rule", [[], ["-r", "TERM:USR1"], ["-r", "15:0"]])
def test_the_first_signal_goes_through_the_table(pid1, rule):
    command = "setsid " + shlex.join(REPORTER) + " & " + WAIT
    process = pid1("--grace", "0.7", *rule, "sh", "-c", command, stdin=-1)
    process.line()
    let_go(process)
    assert process.wait() == 4
    expected = {"": "15\n", "TERM:USR1": "10\n", "15:0": ""}["".join(rule[1:])]
    assert process.stdout.partition("\n")[2] == expected


def test_signals_are_passed_on_meanwhile(pid1):
    # A second TERM, and a rewritten one, to a leftover that left the group.
    command = "setsid " + shlex.join(REPORTER) + " & " + WAIT
    process = pid1("--grace", "20", "-r", "HUP:KILL", "sh", "-c", command, stdin=-1)
    process.line()
    let_go(process)
    process.expect(15)
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, 64):
        os.kill(process.init, number)
        process.expect(int(number))
    before = monotonic()
    os.kill(process.init, signal.SIGHUP)
    assert process.wait() == 4
    assert monotonic() - before < 10


def test_zombies_are_reaped_meanwhile(pid1):
    command = "setsid " + shlex.join(REPORTER) + " & " + WAIT
    process = pid1("--grace", "20", "sh", "-c", command, stdin=-1)
    process.line()
    before = len(children(process.init))
    assert before == 1
    let_go(process)
    process.expect(15)
    leftover = only_child(process.init, REPORTER[0])
    # An orphan that is made now becomes pyinit's, and ends.
    nsenter = [tool("nsenter"), "-t", str(process.init), "-p"]
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    os.spawnv(os.P_WAIT, nsenter[0], [*nsenter, "sh", "-c", "sleep 0.1 &"])
    until(lambda: children(process.init) == [leftover], "the leftover alone")


def test_a_stranger_in_the_namespace_gets_its_time_too(pid1):
    # As docker exec has it: not a descendant of pyinit's, so no SIGCHLD tells.
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    process = pid1("--grace", "20", "sh", "-c", "echo up; " + WAIT, stdin=-1)
    process.expect("up")
    read, write = os.pipe()
    program = (
        'trap "sleep 0.4; echo bye; exit" TERM; echo up; while :; do sleep 0.1; done'
    )
    nsenter = ["nsenter", "-t", str(process.init), "-p", "sh", "-c", program]
    pid = os.posix_spawnp(
        nsenter[0], nsenter, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, write, 1)]
    )
    os.close(write)
    assert os.read(read, 100) == b"up\n"
    before = let_go(process)
    assert process.wait() == 4
    assert monotonic() - before < 10
    assert os.read(read, 100) == b"bye\n"
    os.waitpid(pid, 0)


def not_pid1(start, words):
    """Run pyinit as a child of PID 1, with a bystander outside of its group."""
    program = f'{shlex.join(REPORTER)} & "$@"; echo ended $?; read line; kill -9 $!'
    process = start(*namespace(), "sh", "-c", program, "sh", *words, stdin=-1)
    lines = sorted([process.line(), process.line()])
    assert lines[0].startswith("ready") and lines[1] == "up"
    process.popen.stdin.write(b"\n")  # ends the command
    process.popen.stdin.flush()
    return process


def test_not_pid_1_the_group_gets_its_time_and_nobody_else_anything(start):
    left = SLOW.replace("setsid ", "") + WAIT
    process = not_pid1(start, [*PYINIT, "--grace", "20", "sh", "-c", left])
    process.expect("bye", "ended 4")
    let_go(process)
    process.wait()
    # The bystander has reported no signal.
    assert [line for line in process.stdout.split("\n") if line.isdigit()] == []


def test_not_pid_1_a_stubborn_group_is_killed_and_nobody_else(start):
    left = STUBBORN.replace("setsid ", "")
    process = not_pid1(start, [*PYINIT, "--grace", "0.7", "sh", "-c", left + WAIT])
    process.expect("ended 4")
    # Killed, though not dead yet when pyinit has ended: what stays is unshare, sh, and
    # the bystander.
    until(
        lambda: len([pid for pid in marked(process.run) if state(pid) != "Z"]) == 3,
        "the group is gone",
    )
    let_go(process)
    process.wait()
    assert [line for line in process.stdout.split("\n") if line.isdigit()] == []


def test_not_pid_1_a_leftover_in_another_session_is_left_alone(start):
    process = not_pid1(start, [*PYINIT, "--grace", "20", "sh", "-c", STUBBORN + WAIT])
    process.expect("ended 4")
    assert len(marked(process.run)) > 3


def test_single_child_not_pid_1_touches_nobody(start):
    # The child is in pyinit's own group, with its caller: that is not to be signalled.
    process = not_pid1(
        start,
        [
            *PYINIT,
            "-c",
            "--grace",
            "20",
            "sh",
            "-c",
            STUBBORN.replace("setsid ", "") + WAIT,
        ],
    )
    before = monotonic()
    process.expect("ended 4")
    assert monotonic() - before < 10


@pytest.mark.parametrize(("option", "status"), [("-c", 4), ("-e4", 0)])
def test_with_another_option_as_pid_1(pid1, option, status):
    process = pid1(option, "--grace", "20", "sh", "-c", SLOW + WAIT, stdin=-1)
    process.expect("up")
    let_go(process)
    process.expect("bye")
    assert process.wait() == status


def test_a_single_childs_number_is_not_used_once_it_is_reaped(start, tmp_path):
    # It may be somebody else's by then, and a single child has no group to wait for.
    log = tmp_path / "log"
    trace = strace("-e", "trace=kill,wait4")
    trace[trace.index("/dev/null")] = str(log)
    process = start(*trace, *PYINIT, "-c", "--grace", "20", "sh", "-c", "exit 4")
    assert process.wait() == 4
    calls = [line.split()[1].partition("(")[0] for line in log.read_text().splitlines()]
    assert calls[-1] == "wait4"


def test_a_group_number_that_is_used_again_is_left_alone(start):
    # The group ends while pyinit is stopped, and a bystander gets its number, with a
    # group of its own: at the deadline it must not be killed.
    if os.getuid():
        pytest.skip("only root may choose the next pid")
    process = start(*namespace(), *PYTHON, PROGRAMS / "reuse.py", *PYINIT, "-v")
    assert process.wait() == 0, process.stderr
    assert process.stdout == "the bystander lives, the status is 4\n"
    assert "SIGKILL" not in process.stderr


def test_an_interrupt_during_grace_is_not_the_commands_any_more(pid1):
    process = pid1("--grace", "20", "-v", "sh", "-c", SLOW + WAIT, stdin=-1)
    process.expect("up")
    let_go(process)
    process.until_stderr("exited with 4")
    os.kill(process.init, signal.SIGINT)
    process.expect("bye")
    assert process.wait() == 4


def test_term_then_grace(pid1):
    # The whole life of a container that is stopped.
    process = pid1("--grace", "20", "sh", "-c", SLOW + "wait; exit 4")
    process.expect("up")
    os.kill(process.init, signal.SIGTERM)
    process.expect("bye")
    assert process.wait() == 143


def test_a_stop_during_grace_repeats_no_signal(pyinit):
    # CPython's sigtimedwait, stopped in its sleep and resumed when its time is over,
    # returns what it returned the time before.
    leave = shlex.join([*PYTHON, "-c", LEAVE_AND_REAP])
    command = ["sh", "-c", f"{leave} & {WAIT}"]
    process = pyinit("--grace", "30", "-v", *command, stdin=-1)
    process.expect("up", "up")
    let_go(process)
    process.until_stderr("exited with 4")
    os.kill(process.pid, signal.SIGUSR1)
    process.until_stderr("SIGUSR1: sent")
    for _ in range(5):
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: state(process.pid) == "T", "stopped")
        time.sleep(0.1)  # more than pyinit's own sleep: that its time is over by then
        os.kill(process.pid, signal.SIGCONT)
        process.until_stderr("SIGCONT: sent")
        process.err = process.err.replace(b"SIGCONT: sent", b"SIGCONT: went")
    os.kill(process.pid, signal.SIGHUP)
    assert process.wait() == 4
    sent = [line.split()[1] for line in process.stderr.splitlines() if "group" in line]
    assert sent == ["farewell:", "SIGUSR1:", *["SIGCONT:"] * 5, "SIGHUP:"]


BAD = ["-1", "-0.5", "nan", "NaN", "inf", "-inf", "infinity", "1e3", "1e400", "9" * 400]
BAD += [
    "",
    " ",
    "x",
    "1s",
    "1,5",
    " 1",
    "1 ",
    "+1",
    "1_0",
    "0x1",
    "1.2.3",
    ".",
    "٣",
    "1000001",
]


@pytest.mark.parametrize("text", BAD, ids=lambda text: ascii(text)[:12])
@pytest.mark.parametrize("joined", [False, True])
def test_bad_graces(pyinit, text, joined):
    words = [f"--grace={text}"] if joined else ["--grace", text]
    process = pyinit(*words, "--", "echo", "started")
    assert process.wait() == 2
    assert process.stdout == ""
    if joined or not text.startswith("-i"):  # that alone is an option to argparse
        assert "argument --grace: " in process.stderr
        assert any(word in process.stderr for word in (repr(text), ascii(text)))
    assert "usage: " in process.stderr and "Traceback" not in process.stderr


@pytest.mark.parametrize(
    "text", ["0", "0.0", "0.25", "1", ".5", "2.", "007", "1000000"]
)
def test_good_graces(pyinit, text):
    assert pyinit("--grace", text, "sh", "-c", "exit 4").wait() == 4


def test_a_leftover_that_has_become_somebody_elses(start, public):
    # Its group cannot be signalled any more: kill(2) says EPERM. It is there all the same.
    other = public / "other"
    shutil.copy(tool("setpriv"), other)
    other.chmod(0o4755)
    left = public / "left"
    become_root = [str(other), "--reuid=0", "--clear-groups"]
    need(*as_user(64011, [*become_root, "true"]))
    later = f"echo up; exec >&- 2>&-; sleep 1; : > {left}"
    program = f"{shlex.join([*become_root, 'sh', '-c', later])} & read line; exit 4"
    words = as_user(64011, [*PYINIT, "--grace", "20", "sh", "-c", program])
    process = start(*words, stdin=-1)
    process.expect("up")  # and has become root's
    let_go(process)
    assert process.wait() == 4, process.stderr
    assert left.exists()


def test_v_does_not_speak_of_a_signal_that_was_not_sent(pid1):
    # During grace pyinit wakes up for the end of a process and for a dropped signal:
    # it sends nobody anything then, and must not say so.
    program = '(setsid "$@" &) ; sleep 100 & read line; exit 4'
    options = ["-v", "--grace", "60", "-r", "USR1:0", "-r", "HUP:KILL"]
    process = pid1(*options, "sh", "-c", program, "sh", *REPORTER, stdin=-1)
    process.line()
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect(15)  # the farewell, which ends the sleep too
    process.until_stderr("reaped")
    os.kill(process.init, signal.SIGUSR1)
    os.kill(process.init, signal.SIGURG)
    process.expect(int(signal.SIGURG))
    os.kill(process.init, signal.SIGHUP)
    assert process.wait() == 4
    said = re.findall(r"sent (\w+)", process.stderr)
    assert said, process.stderr
    assert not {"0", "nothing", "SIGUSR1", "10"} & {*said}, process.stderr


def test_not_pid_1_grace_looks_every_20_ms(start, tmp_path):
    # Nothing tells of the end of others' children. In one second it looks fifty times,
    # with two calls each, fewer where the machine is slow: neither does it spin, nor sleep
    # through the end.
    log = tmp_path / "log"
    trace = logged(strace("-e", "trace=rt_sigtimedwait", follow=False), log)
    stubborn = "trap '' TERM; echo up; while :; do sleep 10; done"
    program = f'sh -c "{stubborn}" & read line; exit 4'
    command = [*PYINIT, "--grace", "1", "sh", "-c", program]
    words = [*namespace(), "sh", "-c", '"$@"; echo ended $?', "sh", *trace, *command]
    process = start(*words, stdin=-1)
    process.expect("up")
    before = len(log.read_text().splitlines())
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("ended 4")
    calls = len(log.read_text().splitlines()) - before
    assert 16 < calls < 120


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
