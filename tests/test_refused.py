"""Calls that are refused for good, as by a security profile or a kernel that lacks them.

test_faults.py has each call fail once. Here one never works again: what is said is said
once, nothing turns in circles, and pyinit ends when its command has.
"""

import errno
import fcntl
import os
import re
import shlex
import signal
import subprocess
import termios

import pytest
from support import (
    HOST,
    PROGRAMS,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    as_user,
    children,
    monotonic,
    namespace,
    open_terminal,
    reason,
    strace,
    tool,
    until,
)


def refuse(call, error, *more, follow=True, when=""):
    """Return the words that run the next ones where a call is refused, for good."""
    inject = f"inject={call}:error={error}" + (f":when={when}" if when else "")
    return strace(*more, "-e", f"trace={call}", "-e", inject, follow=follow)


# --- Before the command runs: our own failure (bug 11) ----------------------------------

ERRORS = ["EPERM", "EACCES", "ENOSYS"]


def one_line(err, call, error):
    """Assert that stderr is one line that names the call, and why it failed."""
    assert err.startswith("[pyinit] ") and err.count("\n") == 1, err
    assert re.search(rf"\b{call}\b", err), err
    assert reason(getattr(errno, error)) in err, err


@pytest.mark.parametrize("error", ERRORS)
def test_setsid_is_refused(start, error):
    process = start(*refuse("setsid", error), *PYINIT, "sh", "-c", "echo ran")
    assert process.wait() == 125, (process.stdout, process.stderr)
    assert process.stdout == ""
    one_line(process.stderr, "setsid", error)


@pytest.fixture
def terminal():
    """A terminal, and how a process makes it its controlling one."""
    master, slave = open_terminal()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)

    def lead_session():
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    words = {"stdin": slave, "stdout": slave, "preexec_fn": lead_session}
    yield {**words, "start_new_session": False}
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", ["setpgid", "getpgid"])
def test_a_group_of_its_own_is_refused(start, terminal, call, error):
    # In mode JOB: stdin and stdout are our terminal. What is not called is not refused.
    trace = refuse(call, error)
    counting = strace("-e", f"trace={call}")
    counting[counting.index("/dev/null")] = "/dev/stderr"
    process = start(*counting, *PYINIT, "true", **terminal)
    process.wait()
    made = f"{call}(" in process.stderr
    process = start(*trace, *PYINIT, "sh", "-c", "exit 9", **terminal)
    status = process.wait()
    if call == "getpgid" and status == 9:
        return  # it is not needed, or done without
    assert made and status == 125, process.stderr
    one_line(process.stderr, call, error)


@pytest.mark.parametrize("error", ["EAGAIN", "ENOSYS", "EPERM"])
def test_fork_is_refused(start, error):
    trace = refuse("clone,clone3,fork,vfork", error, follow=False)
    process = start(*trace, *PYINIT, "true")
    assert process.wait() == 125
    assert process.stderr.startswith("[pyinit] ") and process.stderr.count("\n") == 1
    assert reason(getattr(errno, error)) in process.stderr


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_looking_for_the_dead_is_refused(start, error):
    # Without waitid(2) it could never say how its command has ended: so not at all.
    process = start(*refuse("waitid", error, follow=False), *PYINIT, "echo", "ran")
    assert process.wait() == 125
    assert process.stdout == ""
    assert process.stderr.startswith("[pyinit] ") and process.stderr.count("\n") == 1
    assert reason(getattr(errno, error)) in process.stderr


# --- While it runs (bugs 12, 13) --------------------------------------------------------


def cpu(pid):
    """Return how many seconds of CPU a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def calls(pid):
    """Return how often a process has given up the CPU, of itself or not."""
    with open(f"/proc/{pid}/status") as file:
        numbers = re.findall(r"^\w*voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M)
    return sum(map(int, numbers))


def costs_nothing(pid, seconds=1.5):
    """Assert that a process hardly runs.

    Traced, each of its calls that are refused stops it twice: what turns in circles makes
    thousands of them a second.
    """
    end = monotonic() + seconds
    before, calls_before = cpu(pid), calls(pid)
    until(lambda: monotonic() > end, "the time is over", timeout=seconds + 5)
    used, made = cpu(pid) - before, calls(pid) - calls_before
    assert used < 0.2 * seconds and made < 400 * seconds, f"{used} s, {made} switches"


OPTIONS = {
    "plain": [],
    "-v": ["-v"],
    "-c": ["-c"],
    "--grace": ["--grace", "1"],
    "--grace, -v": ["--grace", "1", "-v"],
}
# An orphan dies first, for pyinit to reap, then the command waits to be let go.
LEAVES = "(true &); echo up; read x; exit 7"


def refused_while_it_runs(start, log, call, error, options, command, when=""):
    """Start pyinit as PID 1 where a call is refused; return the process, with .init.

    Its .log is strace's, of what was refused.
    """
    # -DDD: strace is no child of pyinit, which is PID 1 itself.
    trace = refuse(call, error, "-DDD", follow=False, when=when)
    trace[trace.index("/dev/null")] = str(log)
    words = [*namespace(), "--", *trace, *PYINIT, *options, "--", "sh", "-c", command]
    process = start(*words, stdin=subprocess.PIPE)
    process.log = log
    process.expect("up")
    process.init = next(
        pid for pid in children(process.pid) if b"pyinit" in cmdline(pid)
    )
    return process


def cmdline(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def let_go(process):
    process.popen.stdin.write(b"\n")
    process.popen.stdin.close()
    process.popen.stdin = None


def said_once(process, options, error):
    """Assert that the error is said once where -v is given, and nothing else is odd."""
    lines = process.stderr.splitlines()
    assert all(line.startswith("[pyinit] ") for line in lines), lines
    about = [line for line in lines if reason(getattr(errno, error)) in line]
    if "-v" in options:
        # (What is not called is not refused: another call can do the same.)
        assert len(about) == ("(INJECTED)" in process.log.read_text()), lines
        assert len(lines) < 20, lines
    else:
        assert len(lines) <= 1, lines


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_reaping_is_refused(start, tmp_path, options, error):
    options = OPTIONS[options]
    process = refused_while_it_runs(
        start, tmp_path / "log", "wait4", error, options, LEAVES
    )
    costs_nothing(process.init)
    before = monotonic()
    let_go(process)
    assert process.wait() == 7
    assert monotonic() - before < 10  # the grace, at most, and some of it for strace
    said_once(process, options, error)


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_signals_are_passed_on_although_reaping_is_refused(start, tmp_path, error):
    command = (
        "trap 'echo usr1' USR1; (true &); echo up; while read x; do :; done; exit 7"
    )
    process = refused_while_it_runs(
        start, tmp_path / "log", "wait4", error, [], command
    )
    costs_nothing(process.init, 0.5)
    process.send(signal.SIGUSR1, process.init)
    process.popen.stdin.write(b"\n")  # (dash runs a trap after the read)
    process.popen.stdin.flush()
    process.expect("usr1")
    let_go(process)
    assert process.wait() == 7


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_waiting_for_signals_is_refused(start, tmp_path, options, error):
    options = OPTIONS[options]
    process = refused_while_it_runs(
        start, tmp_path / "log", "rt_sigtimedwait", error, options, LEAVES
    )
    costs_nothing(process.init)
    before = monotonic()
    let_go(process)
    assert process.wait() == 7
    assert monotonic() - before < 10
    said_once(process, options, error)


@pytest.mark.parametrize("call", ["wait4", "rt_sigtimedwait"])
@pytest.mark.parametrize("options", ["--grace", "--grace, -v"])
def test_the_grace_is_over_although(start, tmp_path, call, options):
    # What is left ignores the farewell: only the grace's end can end it.
    options = OPTIONS[options]
    leave = (
        "(trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 & ); echo up; read x; exit 7"
    )
    process = refused_while_it_runs(
        start, tmp_path / "log", call, "EPERM", options, leave
    )
    before = monotonic()
    let_go(process)
    end = before + 0.7
    until(lambda: monotonic() > end, "the grace is being waited for")
    assert process.wait() == 7
    took = monotonic() - before
    assert took < 10, took
    said_once(process, options, "EPERM")


def test_refused_once_it_is_as_if_it_were_not(start, tmp_path):
    command = "trap 'echo usr1' USR1; echo up; while read x; do :; done; exit 7"
    words = ("rt_sigtimedwait", "EPERM", [], command, "2")
    process = refused_while_it_runs(start, tmp_path / "log", *words)
    for _ in range(3):
        process.send(signal.SIGUSR1, process.init)
        until(lambda: not pending(process.init, signal.SIGUSR1), "it has been taken")
        process.popen.stdin.write(b"\n")
        process.popen.stdin.flush()
        process.expect("usr1")
    let_go(process)
    assert process.wait() == 7


def pending(pid, number):
    with open(f"/proc/{pid}/status") as file:
        mask = re.search(r"^ShdPnd:\s*(\w+)", file.read(), re.M).group(1)
    return int(mask, 16) >> (number - 1) & 1


@pytest.mark.parametrize(
    "options", [["--grace", "1"], ["-v", "--grace", "0.5"]], ids=repr
)
@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_the_clock_is_refused(start, tmp_path, options, error):
    leave = (
        "(trap '' TERM; setsid sleep 1000 >/dev/null 2>&1 & ); echo up; read x; exit 7"
    )
    process = refused_while_it_runs(
        start, tmp_path / "log", "times", error, options, leave
    )
    before = monotonic()
    let_go(process)
    assert process.wait() == 7
    took = monotonic() - before
    assert took < 10, took
    assert all(line.startswith("[pyinit] ") for line in process.stderr.splitlines())


@pytest.mark.parametrize("error", ["EPERM", "ENOSYS"])
def test_the_clock_is_refused_and_nobody_is_left(start, tmp_path, error):
    process = refused_while_it_runs(
        start, tmp_path / "log", "times", error, ["--grace", "60"], LEAVES
    )
    before = monotonic()
    let_go(process)
    assert process.wait() == 7
    assert monotonic() - before < 30


# --- Another user's process has the dead child's number (bug 14) -------------------------


def test_another_users_process_at_the_childs_number(start):
    if os.getuid():
        pytest.skip("only root can be two users")
    words = [*namespace(), *PYTHON, PROGRAMS / "reuse_user.py", "64012"]
    process = start(*words, *as_user(64012, PYINIT))
    assert process.wait(60) == 0, process.stderr
    assert process.stdout == "the user's process lives, the status is 4\n"


# --- A stderr that cannot be written (bug 16) -------------------------------------------

REDIRECTIONS = {
    "closed": "2>&-",
    "full": "2>/dev/full",
    "read-only": "2</dev/null",
    "no reader": "2> >(exec true)",
    "0, 1 and 2 closed": "0<&- 1>&- 2>&-",
    "a directory": "2</",
}
MISUSES = [
    ["--no-such-option"],
    ["-r", "x", "true"],
    ["-r"],
    ["--grace", "x", "true"],
    ["-e", "300", "true"],
    ["-e", "\udcff", "true"],
    [],
    ["-v"],
    ["--"],
]


@pytest.mark.parametrize("redirection", REDIRECTIONS)
@pytest.mark.parametrize("misuse", MISUSES, ids=ascii)
def test_misuse_without_a_stderr(start, redirection, misuse):
    words = [*PYINIT, *(os.fsencode(word) for word in misuse)]
    program = f'"$@" {REDIRECTIONS[redirection]}; echo "status $?"'
    if redirection == "no reader":
        # Wait until the reader has gone: the shell waits for its last substitution.
        program = 'exec 3> >(exec true); wait $!; "$@" 2>&3; echo "status $?"'
    process = start(tool("bash"), "-c", program, "bash", *words)
    assert process.wait() == 0
    # (Without a stderr argparse prints its usage to stdout. So it is.)
    assert process.stdout.endswith("status 2\n")
    assert "Traceback" not in process.stderr + process.stdout


@pytest.mark.parametrize("redirection", REDIRECTIONS)
def test_misuse_on_a_compiled_file_and_without_isolation(start, tmp_path, redirection):
    copy = tmp_path / "pyinit.py"
    copy.write_bytes(PYINIT_FILE.read_bytes())
    subprocess.run([*HOST, "-m", "compileall", "-b", "-q", copy], check=True)
    for init in ([*HOST, f"{copy}c"], [HOST[0], copy]):
        program = f'"$@" {REDIRECTIONS[redirection]}; echo "status $?"'
        process = start(tool("bash"), "-c", program, "bash", *init, "--no-such-option")
        assert process.wait() == 0
        assert process.stdout.endswith("status 2\n")


def test_misuse_past_the_limit_of_a_file(start, tmp_path):
    # SIGXFSZ: Python ignores it, and the write fails with EFBIG.
    program = f"ulimit -f 0; {shlex.join(PYINIT)} --no-such 2>{tmp_path}/log; echo $?"
    process = start(tool("bash"), "-c", program)
    assert process.wait() == 0
    assert process.stdout == "2\n"


def test_a_host_that_imports_us_gets_its_own_exit(start):
    program = (
        f"import sys; sys.path.insert(0, {str(PYINIT_FILE.parent)!r}); import pyinit\n"
        "try: pyinit.main(['--no-such'])\n"
        "except SystemExit as error: print(error.code)\n"
    )
    process = start(*HOST, "-c", program)
    assert process.wait() == 0
    assert process.stdout == "2\n"
    assert process.stderr.startswith("usage: pyinit.py ")
