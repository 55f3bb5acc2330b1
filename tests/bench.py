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
# What any Python must do to start a command and to report its end.
FLOOR = """
import os, signal
child = os.fork()
if not child:
    os.execvp("true", ["true"]) if 0 else os.execv("/bin/true", ["true"])
os._exit(os.WEXITSTATUS(os.waitpid(child, 0)[1]))
"""
FLOOR_ARGPARSE = "import argparse; argparse.ArgumentParser()\n" + FLOOR
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
    """Measure all subjects in turn, many times; return the median of each."""
    samples = {subject: [] for subject in subjects}
    for done in range(rounds):
        if done % max(1, rounds // 5) == 0:
            progress(f"{name}: round {done + 1} of {rounds}")
        for subject, words in subjects.items():
            samples[subject].append(measure(words))
    return {subject: statistics.median(values) for subject, values in samples.items()}


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
    compiler = shutil.which("cc") or shutil.which("gcc")
    subprocess.run(
        [compiler, "-O2", "-w", "-o", path, path.with_suffix(".c")], check=True
    )
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
        listing = Path(f"/proc/{init}/task/{init}/children")
        while len(listing.read_text().split()) < count + 1:
            time.sleep(0.05)
        before = time.perf_counter()
        os.kill(init, signal.SIGCONT)
        # The last one gone: the kernel's count of the processes of that namespace.
        while len(listing.read_text().split()) > 1:
            time.sleep(0.001)
        spent = (time.perf_counter() - before) * 1e3
        grown = anonymous(init) - before_memory
        process.stdin.close()
        process.wait()
        return spent, grown

    return measure


def growth(words, count):
    """Return how many kB an init grows over count signals."""
    _, first, last = ping_pong(words, count, anonymous)
    return last - first


def windows(rounds):
    """Return medians in ms: exec to the first statement's mask, and to the command."""
    if not shutil.which("strace"):
        return None
    results = []
    for _ in range(rounds):
        with tempfile.NamedTemporaryFile("r") as log:
            words = [
                "strace",
                "-ttt",
                "-f",
                "-o",
                log.name,
                "-e",
                "trace=execve,rt_sigprocmask,fork,clone,clone3,vfork",
            ]
            subprocess.run(
                [*words, sys.executable, "-IS", str(PYINIT), "true"], check=True
            )
            lines = [line.split(None, 2)[1:] for line in log]
        starts = [float(when) for when, what in lines if what.startswith("execve(")]
        masks = [
            float(when)
            for when, what in lines
            if "SIG_BLOCK, ~[" in what or "SIG_BLOCK, [HUP" in what
        ]
        results.append(((masks[0] - starts[0]) * 1e3, (starts[1] - starts[0]) * 1e3))
    return [statistics.median(values) for values in zip(*results)]


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


class Table:
    """Rows of medians, a column for each subject, with ratios to one of them."""

    def __init__(self):
        self.columns, self.rows = [], []

    def put(self, measure, values, base=None, scale=1):
        cells = {}
        for name, value in values.items():
            if name not in self.columns:
                self.columns.append(name)
            text = (
                f"{value * scale:.0f}"
                if value * scale >= 100
                else f"{value * scale:.1f}"
            )
            ratio = f" ({value / values[base]:.2f})" if base and name != base else ""
            cells[name] = text + ratio
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


def measure_starts(table, ours, inits, directory, rounds):
    python = [sys.executable, "-IS"]
    for name, text in (("floor", FLOOR), ("floor_argparse", FLOOR_ARGPARSE)):
        (directory / f"{name}.py").write_text(text)
    starts = {n: [*words, "--", "/bin/true"] for n, words in {**ours, **inits}.items()}
    starts["floor"] = [*python, str(directory / "floor.py")]
    table.put("start, ms", interleaved(starts, seconds, rounds, "start"), "floor", 1e3)
    options = {n: [*w, "-r", "15:3", "--", "/bin/true"] for n, w in ours.items()}
    options["floor"] = [*python, str(directory / "floor_argparse.py")]
    medians = interleaved(options, seconds, rounds // 2, "start with options")
    table.put("start with options, ms", medians, "floor", 1e3)


def measure_orphans(table, subjects, directory, options):
    subjects = {name: [*words, "--"] for name, words in subjects.items()}
    base = "dumb-init" if "dumb-init" in subjects else "pyinit"
    measure = orphan_cost(compile_c(ORPHANS, directory / "orphans"), options.orphans)
    costs = interleaved(subjects, measure, options.rounds, "orphans")
    table.put("one orphan made and reaped, µs", costs, base)
    program = compile_c(BACKLOG, directory / "backlog")
    measure, drained, grown = backlog(program, options.backlog), {}, {}
    for name in [name for name in ("pyinit", "dumb-init") if name in subjects]:
        progress(f"{options.backlog} zombies at once: {name}")
        results = [measure(subjects[name]) for _ in range(3)]
        drained[name] = statistics.median(spent for spent, _ in results)
        grown[name] = max(kilobytes for _, kilobytes in results)
    table.put(f"{options.backlog:,} zombies at once, ms", drained, base)
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
    options = parser.parse_args()
    began, table = time.perf_counter(), Table()
    inits = {name: [name] for name in ("dumb-init", "tini", "catatonit", "my_init")}
    inits = {name: words for name, words in inits.items() if shutil.which(name)}
    if "tini" in inits:
        inits["tini"].append("-s")
    python = [sys.executable, "-IS"]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        shutil.copy(PYINIT, directory)
        subprocess.run([*python, "-m", "compileall", "-b", "-q", scratch], check=True)
        source, compiled = str(PYINIT), str(directory / "pyinit.pyc")
        ours = {"pyinit": [*python, source], "compiled": [*python, compiled]}
        measure_starts(table, ours, inits, directory, options.starts)

        wait = ["--", "sh", "-c", "echo up; read line"]
        subjects = {name: [*words, *wait] for name, words in {**ours, **inits}.items()}
        subjects["floor"] = [*python, "-c", PAUSE]
        kept = interleaved(subjects, memory, options.rounds, "memory")
        table.put("anonymous memory, kB", kept, "floor")

        subjects = {"pyinit": ours["pyinit"], **inits}
        base = "dumb-init" if inits else "pyinit"
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(cpus)})
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
        direct = {name: [*words, "--"] for name, words in subjects.items()}
        measure = signal_cost(options.signals)
        costs = interleaved(direct, measure, 3 * options.rounds, "signals")
        table.put("one signal and its answer, µs", costs, base)
        progress(f"{options.million} signals")
        grown = growth(direct["pyinit"], options.million)
        table.put(f"memory grown by {options.million:,} signals, kB", {"pyinit": grown})
        os.sched_setaffinity(0, cpus)

        probe = subprocess.run([*NAMESPACE, "true"], stderr=subprocess.PIPE)
        if probe.returncode:
            progress(f"no orphans: {probe.stderr.decode().strip()}")
        else:
            measure_orphans(table, subjects, directory, options)
        window = windows(9)
        if window:
            text = "exec to signals blocked, of exec to exec, under strace, ms"
            table.put(text, {"pyinit": window[0], "floor": window[1]})
    table.show(options.markdown)
    print(
        "\nMedians; in brackets the ratio to the floor, or to dumb-init. The floor is the"
    )
    print(
        "least that Python needs: a program that starts a command, or one that pauses."
    )
    print("Measured on " + ", ".join(versions(inits)) + ".")
    progress(f"took {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
