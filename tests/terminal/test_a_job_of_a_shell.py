"""A job of an interactive bash, which stops and resumes it."""

import os
import re
import shlex
import signal
from pathlib import Path

import pytest
from support import (
    ECHOES,
    INIT,
    KEYS,
    PROMPT,
    PYINIT,
    PYTHON,
    REPORTER,
    field,
    hold,
    logged,
    only_child,
    stage,
    state,
    stop,
    strace,
    tool,
    until,
    until_state,
)


@pytest.mark.parametrize("mode", ["", "-c"], ids=["session", "single"])
@pytest.mark.parametrize(("key", "number"), KEYS)
def test_a_job_gets_the_terminals_signals_once(shell, mode, key, number):
    shell.type(f"{INIT} {mode} -- {shlex.join(REPORTER)}\n")
    shell.expect("ready .*\n")
    init = only_child(shell.pid)
    for number_of_round in range(3):
        if key:
            shell.type(key)
        else:
            shell.resize(30 + number_of_round, 100)
        shell.expect(f"^{number:d}\n")
        os.kill(init, signal.SIGRTMAX)
        assert shell.expect("^64\n") == "64\n"


@pytest.mark.parametrize("mode", ["", "-c"], ids=["session", "single"])
@pytest.mark.parametrize("options", ["", "-r TSTP:TSTP"])
def test_ctrl_z_jobs_fg_ctrl_c(shell, mode, options):
    shell.type(f"{INIT} {mode} {options} {shlex.join(ECHOES)}\n")
    shell.expect("up\n")
    for line in ("one", "two"):
        shell.type("\x1a")
        shell.expect("Stopped", re.escape(PROMPT))
        assert "Stopped" in shell.run("jobs")
        assert shell.run("read word; echo =$word\nfine") == "=fine\n"
        shell.type("fg\n")
        shell.expect("pyinit.*\n")
        shell.type(line + "\n")
        shell.expect(f"got {line}\n")
    shell.type("\x03")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo $?") == "130\n"
    assert shell.run("read word; echo =$word\nfine") == "=fine\n"
    assert shell.run("jobs") == ""


def test_a_single_child_stops_before_pyinit_does(shell):
    # Otherwise it could still read what is typed at the shell's prompt, and what it
    # has to write before it stops would come after the prompt.
    program = "trap 'sleep 0.5; echo tidy; kill -STOP $$' TSTP; " + ECHOES[2]
    shell.type(f"{INIT} -c bash -c {shlex.quote(program)}\n")
    shell.expect("up\n")
    shell.type("\x1a")
    assert "tidy" in shell.expect("Stopped", re.escape(PROMPT))
    shell.type("fg\n")
    shell.type("hello\n")
    shell.expect("got hello\n")


def test_ctrl_z_of_a_single_child_that_ignores_it(shell):
    program = "trap '' TSTP; " + ECHOES[2]
    shell.type(f"{INIT} -c sh -c {shlex.quote(program)}\n")
    shell.expect("up\n")
    job = only_child(shell.pid)
    shell.type("\x1a")
    shell.type("hello\n")
    shell.expect("got hello\n")
    os.kill(job, signal.SIGTERM)
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo $?") == "143\n"


def test_fg_is_not_said_twice_to_a_single_child(shell):
    # pyinit's kills are held up. The SIGCONT of fg goes to the whole job; passed on
    # once more, and late, it would resume a child that has been stopped again.
    trace = hold("kill", 0.5)
    program = (
        "import os, signal; signal.signal(18, lambda *_: os.write(1, b'on\\n'))\n"
        "os.write(1, b'up\\n')\n"
        "while True: os.write(1, b'got ' + os.read(0, 99))\n"
    )
    words = shlex.join([*PYTHON, "-c", program])
    shell.type(f"{shlex.join(trace)} {INIT} -c {words}\n")
    shell.expect("up\n")
    for line in ("one", "two", "three"):
        shell.type("\x1a")
        shell.expect("Stopped", re.escape(PROMPT))
        job = only_child(shell.pid)
        assert state(only_child(job)) == "T"
        shell.type("fg\n")
        shell.expect("on\n")
        shell.type(line + "\n")
        shell.expect(f"got {line}\n")
        until(lambda job=job: stage(job) == "on", "pyinit has taken its SIGCONT")
    # One that is sent to pyinit alone is passed on.
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    os.kill(job, signal.SIGCONT)
    shell.expect("on\n")


@pytest.mark.parametrize("mode", ["", "-c"], ids=["session", "single"])
def test_ctrl_z_right_after_fg(shell, mode):
    # It discards the SIGCONT that has resumed pyinit, before pyinit has seen that.
    trace = hold("rt_sigpending", 2)
    shell.type(f"{shlex.join(trace)} {INIT} {mode} {shlex.join(ECHOES)}\n")
    shell.expect("up\n")
    job = only_child(shell.pid)
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    shell.type("fg\n")
    until(lambda: stage(job) == "resumed", "fg")
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    shell.type("fg\nhello\n")
    shell.expect("got hello\n")


@pytest.mark.parametrize("how", ["typed", "sent"])
def test_bg(shell, how):
    shell.type(f"{INIT} sh -c 'echo up; sleep 1; echo still; exit 3'\n")
    shell.expect("up\n")
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
    shell.expect(r"Exit 3")
    shell.type("read word; echo =$word\nfine\n")
    shell.expect("=fine\n")


def test_a_job_in_the_background_that_reads(shell):
    shell.run(f"{INIT} {shlex.join(ECHOES)} &")
    job = only_child(shell.pid)
    until_state(job, "T")
    assert "Stopped" in shell.run("jobs")
    assert shell.run("read word; echo =$word\nfine") == "=fine\n"
    shell.type("fg\n")
    shell.expect("pyinit.*\n")
    shell.type("hello\n")
    shell.expect("got hello\n")
    shell.type("\x04")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo $?") == "0\n"


def test_tostop(shell):
    shell.run("stty tostop")
    # In the foreground all is written, pyinit's own lines too.
    said = shell.run(f"{INIT} -v echo hello")
    assert "hello\n" in said and "exited with 0" in said
    # In the background the command is stopped, as it would be without pyinit.
    shell.run(f"{INIT} echo in the back &")
    until_state(only_child(shell.pid), "T")
    shell.type("fg\n")
    shell.expect("pyinit.*\n", "in the back\n", re.escape(PROMPT))


def test_a_signal_while_suspended(shell):
    shell.type(f"{INIT} {shlex.join(ECHOES)}\n")
    shell.expect("up\n")
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    job = only_child(shell.pid)
    os.kill(job, signal.SIGTERM)
    shell.type("fg\n")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo $?") == "143\n"


def test_ctrl_z_stops_the_whole_pipeline(shell):
    shell.type(f"{INIT} {shlex.join(ECHOES)} | cat\n")
    shell.expect("up\n")
    command = only_child(shell.foreground())  # the first of a pipeline leads its group
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    # Its session is not the terminal's, which does not keep it from reading: it can still
    # take what is typed while the stop is on its way to it.
    until_state(command, "T")
    shell.type("fg\n")
    shell.expect("pyinit.*\n")
    shell.type("hello\n")
    shell.expect("got hello\n")
    shell.type("\x04")
    shell.expect(re.escape(PROMPT))


def test_ctrl_z_stops_a_script_that_runs_pyinit(shell):
    script = f'{INIT} sh -c "echo up; exec sleep 100"; echo after'
    shell.type(f"sh -c {shlex.quote(script)}\n")
    shell.expect("up\n")
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    shell.type("fg\n")
    shell.expect("pyinit.*\n")
    until(lambda: shell.foreground() != shell.pid, "the job is in the foreground")
    shell.type("\x03")
    shell.expect(re.escape(PROMPT))


@pytest.mark.parametrize("mode", ["", "-c"], ids=["session", "single"])
def test_without_a_terminal_on_stdin(shell, mode):
    # The session that the command gets then is not the terminal's.
    shell.type(f"{INIT} {mode} sh -c 'echo up; exec sleep 100' </dev/null\n")
    shell.expect("up\n")
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    shell.type("fg\n")
    shell.expect("pyinit.*\n")
    until(lambda: shell.foreground() != shell.pid, "the job is in the foreground")
    shell.type("\x03")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo $?") == "130\n"


def test_the_terminals_stop_reaches_the_rest_of_a_pipeline_once(shell):
    shell.type(f"{INIT} sleep 100 </dev/null | {shlex.join(REPORTER)}\n")
    peer = int(shell.expect("ready .*\n").split()[-1])
    init = shell.foreground()  # the first of the pipeline leads its group
    only_child(init, "sleep")
    shell.type("\x1a")
    until_state(init, "T")
    os.kill(peer, signal.SIGRTMAX)
    assert shell.expect("^64\n") == "20\n64\n"


@pytest.mark.parametrize(("call", "stdin"), [("setsid", "</dev/null"), ("setpgid", "")])
def test_ctrl_z_before_the_command_has_its_group(shell, call, stdin):
    # It gets the terminal's signal itself, and has stopped before it leaves our group.
    trace = strace("-DDD", "-e", f"trace={call}")
    trace += ["-e", f"inject={call}:delay_enter=1000000"]
    shell.type(
        f"{shlex.join(trace)} {INIT} sh -c 'echo up; read x; echo =$x' {stdin}\n"
    )
    job = only_child(shell.pid, PYINIT[0])
    only_child(job)
    shell.type("\x1a")
    shell.expect("Stopped", re.escape(PROMPT))
    shell.type("fg\n")
    shell.expect("up\n")
    shell.type("hello\n")
    shell.expect("=\n" if stdin else "=hello\n")


def test_a_single_child_that_leaves_the_group(shell):
    # bash -i takes a group of its own, and the terminal with it. What the terminal
    # then sends to pyinit's group, the child has not got.
    program = "import os; os.setpgid(0, 0); os.execv(*__import__('ast').literal_eval(os.sys.argv[1]))"
    words = repr((REPORTER[0], REPORTER))
    shell.type(f"{INIT} -c {shlex.join([*PYTHON, '-c', program, words])}\n")
    shell.expect("ready .*\n")
    shell.type("\x03")
    shell.expect("^2\n")
    os.kill(only_child(shell.pid), signal.SIGRTMAX)
    assert shell.expect("^64\n") == "64\n"


# --- Terminal ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["", "-c"], ids=["session", "single"])
def test_who_hands_the_terminal_on(terminal, tmp_path, mode):
    # In session mode the child's group gets the terminal, and gives it back. With -c
    # nobody ever does: the child is in pyinit's group, and so has it already.
    log = tmp_path / "log"
    # A command that is traced stops late, and eats what is typed.
    trace = logged(strace("-DDD", "-e", "trace=ioctl", follow=False), log)
    shell = terminal(tool("bash"), "--norc", "--noprofile", "--noediting", "-i")
    shell.expect(re.escape(PROMPT))
    shell.type(f"{shlex.join(trace)} {INIT} {mode} {shlex.join(ECHOES)}\n")
    shell.expect("up\n")
    job = only_child(shell.pid, PYTHON[0])
    # With -c, one that is sent stops pyinit itself at once: the command may still read.
    for how in ("typed",) if mode else ("typed", "sent"):
        if how == "typed":
            shell.type("\x1a")
        else:
            # Until pyinit is back at its work, one that is sent stops pyinit alone.
            until(lambda: stage(job) == "on", "pyinit has been resumed, and knows it")
            os.kill(job, signal.SIGTSTP)
        shell.expect("Stopped", re.escape(PROMPT))
        shell.type("fg\n")
        shell.expect("pyinit.*\n")
        shell.type(how + "\n")
        shell.expect(f"got {how}\n")
    shell.type("\x04")
    shell.expect(re.escape(PROMPT))
    handed_on = "TIOCSPGRP" in log.read_text()
    assert handed_on == (mode == "")


def test_a_stop_in_a_pipeline_is_the_commands_own_affair(terminal):
    # Its session is not the terminal's there, though pyinit's standard input is that:
    # pyinit goes on passing signals on, and the rest of the pipeline is not stopped.
    shell = terminal(tool("bash"), "--norc", "--noprofile", "--noediting", "-i")
    shell.expect(re.escape(PROMPT))
    program = shlex.quote("echo up; kill -STOP $$; echo on; read line; echo got $line")
    shell.type(f"{INIT} sh -c {program} | cat\n")
    shell.expect("up\n")
    init = only_child(shell.pid, PYTHON[0])
    command = only_child(init, "sh")
    until_state(command, "T")
    os.kill(init, signal.SIGURG)
    until(lambda: not pending(init), "pyinit has taken the signal, and those before")
    until_state(init, "S")
    assert state(command) == "T"
    os.kill(init, signal.SIGCONT)
    shell.expect("on\n")
    os.kill(init, signal.SIGTERM)
    shell.expect(re.escape(PROMPT))


def pending(pid):
    """Return the signals that wait for a process, as a number; 0 for none."""
    return int(field(Path(f"/proc/{pid}/status").read_text(), "ShdPnd"), 16)
