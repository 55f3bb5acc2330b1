"""As a real PID 1, in a PID namespace of its own."""

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from support import (
    PROGRAMS,
    PYINIT,
    PYTHON,
    REPORTER,
    children,
    field,
    marked,
    namespace,
    state,
    tool,
    until,
    until_state,
)

ORPHANS = [*PYTHON, str(PROGRAMS / "orphans.py")]


def test_ten_thousand_orphans(pid1):
    process = pid1("--", *ORPHANS, "10000", "500")
    process.expect("left 0")
    assert process.wait() == 42


def test_negative_control_a_parent_that_does_not_reap(start):
    program = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    process = start(*namespace(), *PYTHON, "-c", program, *ORPHANS, "200", "50")
    process.expect("left 200")
    assert process.wait() == 42


def test_queued_signals_while_children_die(pid1):
    program = f'({shlex.join(ORPHANS)} 5000 100 >/dev/null &); exec "$@"'
    process = pid1("sh", "-c", program, "sh", *REPORTER)
    process.line()
    for _ in range(1000):
        os.kill(process.init, signal.SIGRTMAX)
    for _ in range(1000):
        process.expect(int(signal.SIGRTMAX))
    os.kill(process.init, signal.SIGUSR1)
    process.expect(int(signal.SIGUSR1))
    # All five thousand and their middlemen are gone: what is left is the reporter.
    until(lambda: len(marked(process.run)) == 3, "unshare, pyinit and the reporter")


def test_many_exits_behind_one_sigchld(pid1):
    # While pyinit is stopped from outside, all deaths make one SIGCHLD.
    program = 'echo up; read line; "$@"; exit 9'
    process = pid1("sh", "-c", program, "sh", *ORPHANS, "600", "200", stdin=-1)
    process.expect("up")
    os.kill(process.init, signal.SIGSTOP)
    until_state(process.init, "T")
    process.popen.stdin.write(b"\n")
    process.popen.stdin.flush()

    def zombies():
        return sum(state(pid) == "Z" for pid in children(process.init))

    until(lambda: zombies() == 600, "600 zombies")
    os.kill(process.init, signal.SIGCONT)
    process.expect("left 0")
    assert process.wait() == 9


def test_an_inherited_ignored_sigchld(start):
    # tini hangs here for ever.
    program = 'trap "" CHLD; exec "$@"'
    process = start("sh", "-c", program, "sh", *PYINIT, "sh", "-c", "exit 5")
    # dash cannot ignore CHLD in every version, so check that it was ignored at all.
    assert process.wait() == 5


def test_an_ignored_sigchld_is_ignored_for_the_command(start):
    process = start(
        *PYTHON,
        "-c",
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN);"
        "os.execv(sys.argv[1], sys.argv[1:])",
        *PYINIT,
        "grep",
        "SigIgn",
        "/proc/self/status",
    )
    ignored = int(process.line().split()[1], 16)
    assert ignored & 1 << (signal.SIGCHLD - 1)
    assert process.wait() == 0


def test_children_that_execve_left_to_us_are_reaped(start):
    # They die before pyinit starts; no later SIGCHLD speaks of them.
    program = (
        "import os, sys\n"
        "pid = os.fork() or os._exit(0)\n"
        "os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = start(*PYTHON, "-c", program, *PYINIT, *REPORTER)
    command = int(process.line().split()[1])
    until(lambda: children(process.pid) == [command], "only the command")


def test_idle_it_makes_no_system_call(pid1):
    process = pid1("--", *REPORTER)
    process.line()
    os.kill(process.init, signal.SIGUSR1)
    process.expect(10)
    until_state(process.init, "S")

    def wakeups():
        status = Path(f"/proc/{process.init}/status").read_text()
        return field(status, "voluntary_ctxt_switches")

    before = wakeups()
    time.sleep(1)  # a stretch of idleness, not a wait for something
    assert wakeups() == before
    words = [tool("strace"), "-qq", "-p", str(process.init)]
    trace = subprocess.Popen(words, stderr=subprocess.PIPE)
    time.sleep(1)  # another, that strace looks at
    trace.send_signal(signal.SIGINT)
    _, seen = trace.communicate()
    # The one call that it sits in, and was in when strace came.
    assert seen.count(b"(") == 1 and b"rt_sigtimedwait" in seen, seen


def test_v_says_whose_the_orphans_are(pid1, pyinit):
    for start, ours in ((pid1, True), (pyinit, False)):
        process = start("-v", "true")
        assert process.wait() == 0
        first = process.stderr.splitlines()[0]
        assert ("orphans are ours" in first) == ours, first
        assert ("we are not" in first) != ours, first
