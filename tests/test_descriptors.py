"""What pyinit inherits is closed by what is open, however high its number.

A pipe that the command closes is to be closed then: pyinit may hold no end of it. And
closing 65,533 numbers one by one, where Python has no close_range(2), costs 8 ms of CPU
before the first signal is passed on.
"""

import functools
import glob
import os
import re
import resource
import shlex
import signal
import subprocess

import pytest
from support import (
    DEADLINE,
    HOST,
    INTERPRETER,
    PYINIT,
    PYINIT_FILE,
    REPORTER,
    monotonic,
    mounted,
    only_child,
    strace,
    tool,
    until,
)

PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
MUSL = os.environ.get("PYINIT_MUSL", "/var/tmp/pyinit/musl/python3")
NO_PROC = "mount -t tmpfs none /proc"


def interpreter(name):
    """Return an interpreter by its version, musl's or pyinit's own; or skip."""
    if name == "ours":
        return INTERPRETER
    if name == "musl":
        path = MUSL if os.access(MUSL, os.X_OK) else None
    else:
        path = next(iter(glob.glob(f"{PYENV}/versions/{name}.*/bin/python3")), None)
    return path or pytest.skip(f"there is no interpreter {name}")


@functools.lru_cache(None)
def highest():
    """Return how many descriptors a process can be allowed to have here.

    Not even root can always raise its limit: without CAP_SYS_RESOURCE what is above it,
    65,536 say, is not tried. Somewhere it can: there these tests try it.
    """
    with open("/proc/sys/fs/nr_open") as file:
        most = int(file.read())
    words = ["prlimit", f"--nofile={most}:{most}", "true"]
    if not subprocess.run(words, stderr=subprocess.DEVNULL).returncode:
        return most
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def allow(to):
    """Return a preexec_fn that allows descriptors below a number."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (to, to))


def pipe_at(*numbers):
    """Return a read end, and words that give the next ones its other end at each number."""
    read, write = os.pipe()
    # A shell of its own makes no number above 9: Python does, and leaves them open.
    program = (
        "import os, sys\n"
        "source, numbers = int(sys.argv[1]), sys.argv[2].split(',')\n"
        "for number in numbers:\n"
        "    if int(number) != source: os.dup2(source, int(number))\n"
        "if str(source) not in numbers: os.close(source)\n"
        "os.execvp(sys.argv[3], sys.argv[3:])\n"
    )
    words = [INTERPRETER, "-IS", "-c", program, str(write), ",".join(map(str, numbers))]
    return read, write, words


def open_in(pid):
    """Return the numbers of the descriptors that a process has open."""
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def check(start, numbers, python, *options, prefix=()):
    """Assert that pyinit, once its command runs, has nothing of all this open."""
    numbers = [number for number in numbers if number < highest()]
    read, write, give = pipe_at(*numbers)
    try:
        init = [
            *prefix,
            *give,
            python,
            "-IS",
            str(PYINIT_FILE),
            *options,
            "--",
            *REPORTER,
            "0",
        ]
        process = start(*init, pass_fds=[write], preexec_fn=allow(highest()))
    finally:
        os.close(write)
    assert process.line().startswith("ready ")
    child = only_child(process.pid)
    assert set(numbers) <= set(open_in(child))  # the command has them all
    # And closes them: that is the end of the pipe. (Its death would be, too: so ask both.)
    until(lambda: open_in(process.pid) == [0, 1, 2], f"{open_in(process.pid)} closed")
    process.send(signal.SIGUSR1)
    process.expect(int(signal.SIGUSR1))
    process.send(signal.SIGTERM)
    process.expect(int(signal.SIGTERM))
    assert process.wait() == 0
    assert os.read(read, 1) == b""
    os.close(read)


INTERPRETERS = ["ours", "3.6", "3.8", "3.9", "musl"]
HIGH = [3, 4, 5, 100, 1023, 19_000, 65535, 65536, 65537, 100_000]


@pytest.mark.parametrize("python", INTERPRETERS)
def test_nothing_inherited_stays_open(start, python):
    check(start, HIGH, interpreter(python))


@pytest.mark.parametrize("python", INTERPRETERS)
def test_the_highest_number_that_there_can_be(start, python):
    check(start, [7, highest() - 1], interpreter(python), "-c")


def test_thousands(start):
    check(start, [*range(3, 4000), 19_999, 70_000], INTERPRETER)


@pytest.mark.parametrize("python", INTERPRETERS)
def test_without_proc(start, python):
    # Then only what is below 65536 can be hoped for where there is no close_range(2).
    check(start, [3, 100, 1023, 60_000], interpreter(python), prefix=mounted(NO_PROC))


def test_without_proc_any_number_where_there_is_close_range(start):
    check(start, HIGH, INTERPRETER, prefix=mounted(NO_PROC))


@pytest.mark.parametrize("python", INTERPRETERS)
def test_a_limit_of_a_thousand_million(start, python):
    """As containerd has set it: nothing may count up to it (Python 3.8: minutes)."""
    words = [interpreter(python), "-IS", str(PYINIT_FILE), *REPORTER, "0"]
    before = monotonic()
    process = start(*words, preexec_fn=allow(min(2**30, highest())))
    assert process.line().startswith("ready ")
    process.send(signal.SIGTERM)
    process.expect(int(signal.SIGTERM))
    assert process.wait() == 0
    assert monotonic() - before < DEADLINE / 2


def closed(python, *setup):
    """Return how many calls of close(2) the whole of pyinit makes around a command."""
    trace = strace("-e", "trace=close,close_range")
    trace[trace.index("/dev/null")] = "/dev/stderr"
    words = [*setup, *trace, python, "-IS", str(PYINIT_FILE), "true"]
    result = subprocess.run(words, stderr=subprocess.PIPE, timeout=60, check=True)
    return len(re.findall(rb"\bclose\(", result.stderr))


@pytest.mark.parametrize("python", INTERPRETERS)
def test_no_call_for_each_number_that_could_be(python):
    assert closed(interpreter(python)) < 1000


@pytest.mark.parametrize("python", INTERPRETERS)
def test_a_signal_is_passed_on_soon(start, python):
    # CPU that pyinit itself has used once it waits, less what its interpreter needs.
    python = interpreter(python)

    def cpu(program, *words):
        best = []
        for _ in range(5):
            process = start(python, "-IS", *program, *words)
            assert process.line().startswith("ready ")
            process.send(signal.SIGUSR1)
            process.expect(int(signal.SIGUSR1))
            with open(f"/proc/{process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            best.append(int(fields[11]) + int(fields[12]))
            process.clean()
        return min(best) * 1000 / os.sysconf("SC_CLK_TCK")

    assert cpu([PYINIT_FILE], *REPORTER) < 150  # (a tick is 10 ms: the count is above)


@pytest.mark.parametrize("content", ["empty", "text", "files"])
def test_a_proc_that_lists_something_else(start, tmp_path, content):
    fds = tmp_path / "proc/self/fd"
    fds.mkdir(parents=True)
    if content == "text":
        fds.rmdir()
        fds.write_text("no directory")
    elif content == "files":
        for name in ("0", "1", "2", "9", "x", "-1", "99999999999999999999", "70000"):
            (fds / name).touch()
    prefix = mounted(f"mount --bind {shlex.quote(str(tmp_path / 'proc'))} /proc")
    process = start(*prefix, *PYINIT, *REPORTER, "7")
    assert process.line().startswith("ready ")
    process.send(signal.SIGTERM)
    process.expect(int(signal.SIGTERM))
    assert process.wait() == 7
    assert process.stderr == ""


@pytest.mark.parametrize(
    "mode", [[], ["-c"], ["-v"]], ids=["session", "single", "verbose"]
)
@pytest.mark.parametrize("number", [3, 255, 19_000, 70_000])
def test_a_pipe_ends_when_the_command_closes_it(start, number, mode):
    # ssh -f, daemons, "curl | sh": who waits for the end of a pipe waits for all who have it.
    number = min(number, highest() - 1)
    read, write, give = pipe_at(number)
    program = (
        f"import os, sys; print('up', flush=True); sys.stdin.readline(); os.close({number});"
        "print('closed', flush=True); sys.stdin.readline()"
    )
    command = [INTERPRETER, "-IS", "-c", program]
    words = [*give, *PYINIT, *mode, "--", *command]
    setup = allow(highest())
    process = start(*words, pass_fds=[write], preexec_fn=setup, stdin=subprocess.PIPE)
    os.close(write)
    process.expect("up")
    os.set_blocking(read, False)
    until(lambda: open_in(process.pid) == [0, 1, 2], "pyinit has closed it")
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    process.popen.stdin.write(b"\n")
    process.popen.stdin.flush()
    process.expect("closed")
    os.set_blocking(read, True)
    assert os.read(read, 1) == b""
    os.close(read)
    process.popen.stdin.close()
    process.popen.stdin = None
    assert process.wait() == 0


def test_read_from_stdin_or_another_descriptor(start):
    # The file itself is one of those that are inherited: python3 <(curl …), python3 -.
    script = f'exec {shlex.join(HOST)} <(cat {shlex.quote(str(PYINIT_FILE))}) "$@"'
    process = start(tool("bash"), "-c", script, "bash", "--", *REPORTER, "5")
    assert process.line().startswith("ready ")
    until(lambda: open_in(process.pid) == [0, 1, 2], "all but the standard ones closed")
    process.send(signal.SIGTERM)
    process.expect(int(signal.SIGTERM))
    assert process.wait() == 5
