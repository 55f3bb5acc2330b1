#!/usr/bin/env python3
"""Measure pyinit beside other inits and beside the least that Python itself needs.

From start to a command's end, and until signals are blocked; memory that stays; the cost
of a signal and of an orphan, on one CPU: there a ratio is one of work, not of wake-ups.
All inits in turn, round after round; what is printed are medians, and in brackets the
median of the rounds' ratios to the floor, for signals and orphans to dumb-init. What
cannot be measured is left out, with the reason on stderr. Nothing here is a test.

It needs a C compiler, and runs in a PID namespace, since some inits kill all that they can when they end.
"""

import argparse
import os
import platform
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import (
    DEADLINE,
    PYINIT_FILE,
    PYTHON,
    children,
    namespace_command,
    run,
    until,
)

SHARE = 10  # seconds for one subject in one row
TRUE = shutil.which("true")
# As in an official image of Python: no .pyc file of the standard library is read or
# written, since nothing can be below /dev/null.
UNCOMPILED = [sys.executable, "-ISB", "-X", "pycache_prefix=/dev/null"]
FORMS = {"": PYTHON, ", library uncompiled": UNCOMPILED}
KNOWN = {"dumb-init": "dumb-init --", "tini": "tini -s --", "catatonit": "catatonit --"}

# The floor: what a program needs that reads its command line with argparse, starts the
# command and waits; and what any Python must do to pass a signal on and to reap.
FLOOR = """
import signal
import argparse
import os

parser = argparse.ArgumentParser(
    formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80)
)
parser.add_argument("command", nargs=argparse.REMAINDER)
command = parser.parse_args().command
child = os.fork()
if not child:
    os.execvp(command[0], command)
os._exit(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
"""
FLOOR_INIT = """
import signal

every = (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
mask = signal.pthread_sigmask(signal.SIG_BLOCK, every)
import argparse, os, sys
command = sys.argv[1:]
child = os.fork()
if not child:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execvp(command[0], command)
while True:
    number = signal.sigwaitinfo(every).si_signo
    if number != 17:
        os.kill(-child, number)
        continue
    pid = 1
    while pid:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            os._exit(os.WEXITSTATUS(status))
"""


class Unmeasured(Exception):
    """Why something cannot be measured of a subject."""


FAILURES = (Unmeasured, OSError, subprocess.SubprocessError, pytest.fail.Exception)


def first_line(process):
    """Wait for the line with which a command says that it runs."""
    select.select([process.stdout], [], [], DEADLINE)
    if not os.read(process.stdout.fileno(), 100):
        raise Unmeasured(f"its command did not start, status {process.wait(DEADLINE)}")


# --- What is measured: of the words that start an init --------------------------------


def start(words):
    """Return the milliseconds from an init's start to its end."""
    before = time.perf_counter()
    process = subprocess.Popen([*words, TRUE], stdin=subprocess.DEVNULL)
    # Not wait(DEADLINE), which looks every so many milliseconds whether it has ended.
    descriptor = os.pidfd_open(process.pid)
    select.select([descriptor], [], [], DEADLINE)
    spent = time.perf_counter() - before
    os.close(descriptor)
    if process.poll() != 0:
        raise Unmeasured(f"status {process.poll()}")
    return spent * 1e3


def window(words):
    """Return the milliseconds from an init's start until SIGTERM is not lost on it.

    That is, until it has blocked it or has a handler for it.
    """
    before, bit = time.perf_counter(), 1 << (signal.SIGTERM - 1)
    process = subprocess.Popen([*words, "cat"], stdin=subprocess.PIPE)
    status, ready = Path(f"/proc/{process.pid}/status"), False
    # Once it has a child it may wait for its signals, which shows them as not blocked.
    while not ready and not children(process.pid):
        if process.poll() is not None or time.perf_counter() > before + DEADLINE:
            raise Unmeasured(f"no sign of it, status {process.poll()}")
        masks = status.read_text().partition("SigBlk:")[2].split()
        blocked, caught = int(masks[0], 16), int(masks[4], 16)
        ready = (blocked | caught) & bit
    spent = time.perf_counter() - before
    process.communicate(timeout=DEADLINE)
    return spent * 1e3


def memory(words):
    """Return what an init keeps for itself once its command runs, in kB."""
    command = [*words, "sh", "-c", "echo up; read line"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
    first_line(process)

    def sleeps():
        """Tell whether it has not been awake for 10 ms."""
        looks = []
        for _ in range(2):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            looks.append([x for x in lines if x.startswith(("State", "voluntary"))])
            time.sleep(0.01)
        return looks[0] == looks[1] and "S (" in looks[0][0]

    until(sleeps, "it sleeps")
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    process.kill()
    process.communicate()  # the end of its stdin ends the command
    return int(rollup.partition("\nAnonymous:")[2].split()[0])


# Answers each SIGUSR1, until SIGTERM.
ANSWER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
os.write(1, b"up\\n")
wait, kill, peer = signal.sigwaitinfo, os.kill, int(sys.argv[1])
while wait([10, 15]).si_signo == 10:
    kill(peer, 12)
"""


def signal_cost(words, count):
    """Return the microseconds for a signal through an init and its command's answer."""
    command = [*words, *PYTHON, "-c", ANSWER, str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    first_line(process)
    wait, kill, pid, usr2 = signal.sigtimedwait, os.kill, process.pid, [signal.SIGUSR2]
    for _ in range(50):
        kill(pid, 10)
        if not wait(usr2, 2):
            raise Unmeasured("it does not pass SIGUSR1 on")
    before = time.perf_counter()
    for _ in range(count):
        kill(pid, 10)
        wait(usr2, 2)
    spent = time.perf_counter() - before
    kill(pid, 15)
    process.wait(DEADLINE)
    process.stdout.close()
    return spent / count * 1e6


# Makes orphans one after the other, each reaped (so that nobody has its pid any more)
# before the next. Prints microseconds for each.
ORPHANS = """
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int count = atoi(argv[1]);
    struct timespec a, b;
    volatile pid_t *orphan = mmap(NULL, sizeof *orphan, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < count; i++) {
        pid_t middle = fork();
        if (!middle) {
            pid_t pid = fork();
            if (pid) *orphan = pid;
            _exit(0);
        }
        if (middle < 0 || waitpid(middle, NULL, 0) < 0 || *orphan < 1) return 1;
        while (!kill(*orphan, 0)) sched_yield();
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%f\\n", ((b.tv_sec - a.tv_sec) * 1e9 + b.tv_nsec - a.tv_nsec) / 1e3 / count);
    return 0;
}
"""


def orphan_cost(words, program, count):
    """Return the microseconds for an orphan that an init, as PID 1, reaps."""
    result = run(*namespace_command(), *words, program, str(count), timeout=DEADLINE)
    if result.returncode:
        raise Unmeasured(f"status {result.returncode}")
    return float(result.stdout)


# --- How ------------------------------------------------------------------------------


def sweep():
    """Kill what a measurement that failed has left; orphans are ours, being PID 1."""
    while children(os.getpid()):
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


class Table:
    """Rows of medians, a column for each subject, with ratios to one of them."""

    def __init__(self):
        self.rows = {}

    def measure(self, name, subjects, function, rounds, base="floor"):
        """Measure all subjects in turn, many times; print the row.

        One that cannot be measured is left out from then on, and said; without pyinit
        there is nothing to print. One that has had its share of the time is not measured
        again.
        """
        print(f"{name}: {rounds} rounds", file=sys.stderr, flush=True)
        samples = {subject: [] for subject in subjects}
        spent = dict.fromkeys(subjects, 0)
        for _ in range(rounds):
            for subject in [each for each in samples if spent[each] < SHARE]:
                before = time.monotonic()
                try:
                    samples[subject].append(function(subjects[subject]))
                    spent[subject] += time.monotonic() - before
                except FAILURES as reason:
                    sweep()
                    if subject in ("pyinit", "floor"):
                        raise
                    print(f"not measured: {name}, {subject}: {reason}", file=sys.stderr)
                    del samples[subject]
        self.rows[name] = cells = {}
        for subject, values in samples.items():
            value = statistics.median(values)
            cells[subject] = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
            if subject != base:
                ratios = [mine / other for mine, other in zip(values, samples[base])]
                cells[subject] += f" ({statistics.median(ratios):.2f})"
        row = ", ".join(f"{subject} {cell}" for subject, cell in cells.items())
        print(f"{name}: {row}", file=sys.stderr, flush=True)

    def markdown(self, names):
        """Print the rows as a table, without the columns of whom nothing is known."""
        used = {name for cells in self.rows.values() for name in cells}
        columns = [name for name in names if name in used]
        lines = [["", *columns], ["---", *["---:" for _ in columns]]]
        for name, cells in self.rows.items():
            lines.append([name, *(cells.get(column, "") for column in columns)])
        for line in lines:
            print("| " + " | ".join(line) + " |")


def measured_on(peers):
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", *KNOWN]
    packages = run(*query).stdout.decode() if shutil.which(query[0]) else ""
    words = "".join(f"{name} = `{shlex.join(peers[name])}`, " for name in peers)
    cpu = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2]
    cpu = cpu.partition("\n")[0]
    machine = f"Linux {platform.release()}, {os.cpu_count()} × {cpu}"
    return f"CPython {platform.python_version()}, {packages}{words}{machine}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--peer", action="append", default=[], nargs=2, metavar=("NAME", "COMMAND"),
        help="another init, with all its words before the command; repeatable")  # fmt: skip
    add("--starts", type=int, default=100, help="rounds of starts")
    add("--rounds", type=int, default=27, help="rounds of the rest")
    add("--signals", type=int, default=3000, help="signals a round")
    add("--orphans", type=int, default=1000, help="orphans a round")
    add("--markdown", action="store_true", help="print a table at the end")
    options = parser.parse_args()
    if os.getpid() != 1:
        namespace = namespace_command()
        if isinstance(namespace, str):
            sys.exit(namespace)
        os.execvp(namespace[0], [*namespace, sys.executable, *sys.argv])
    began, peers = time.perf_counter(), {}
    inits = {name: words.split() for name, words in KNOWN.items() if shutil.which(name)}
    for name, words in options.peer:
        inits[name] = peers[name] = shlex.split(words)
    table, base = Table(), "dumb-init" if "dumb-init" in inits else "floor"
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "pyinit.py").write_bytes(PYINIT_FILE.read_bytes())
        (place / "floor.py").write_text(FLOOR)
        (place / "init.py").write_text(FLOOR_INIT)
        for form, python in FORMS.items():
            pyinit = [*python, str(place / "pyinit.py"), "--"]
            floor, loop = ([*python, str(place / f)] for f in ("floor.py", "init.py"))
            others = {} if form else inits
            subjects = {"pyinit": pyinit, **others, "floor": floor}
            table.measure(f"start{form}, ms", subjects, start, options.starts)
            table.measure(f"anonymous memory{form}, kB", subjects, memory, 4)
            subjects["floor"] = loop
            blocked, rounds = f"start to signals blocked{form}, ms", options.starts // 3
            table.measure(blocked, subjects, window, max(1, rounds))
        pyinit, loop = ([*PYTHON, str(place / f)] for f in ("pyinit.py", "init.py"))
        subjects = {"pyinit": [*pyinit, "--"], **inits, "floor": loop}
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        table.measure("one signal and its answer, µs", subjects,
                      lambda words: signal_cost(words, options.signals),
                      options.rounds, base)  # fmt: skip
        program = place / "orphans"
        program.with_suffix(".c").write_text(ORPHANS)
        run("cc", "-O2", "-w", "-o", program, f"{program}.c", check=True)
        table.measure("one orphan made and reaped, µs", subjects,
                      lambda words: orphan_cost(words, program, options.orphans),
                      options.rounds, base)  # fmt: skip
    if options.markdown:
        table.markdown(["pyinit", *inits, "floor"])
    print(f"\nMeasured on {measured_on(peers)}.")
    print(f"took {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
