"""What -r makes of stops and continues leaves nobody that only SIGKILL ends.

A rewritten signal is somebody's wish; a Ctrl-Z after it, or a SIGTERM, works as ever. As
with dumb-init, SIGTSTP, SIGTTIN and SIGTTOU stop pyinit itself, where it can be stopped,
also where they are rewritten to another signal, and not where they are dropped.
"""

import os
import shlex
import signal

import pytest
from jobs import (
    ANSWERS,
    AS,
    AT_PROMPT,
    INIT,
    answers,
    as_pid_1,
    at_rest,
    descendants,
    foreground_of,
    interactive,
    job_of,
    jobs_end,
    send,
    shell_reads,
)
from support import PYINIT, children, only_child, state, until, until_state

# What is received, and what is sent: 0 is nothing.
STOPS_MADE = ["USR1:STOP", "USR1:TSTP", "HUP:TTIN", "RTMIN+1:STOP", "WINCH:STOP"]
STOPS_KEPT = ["TSTP:TSTP", "TTIN:TTIN", "TTOU:TTOU", "TSTP:STOP", "TTIN:TSTP"]
STOPS_LOST = ["TSTP:0", "TSTP:CONT", "TTIN:USR2", "TSTP:TERM", "TTOU:WINCH"]
CONTINUES = ["CONT:0", "CONT:USR2", "CONT:STOP", "CONT:TSTP", "CONT:TERM"]
RULES = [*STOPS_MADE, *STOPS_KEPT, *STOPS_LOST, *CONTINUES]
EVERY_RULE = pytest.mark.parametrize("rule", RULES)
PID_1_MODES = pytest.mark.parametrize("mode", [[], ["-c"]], ids=["job", "single"])
SHELL_MODES = pytest.mark.parametrize(
    "mode", ["", "-c", "| cat"], ids=["job", "single", "session"]
)
KINDS = pytest.mark.parametrize("kind", ["", "handles", "nano"], ids=str)


def number_of(word):
    name, _, more = word.partition("+")
    return getattr(signal, f"SIG{name}") + int(more or 0)


def received(rule):
    """Return the number of the signal that a rule is for."""
    return number_of(rule.partition(":")[0])


def gone(process, init):
    """Wait until pyinit, and all that it has started, has ended."""
    until(
        lambda: all(state(pid) in ("Z", "") for pid in (init, *descendants(init))),
        f"all has ended, {[(pid, state(pid)) for pid in (init, *descendants(init))]}",
    )


def end(process, init):
    """End pyinit as who does not know its rules would: SIGTERM, SIGCONT, and again."""
    send(init, *[signal.SIGTERM, signal.SIGCONT] * 2)
    gone(process, init)


# --- Nothing that only SIGKILL ends -----------------------------------------------------


@AS
@EVERY_RULE
@PID_1_MODES
def test_without_a_terminal(start_as, as_, mode, rule):
    process = start_as(as_, *mode, "-r", rule, *shlex.split(ANSWERS))
    process.expect("up")
    send(process.init, received(rule), signal.SIGCONT, received(rule))
    end(process, process.init)
    assert process.status() in (143, 128 + received(rule))


@EVERY_RULE
@PID_1_MODES
def test_as_pid_1_of_a_terminal(terminal, press, mode, rule):
    # A Ctrl-Z before it, and one after it, are undone: nobody else could resume that.
    screen = as_pid_1(terminal, *PYINIT, *mode, "-r", rule, *shlex.split(ANSWERS))
    screen.expect("^up\n")
    press(screen, "\x1a")
    at_rest(screen.init)
    ended = answers(screen, "one") == "end"
    if not ended:
        send(screen.init, received(rule), signal.SIGCONT)
        press(screen, "\x1a")
        ended = may_end(rule) and screen.process.popen.poll() is not None
    if not ended:
        ended = after_a_stop(screen, rule)
    if ended:
        assert may_end(rule)
        return
    os.kill(screen.init, signal.SIGTERM)
    assert screen.process.status() == 143


def may_end(rule):
    return rule.endswith(":TERM")


def after_a_stop(screen, rule):
    """Tell whether the command has ended; if not, it answers: nothing has frozen it.

    A SIGCONT that the rule has made a stop is taken back by nobody who sends it: then
    the stop lasts, as it was asked for.
    """
    if rule in ("CONT:STOP", "CONT:TSTP") and "T" in map(
        state, descendants(screen.init)
    ):
        return False
    return answers(screen, "two") == "end"


@EVERY_RULE
@SHELL_MODES
def test_a_job_of_a_shell(terminal, press, mode, rule):
    screen = interactive(terminal, "bash")
    single, kind = ("-c" if mode == "-c" else ""), ("still" if "|" in mode else "")
    pipe = mode if "|" in mode else ""
    screen.type(f"{INIT} {single} -r {rule} {ANSWERS} {kind} {pipe}\n")
    screen.expect("^up\n")
    job = next(pid for pid in children(screen.pid) if os.getpgid(pid) == pid)
    command = only_child(job)
    press(screen, "\x1a")
    at_rest(job, command)
    send(job, received(rule))
    at_rest(job, command)
    end(screen.process, job)
    # What is left of a pipeline is the shell's.
    if screen.foreground() != screen.pid:
        jobs_end(screen)
    shell_reads(screen)


# --- What a stop is, made or kept by a rule ---------------------------------------------


@AS
@PID_1_MODES
@pytest.mark.parametrize("rule", ["USR1:STOP", "RTMIN+1:STOP", "TSTP:STOP", "HUP:STOP"])
def test_a_stop_that_was_asked_for_lasts(start_as, as_, mode, rule):
    # No SIGTSTP has stopped the command: there is nothing to undo.
    process = start_as(as_, *mode, "-r", rule, *shlex.split(ANSWERS))
    process.expect("up")
    command = only_child(process.init)
    for _ in range(2):
        os.kill(process.init, received(rule))
        until_state(command, "T")
        at_rest(process.init, command)
        assert state(command) == "T"
        os.kill(process.init, signal.SIGCONT)
        until_state(command, "S")
        os.kill(command, signal.SIGUSR2)
        process.expect("alive")
        at_rest(process.init)
    os.kill(process.init, signal.SIGTERM)
    assert process.status() == 143


@PID_1_MODES
@pytest.mark.parametrize("rule", ["USR1:STOP", "RTMIN+1:STOP", "TSTP:STOP", "HUP:STOP"])
def test_and_so_it_does_as_pid_1_of_a_terminal(terminal, press, mode, rule):
    screen = as_pid_1(terminal, *PYINIT, *mode, "-r", rule, *shlex.split(ANSWERS))
    screen.expect("^up\n")
    command = only_child(screen.init)
    for line in ("one", "two"):
        os.kill(screen.init, received(rule))
        until_state(command, "T")
        at_rest(screen.init, command)
        assert state(command) == "T"
        send(screen.init, signal.SIGCONT)
        assert answers(screen, line) == "answer"
        press(screen, "\x1a")
        assert answers(screen, line) == "answer"


@pytest.mark.parametrize("mode", ["", "-c"], ids=["job", "single"])
@pytest.mark.parametrize("rule", ["USR1:STOP", "TSTP:STOP", "TSTP:TSTP", "HUP:STOP"])
def test_a_shell_sees_it(any_shell, mode, rule):
    screen = any_shell
    screen.type(f"{INIT} {mode} -r {rule} {ANSWERS}\n")
    screen.expect("^up\n")
    job = job_of(screen, foreground=True)
    command = only_child(job)
    for line in ("one", "two"):
        at_rest(job, command)  # or the SIGCONT of fg could still be on its way
        os.kill(job, received(rule))
        screen.expect("Stopped", AT_PROMPT)
        assert at_rest(job, command) == ["T", "T"]
        shell_reads(screen)
        screen.type("fg\n")
        foreground_of(screen, job)
        assert answers(screen, line) == "answer"


@PID_1_MODES
@KINDS
@pytest.mark.parametrize("rule", ["TSTP:TSTP", "USR1:TSTP", "TTIN:TSTP"])
def test_a_stop_that_came_to_nothing_is_not_remembered(
    terminal, press, mode, kind, rule
):
    # The command handles it and goes on; or stops itself, as nano does.
    words = shlex.split(f"{ANSWERS} {kind}")
    screen = as_pid_1(terminal, *PYINIT, *mode, "-r", rule, *words)
    screen.expect("^up\n")
    for line in ("one", "two"):
        send(screen.init, received(rule))
        if kind:
            screen.expect("^TSTP\n")
        send(screen.init, signal.SIGCONT)
        assert answers(screen, line) == "answer"
        press(screen, "\x1a")
        if kind:
            screen.expect("^TSTP\n")
        assert answers(screen, line) == "answer"


# --- What resumes, whatever a rule makes of it ------------------------------------------


@pytest.mark.parametrize("mode", ["", "-c"], ids=["job", "single"])
@pytest.mark.parametrize("rule", ["CONT:0", "CONT:USR2", "CONT:TERM"])
def test_fg_resumes_the_job_or_ends_it(any_shell, press, mode, rule):
    screen = any_shell
    screen.type(f"{INIT} {mode} -r {rule} {ANSWERS}\n")
    screen.expect("^up\n")
    job = job_of(screen, foreground=True)
    command = only_child(job)
    press(screen, "\x1a")
    screen.expect("Stopped", AT_PROMPT)
    screen.type("fg\n")
    until(lambda: state(command) != "T", "it is resumed, or has ended")
    if rule != "CONT:TERM":
        foreground_of(screen, job)
        assert answers(screen, "hello") == "answer"
    os.kill(job, signal.SIGTERM)
    screen.expect(AT_PROMPT)
    shell_reads(screen)


# --- dumb-init's own rule ----------------------------------------------------------------


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
@pytest.mark.parametrize("stop", ["TSTP", "TTIN", "TTOU"])
@pytest.mark.parametrize("sent", ["USR2", "CONT", "WINCH"])
def test_a_rewritten_stop_still_stops_us(pyinit, mode, stop, sent):
    process = pyinit(*mode, "-r", f"{stop}:{sent}", *shlex.split(ANSWERS), stdin=-1)
    process.expect("up")
    command = only_child(process.pid)
    os.kill(process.pid, number_of(stop))
    until_state(process.pid, "T")
    if sent == "USR2":
        process.expect("alive")
    assert state(command) == "S"
    os.kill(process.pid, signal.SIGCONT)
    until_state(process.pid, "S")
    os.kill(process.pid, signal.SIGTERM)
    assert process.status() == 143


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
@pytest.mark.parametrize("stop", ["TSTP", "TTIN", "TTOU"])
def test_a_dropped_stop_stops_nobody(start_as, mode, stop):
    for as_ in ("pyinit", "pid1"):
        process = start_as(as_, *mode, "-r", f"{stop}:0", *shlex.split(ANSWERS))
        process.expect("up")
        command = only_child(process.init)
        os.kill(process.init, number_of(stop))
        os.kill(process.init, signal.SIGUSR2)
        process.expect("alive")
        assert at_rest(process.init, command) == ["S", "S"]


@AS
def test_a_stop_that_ends_the_command(start_as, as_):
    # -r TSTP:TERM: pyinit is stopped, and its command has ended by then or soon will.
    process = start_as(as_, "-r", "TSTP:TERM", *shlex.split(ANSWERS))
    process.expect("up")
    command = only_child(process.init)
    os.kill(process.init, signal.SIGTSTP)
    until(lambda: state(command) in ("Z", ""), "the command has ended")
    if as_ == "pyinit":
        until_state(process.init, "T")
        os.kill(process.init, signal.SIGCONT)
    assert process.status() == 143
    assert not children(process.init)
