"""As a real PID 1, in a PID namespace of its own."""

import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import (
    DEADLINE,
    PROGRAMS,
    PYINIT,
    PYTHON,
    REPORTER,
    all_blocked,
    as_user,
    calls_before_pyinit,
    children,
    field,
    hold,
    marked,
    mounted,
    namespace,
    need,
    only_child,
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


# Only bash can name a descriptor above 9.
CLOSES_IT = "exec {}>&-; echo closed; read line"


def test_pid_1_keeps_neither_descriptors_nor_directory(pid1):
    read, write = os.pipe()
    process = pid1(
        *(tool("bash"), "-c", CLOSES_IT.format(write)),
        pass_fds=[write],
        stdin=subprocess.PIPE,
        cwd="/usr",
    )
    os.close(write)
    os.close(read)
    process.expect("closed")
    listing = f"/proc/{process.init}/fd"
    until(lambda: sorted(os.listdir(listing)) == ["0", "1", "2"], "0, 1 and 2 only")
    assert os.readlink(f"/proc/{process.init}/cwd") == "/"


def test_no_descriptor_is_kept_without_proc(start):
    if os.getuid():
        pytest.skip("only root can cover /proc")
    closes_with_the_command(start, *mounted("mount -t tmpfs none /proc"))


def test_a_pipe_handed_to_the_command_closes_with_it(start):
    closes_with_the_command(start)


def closes_with_the_command(start, *before):
    """Hand a pipe on through pyinit, run by the words before: it keeps no copy."""
    read, write = os.pipe()
    words = [*before, *PYINIT, tool("bash"), "-c", CLOSES_IT.format(write)]
    process = start(*words, pass_fds=[write], stdin=subprocess.PIPE)
    os.close(write)
    process.expect("closed")
    # The end comes, though pyinit and the command live.
    assert select.select([read], [], [], DEADLINE)[0]
    assert os.read(read, 1) == b""
    assert process.popen.poll() is None
    os.close(read)


def test_memory_exhausted_it_goes_on(pid1):
    process = pid1("--", *REPORTER)
    process.line()
    subprocess.run([tool("prlimit"), f"--pid={process.init}", "--as=1"], check=True)
    for _ in range(100):
        os.kill(process.init, signal.SIGUSR1)
        process.expect(10)


def test_as_an_ordinary_user(start):
    process = start(*as_user(64008, [*PYINIT, "id", "-u"]))
    process.expect("64008")
    assert process.wait() == 0


def test_a_command_that_becomes_somebody_else(start, public):
    # An ordinary user's pyinit may not signal it any more, and lives on.
    setpriv = public / "setpriv"
    shutil.copy(tool("setpriv"), setpriv)
    setpriv.chmod(0o4755)
    become_root = [str(setpriv), "--reuid=0"]
    need(*as_user(64009, [*become_root, "true"]))
    words = as_user(64009, [*PYINIT, "-vc", *become_root, "sh", "-c"])
    process = start(*words, "echo up; read line; exit 6", stdin=subprocess.PIPE)
    process.expect("up")
    child = only_child(process.pid)
    process.send(signal.SIGTERM)
    process.until_stderr(
        f"SIGTERM: not sent SIGTERM to {child}: Operation not permitted"
    )
    process.popen.stdin.write(b"\n")
    process.popen.stdin.close()
    process.popen.stdin = None
    assert process.wait() == 6
