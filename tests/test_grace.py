"""--grace and --wait: what the command leaves behind.

With --grace it gets its SIGTERM and its time, with --wait no SIGTERM and all the time that
there is. Who is left is often the reporter: it says each signal that comes.
"""

import os
import re
import shlex
import shutil
import signal
import time
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
    as_user,
    children,
    command_line,
    hosted_error,
    marked,
    mask,
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
SLOW = "sh -c 'trap \"sleep 0.2; echo bye; exit\" TERM; echo up; while :; do sleep 0.02; done' & "
STUBBORN = "sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.02; done' & "
FAR_SLOW, FAR_STUBBORN = "setsid " + SLOW, "setsid " + STUBBORN
FAR_REPORTER = f"setsid {shlex.join(REPORTER)} & "
# These end when SIGTERM comes. A double fork: whose parent is gone.
NEAR = f"({shlex.join(REPORTER)} 0 & ) ; "
FAR = f"(setsid {shlex.join(REPORTER)} 0 & ) ; "
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
ENDS = "read line; exit 4"
BOTH = pytest.mark.parametrize("option", ["--grace 20", "--wait"])
DEFAULT_AND_SINGLE = pytest.mark.parametrize("mode", [[], ["-c"]], ids=str)


def program(source):
    """Return a shell command that runs a Python program in the background."""
    return shlex.join([*PYTHON, "-c", source]) + " & "


def leaves(start, options, left, up=1):
    """Start pyinit with a command that leaves something behind, and end the command.

    Return the process, and the time at which the command may end.
    """
    process = start(*options.split(), "sh", "-c", left + ENDS, stdin=-1)
    if "reporter.py" in left:
        for _ in range(left.count("reporter.py")):
            process.ready()
    else:
        process.expect(*["up"] * up)
    return process, process.let_go()


def waits(start, left, options=""):
    """Start pyinit with --wait; return the process when it waits for what is left."""
    process, _ = leaves(start, f"--wait -v {options}", left)
    process.until_stderr("exited with 4")
    init = getattr(process, "init", process.pid)
    until(lambda: "Z" not in map(state, children(init)), "the command is reaped")
    return process


def gets(process, *numbers):
    """Send pyinit signals one by one, each of which whoever is left is to report."""
    for number in numbers:
        process.send(number, process.init)
        process.expect(int(number))


def enter(process, *words):
    """Return the words that run the next ones in the namespace, as docker exec does."""
    if os.getuid():
        pytest.skip("only root may enter the namespace")
    return [tool("nsenter"), "-t", str(process.init), "-p", *words]


# --- As PID 1: everybody in the namespace ---------------------------------------------


@pytest.mark.parametrize(
    "left", [FAR_SLOW, program(FORKS_IN_DYING)], ids=["slow", "fork"]
)
@pytest.mark.parametrize(("options", "status"), [("", 4), ("-c -e4", 0)])
def test_what_is_left_gets_its_time(pid1, left, options, status):
    process, before = leaves(pid1, f"--grace 20 {options}", left)
    process.expect("bye")
    assert process.wait() == status
    assert monotonic() - before < 10


def test_without_grace_it_gets_no_time(pid1):
    process, _ = leaves(pid1, "--grace 0", FAR_SLOW)
    assert process.wait() == 4
    assert "bye" not in process.stdout


@BOTH
@DEFAULT_AND_SINGLE
def test_nobody_left_nothing_waited_for(pid1, pyinit, option, mode):
    for start in (pid1, pyinit):
        process, before = leaves(start, " ".join([option, *mode]), "echo up; ")
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
    process, before = leaves(pid1, "-v --grace 0.3", left)
    assert process.wait() == 4
    assert 0.2 < monotonic() - before < 10
    assert not marked(process.run)
    assert process.stderr.endswith(
        "[pyinit] grace is over: sent SIGKILL to everybody\n"
    )


@pytest.mark.parametrize(
    ("rule", "said", "got"),
    [
        ("", "sent SIGTERM to everybody", [15]),
        ("-r TERM:USR1", "sent SIGUSR1 to everybody", [10]),
        ("-r 15:0", "dropped", []),
    ],
)
def test_the_farewell_goes_through_the_table_and_is_said(pid1, rule, said, got):
    process, _ = leaves(pid1, f"-v --grace 60 {rule}", FAR_REPORTER)
    process.until_stderr(f"[pyinit] farewell: {said}\n")
    process.expect(*got)
    gets(process, signal.SIGRTMAX)


def test_signals_are_passed_on_meanwhile(pid1):
    # A second TERM, and rewritten ones, to one who left the group. For the end of a process
    # and for a dropped signal pyinit wakes up as well: nothing is sent then, nor said.
    options = "-v --grace 60 -r USR2:0 -r HUP:KILL"
    process, _ = leaves(pid1, options, FAR_REPORTER + "sleep 100 & ")
    process.expect(15)  # the farewell, which ends the sleep too
    process.until_stderr("reaped")
    process.send(signal.SIGUSR2, process.init)
    gets(process, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGRTMAX)
    process.send(signal.SIGHUP, process.init)
    assert process.wait() == 4
    sent = re.findall(r"sent (\w+)", process.stderr)
    assert sent == ["SIGTERM", "SIGTERM", "SIGINT", "SIGUSR1", "SIGRTMAX", "SIGKILL"]


@pytest.mark.parametrize(("options", "status"), [("", 4), ("-c", 4), ("-e4", 0)])
@pytest.mark.parametrize("left", [NEAR, FAR + NEAR + FAR], ids=["one", "three"])
def test_with_wait_it_is_waited_for_and_gets_no_farewell(pid1, left, options, status):
    # In whatever session they are. What comes first is the marker: no farewell was sent.
    process = waits(pid1, left, options)
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMAX, signal.SIGTERM):
        process.send(number, process.init)
        process.expect(*[int(number)] * left.count("reporter.py"))
    assert process.wait() == status
    assert process.stderr.count("SIGTERM: sent SIGTERM to everybody\n") == 1
    assert "farewell" not in process.stderr
    assert re.search(r"^\[pyinit\] reaped \d+\n\Z", process.stderr, re.M)


def test_a_term_before_the_commands_end_is_not_lost_for_the_others(pid1):
    # It has reached the command's group alone, and may be all that ever comes.
    command = FAR + "trap 'exit 4' TERM; echo up; while :; do sleep 0.02; done"
    process = pid1("--wait", "sh", "-c", command)
    assert {process.line()[:5], process.line()[:5]} == {"ready", "up"}
    process.send(signal.SIGTERM, process.init)
    process.expect(15)
    assert process.wait() == 4


def test_nor_one_that_is_a_term_for_the_command_alone(pid1):
    # As with an image's STOPSIGNAL QUIT, and a server that wants TERM.
    process = pid1("--wait", "-r", "QUIT:TERM", "sh", "-c", FAR + "exec sleep 1000")
    process.ready()
    sleep = only_child(process.init, "sleep")
    until(lambda: state(sleep) == "S", "it is no shell any more")
    process.send(signal.SIGQUIT, process.init)
    process.expect(15)
    assert process.wait() == 128 + 15


def test_with_wait_there_is_no_deadline(pid1):
    # Who stays ignores SIGTERM, and nobody kills it: what ends it is the test.
    process = waits(pid1, FAR_STUBBORN)
    left = only_child(process.init, "sh")
    process.send(signal.SIGTERM, process.init)
    until(lambda: not mask(process.init, "ShdPnd"), "it is passed on")
    for _ in range(10):  # it goes on: each round is one of its sleeps
        before = children(left)
        until(lambda before=before: children(left) != before, "it goes on")
    process.send(signal.SIGKILL, left)
    assert process.wait() == 4


@pytest.mark.parametrize("left", ["", FAR], ids=["alone", "beside one of ours"])
def test_a_stranger_is_waited_for(pid1, start, left):
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


@BOTH
def test_orphans_that_are_made_meanwhile(pid1, option):
    # One that ends is reaped; one that stays is waited for as well.
    process, _ = leaves(pid1, f"{option} -v", FAR_REPORTER)
    process.until_stderr("exited with 4")
    (left,) = until(
        lambda: len(children(process.init)) == 1 and children(process.init), "one"
    )
    words = enter(process, "sh", "-c", "sleep 0.05 & sleep 1000 &")
    os.spawnv(os.P_WAIT, words[0], words)
    until(lambda: len(children(process.init)) == 2, "the one that ends is reaped")
    process.send(signal.SIGKILL, left)
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


def test_to_wait_costs_nothing(pid1):
    if not os.path.exists("/proc/self/schedstat"):
        pytest.skip("the kernel counts no CPU time in /proc/PID/schedstat")
    process = waits(pid1, FAR)
    duration = 5 if FULL else 0.5
    # (In the first of them it may have to come to rest.)
    until(lambda: rests(process.init, duration), f"{duration} s without any CPU time")
    gets(process, signal.SIGTERM)
    assert process.wait() == 4


# --- Not PID 1: the command's group ---------------------------------------------------


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


# Outside of the command's group: it is to get nothing.
BYSTANDER = shlex.join(REPORTER) + ' & "$@"'


def bystander_got_nothing(process):
    process.let_go()
    process.wait()
    return not [line for line in process.stdout.split("\n") if line.isdigit()]


def test_not_pid_1_the_group_gets_its_time_and_nobody_else_anything(start):
    process = beside(start, "--grace", "20", left=SLOW, around=BYSTANDER, lines=2)
    process.expect("bye", "ended 4")
    assert bystander_got_nothing(process)


def test_not_pid_1_a_stubborn_group_is_killed_and_nobody_else(start):
    process = beside(start, "--grace", "0.3", left=STUBBORN, around=BYSTANDER, lines=2)
    process.expect("ended 4")
    # Killed, though not dead yet when pyinit has ended: what stays is unshare, sh, and
    # the bystander.
    until(
        lambda: len([pid for pid in marked(process.run) if state(pid) != "Z"]) == 3,
        "the group is gone",
    )
    assert bystander_got_nothing(process)


@pytest.mark.parametrize(
    ("mode", "left"),
    [([], FAR_STUBBORN), (["-c"], STUBBORN)],
    ids=["session", "single"],
)
def test_not_pid_1_others_are_left_alone(start, mode, left):
    # With -c the child is in pyinit's own group, with its caller.
    before = monotonic()
    process = beside(
        start, *mode, "--grace", "20", left=left, around=BYSTANDER, lines=2
    )
    process.expect("ended 4")
    assert monotonic() - before < 10
    assert len(marked(process.run)) > 3


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
        ([], NEAR, '"$@"'),
        ([], NEAR + FAR, '"$@"'),
        # exec(2) keeps children: the one from before it is ours, and not in the group. Of
        # those in the group none is our child, so that nothing tells of their end.
        ([], NEAR, f'(setsid {shlex.join(REPORTER)} 0 & exec "$@")'),
        (["-c"], FAR, '"$@"'),
        (["-c"], NEAR, '"$@"'),
    ],
    ids=["group", "session", "child of ours", "single, session", "single"],
)
def test_not_pid_1_only_the_group_is_waited_for(start, mode, left, around):
    lines = (left + around).count("reporter.py")
    options = ["--wait", "-v", *mode]
    process = beside(start, *options, left=left, around=around, lines=lines)
    if not mode:
        gets(process, signal.SIGTERM)
    process.expect("ended 4")
    others = [
        pid for pid in marked(process.run) if REPORTER[-1] in command_line(pid)[:4]
    ]
    assert len(others) == lines - (not mode)
    for pid in others:
        process.send(signal.SIGHUP, pid)
        process.expect(1)  # and nothing before
    assert "farewell" not in process.stderr


# --- Stops, and a terminal --------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "rule"),
    [(stop, rule) for stop in STOPS for rule in (None, "USR2:STOP", "USR2:TSTP")]
    if FULL
    else [(signal.SIGTSTP, None), (signal.SIGTTIN, "USR2:STOP")],
)
def test_a_stop_freezes_nobody(pid1, start, stop, rule):
    # The reporter has all of them blocked but SIGSTOP, and would say that one came.
    options = ["-r", rule] if rule else []
    alone = waits(pid1, NEAR, " ".join(options))
    for process in alone, beside(start, "--wait", "-v", *options, left=NEAR):
        for number in (stop, signal.SIGUSR2) if rule else (stop,):
            process.send(number, process.init)
            process.until_stderr("dropped\n")
            process.err = b""
        gets(process, signal.SIGUSR1, signal.SIGTERM)
    process.expect("ended 4")
    assert alone.wait() == 4


def test_a_stop_during_grace_repeats_no_signal(pyinit):
    # CPython's sigtimedwait, stopped in its sleep and resumed when its time is over,
    # returns what it returned the time before.
    process, _ = leaves(pyinit, "--grace 30 -v", program(LEAVE_AND_REAP), up=2)
    process.until_stderr("exited with 4")
    process.send(signal.SIGUSR1)
    process.until_stderr("SIGUSR1: sent")
    for _ in range(5):
        process.send(signal.SIGSTOP)
        until(lambda: state(process.pid) == "T", "stopped")
        time.sleep(0.05)  # more than pyinit's own sleep: that its time is over by then
        process.send(signal.SIGCONT)
        process.until_stderr("SIGCONT: sent")
        process.err = process.err.replace(b"SIGCONT: sent", b"SIGCONT: went")
    process.send(signal.SIGHUP)
    assert process.wait() == 4
    sent = [line.split()[1] for line in process.stderr.splitlines() if "group" in line]
    assert sent == ["farewell:", "SIGUSR1:", *["SIGCONT:"] * 5, "SIGHUP:"]


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


@DEFAULT_AND_SINGLE
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


# --- A number that is used again, or may not be used ------------------------------------


def test_a_single_childs_number_is_not_used_once_it_is_reaped(start, tmp_path):
    # It may be somebody else's by then, and a single child has no group to wait for.
    log = tmp_path / "log"
    trace = strace("-e", "trace=kill,waitid", log=log)
    process = start(*trace, *PYINIT, "-c", "--grace", "20", "sh", "-c", "exit 4")
    assert process.wait() == 4
    calls = [line.split()[1].partition("(")[0] for line in log.read_text().splitlines()]
    assert calls[-1] == "waitid"


@pytest.mark.parametrize("uid", ["64012", "0"] if FULL else ["64012"])
def test_a_group_number_that_is_used_again_is_left_alone(start, uid):
    # The group ends while pyinit is stopped, and a bystander gets its number, with a
    # group of its own: at the deadline it must not be killed.
    if os.getuid():
        pytest.skip("only root may choose the next pid")
    words = PYINIT if uid == "0" else as_user(int(uid), PYINIT)
    process = start(*namespace(), *PYTHON, PROGRAMS / "reuse.py", uid, *words)
    assert process.wait() == 0, process.stderr
    assert process.stdout == "the bystander lives, the status is 4\n"


def test_a_leftover_that_has_become_somebody_elses(start, public):
    # Its group cannot be signalled any more: kill(2) says EPERM. It is there all the same.
    other = public / "other"
    shutil.copy(tool("setpriv"), other)
    other.chmod(0o4755)
    os.mkfifo(public / "gate")
    become_root = [str(other), "--reuid=0", "--clear-groups"]
    need(*as_user(64011, [*become_root, "true"]))
    later = f"echo up; exec >&- 2>&-; read line <{public}/gate"
    left = shlex.join([*become_root, "sh", "-c", later]) + " & "
    process, _ = leaves(
        start, shlex.join(as_user(64011, [*PYINIT, "-v", "--grace", "20"])), left
    )
    process.until_stderr("exited with 4")
    for _ in range(3):  # it goes on
        process.send(signal.SIGUSR1)
        process.until_stderr("SIGUSR1: not sent")
        process.err = process.err.replace(b"SIGUSR1", b"USR1")
    (public / "gate").write_text("\n")
    assert process.wait() == 4


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
