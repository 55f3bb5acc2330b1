"""Whom pyinit has stopped it can still end; whom others have stopped is left to them.

SIGTSTP, SIGTTIN and SIGTTOU are what some servers take for "quiet" or "fewer workers";
sent to PID 1 they stop the group. A SIGTERM that comes then would wait for a SIGCONT, and
docker stop for its SIGKILL. So one follows what would end a group that we have stopped,
as systemd and the shells have it.
"""

import os
import shlex
import signal

import pytest
from jobs import (
    ANSWERS,
    AS,
    AT_PROMPT,
    BOTH_MODES,
    EVERY_END,
    EVERY_STOP,
    INIT,
    MODES,
    answers,
    as_pid_1,
    at_rest,
    foreground_of,
    handled,
    job_of,
    jobs_end,
    shell_reads,
    signals_of,
)
from support import PYINIT, STOPS, marked, only_child, state, until, until_state

ENDS = shlex.split(ANSWERS) + ["ends"]
SLEEP = ["sh", "-c", "echo up; exec sleep 100"]
PID_1_MODES = pytest.mark.parametrize("mode", [[], ["-c"]], ids=[*MODES])


# --- Stopped by us ----------------------------------------------------------------------


def stopped(process, stop):
    """Have pyinit stop its command; return the pid of that."""
    process.expect("up")
    command = only_child(process.init)
    os.kill(process.init, stop)
    until_state(command, "T")
    handled(process.init)
    return command


def end_it(as_, process, end):
    """Send pyinit what would end the command. It is stopped as well, if not PID 1."""
    os.kill(process.init, end)
    if as_ == "pyinit":
        assert state(process.init) == "T"
        os.kill(process.init, signal.SIGCONT)


@AS
@EVERY_STOP
@EVERY_END
def test_a_handler_is_run(start_as, as_, stop, end):
    process = start_as(as_, *ENDS)
    stopped(process, stop)
    end_it(as_, process, end)
    process.expect(f"end {end:d}")
    assert process.wait() == 7


@AS
@EVERY_END
def test_the_default_action(start_as, as_, end):
    process = start_as(as_, *SLEEP)
    stopped(process, signal.SIGTSTP)
    end_it(as_, process, end)
    assert process.wait() == 128 + end


@AS
@pytest.mark.parametrize(
    ("rule", "sent", "comes"),
    [
        ("TERM:QUIT", signal.SIGTERM, signal.SIGQUIT),  # as nginx needs it
        ("TERM:INT", signal.SIGTERM, signal.SIGINT),
        ("USR1:TERM", signal.SIGUSR1, signal.SIGTERM),
        ("RTMIN+3:TERM", signal.SIGRTMIN + 3, signal.SIGTERM),  # systemd's halt
    ],
)
def test_a_rewritten_end(start_as, as_, rule, sent, comes):
    process = start_as(as_, "-r", rule, *ENDS)
    stopped(process, signal.SIGTTIN)
    end_it(as_, process, sent)
    process.expect(f"end {comes:d}")
    assert process.wait() == 7


@AS
def test_a_whole_group_ends(start_as, as_):
    words = ["sh", "-c", "sleep 100 & sleep 100 & echo up; wait"]
    process = start_as(as_, *words)
    stopped(process, signal.SIGTSTP)
    end_it(as_, process, signal.SIGTERM)
    assert process.wait() == 143
    until(
        lambda: all(state(pid) in ("Z", "") for pid in marked(process.run)),
        "all of the group have ended",
    )


@AS
def test_more_than_one_stop(start_as, as_):
    # A worker more, a worker fewer, and quiet: and not PID 1, each needs its SIGCONT.
    process = start_as(as_, *ENDS)
    command = stopped(process, signal.SIGTTIN)
    for stop in (signal.SIGTTOU, signal.SIGTSTP):
        os.kill(process.init, signal.SIGCONT)
        until_state(command, "S")
        handled(process.init)
        os.kill(process.init, stop)
        until_state(command, "T")
        handled(process.init)
    end_it(as_, process, signal.SIGTERM)
    process.expect("end 15")
    assert process.wait() == 7


@AS
def test_what_does_not_end_it_waits(start_as, as_):
    # A reload is no reason to go on: it comes with the SIGCONT.
    process = start_as(as_, *ENDS)
    command = stopped(process, signal.SIGTSTP)
    os.kill(process.init, signal.SIGUSR2)
    if as_ == "pid1":
        handled(process.init)
        assert state(command) == "T"
        assert signal.SIGUSR2 in signals_of(command, "ShdPnd")
    os.kill(process.init, signal.SIGCONT)
    process.expect("alive")
    os.kill(process.init, signal.SIGTERM)
    process.expect("end 15")
    assert process.wait() == 7


@PID_1_MODES
@EVERY_STOP
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_as_pid_1_of_a_terminal(terminal, mode, stop, end):
    screen = as_pid_1(terminal, *PYINIT, *mode, *ENDS)
    screen.expect("^up\n")
    command = only_child(screen.init)
    os.kill(screen.init, stop)
    handled(screen.init)
    if not mode:
        until_state(command, "T")
    os.kill(screen.init, end)
    screen.expect(f"^end {end:d}\n")
    assert screen.process.status() == 7


@PID_1_MODES
def test_a_hang_up_of_the_terminal_ends_it(terminal, mode):
    # The kernel's SIGHUP is for who leads the session: pyinit.
    screen = as_pid_1(terminal, *PYINIT, *mode, *SLEEP)
    screen.expect("^up\n")
    os.kill(screen.init, signal.SIGTSTP)
    handled(screen.init)
    screen.close()
    assert screen.process.status() == 129


@BOTH_MODES
@pytest.mark.parametrize(
    "how", ["Ctrl-Z", *STOPS], ids=["Ctrl-Z", "TSTP", "TTIN", "TTOU"]
)
def test_a_job_of_a_shell(any_shell, press, mode, how):
    # SIGCONT alone ends it then, as bash's kill %1 has it: it need not have the terminal.
    screen = any_shell
    screen.type(f"{INIT} {mode} {ANSWERS} ends\n")
    screen.expect("^up\n")
    job = job_of(screen, foreground=True)
    press(screen, "\x1a") if how == "Ctrl-Z" else os.kill(job, how)
    screen.expect("Stopped", AT_PROMPT)
    os.kill(job, signal.SIGTERM)
    os.kill(job, signal.SIGCONT)
    screen.expect("end 15\n")
    jobs_end(screen)
    shell_reads(screen)


# --- Not stopped by us ------------------------------------------------------------------


@AS
@PID_1_MODES
@pytest.mark.parametrize("by", ["itself", "others"])
def test_who_was_stopped_by_others_gets_no_sigcont(start_as, as_, mode, by):
    itself = "sh -c 'echo up; kill -STOP $$; read line; exit 3'"
    process = start_as(as_, *mode, *shlex.split(itself if by == "itself" else ANSWERS))
    process.expect("up")
    command = only_child(process.init)
    if by == "others":
        os.kill(command, signal.SIGSTOP)
    until_state(command, "T")
    for end in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        os.kill(process.init, end)
        until(lambda end=end: end in signals_of(command, "ShdPnd"), "it is passed on")
    at_rest(process.init)
    assert state(command) == "T"
    os.kill(process.init, signal.SIGCONT)
    assert process.wait() > 128


@AS
def test_nor_after_a_stop_of_ours_that_is_over(start_as, as_):
    process = start_as(as_, *shlex.split(ANSWERS))
    command = stopped(process, signal.SIGTSTP)
    os.kill(process.init, signal.SIGCONT)
    until_state(command, "S")
    at_rest(process.init)
    os.kill(command, signal.SIGSTOP)
    until_state(command, "T")
    os.kill(process.init, signal.SIGTERM)
    until(lambda: signal.SIGTERM in signals_of(command, "ShdPnd"), "it is passed on")
    at_rest(process.init)
    assert state(command) == "T"
    os.kill(process.init, signal.SIGCONT)
    assert process.wait() == 143


@AS
def test_an_end_while_nothing_is_stopped_brings_no_sigcont(start_as, as_):
    # SIGCONT has handlers, too.
    program = "trap 'echo cont' CONT; trap 'echo hup' HUP; trap 'echo usr1' USR1; echo up; while :; do read line; done"
    process = start_as(as_, "bash", "-c", program)
    process.expect("up")
    for number, word in ((signal.SIGHUP, "hup"), (signal.SIGUSR1, "usr1")):
        os.kill(process.init, number)
        process.expect(word)


@BOTH_MODES
def test_the_job_of_a_shell_that_stopped_itself(any_shell, mode):
    # It is followed, so that the shell has the terminal; SIGTERM alone resumes nobody.
    screen = any_shell
    program = "echo up; kill -STOP $$; read line; echo got $line"
    screen.type(f"{INIT} {mode} sh -c {shlex.quote(program)}\n")
    screen.expect("^up\n", "Stopped", AT_PROMPT)
    job = job_of(screen)
    command = only_child(job)
    assert (state(job), state(command)) == ("T", "T")
    screen.type("fg\n")
    foreground_of(screen, job)
    assert answers(screen, "hello") == "answer"
