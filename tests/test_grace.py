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
    hosted_error,
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

# What the command leaves behind, in its group; and in a session of its own.
SLOW = "sh -c 'trap \"sleep 0.5; echo bye; exit\" TERM; echo up; while :; do sleep 0.1; done' & "
STUBBORN = "sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done' & "
FAR_SLOW, FAR_STUBBORN = "setsid " + SLOW, "setsid " + STUBBORN
FAR_REPORTER = "setsid " + shlex.join(REPORTER) + " & "
# Each generation starts the next in a session of its own when SIGTERM comes.
FORKS_IN_DYING = """
import os, signal, time
def next(*_):
    if not os.fork():
        os.setsid(); time.sleep(0.2); os.write(1, b'bye\\n'); os._exit(0)
    os._exit(0)
signal.signal(signal.SIGTERM, next)
os.write(1, b'up\\n')
while True: signal.pause()
"""
FORKS_WITHOUT_END = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, b'up\\n')
while True:
    if os.fork():
        os._exit(0)
    time.sleep(0.01)
"""
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
WAIT = "read line; exit 4"


def program(source):
    """Return a shell command that runs a Python program in the background."""
    return shlex.join([*PYTHON, "-c", source]) + " & "


def leaves(start, grace, left, *options, up=1):
    """Start pyinit with a command that leaves something behind, and end the command.

    Return the process, and the time at which the command may end.
    """
    words = [*options, "--grace", str(grace), "sh", "-c", left + WAIT]
    process = start(*words, stdin=-1)
    if "reporter.py" in left:
        process.ready()
    else:
        process.expect(*["up"] * up)
    return process, process.let_go()


# --- As PID 1: everybody in the namespace ---------------------------------------------


@pytest.mark.parametrize(
    "left", [FAR_SLOW, program(FORKS_IN_DYING)], ids=["slow", "fork"]
)
@pytest.mark.parametrize(("options", "status"), [([], 4), (["-c", "-e4"], 0)])
def test_what_is_left_gets_its_time(pid1, left, options, status):
    process, before = leaves(pid1, 20, left, *options)
    process.expect("bye")
    assert process.wait() == status
    assert monotonic() - before < 10


def test_without_grace_it_gets_no_time(pid1):
    process, _ = leaves(pid1, 0, FAR_SLOW)
    assert process.wait() == 4
    assert "bye" not in process.stdout


def test_nobody_left_nothing_waited_for(pid1, pyinit):
    for start in (pid1, pyinit):
        process, before = leaves(start, 20, "echo up; ")
        assert process.wait() == 4
        assert monotonic() - before < 10


@pytest.mark.parametrize(
    "left",
    [
        FAR_STUBBORN,
        FAR_STUBBORN.replace("while :;", "kill -STOP $$; while :;"),
        program(FORKS_WITHOUT_END),
    ],
    ids=["it ignores SIGTERM", "it is stopped", "it forks without end"],
)
def test_it_is_killed_when_the_grace_is_over(pid1, left):
    process, before = leaves(pid1, 0.7, left, "-v")
    assert process.wait() == 4
    assert 0.6 < monotonic() - before < 10
    assert not marked(process.run)
    assert process.stderr.endswith(
        "[pyinit] grace is over: sent SIGKILL to everybody\n"
    )


@pytest.mark.parametrize(
    ("rule", "said", "got"),
    [
        ([], "sent SIGTERM to everybody", "15\n"),
        (["-r", "TERM:USR1"], "sent SIGUSR1 to everybody", "10\n"),
        (["-r", "15:0"], "dropped", ""),
    ],
)
def test_the_farewell_goes_through_the_table_and_is_said(pid1, rule, said, got):
    process, _ = leaves(pid1, 0.5, FAR_REPORTER, "-v", *rule)
    assert process.wait() == 4
    assert process.stdout.partition("\n")[2] == got
    assert f"[pyinit] farewell: {said}\n" in process.stderr


def test_signals_are_passed_on_meanwhile(pid1):
    # A second TERM, and rewritten ones, to one who left the group. For the end of a process
    # and for a dropped signal pyinit wakes up as well: nothing is sent then, nor said.
    options = ["-v", "-r", "USR2:0", "-r", "HUP:KILL"]
    process, _ = leaves(pid1, 60, FAR_REPORTER + "sleep 100 & ", *options)
    process.expect(15)  # the farewell, which ends the sleep too
    process.until_stderr("reaped")
    process.send(signal.SIGUSR2, process.init)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGRTMAX):
        process.send(number, process.init)
        process.expect(int(number))
    process.send(signal.SIGHUP, process.init)
    assert process.wait() == 4
    sent = re.findall(r"sent (\w+)", process.stderr)
    assert sent == ["SIGTERM", "SIGTERM", "SIGINT", "SIGUSR1", "SIGRTMAX", "SIGKILL"]


def test_zombies_are_reaped_meanwhile(pid1):
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    process, _ = leaves(pid1, 20, FAR_REPORTER)
    process.expect(15)
    leftover = only_child(process.init, REPORTER[0])
    # An orphan that is made now becomes pyinit's, and ends.
    nsenter = [tool("nsenter"), "-t", str(process.init), "-p"]
    os.spawnv(os.P_WAIT, nsenter[0], [*nsenter, "sh", "-c", "sleep 0.1 &"])
    until(lambda: children(process.init) == [leftover], "the leftover alone")


def test_a_stranger_in_the_namespace_gets_its_time_too(pid1, start):
    # As docker exec has it: not a descendant of pyinit's, so no SIGCHLD tells.
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    process = pid1("--grace", "20", "sh", "-c", "echo up; " + WAIT, stdin=-1)
    process.expect("up")
    enter = [tool("nsenter"), "-t", str(process.init), "-p", "sh", "-c"]
    stranger = start(*enter, FAR_SLOW.replace("setsid ", "") + "wait $!")
    stranger.expect("up")
    before = process.let_go()
    assert process.wait() == 4
    assert monotonic() - before < 10
    stranger.expect("bye")


# --- Not PID 1: the command's group ---------------------------------------------------


def with_a_bystander(start, *options, left):
    """Run pyinit as a child of PID 1, with a bystander outside of its group."""
    around = f'{shlex.join(REPORTER)} & "$@"; echo ended $?; read line; kill -9 $!'
    words = [*PYINIT, *options, "sh", "-c", left + WAIT]
    process = start(*namespace(), "sh", "-c", around, "sh", *words, stdin=-1)
    lines = sorted([process.line(), process.line()])
    assert lines[0].startswith("ready") and lines[1] == "up"
    process.write()  # ends the command
    return process


def bystander_got_nothing(process):
    process.let_go()
    process.wait()
    return not [line for line in process.stdout.split("\n") if line.isdigit()]


def test_not_pid_1_the_group_gets_its_time_and_nobody_else_anything(start):
    process = with_a_bystander(start, "--grace", "20", left=SLOW)
    process.expect("bye", "ended 4")
    assert bystander_got_nothing(process)


def test_not_pid_1_a_stubborn_group_is_killed_and_nobody_else(start):
    process = with_a_bystander(start, "--grace", "0.7", left=STUBBORN)
    process.expect("ended 4")
    # Killed, though not dead yet when pyinit has ended: what stays is unshare, sh, and
    # the bystander.
    until(
        lambda: len([pid for pid in marked(process.run) if state(pid) != "Z"]) == 3,
        "the group is gone",
    )
    assert bystander_got_nothing(process)


@pytest.mark.parametrize(
    ("options", "left"),
    [([], FAR_STUBBORN), (["-c"], STUBBORN)],
    ids=["session", "single"],
)
def test_not_pid_1_others_are_left_alone(start, options, left):
    # With -c the child is in pyinit's own group, with its caller.
    before = monotonic()
    process = with_a_bystander(start, *options, "--grace", "20", left=left)
    process.expect("ended 4")
    assert monotonic() - before < 10
    assert len(marked(process.run)) > 3


def test_not_pid_1_grace_looks_every_20_ms(start, tmp_path):
    # Nothing tells of the end of others' children. In one second it looks fifty times,
    # with two calls each, fewer where the machine is slow: neither does it spin, nor sleep
    # through the end.
    log = tmp_path / "log"
    trace = strace("-e", "trace=rt_sigtimedwait", follow=False, log=log)
    command = [*PYINIT, "--grace", "1", "sh", "-c", STUBBORN + WAIT]
    words = [*namespace(), "sh", "-c", '"$@"; echo ended $?', "sh", *trace, *command]
    process = start(*words, stdin=-1)
    process.expect("up")
    before = len(log.read_text().splitlines())
    process.let_go()
    process.expect("ended 4")
    calls = len(log.read_text().splitlines()) - before
    assert 16 < calls < 120


# --- A number that is used again, or may not be used ------------------------------------


def test_a_single_childs_number_is_not_used_once_it_is_reaped(start, tmp_path):
    # It may be somebody else's by then, and a single child has no group to wait for.
    log = tmp_path / "log"
    trace = strace("-e", "trace=kill,waitid", log=log)
    process = start(*trace, *PYINIT, "-c", "--grace", "20", "sh", "-c", "exit 4")
    assert process.wait() == 4
    calls = [line.split()[1].partition("(")[0] for line in log.read_text().splitlines()]
    assert calls[-1] == "waitid"


def test_a_group_number_that_is_used_again_is_left_alone(start):
    # The group ends while pyinit is stopped, and a bystander gets its number, with a
    # group of its own: at the deadline it must not be killed.
    if os.getuid():
        pytest.skip("only root may choose the next pid")
    process = start(*namespace(), *PYTHON, PROGRAMS / "reuse.py", *PYINIT, "-v")
    assert process.wait() == 0, process.stderr
    assert process.stdout == "the bystander lives, the status is 4\n"
    assert "SIGKILL" not in process.stderr


def test_a_leftover_that_has_become_somebody_elses(start, public):
    # Its group cannot be signalled any more: kill(2) says EPERM. It is there all the same.
    other = public / "other"
    shutil.copy(tool("setpriv"), other)
    other.chmod(0o4755)
    left = public / "left"
    become_root = [str(other), "--reuid=0", "--clear-groups"]
    need(*as_user(64011, [*become_root, "true"]))
    later = f"echo up; exec >&- 2>&-; sleep 1; : > {left}"
    command = f"{shlex.join([*become_root, 'sh', '-c', later])} & read line; exit 4"
    words = as_user(64011, [*PYINIT, "--grace", "20", "sh", "-c", command])
    process = start(*words, stdin=-1)
    process.expect("up")  # and has become root's
    process.let_go()
    assert process.wait() == 4, process.stderr
    assert left.exists()


def test_a_stop_during_grace_repeats_no_signal(pyinit):
    # CPython's sigtimedwait, stopped in its sleep and resumed when its time is over,
    # returns what it returned the time before.
    process, _ = leaves(pyinit, 30, program(LEAVE_AND_REAP), "-v", up=2)
    process.until_stderr("exited with 4")
    process.send(signal.SIGUSR1)
    process.until_stderr("SIGUSR1: sent")
    for _ in range(5):
        process.send(signal.SIGSTOP)
        until(lambda: state(process.pid) == "T", "stopped")
        time.sleep(0.1)  # more than pyinit's own sleep: that its time is over by then
        process.send(signal.SIGCONT)
        process.until_stderr("SIGCONT: sent")
        process.err = process.err.replace(b"SIGCONT: sent", b"SIGCONT: went")
    process.send(signal.SIGHUP)
    assert process.wait() == 4
    sent = [line.split()[1] for line in process.stderr.splitlines() if "group" in line]
    assert sent == ["farewell:", "SIGUSR1:", *["SIGCONT:"] * 5, "SIGHUP:"]


# --- The option -----------------------------------------------------------------------


def test_bad_graces():
    bad = ["-1", "-0.5", "nan", "NaN", "inf", "-inf", "infinity", "1e3", "1e400"]
    bad += ["", " ", "x", "1s", "1,5", " 1", "1 ", "+1", "1_0", "0x1", "1.2.3", "."]
    bad += ["9" * 400, "٣", "1000001"]
    lines = [
        words for text in bad for words in ([f"--grace={text}"], ["--grace", text])
    ]
    for words, error in hosted_error(lines):
        text = words[-1].replace("--grace=", "")
        if words[0] != "--grace" or not text.startswith("-i"):  # else it is an option
            assert "argument --grace: " in error
            assert repr(text) in error or ascii(text) in error


@pytest.mark.parametrize("text", ["0", "0.25", "1", ".5", "2.", "007", "1000000"])
def test_good_graces(pyinit, text):
    assert pyinit("--grace", text, "sh", "-c", "exit 4").wait() == 4
