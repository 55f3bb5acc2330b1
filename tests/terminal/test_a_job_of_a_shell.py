"""A job of an interactive shell: what bash and dash do with it, they do with pyinit.

The shell reads from the same terminal. So that is never taken from it, and a job that
cannot go on waits as any other: stopped, at no cost, until fg.
"""

import os
import re
import shlex
import signal
import termios

import pytest
from jobs import (
    ANSWER,
    MODES,
    OPTIONS,
    SHELLS,
    at_rest,
    command_of,
    crossed,
    end,
    fg,
    idle,
    job,
    shell_reads,
)
from support import (
    ECHOES,
    FULL,
    INIT,
    PYINIT,
    PYTHON,
    REPORTER,
    children,
    delay,
    hold,
    namespace,
    only_child,
    stage,
    state,
    strace,
    tool,
    until,
    until_state,
)


def test_tostop_in_the_foreground(shell):
    # There all is written, pyinit's own lines too.
    shell.run("stty tostop")
    said = shell.run(f"{INIT} -v echo hello")
    assert "hello\n" in said and "exited with 0" in said


SLEEP = shlex.join(["sh", "-c", "echo up; exec sleep 100"])


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (f"{INIT} {SLEEP} </dev/null", 130),
        (f"{INIT} -c {SLEEP} </dev/null", 130),
        (f"sh -c {shlex.quote(f'{INIT} {SLEEP}; exit 5')}", "(5|130)"),
    ],
)
def test_ctrl_z_where_another_leads_the_group(shell, line, status):
    pid = job(shell, line)
    shell.suspend()
    fg(shell, pid)
    shell.leave("\x03", status)


def test_the_terminals_stop_reaches_the_rest_of_a_pipeline_once(shell):
    shell.type(f"{INIT} sleep 100 </dev/null | {shlex.join(REPORTER)}\n")
    peer = int(shell.expect("ready .*\n").split()[-1])
    init = shell.foreground()  # the first of the pipeline leads its group
    only_child(init, "sleep")
    shell.type("\x1a")
    until_state(init, "T")
    os.kill(peer, signal.SIGRTMAX)
    assert shell.expect("^64\n") == "20\n64\n"


# --- A single child ---------------------------------------------------------------------


def test_a_single_child_stops_before_pyinit_does(shell):
    # Otherwise it could still read what is typed at the shell's prompt, and what it
    # has to write before it stops would come after the prompt.
    program = "trap 'sleep 0.2; echo tidy; kill -STOP $$' TSTP; " + ECHOES[2]
    shell.start("-c", "bash", "-c", program)
    assert "tidy" in shell.suspend()


def test_a_single_child_that_leaves_the_group(shell):
    # bash -i takes a group of its own, and the terminal with it. What the terminal
    # then sends to pyinit's group, the child has not got.
    program = "import os, sys; os.setpgid(0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    shell.start("-c", *PYTHON, "-c", program, *REPORTER, said="ready .*\n")
    shell.gets_once(only_child(shell.pid), "\x03", signal.SIGINT)


# Says "on" for each SIGCONT.
TELLS = [
    *PYTHON,
    "-c",
    "import os, signal; signal.signal(18, lambda *_: os.write(1, b'on\\n'))\n"
    "os.write(1, b'up\\n')\n"
    "while True: os.write(1, b'got ' + os.read(0, 99))\n",
]


def test_fg_is_not_said_twice_to_a_single_child(shell):
    # The SIGCONT of fg goes to the whole job; passed on once more, and late, it would
    # resume a child that has been stopped again. So pyinit's kills are held up.
    # And on one CPU the child, which is to tell of it, runs after pyinit.
    trace = [tool("taskset"), "-c", "0", *hold("kill", 0.1)]
    shell.start("-c", tool("chrt"), "-i", "0", *TELLS, trace=trace)
    pid = only_child(shell.pid)
    command = only_child(pid)
    for line in ("one", "two"):
        at_rest(command)  # or Python could miss the SIGCONT, just before it reads
        shell.suspend()
        assert state(command) == "T"
        shell.type("fg\n")
        shell.expect("on\n")
        shell.answers(line)
        until(lambda: stage(pid) == "on", "pyinit has taken its SIGCONT")
    # One that is sent to pyinit alone is passed on.
    at_rest(command)
    shell.suspend()
    os.kill(pid, signal.SIGCONT)
    shell.expect("on\n")
    assert len(re.findall(r"\bon\r\n", shell.all)) == 3, shell.all


def test_nor_is_bg_if_it_reads_at_once(shell):
    # The terminal's SIGTTIN goes to the whole group: it takes away the SIGCONT by which
    # pyinit knows that it has been resumed, if it has not looked by then.
    shell.start("-c", *TELLS, trace=hold("rt_sigpending", 0.1))
    command = only_child(only_child(shell.pid))
    at_rest(command)
    shell.suspend()
    shell.type("bg\n")
    shell.expect("on\n")
    until_state(command, "T")
    until(lambda: "Stopped" in shell.run("jobs"), "pyinit has stopped, too")
    shell.type("fg\n")
    shell.answers("hello")
    assert len(re.findall(r"\bon\r\n", shell.all)) == 2, shell.all


# --- Races, and who hands the terminal on -----------------------------------------------


@crossed(mode=OPTIONS)
def test_ctrl_z_right_after_fg(shell, mode):
    # It discards the SIGCONT that has resumed pyinit, before pyinit has seen that.
    shell.start(*mode, *ECHOES, trace=hold("rt_sigpending", 0.1))
    pid = only_child(shell.pid)
    shell.suspend()
    shell.type("fg\n")
    until(lambda: stage(pid) != "stopping", "fg")
    shell.suspend()
    shell.type("fg\n")
    shell.answers("hello")


@pytest.mark.parametrize(("call", "stdin"), [("setsid", "</dev/null"), ("setpgid", "")])
def test_ctrl_z_before_the_command_has_its_group(shell, call, stdin):
    # It gets the terminal's signal itself, and has stopped before it leaves our group.
    trace = shlex.join(strace("-DDD", *delay(call, 0.3)))
    shell.type(f"{trace} {INIT} sh -c 'echo up; read x; echo =$x' {stdin}\n")
    only_child(only_child(shell.pid, PYINIT[0]))
    shell.suspend()
    shell.type("fg\n")
    shell.expect("up\n")
    shell.type("hello\n")
    shell.expect("=\n" if stdin else "=hello\n")


# --- Started with stop signals ignored ------------------------------------------------

IGNORED = ["TSTP TTIN TTOU", "TSTP", "TTIN", "TTOU", "none"]


def ignoring(ignored, command):
    return f"(trap '' {ignored.replace('none', '')}; exec {command})"


@crossed(screen=SHELLS, mode=MODES, ignored=IGNORED)
def test_a_reader_in_the_background(screen, mode, ignored):
    # It stops; or, where SIGTTIN is what it ignores, as after nohup-like wrappers and in
    # supervisors, it gets an error, as it would without pyinit.
    if "TTIN" in ignored:
        screen.type(ignoring(ignored, f"{INIT} {mode} cat") + " &\n")
        screen.expect("Input/output error")
        end(*children(screen.pid))
        shell_reads(screen)
        return
    pid = job(screen, ignoring(ignored, f"{INIT} {mode} {ANSWER}") + " &")
    until_state(command_of(pid), "T")
    until_state(pid, "T")
    idle(pid)
    shell_reads(screen)
    fg(screen, pid)
    screen.answers("hello")


# (The command has the default action back, as a shell has; or not.)
@crossed(screen=SHELLS, mode=MODES, ignored=IGNORED, kind=["default", ""])
def test_its_stop_is_followed(screen, mode, ignored, kind):
    # Whatever pyinit was started with: so the shell has the terminal.
    pid = job(screen, ignoring(ignored, f"{INIT} {mode} {ANSWER} {kind}"))
    command = command_of(pid)
    for how in ("Ctrl-Z", "SIGSTOP", "Ctrl-Z"):
        screen.press("\x1a") if how == "Ctrl-Z" else os.kill(command, signal.SIGSTOP)
        if how == "Ctrl-Z" and not kind and "TSTP" in ignored:
            at_rest(pid)
            assert screen.foreground() != screen.pid
        else:
            screen.stopped()
            assert (state(pid), state(command)) == ("T", "T")
            idle(pid)
            shell_reads(screen)
            fg(screen, pid)
        screen.answers("hello")
        at_rest(pid)  # with -c, pyinit may still be passing the SIGCONT of fg on
    screen.leave("\x03", 130)
    shell_reads(screen)


# --- The shell is outside of our PID namespace ------------------------------------------
# pyinit is PID 1, in the group of unshare(1), whose number it cannot see: getpgrp() is 0.
# dumb-init does all of this, too; of no init at all the kernel stops unshare alone, and
# what is PID 1 runs on.


def outside():
    """Return what a shell is to start a PID 1 with, or skip."""
    extra = ["--map-root-user"] if "--map-root-user" in namespace() else []
    return shlex.join(["unshare", "-pf", *extra])


@crossed(screen=SHELLS, mode=MODES, kind=["", "still", "still </dev/null"])
def test_ctrl_z_where_the_shell_is_outside(screen, mode, kind):
    pid = job(screen, f"{outside()} {INIT} {mode} {ANSWER} {kind}")
    command = command_of(pid)
    for how in ("fg", "bg" if kind else "fg"):
        screen.press("\x1a")
        screen.stopped()
        idle(pid)  # or a SIGCONT could come while pyinit is about to stop itself
        shell_reads(screen)
        assert state(command) == "T"
        fg(screen, pid) if how == "fg" else screen.run("bg")
        until_state(command, "S")
        os.kill(command, signal.SIGUSR2)
        screen.expect("alive\n")
        idle(pid)
        if not kind:
            screen.answers("hello")
    if how == "bg":
        shell_reads(screen)
        fg(screen, pid)
    screen.leave("\x03", 130)
    shell_reads(screen)


@crossed(screen=SHELLS)
def test_bg_right_after_ctrl_z_where_the_shell_is_outside(screen):
    # It comes between pyinit's look for a SIGCONT and the stop, which is none for PID 1.
    trace = shlex.join(hold("rt_sigpending", 0.3, rule="delay_exit"))
    pid = job(screen, f"{outside()} {trace} {INIT} {ANSWER} still")
    command = command_of(pid)
    screen.suspend()
    screen.run("bg")
    until_state(command, "S")


@crossed(screen=SHELLS, mode=MODES)
def test_a_background_job_where_the_shell_is_outside(screen, mode):
    # What would stop it reaches only who can be stopped; the shell reads all the same.
    pid = job(screen, f"{outside()} {INIT} {mode} {ANSWER} still &")
    idle(pid)
    shell_reads(screen)
    fg(screen, pid)
    screen.leave("\x03", 130)


# --- fg of a job that runs --------------------------------------------------------------
# The shell sends it no SIGCONT then. It finds out that it may have the terminal when it
# wants that: it stops by SIGTTIN or SIGTTOU, as pyinit's own group is in the foreground.


@crossed(
    # (bash sends no SIGCONT then.)
    lambda screen, mode, wants, how: (
        not FULL and wants == "stty" and (screen, mode, how) != ("bash", "", "&")
    ),
    screen=SHELLS,
    mode=MODES,
    wants=["reads", "stty", "writes"],
    how=["bg", "&", "stays there"],
)
def test_a_running_job_that_wants_the_terminal(screen, mode, wants, how):
    pid = job(screen, f"{INIT} {mode} {ANSWER} later {wants}" + " &" * (how != "bg"))
    if how == "bg":
        screen.press("\x1a")
        screen.stopped()
        screen.run("bg")
        until_state(command_of(pid), "S")
    if how != "stays there":
        fg(screen, pid)
    if wants == "writes":  # who is in the background is stopped then
        attributes = termios.tcgetattr(screen.master)
        attributes[3] |= termios.TOSTOP
        termios.tcsetattr(screen.master, termios.TCSANOW, attributes)
    os.kill(pid, signal.SIGUSR1)
    if how == "stays there":
        until_state(pid, "T")
        idle(pid)
        shell_reads(screen)
        fg(screen, pid)
    screen.answers("hello")
    idle(pid)
    screen.leave("\x04", 0)
    shell_reads(screen)


@crossed(screen=SHELLS, mode=MODES)
def test_keys_before_it_wants_the_terminal(screen, mode):
    # The terminal still has pyinit's own group in the foreground, not the command's.
    pid = job(screen, f"{INIT} {mode} {ANSWER} later &")
    for resumed in range(2):
        fg(screen, pid)
        at_rest(pid)
        if not resumed:
            screen.press("\x1a")
            screen.stopped()
            shell_reads(screen)
    screen.leave("\x03", 130)
