"""The same scenarios under Debian's dumb-init and under pyinit.

Every difference is in DIFFERENT, with what the design says of it; the rest is the same.
"""

import os
import signal
from pathlib import Path

import pytest
from support import (
    PYINIT,
    REPORTER,
    children,
    command_line,
    field,
    marked,
    namespace,
    only_child,
    state,
    strace,
    tool,
    until,
    until_state,
)

TWO_MEMBERS = '"$@" & "$@"'


def status(*words, env=()):
    """A scenario: what is the exit status, and what is on stdout."""

    def scenario(start, init):
        process = start(*init, *words, env={**os.environ, **dict(env)})
        return process.wait(), process.stdout

    return scenario


def fatal(number):
    return status("--", "sh", "-c", f"kill -{number} $$")


def signals(*numbers, options=(), env=()):
    """A scenario: what does the command get of these signals, and of a marker after."""

    def scenario(start, init):
        environment = {**os.environ, **dict(env)}
        process = start(*init, *options, "--", *REPORTER, env=environment)
        command = int(process.line().split()[1])
        for number in numbers:
            process.send(number)
            for pid in (process.pid, command):
                until(lambda pid=pid: not waiting(pid), f"{number} is dealt with")
        process.send(signal.SIGUSR1)
        got = [process.line()]
        while got[-1] != "10":
            got.append(process.line())
        return got

    return scenario


def waiting(pid):
    """Tell whether a process has signals pending, or is at work on one."""
    text = Path(f"/proc/{pid}/status").read_text()
    pending = int(field(text, "ShdPnd"), 16) | int(field(text, "SigPnd"), 16)
    return pending or state(pid) == "R"


def stops(number, *options):
    """A scenario: are both stopped by it, and does CONT wake both."""

    def scenario(start, init):
        process = start(*init, *options, "--", *REPORTER)
        command = int(process.line().split()[1])
        process.send(number)
        until_state(process.pid, "T")
        until(lambda: state(command) in ("T", "S"), "the command has settled")
        seen = state(command)
        process.send(signal.SIGCONT)
        until_state(process.pid, "S")
        until_state(command, "S")
        return seen

    return scenario


def group(*options, env=()):
    """A scenario: how many of a group of two get a signal."""

    def scenario(start, init):
        environment = {**os.environ, **dict(env)}
        program = [*init, *options, "sh", "-c", TWO_MEMBERS, "sh", *REPORTER]
        process = start(
            *namespace(), "sh", "-c", '"$@"; read x', "sh", *program, env=environment
        )
        process.line()
        process.line()
        pid = only_child(only_child(process.pid))
        os.kill(pid, signal.SIGWINCH)
        until(lambda: not waiting(pid), "SIGWINCH is passed on")
        # The marker goes to each of them directly, and comes last.
        members = [pid for pid in marked(process.run) if command_line(pid) == REPORTER]
        for pid in members:
            until(lambda pid=pid: not waiting(pid), "SIGWINCH is dealt with")
            os.kill(pid, signal.SIGRTMAX)
        got = []
        while got.count("64") < 2:
            got.append(process.line())
        return got.count("28")

    return scenario


def farewell(*options):
    """A scenario: what does a member of the group get when the command exits."""

    def scenario(start, init):
        program = [*init, *options, "sh", "-c", '"$@" & read x', "sh", *REPORTER]
        process = start(*program, stdin=-1)
        member = int(process.line().split()[1])
        process.popen.stdin.close()
        process.popen.stdin = None
        process.status()
        os.kill(member, signal.SIGRTMAX)
        got = [process.line()]
        while got[-1] != "64":
            got.append(process.line())
        return got

    return scenario


def early(number):
    """A scenario: a signal between fork and setsid; does it end the command."""

    def scenario(start, init):
        trace = strace("-e", "trace=setsid", "-e", "inject=setsid:delay_enter=2000000")
        process = start(
            *trace, *init, "--", "sh", "-c", "echo up; read x; sleep 1", stdin=-1
        )
        pid = only_child(process.pid, init[0])
        only_child(pid)
        os.kill(pid, number)
        process.popen.stdin.close()
        process.popen.stdin = None
        return process.wait()

    return scenario


def orphans(start, init):
    """A scenario: does PID 1 reap what is not its own child."""
    process = start(
        *namespace(), *init, "--", "sh", "-c", "(sleep 0.1 &); read x", stdin=-1
    )
    pid = only_child(process.pid, init[0])
    command = until(lambda: children(pid), "a command")[0]
    until(lambda: len(children(pid)) == 2, "an orphan")
    until(lambda: children(pid) == [command], "the orphan is reaped")
    return True


SETSID = {"DUMB_INIT_SETSID": "0"}
SAME = {
    "exit 0": status("true"),
    "exit 7": status("--", "sh", "-c", "exit 7"),
    "exit 255": status("sh", "-c", "exit 255"),
    "killed by TERM": fatal(15),
    "killed by KILL": fatal(9),
    "killed by 64": fatal(64),
    "the command's own words": status(
        "--", "sh", "-c", 'echo "$@"', "--", "-v", "-r", "1:2"
    ),
    "the command's own words without --": status(
        "sh", "-c", 'echo "$@"', "--", "-v", "--"
    ),
    "environment": status(
        "env", "-u", "PYINIT_TEST_RUN", "sh", "-c", "echo $FOO", env={"FOO": "bar"}
    ),
    "grouped options": status("-cv", "echo", "hi"),
    "joined values": status("-r15:3", "--rewrite=1:2", "echo", "hi"),
    "all plain signals": signals(1, 2, 3, 12, 13, 14, 15, 18, 23, 28, 30),
    "all plain signals, -c": signals(
        1, 2, 3, 12, 13, 14, 15, 18, 23, 28, 30, options=["-c"]
    ),
    "real-time signals": signals(34, 50, 64),
    "rewrite": signals(15, 1, options=["-r", "15:3", "--rewrite", "1:12"]),
    "rewrite to 0": signals(15, 1, options=["-r", "15:0"]),
    "the last rewrite wins": signals(15, options=["-r", "15:3", "-r", "15:12"]),
    "group": group(),
    "group, -c": group("-c"),
    "group, DUMB_INIT_SETSID=0": group(env=SETSID),
    "TSTP": stops(20),
    "TTIN": stops(21),
    "TTOU": stops(22),
    "TSTP, -c": stops(20, "-c"),
    "farewell": farewell(),
    "farewell, rewritten": farewell("-r", "15:12"),
    "farewell, dropped": farewell("-r", "15:0"),
    "farewell, -c": farewell("-c"),
    "orphans": orphans,
}

# What dumb-init does, what pyinit does, and the design's word for it.
DIFFERENT = {
    "not found": (status("no-such-command"), 2, 127, "Exit status"),
    "not runnable": (status("/etc/passwd"), 2, 126, "Exit status"),
    "no command": (status(), 1, 2, "Exit status: a bad command line"),
    "unknown option": (status("--nonsense", "true"), 1, 2, "Exit status"),
    "bad rewrite": (status("-r", "x", "true"), 1, 2, "Exit status"),
    "names": (status("-r", "TERM:QUIT", "echo", "hi"), 1, 0, "Command line: names"),
    "TERM before setsid": (early(15), 0, 143, "Signals 5: dumb-init loses it"),
    "INT before setsid": (early(2), 0, 130, "Signals 5: dumb-init loses it"),
    "-e and --grace": (status("-e", "7", "sh", "-c", "exit 7"), 1, 0, "Command line"),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same(start, name):
    dumb_init = [tool("dumb-init")]
    assert SAME[name](start, PYINIT) == SAME[name](start, dumb_init)


@pytest.mark.parametrize("name", DIFFERENT)
def test_different_as_the_design_says(start, name):
    scenario, theirs, ours, _ = DIFFERENT[name]
    dumb_init = [tool("dumb-init")]
    results = scenario(start, dumb_init), scenario(start, PYINIT)
    results = [r[0] if isinstance(r, tuple) else r for r in results]
    assert results == [theirs, ours]
