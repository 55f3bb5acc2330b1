#!/usr/bin/env python3
"""A terminal oracle: the same keys leave the same transcript, with and without an init.

    python3 tests/tools/oracle.py --count 100 --seed 7     # random scripts
    python3 tests/tools/oracle.py --seed 7 --only 42       # one of them, as it went
    python3 tests/tools/oracle.py --matrix --init 'tini -s -g --'  # every pipeline, under tini
    python3 tests/tools/oracle.py --named                  # what once went wrong

A script is a command line and a list of steps (keys, lines, a resize). It is typed at an
interactive shell on a pseudo-terminal, once with nothing before the command and once with
the init. What must not differ is the transcript: all that the shell and the members of
its jobs write, the exit statuses, whether the shell or a job has the terminal, and which
members are there, running or stopped.

Nothing here waits for silence. After each step the terminal is *settled*: what was typed
has gone through the line discipline, and at one and the same moment every process of
the terminal was asleep or stopped, so that nothing can follow before the next step
(nobody here has a timer). Screen.settle() says how that is known.

Everything runs in a PID namespace, in which this program is PID 1: its /proc lists the
processes of one script and nobody else's.
"""

import argparse
import array
import contextlib
import fcntl
import json
import os
import pty
import random
import re
import resource
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import (
    BASH,
    DEADLINE,
    PROGRAMS,
    PROMPT,
    PYINIT,
    PYTHON,
    executable,
    monotonic,
    namespace_command,
)

SHELLS = {"bash": BASH, "dash": ["dash", "-i"], "busybox": ["busybox", "sh", "-i"]}
KEYS = {"^C": "\x03", "^\\": "\x1c", "^Z": "\x1a", "^D": "\x04"}

# --- What may differ by design ------------------------------------------------------
# Here and nowhere else. What can be seen through is normalised, in the transcripts of
# both; what cannot is not typed.

ENDED = {129: "Hangup", 130: "Interrupt", 131: "Quit", 137: "Killed", 141: "Broken pipe",
         143: "Terminated"}  # fmt: skip
NORMALISED = [  # pattern, replacement
    (r"^\[(\d+)\] \d+$", r"[\1] PID"),  # a pid is a pid
    # 128 + N is an exit, not a signal's death: of a job in the background the shell says
    # Exit 130 for Interrupt; and in the foreground one that a signal has ended has a line
    # of its own, Quit, and one that has exited has none.
    (
        r"\b(?:Exit |Done\()(%s)\b\)?" % "|".join(map(str, ENDED)),
        lambda found: ENDED[int(found[1])],
    ),
    (r"^ *(?:%s)$\n?" % "|".join(ENDED.values()), ""),
    # A stop by SIGSTOP or SIGTTIN is followed by pyinit with SIGTSTP, whose status is 148.
    (r"Stopped \((?:signal|tty input|tty output)\)", "Stopped"),
    (r"^=(?:147|149|150)$", "=148"),
    # bash makes the status of a pipeline that was stopped from that of a member that has
    # ended, by a signal (128) or with 128 + N (128 more).
    (r"^=(?:128|%s)$" % "|".join(str(128 + number) for number in ENDED), "=148"),
    # Which job is current: of two that stop at once, the one that the shell hears of
    # last; and dash says now and then of none.
    (r"^(\W*\[\d+\]) *[+-]", r"\1"),
    (r" +", " "),  # columns
]


def compared(script, typed, states):
    """Return of the members' states, "@a:S", what is compared after these steps."""
    # A SIGSTOP that is sent stops the init alone, since nobody can catch it. So does a
    # SIGTSTP where the init is stopped already, with a part of the child's group.
    part_stops = "group" in script["kinds"]
    if "kill -STOP %1" in typed or (part_stops and "kill -TSTP %1" in typed):
        return [state.partition(":")[0] for state in states]
    # What the command leaves behind is in its group: the terminal's keys, which go to
    # the group of the script around it, or to a later one's child, do not get there.
    if script["form"] in (*HAVE_A_SESSION, *AROUND):
        return [re.sub("-:.*", "-", state) for state in states]
    return states


def avoided(shell, form, members, names, inits, one_stops):
    """Return the steps that are not typed.

    members: the kinds of each, by its name; names: these, by chance; inits: those of the
    init's members; one_stops: whether of a pipeline the first of names is to stop itself.
    """
    kinds = set().union(*members.values())
    handles = {"ignore", "handle", "again"} & kinds
    keys, found = ["^C", "^\\"], []
    stops = [f"{name} {how}" for name in names for how in ("stop", "tstp")]
    if handles:  # a SIGTSTP that is sent arrives as SIGSTOP
        found += ["kill -TSTP %1"]
    if form in HAVE_A_SESSION:
        # So does the terminal's there. Such a child reads the terminal in the background
        # too; its group is orphaned, and the kernel drops a SIGTSTP there.
        found += ["^Z"] if handles else []
        found += ["bg", "kill -CONT %1", *(f"{name} tstp" for name in inits)]
        # Its stop is not followed; and a shell takes a job for stopped when all of it is
        # stopped or has ended: of a pipeline one may stop, and then none may end.
        if form in PIPELINES and one_stops:
            found += [*stops[2:], *keys, "^D", "kill %1"]
            found += [f"{name} exit 3" for name in names]
        else:
            found += stops
    # What the terminal sends reaches a child with a session by way of the init: the end
    # of who wrote to its pipe may come first.
    if form in ("middle", "last", "both") and "report" not in members["a"]:
        found += keys
    if shell == "bash":
        # Of a stopped job that is killed it says this or that, as it happens. Its fg sends
        # no SIGCONT to a job that is running: the init does not learn that it has the
        # terminal before it wants that.
        found += ["kill %1"]
        found += ["^Z"] if {"still", "ignore", "later"} & kinds and handles else []
    if form in AROUND:
        # The shell of the script or the subshell is in pyinit's group, the child not: it
        # does not get what the terminal sends. Where the child has a session, it does;
        # but bash ends a script whose command SIGINT has ended, and goes on after 130.
        # And a child that stops itself stops the script around it, which hangs else.
        found += [*keys, *stops, *(["^Z"] if "ignore" in kinds else [])]
    return found


# P is the init or nothing, R runs a member, S is the shell for scripts: as variables,
# the shells say them in the same words for both. K is replaced by the member's kinds.
FORMS = {
    "alone": "$P $R a K",
    "background": "$P $R a K &",
    "two": "$P $R a K & $P $R b K",
    "first": "$P $R a K | $R b K",
    "middle": "$R a K | $P $R b K | $R c K",
    "last": "$R a K | $P $R b K",
    "both": "$P $R a K | $P $R b K",
    "file": "$P $R a K >/dev/null",
    "null": "$P $R a K </dev/null",
    "script": "$S -c '$P $R a K; echo then $?'",
    "two in a script": "$S -c '$P $R a K; $P $R b K; echo then $?'",
    "a pipeline in a script": "$S -c '$P $R a K | $R b K; echo then $?'",
    "subshell": "($P $R a K; $P $R b K)",
}
PIPELINES = ("first", "middle", "last", "both", "a pipeline in a script")
HAVE_A_SESSION = (*PIPELINES, "file", "null")
AROUND = ("script", "two in a script", "a pipeline in a script", "subshell")
KINDS = ["", "report", "ignore", "handle", "again", "still", "group", "leaves"]
KINDS += ["report group", "report handle", "report still", "report ignore", "later"]


# --- Scripts ------------------------------------------------------------------------


def new_script(name, shell, form, steps, kinds=()):
    """Return a script. A step is two: what to do if the shell is in front, and if a job."""
    script = {"name": name, "shell": shell, "form": form, "steps": [*steps]}
    return {**script, "kinds": sorted(kinds)}


def make_script(seed, number):
    choose = random.Random(f"{seed}.{number}")
    shell = choose.choice([*SHELLS])
    form = choose.choice([*FORMS])
    members = {}

    def with_kind(found):
        kind = choose.choice(KINDS)
        if form == "null" and "still" not in kind.split():
            kind = (kind + " still").strip()
        members[found[1]] = set(kind.split())
        return f"$R {found[1]} {kind}".rstrip()

    command = re.sub(r"\$R (\w) K", with_kind, FORMS[form])
    names = choose.sample([*members], len(members))
    at_shell = {"jobs": 3, "kill -STOP %1": 1, "kill -CONT %1": 2, "kill -TSTP %1": 1,
                "kill %1": 1, "resize": 1, "^C": 1, command: 2}  # fmt: skip
    # Each of two by its number: which is current, NORMALISED says.
    for job in (" %1", " %2") if form == "two" else ("",):
        at_shell.update({f"fg{job}": 8, f"bg{job}": 3})
    in_job = {"hello": 4, "^Z": 6, "^C": 2, "^\\": 1, "^D": 2, "resize": 2}
    for name in names:
        in_job.update({f"{name} stop": 1, f"{name} tstp": 1, f"{name} exit 3": 1})
    inits = re.findall(r"\$P \$R (\w)", command)
    for step in avoided(shell, form, members, names, inits, choose.random() < 0.5):
        in_job.pop(step, None)
        if step != "^C":  # at its prompt, the shell alone gets it
            at_shell.pop(step, None)
    kinds = set().union(*members.values())
    if "still" in kinds:
        in_job.pop("^D", None)  # it would wait for the shell, and end that
    picked = [
        choose.choices([*steps], [*steps.values()], k=12)
        for steps in (at_shell, in_job)
    ]
    name = f"PYINIT_SEED={seed}, script {number}"
    return new_script(name, shell, form, [[command] * 2, *zip(*picked)], kinds)


# --- The matrix of pipelines ----------------------------------------------------------

# Each form, with all that is typed after it. "(the shell)" waits for the shell.
WRITER = "$P sh -c 'echo x; exec $R w still'"
TALK, END = ["hello"], ["hello", "^D"]
C, Z = [*TALK, "^C"], [*TALK, "^Z", "fg", *END]
MATRIX = [
    ("$P seq 100000 | less", [["", "key q"], ["", "^Z", "fg", "key q"]]),
    ("$P sh -c 'echo a; sleep 0.5' | (read p; read a </dev/tty; echo \"got $a\")",
     [["hello", "(the shell)"]]),
    (WRITER + ' | (read p; read a </dev/tty; echo "got $a")',
     [["hello", "^C"], ["^Z", "fg", "hello", "^C"], ["^Z", "bg", "fg", "hello", "^C"]]),
    ("echo $($P $R a)", [END, C]),
    ("x=$(echo in | $P $R a); echo $x", [["^C"]]),
    ("$P $R a >/dev/null", [END, C, Z]),
    ("$P $R a | $P $R b", [END, Z, [*TALK, "^Z", "fg", "b stop", "^Z", "fg", *TALK]]),
    ("$P $R a report | $P $R b report", [C + END]),
    ("$P $R a | $R b", [END, C, Z, [*TALK, "a stop", *TALK, "^Z", "fg", *TALK]]),
    ("$R a | $P $R b", [END, Z, [*TALK, "^Z", "bg", "fg", *END]]),
    ("$R a | $P cat", [END, Z]),
    ("$R a | $P $R b | $R c", [END, Z, [*TALK, "b stop", *TALK, "^Z", "fg", *TALK]]),
    ("$P $R a report | $R b report", [[*TALK, "^C", "resize", "^\\", *END]]),
    ("($P $R a; $P $R b)", [[*END, *END], [*Z, *Z]]),
    ("$P $R a & $P $R b &",
     [["fg %2", *END, "fg %1", *END], ["fg %2", "^C", "bg", "fg", *Z]]),
    ("$P $R a still & $P $R b still &", [["fg", "^C", "fg", "^Z", "bg", "kill %1"]]),
]  # fmt: skip
# The same in a script: not those whose point is that the shell goes on.
IN_A_SCRIPT = [
    ("$P seq 100000 | less", [["", "key q"], ["", "^Z", "fg", "key q"]]),
    (WRITER + ' | (read p; read a </dev/tty; echo "got $a")',
     [["hello", "^Z", "fg"], ["^Z", "fg", "hello", "^Z", "bg"]]),
    ("echo $($P $R a)", [END, Z]),
    ("$P $R a >/dev/null", [END, Z]),
    ("$P $R a | $P $R b", [END, Z]),
    ("$R a | $P $R b", [END, Z]),
    ("($P $R a; $P $R b)", [[*END, *END], [*Z, *Z]]),
    ("$P $R a still & $P $R b; kill $!", [END, Z]),
]  # fmt: skip


def typed(rows, full):
    """Return scripts of rows (name, form, command, keys), at each shell or one of them."""
    scripts = []
    for number, (name, form, command, keys) in enumerate(rows):
        for shell in [*SHELLS] if full else [[*SHELLS][number % len(SHELLS)]]:
            # BusyBox's read polls: in the background it is stopped when the next line is
            # typed, which the shell at its prompt reads, before that or after.
            if not (shell == "busybox" and "</dev/tty" in form and "bg" in keys):
                steps = [[step] * 2 for step in (command, *keys)]
                scripts.append(new_script(f"{shell}: {name}", shell, form, steps))
    return scripts


def matrix(full):
    """Return the scripts of the matrix; if not full, of each form the last alone."""
    rows = [(form, form, keys) for form, all_keys in MATRIX for keys in all_keys]
    for form, all_keys in IN_A_SCRIPT:
        # In a file's stead: the shell reads it from its argument, as eval would.
        command = "X=" + shlex.quote(form) + " $S -c 'eval \"$X\"; echo then $?'"
        rows += [(f"sh -c {form}", command, keys) for keys in all_keys]
    if not full:
        rows = [*{row[0]: row for row in rows}.values()]
    rows = [
        (f"{form}, then {' '.join(filter(None, keys))}", form, command, keys)
        for form, command, keys in rows
    ]
    return typed(rows, full)


# --- Scripts with a name: job control where it once went wrong -------------------------

# G is an init that has a grace; without an init it is who waits for what is left.
NAMED = [
    ("fg of a job that reads later", "$P $R a later &", ["fg", "resize", *C]),
    ("the same, with lines", "$P $R a later &", ["fg", "resize", *TALK, "^Z", "fg", *END]),
    ("fg after bg", "$P $R a later", ["^Z", "bg", "fg", "resize", *TALK, *Z]),
    ("fg of a job in a script", "$S -c '$P $R a later; echo then $?' &",
     ["fg", "resize", *END]),
    ("fg of two jobs", "$P $R a later & $P $R b later",
     ["^Z", "bg %2", "fg %1", "resize", *TALK, "^Z", "fg %2", "resize", *C, "fg %1", *C]),
    ("TSTP ignored, in the background", "(trap '' TSTP; exec $P $R a) &",
     ["fg", *TALK, "^Z", *END]),
    ("TSTP ignored, the command's own again", "(trap '' TSTP; exec $P $R a again) &",
     ["fg", *Z]),
    ("TSTP ignored, in the foreground", "(trap '' TSTP; exec $P $R a)",
     [*TALK, "^Z", *TALK, "a stop", "fg", *C]),
    ("TTIN ignored", "(trap '' TTIN; exec $P $R a) &", ["fg", "^C"]),
    ("TTIN ignored, in the foreground", "(trap '' TTIN; exec $P $R a)", Z),
    ("TTOU ignored", "(trap '' TTOU; exec $P $R a) &", ["fg", *Z]),
    ("all stops ignored", "(trap '' TSTP TTIN TTOU; exec $P $R a)", ["hello", "^Z", *C]),
    ("Ctrl-Z during the grace", "$G $R a lingers", [*TALK, "a exit 3", "^Z", "^C (the shell)"]),
    ("and twice", "$G $R a lingers", ["a exit 0", "^Z", "^Z", "resize", "^C (the shell)"]),
    ("Ctrl-C in a loop", "for i in 1 2 3; do $P $R a; done", C),
    ("in the loop of a script", "$S -c 'for i in 1 2 3; do $P $R a; done'", C),
    ("in a loop's last round", "$S -c 'for i in 1 2; do $P $R a; done'", [*END, *C]),
    ("in a loop, in the background", "for i in 1 2; do $P $R a still; done &",
     ["fg", "^C"]),
    ("a reader behind bg", "$P $R a", [*TALK, "^Z", "bg", "fg", *END]),
    ("a reader behind bg, again", "$P $R a &", ["bg", "bg", "fg", "^Z", "bg", "fg", *Z]),
    ("a writer behind bg", "$P $R a report still", ["^Z", "bg", "fg", "^C", "^Z", "kill %1"]),
]  # fmt: skip


def named(full):
    return typed([(name, name, command, keys) for name, command, keys in NAMED], full)


# --- A terminal ---------------------------------------------------------------------


def until(condition, what):
    """Wait until a condition of the kernel's holds, or raise TimeoutError."""
    deadline = monotonic() + DEADLINE
    while not condition():
        if monotonic() > deadline:
            left = [" ".join(fields[:4]) for fields in processes().values()]
            raise TimeoutError(f"{what}: {'; '.join(left)}")
        time.sleep(0.001)  # leave the CPU to those who are at work


class Screen:
    """A shell that leads the session of a pseudo-terminal, and what it writes."""

    def __init__(self, shell, init, member):
        self.master, slave = pty.openpty()
        # We keep the slave open: asking it whether there is input flushes the queue.
        self.slave = os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY)
        attributes = termios.tcgetattr(slave)
        # Without NOFLSH the terminal throws away, at each Ctrl-C, also what the command
        # has by then written in answer to it.
        attributes[3] |= termios.NOFLSH
        # BusyBox edits lines where there is ECHO. Else it reads them with fgets(3), and
        # a SIGCHLD that comes just then is the end of input, and of BusyBox.
        self.echo = shell == "busybox"
        if not self.echo:
            attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.rows, self.seen, self.echoes, self.status = 24, b"", [], None
        self.resize()
        names = ("PATH", "HOME", "LANG", "LC_ALL")
        env = {name: os.environ[name] for name in names if name in os.environ}
        env.update(PS1=PROMPT, PS2="", ENV="", HISTFILE="", TERM="dumb", R=member)
        env.update(P=init, S="busybox sh" if shell == "busybox" else shell)
        env["G"] = f"{init} --grace 1000" if init else f"{Path(member).parent}/waits"
        self.shell = os.fork()
        if not self.shell:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in range(3):
                os.dup2(slave, number)
            os.closerange(3, 256)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                # Python ignores them, and an init in Python cannot tell that we did.
                signal.signal(number, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.chdir("/")
            os.execvpe(SHELLS[shell][0], SHELLS[shell], env)
        os.close(slave)

    def resize(self):
        self.rows += 1
        size = struct.pack("HHHH", self.rows, 80, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def at_shell(self):
        """Tell whether it is the shell alone that has the terminal.

        A command substitution is in the shell's own group.
        """
        with contextlib.suppress(OSError):
            if os.tcgetpgrp(self.master) == self.shell:
                groups = [fields[3] for fields in processes().values()]
                return groups.count(str(self.shell)) < 2
        return False

    def unread(self):
        """Return how many bytes were typed that nobody has read."""
        count = array.array("i", [0])
        fcntl.ioctl(self.slave, termios.FIONREAD, count)
        return count[0]

    def type(self, text):
        """Type text; return when the line discipline has dealt with all of it.

        What is written to a pseudo-terminal is dealt with by a worker of the kernel's,
        later. poll(2) of the slave waits for it, unless there is input to be read. If
        that is new, the text, of which the newline or Ctrl-D is the last, is it. If
        there was some already, typed to who reads nothing, a newline is typed as well:
        it changes the number of bytes that can be read.
        """
        waiting, before = readable(self.slave), self.unread()
        if waiting and not text.endswith("\n"):
            text += "\n"
        os.write(self.master, text.encode())
        self.echoes += text.split() and text.splitlines() if self.echo else []

        def is_dealt_with():
            if not readable(self.slave):
                return True
            if waiting:
                return self.unread() != before
            return bool(termios.tcgetattr(self.slave)[3] & termios.ICANON)

        until(is_dealt_with, f"{text!r} was not dealt with")

    def read(self):
        while readable(self.master):
            with contextlib.suppress(OSError):
                self.seen += os.read(self.master, 65536)

    def settle(self):
        """Wait until nothing more can happen before the next step.

        That is so when all processes were asleep or stopped at one moment. Two looks at
        all of them show it: who has the same counts of context switches in both has not
        run in between, and so the moment between the two looks is one.
        """

        def is_settled():
            self.read()  # who writes to a terminal that is full would wait for us
            self.reap()
            before = look()
            return before is not None and before == look()

        until(is_settled, "never settled")
        self.reap()  # who had just ended is at rest, too
        self.read()

    def wait_for_shell(self):
        until(lambda: self.settle() or self.at_shell(), "the shell does not come")

    def take(self):
        """Return what was written since the last time, in lines as a terminal has it."""
        text, self.seen = self.seen.decode(errors="replace"), b""
        text = text.replace("\r\n", "\n").replace(PROMPT, "")
        # BusyBox asks where the cursor is, and clears lines; the terminal shows the keys.
        text = re.sub(r"\x1b\[[\d;]*[A-Za-z]|\^[CDZ\\]", "", text)
        for line in self.echoes:
            text = text.replace(line + "\n", "", 1)
        self.echoes = []
        return text

    def reap(self):
        """Reap what has ended and is our child: orphans, and the shell."""
        pid = 1
        while pid:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == self.shell:
                self.status = status

    def close(self):
        """End everything that was started here."""

        def all_are_gone():
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # all of our PID namespace but ourselves
            self.reap()
            return not processes()

        until(all_are_gone, "not killed")
        os.close(self.master)
        os.close(self.slave)


def readable(descriptor):
    """Tell whether there is something to read right now."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def processes():
    """Return {pid: (name, state, parent, group, …)} of all others of the namespace."""
    found = {}
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            name, _, rest = stat.partition("(")[2].rpartition(") ")
            found[pid] = name, *rest.split()
    del found[1]
    return found


def look():
    """Return what tells whether anybody has run since; None if somebody runs now."""
    seen = []
    for pid in processes():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            # A process that is about to sleep or to stop is in that state a little
            # before it does so, and before its parent knows. To read this file, the
            # kernel waits until it has really left the CPU.
            call = Path(f"/proc/{pid}/syscall").read_text()
            where = Path(f"/proc/{pid}/wchan").read_text()
        except OSError:
            return None  # it has just ended
        values = dict(re.findall(r"^(\w+):\t(.*)$", status, re.M))
        state = values["State"][0]
        if state == "Z":
            seen.append((pid, state))
            continue
        if state not in "ST" or call.startswith("running"):
            return None
        if "nanosleep" in where and values["Name"] == "busybox":
            return None  # it sleeps 20 ms after each line that it has read
        if "sigtimedwait" in where and call.split()[3] != "0x0":
            # An init in its grace looks for those left every 20 ms; it has dealt with
            # all that was sent to it when nothing of that waits.
            if int(values["ShdPnd"], 16):
                return None
            seen.append((pid, state))
            continue
        switches = [values[k] for k in values if k.endswith("ctxt_switches")]
        seen.append((pid, state, call, *switches))
    return seen


# --- One run ------------------------------------------------------------------------


def normalise(text):
    """Return what a step has left: the shell's lines, and the members', sorted.

    Two members that get the same signal say so in any order.
    """
    lines = re.findall(r"@[a-z][+-]? [^\n]*\n", text)
    for line in lines:
        text = text.replace(line, "", 1)
    for pattern, replacement in NORMALISED:
        text = re.sub(pattern, replacement, text, flags=re.M)
    rest = [line.strip() for line in text.splitlines() if line.strip()]
    # A notice of a job comes before the answer to "echo =$?", or after it.
    rest.sort(key=lambda line: bool(re.fullmatch(r"=\d+", line)))
    return [*rest, *sorted(line.strip() for line in lines)]


def do(screen, step):
    waits = step.endswith("(the shell)")  # that comes by itself, a little later
    keys = step[: -len("(the shell)")].strip() if waits else step
    if keys == "resize":
        screen.resize()
    elif keys in KEYS:
        screen.type(KEYS[keys])
    elif keys.startswith("key "):
        screen.type(keys[4:])
    elif not waits:
        screen.type(keys + "\n")
    if waits:
        screen.wait_for_shell()
    screen.settle()
    if screen.at_shell():
        # Notices of jobs come before the next prompt, or before the one after that, as
        # it happens: an empty line asks for them.
        for line in ("\n", "echo =$?\n"):
            screen.type(line)
            screen.settle()


def run(script, init):
    """Type a script with an init before the command ("" for none); return a transcript.

    The transcript is a list with, for each step, what was typed, what was written, who
    has the terminal, and the members with their states.
    """
    screen = Screen(script["shell"], init, script["member"])
    transcript, typed = [], []
    try:
        screen.settle()
        screen.take()
        for at_shell, in_job in script["steps"]:
            typed.append(at_shell if screen.at_shell() else in_job)
            do(screen, typed[-1])
            states = sorted(
                f"{name}:{state}"
                for name, state, *_ in processes().values()
                if name.startswith("@") and state != "Z"
            )
            who = "shell" if screen.at_shell() else "job"
            if screen.status is not None:
                who = f"the shell has ended: {screen.status}"
            states = compared(script, typed, states)
            transcript.append([typed[-1], normalise(screen.take()), who, states])
            if screen.status is not None:
                break
    except TimeoutError as error:
        transcript.append(["TIMEOUT", [str(error)], "", []])
    finally:
        screen.close()
    return transcript


def judge(script, init):
    """Run a script with and without an init; return a report, with a verdict.

    same: they do not differ
    stuck: a terminal was never settled
    different: the init does what the shell does not do without it
    flaky: the shell itself does one thing or another, and one of them is the init's
    """
    without, with_init = [run(script, "")], run(script, init)
    # What the shell does now and then without the init is no fault of the init's: where it
    # varies, it is asked again and again.
    for tries in range(34):
        varies = any(one != without[0] for one in without)
        if with_init in without or (tries == 4 and not varies):
            break
        without.append(run(script, ""))
    verdict = "flaky" if with_init in without else "different"
    if with_init == without[0]:
        verdict = "same"
    if any(step[0] == "TIMEOUT" for one in (*without, with_init) for step in one):
        verdict = "stuck"
    return {"verdict": verdict, "without": without, "with": [with_init]}


# --- As a program -------------------------------------------------------------------


def consult(scripts, init, workers=2):
    """Run scripts with and without an init; yield (script, report) as they are done.

    workers namespaces, with this program as their PID 1, are at work at a time.
    """
    command = namespace_command()
    if isinstance(command, str):
        raise OSError(command)
    scripts, started = [*scripts], []
    directory = Path(tempfile.mkdtemp(prefix="oracle-", dir="/tmp"))
    # A shell splits what it finds in a variable at blanks, whatever quotes there are: so
    # each of these is a program of one word.
    words = {"init": init}
    for name in ("member", "waits"):
        words[name] = shlex.join([*PYTHON, str(PROGRAMS / f"{name}.py")])
    for name, text in words.items():
        executable(directory / name, f'#!/bin/sh\nexec {text} "$@"\n')
    try:
        for first in range(min(workers, len(scripts))):
            with tempfile.TemporaryFile("w+") as file:
                json.dump([str(directory), scripts[first::workers]], file)
                file.seek(0)
                words = [*command, sys.executable, __file__, "--inside"]
                process = subprocess.Popen(words, stdin=file, stdout=subprocess.PIPE)
            started.append(process)
        streams = [process.stdout for process in started]
        while streams:
            for stream in select.select(streams, [], [])[0]:
                line = stream.readline()
                if line:
                    yield tuple(json.loads(line))
                else:
                    streams.remove(stream)
        if any(process.wait() for process in started):
            raise RuntimeError("a namespace of the oracle has failed")
    finally:
        for process in started:
            process.kill()  # and with it, by --kill-child, its namespace
            process.wait()
            process.stdout.close()
        shutil.rmtree(directory)


def work():
    """Be the PID 1 that runs the scripts that stdin has; print a report a line."""
    directory, scripts = json.load(sys.stdin)
    os.set_inheritable(0, False)
    for script in scripts:
        script["member"] = f"{directory}/member"
        print(json.dumps([script, judge(script, f"{directory}/init")]), flush=True)


def show(script, report):
    """Return a script and its transcripts as text, with a mark where they differ."""
    transcripts = []
    for name in ("without", "with"):
        for one in report[name]:
            if (name, one) not in transcripts:
                transcripts.append((name, one))
    lines = [f"{report['verdict']}: {script['name']}, {script['shell']}"]
    for steps in zip_longest(*(one for _, one in transcripts)):
        same = all(step == steps[0] for step in steps)
        names = [""] if same else [name for name, _ in transcripts]
        for name, step in zip(names, steps):
            what, text, who, states = step or ("nothing more", [], "", [])
            mark = " " if same else "!"
            lines.append(f"{mark} {name:10}{what:24} -> {who} {' '.join(states)}")
            lines += [f"{mark} {'':14}| {line}" for line in text]
    return "\n".join(lines)


def passed(report):
    """Tell whether a report has nothing against the init."""
    return report["verdict"] in ("same", "flaky")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10, help="how many scripts")
    parser.add_argument("--seed", default="1", help="what the scripts are made from")
    parser.add_argument("--only", type=int, help="this script alone, as it went")
    parser.add_argument("--matrix", action="store_true", help="every form of pipeline")
    parser.add_argument("--named", action="store_true", help="the scripts with a name")
    parser.add_argument("--init", default=shlex.join(PYINIT), help="a command line")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        work()
        return 0
    numbers = range(options.count) if options.only is None else [options.only]
    scripts = [make_script(options.seed, number) for number in numbers]
    if options.matrix or options.named:
        scripts = matrix(full=True) if options.matrix else named(full=True)
    start, verdicts, well = monotonic(), Counter(), True
    for script, report in consult(scripts, options.init):
        verdicts[report["verdict"]] += 1
        well = well and passed(report)
        if options.only is not None or report["verdict"] != "same":
            print(show(script, report), end="\n\n", flush=True)
        else:
            print(f"same: {script['name']}", flush=True)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    print(f"{options.init}: {len(scripts)} scripts: {counts}")
    print(f"in {monotonic() - start:.1f} s")
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
