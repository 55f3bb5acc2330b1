"""What the command sees: exactly what it would see without pyinit."""

import functools
import os
import resource
from pathlib import Path

import pytest
import surroundings
from support import (
    BOTH_MODES,
    DEADLINE,
    FULL,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    interpreter,
    mounted,
    namespace,
    need,
    only_child,
    run,
    strace,
    tool,
    until,
)

NAMES = [one.name for one in surroundings.surroundings_names()]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("surroundings")


@pytest.fixture(scope="module")
def probe(scratch):
    tool("cc")
    return surroundings.build_probe(scratch)


@pytest.fixture(scope="module")
def all_surroundings(scratch):
    return {one.name: one for one in surroundings.surroundings(scratch)}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_differs(name, probe, all_surroundings, scratch):
    surrounding = all_surroundings[name]
    if surrounding.root and os.getuid():
        pytest.skip("only root can set this up")
    if "--mount" in surrounding.prefix:
        need(*surrounding.prefix, "true")  # root in a container may not
    report = scratch / "report"
    direct = surroundings.look(surrounding, probe, [], report)
    assert direct[-1].startswith("tty "), direct  # the probe has run, and to its end
    for mode in ([], ["-c"]) if FULL else ([],):
        under = surroundings.look(surrounding, probe, [*PYINIT, *mode, "--"], report)
        assert under == direct, mode


# --- Variables that name a process: systemd's, which Podman and others set, too ---------

NAMES_OF_US = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"]
SHOW = ["sh", "-c", "echo $$; tr '\\0' '\\n' </proc/self/environ"]


def environment(start, variables, *options, prefix=()):
    """Return the command's pid, and its environment as lines, where pyinit had these."""
    # env -i: nothing but what is asked for, in this order; the shell's pid is pyinit's.
    program = f'exec env -i PATH="$PATH" {variables} "$@"'
    process = start(*prefix, "sh", "-c", program, "sh", *PYINIT, *options, "--", *SHOW)
    assert process.wait() == 0, process.stderr
    assert process.stderr == ""
    pid, *lines = process.stdout.splitlines()
    return pid, [line for line in lines if not line.startswith("PATH=")]


@BOTH_MODES
@pytest.mark.parametrize("prefix", [[], None], ids=["", "PID 1"])
def test_what_named_us_names_the_command(start, mode, prefix):
    # (Podman's socket activation sets LISTEN_PID=1: in the container, that is us.)
    prefix = [*namespace(), "--"] if prefix is None else prefix
    given = " ".join(f"{name}=$$" for name in NAMES_OF_US)
    pid, lines = environment(start, f"{given} LISTEN_PIDFDID=7", *mode, prefix=prefix)
    # The pidfd's number goes with a LISTEN_PID that was ours: it would be another's.
    assert sorted(lines) == sorted(f"{name}={pid}" for name in NAMES_OF_US)
    stays = ["LISTEN_PID=4000000", "LISTEN_PIDFDID=7"]
    pid, lines = environment(start, f"WATCHDOG_PID=$$ {' '.join(stays)}", prefix=prefix)
    assert lines == [f"WATCHDOG_PID={pid}", *stays]


@pytest.mark.parametrize("value", ["4000000", "", "'$$ '", "0$$"])
def test_what_names_another_stays(start, value):
    for name in NAMES_OF_US:
        given = f"A={value} {name}={value} LISTEN_PIDFDID=77 LISTEN_FDS=2"
        _, lines = environment(start, given)
        shown = lines[0][2:]
        rest = [f"{name}={shown}", "LISTEN_PIDFDID=77", "LISTEN_FDS=2"]
        assert lines[1:] == rest


# --- Descriptors and the directory ------------------------------------------------------


@functools.lru_cache(None)
def highest():
    """Return how many descriptors a process can be allowed to have here.

    Not even root can always raise its limit: without CAP_SYS_RESOURCE what is above it,
    65,536 say, is not tried. Somewhere it can: there these tests try it.
    """
    most = int(Path("/proc/sys/fs/nr_open").read_text())
    if not run(tool("prlimit"), f"--nofile={most}:{most}", "true").returncode:
        return most
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


# Gives the next words a descriptor at other numbers: no shell makes all of them.
GIVE = """
import os, sys
for number in map(int, sys.argv[1].split(",")):
    os.dup2(1, number)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def open_in(pid):
    """Return the numbers of the descriptors that a process has open."""
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


def closes(start, numbers, *options, version="ours", prefix=()):
    """See that pyinit, once its command runs, has nothing of all this open.

    ssh -f, daemons, "curl | sh": who waits for the end of a pipe waits for all who have it.
    """
    numbers = [number for number in numbers if number < highest()]
    allow = [tool("prlimit"), f"--nofile={highest()}:{highest()}"]
    give = [*prefix, *PYTHON, "-c", GIVE, ",".join(map(str, numbers))]
    init = [*interpreter(version), "-IS", str(PYINIT_FILE), *options, "--"]
    command = ["sh", "-c", "echo up; read line"]
    process = start(*allow, *give, *init, *command, stdin=-1, cwd="/usr")
    process.expect("up")
    child = only_child(process.pid)
    assert set(numbers) <= {*open_in(child)}  # the command has them all
    until(lambda: open_in(process.pid) == [0, 1, 2], "pyinit has closed them")
    assert os.readlink(f"/proc/{process.pid}/cwd") == "/"
    process.let_go()
    assert process.wait() == 1


# Those that have no close_range(2), which close by what /proc says, and the newest.
VERSIONS = ["ours", "3.6", "3.8", "3.9", "musl's"] if FULL else ["ours", "3.6"]
IN_EACH = pytest.mark.parametrize("version", VERSIONS)
NO_PROC = "mount -t tmpfs none /proc"
HIGH = [19_000, 65535, 65536, 65537, 100_000]


@IN_EACH
def test_nothing_inherited_stays_open(start, version):
    closes(start, [*range(3, 1100), *HIGH, highest() - 1], version=version)
    closes(start, [7], "-c", version=version)


@IN_EACH
def test_descriptors_without_proc(start, version):
    # Then only what is below 65536 is closed.
    numbers = [3, 100, 1023, 60_000]
    closes(start, numbers, version=version, prefix=mounted(NO_PROC))


@IN_EACH
def test_no_call_for_each_number_that_could_be(version, tmp_path):
    # With a limit of a thousand million, as containerd has set it: nothing may count up to
    # it (Python 3.8: minutes), nor close 65,533 numbers one by one (8 ms of CPU).
    most = min(2**30, highest())
    allow = [tool("prlimit"), f"--nofile={most}:{most}"]
    trace = strace("-e", "trace=close,close_range", log=tmp_path / "log")
    init = [*interpreter(version), "-IS", PYINIT_FILE]
    run(*allow, *trace, *init, "true", timeout=DEADLINE, check=True)
    assert (tmp_path / "log").read_text().count(" close(") < 1000
