"""Real pseudo-terminals, in the layouts that differ.

container: pyinit is PID 1 and leads the session, as docker run -it has it
exec: it leads the session and is not PID 1, as docker exec -it has it
script: it is in the group of a shell without job control that leads the session
shell: it is a job of an interactive bash
"""

import os
import re
import shlex
import signal
import time

import pytest
from support import (
    ECHOES,
    INIT,
    KEYS,
    PROMPT,
    PYINIT,
    PYTHON,
    REPORTER,
    children,
    hold,
    logged,
    namespace,
    only_child,
    state,
    stop,
    strace,
    tool,
    until,
    until_state,
)

# --- Nobody to resume us ----------------------------------------------------------


def test_a_shell_has_job_control(alone):
    screen = alone("bash", "--norc", "--noprofile", "--noediting", "-i")
    start = screen.expect(re.escape(PROMPT))
    assert "no job control" not in start
    group = screen.foreground()
    screen.type("sh -c 'echo up; exec sleep 100'\n")
    screen.expect("up\n")
    screen.type("\x1a")
    screen.expect("Stopped", re.escape(PROMPT))
    assert "Stopped" in screen.run("jobs")
    screen.type("fg\n")
    screen.expect("sleep 100'\n")
    until(lambda: screen.foreground() != group, "sleep's group in the foreground again")
    screen.type("\x03")
    screen.expect(re.escape(PROMPT))
    assert screen.run("echo $?") == "130\n"
    screen.type("exit 7\n")
    assert screen.process.status() == 7


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
@pytest.mark.parametrize(("key", "number"), KEYS)
def test_the_terminals_signals_come_once(alone, mode, key, number):
    screen = alone(*mode, "--", *REPORTER)
    screen.expect("ready .*\n")
    for number_of_round in range(3):
        if key:
            screen.type(key)
        else:
            screen.resize(30 + number_of_round, 100)
        screen.expect(f"^{number:d}\n")
        # A second one would come before this: it has the higher number.
        os.kill(screen.init, signal.SIGRTMAX)
        assert screen.expect("^64\n") == "64\n"


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_ctrl_z_does_not_wedge(alone, mode):
    screen = alone(*mode, *ECHOES)
    screen.expect("up\n")
    for line in ("one", "two"):
        screen.type("\x1a")
        screen.type(line + "\n")
        screen.expect(f"got {line}\n")
    screen.type("\x04")
    assert screen.process.status() == 0


def test_ctrl_z_while_the_last_one_is_answered(container):
    # Until the command has the terminal again, it is pyinit's group that gets them.
    screen = container(*ECHOES, trace=hold("ioctl", 0.1))
    screen.expect("up\n")
    for _ in range(100):
        screen.type("\x1a")
        time.sleep(0.01)
    screen.type("hello\n")
    screen.expect("got hello\n")


def test_ctrl_z_with_another_stdin_and_nobody_to_resume_it(terminal):
    # The terminal's signals reach pyinit, whose command has a session of its own.
    ticks = "echo up; while :; do sleep 0.1; echo tick; done"
    words = [*PYINIT, "-v", "sh", "-c", ticks]
    screen = terminal("sh", "-c", '"$@" </dev/null; echo $?', "sh", *words)
    screen.expect("up\n")
    screen.type("\x1a")
    screen.expect("nobody else could resume it: sent SIGCONT to group", "tick\n")


def test_a_single_child_keeps_the_terminal_that_it_took(alone):
    screen = alone("-c", "bash", "--norc", "--noprofile", "--noediting", "-i")
    screen.expect(re.escape(PROMPT))
    os.kill(only_child(screen.init, "bash"), signal.SIGSTOP)
    assert screen.run("echo fine") == "fine\n"


@pytest.mark.parametrize("words", [["kill -STOP 0"], ["kill -STOP $$", "-c"]], ids=str)
def test_ctrl_z_of_a_program_that_stops_itself(alone, words):
    # As nano and mutt do: SIGTSTP is caught, and SIGSTOP sent. (In single-child mode to
    # the program alone: a SIGSTOP to the group is for pyinit as well.)
    program = f"trap 'echo stopping; {words[0]}; echo on' TSTP; " + ECHOES[2]
    screen = alone(*words[1:], "bash", "-c", program)
    screen.expect("up\n")
    screen.type("\x1a\n")
    screen.expect("stopping\n", "on\n", "got")
    screen.type("again\n")
    screen.expect("got again\n")


def test_reading_in_the_background_does_not_wedge(alone):
    # The command has lost the foreground to a group that has ended.
    program = (
        "import os, signal, sys\n"
        "if not os.fork():\n"
        "    os.setpgid(0, 0)\n"
        "    signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "    os.tcsetpgrp(0, os.getpid())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print('up', flush=True)\n"
        "print('got', sys.stdin.readline(), flush=True)\n"
    )
    screen = alone(*PYTHON, "-c", program)
    screen.expect("up\n")
    screen.type("hello\n")
    screen.expect("got hello\n")
    assert screen.process.status() == 0


def test_started_in_the_background_with_nobody_to_resume_it(terminal):
    # pyinit leads the session, and another group has the foreground from the start.
    program = (
        "import os, signal, sys\n"
        "other = os.fork()\n"
        "if not other:\n"
        "    os.setpgid(0, 0)\n"
        "    signal.pause()\n"
        "while os.getpgid(other) != other: pass\n"
        "os.tcsetpgrp(0, other)\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    screen = terminal(*PYTHON, "-c", program, *PYINIT, *ECHOES)
    screen.expect("up\n")
    screen.type("hello\n")
    screen.expect("got hello\n")


def test_a_stop_that_was_sent_lasts(container):
    screen = container(*ECHOES)
    screen.expect("up\n")
    command = only_child(screen.init)
    os.kill(screen.init, signal.SIGTSTP)
    until_state(command, "T")
    # Passed on by the same loop, later: the command is still stopped then.
    os.kill(screen.init, signal.SIGURG)
    until(lambda: state(screen.init) == "S", "pyinit waits again")
    assert state(command) == "T"
    os.kill(screen.init, signal.SIGCONT)
    screen.type("hello\n")
    screen.expect("got hello\n")
    # And after that the terminal's own stop is undone again.
    screen.type("\x1a")
    screen.type("again\n")
    screen.expect("got again\n")


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_a_hang_up_reaches_the_command(container, mode):
    screen = container(*mode, "sh", "-c", "echo up; sleep 100")
    screen.expect("up\n")
    screen.close()
    assert screen.process.status() == 129


def test_the_terminal_is_given_back(terminal):
    ask = "import os; print('same', os.tcgetpgrp(0) == os.getpgrp())"
    program = f'"$@"; exec {shlex.join(PYTHON)} -c "{ask}"'
    for command in ("true", "no-such-command", "sh -c 'kill -9 $$'"):
        screen = terminal(
            "sh", "-c", f"{INIT} {command}; " + program.partition("; ")[2]
        )
        screen.expect("same True\n")


@pytest.mark.parametrize("how", ["typed", "sent"])
def test_the_terminal_is_given_back_to_who_does_not_take_it(terminal, how):
    # A parent that resumes its job as it is; a shell would have taken the terminal.
    program = (
        "import os, signal, sys\n"
        "job = os.fork()\n"
        "if not job:\n"
        "    os.setpgid(0, 0)\n"
        "    signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "    os.tcsetpgrp(0, os.getpid())\n"
        "    signal.signal(signal.SIGTTOU, signal.SIG_DFL)\n"
        "    os.execv(sys.argv[1], sys.argv[1:])\n"
        "os.waitpid(job, os.WUNTRACED)\n"
        "os.write(1, b'stopped\\n')\n"
        "os.kill(-job, signal.SIGCONT)\n"
        "os.waitpid(job, 0)\n"
        "os.write(1, b'same %d' % (os.tcgetpgrp(0) == job))\n"
    )
    screen = terminal(*PYTHON, "-c", program, *PYINIT, *ECHOES)
    screen.expect("up\n")
    stop(screen, only_child(screen.pid), how)
    screen.expect("stopped\n")  # or the command could read all, and end, before
    screen.type("hello\n")
    screen.expect("got hello\n")
    screen.type("\x04")
    screen.expect("same 1")


def test_the_command_ends_while_its_stop_is_asked_for(terminal):
    # Held up between the look for the dead and the look for a stop.
    trace = strace("-e", "trace=waitid")
    trace += ["-e", "inject=waitid:delay_enter=500000:when=2"]
    screen = terminal(*trace, *PYINIT, "sh", "-c", "sleep 0.1; exit 3")
    assert screen.process.status() == 3


def test_a_terminal_that_is_not_ours(terminal):
    show = "read a b c d pgrp sid e < /proc/$$/stat; echo own $(($$ == sid)); read x; echo got $x"
    screen = terminal(*PYINIT, "sh", "-c", show, ours=False)
    screen.expect("own 1\n")
    screen.type("hello\n")
    screen.expect("got hello\n")
    assert screen.process.status() == 0


# --- A job of an interactive shell ------------------------------------------------


@pytest.mark.parametrize(
    ("init", "wedges"),
    [("tini -s --", True), ("dumb-init --", False), (INIT, False)],
)
def test_negative_control_ctrl_z_as_pid_1(terminal, init, wedges):
    words = shlex.split(init)
    tool(words[0])
    screen = terminal(*namespace(), "--", *words, *ECHOES)
    screen.expect("up\n")
    init = only_child(screen.pid)
    screen.type("\x1a")
    if wedges:
        until(lambda: state(children(init)[0]) == "T", "the command has stopped")
        return
    screen.type("hello\n")
    screen.expect("got hello\n")


def test_a_single_child_that_took_the_terminal_is_not_asked_for_it(terminal, tmp_path):
    # It has a group of its own, and stops where nobody could resume it but pyinit.
    log = tmp_path / "log"
    trace = logged(strace("-DDD", "-e", "trace=ioctl,kill", follow=False), log)
    bash = [tool("bash"), "--norc", "--noprofile", "--noediting", "-i"]
    screen = terminal(*namespace(), "--", *trace, *PYINIT, "-c", *bash)
    screen.expect(re.escape(PROMPT))
    child = only_child(only_child(screen.pid), bash[0])
    assert screen.foreground() == child
    os.kill(child, signal.SIGSTOP)
    until(lambda: "SIGCONT" in log.read_text(), "pyinit resumes it")
    assert screen.run("echo fine") == "fine\n"
    assert "TIOCSPGRP" not in log.read_text()


@pytest.mark.parametrize("layout", ["PID 1", "not PID 1"])
@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_started_in_the_background_it_stays_there(terminal, layout, mode):
    # Another group has the terminal from the start, and keeps it as long as the command
    # does not want it: Ctrl-C is for that group.
    program = (
        "import os, signal, sys\n"
        "other = os.fork()\n"
        "if not other:\n"
        "    os.setpgid(0, 0)\n"
        "    signal.signal(signal.SIGTTOU, signal.SIG_IGN)\n"
        "    os.tcsetpgrp(0, os.getpid())\n"
        "    signal.signal(signal.SIGTTOU, signal.SIG_DFL)\n"
        "    os.execv(sys.argv[1], sys.argv[1:sys.argv.index('--')])\n"
        "while os.tcgetpgrp(0) != other: pass\n"
        "words = sys.argv[sys.argv.index('--') + 1:]\n"
        "os.execv(words[0], words)\n"
    )
    sleep = ["sh", "-c", "echo up; sleep 100; echo slept"]
    words = [*PYTHON, "-c", program, *REPORTER, "--", *PYINIT, *mode, *sleep]
    screen = terminal(*([*namespace(), "--"] if layout == "PID 1" else []), *words)
    # In whichever order they come.
    screen.expect("(ready .*\nup|up\nready .*)\n")
    for _ in range(2):
        screen.type("\x03")
        screen.expect("^2\n")
    init = only_child(screen.pid) if layout == "PID 1" else screen.pid
    os.kill(init, signal.SIGTERM)
    assert screen.process.status() == 128 + signal.SIGTERM
