"""--grace and --wait: what the command leaves behind.

With --grace it gets its SIGTERM and its time, with --wait no SIGTERM and all the time that
there is. Who is left is often the reporter: it says each signal that comes.
"""

import os
import re
import shlex
import signal

import pytest
from support import (
    PROGRAMS,
    PYINIT,
    PYTHON,
    REPORTER,
    children,
    command_line,
    marked,
    monotonic,
    namespace,
    only_child,
    rests,
    state,
    strace,
    tool,
    until,
)

# What the command leaves behind, in its group; and in a session of its own.
SLOW = "sh -c 'trap \"sleep 0.2; echo bye; exit\" TERM; echo up; while :; do sleep 0.02; done' & "
STUBBORN = "sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.02; done' & "
FAR_SLOW, FAR_STUBBORN = "setsid " + SLOW, "setsid " + STUBBORN
FAR_REPORTER = f"setsid {shlex.join(REPORTER)} & "
# These end when SIGTERM comes. A double fork: whose parent is gone.
NEAR = f"({shlex.join(REPORTER)} 0 & ) ; "
FAR = f"(setsid {shlex.join(REPORTER)} 0 & ) ; "
ENDS = "read line; exit 4"


def leaves(start, options, left):
    """Start pyinit with a command that leaves something behind, and end the command.

    Return the process, and the time at which the command may end.
    """
    process = start(*options.split(), "sh", "-c", left + ENDS, stdin=-1)
    for _ in range(left.count("reporter.py")):
        process.ready()
    if "echo up" in left:
        process.expect("up")
    return process, process.let_go()


def waits(start, left, options="", how="--wait"):
    """Start pyinit with --wait; return the process when it waits for what is left."""
    process, _ = leaves(start, f"{how} -v {options}", left)
    process.until_stderr("exited with 4")
    until(
        lambda: "Z" not in map(state, children(process.init)), "the command is reaped"
    )
    return process


def gets(process, *numbers):
    """Send pyinit signals one by one, each of which whoever is left is to report."""
    for number in numbers:
        process.send(number, process.init)
        process.expect(int(number))


# --- As PID 1: everybody in the namespace ---------------------------------------------


@pytest.mark.parametrize(("options", "status"), [("", 4), ("-c -e4", 0)])
def test_what_is_left_gets_its_time(pid1, options, status):
    process, before = leaves(pid1, f"--grace 20 {options}", FAR_SLOW)
    process.expect("bye")
    assert process.wait() == status
    assert monotonic() - before < 10


@pytest.mark.parametrize("option", ["--grace 20", "--wait", "--grace 20 -c"])
def test_nobody_left_nothing_waited_for(pid1, pyinit, option):
    for start in (pid1, pyinit):
        process, before = leaves(start, option, "echo up; ")
        assert process.wait() == 4
        assert monotonic() - before < 10


def test_it_is_killed_when_the_grace_is_over(pid1):
    process, before = leaves(pid1, "-v --grace 0.3", FAR_STUBBORN)
    assert process.wait() == 4
    assert 0.2 < monotonic() - before < 10
    assert not marked(process.run)
    said = "[pyinit] grace is over: sent SIGKILL to everybody\n"
    assert process.stderr.endswith(said)
    assert "SIGALRM" not in process.stderr  # the timer's is pyinit's own


def test_the_farewell_and_signals_meanwhile(pid1):
    # By the table, to one who left the group. For the end of a process and for a dropped
    # signal pyinit wakes up as well: nothing is sent then, nor said.
    options = "-v --grace 60 -r TERM:ALRM -r USR2:0 -r HUP:KILL"
    process, _ = leaves(pid1, options, FAR_REPORTER + "sleep 100 & ")
    process.until_stderr("[pyinit] farewell: sent SIGALRM to everybody\n")
    process.expect(14)
    process.until_stderr("reaped")  # it has ended the sleep too
    process.send(signal.SIGUSR2, process.init)
    process.send(signal.SIGTERM, process.init)
    process.expect(14)
    gets(process, signal.SIGINT, signal.SIGUSR1, signal.SIGALRM, signal.SIGRTMAX)
    process.send(signal.SIGHUP, process.init)
    assert process.wait() == 4
    sent = re.findall(r"sent (\w+)", process.stderr)
    assert sent[:4] == ["SIGALRM", "SIGALRM", "SIGINT", "SIGUSR1"]
    assert sent[4:] == ["SIGALRM", "SIGRTMAX", "SIGKILL"]


@pytest.mark.parametrize(("options", "status"), [("", 4), ("-c -e4", 0)])
def test_with_wait_it_is_waited_for_and_gets_no_farewell(pid1, options, status):
    # In whatever session they are. What comes first is the marker: no farewell was sent.
    process = waits(pid1, FAR + NEAR + FAR, options)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMAX, signal.SIGTERM):
        process.send(number, process.init)
        process.expect(*[int(number)] * 3)
    assert process.wait() == status
    assert process.stderr.count("SIGTERM: sent SIGTERM to everybody\n") == 1
    assert "farewell" not in process.stderr
    assert re.search(r"^\[pyinit\] reaped \d+\n\Z", process.stderr, re.M)


@pytest.mark.parametrize(
    ("options", "number", "ends", "farewell"),
    [
        *[("", number, number, 15) for number in (2, 3, 15)],
        ("-r HUP:TERM", 1, 15, 15),
        ("-r TERM:USR1", 15, 10, 10),
    ],
)
def test_an_end_that_was_asked_for_before_is_not_lost_for_the_others(
    pid1, options, number, ends, farewell
):
    # It has reached the command's group alone, and may be all that ever comes: the first
    # three are what images have as their STOPSIGNAL.
    words = ["sh", "-c", FAR_REPORTER + "exec sleep 1000"]
    process = pid1("--wait", *options.split(), *words)
    process.ready()
    sleep = only_child(process.init, "sleep")
    until(lambda: state(sleep) == "S", "it is no shell any more")
    process.send(number, process.init)
    process.expect(farewell)
    process.send(signal.SIGKILL, only_child(process.init, REPORTER[0]))
    assert process.wait() == 128 + ends


def test_one_that_is_dropped_asks_for_nothing(pid1):
    words = ["-r", "QUIT:0", "sh", "-c", FAR_REPORTER + ENDS]
    process = pid1("--wait", "-v", *words, stdin=-1)
    process.ready()
    process.send(signal.SIGQUIT, process.init)
    process.until_stderr("SIGQUIT: dropped")
    process.let_go()
    process.until_stderr("exited with 4")
    process.send(signal.SIGKILL, only_child(process.init, REPORTER[0]))
    assert process.wait() == 4
    assert "farewell" not in process.stderr


def test_a_stranger_is_waited_for(pid1, start):
    """As docker exec starts one, beside a process of ours, and when that has ended."""
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    process = pid1("--wait", "-v", "sh", "-c", FAR + ENDS, stdin=-1)
    process.ready()
    enter = [tool("nsenter"), "-t", str(process.init), "-p"]
    stranger = start(*enter, *REPORTER, "0")
    stranger.ready()
    process.let_go()
    process.until_stderr("exited with 4")
    process.send(signal.SIGUSR1, process.init)
    stranger.expect(10)
    process.expect(10)
    process.send(signal.SIGTERM, only_child(process.init, REPORTER[0]))
    process.expect(15)
    until(lambda: not children(process.init), "ours has ended, and is reaped")
    process.send(signal.SIGUSR2, process.init)
    stranger.expect(12)
    # Of its end nothing tells pyinit.
    process.send(signal.SIGTERM, only_child(stranger.pid, REPORTER[0]))
    assert stranger.wait() == 0
    assert process.wait() == 4


@pytest.mark.parametrize("how", ["--wait", "--grace 60 -r TERM:USR1"])
def test_to_wait_costs_nothing(pid1, how):
    process = waits(pid1, FAR, how=how)
    until(lambda: rests(process.init), "it does not wake up")
    process.send(signal.SIGTERM, only_child(process.init, REPORTER[0]))
    assert process.wait() == 4


# --- Not PID 1: the command's group ---------------------------------------------------

# Outside of the command's group: it is to get nothing.
BYSTANDER = shlex.join(REPORTER) + ' & "$@"'


def beside(start, *options, left, around='"$@"', lines=1):
    """Run pyinit as a child of PID 1, which waits for a line when pyinit has ended."""
    words = [*options, "sh", "-c", left + ENDS]
    around += "; echo ended $?; read line; kill -9 $!"
    process = start(*namespace(), "sh", "-c", around, "sh", *PYINIT, *words, stdin=-1)
    said = [process.line() for _ in range(lines)]
    assert all(line == "up" or line[:5] == "ready" for line in said), said
    process.write()  # ends the command
    if "--wait" in options:
        process.until_stderr("exited with 4")
        beside_it = children(only_child(process.pid))
        found = [pid for pid in beside_it if "-v" in command_line(pid)]
        process.init = next(iter(found), None)  # with -c it has ended
    return process


@pytest.mark.parametrize(
    ("options", "left", "said", "living"),
    [
        ("--grace 20", SLOW, ["bye"], 3),
        ("--grace 0.3", STUBBORN, [], 3),
        ("--grace 20", FAR_STUBBORN, [], 4),
        # With -c the child is in pyinit's own group, with its caller.
        ("-c --grace 20", STUBBORN, [], 4),
    ],
    ids=["its time", "killed", "a session's", "single"],
)
def test_not_pid_1_the_group_and_nobody_else(start, options, left, said, living):
    before = monotonic()
    process = beside(start, *options.split(), left=left, around=BYSTANDER, lines=2)
    process.expect(*said, "ended 4")
    assert monotonic() - before < 10

    def alive():
        """Count who is left: unshare, sh and the bystander, and with them others."""
        every = [pid for pid in marked(process.run) if state(pid) != "Z"]
        return len([pid for pid in every if command_line(pid)[:1] != ["sleep"]])

    until(lambda: alive() == living, "the dead are dead")
    process.let_go()
    if living == 3:
        process.wait()
        assert not [line for line in process.stdout.split("\n") if line.isdigit()]


def test_not_pid_1_grace_looks_every_20_ms(start, tmp_path):
    # Nothing tells of the end of others' children. In half a second it looks 25 times,
    # with two calls each, fewer where the machine is slow: neither does it spin, nor sleep
    # through the end.
    log = tmp_path / "log"
    trace = strace("-e", "trace=rt_sigtimedwait", follow=False, log=log)
    command = [*PYINIT, "--grace", "0.5", "sh", "-c", STUBBORN + ENDS]
    words = [*namespace(), "sh", "-c", '"$@"; echo ended $?', "sh", *trace, *command]
    process = start(*words, stdin=-1)
    process.expect("up")
    before = len(log.read_text().splitlines())
    process.let_go()
    process.expect("ended 4")
    calls = len(log.read_text().splitlines()) - before
    assert 4 < calls < 60


@pytest.mark.parametrize(
    ("mode", "left", "around"),
    [
        ([], NEAR + FAR, '"$@"'),
        # exec(2) keeps children: the one from before it is ours, and not in the group. Of
        # those in the group none is our child, so that nothing tells of their end.
        ([], NEAR, f'(setsid {shlex.join(REPORTER)} 0 & exec "$@")'),
        (["-c"], FAR + NEAR, '"$@"'),
    ],
    ids=["session", "child of ours", "single"],
)
def test_not_pid_1_only_the_group_is_waited_for(start, mode, left, around):
    options = ["--wait", "-v", *mode]
    process = beside(start, *options, left=left, around=around, lines=2)
    if not mode:
        gets(process, signal.SIGTERM)
    process.expect("ended 4")
    others = [
        pid for pid in marked(process.run) if REPORTER[-1] in command_line(pid)[:4]
    ]
    assert len(others) == (2 if mode else 1)
    for pid in others:
        process.send(signal.SIGHUP, pid)
        process.expect(1)  # and nothing before
    assert "farewell" not in process.stderr


# --- The terminal (stops: terminal/test_stops.py) ------------------------------------------


def test_the_terminal_is_given_back(container):
    screen = container("--wait", "-v", "sh", "-c", NEAR + ENDS)
    screen.expect("ready")
    assert screen.foreground() != screen.init
    screen.type("\n")
    screen.expect("exited with 4")
    until(lambda: screen.foreground() == screen.init, "pyinit's group has it")
    screen.type("\x1a")  # freezes nobody
    screen.expect("dropped")
    screen.type("\x03")  # so a key reaches pyinit, and by it whoever is left
    screen.expect(r"^2\n")
    os.kill(screen.init, signal.SIGTERM)
    screen.expect(r"^15\n")
    assert screen.process.status() == 4


# --- A number that is used again --------------------------------------------------------


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
    tool("setpriv")
    process = start(*namespace(), *PYTHON, PROGRAMS / "reuse.py", *PYINIT)
    assert process.wait() == 0, process.stderr
    assert process.stdout == "the bystander lives, the status is 4\n"


def test_as_pid_1_whoever_has_the_commands_number_is_somebody_left(pid1):
    if os.getuid():
        pytest.skip("only root may choose the next pid")
    again = "while kill -0 $1; do :; done 2>/dev/null; "  # until pyinit has reaped it
    again += "echo $(($1 - 1)) >/proc/sys/kernel/ns_last_pid; "
    again += shlex.join(REPORTER) + " 0 & wait"
    left = f"echo $$; setsid sh -c {shlex.quote(again)} sh $$ & "
    process = pid1("--wait", "sh", "-c", left + ENDS, stdin=-1)
    number = process.line()
    process.let_go()
    assert process.ready() == int(number)
    gets(process, signal.SIGUSR1)
    process.send(signal.SIGTERM, process.init)
    assert process.wait() == 4


def test_good_graces(pyinit):
    for text in ("0", "0.25", ".5", "2.", "007", "9.6", "1000000"):
        assert pyinit("--grace", text, "sh", "-c", "exit 4").wait() == 4
