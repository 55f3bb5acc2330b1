#!/usr/bin/env python3
"""Measure pyinit beside the C inits and beside the least that Python itself needs.

Prints one table: start to a command's end, memory that stays, the cost of a signal and
of an orphan, as medians and ratios from interleaved runs. Nothing here is a test.
"""

import argparse
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYINIT = ROOT / "pyinit.py"
CC = shutil.which("cc") or shutil.which("gcc")
# What any Python must do to start a command and to report its end.
FLOOR = """
import os, signal
child = os.fork()
if not child:
    os.execv("/bin/true", ["true"])
os._exit(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
"""
FLOOR_ARGPARSE = "import argparse; argparse.ArgumentParser()\n" + FLOOR
# What any Python must do to pass a signal on and to reap: no rule, no table, no option.
FLOOR_INIT = """
import os, signal
every = (*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
signal.pthread_sigmask(signal.SIG_BLOCK, every)
command = os.sys.argv[2:]
child = os.fork()
if not child:
    os.setsid()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, every)
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
PAUSE = "import os, signal; os.write(1, b'up\\n'); signal.pause()"
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def progress(text):
    print(text, file=sys.stderr, flush=True)


def seconds(words):
    """Run a command to its end; return how long that took."""
    before = time.perf_counter()
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - before


def interleaved(subjects, measure, rounds, name):
    """Measure all subjects in turn, many times; return what was measured of each."""
    samples = {subject: [] for subject in subjects}
    for done in range(max(1, rounds)):
        if done % max(1, rounds // 5) == 0:
            progress(f"{name}: round {done + 1} of {rounds}")
        for subject, words in subjects.items():
            samples[subject].append(measure(words))
    return samples


def anonymous(pid):
    """Return the anonymous memory of a process in kB: smaps_rollup."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1])
    raise LookupError("no Anonymous line")


def memory(words):
    """Return what an init keeps once its command runs; or the process itself."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.05)  # let the parent side settle: it has no sign to wait for
    kilobytes = anonymous(process.pid)
    process.stdin.close()
    process.kill()
    process.wait()
    return kilobytes


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
    command = [*words, sys.executable, "-IS", "-c", ANSWER, str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    process.stdout.readline()
    wait, kill, pid, usr2 = signal.sigwaitinfo, os.kill, process.pid, [signal.SIGUSR2]
    for _ in range(50):
        kill(pid, 10)
        wait(usr2)
    first, before = look(pid), time.perf_counter()
    for _ in range(count):
        kill(pid, 10)
        wait(usr2)
    spent, last = time.perf_counter() - before, look(pid)
    kill(pid, 15)
    process.wait()
    process.stdout.close()
    return spent, first, last


def signal_cost(count):
    """Return a function: microseconds for a signal through an init and its answer."""
    return lambda words: ping_pong(words, count)[0] / count * 1e6


ORPHANS = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* Make orphans one after the other, each ended and reaped before the next: the pipe's
   end says that it has ended. Prints microseconds for each. */
int main(int argc, char **argv)
{
    int count = atoi(argv[1]);
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < count; i++) {
        int ends[2];
        char c;
        if (pipe(ends)) return 1;
        pid_t middle = fork();
        if (!middle) {
            if (!fork()) _exit(0);
            _exit(0);
        }
        waitpid(middle, NULL, 0);
        close(ends[1]);
        if (read(ends[0], &c, 1)) return 1;
        close(ends[0]);
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
    path.with_suffix(".c").write_text(source)
    subprocess.run([CC, "-O2", "-w", "-o", path, path.with_suffix(".c")], check=True)
    return str(path)


def orphan_cost(program, count):
    def measure(words):
        command = [*NAMESPACE, *words, program, str(count)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

    return measure


def child_of(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    while not path.read_text().split():
        pass
    return int(path.read_text().split()[0])


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def backlog(program, count):
    """Return a function: (ms to reap the backlog, kB that memory grew)."""

    def measure(words):
        process = subprocess.Popen(
            [*NAMESPACE, *words, program, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        process.stdout.readline()
        init = child_of(process.pid)
        before_memory = anonymous(init)
        os.kill(init, signal.SIGSTOP)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        listing, dead = Path(f"/proc/{init}/task/{init}/children"), []
        while len(dead) < count + 1:
            time.sleep(0.05)
            dead = listing.read_text().split()
        last, before = int(dead[-1]), time.perf_counter()
        os.kill(init, signal.SIGCONT)
        # The last on the kernel's list is the last that is reaped. To ask for it takes
        # none of the locks that reaping needs, as to read the list again would.
        while exists(last):
            time.sleep(0.0005)
        spent = (time.perf_counter() - before) * 1e3
        assert len(listing.read_text().split()) == 1
        grown = anonymous(init) - before_memory
        process.stdin.close()
        process.wait()
        return spent, grown

    return measure


def growth(words, count):
    """Return how many kB an init grows over count signals."""
    _, first, last = ping_pong(words, count, anonymous)
    return last - first


def window(words):
    """Return the seconds from the start of an init until it has blocked SIGTERM."""
    before, blocked = time.perf_counter(), 0
    process = subprocess.Popen([*words, "--", "cat"], stdin=subprocess.PIPE)
    status = Path(f"/proc/{process.pid}/status")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    # Once it has a child it may wait for its signals, which shows them as not blocked.
    while not blocked >> (signal.SIGTERM - 1) & 1 and not children.read_text():
        _, _, rest = status.read_text().partition("SigBlk:")
        blocked = int(rest.split()[0], 16)
    spent = time.perf_counter() - before
    process.communicate()
    return spent


def versions(inits):
    found = [f"CPython {platform.python_version()}", f"Linux {platform.release()}"]
    for name in inits:
        if shutil.which("dpkg-query"):
            query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", name]
            answer = subprocess.run(
                query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            if not answer.returncode:
                found.append(answer.stdout.decode())
    cpu = [line for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return found + [f"{os.cpu_count()} × {cpu[0].split(':')[1].strip()}" if cpu else ""]


NOTES = """
Medians; in brackets the ratio, to the floor or, below the memory, to dumb-init. The floor is
the least that Python needs: a program that starts a command, one that pauses, a bare loop of
sigwaitinfo, kill and waitpid. Measured on %s."""


class Table:
    """Rows of medians, a column for each subject, with ratios to one of them.

    A ratio is the median of the rounds' ratios, so that a machine that slows down and
    speeds up again does so for both.
    """

    def __init__(self):
        self.columns, self.rows = [], []

    def put(self, measure, samples, base=None, scale=1):
        cells = {}
        for name, values in samples.items():
            if name not in self.columns:
                self.columns.append(name)
            value = statistics.median(values) * scale
            cells[name] = f"{value:.0f}" if value >= 100 else f"{value:.1f}"
            if base and name != base:
                ratios = [value / other for value, other in zip(values, samples[base])]
                cells[name] += f" ({statistics.median(ratios):.2f})"
        self.rows.append((measure, cells))

    def show(self, markdown):
        lines = [["", *self.columns]]
        for measure, cells in self.rows:
            lines.append([measure, *(cells.get(name, "") for name in self.columns)])
        if markdown:
            lines.insert(1, ["---", *["---:" for _ in self.columns]])
            for line in lines:
                print("| " + " | ".join(line) + " |")
            return
        widths = [max(map(len, column)) for column in zip(*lines)]
        for first, *rest in lines:
            cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:])]
            print("  ".join([first.ljust(widths[0]), *cells]))


def compiled(python, directory):
    """Return pyinit compiled by an interpreter, as README.md tells how."""
    directory.mkdir(exist_ok=True)
    shutil.copy(PYINIT, directory)
    subprocess.run(
        [python, "-IS", "-m", "compileall", "-b", "-q", directory], check=True
    )
    return str(directory / "pyinit.pyc")


def measure_starts(table, ours, inits, directory, rounds):
    python = [sys.executable, "-IS"]
    for name, text in (("floor", FLOOR), ("floor_argparse", FLOOR_ARGPARSE)):
        (directory / f"{name}.py").write_text(text)
    starts = {n: [*words, "--", "/bin/true"] for n, words in {**ours, **inits}.items()}
    starts["floor"] = [*python, str(directory / "floor.py")]
    # All of pyinit, and nothing of it run: the floor's work in the place of main().
    source = PYINIT.read_text().replace("os._exit(main())", "pass")
    (directory / "idle.py").write_text(source + FLOOR)
    starts["idle"] = [*python, str(directory / "idle.py")]
    samples = interleaved(starts, seconds, rounds, "start")
    idle = {"pyinit": samples.pop("idle"), "floor": samples["floor"]}
    table.put("start, ms", samples, "floor", 1e3)
    table.put("start with main() left out, ms", idle, "floor", 1e3)
    options = {n: [*w, "-r", "15:3", "--", "/bin/true"] for n, w in ours.items()}
    options["floor"] = [*python, str(directory / "floor_argparse.py")]
    samples = interleaved(options, seconds, rounds // 2, "start with options")
    table.put("start with options, ms", samples, "floor", 1e3)


def measure_interpreter(table, python, directory, rounds):
    show = "import os, platform; os.write(1, platform.python_version().encode())"
    version = subprocess.check_output([python, "-c", show]).decode()
    starts = {
        "pyinit": [python, "-IS", str(PYINIT), "/bin/true"],
        "compiled": [python, "-IS", compiled(python, directory / version), "/bin/true"],
        "floor": [python, "-IS", str(directory / "floor.py")],
    }
    samples = interleaved(starts, seconds, rounds, f"start, {version}")
    table.put(f"start with CPython {version}, ms", samples, "floor", 1e3)


def measure_orphans(table, subjects, base, directory, options):
    subjects = {name: [*words, "--"] for name, words in subjects.items()}
    measure = orphan_cost(compile_c(ORPHANS, directory / "orphans"), options.orphans)
    costs = interleaved(subjects, measure, options.rounds, "orphans")
    table.put("one orphan made and reaped, µs", costs, base)
    program = compile_c(BACKLOG, directory / "backlog")
    measure, grown = backlog(program, options.backlog), {name: [] for name in subjects}

    def drained(name):
        spent, kilobytes = measure(subjects[name])
        grown[name].append(kilobytes)
        return spent

    names = {name: name for name in subjects}
    times = interleaved(names, drained, 5, f"{options.backlog} zombies at once")
    table.put(f"{options.backlog:,} zombies at once, ms", times, base)
    table.put("memory grown by them, kB", grown)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=100, help="rounds of starts")
    parser.add_argument("--signals", type=int, default=3000, help="signals a round")
    parser.add_argument("--orphans", type=int, default=1000, help="orphans a round")
    parser.add_argument("--backlog", type=int, default=20000, help="zombies at once")
    parser.add_argument(
        "--million", type=int, default=1000000, help="signals for memory"
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds of the rest")
    parser.add_argument(
        "--markdown", action="store_true", help="a table for the README"
    )
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        help="another interpreter to start with",
    )
    options = parser.parse_args()
    began, table = time.perf_counter(), Table()
    inits = {name: [name] for name in ("dumb-init", "tini", "catatonit", "my_init")}
    inits = {name: words for name, words in inits.items() if shutil.which(name)}
    if "tini" in inits:
        inits["tini"].append("-s")
    python = [sys.executable, "-IS"]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        pyc = compiled(sys.executable, directory / "compiled")
        ours = {"pyinit": [*python, str(PYINIT)], "compiled": [*python, pyc]}
        measure_starts(table, ours, inits, directory, options.starts)
        for other in options.python:
            measure_interpreter(table, other, directory, options.starts // 3)

        (directory / "init.py").write_text(FLOOR_INIT)
        floor = [*python, str(directory / "init.py")]
        subjects = {**ours, **inits, "floor": floor}
        windows = interleaved(subjects, window, options.starts // 2, "window")
        table.put("start to signals blocked, ms", windows, "floor", 1e3)

        wait = ["--", "sh", "-c", "echo up; read line"]
        subjects = {name: [*words, *wait] for name, words in {**ours, **inits}.items()}
        subjects["floor"] = [*python, "-c", PAUSE]
        kept = interleaved(subjects, memory, options.rounds, "memory")
        table.put("anonymous memory, kB", kept, "floor")

        subjects = {"pyinit": ours["pyinit"], **inits, "floor": floor}
        base = "dumb-init" if "dumb-init" in inits else "floor"
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cpus)})
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        direct = {name: [*words, "--"] for name, words in subjects.items()}
        measure = signal_cost(options.signals)
        costs = interleaved(direct, measure, 3 * options.rounds, "signals")
        table.put("one signal and its answer, µs", costs, base)
        progress(f"{options.million} signals")
        grown = growth(direct["pyinit"], options.million)
        table.put(
            f"memory grown by {options.million:,} signals, kB", {"pyinit": [grown]}
        )
        os.sched_setaffinity(0, cpus)

        probe = subprocess.run([*NAMESPACE, "true"], stderr=subprocess.PIPE)
        if probe.returncode or not CC:
            progress(f"no orphans: {probe.stderr.decode().strip() or 'no C compiler'}")
        else:
            measure_orphans(table, subjects, base, directory, options)
    table.show(options.markdown)
    print(NOTES % ", ".join(versions(inits)))
    progress(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
