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
    calls_before_pyinit,
    children,
    has_come,
    hold,
    hosted,
    mask,
    namespace,
    only_child,
    release,
    state,
    strace,
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


@BOTH_MODES
def test_a_callers_alarm_reaches_the_command(start, mode):
    # execve(2) keeps timers: the caller's alarm(2), as in "alarm 9; exec", comes to us.
    program = (
        "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.3);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = start(*PYTHON, "-c", program, *PYINIT, *mode, *REPORTER)
    process.ready()
    process.expect(int(signal.SIGALRM))
    process.send(RTMAX)
    process.expect(RTMAX)


# --- The rewrite table ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "sent", "received"),
    [
        (["15:3"], 15, 3),
        (["TERM:QUIT"], 15, 3),
        (["SIGTERM:SIGQUIT"], 15, 3),
        (["sigterm:Quit"], 15, 3),
        (["1:TERM"], 1, 15),
        (["WINCH:RTMIN"], 28, RTMIN),
        (["USR1:RTMIN+3"], 10, RTMIN + 3),
        (["USR1:SIGRTMAX-1"], 10, RTMAX - 1),
        (["rtmax:usr2"], RTMAX, 12),
        (["RTMIN+1:9"], RTMIN + 1, None),
        (["POLL:IOT"], 29, 6),
        (["STKFLT:CHLD"], 16, 17),
        (["TERM:USR1", "TERM:USR2"], 15, 12),
        (["TERM:0", "TERM:USR2"], 15, 12),
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
def test_a_stop_signal_stops_pyinit_and_cont_wakes_both(reporter, mode, number):
    process = reporter(*mode)
    process.send(number)
    if mode:  # as it was sent, and the reporter only reports it
        process.expect(int(number))
    else:
        until_state(process.command, "T")
    until_state(process.pid, "T")
    process.send(signal.SIGCONT)
    process.expect(int(signal.SIGCONT))
    until_state(process.pid, "S")
    until_state(process.command, "S")


def test_a_signal_while_stopped_arrives_after_cont(reporter):
    process = reporter()
    process.send(signal.SIGTSTP)
    until_state(process.pid, "T")
    process.send(signal.SIGUSR1)
    process.send(signal.SIGCONT)
    assert sorted([process.line(), process.line()]) == ["10", "18"]


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


@pytest.mark.parametrize(
    ("rule", "received"),
    [("TTIN:TERM", 15), ("TTOU:INT", 2), ("TSTP:HUP", 1), ("TSTP:USR2", 12)],
)
@BOTH_MODES
@DUMB_INIT_TOO
def test_a_stop_signal_rewritten_to_another_stops_pyinit(
    reporter, mode, rule, received
):
    # As dumb-init's own tests have it: the command gets the other, pyinit is stopped.
    number = signal.Signals["SIG" + rule.partition(":")[0]]
    process = reporter(*mode, "-r", f"{number:d}:{received}")
    for _ in range(2):
        process.send(number)
        process.expect(received)
        until_state(process.pid, "T")
        process.send(signal.SIGCONT)
        process.expect(int(signal.SIGCONT))
        until_state(process.pid, "S")


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


@BOTH_MODES
def test_a_stop_without_a_terminal_is_the_commands_own_affair(pyinit, mode):
    process = pyinit(*mode, "-v", "sh", "-c", "kill -STOP $$; exit 3")
    command = only_child(process.pid)
    until_state(command, "T")
    # Of a higher number than SIGCHLD, so that comes first.
    process.send(signal.SIGURG)
    process.until_stderr("SIGURG: sent SIGURG")
    assert state(command) == "T"
    process.send(signal.SIGCONT)
    assert process.wait() == 3
    # In a session the farewell as well.
    assert process.stderr.count(": sent SIG") == (2 if mode else 3)


# --- Before the command runs ----------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, RTMAX])
def test_before_the_command_line_is_read(start, number):
    # Held up once it has blocked them, pyinit has no options, no table, no child. What
    # comes then is passed on all the same, and by the table. As PID 1, the kernel would
    # drop what it has no handler for.
    first = calls_before_pyinit("rt_sigprocmask") + 1
    trace = hold("rt_sigprocmask", rule="delay_exit", when=first)
    words = [*PYINIT, "-r", f"{number:d}:HUP", "--", "sleep", "60"]
    process = start(*namespace(), *trace, *words)
    init = only_child(process.pid, PYINIT[0])
    until(lambda: all_blocked(init), "signals are blocked")
    assert len(children(init)) == 1  # which is strace
    os.kill(init, number)
    release(init)
    assert process.wait() == 128 + signal.SIGHUP


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@BOTH_MODES
def test_between_fork_and_exec(start, number, mode):
    # The child is held at the door of setsid; with -c, of its second execve, for the
    # second directory of PATH: the signal comes then or shortly before.
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


HANDLER = "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'handled'))\n"
IGNORE = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh"]


@pytest.mark.parametrize(
    ("words", "numbers", "status", "said"),
    [
        (
            hosted(HANDLER + "os._exit(pyinit.main(['sleep', '60']))"),
            [signal.SIGUSR1],
            128 + signal.SIGUSR1,
            "",
        ),
        (
            [*IGNORE, *PYINIT, "echo", "alive"],
            [signal.SIGINT, signal.SIGTERM],
            0,
            "alive\n",
        ),
    ],
    ids=["no handler of a host runs", "an ignored signal stays ignored"],
)
def test_between_fork_and_setsid(start, words, numbers, status, said):
    process = start(*hold("setsid", follow=True), *words)
    child = only_child(process.pid, HOST[0])
    for number in numbers:
        process.send(number)
        until(lambda number=number: has_come(child, number), "the child has it")
    release(process.pid)
    assert process.wait() == status
    assert process.stdout == said


def test_an_interrupt_during_the_first_import(start):
    # Python's own handler is in force until signals are blocked: no traceback of it.
    # It is the file of pyinit's interpreter, and musl opens by open(2).
    path = ["-P", ask("signal.__file__")]
    trace = hold("stat,newfstatat,open,openat", when=1, follow=True, path=path)
    process = start(*trace, *PYINIT, "sleep", "60")

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


# --- After its end (before it is reaped: test_faults.py), and what pyinit says ------------------------------------------------


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


def test_what_is_said(pid1):
    process = pid1("-v", "-r", "USR1:0", "-r", "64:RTMIN+1", "--", *REPORTER, "5")
    process.ready()
    process.send(signal.SIGUSR1, process.init)
    process.send(signal.SIGRTMAX, process.init)
    process.expect(RTMIN + 1)
    process.send(signal.SIGTERM, process.init)
    assert process.wait() == 5
    child = process.stderr.split()[1]
    assert process.stderr.splitlines() == [
        f"[pyinit] {child} runs {PYTHON[0]}; orphans are ours",
        "[pyinit] SIGUSR1: dropped",
        f"[pyinit] SIGRTMAX: sent SIGRTMIN+1 to group {child}",
        f"[pyinit] SIGTERM: sent SIGTERM to group {child}",
        f"[pyinit] farewell: sent SIGTERM to group {child}",
        f"[pyinit] {child} exited with 5",
    ]


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


def test_signals_are_blocked_before_argparse_is_looked_for(start, tmp_path):
    # Each import before is time in which PID 1 loses signals.
    log = tmp_path / "log"
    trace = strace("-e", "trace=rt_sigprocmask,openat,newfstatat,stat", log=log)
    assert start(*trace, *PYINIT, "true").wait() == 0
    text = log.read_text()
    assert "argparse" in text
    blocked = [
        line
        for line in text.partition("argparse")[0].splitlines()
        if "SIG_BLOCK" in line
    ]
    # strace writes a set that is nearly full as what it lacks.
    assert any("SIG_BLOCK, ~[" in line for line in blocked), blocked
