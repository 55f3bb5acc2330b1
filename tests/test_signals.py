"""Signals: every one is passed on, rewritten, or dropped, and none is lost."""

import os
import signal
import time

import pytest
from support import (
    BOTH_MODES,
    DUMB_INIT_TOO,
    HOST,
    PASSED_ON,
    PYINIT,
    PYTHON,
    REPORTER,
    RTMIN,
    STOPS,
    all_blocked,
    ask,
    children,
    has_come,
    hold,
    mask,
    namespace,
    only_child,
    release,
    state,
    until,
    until_state,
)

OTHERS = [number for number in PASSED_ON if number not in STOPS]
RTMAX = signal.SIGRTMAX


@DUMB_INIT_TOO
@BOTH_MODES
def test_every_signal_is_passed_on(reporter, mode):
    process = reporter(*mode)
    for number in OTHERS:
        process.send(number)
        process.expect(number)


def test_signals_from_the_command_itself_are_passed_on(pyinit):
    program = (
        'trap "echo got; exit 5" USR1; kill -USR1 $PPID; while :; do sleep 1; done'
    )
    process = pyinit("sh", "-c", program)
    process.expect("got")
    assert process.wait() == 5


def test_a_callers_alarm_reaches_the_command(start):
    # execve(2) keeps timers: the caller's alarm(2), as in "alarm 9; exec", comes to us.
    program = (
        "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.3);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = start(*PYTHON, "-c", program, *PYINIT, *REPORTER)
    process.ready()
    process.expect(int(signal.SIGALRM))


# --- The rewrite table ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "sent", "received"),
    [
        (["15:3"], 15, 3),
        (["rtmax:usr2"], RTMAX, 12),
        (["RTMIN+1:9"], RTMIN + 1, None),
        (["STKFLT:CHLD"], 16, 17),
        (["TERM:USR1", "TERM:USR2"], 15, 12),
        (["TERM:USR2", "15:0", "WINCH:USR1"], 28, 10),
    ],
)
def test_rewrite(reporter, rules, sent, received):
    process = reporter(*[word for rule in rules for word in ("--rewrite", rule)])
    if "15:0" in rules:  # the last one, so it comes to nothing
        process.send(signal.SIGTERM)
    process.send(sent)
    if received is None:
        assert process.wait() == 128 + signal.SIGKILL
    else:
        process.expect(int(received))


@DUMB_INIT_TOO
@BOTH_MODES
def test_every_signal_can_be_rewritten_and_dropped(reporter, mode):
    numbers = [number for number in OTHERS if number < 32]
    rules = [f"-r{n}:{n % 30 + 1 if n % 30 + 1 not in (9, 19) else 1}" for n in numbers]
    process = reporter(*mode, *rules)
    for rule in rules:
        source, target = rule[2:].split(":")
        process.send(int(source))
        process.expect(target)
    process = reporter(*mode, *[f"-r{n}:0" for n in numbers])
    for number in numbers:
        process.send(number)
        process.send(RTMAX)
        process.expect(RTMAX)  # the marker comes next, so the dropped one was dropped


# --- Stops that are sent --------------------------------------------------------------


@DUMB_INIT_TOO
@BOTH_MODES
@pytest.mark.parametrize("number", STOPS)
@pytest.mark.parametrize("other", [None, signal.SIGTERM, signal.SIGUSR2])
def test_a_stop_signal_stops_pyinit_and_cont_wakes_both(reporter, mode, number, other):
    # Rewritten to another, too: the command gets that, as dumb-init's own tests have it.
    process = reporter(*mode, *([f"-r{number:d}:{other:d}"] if other else []))
    for _ in range(2):
        process.send(number)
        if mode or other:  # the reporter only reports it
            process.expect(int(other or number))
        else:
            until_state(process.command, "T")
        until_state(process.pid, "T")
        process.send(signal.SIGCONT)
        process.expect(int(signal.SIGCONT))
        until_state(process.pid, "S")
        until_state(process.command, "S")


@BOTH_MODES
def test_a_sigcont_is_passed_on_after_another(reporter, mode):
    # With -c one that a shell sends to the whole group is not: the kernel says, once, that
    # the command was resumed. That must not be what was said of the one before.
    process = reporter(*mode)
    process.send(signal.SIGSTOP, process.command)
    until_state(process.command, "T")
    for target in (process.pid if mode else process.command, process.pid):
        process.send(signal.SIGCONT, target)
        process.expect(int(signal.SIGCONT))


@pytest.mark.parametrize("number", STOPS)
def test_a_dropped_stop_signal_stops_nobody(reporter, number):
    process = reporter("-r", f"{number:d}:0")
    process.send(number)
    process.send(RTMAX)  # a higher number, so it is not taken before
    process.expect(RTMAX)


@BOTH_MODES
def test_sigcont_close_behind_sigtstp(start, mode):
    # While pyinit passes the stop on, held up at the door of kill(2), SIGCONT comes:
    # SIGSTOP to itself would discard it, and both would stay stopped.
    process = start(*hold("kill"), *PYINIT, *mode, "--", *REPORTER)
    process.ready()
    process.send(signal.SIGTSTP)
    until(
        lambda: signal.SIGTSTP not in mask(process.pid, "ShdPnd"), "pyinit has taken it"
    )
    process.send(signal.SIGCONT)
    release(process.pid)
    # (With -c the command gets the stop as it was sent, if the SIGCONT does not discard it.)
    if process.line() != str(int(signal.SIGCONT)):
        assert mode
        process.expect(int(signal.SIGCONT))
    process.send(RTMAX)
    process.expect(RTMAX)


# --- Before the command runs ----------------------------------------------------------


def looks_for(module):
    """Return the words that hold pyinit up when it looks for the file of a module."""
    # It is the file of pyinit's interpreter, and musl opens by open(2).
    path = ["-P", ask(f"__import__({module!r}).__file__")]
    return hold("stat,newfstatat,open,openat", when=1, follow=True, path=path)


def test_before_the_command_line_is_read(start):
    # Held up before it has argparse, pyinit has no options, no table, no child. What comes
    # then is passed on all the same, and by the table. As PID 1, the kernel would drop what
    # it has no handler for, so each import before is time in which signals are lost.
    words = [*PYINIT, "-r", "TERM:HUP", "--", "sleep", "60"]
    process = start(*namespace(), *looks_for("argparse"), *words)
    init = only_child(process.pid, PYINIT[0])
    until(lambda: all_blocked(init), "signals are blocked")
    assert len(children(init)) == 1  # which is strace
    os.kill(init, signal.SIGTERM)
    release(init)
    assert process.wait() == 128 + signal.SIGHUP


@BOTH_MODES
def test_before_the_fork_once_and_by_the_table(start, mode):
    # Held up at its look for zombies. With -c what the terminal's keys send is sent again.
    words = [*PYINIT, "-v", *mode, "-r", "INT:USR1", "sleep", "60"]
    process = start(*hold("waitid", when=1), *words)
    until(lambda: all_blocked(process.pid), "signals are blocked")
    process.send(signal.SIGINT)
    release(process.pid)
    assert process.wait() == 128 + signal.SIGUSR1
    assert process.stderr.count("sent") - process.stderr.count("farewell") == 1


@BOTH_MODES
def test_between_fork_and_exec(start, mode):
    # The child is held at the door of setsid; with -c, of its second execve, for the
    # second directory of PATH: the signal comes then or shortly before. Python has a
    # handler for SIGINT, which must not run.
    number = signal.SIGINT
    call, when = ("execve", 2) if mode else ("setsid", "")
    env = {**os.environ, "PATH": f"/no/such/directory:{os.environ['PATH']}"}
    words = [*PYINIT, *mode, "sh", "-c", "sleep 60"]
    process = start(*hold(call, when=when, follow=True), *words, env=env)
    child = only_child(process.pid, PYINIT[0])
    if mode:
        until(lambda: number not in mask(child, "SigBlk"), "it has the command's mask")
    process.send(number)
    until(lambda: has_come(child, number), "the child has it")
    release(process.pid)
    assert process.wait() == 128 + number
    assert not state(child)
    assert process.stderr == ""


def test_between_fork_and_setsid_an_ignored_signal_stays_ignored(start):
    ignore = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh"]
    process = start(*hold("setsid", follow=True), *ignore, *PYINIT, "echo", "alive")
    child = only_child(process.pid, HOST[0])
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send(number)
        until(lambda number=number: has_come(child, number), "the child has it")
    release(process.pid)
    assert (process.wait(), process.stdout) == (0, "alive\n")


def test_an_interrupt_during_the_first_import(start):
    # Python's own handler is in force until signals are blocked: no traceback of it.
    process = start(*looks_for("signal"), *PYINIT, "sleep", "60")

    def held():
        # strace stops it at every system call, but only at that one for long.
        return all(
            state(process.pid) == "t" and not time.sleep(0.001) for _ in range(200)
        )

    until(held, "it looks for the module signal")
    process.send(signal.SIGINT)
    release(process.pid)
    assert process.wait() == 130
    assert process.stderr == ""


# --- After its end (before it is reaped: test_faults.py), and what pyinit says ----------


@pytest.mark.parametrize(
    ("options", "received"),
    [([], 15), (["-r", "15:10"], 10), (["-r", "15:0"], RTMAX), (["-c"], RTMAX)],
)
@DUMB_INIT_TOO
def test_the_farewell_goes_through_the_rewrite_table(pyinit, options, received):
    program = '"$@" & read line'
    process = pyinit(*options, "sh", "-c", program, "sh", *REPORTER, stdin=-1)
    member = process.ready()
    process.let_go()
    assert process.status() == 1
    os.kill(member, RTMAX)
    process.expect(int(received))


def test_a_line_that_cannot_be_written_is_no_signal_for_the_command(start, tmp_path):
    # A pipe without a reader answers a write with SIGPIPE, and a file at its limit with
    # SIGXFSZ, to pyinit: neither is passed on.
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@" 2>"$0"', tmp_path / "log"]
    read, write = os.pipe()
    os.close(read)
    for words, stderr in ([], write), (limited, None):
        process = start(*words, *PYINIT, "-v", *REPORTER, "7", stderr=stderr)
        process.ready()
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
            process.send(number)
            process.expect(int(number))
        assert process.wait() == 7
    os.close(write)
