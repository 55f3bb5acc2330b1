#!/usr/bin/env python3
"""Put pyinit through everything at once, as a real PID 1, and count what comes of it.

Orphans, real-time and standard signals, stops and continues. Prints what was sent, and what
was lost, repeated, left or has grown: the exit status is 0 only where that is nothing.

Real-time signals queue, so as many must arrive as were sent. Standard signals coalesce
while they are pending, so of each burst at least one must arrive, and no more than were
sent. A stop signal must stop the command, or reach it, and SIGCONT resume it and arrive.
(PID 1 itself cannot be stopped: the kernel drops what would do that.)
"""

import argparse
import collections
import contextlib
import os
import random
import resource
import select
import shlex
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import PYINIT, STOPS, children, field, namespace_command, state

NOT_SENT = [*STOPS, signal.SIGCONT, signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP]
STANDARD = [number for number in range(1, 32) if number not in NOT_SENT]
REALTIME = list(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
# What the command tells: the number of a signal and 1, or one of these and how many.
RECORD = struct.Struct("=II")
READY, ORPHANS, AT_REST = range(100, 103)
ENOUGH = 5000  # zombies, where nobody reaps them: pids are everybody's
STATUS = 7  # the command's own, which the init must report
GROWTH = 64  # kB: a page here and there is no leak


# --- The command: what runs under the init ----------------------------------------


def tell(kind, count=1):
    # So few bytes go in whole.
    os.write(1, RECORD.pack(kind, count))


def make_orphans(chance):
    """Leave orphans to the init, a burst at a time, until standard input ends.

    They and their makers have a session of their own, since what the init sends to the
    command's group is for the command to count.
    """
    os.setsid()
    while not select.select([0], [], [], chance.random() / 100)[0]:
        if len(os.listdir("/proc")) > ENOUGH:
            continue
        size, life = chance.randrange(1, 100), chance.choice([0, 0, 0.01])
        maker = os.fork()
        if not maker:
            for _ in range(size):
                if not os.fork():
                    time.sleep(life)
                    os._exit(0)
            os._exit(0)
        os.waitpid(maker, 0)
        tell(ORPHANS, size)


def command(chance):
    """Tell each signal that comes, until standard input ends."""
    signals = [*range(1, 32), *REALTIME]
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    maker = os.fork()
    if not maker:
        make_orphans(chance)
        os._exit(0)
    tell(READY)
    has_ended = False
    while not has_ended:
        number = signal.sigwaitinfo(signals).si_signo
        if number == signal.SIGCHLD:
            has_ended = os.waitpid(maker, os.WNOHANG)[0]
        else:
            tell(number)
    tell(AT_REST)
    signal.sigwait([signal.SIGTERM])
    os._exit(STATUS)


# --- The storm: what sends and counts ---------------------------------------------


def number_in(pid, file, name):
    """Return the number in a line of a /proc/PID/file, 0 if the process is gone."""
    try:
        return int(field(Path(f"/proc/{pid}/{file}").read_text(), name).split()[0])
    except OSError:
        return 0


class Storm:
    """An init with its command: what was sent to it, what has arrived, what was lost."""

    def __init__(self, init, chance, patience):
        self.chance = chance
        self.patience = patience  # seconds
        self.sent = collections.Counter()
        self.told = collections.Counter()  # by the command
        self.bursts = {}  # number: (sent and received before, and what comes after it)
        self.count = collections.Counter()
        self.faults = []
        self.unread = b""
        # Half of what this user may have queued for the init, half for the command; and
        # there are others. Beyond the limit the kernel drops what a signal is, or all.
        limit = resource.getrlimit(resource.RLIMIT_SIGPENDING)[0]
        self.window = 1000 if limit < 0 else min(1000, limit // 8)
        namespace = namespace_command()
        if isinstance(namespace, str):
            sys.exit(namespace)
        self.namespace = subprocess.Popen(
            [*namespace, *init, sys.executable, __file__, "--command"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.log = self.namespace.stdout.fileno()
        if not self.until(lambda: self.told[READY], "the command is ready"):
            self.namespace.kill()  # and the kernel the init, and all that it has
            sys.exit("the init does not start the command")
        self.init = children(self.namespace.pid)[0]
        self.command = children(self.init)[0]
        # Signals go to this, not to a pid that is another's once the init has ended.
        self.handle = os.pidfd_open(self.init)

    def send(self, number):
        self.sent[number] += 1
        with contextlib.suppress(ProcessLookupError):  # it has ended: all is lost
            signal.pidfd_send_signal(self.handle, number)

    def read(self, seconds=0.0):
        """Count what the command tells, waiting so long for it; False at its end."""
        if select.select([self.log], [], [], seconds)[0]:
            data = os.read(self.log, 65536)
            whole = len(self.unread + data) // RECORD.size * RECORD.size
            for kind, count in RECORD.iter_unpack((self.unread + data)[:whole]):
                self.told[kind] += count
            self.unread = (self.unread + data)[whole:]
            return bool(data)
        return True

    def until(self, condition, what):
        """Read until a condition holds; where it does not in time, that is a fault.

        After a fault a second is enough: much else may never come.
        """
        patience = min(1, self.patience) if self.faults else self.patience
        deadline = time.monotonic() + patience
        while not condition():
            if not self.read(0.001) or time.monotonic() > deadline:
                self.faults.append(f"did not come: {what}")
                return False
        return True

    def on_their_way(self):
        """Return how many real-time signals have been sent and not received."""
        return sum(self.sent[number] - self.told[number] for number in REALTIME)

    def start_burst(self, number):
        """Send a standard signal once or more, and a real-time one behind it.

        Both processes take the lowest number first, so when the second has arrived, all
        that there will be of the first has.
        """
        before = self.sent[number], self.told[number]
        for _ in range(self.chance.choice([1, 1, 2, 5])):
            self.send(number)
        marker = self.chance.choice(REALTIME)
        self.send(marker)
        self.bursts[number] = (*before, marker, self.sent[marker])
        self.count["bursts"] += 1

    def settle_bursts(self):
        """Strike out the bursts that have arrived; True if none is on its way."""
        for number, (sent, told, marker, needed) in [*self.bursts.items()]:
            received = self.told[number] - told
            if received and self.told[marker] >= needed:
                del self.bursts[number]
                if received > self.sent[number] - sent:
                    self.faults.append(f"signal {number} came oftener than it was sent")
        return not self.bursts

    def stop(self):
        """Send a signal that stops; tell if the command stops, or gets the signal."""
        number = self.chance.choice(STOPS)
        before = self.told[number]
        self.send(number)
        self.count["stops"] += 1
        return self.until(
            lambda: state(self.command) == "T" or self.told[number] > before,
            "a stop signal stops the command, or reaches it",
        )

    def resume(self):
        before = self.told[signal.SIGCONT]
        self.send(signal.SIGCONT)
        return self.until(lambda: self.told[signal.SIGCONT] > before, "SIGCONT arrives")

    def blow(self, seconds):
        """Send everything at once for so long; then wait for what is on its way."""
        if self.faults:
            return
        chance, end = self.chance, time.monotonic() + seconds
        change, stopped = time.monotonic(), False
        while time.monotonic() < end and not self.faults and self.read():
            time.sleep(0.001)  # there are others, who shall have their part too
            if self.on_their_way() < self.window - 50:
                number = chance.choice(REALTIME)
                for _ in range(chance.randrange(50)):
                    self.send(number)
            self.settle_bursts()
            number = chance.choice(STANDARD)
            if number not in self.bursts:
                self.start_burst(number)
            if time.monotonic() > change:
                stopped = not self.resume() if stopped else self.stop()
                change = time.monotonic() + chance.random() / (20 if stopped else 5)
        if stopped:
            self.resume()
        self.until(self.settle_bursts, "all the standard signals")
        self.until(lambda: not self.on_their_way(), "all the real-time signals")

    def rest(self):
        """Let the command come to rest; return the init's zombies and its wake-ups."""
        self.namespace.stdin.close()
        self.until(lambda: self.told[AT_REST], "the command comes to rest")
        self.until(lambda: len(children(self.init)) < 2, "the last orphan is reaped")
        self.until(lambda: state(self.init) == "S", "PID 1 sleeps")
        left = max(0, len(children(self.init)) - 1)
        looks = []
        for seconds in (1, 0):
            looks.append(number_in(self.init, "status", "voluntary_ctxt_switches"))
            time.sleep(seconds)  # a stretch of idleness, not a wait for something
        return left, looks[1] - looks[0]

    def memory(self):
        return number_in(self.init, "smaps_rollup", "Anonymous")

    def end(self):
        """End the command, as an engine would; return the status of the init."""
        self.send(signal.SIGTERM)
        try:
            return self.namespace.wait(self.patience)
        except subprocess.TimeoutExpired:
            self.faults.append("in vain: SIGTERM ends the command")
            self.namespace.kill()
            return self.namespace.wait()


def report(init, seconds, seed, patience):
    """Run a storm, print what came of it; tell whether all is as it should be."""
    storm = Storm(init, random.Random(seed), patience)
    storm.blow(min(1, seconds / 4))  # once each, so that what grows later is a leak
    before = storm.memory()
    storm.blow(seconds)
    memory = storm.memory()
    left, wakeups = storm.rest()
    status = storm.end()
    sent, told = storm.sent, storm.told
    lost = sum(max(0, sent[number] - told[number]) for number in REALTIME)
    counts = {
        **storm.count,
        "real-time signals": sum(sent[number] for number in REALTIME),
        "standard signals": sum(sent[number] for number in STANDARD),
        "orphans": told[ORPHANS],
    }
    print(", ".join(f"{number:,} {name}" for name, number in counts.items()))
    print(f"memory {before} kB, then {memory} kB; status {status}")
    repeated = any(told[number] > sent[number] for number in REALTIME)
    wrong = {
        f"{lost} real-time signals are lost": lost,
        "a real-time signal came oftener than it was sent": repeated,
        f"bursts of {[*storm.bursts]} are lost": storm.bursts,
        f"{left} zombies are left": left,
        f"memory has grown by {memory - before} kB": memory - before > GROWTH,
        f"{wakeups} wake-ups when idle": wakeups,
        f"the status is {status}, the command's is {STATUS}": status != STATUS,
    }
    faults = storm.faults + [what for what, is_wrong in wrong.items() if is_wrong]
    for fault in faults:
        print("wrong:", fault)
    return not faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--seconds", type=float, default=10)
    add("--seed", type=int, default=random.randrange(1000000))
    add("--init", default=shlex.join(PYINIT), help="another init: 'COMMAND …'")
    add("--patience", type=float, default=20, help="seconds for what must come")
    add("--command", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.command:
        command(random.Random())
    init = shlex.split(options.init)
    print(f"{options.seconds:g} s of {options.init}, --seed {options.seed}", flush=True)
    good = report(init, options.seconds, options.seed, options.patience)
    print("nothing lost, left or grown" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
