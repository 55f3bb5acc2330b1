"""No stop freezes those whom the grace is for: they have it to end in.

The command has ended; what it leaves has no part in its terminal, and nobody would resume
it before the grace is over. pyinit itself may be stopped meanwhile, as a job of a shell.
"""

import os
import shlex
import signal

import pytest
from jobs import (
    ANSWERS,
    AS,
    AT_PROMPT,
    EVERY_STOP,
    INIT,
    SHELLS,
    as_pid_1,
    foreground_of,
    handled,
    interactive,
    job_of,
)
from support import PYINIT, marked, monotonic, only_child, state, until

GRACE = ["--grace", "30"]
# It leaves who has a handler for SIGTERM and the default action for what stops.
COMMAND = ["sh", "-c", f"{ANSWERS} left & read line; exit 4"]
HOW = ["Ctrl-Z", signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU]
EVERY_WAY = pytest.mark.parametrize("how", HOW, ids=["Ctrl-Z", "TSTP", "TTIN", "TTOU"])
# In single-child mode the child alone is waited for, if pyinit is not PID 1.
PID_1_MODES = pytest.mark.parametrize("mode", [[], ["-c"]], ids=["default", "single"])


def left_of(init):
    """Return the pid of who will be left."""
    command = only_child(init, "sh")
    return only_child(command, shlex.split(ANSWERS)[0])


def goes_on(left, expect):
    """Show that who is left is not stopped: it answers."""
    assert state(left) != "T"
    os.kill(left, signal.SIGUSR2)
    expect("alive")


def stop_again(init, left, stop, expect):
    """Send a stop a few times, the last two together with what resumes."""
    for number_of_round in range(3):
        stop()
        handled(init)
        if number_of_round:
            os.kill(init, signal.SIGCONT)
            handled(init)
        goes_on(left, expect)


@EVERY_WAY
@PID_1_MODES
def test_as_pid_1_of_a_terminal(terminal, press, mode, how):
    screen = as_pid_1(terminal, *PYINIT, *mode, *GRACE, *COMMAND)

    def expect(line):
        screen.expect(f"^{line}\n")

    def stop():
        press(screen, "\x1a") if how == "Ctrl-Z" else os.kill(screen.init, how)

    expect("up")
    left = left_of(screen.init)
    screen.type("\n")
    expect("farewell")
    stop_again(screen.init, left, stop, expect)
    os.kill(left, signal.SIGKILL)
    assert screen.process.status() == 4


@EVERY_STOP
@PID_1_MODES
def test_as_pid_1_without_a_terminal(pid1, mode, stop):
    process = pid1(*mode, *GRACE, *COMMAND, stdin=-1)
    process.expect("up")
    left = left_of(process.init)
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("farewell")
    stop_again(process.init, left, lambda: os.kill(process.init, stop), process.expect)
    os.kill(left, signal.SIGKILL)
    assert process.status() == 4


@EVERY_STOP
def test_not_pid_1_without_a_terminal(pyinit, stop):
    process = pyinit(*GRACE, *COMMAND, stdin=-1)
    process.expect("up")
    left = left_of(process.pid)
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("farewell")
    stop_again(process.pid, left, lambda: os.kill(process.pid, stop), process.expect)
    os.kill(process.pid, signal.SIGCONT)
    os.kill(left, signal.SIGKILL)
    assert process.status() == 4


@EVERY_WAY
@pytest.mark.parametrize("name", [*SHELLS])
@pytest.mark.parametrize("mode", ["job", "session"])
def test_in_a_shell(terminal, press, tmp_path, name, mode, how):
    screen = interactive(terminal, name)
    words = [*GRACE, *COMMAND]
    fifo = tmp_path / "fifo"  # with another stdin, the child gets a session
    os.mkfifo(fifo)
    screen.type(
        f"{INIT} {shlex.join(words)}" + f" <{fifo}" * (mode == "session") + "\n"
    )
    writer = os.open(fifo, os.O_RDWR)
    screen.expect("^up\n")
    job = job_of(screen, foreground=True)
    left = left_of(job)
    screen.type("\n") if mode == "job" else os.write(writer, b"\n")
    screen.expect("^farewell\n")
    press(screen, "\x1a") if how == "Ctrl-Z" else os.kill(job, how)
    handled(job)
    goes_on(left, lambda line: screen.expect(f"{line}\n"))
    if state(job) == "T":
        screen.expect(AT_PROMPT)
        screen.type("fg\n")
        foreground_of(screen, job)
        goes_on(left, lambda line: screen.expect(f"{line}\n"))
    os.kill(left, signal.SIGKILL)
    screen.expect(AT_PROMPT)
    assert screen.run("echo $?") == "4\n"
    os.close(writer)


@EVERY_WAY
@pytest.mark.parametrize("lead", [True, False], ids=["exec", "script"])
def test_at_a_terminal_without_job_control(terminal, press, lead, how):
    words = [*PYINIT, *GRACE, *COMMAND]
    if lead:
        screen = terminal(*words)
        init = screen.pid
    else:
        screen = terminal("sh", "-c", '"$@"; exit $?', "sh", *words)
        init = only_child(screen.pid)
    screen.expect("^up\n")
    left = left_of(init)
    screen.type("\n")
    screen.expect("^farewell\n")
    press(screen, "\x1a") if how == "Ctrl-Z" else os.kill(init, how)
    handled(init)
    goes_on(left, lambda line: screen.expect(f"{line}\n"))
    os.kill(init, signal.SIGCONT)
    handled(init)
    goes_on(left, lambda line: screen.expect(f"{line}\n"))
    os.kill(left, signal.SIGKILL)
    assert screen.process.status() == 4


@EVERY_STOP
@AS
def test_those_that_were_stopped_before_get_their_grace_too(start_as, as_, stop):
    # pyinit has stopped the group, and SIGKILL ends the command: those left could not
    # do anything about their SIGTERM before the grace is over.
    process = start_as(as_, *GRACE, *COMMAND)
    process.expect("up")
    left = left_of(process.init)
    command = only_child(process.init, "sh")
    os.kill(process.init, stop)
    until(lambda: state(command) == state(left) == "T", "the group is stopped")
    os.kill(command, signal.SIGKILL)
    if as_ == "pyinit":
        os.kill(process.init, signal.SIGCONT)  # it is stopped, too
    process.expect("farewell")
    goes_on(left, process.expect)
    os.kill(left, signal.SIGKILL)
    assert process.status() == 137


@EVERY_STOP
@AS
def test_those_that_were_stopped_before_end_without_a_grace(start_as, as_, stop):
    # Where it is not PID 1 nobody kills them when it ends: they would stay for ever.
    process = start_as(as_, "sh", "-c", "sleep 100 & echo up; read line")
    process.expect("up")
    command = only_child(process.init, "sh")
    left = only_child(command, "sleep")
    os.kill(process.init, stop)
    until(lambda: state(command) == state(left) == "T", "the group is stopped")
    os.kill(command, signal.SIGKILL)
    if as_ == "pyinit":
        os.kill(process.init, signal.SIGCONT)
    assert process.status() == 137
    until(lambda: state(left) in ("Z", ""), "who was left has ended")


@pytest.mark.parametrize("how", ["Ctrl-Z", signal.SIGTSTP], ids=["Ctrl-Z", "TSTP"])
def test_the_grace_ends_all_the_same(terminal, press, how):
    screen = as_pid_1(terminal, *PYINIT, "--grace", "1", *COMMAND)
    screen.expect("^up\n")
    left = left_of(screen.init)
    screen.type("\n")
    screen.expect("^farewell\n")
    before = monotonic()
    press(screen, "\x1a") if how == "Ctrl-Z" else os.kill(screen.init, how)
    handled(screen.init)
    goes_on(left, lambda line: screen.expect(f"{line}\n"))
    assert screen.process.status() == 4
    assert monotonic() - before > 0.5
    assert not marked(screen.process.run)


@pytest.mark.parametrize("rule", ["TSTP:TSTP", "TSTP:STOP", "USR1:STOP", "TSTP:TTIN"])
def test_a_rewritten_stop_freezes_nobody_else(pid1, rule):
    # What -r asks for is done, or not; whoever sends it can take it back.
    process = pid1(*GRACE, "-r", rule, *COMMAND, stdin=-1)
    process.expect("up")
    left = left_of(process.init)
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("farewell")
    number = signal.SIGUSR1 if rule.startswith("USR1") else signal.SIGTSTP
    os.kill(process.init, number)
    handled(process.init)
    os.kill(process.init, signal.SIGCONT)
    handled(process.init)
    until(lambda: state(left) != "T", "who is left goes on")
    goes_on(left, process.expect)
    os.kill(left, signal.SIGKILL)
    assert process.status() == 4
