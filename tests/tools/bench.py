#!/usr/bin/env python3
"""Measure pyinit beside other inits and beside the least that Python itself needs.

Prints one table: start to a command's end, memory that stays, the cost of a signal, an
orphan and a container, as medians and ratios from interleaved runs. It runs in a PID
namespace of its own, since some inits kill all that they can when they end. What cannot
be measured is an empty cell, with the reason on stderr. Nothing here is a test.
"""

import argparse
import contextlib
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

ROOT = Path(__file__).resolve().parents[2]
PYINIT = ROOT / "pyinit.py"
CC = shutil.which("cc") or shutil.which("gcc")
PYTHON = [sys.executable, "-IS"]
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
DEADLINE = 30  # seconds, for whatever has to happen
SHARE = 10  # seconds for one subject in one row
TRUE = shutil.which("true") or "/bin/true"
NO_PYC = ", library uncompiled"  # as in an official image of Python

# What a program needs that reads its command line with argparse, starts the command and
# waits: no option, no rule, no signal.
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
# The same by an interpreter that loads no module: posix is built in.
BARE = f"""
import posix
child = posix.fork()
if not child:
    posix.execv({TRUE!r}, [{TRUE!r}])
posix._exit(posix.waitpid(child, 0)[1] >> 8)
"""
# What any Python must do to pass a signal on and to reap: no rule, no table, no option.
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

# Inits that are looked for in PATH; the command follows these words.
KNOWN = {"dumb-init": "dumb-init --", "tini": "tini -s --", "catatonit": "catatonit --"}


class Unmeasured(Exception):
    """Why something cannot be measured of a subject."""


FAILURES = (Unmeasured, OSError, subprocess.SubprocessError)


def progress(text):
    print(text, file=sys.stderr, flush=True)


def children(pid):
    """Return the pids of a process's children, oldest first."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(word) for word in words]


def sweep():
    """Kill what a measurement that failed has left; orphans are ours, being PID 1."""
    while children(os.getpid()):
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def until(condition, what):
    """Poll a condition of the kernel's that nothing announces; return its value."""
    end = time.monotonic() + DEADLINE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Unmeasured(f"not within {DEADLINE} s: {what}")
        time.sleep(0.0005)


def first_line(process):
    """Wait for the line with which a command says that it runs."""
    select.select([process.stdout], [], [], DEADLINE)
    line = os.read(process.stdout.fileno(), 100)
    if not line:
        raise Unmeasured(f"its command did not start, status {process.wait(DEADLINE)}")
    return line


def run(words):
    """Run a command to its end; return what it wrote to stdout."""
    result = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=DEADLINE,
    )
    if result.returncode:
        last = result.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Unmeasured(" ".join([f"status {result.returncode}", *last]))
    return result.stdout.decode()


def seconds(words):
    """Run a command to its end; return how long that took."""
    before = time.perf_counter()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    # Not wait(DEADLINE), which looks every so many milliseconds whether it has ended.
    descriptor = os.pidfd_open(process.pid)
    select.select([descriptor], [], [], DEADLINE)
    spent = time.perf_counter() - before
    os.close(descriptor)
    if process.poll() != 0:
        raise Unmeasured(f"status {process.poll()}")
    return spent


def interleaved(subjects, measure, rounds, name):
    """Measure all subjects in turn, many times; return what was measured of each.

    A subject that cannot be measured is left out from then on, and said; without pyinit
    there is nothing to print. One that has had its share of the time is not measured
    again.
    """
    samples = {subject: [] for subject in subjects}
    spent = dict.fromkeys(subjects, 0)
    for done in range(max(1, rounds)):
        if done % max(1, rounds // 3) == 0:
            progress(f"{name}: round {done + 1} of {max(1, rounds)}")
        for subject in [name for name in samples if spent[name] < SHARE]:
            before = time.monotonic()
            try:
                samples[subject].append(measure(subjects[subject]))
                spent[subject] += time.monotonic() - before
            except FAILURES as reason:
                sweep()
                if subject.startswith(("pyinit", "floor")):
                    raise
                progress(f"not measured: {name}, {subject}: {reason}")
                del samples[subject]
    return samples


def anonymous(pid):
    """Return the anonymous memory of a process in kB: smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1])
    raise LookupError("no Anonymous line")


def sleeps(pid):
    """Tell whether a process sleeps, and has not been awake for 10 ms."""
    looks = []
    for _ in range(2):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        looks.append([x for x in lines if x.startswith(("State", "voluntary"))])
        time.sleep(0.01)
    return looks[0] == looks[1] and "S (" in looks[0][0]


def memory(words):
    """Return what an init keeps once its command runs."""
    command = [*words, "sh", "-c", "echo up; read line"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    )
    first_line(process)
    until(lambda: sleeps(process.pid), "it sleeps")
    kilobytes = anonymous(process.pid)
    process.kill()
    process.communicate()  # the end of its stdin ends the command
    return kilobytes


# Reports each SIGUSR1 to a peer, until SIGTERM.
ANSWER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
os.write(1, b"up\\n")
wait, kill, peer = signal.sigwaitinfo, os.kill, int(sys.argv[1])
while wait([10, 15]).si_signo == 10:
    kill(peer, 12)
"""


def ping_pong(words, count, look=lambda pid: None):
    """Send signals through an init, each after the answer to the one before.

    Return the seconds that count of them took, and what look(pid) said before and after.
    """
    command = [*words, *PYTHON, "-c", ANSWER, str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    first_line(process)
    wait, kill, pid, usr2 = signal.sigtimedwait, os.kill, process.pid, [signal.SIGUSR2]
    for _ in range(50):
        kill(pid, 10)
        if not wait(usr2, 2):
            raise Unmeasured("it does not pass SIGUSR1 on")
    first, before = look(pid), time.perf_counter()
    for _ in range(count):
        kill(pid, 10)
        wait(usr2, 2)
    spent, last = time.perf_counter() - before, look(pid)
    kill(pid, 15)
    process.wait(DEADLINE)
    process.stdout.close()
    return spent, first, last


def signal_cost(count):
    """Return a function: microseconds for a signal through an init and its answer."""
    return lambda words: ping_pong(words, count)[0] / count * 1e6


def growth(count):
    """Return a function: how many kB an init grows over count signals."""

    def measure(words):
        _, first, last = ping_pong(words, count, anonymous)
        return last - first

    return measure


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
/* Make orphans one after the other, each reaped (so that nobody has its pid any more)
   before the next. Prints microseconds for each. */
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

BACKLOG = """
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* Wait for a line, leave COUNT zombies to a stopped PID 1, print "ready", wait. */
int main(int argc, char **argv)
{
    int count = atoi(argv[1]);
    char line[8];
    puts("up"); fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;
    for (int i = 0; i < count / 100; i++) {
        pid_t middle = fork();
        if (!middle) {
            for (int j = 0; j < 100; j++)
                if (!fork()) _exit(0);
            _exit(0);
        }
        waitpid(middle, NULL, 0);
    }
    puts("ready"); fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;
    return 0;
}
"""


def compile_c(source, path):
    """Compile a C program; return its path."""
    path.with_suffix(".c").write_text(source)
    subprocess.run([CC, "-O2", "-w", "-o", path, path.with_suffix(".c")], check=True)
    return str(path)


def orphan_cost(program, count):
    """Return a function: microseconds for an orphan that an init as PID 1 reaps."""
    return lambda words: float(run([*NAMESPACE, *words, program, str(count)]))


@contextlib.contextmanager
def one_cpu():
    """Run what is in it on one CPU, where a ratio is one of work, not of wake-ups."""
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    yield
    os.sched_setaffinity(0, cpus)


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def backlog(program, count):
    """Return a function: (ms to reap count zombies, kB that memory grew)."""

    def measure(words):
        process = subprocess.Popen(
            [*NAMESPACE, *words, program, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        first_line(process)
        (init,) = children(process.pid)
        before_memory = anonymous(init)
        os.kill(init, signal.SIGSTOP)
        process.stdin.write(b"\n")
        process.stdin.flush()
        first_line(process)
        until(lambda: len(children(init)) > count, f"{count} zombies")
        last, before = children(init)[-1], time.perf_counter()
        os.kill(init, signal.SIGCONT)
        # The last on the kernel's list is the last that is reaped. To ask for it takes
        # none of the locks that reaping needs, as to read the list again would.
        until(lambda: not exists(last) and len(children(init)) == 1, "all are reaped")
        spent = (time.perf_counter() - before) * 1e3
        grown = anonymous(init) - before_memory
        process.stdin.close()
        process.wait(DEADLINE)
        process.stdout.close()
        return spent, grown

    return measure


def window(words):
    """Return the seconds from the start of an init until SIGTERM is not lost on it.

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
    return spent


def engine():
    """Return the words that start Podman or Docker."""
    words = shlex.split(os.environ.get("PYINIT_ENGINE", ""))
    if not words and shutil.which("podman") and shutil.which("runc"):
        words = ["podman", "--runtime", "runc"]
    if not words:
        words = ["docker"]
    run([*words, "info"])
    return words


def measure_containers(table, inits, image, rounds):
    """A container from start to end: with pyinit, with dumb-init and with neither.

    What the image may lack of them is mounted. Without one it is made of PYINIT_BASE.
    """
    limits = ["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]
    base = os.environ.get("PYINIT_BASE", "/var/tmp/pyinit/base")
    name, made = "an engine", []
    try:
        words = engine()
        name = os.path.basename(words[0])
        if not image:
            if not os.path.isdir(base):
                raise Unmeasured(f"no --image, and no root to make one of at {base}")
            progress(f"containers of {name}: an image of {base}")
            image = "localhost/pyinit-bench"
            make = f"tar -C {shlex.quote(base)} -c . | {shlex.join(words)} import - "
            made = [*words, "rmi", "-f", image]
            run(["sh", "-c", make + image])
        start = [*words, "run", "--rm", "--network=none", *limits, "--entrypoint="]
        mount = ["-v", f"{PYINIT}:/sbin/pyinit.py:ro", image]
        init = ["python3", "-IS", "/sbin/pyinit.py", "--"]
        subjects = {
            "pyinit": [*start, *mount, *init, TRUE],
            "floor": [*start, image, TRUE],
        }
        if "dumb-init" in inits:
            mount = ["-v", f"{shutil.which('dumb-init')}:/dumb-init:ro", image]
            subjects["dumb-init"] = [*start, *mount, "/dumb-init", "--", TRUE]
        samples = interleaved(subjects, seconds, rounds, f"containers of {name}")
        table.put(f"a container of {name}, start to end, ms", samples, "floor", 1e3)
    except FAILURES as reason:
        progress(f"not measured: containers of {name}: {reason}")
    finally:
        if made:
            subprocess.run(made, stdout=subprocess.DEVNULL)


def versions(inits):
    """Return what the table is of: versions, words of the peers, and the machine."""
    found = [f"CPython {platform.python_version()}", f"Linux {platform.release()}"]
    for name, words in inits.items():
        query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", name]
        try:
            found.append(run(query))
        except (Unmeasured, OSError):
            found.append(f"{name} = `{shlex.join(words)}`")
    cpu = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return found + [f"{os.cpu_count()} × {cpu[0].split(':')[1].strip()}" if cpu else ""]


NOTES = """
Medians of interleaved runs, in brackets the median ratio to the floor, for signals, orphans
and zombies to %s. The floor is the least that Python needs: a program that imports the three
modules, parses a command line with one argument, starts the command and waits; for signals
(and their block), orphans and zombies a bare loop of sigwaitinfo, kill and waitpid; for a
container, one without an init. Python alone loads no module, starts the command and waits.

Measured on %s."""


class Table:
    """Rows of medians, a column for each subject, with ratios to one of them.

    A ratio is the median of the rounds' ratios, so that a machine that slows down and
    speeds up again does so for both.
    """

    def __init__(self, columns):
        self.columns, self.rows = columns, []

    def put(self, measure, samples, base=None, scale=1):
        cells = {}
        for name, values in samples.items():
            value = statistics.median(values) * scale
            cells[name] = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
            if name != base and base in samples:
                ratios = [value / other for value, other in zip(values, samples[base])]
                cells[name] += f" ({statistics.median(ratios):.2f})"
        self.rows.append((measure, cells))

    def show(self, markdown):
        used = {name for _, cells in self.rows for name in cells}
        columns = [name for name in self.columns if name in used]
        lines = [["", *columns]]
        for measure, cells in self.rows:
            lines.append([measure, *(cells.get(name, "") for name in columns)])
        if markdown:
            lines.insert(1, ["---", *["---:" for _ in columns]])
            for line in lines:
                print("| " + " | ".join(line) + " |")
            return
        widths = [max(map(len, column)) for column in zip(*lines)]
        for first, *rest in lines:
            cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
            print("  ".join([first.ljust(widths[0]), *cells]))


def written(directory):
    """Write pyinit and the floors into a directory, and compile them.

    Return the words that run each from source, and those that run it compiled.
    """
    directory.mkdir()
    texts = {"pyinit": PYINIT.read_text(), "floor": FLOOR, "init": FLOOR_INIT}
    for name, text in {**texts, "Python alone": BARE}.items():
        (directory / f"{name}.py").write_text(text)
    run([*PYTHON, "-m", "compileall", "-b", "-q", str(directory)])
    words = [
        {
            name: [*PYTHON, str(directory / f"{name}.{suffix}")]
            for name in (*texts, "Python alone")
        }
        for suffix in ("py", "pyc")
    ]
    for one in words:
        one["pyinit"].append("--")
    return words


def without_pyc(subjects):
    """Return words that read and write no .pyc file of the standard library.

    So an official image of Python starts, which has none. Needs Python 3.8 or later.
    """
    flags = ["-ISB", "-X", "pycache_prefix=/dev/null"]  # nothing can be below that
    return {name: [words[0], *flags, *words[2:]] for name, words in subjects.items()}


def measure_starts(table, source, compiled, inits, rounds):
    """Start to the command's end, from source and compiled, without and with options."""
    option = ["-r", "15:3", "--"]
    library = without_pyc(source)
    subjects = {
        "pyinit": source["pyinit"],
        "pyinit, compiled": compiled["pyinit"],
        "pyinit -r": [*source["pyinit"][:-1], *option],
        "pyinit -r, compiled": [*compiled["pyinit"][:-1], *option],
        "floor": source["floor"],
        "floor, compiled": compiled["floor"],
        "Python alone": source["Python alone"],
        **{name + NO_PYC: library[name] for name in ("pyinit", "floor")},
        **inits,
    }
    subjects = {name: [*words, TRUE] for name, words in subjects.items()}
    samples = interleaved(subjects, seconds, rounds, "start")
    for row, name, form in (
        ("start", "pyinit", ""),
        ("start, compiled", "pyinit", ", compiled"),
        ("start with `-r 15:3`", "pyinit -r", ""),
        ("start with `-r 15:3`, compiled", "pyinit -r", ", compiled"),
        (f"start{NO_PYC}", "pyinit", NO_PYC),
    ):
        cells = {"pyinit": samples[name + form], "floor": samples["floor" + form]}
        if row == "start":
            others = ("Python alone", *inits)
            cells.update({name: samples[name] for name in others if name in samples})
        table.put(f"{row}, ms", cells, "floor", 1e3)


def measure_orphans(table, subjects, base, directory, options):
    """Orphans and zombies of an init that is PID 1."""
    measure = orphan_cost(compile_c(ORPHANS, directory / "orphans"), options.orphans)
    with one_cpu():
        costs = interleaved(subjects, measure, options.rounds, "orphans")
    table.put("one orphan made and reaped, µs", costs, base)
    if not options.backlog:
        return
    measure = backlog(compile_c(BACKLOG, directory / "backlog"), options.backlog)
    name = f"{options.backlog:,} zombies at once"
    samples = interleaved(subjects, measure, options.rounds // 3, name)
    spent = {name: [one[0] for one in many] for name, many in samples.items()}
    grown = {name: [one[1] for one in many] for name, many in samples.items()}
    table.put(f"{name}, ms", spent, base)
    table.put("memory grown by them, kB", grown)


def enter_namespace():
    """Go on as PID 1 of a PID namespace; return why that is impossible, or nothing."""
    if os.getpid() == 1:
        return ""
    arguments = [sys.executable, *sys.argv]
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    if user:
        arguments.append("--containers=0")
    probe = subprocess.run([*NAMESPACE, *user, "true"], stderr=subprocess.PIPE)
    if not probe.returncode:
        os.execvp(NAMESPACE[0], [*NAMESPACE, *user, *arguments])
    return probe.stderr.decode().strip()


def peer(text):
    """Return the name and the words of another init."""
    name, _, words = text.partition("=")
    if not name or not shlex.split(words):
        raise ValueError(text)
    return name, shlex.split(words)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        type=peer,
        metavar="NAME='COMMAND …'",
        help="another init, with all its words before the command; repeatable",
    )
    parser.add_argument("--image", help="for containers, with python3 in it")
    parser.add_argument("--starts", type=int, default=100, help="rounds of starts")
    parser.add_argument("--signals", type=int, default=3000, help="signals a round")
    parser.add_argument("--growth", type=int, default=1000000, help="signals in all")
    parser.add_argument("--orphans", type=int, default=1000, help="orphans a round")
    parser.add_argument("--backlog", type=int, default=20000, help="zombies at once")
    parser.add_argument("--containers", type=int, default=31, help="rounds of them")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the rest")
    parser.add_argument("--markdown", action="store_true", help="for the README")
    return parser.parse_args()


def find_inits(peers, why_not):
    """Return the words of each other init; without a namespace of the known ones alone."""
    inits = {n: w.split() for n, w in KNOWN.items() if shutil.which(n)}
    if peers and why_not:
        progress(f"not measured: what may kill everything: {why_not}")
        return inits
    return {**inits, **dict(peers)}


def main():
    options, why_not = arguments(), enter_namespace()
    began, inits = time.perf_counter(), find_inits(options.peer, why_not)
    table = Table(["pyinit", *inits, "floor", "Python alone"])
    base = "dumb-init" if "dumb-init" in inits else "floor"
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        source, compiled = written(directory / "this")
        measure_starts(table, source, compiled, inits, options.starts)
        forms = ("", source, inits), (", compiled", compiled, {})
        for form, ours, others in (*forms, (NO_PYC, without_pyc(source), {})):
            subjects = {"pyinit": ours["pyinit"], **others, "floor": ours["init"]}
            windows = interleaved(subjects, window, options.starts // 3, "window")
            table.put(f"start to signals blocked{form}, ms", windows, "floor", 1e3)
            subjects["floor"] = ours["floor"]
            kept = interleaved(subjects, memory, options.rounds // 2, "memory")
            table.put(f"anonymous memory{form}, kB", kept, "floor")

        subjects = {"pyinit": source["pyinit"], **inits, "floor": source["init"]}
        with one_cpu():
            measure = signal_cost(options.signals)
            costs = interleaved(subjects, measure, 3 * options.rounds, "signals")
            table.put("one signal and its answer, µs", costs, base)
            name = f"memory grown by {options.growth:,} signals"
            measure, alone = growth(options.growth), {"pyinit": source["pyinit"]}
            table.put(f"{name}, kB", interleaved(alone, measure, 1, name))

        if why_not or not CC:
            progress(f"not measured: orphans: {why_not or 'no C compiler'}")
        else:
            measure_orphans(table, subjects, base, directory, options)
        if options.containers:
            measure_containers(table, inits, options.image, options.containers)
    table.show(options.markdown)
    print(NOTES % (base, ", ".join(versions(inits))))
    progress(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
