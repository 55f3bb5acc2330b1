"""Signals: every one is passed on, rewritten, or dropped, and none is lost."""

import os
import signal
import time
from pathlib import Path

import pytest
from support import (
    HOST,
    PASSED_ON,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    REPORTER,
    RTMIN,
    STOPS,
    all_blocked,
    ask,
    calls_before_pyinit,
    children,
    field,
    hold,
    namespace,
    only_child,
    state,
    strace,
    traced,
    until,
    until_state,
)

OTHERS = [number for number in PASSED_ON if number not in STOPS]
RTMAX = signal.SIGRTMAX


def reporter(pyinit, *options):
    process = pyinit(*options, "--", *REPORTER)
    process.command = int(process.line().split()[1])
    return process


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_every_signal_is_passed_on(pyinit, mode):
    process = reporter(pyinit, *mode)
    for number in OTHERS:
        process.send(number)
        process.expect(number)


@pytest.mark.parametrize("number", STOPS)
def test_stop_signals_reach_a_single_child_as_they_are(pyinit, number):
    process = reporter(pyinit, "-c")
    process.send(number)
    process.expect(int(number))
    until_state(process.pid, "T")
    process.send(signal.SIGCONT)
    process.expect(int(signal.SIGCONT))


@pytest.mark.parametrize("number", STOPS)
def test_stop_signals_stop_both_and_cont_wakes_both(pyinit, number):
    process = reporter(pyinit)
    process.send(number)
    until_state(process.command, "T")
    until_state(process.pid, "T")
    process.send(signal.SIGCONT)
    process.expect(int(signal.SIGCONT))
    until_state(process.pid, "S")
    until_state(process.command, "S")


def test_a_signal_while_stopped_arrives_after_cont(pyinit):
    process = reporter(pyinit)
    process.send(signal.SIGTSTP)
    until_state(process.pid, "T")
    process.send(signal.SIGUSR1)
    process.send(signal.SIGCONT)
    assert sorted([process.line(), process.line()]) == ["10", "18"]


@pytest.mark.parametrize("spelling", ["20:0", "TSTP:0", "TTIN:0", "TTOU:0"])
def test_a_dropped_stop_signal_stops_nobody(pyinit, spelling):
    process = reporter(pyinit, "-r", spelling)
    source = {"20": 20, "TSTP": 20, "TTIN": 21, "TTOU": 22}[spelling.split(":")[0]]
    process.send(source)
    process.send(signal.SIGUSR1)
    process.expect(int(signal.SIGUSR1))


@pytest.mark.parametrize(
    ("number", "rule", "received"),
    [
        (signal.SIGTTIN, "TTIN:TERM", 15),
        (signal.SIGTTOU, "TTOU:INT", 2),
        (signal.SIGTSTP, "TSTP:HUP", 1),
        (signal.SIGTSTP, "TSTP:USR2", 12),
    ],
)
@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_a_stop_signal_rewritten_to_another_stops_pyinit(
    pyinit, mode, number, rule, received
):
    # As dumb-init's own tests have it: the command gets the other, pyinit is stopped.
    process = reporter(pyinit, *mode, "-r", rule)
    for _ in range(2):
        process.send(number)
        process.expect(received)
        until_state(process.pid, "T")
        process.send(signal.SIGCONT)
        process.expect(int(signal.SIGCONT))
        until_state(process.pid, "S")


@pytest.mark.parametrize(
    ("rules", "sent", "received"),
    [
        (["15:3"], 15, 3),
        (["TERM:QUIT"], 15, 3),
        (["SIGTERM:SIGQUIT"], 15, 3),
        (["sigterm:Quit"], 15, 3),
        (["1:TERM"], 1, 15),
        (["HUP:15"], 1, 15),
        (["TSTP:TERM"], 20, 15),
        (["WINCH:RTMIN"], 28, RTMIN),
        (["USR1:RTMIN+3"], 10, RTMIN + 3),
        (["USR1:SIGRTMAX-1"], 10, RTMAX - 1),
        (["rtmax:usr2"], RTMAX, 12),
        (["RTMIN+1:9"], RTMIN + 1, None),
        (["POLL:IOT"], 29, 6),
        (["STKFLT:CHLD"], 16, 17),
        (["64:1"], 64, 1),
        (["TERM:USR1", "TERM:USR2"], 15, 12),
        (["TERM:0", "TERM:USR2"], 15, 12),
    ],
)
def test_rewrite(pyinit, rules, sent, received):
    options = [word for rule in rules for word in ("--rewrite", rule)]
    process = reporter(pyinit, *options)
    process.send(sent)
    if received is None:
        assert process.wait() == 128 + signal.SIGKILL
    else:
        process.expect(int(received))


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_every_signal_can_be_rewritten_and_dropped(pyinit, mode):
    rules = [f"-r{n}:{n % 30 + 1 if n % 30 + 1 not in (9, 19) else 1}" for n in OTHERS]
    process = reporter(pyinit, *mode, *rules)
    for rule in rules:
        source, target = rule[2:].split(":")
        process.send(int(source))
        process.expect(target)
    others = [number for number in OTHERS if number != 64]
    process = reporter(pyinit, *mode, *[f"-r{n}:0" for n in others], "-r64:10")
    for number in others:
        process.send(number)
        process.send(64)
        process.expect(10)  # the marker comes next, so the dropped one was dropped


def test_the_last_drop_wins(pyinit):
    process = reporter(pyinit, "-r", "TERM:USR2", "-r", "15:0")
    process.send(signal.SIGTERM)
    process.send(signal.SIGUSR1)
    process.expect(10)


def test_signals_from_the_command_itself_are_passed_on(pyinit):
    program = (
        'trap "echo got; exit 5" USR1; kill -USR1 $PPID; while :; do sleep 1; done'
    )
    process = pyinit("sh", "-c", program)
    process.expect("got")
    assert process.wait() == 5


def test_sigchld_is_not_passed_on(pyinit):
    process = reporter(pyinit)
    process.send(signal.SIGCHLD)
    process.send(signal.SIGUSR1)
    process.expect(10)


def blocks(pid, number):
    """Tell whether a process blocks a signal."""
    mask = int(field(Path(f"/proc/{pid}/status").read_text(), "SigBlk"), 16)
    return mask >> (number - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_between_fork_and_exec(start, number, mode):
    # The child is held at the door of setsid; with -c, of its second execve, for the
    # second directory of PATH: the signal comes then or shortly before.
    call = "execve" if mode else "setsid"
    rule = f"inject={call}:delay_enter=1000000:when={1 if call == 'setsid' else 2}"
    trace = strace("-e", f"trace={call}", "-e", rule)
    env = {**os.environ, "PATH": f"/no/such/directory:{os.environ['PATH']}"}
    process = start(*trace, *PYINIT, *mode, "sh", "-c", "sleep 60", env=env)
    init = traced(process)
    child = only_child(init)
    if mode:
        until(lambda: not blocks(child, number), "the child has the command's mask")
    os.kill(init, number)
    assert process.wait() == 128 + number
    assert not state(child)
    assert process.stderr == ""


def test_between_fork_and_setsid_no_handler_of_a_host_runs(start):
    trace = strace("-e", "trace=setsid", "-e", "inject=setsid:delay_enter=1000000")
    program = (
        f"import os, signal, sys; sys.path.insert(0, {str(PYINIT_FILE.parent)!r})\n"
        "import pyinit\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'handled'))\n"
        "os._exit(pyinit.main(['sleep', '60']))\n"
    )
    process = start(*trace, *HOST, "-c", program)
    init = traced(process)
    only_child(init)
    os.kill(init, signal.SIGUSR1)
    assert process.wait() == 128 + signal.SIGUSR1
    assert process.stdout == ""


def test_between_fork_and_exec_an_ignored_signal_stays_ignored(start):
    trace = strace("-e", "trace=setsid", "-e", "inject=setsid:delay_enter=1000000")
    program = 'trap "" INT TERM; exec "$@"'
    process = start(
        *trace, "sh", "-c", program, "sh", *PYINIT, "sh", "-c", "echo alive"
    )
    init = traced(process)
    only_child(init)
    os.kill(init, signal.SIGINT)
    os.kill(init, signal.SIGTERM)
    process.expect("alive")
    assert process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, RTMAX])
def test_before_the_command_line_is_read(start, number):
    # Held up once it has blocked them, pyinit has no options, no table, no child. What
    # comes then is passed on all the same, and by the table.
    first = calls_before_pyinit("rt_sigprocmask") + 1
    trace = strace("-e", "trace=rt_sigprocmask")
    trace += ["-e", f"inject=rt_sigprocmask:delay_exit=2000000:when={first}"]
    process = start(*trace, *PYINIT, "-r", f"{number:d}:HUP", "--", "sleep", "60")
    init = traced(process)
    until(lambda: all_blocked(init), "signals are blocked")
    assert not children(init)
    os.kill(init, number)
    assert process.wait() == 128 + signal.SIGHUP


def test_signals_are_blocked_before_anything_is_said(start, tmp_path):
    log = tmp_path / "log"
    trace = strace("-e", "trace=rt_sigprocmask,write")
    trace[trace.index("/dev/null")] = str(log)
    assert start(*trace, *PYINIT, "--nonsense").wait() == 2
    calls = [line.split()[1].partition("(")[0] for line in log.read_text().splitlines()]
    first = calls_before_pyinit("rt_sigprocmask")
    assert calls[first] == "rt_sigprocmask" and "write" in calls[first:]


def test_realtime_signals_queue(pyinit):
    process = reporter(pyinit)
    for _ in range(1000):
        process.send(RTMAX)
    process.send(RTMAX - 1)
    got = [int(process.line()) for _ in range(1001)]
    assert got.count(RTMAX) == 1000


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_a_callers_alarm_reaches_the_command(start, mode):
    # execve(2) keeps timers: the caller's alarm(2), as in "alarm 9; exec", comes to us.
    program = (
        "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.5);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = start(*PYTHON, "-c", program, *PYINIT, *mode, *REPORTER)
    process.line()
    process.expect(int(signal.SIGALRM))
    process.send(RTMAX)
    process.expect(RTMAX)


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
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
    assert process.stderr.count(": sent SIG") == (
        2 if mode else 3
    )  # in a session the farewell as well


def test_the_group_is_signalled_before_its_leader_is_reaped(start):
    # Whatever waits for the child is held up at its door: the group's member must
    # report the SIGTERM while the leader is still a zombie.
    trace = strace("-e", "trace=wait4", "-e", "inject=wait4:delay_enter=2000000:when=1")
    program = '"$@" & read line; exit 7'
    process = start(
        *trace, *PYINIT, "sh", "-c", program, "sh", *REPORTER, "0", stdin=-1
    )
    process.line()
    init = traced(process)
    child = only_child(init)
    process.popen.stdin.write(b"go\n")
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect(15)
    assert state(child) == "Z"
    assert process.wait() == 7


@pytest.mark.parametrize(("rule", "received"), [("TERM:USR1", 10), ("TERM:0", None)])
def test_the_farewell_goes_through_the_rewrite_table(pyinit, rule, received):
    program = '"$@" & read line'
    process = pyinit("-r", rule, "sh", "-c", program, "sh", *REPORTER, stdin=-1)
    member = int(process.line().split()[1])
    process.popen.stdin.close()
    process.popen.stdin = None
    assert process.status() == 1
    if received is None:
        os.kill(member, RTMAX)
    process.expect(received or RTMAX)
    os.kill(member, signal.SIGKILL)


def test_a_broken_stderr_sends_the_command_nothing(start):
    # A write to a pipe without a reader raises SIGPIPE, which must not be passed on.
    read, write = os.pipe()
    os.close(read)
    process = start(*PYINIT, "-v", *REPORTER, stderr=write)
    os.close(write)
    process.line()
    for _ in range(3):
        process.send(signal.SIGUSR1)
        process.expect(10)


def test_an_interrupt_during_the_first_import(start):
    # Python's own handler is in force until signals are blocked: no traceback of it.
    # It is the file of pyinit's interpreter, and musl opens by open(2).
    calls = "stat,newfstatat,open,openat"
    trace = strace("-P", ask("signal.__file__"), "-e", f"trace={calls}")
    trace += ["-e", f"inject={calls}:delay_enter=2000000:when=1"]
    process = start(*trace, *PYINIT, "sleep", "60")
    init = traced(process)

    def held():
        # strace stops it at every system call, but only at that one for long.
        return all(state(init) == "t" or time.sleep(0.001) for _ in range(2000))

    until(held, "it looks for the module signal")
    os.kill(init, signal.SIGINT)
    assert process.wait() == 130
    assert process.stderr == ""


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


# --- A program for another machine ----------------------------------------------------


# --- Stops and what resumes them ------------------------------------------------------


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
def test_sigcont_close_behind_sigtstp(start, mode):
    # While pyinit passes the stop on, held up at the door of kill(2), SIGCONT comes:
    # SIGSTOP to itself would discard it, and both would stay stopped.
    process = start(*hold("kill", 0.5), *PYINIT, *mode, "--", *REPORTER)
    command = int(process.line().split()[1])
    init = int(field(Path(f"/proc/{command}/status").read_text(), "PPid"))
    tstp = 1 << (signal.SIGTSTP - 1)

    def taken():
        text = Path(f"/proc/{init}/status").read_text()
        return not int(field(text, "ShdPnd"), 16) & tstp

    os.kill(init, signal.SIGTSTP)
    until(taken, "pyinit has taken SIGTSTP")
    os.kill(init, signal.SIGCONT)
    got = process.line()
    if mode:  # the command gets the stop as it was sent
        assert got == str(int(signal.SIGTSTP))
        got = process.line()
    assert got == str(int(signal.SIGCONT))
    os.kill(init, signal.SIGRTMAX)
    process.expect(int(signal.SIGRTMAX))


def test_what_is_said(pid1):
    process = pid1("-v", "-r", "USR1:0", "-r", "64:RTMIN+1", "--", *REPORTER, "5")
    process.line()
    os.kill(process.init, signal.SIGUSR1)
    os.kill(process.init, signal.SIGRTMAX)
    process.expect(int(signal.SIGRTMIN + 1))
    os.kill(process.init, signal.SIGTERM)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, 64])
def test_signals_reach_the_command_of_pid_1(pid1, number):
    process = pid1("--", *REPORTER)
    process.line()
    os.kill(process.init, number)
    process.expect(int(number))


def test_pid_1_is_not_dead_before_it_is_ready(start):
    # The same held-up start as in test_signals, where the kernel would drop what PID 1
    # has no handler for.
    first = calls_before_pyinit("rt_sigprocmask") + 1
    trace = hold("rt_sigprocmask", 2, "delay_exit", when=first)
    process = start(*namespace(), *trace, *PYINIT, "-r", "TERM:HUP", "sleep", "60")
    init = only_child(process.pid, PYINIT[0])
    until(lambda: all_blocked(init), "signals are blocked")
    os.kill(init, signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGHUP
