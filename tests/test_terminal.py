"""Real pseudo-terminals, in the layouts that differ.

container: pyinit is PID 1 and leads the session, as docker run -it has it
exec: it leads the session and is not PID 1, as docker exec -it has it
script: it is in the group of a shell without job control that leads the session
shell: it is a job of an interactive bash
"""

import fcntl
import os
import re
import select
import shlex
import signal
import struct
import termios
import time
from pathlib import Path

import pytest
from support import (
    DEADLINE,
    PYINIT,
    PYTHON,
    REPORTER,
    Process,
    children,
    field,
    hold,
    monotonic,
    namespace,
    only_child,
    open_terminal,
    state,
    strace,
    tool,
    until,
    until_state,
)

PROMPT = "@prompt@ "
INIT = shlex.join(PYINIT)
ECHOES = ["sh", "-c", "echo up; while read line; do echo got $line; done"]


class Terminal:
    """A pseudo-terminal, and the program that has it as its controlling terminal."""

    def __init__(self, *argv, ours=True):
        self.master, slave = open_terminal()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        env = {**os.environ, "PS1": PROMPT, "ENV": "", "HISTFILE": "", "TERM": "dumb"}

        def lead_session():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        kwargs = {"stdin": slave, "stdout": slave, "stderr": slave}
        if argv[0] == "unshare":
            # It is PID 1 that is to lead the session, not unshare.
            end = argv.index("--") + 1
            argv = [*argv[:end], tool("setsid"), "--ctty", *argv[end:]]
        elif ours:
            kwargs.update(preexec_fn=lead_session, start_new_session=False)
        self.process = Process(argv, env=env, **kwargs)
        os.close(slave)
        self.pid = self.process.pid
        self.seen = ""
        self.all = ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, *patterns):
        """Wait until each pattern has come, in this order; return what came with it."""
        for pattern in patterns:
            deadline = monotonic() + DEADLINE
            while not re.search(pattern, self.seen, re.M):
                left = max(0, deadline - monotonic())
                ready, _, _ = select.select([self.master], [], [], left)
                try:
                    data = os.read(self.master, 4096) if ready else b""
                except OSError:
                    data = b""
                if not data:
                    pytest.fail(f"{pattern!r} did not come; the terminal:\n{self.all}")
                self.seen += data.decode(errors="replace").replace("\r\n", "\n")
                self.all += data.decode(errors="replace")
            found = re.search(pattern, self.seen, re.M)
            before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def run(self, command):
        """Type a command to the shell at its prompt; return its output."""
        self.type(command + "\n")
        return self.expect(re.escape(PROMPT))[: -len(PROMPT)]

    def resize(self, rows, columns):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def foreground(self):
        return os.tcgetpgrp(self.master)

    def close(self):
        if self.master is not None:
            os.close(self.master)
            self.master = None


@pytest.fixture
def terminal():
    opened = []

    def terminal(*argv, **kwargs):
        opened.append(Terminal(*argv, **kwargs))
        return opened[-1]

    yield terminal
    for one in opened:
        one.process.clean()
        one.close()


@pytest.fixture(params=["container", "exec", "script"])
def alone(request, terminal):
    """Return a function that runs pyinit where there is nobody to resume it."""

    def alone(*words):
        if request.param == "container":
            screen = terminal(*namespace(), "--", *PYINIT, *words)
            screen.init = only_child(screen.pid)
        elif request.param == "exec":
            screen = terminal(*PYINIT, *words)
            screen.init = screen.pid
        else:
            screen = terminal(
                "sh", "-c", 'trap : INT QUIT; "$@"', "sh", *PYINIT, *words
            )
            screen.init = only_child(screen.pid)
        return screen

    return alone


@pytest.fixture
def container(terminal):
    def container(*words, trace=()):
        screen = terminal(*namespace(), "--", *trace, *PYINIT, *words)
        screen.init = only_child(screen.pid)
        return screen

    return container


def stage(pid):
    """Return what pyinit does: "stopping", "resumed", and does not know it, or "on".

    It lets SIGTSTP alone through to be stopped; sigtimedwait(2) lets all through.
    """
    text = Path(f"/proc/{pid}/status").read_text()
    pending, blocked = (int(field(text, name), 16) for name in ("ShdPnd", "SigBlk"))
    tstp, cont = 1 << (signal.SIGTSTP - 1), 1 << (signal.SIGCONT - 1)
    if blocked & cont and not blocked & tstp:
        return "stopping"
    return "resumed" if pending & cont else "on"


@pytest.fixture
def shell(terminal):
    """An interactive bash with job control, at its prompt."""
    screen = terminal(tool("bash"), "--norc", "--noprofile", "--noediting", "-i")
    screen.expect(re.escape(PROMPT))
    return screen


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


KEYS = [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT), (None, signal.SIGWINCH)]


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


def stop(screen, init, how):
    """Stop a job with Ctrl-Z, or from outside."""
    if how == "typed":
        screen.type("\x1a")
    else:
        os.kill(init, signal.SIGTSTP)


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
