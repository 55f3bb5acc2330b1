"""Faults: what happens to pyinit when the system refuses it something.

tools/faults.py has the machinery, what Linux can answer, and what must hold, and it tries
everything. Here the realistic handful is tried; with PYINIT_FULL=1 each call that is made.
"""

import errno
import os
import re
import resource
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
    monotonic,
    namespace,
    only_child,
    reason,
    strace,
)

# What does happen: security profiles, limits, a full disk, a reader that has gone.
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
    """Return those of the cases that are to be tried; in full, one for each call."""
    chosen = {}
    for case in cases:
        process, call, number, error = case.fault
        errors = faults.ERRORS[call]
        if FULL and error == errors[number % len(errors)]:
            chosen[process, call, number] = case
        elif not FULL and (process, call, error) in HANDFUL:
            # The last of each, and each of kill.
            chosen[process, call, error, call == "kill" and number] = case
    return [*chosen.values()]


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


@pytest.mark.parametrize("name", MODES if FULL else MODES_OF_HANDFUL)
def test_a_system_call_fails(name):
    found, unknown = faults.cases(MODES[name])
    # A call that is new needs a line in faults.py: what can Linux answer to it?
    assert not unknown
    assert found
    check(faults.attempt_all(some(found)))


# --- Refused for good ---------------------------------------------------------------

# The shell of a job resumes it at once, whether pyinit has sent it the stop or not.
NO_JOB = [name for name in WITH_COMMAND if MODES[name].layout != "job"]


@pytest.mark.parametrize("name", NO_JOB if FULL else NO_JOB[3:6])
def test_kill_is_refused(name):
    # For every target, so no signal arrives but those that the terminal itself sends.
    fault = faults.Fault("pyinit", "kill", faults.FOR_GOOD, "EPERM")
    outcome = Run(MODES[name], fault).go()
    assert outcome == "one signal not passed on"


# What pyinit cannot do without, and says so: in JOB setpgid is what setsid is elsewhere.
# Refused later, the last two would keep it from the command's end, so they are tried before.
BEFORE = ["setsid", "setpgid", "clone,clone3,fork,vfork", "waitid", "rt_sigtimedwait"]


def refuse(call, follow=False):
    """Return the words that run the next ones where strace has a call refused."""
    return strace(
        "-e", f"trace={call}", "-e", f"inject={call}:error=EPERM", follow=follow
    )


@pytest.mark.parametrize("call", BEFORE)
def test_refused_before_the_command_runs(start, terminal, tmp_path, call):
    log = tmp_path / "err"
    shell = ["sh", "-c", 'exec 2>"$0"; exec "$@"', log]
    trace = refuse(call, follow=call.startswith("set"))
    words = [*trace, *shell, *PYINIT, "sh", "-c", "echo ran"]
    process = terminal(*words).process if call == "setpgid" else start(*words)
    assert process.status() == 125
    said = log.read_text()
    assert said.startswith("[pyinit] cannot start: ") and said.count("\n") == 1
    assert said.endswith(f"{reason(errno.EPERM)}\n")
    if call.startswith("set"):  # which call of the child's it was
        assert call in said


def test_refused_while_it_runs(start):
    # Once a signal is not sent, and once there is none to take.
    rules = ["-e", "trace=kill,rt_sigtimedwait", "-e", "inject=kill:error=EPERM:when=1"]
    rules += ["-e", "inject=rt_sigtimedwait:error=EPERM:when=2"]
    process = start(*strace(*rules, follow=False), *PYINIT, "-v", *REPORTER, "7")
    process.ready()
    process.until_stderr("going on after PermissionError")
    init = only_child(process.pid)
    process.send(signal.SIGUSR1, init)
    process.until_stderr("SIGUSR1: not sent SIGUSR1 to group")
    process.until_stderr(f": {reason(errno.EPERM)}\n")
    for number in (signal.SIGUSR2, signal.SIGTERM):
        process.send(number, init)
        process.expect(int(number))
    assert process.wait() == 7


def test_the_timer_is_refused(start):
    """Without it the grace would never be over: so there is none."""
    leave = "trap '' TERM; sleep 1000 & echo up; read line; exit 7"
    words = [*refuse("setitimer"), *PYINIT, "-v", "--grace", "60", "sh", "-c", leave]
    around = ["sh", "-c", '"$@"; echo ended $?', "sh"]
    process = start(*namespace(), "--", *around, *words, stdin=-1)
    process.expect("up")
    before = process.let_go()
    process.expect("ended 7")
    assert monotonic() - before < 10
    assert process.stderr.endswith("exited with 7\n")


# --- Nothing left -------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_NOFILE"])
@pytest.mark.parametrize("name", WITH_COMMAND if FULL else ["terminal, PID 1"])
def test_nothing_is_left_once_the_command_runs(name, limit):
    # With these, brk(2) and mmap(2) fail for good, and every call that opens a file.
    assert hasattr(resource, limit)
    assert Run(MODES[name], limit=limit).go() == "works"


NO_MEMORY = [("default", "before"), ("default", "child")]
NO_MEMORY += [("terminal, PID 1", "pyinit"), ("--grace", "pyinit")]


@pytest.mark.parametrize(("name", "who"), NO_MEMORY if FULL else NO_MEMORY[:3])
def test_python_has_no_memory(name, who):
    """Whichever call that pyinit makes raises MemoryError, once, the rule is the same.

    It is not what happens: once pyinit waits, what it does fits into what it has (the test
    above). That it could happen is enough: with RLIMIT_DATA, or without overcommitment.
    """
    step, some, n = (3, 32, 1) if FULL else (17, 4, 1)
    outcomes, over = [], False
    while not over and n < 10_000:
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


@pytest.mark.parametrize("name", [None, "", "x", "9" * 30], ids=repr)
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
    said = process.stderr
    assert said.startswith("[pyinit] cannot start: ValueError('no\\nsense'"), said
    assert said.count("\n") == 1
