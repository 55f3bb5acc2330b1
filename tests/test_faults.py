"""Faults: what happens to pyinit when the system refuses it something.

faults.py has the machinery, what Linux can answer, and what must hold. Without options the
realistic handful is tried; with PYINIT_FULL=1 everything, some minutes' worth.
PYINIT_FAULTS=N tries N cases of each mode instead, and PYINIT_FAULTS_WORKERS (4) at once.
"""

import errno
import os
import re
import resource
import shutil
import signal
from pathlib import Path

import faults
import pytest
from faults import MODES, Run
from support import (
    FULL,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    REPORTER,
    ROOT,
    as_user,
    children,
    command_line,
    namespace,
    need,
    only_child,
    reason,
    strace,
    tool,
    until_state,
)

SIZE = int(os.environ.get("PYINIT_FAULTS", "0"))
# What does happen: security profiles, limits, a full disk, a reader that has gone. Of kill
# each call is tried, of the others the last that is made.
HANDFUL = {
    ("child", "execve", "ENOMEM"),
    ("child", "setpgid", "EPERM"),
    ("child", "setsid", "EPERM"),
    ("child", "write", "ENOSPC"),
    ("pyinit", "chdir", "EACCES"),
    ("pyinit", "clone", "EAGAIN"),
    ("pyinit", "ioctl", "EIO"),
    ("pyinit", "kill", "EPERM"),
    ("pyinit", "openat", "EMFILE"),
    ("pyinit", "write", "EPIPE"),
}
MODES_OF_HANDFUL = ["default", "-c, not PID 1", "terminal, PID 1"]
WITH_COMMAND = [name for name in MODES if name != "not found"]


def some(cases):
    """Return those of the cases that are to be tried."""
    if SIZE:
        return cases[:: max(1, len(cases) // SIZE)]
    if FULL:
        return one_error_each(cases)
    chosen = {}
    for case in cases:
        process, call, number, error = case.fault
        if (process, call, error) in HANDFUL:
            # The last of each, and each of kill.
            chosen[process, call, error, call == "kill" and number] = case
    return [*chosen.values()]


def one_error_each(cases):
    """Return all cases, but where a call is made a dozen times and more one error each.

    Most of these are of Python's imports, and to those all errors are alike. Each number
    gets one, in turn, and so each error comes. (tools/faults.py tries all of them.)
    """
    made = {}
    for case in cases:
        numbers = made.setdefault(case.fault[:2], [])
        numbers += {case.fault.number}.difference(numbers)

    def is_its_turn(fault):
        numbers, errors = made[fault[:2]], faults.ERRORS[fault.call]
        turn = numbers.index(fault.number) - errors.index(fault.error)
        return len(numbers) < 12 or turn % len(errors) == 0

    return [case for case in cases if is_its_turn(case.fault)]


def check(outcomes):
    """Fail with what was wrong; and where hardly anything was tried."""
    outcomes = [*outcomes]
    # Without memory at the very moment in which a Ctrl-Z is answered, the command stays
    # stopped until the next SIGCONT: known, and not worth a line of pyinit's.
    known = "injected: ['stop_us, line"
    wrong = [text for _, _, text in outcomes if text and known not in text]
    assert not wrong, f"{len(wrong)} of {len(outcomes)}:\n\n" + "\n\n".join(wrong[:20])
    missed = [case for case, outcome, _ in outcomes if outcome == "not reached"]
    assert len(missed) <= len(outcomes) / 10, missed


@pytest.mark.parametrize("name", MODES if FULL or SIZE else MODES_OF_HANDFUL)
def test_a_system_call_fails(name):
    found, unknown = faults.cases(MODES[name])
    # A call that is new needs a line in faults.py: what can Linux answer to it?
    assert not unknown
    assert found
    check(faults.attempt_all(some(found)))


# --- Refused for good ---------------------------------------------------------------

# The shell of a job resumes it at once, whether pyinit has sent it the stop or not.
NO_JOB = [name for name in WITH_COMMAND if MODES[name].layout != "job"]


@pytest.mark.parametrize("error", ["EPERM", "EACCES"])
@pytest.mark.parametrize("name", NO_JOB if FULL else NO_JOB[3:6])
def test_kill_is_refused(name, error):
    # For every target, so no signal arrives but those that the terminal itself sends.
    fault = faults.Fault("pyinit", "kill", faults.FOR_GOOD, error)
    outcome = Run(MODES[name], fault).go()
    assert outcome == "one signal not passed on"


def test_a_stop_refused_to_oneself_leaves_the_command_stopped(start):
    # Whoever has sent it can still send SIGCONT: pyinit runs, and passes it on.
    rules = ["-e", "trace=kill", "-e", "inject=kill:error=EPERM:when=2"]
    trace = strace(*rules, follow=False)
    process = start(*namespace(), "--", *trace, *PYINIT, *REPORTER, "7")
    process.ready()
    init = only_child(only_child(process.pid))
    os.kill(init, signal.SIGTSTP)
    until_state(only_child(init), "T")
    until_state(init, "S")
    for numbers in ([signal.SIGUSR1, signal.SIGCONT], [signal.SIGTERM]):
        for number in numbers:
            os.kill(init, number)
        process.expect(*map(int, numbers))  # and no SIGCONT before SIGUSR1
    assert process.wait() == 7


# What pyinit cannot do without, and says so: in JOB setpgid is what setsid is elsewhere.
# Refused later, the last two would keep it from the command's end, so they are tried before.
BEFORE = ["setsid", "setpgid", "clone,clone3,fork,vfork", "waitid", "rt_sigtimedwait"]


def refuse(call, error, *more, follow=True, log="/dev/null", when=""):
    """Return the words that run the next ones where strace has a call refused."""
    inject = f"inject={call}:error={error}" + (f":when={when}" if when else "")
    rules = ["-e", f"trace={call}", "-e", inject]
    return strace(*more, *rules, follow=follow, log=log)


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS", "EACCES"] if FULL else ["EPERM"])
@pytest.mark.parametrize("call", BEFORE)
def test_refused_before_the_command_runs(start, terminal, tmp_path, call, error):
    log = tmp_path / "err"
    shell = ["sh", "-c", 'exec 2>"$0"; exec "$@"', log]
    trace = refuse(call, error, follow=call.startswith("set"))
    words = [*trace, *shell, *PYINIT, "sh", "-c", "echo ran"]
    process = terminal(*words).process if call == "setpgid" else start(*words)
    assert process.status() == 125
    said = log.read_text()
    why = f"{reason(getattr(errno, error))}\n"
    assert said.startswith("[pyinit] cannot start: ") and said.endswith(why)
    assert said.count("\n") == 1
    assert call in said or not call.startswith(
        "set"
    )  # which call of the child's it was


def refused_while_it_runs(start, log, call, error, *words, when=""):
    """Start pyinit as PID 1 where a call is refused; return the process, with .init."""
    # -DDD: strace is no child of pyinit, which is PID 1 itself.
    trace = refuse(call, error, "-DDD", follow=False, log=log, when=when)
    process = start(*namespace(), "--", *trace, *PYINIT, *words, stdin=-1)
    process.line()
    found = {pid: command_line(pid) for pid in children(process.pid)}
    [process.init] = [pid for pid in found if str(PYINIT_FILE) in found[pid]]
    return process


STUBBORN = "(trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 & ); "


def test_refused_once_it_is_as_if_it_were_not(start, tmp_path):
    words = [*REPORTER, "7"]
    call = "rt_sigtimedwait"
    process = refused_while_it_runs(
        start, tmp_path / "log", call, "EPERM", *words, when="2"
    )
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM):
        process.send(number, process.init)
        process.expect(int(number))
    assert process.wait() == 7


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"] if FULL else ["EPERM"])
def test_the_timer_is_refused(start, tmp_path, error):
    """Without it the grace would never be over: so there is none."""
    words = ["-v", "--grace", "60", "sh", "-c", STUBBORN + "echo up; read x; exit 7"]
    process = refused_while_it_runs(start, tmp_path / "log", "setitimer", error, *words)
    process.let_go()
    assert process.wait() == 7
    assert process.stderr.endswith("exited with 7\n")


# --- Nothing left -------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_NOFILE"])
@pytest.mark.parametrize("name", WITH_COMMAND if FULL else ["terminal, PID 1"])
def test_nothing_is_left_once_the_command_runs(name, limit):
    # With these, brk(2) and mmap(2) fail for good, and every call that opens a file.
    assert hasattr(resource, limit)
    assert Run(MODES[name], limit=limit).go() == "works"


NO_MEMORY = [("default", who) for who in ("before", "pyinit", "child")]
NO_MEMORY += [("terminal, PID 1", who) for who in ("pyinit", "child")]
NO_MEMORY += [("--grace", "pyinit"), ("-v", "pyinit")]


@pytest.mark.parametrize(("name", "who"), NO_MEMORY if FULL else NO_MEMORY[:3])
def test_python_has_no_memory(name, who):
    """Whichever call that pyinit makes raises MemoryError, once, the rule is the same.

    It is not what happens: once pyinit waits, what it does fits into what it has (the test
    above). That it could happen is enough: with RLIMIT_DATA, or without overcommitment.
    """
    step, some, n = (1, 32, 1) if FULL else (17, 4, 1)
    outcomes, over = [], False
    while not over:
        numbers = range(n, n + some * step, step)
        cases = [faults.Case(MODES[name], None, (n, who)) for n in numbers]
        done = faults.attempt_all(cases)
        outcomes += [one for one in done if one[1] != "not reached"]
        over = len(outcomes) == 0 or done[-1][1] == "not reached"
        n += some * step
    assert outcomes
    check(outcomes)


def test_the_farewell_comes_once_and_before_the_command_is_reaped(start, tmp_path):
    # Once it is reaped, its pid and its group's number can be others'. Without memory in
    # any call that bid_farewell() makes, too: main() calls it again then.
    mark, log = tmp_path / "mark", tmp_path / "log"
    nomemory = str(ROOT / "tests/programs/nomemory.py")
    trace = strace("-e", "trace=kill,waitid", "-e", "signal=none", log=log)
    for n in range(1, 100):
        mark.write_text("")
        words = [*PYTHON, nomemory, str(n), "bid_farewell", mark, PYINIT_FILE]
        words += ["sh", "-c", "exit 7"]
        process = start(*namespace(), "--", *trace, *words)
        assert process.wait() == 7
        calls = re.findall(
            r"(kill|waitid)\((?:P_PID, )?(-?\d+), (\w+)", log.read_text()
        )
        farewell = [call for call in calls if call[0] == "kill"]
        assert len(farewell) == 1, (mark.read_text(), calls)
        group = farewell[0][1]
        assert group[0] == "-" and farewell[0][2] == "SIGTERM"
        before = calls[: calls.index(farewell[0])]
        assert ("waitid", group[1:]) not in [call[:2] for call in before], (
            mark.read_text()
        )
        if not mark.read_text():
            break
    assert 2 < n < 99


# --- A /proc that is no procfs ------------------------------------------------------


NAMES = ["x", "-5", "9" * 30, "3x", "-1", "+4", " 4", "1_0", "٣", "²", b"\xff"]
NAMES += [str(2**power) for power in (20, 31, 32, 63, 64)]


@pytest.mark.parametrize("name", [None, "", *(NAMES if FULL else NAMES[:3])], ids=repr)
def test_a_proc_that_is_no_procfs(start, tmp_path, name):
    # A tree that was copied into a chroot, say. None: a file is in the directory's place.
    directory = tmp_path / "proc/self/fd"
    directory.mkdir(parents=True)
    if name is None:
        directory.rmdir()
        directory.write_text("no directory")
    for each in ("0", "1", "2", "7", "70000", name) if name else ():
        Path(os.fsdecode(directory), os.fsdecode(each)).touch()
    (tmp_path / "proc/self/environ").write_text("not the environment")
    program = 'mount --bind "$0"/proc /proc && exec "$@"'
    words = ["sh", "-c", program, tmp_path, *PYINIT, *REPORTER, "7"]
    process = start(*namespace(), "--", *words)
    process.ready()
    for number in (signal.SIGUSR1, signal.SIGTERM):
        process.send(number, only_child(process.pid))
        process.expect(int(number))
    assert process.wait() == 7
    assert process.stderr == ""


def test_a_module_that_cannot_be_imported_is_said(start, tmp_path):
    # Before the options are known, in one line, and without a traceback.
    (tmp_path / "argparse.py").write_text("raise ValueError('no\\nsense')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    program += PYINIT_FILE.read_text()
    process = start(PYINIT[0], "-IS", "-c", program, "echo", "started")
    assert process.wait() == 125
    assert process.stdout == ""
    assert process.stderr == "[pyinit] cannot start: ValueError('no\\nsense')\n"


def test_a_command_that_becomes_somebody_else(start, public):
    # An ordinary user's pyinit may not signal it any more, and lives on.
    setpriv = public / "setpriv"
    shutil.copy(tool("setpriv"), setpriv)
    setpriv.chmod(0o4755)
    become_root = [str(setpriv), "--reuid=0"]
    need(*as_user(64009, [*become_root, "true"]))
    words = as_user(64009, [*PYINIT, "-vc", *become_root, "sh", "-c"])
    process = start(*words, "echo up; read line; exit 6", stdin=-1)
    process.expect("up")
    child = only_child(process.pid)
    process.send(signal.SIGTERM)
    process.until_stderr(f"SIGTERM: not sent SIGTERM to {child}: {reason(errno.EPERM)}")
    process.write()
    assert process.wait() == 6
