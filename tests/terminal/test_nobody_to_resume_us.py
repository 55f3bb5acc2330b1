"""Where there is no shell that could resume us.

container: pyinit is PID 1 and leads the session, as docker run -it has it
exec: it leads the session and is not PID 1, as docker exec -it has it
script: it is in the group of a shell without job control that leads the session
lent: stdin is a terminal that no session has, PID 1 or not: test_a_lent_terminal.py
"""

import shlex
import time

import pytest
from jobs import LAYOUTS, LENT, OPTIONS, crossed
from support import (
    AT_PROMPT,
    BASH,
    ECHOES,
    INIT,
    KEYS,
    PYINIT,
    PYTHON,
    REPORTER,
    hold,
    tool,
    until,
)

# Takes a group of its own and the foreground, becomes the words before "--" or ends, and
# leaves the words behind to the process that it came from.
ANOTHER_HAS_THE_TERMINAL = """
import os, signal, sys
end = sys.argv.index("--")
other = os.fork()
if not other:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    if end > 1:
        os.execv(sys.argv[1], sys.argv[1:end])
    os._exit(0)
while os.tcgetpgrp(0) != other: pass
if end == 1:
    os.wait()
os.execvp(sys.argv[end + 1], sys.argv[end + 1:])
"""
ANOTHER = [*PYTHON, "-c", ANOTHER_HAS_THE_TERMINAL]
ALONE = [*LAYOUTS, *LENT]


@crossed(launch=ALONE)
def test_a_shell_has_job_control(launch):
    screen = launch(*BASH)
    start = screen.expect(AT_PROMPT)
    assert "no job control" not in start and "cannot set terminal" not in start
    group = screen.foreground()
    screen.type("sh -c 'echo up; exec sleep 100'\n")
    screen.expect("up\n")
    screen.suspend()
    screen.type("fg\n")
    screen.expect("sleep 100'\n")
    until(lambda: screen.foreground() != group, "sleep's group in the foreground again")
    screen.leave("\x03", 130)
    screen.type("exit 7\n")
    assert screen.process.status() == 7


@crossed(
    # (With -c the child has no session, so that what was lent cannot be its terminal.)
    lambda launch, mode, key: launch in LENT and mode,
    launch=[*ALONE, "bash"],
    mode=OPTIONS,
    key={number.name: (key, number) for key, number in KEYS},
)
def test_the_terminals_signals_come_once(launch, mode, key):
    screen = launch(*mode, "--", *REPORTER)
    screen.expect("ready .*\n")
    screen.gets_once(screen.init, *key)


# --- Ctrl-Z, and other stops ------------------------------------------------------------


def test_ctrl_z_while_the_last_one_is_answered(container):
    # Until the command has the terminal again, it is pyinit's group that gets them.
    screen = container(*ECHOES, trace=hold("ioctl", 0.03))
    screen.expect("up\n")
    for _ in range(5):
        screen.type("\x1a")
        time.sleep(0.01)
    screen.answers("hello")


def test_ctrl_z_with_another_stdin(terminal):
    # The terminal's signals reach pyinit, whose command has a session of its own.
    ticks = "echo up; while :; do sleep 0.1; echo tick; done"
    words = [*PYINIT, "-v", "sh", "-c", ticks]
    screen = terminal("sh", "-c", '"$@" </dev/null; echo $?', "sh", *words)
    screen.expect("up\n")
    screen.type("\x1a")
    screen.expect("nobody else could resume it: sent SIGCONT to group", "tick\n")


# --- Whose terminal it is ---------------------------------------------------------------


@crossed(launch=LAYOUTS)
def test_reading_in_the_background_does_not_wedge(launch):
    # The command has lost the foreground to a group that has ended.
    screen = launch(*ANOTHER, "--", *ECHOES)
    screen.expect("up\n")
    screen.answers("hello")
    screen.type("\x04")
    assert screen.process.status() == 0


@crossed(mode=OPTIONS)
def test_a_reader_under_timeout(terminal, mode):
    # timeout takes a group of its own, in the background, and ignores SIGTTIN and SIGTTOU:
    # if pyinit stopped it by SIGTSTP, nobody would resume it in a script.
    tool("timeout")
    program = f"timeout 0.5 {INIT} {' '.join(mode)} cat; echo status $?"
    screen = terminal("sh", "-c", program)
    screen.expect("status 124\n")


def test_who_leads_the_session_leaves_it_the_terminal(terminal, tmp_path):
    # Although stdout is none: no other member of a pipeline can need it.
    program = "echo hello >/dev/tty; read line; echo $line"
    words = shlex.join(["sh", "-c", program])
    screen = terminal("sh", "-c", f"exec {INIT} {words} >{tmp_path}/log")
    screen.expect("hello\n")
    screen.type("line\n")
    assert screen.process.status() == 0
    assert (tmp_path / "log").read_text() == "line\n"


def test_started_in_the_background_it_reads(terminal):
    # pyinit leads the session, and another group has the foreground from the start.
    pause = [*PYTHON, "-c", "import signal; signal.pause()"]
    screen = terminal(*ANOTHER, *pause, "--", *PYINIT, *ECHOES)
    screen.expect("up\n")
    screen.answers("hello")


@pytest.mark.parametrize("command", ["true", "no-such-command", "sh -c 'kill -9 $$'"])
def test_the_terminal_is_given_back(terminal, command):
    ask = "import os; print('same', os.tcgetpgrp(0) == os.getpgrp())"
    program = f'{INIT} {command}; exec "$@"'
    screen = terminal("sh", "-c", program, "sh", *PYTHON, "-c", ask)
    screen.expect("same True\n")


def test_the_terminal_is_given_back_at_a_stop(terminal):
    # To a parent that does not take it, as a shell would, and resumes its job as it is.
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
        "os.write(1, b'stopped %d\\n' % (os.tcgetpgrp(0) == job))\n"
        "os.kill(-job, signal.SIGCONT)\n"
        "os.waitpid(job, 0)\n"
        "os.write(1, b'ended %d' % (os.tcgetpgrp(0) == job))\n"
    )
    screen = terminal(*PYTHON, "-c", program, *PYINIT, *ECHOES)
    screen.expect("up\n")
    screen.type("\x1a")
    screen.expect("stopped 1\n")
    screen.answers("hello")
    screen.type("\x04")
    screen.expect("ended 1")
