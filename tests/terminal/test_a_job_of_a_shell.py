"""A job of an interactive bash, which stops and resumes it."""

import os
import re
import shlex
import signal

import pytest
from support import (
    BOTH_MODES,
    ECHOES,
    INIT,
    KEYS,
    PROMPT,
    PYINIT,
    PYTHON,
    REPORTER,
    delay,
    hold,
    mask,
    only_child,
    stage,
    state,
    stop,
    strace,
    until,
    until_state,
)

NOT_READ = "read word; echo =$word\nfine"  # is for the shell that reads it itself


@BOTH_MODES
@pytest.mark.parametrize(("key", "number"), KEYS)
def test_a_job_gets_the_terminals_signals_once(shell, mode, key, number):
    shell.start(*mode, "--", *REPORTER, said="ready .*\n")
    shell.gets_once(only_child(shell.pid), key, number)


@BOTH_MODES
@pytest.mark.parametrize("options", [[], ["-r", "TSTP:TSTP"]], ids=str)
def test_ctrl_z_jobs_fg_ctrl_c(shell, mode, options):
    shell.start(*mode, *options, *ECHOES)
    for line in ("one", "two"):
        shell.suspend()
        assert "Stopped" in shell.run("jobs")
        assert shell.run(NOT_READ) == "=fine\n"
        shell.resume()
        shell.answers(line)
        # With -c, the next Ctrl-Z would else stop pyinit before the command, which the
        # kernel lets read once more before it stops: of "jobs" bash would get "obs".
        until(lambda: stage(only_child(shell.pid)) == "on", "pyinit knows of the fg")
    shell.leave("\x03", 130)
    assert shell.run(NOT_READ) == "=fine\n"
    assert shell.run("jobs") == ""


def test_a_signal_while_suspended(shell):
    shell.start(*ECHOES)
    shell.suspend()
    os.kill(only_child(shell.pid), signal.SIGTERM)
    shell.leave("fg\n", 143)


@pytest.mark.parametrize("how", ["typed", "sent"])
def test_bg(shell, how):
    shell.start("sh", "-c", "echo up; sleep 1; echo still; exit 3")
    job = only_child(shell.pid)
    # A shell cannot stop while it waits for the exec of what it has forked by vfork(2).
    only_child(only_child(job), "sleep")
    stop(shell, job, how)
    shell.expect("Stopped", re.escape(PROMPT))
    shell.type("bg\n")
    shell.expect("still\n")
    # It ends in the background, and must not take the terminal from the shell, which
    # reads meanwhile.
    until(lambda: not state(job), "the job has ended")
    shell.type("\n")
    shell.expect("Exit 3", re.escape(PROMPT))
    assert shell.run(NOT_READ) == "=fine\n"


def test_a_job_in_the_background_that_reads(shell):
    shell.run(f"{INIT} {shlex.join(ECHOES)} &")
    until_state(only_child(shell.pid), "T")
    assert "Stopped" in shell.run("jobs")
    assert shell.run(NOT_READ) == "=fine\n"
    shell.resume()
    shell.answers("hello")
    shell.leave("\x04", 0)


def test_tostop(shell):
    shell.run("stty tostop")
    # In the foreground all is written, pyinit's own lines too.
    said = shell.run(f"{INIT} -v echo hello")
    assert "hello\n" in said and "exited with 0" in said
    # In the background the command is stopped, as it would be without pyinit.
    shell.run(f"{INIT} echo in the back &")
    until_state(only_child(shell.pid), "T")
    shell.resume()
    shell.expect("in the back\n", re.escape(PROMPT))


# --- A part of a script or of a pipeline ------------------------------------------------


SLEEP = shlex.join(["sh", "-c", "echo up; exec sleep 100"])


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"{INIT} {SLEEP} </dev/null", 130),
        (f"{INIT} -c {SLEEP} </dev/null", 130),
        (f"sh -c {shlex.quote(f'{INIT} {SLEEP}; exit 5')}", "(5|130)"),
    ],
    ids=["another stdin", "another stdin, single", "a script"],
)
def test_ctrl_z_where_another_leads_the_group(shell, line, status):
    shell.type(line + "\n")
    shell.expect("up\n")
    shell.suspend()
    shell.resume()
    until(lambda: shell.foreground() != shell.pid, "the job is in the foreground")
    shell.leave("\x03", status)


def test_ctrl_z_stops_the_whole_pipeline(shell):
    shell.type(f"{INIT} {shlex.join(ECHOES)} | cat\n")
    shell.expect("up\n")
    command = only_child(shell.foreground())  # the first of a pipeline leads its group
    shell.suspend()
    # Its session is not the terminal's, which does not keep it from reading: it can still
    # take what is typed while the stop is on its way to it.
    until_state(command, "T")
    shell.resume()
    shell.answers("hello")
    shell.leave("\x04", 0)


def test_the_terminals_stop_reaches_the_rest_of_a_pipeline_once(shell):
    shell.type(f"{INIT} sleep 100 </dev/null | {shlex.join(REPORTER)}\n")
    peer = int(shell.expect("ready .*\n").split()[-1])
    init = shell.foreground()  # the first of the pipeline leads its group
    only_child(init, "sleep")
    shell.type("\x1a")
    until_state(init, "T")
    os.kill(peer, signal.SIGRTMAX)
    assert shell.expect("^64\n") == "20\n64\n"


def test_a_stop_in_a_pipeline_is_the_commands_own_affair(shell):
    # Its session is not the terminal's there, though pyinit's standard input is that:
    # pyinit goes on passing signals on, and the rest of the pipeline is not stopped.
    program = shlex.quote("echo up; kill -STOP $$; echo on; read line; echo got $line")
    shell.type(f"{INIT} sh -c {program} | cat\n")
    shell.expect("up\n")
    init = only_child(shell.pid, PYINIT[0])
    command = only_child(init, "sh")
    until_state(command, "T")
    os.kill(init, signal.SIGURG)
    until(lambda: not mask(init, "ShdPnd"), "pyinit has taken it, and those before")
    until_state(init, "S")
    assert state(command) == "T"
    os.kill(init, signal.SIGCONT)
    shell.expect("on\n")
    os.kill(init, signal.SIGTERM)
    shell.expect(re.escape(PROMPT))


# --- A single child ---------------------------------------------------------------------


def test_a_single_child_stops_before_pyinit_does(shell):
    # Otherwise it could still read what is typed at the shell's prompt, and what it
    # has to write before it stops would come after the prompt.
    program = "trap 'sleep 0.5; echo tidy; kill -STOP $$' TSTP; " + ECHOES[2]
    shell.start("-c", "bash", "-c", program)
    assert "tidy" in shell.suspend()
    shell.type("fg\n")
    shell.answers("hello")


def test_ctrl_z_of_a_single_child_that_ignores_it(shell):
    shell.start("-c", "sh", "-c", "trap '' TSTP; " + ECHOES[2])
    shell.type("\x1a")
    shell.answers("hello")
    os.kill(only_child(shell.pid), signal.SIGTERM)
    shell.leave("", 143)


def test_a_single_child_that_leaves_the_group(shell):
    # bash -i takes a group of its own, and the terminal with it. What the terminal
    # then sends to pyinit's group, the child has not got.
    program = "import os, sys; os.setpgid(0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    shell.start("-c", *PYTHON, "-c", program, *REPORTER, said="ready .*\n")
    shell.gets_once(only_child(shell.pid), "\x03", signal.SIGINT)


def test_fg_is_not_said_twice_to_a_single_child(shell):
    # pyinit's kills are held up. The SIGCONT of fg goes to the whole job; passed on
    # once more, and late, it would resume a child that has been stopped again.
    program = (
        "import os, signal; signal.signal(18, lambda *_: os.write(1, b'on\\n'))\n"
        "os.write(1, b'up\\n')\n"
        "while True: os.write(1, b'got ' + os.read(0, 99))\n"
    )
    shell.start("-c", *PYTHON, "-c", program, trace=hold("kill", 0.5))
    for line in ("one", "two", "three"):
        shell.suspend()
        job = only_child(shell.pid)
        assert state(only_child(job)) == "T"
        shell.type("fg\n")
        shell.expect("on\n")
        shell.answers(line)
        until(lambda job=job: stage(job) == "on", "pyinit has taken its SIGCONT")
    # One that is sent to pyinit alone is passed on.
    shell.suspend()
    os.kill(job, signal.SIGCONT)
    shell.expect("on\n")


# --- Races, and who hands the terminal on -----------------------------------------------


@BOTH_MODES
def test_ctrl_z_right_after_fg(shell, mode):
    # It discards the SIGCONT that has resumed pyinit, before pyinit has seen that.
    shell.start(*mode, *ECHOES, trace=hold("rt_sigpending", 1))
    job = only_child(shell.pid)
    shell.suspend()
    shell.type("fg\n")
    until(lambda: stage(job) == "resumed", "fg")
    shell.suspend()
    shell.type("fg\n")
    shell.answers("hello")


@pytest.mark.parametrize(("call", "stdin"), [("setsid", "</dev/null"), ("setpgid", "")])
def test_ctrl_z_before_the_command_has_its_group(shell, call, stdin):
    # It gets the terminal's signal itself, and has stopped before it leaves our group.
    trace = shlex.join(strace("-DDD", *delay(call, 1)))
    shell.type(f"{trace} {INIT} sh -c 'echo up; read x; echo =$x' {stdin}\n")
    only_child(only_child(shell.pid, PYINIT[0]))
    shell.suspend()
    shell.type("fg\n")
    shell.expect("up\n")
    shell.type("hello\n")
    shell.expect("=\n" if stdin else "=hello\n")


@BOTH_MODES
def test_who_hands_the_terminal_on(shell, tmp_path, mode):
    # In session mode the child's group gets the terminal, and gives it back. With -c
    # nobody ever does: the child is in pyinit's group, and so has it already.
    log = tmp_path / "log"
    # A command that is traced stops late, and eats what is typed.
    trace = strace("-DDD", "-e", "trace=ioctl", follow=False, log=log)
    shell.start(*mode, *ECHOES, trace=trace)
    job = only_child(shell.pid, PYINIT[0])
    # With -c, one that is sent stops pyinit itself at once: the command may still read.
    for how in ("typed",) if mode else ("typed", "sent"):
        # Until pyinit is back at its work, one that is sent stops pyinit alone.
        until(lambda: stage(job) == "on", "pyinit has been resumed, and knows it")
        stop(shell, job, how)
        shell.expect("Stopped", re.escape(PROMPT))
        shell.resume()
        shell.answers(how)
    shell.leave("\x04", 0)
    assert ("TIOCSPGRP" in log.read_text()) == (mode == [])
