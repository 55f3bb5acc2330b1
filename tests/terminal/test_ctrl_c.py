"""Ctrl-C ends the loop around a command that it has ended, and no other.

A shell ends a loop when it has got SIGINT itself, or has seen that SIGINT ended what it
ran. 130 says that to a reader, not to a shell.
"""

import os
import shlex
import signal

from jobs import (
    ANSWER,
    MODES,
    NO_TERMINAL,
    OPTIONS,
    SHELLS,
    at_rest,
    crossed,
    job,
    shell_reads,
    up,
)
from support import (
    AT_PROMPT,
    INIT,
    all_blocked,
    as_container,
    has_come,
    hold,
    marked,
    release,
    until,
)

SCRIPT_SHELLS = {"bash": "bash --norc --noprofile", "dash": "dash"}
WITH_PIPE = {**MODES, "session": "| cat"}  # stdout is a pipe
SLEEPS = "sh -c 'echo up $1; exec sleep 100' sh $i"


def loop(mode, command=SLEEPS, options=""):
    """Return a loop that runs pyinit three times."""
    option, pipe = ("", mode) if "|" in mode else (mode, "")
    return f"for i in 1 2 3; do {INIT} {option} {options} {command} {pipe}; done; echo after"


def in_script(name, line):
    return f"{SCRIPT_SHELLS[name]} -c {shlex.quote(line)}"


# (What comes behind the loop on a line that was typed bash drops, too, and dash with it.)
@crossed(screen=SHELLS, mode=WITH_PIPE, where=["bash", "dash", "typed"])
def test_it_ends_the_loop(screen, mode, where):
    line = loop(mode)
    screen.type((line if where == "typed" else in_script(where, line)) + "\n")
    screen.expect("up 1\n")
    screen.press("\x03")
    said = screen.expect(AT_PROMPT)
    assert "up" not in said and "after" not in said
    assert screen.run("echo $?") == "130\n"
    shell_reads(screen)


# dash, in the same group as a single child, ends without asking how that did.
@crossed(
    unless=lambda screen, name, mode, status: name == "dash" and mode,
    screen=SHELLS,
    name=SHELLS,
    mode=MODES,
    status=[0, 3],
)
def test_a_command_that_handles_it_does_not_end_the_loop(screen, name, mode, status):
    screen.type(in_script(name, loop(mode, f"{ANSWER} exits {status}")) + "\n")
    for _ in range(3):
        screen.expect("up\n")
        at_rest(screen.pid)  # or Python could miss it, just before it reads
        screen.press("\x03")
        screen.expect("end 2\n")
    screen.expect("after\n", AT_PROMPT)
    shell_reads(screen)


@crossed(screen=SHELLS, mode=MODES)
def test_expect_130_does_not_end_it(screen, mode):
    # Exit status 0 was asked for where it would be 130.
    job(screen, f"{INIT} {mode} -e 130 {ANSWER}; echo then $?")
    screen.press("\x03")
    screen.expect("then 0\n")


@crossed(screen=SHELLS, mode=MODES)
def test_with_a_grace(screen, mode):
    # Those left have their time before the loop ends: with -c nobody waits for them.
    command = f"sh -c {shlex.quote(f'{ANSWER} left & echo up 1; exec sleep 100')}"
    screen.type(loop(mode, command, "--grace 0.2") + "\n")
    screen.expect("(up 1\nup|up\nup 1)\n")
    screen.press("\x03")
    said = screen.expect(AT_PROMPT)
    assert "up 1" not in said and "after" not in said
    if not mode:
        until(lambda: marked(screen.process.run) == [screen.pid], "nobody is left")
    shell_reads(screen)


@crossed(launch=["container", *NO_TERMINAL], mode=OPTIONS)
def test_else_the_status_is_130(launch, mode):
    # And not -2, a death by SIGINT: no shell waits for that.
    process = launch(*mode, "sh", "-c", "echo up; exec sleep 100")
    up(process)
    if process.where == "container":
        process.press("\x03")
    else:
        os.kill(process.init, signal.SIGINT)
    process.status()
    assert getattr(process, "process", process).popen.returncode == 130


def test_with_another_stdin_it_goes_on(shell):
    shell.type(in_script("bash", loop("", SLEEPS + " </dev/null")) + "\n")
    for number in (1, 2, 3):
        shell.expect(f"up {number}\n")
        shell.press("\x03")
    shell.expect("after\n", AT_PROMPT)


def test_before_the_fork_a_single_child_gets_it_by_us(terminal):
    # pyinit is held up at its look for zombies: nobody shares the key with it yet.
    screen = as_container(terminal, "-c", "sleep", "60", trace=hold("waitid", when=1))
    until(lambda: all_blocked(screen.init), "signals are blocked")
    screen.press("\x03")
    until(lambda: has_come(screen.init, signal.SIGINT), "the key has come")
    release(screen.init)
    assert screen.status() == 130
