"""Rules that no other test asked for, as broken lines have shown (tests/mutation.py)."""

import os
import re
import shlex
import signal
from pathlib import Path

import pytest
from support import (
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    REPORTER,
    field,
    namespace,
    only_child,
    state,
    strace,
    tool,
    until,
    until_state,
)
from test_terminal import ECHOES, PROMPT, Terminal, stage

INIT = shlex.join(PYINIT)


@pytest.fixture
def terminal():
    """Return a function that starts a program at a pseudo-terminal of its own."""
    opened = []

    def terminal(*argv):
        opened.append(Terminal(*argv))
        return opened[-1]

    yield terminal
    for one in opened:
        one.process.clean()
        one.close()


def logged(trace, path):
    """Return strace's words with the log at a path."""
    return [str(path) if word == "/dev/null" else word for word in trace]


# --- Grace ------------------------------------------------------------------------


def test_v_does_not_speak_of_a_signal_that_was_not_sent(pid1):
    # During grace pyinit wakes up for the end of a process and for a dropped signal:
    # it sends nobody anything then, and must not say so.
    program = '(setsid "$@" &) ; sleep 100 & read line; exit 4'
    options = ["-v", "--grace", "60", "-r", "USR1:0", "-r", "HUP:KILL"]
    process = pid1(*options, "sh", "-c", program, "sh", *REPORTER, stdin=-1)
    process.line()
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect(15)  # the farewell, which ends the sleep too
    process.until_stderr("reaped")
    os.kill(process.init, signal.SIGUSR1)
    os.kill(process.init, signal.SIGURG)
    process.expect(int(signal.SIGURG))
    os.kill(process.init, signal.SIGHUP)
    assert process.wait() == 4
    said = re.findall(r"sent (\w+)", process.stderr)
    assert said, process.stderr
    assert not {"0", "nothing", "SIGUSR1", "10"} & {*said}, process.stderr


def test_not_pid_1_grace_looks_every_20_ms(start, tmp_path):
    # Nothing tells of the end of others' children. In one second it looks fifty times,
    # with two calls each, fewer where the machine is slow: neither does it spin, nor sleep
    # through the end.
    log = tmp_path / "log"
    trace = logged(strace("-e", "trace=rt_sigtimedwait", follow=False), log)
    stubborn = "trap '' TERM; echo up; while :; do sleep 10; done"
    program = f'sh -c "{stubborn}" & read line; exit 4'
    command = [*PYINIT, "--grace", "1", "sh", "-c", program]
    words = [*namespace(), "sh", "-c", '"$@"; echo ended $?', "sh", *trace, *command]
    process = start(*words, stdin=-1)
    process.expect("up")
    before = len(log.read_text().splitlines())
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("ended 4")
    calls = len(log.read_text().splitlines()) - before
    assert 16 < calls < 120


# --- Start ------------------------------------------------------------------------


def test_a_path_with_a_slash_is_not_looked_for_in_the_path(start, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        (place / "bin").mkdir(parents=True)
        for program in (place / "bin" / "program", place / "program"):
            program.write_text(f"#!/bin/sh\necho {place.name}\n")
            program.chmod(0o755)
    (there / "bin" / "other").symlink_to("program")
    env = {**os.environ, "PATH": f"{there}:{os.environ['PATH']}"}
    for words, status, said in (
        (["bin/program"], 0, "here\n"),
        (["./program"], 0, "here\n"),
        (["bin/other"], 127, ""),
        (["program"], 0, "there\n"),
    ):
        process = start(*PYINIT, *words, cwd=here, env=env)
        assert process.wait() == status, process.stderr
        assert process.stdout == said


def test_v_says_whose_the_orphans_are(pid1, pyinit):
    for start, ours in ((pid1, True), (pyinit, False)):
        process = start("-v", "true")
        assert process.wait() == 0
        first = process.stderr.splitlines()[0]
        assert ("orphans are ours" in first) == ours, first
        assert ("we are not" in first) != ours, first


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("os._exit(pyinit.main(['no\\0name']))", 126, ": embedded null byte"),
        (
            "import threading\n"
            "def run(): os._exit(pyinit.main(['true']))\n"
            "threading.Thread(target=run).start()",
            125,
            "cannot start: signal only works in main thread",
        ),
    ],
    ids=["in the child", "before"],
)
def test_a_reason_that_is_not_the_kernels_is_said(start, body, status, said):
    # A host that imports pyinit can do what no command line can.
    program = f"import os, sys; sys.path.insert(0, {str(PYINIT_FILE.parent)!r})\n"
    process = start(*PYTHON, "-c", program + "import pyinit\n" + body)
    assert process.wait() == status, process.stderr
    assert process.stderr.startswith("[pyinit] ") and said in process.stderr
    assert process.stderr.count("\n") == 1


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


def test_a_module_that_cannot_be_imported_is_said(start, tmp_path):
    # Before the options are known, in one line, and without a traceback.
    (tmp_path / "argparse.py").write_text("raise ValueError('no\\nsense')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    program += PYINIT_FILE.read_text()
    process = start(PYINIT[0], "-IS", "-c", program, "echo", "started")
    assert process.wait() == 125
    assert process.stdout == ""
    assert process.stderr == "[pyinit] cannot start: ValueError('no\\nsense')\n"


def test_a_line_that_cannot_be_written_is_no_signal_for_the_command(start, tmp_path):
    # A file at its limit answers a write with SIGXFSZ, to pyinit: it is not passed on.
    words = ["sh", "-c", 'ulimit -f 0; exec "$@" 2>"$0"', tmp_path / "log"]
    process = start(*words, *PYINIT, "-v", *REPORTER, "7")
    assert process.line().startswith("ready ")
    os.kill(process.pid, signal.SIGUSR2)
    process.expect("12")
    os.kill(process.pid, signal.SIGTERM)
    process.expect("15")
    assert process.wait() == 7
    assert "25" not in process.stdout.split()
