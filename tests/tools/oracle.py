#!/usr/bin/env python3
"""A terminal oracle: the same keys leave the same transcript, with and without an init.

    python3 tests/tools/oracle.py --count 100 --seed 7            # random scripts
    python3 tests/tools/oracle.py --init 'tini -s -g --' --count 20  # another init in its place
    python3 tests/tools/oracle.py --seed 7 --only 42 --show       # one script, as it went
    python3 tests/tools/oracle.py --matrix                        # the pipelines, as a table
    python3 tests/tools/oracle.py --named                         # the scripts with a name

A script is a command line and a list of steps (keys, lines, a resize), made from a seed.
It is typed at an interactive shell on a pseudo-terminal, once with nothing before the
command and once with the init. What must not differ is the transcript: all that the
shell and the members of its jobs write, the exit statuses, whether the shell or a job
has the terminal, and which members are there, running or stopped.

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
from support import DEADLINE, PROGRAMS, PYINIT, PYTHON, monotonic, namespace_command

HERE = Path(__file__).resolve()
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "--noediting", "-i"],
    "dash": ["dash", "-i"],
    "busybox": ["busybox", "sh", "-i"],
}
SCRIPT_SHELLS = {"bash": "bash", "dash": "dash", "busybox": "busybox sh"}
MEMBER = shlex.join([*PYTHON, str(PROGRAMS / "member.py")])
WAITS = shlex.join([*PYTHON, str(PROGRAMS / "waits.py")])
PROMPT = "@prompt@ "
KEYS = {"^C": "\x03", "^\\": "\x1c", "^Z": "\x1a", "^D": "\x04"}

# --- What may differ by design ------------------------------------------------------
# Here and nowhere else. What can be seen through is normalised, in the transcripts of
# both; what cannot is not typed.

ENDED = {
    129: "Hangup",
    130: "Interrupt",
    131: "Quit",
    137: "Killed",
    141: "Broken pipe",
}
ENDED[143] = "Terminated"

NORMALISED = [
    # reason, pattern, replacement
    ("a pid is a pid", r"^\[(\d+)\] \d+$", r"[\1] PID"),
    (
        "128 + N is an exit, not a signal's death: of a job in the background the shell "
        "says Exit 130 for Interrupt",
        r"\b(?:Exit |Done\()(%s)\b\)?" % "|".join(map(str, ENDED)),
        lambda found: ENDED[int(found[1])],
    ),
    (
        "for the same reason a job in the foreground that a signal has ended has a line "
        "of its own, Quit, and one that has exited has none",
        r"^ *(?:%s)$\n?" % "|".join(ENDED.values()),
        "",
    ),
    (
        "a stop by SIGSTOP or SIGTTIN is followed by pyinit with SIGTSTP",
        r"Stopped \((?:signal|tty input|tty output)\)",
        "Stopped",
    ),
    ("and so its status is 148", r"^=(?:147|149|150)$", "=148"),
    (
        "128 + N is an exit: bash makes the status of a pipeline that was stopped from "
        "that of a member that has ended, by a signal (128) or with 128 + N (128 more)",
        r"^=(?:128|%s)$" % "|".join(str(128 + number) for number in ENDED),
        "=148",
    ),
    (
        "which job is current: of two that stop at once, the one that the shell hears of "
        "last; and dash says now and then of none",
        r"^(\W*\[\d+\]) *[+-]",
        r"\1",
    ),
    ("columns", r" +", " "),
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


def avoided(shell, form, members, names, steps, stopping):
    """Yield (reason, the steps that are not typed).

    shell, form, steps: of the script; members: the kinds of each; names: of the init's
    members; stopping: whether in a pipeline a member is to stop itself, not to end.
    """
    kinds = set().union(*members.values())
    handles = {"ignore", "handle", "again"} & kinds
    keys = ("^C", "^\\")
    stops = [step for step in steps if step.endswith((" stop", " tstp"))]
    ends = [step for step in steps if " exit " in step]
    ends += (*keys, "^D", "kill %1")
    if handles:
        yield "a SIGTSTP that is sent arrives as SIGSTOP", ["kill -TSTP %1"]
    if form in HAVE_A_SESSION:
        if handles:
            yield "so does the terminal's where the child has a session", ["^Z"]
        yield (
            "a session of its own reads the terminal in the background too",
            ["bg", "kill -CONT %1"],
        )
        yield (
            "its group is orphaned, and the kernel drops a SIGTSTP there",
            [f"{name} tstp" for name in names],
        )
        # A shell takes a job for stopped when all of it is stopped or has ended.
        reason = "the stop of a child with a session is not followed"
        yield reason, [*stops[2:], *ends] if form in PIPELINES and stopping else stops
    if form in ("middle", "last", "both") and "report" not in members["a"]:
        yield (
            "what the terminal sends reaches a child with a session by way of the init: "
            "the end of who wrote to its pipe may come first",
            keys,
        )
    if shell == "bash":
        # Nobody's design: it has not looked at the job's end yet, or has, as it happens.
        yield "bash says this or that of a stopped job that is killed", ["kill %1"]
    if shell == "bash" and {"still", "ignore", "later"} & kinds and handles:
        yield (
            "bash's fg sends no SIGCONT to a job that is running: its init does not "
            "learn that it has the terminal before it wants that",
            ["^Z"],
        )
    if form in AROUND:
        # The shell of the script or the subshell is in pyinit's group, the child not.
        # Where the child has a session, that shell does; but bash ends a script whose
        # command SIGINT has ended, and goes on after 130.
        yield "others of pyinit's own group do not get what the terminal sends", keys
        if "ignore" in kinds:
            yield "others of pyinit's own group do not get it", ["^Z"]
        yield (
            "a child that stops itself stops the script around it, which hangs else",
            stops,
        )


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


def make_script(seed, number, shells=tuple(SHELLS)):
    """Return script number of a seed: its shell, its command line and its steps.

    A step is two: what is done if the shell has the terminal, and what if a job has.
    """
    choose = random.Random(f"{seed}.{number}")
    shell = choose.choice(shells)
    form = choose.choice([*FORMS])
    kinds = {}

    def with_kinds(text):
        def replace(found):
            kind = choose.choice(KINDS)
            if form == "null" and "still" not in kind.split():
                kind = (kind + " still").strip()
            kinds[found[1]] = set(kind.split())
            return f"$R {found[1]} {kind}".rstrip()

        return re.sub(r"\$R (\w) K", replace, text)

    command = with_kinds(FORMS[form])
    names = re.findall(r"\$R (\w)", command)
    choose.shuffle(names)
    at_shell = {"fg": 8, "bg": 3, "jobs": 3, "kill -STOP %1": 1, "kill -CONT %1": 2}
    at_shell.update(
        {"kill -TSTP %1": 1, "kill %1": 1, "resize": 1, "^C": 1, command: 2}
    )
    if form == "two":  # each by its number: which is current, NORMALISED says
        for name in ("fg", "bg"):
            weight = at_shell.pop(name)
            at_shell.update({f"{name} %1": weight, f"{name} %2": weight})
    in_job = {"hello": 4, "^Z": 6, "^C": 2, "^\\": 1, "^D": 2, "resize": 2}
    for name in names:
        in_job.update({f"{name} stop": 1, f"{name} tstp": 1, f"{name} exit 3": 1})
    inits = re.findall(r"\$P \$R (\w)", command)
    stopping = choose.random() < 0.5
    steps = [*at_shell, *in_job]
    for _, unwanted in avoided(shell, form, kinds, inits, steps, stopping):
        for step in unwanted:
            in_job.pop(step, None)
            if step != "^C":  # at its prompt, the shell alone gets it
                at_shell.pop(step, None)
    kinds = set().union(*kinds.values())
    if "still" in kinds:
        in_job.pop("^D", None)  # it would wait for the shell, and end that
    pick = [
        choose.choices([*steps], [*steps.values()], k=12)
        for steps in (at_shell, in_job)
    ]
    script = {"name": f"PYINIT_SEED={seed}, script {number}", "kinds": sorted(kinds)}
    script.update({"shell": shell, "form": form})
    return {**script, "steps": [[command] * 2, *zip(*pick)]}


# --- The matrix of pipelines ----------------------------------------------------------

# Each form, with all that is typed after it. "(the shell)" waits for the shell.
WRITER = "$P sh -c 'echo x; exec $R w still'"
TALK, END = ["hello"], ["hello", "^D"]
C, Z = [*TALK, "^C"], [*TALK, "^Z", "fg", *END]
MATRIX = [
    ("$P seq 100000 | less", [["", "key q"], ["", "^Z", "fg", "key q"]]),
    (
        "$P sh -c 'echo a; sleep 0.5' | (read p; read a </dev/tty; echo \"got $a\")",
        [["hello", "(the shell)"]],
    ),
    (
        WRITER + ' | (read p; read a </dev/tty; echo "got $a")',
        [
            ["hello", "^C"],
            ["^Z", "fg", "hello", "^C"],
            ["^Z", "bg", "fg", "hello", "^C"],
        ],
    ),
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
    (
        "$P $R a & $P $R b &",
        [["fg %2", *END, "fg %1", *END], ["fg %2", "^C", "bg", "fg", *Z]],
    ),
    ("$P $R a still & $P $R b still &", [["fg", "^C", "fg", "^Z", "bg", "kill %1"]]),
]
# The same in a script: not those whose point is that the shell goes on.
IN_A_SCRIPT = [
    ("$P seq 100000 | less", [["", "key q"], ["", "^Z", "fg", "key q"]]),
    (
        WRITER + ' | (read p; read a </dev/tty; echo "got $a")',
        [["hello", "^Z", "fg"], ["^Z", "fg", "hello", "^Z", "bg"]],
    ),
    ("echo $($P $R a)", [END, Z]),
    ("$P $R a >/dev/null", [END, Z]),
    ("$P $R a | $P $R b", [END, Z]),
    ("$R a | $P $R b", [END, Z]),
    ("($P $R a; $P $R b)", [[*END, *END], [*Z, *Z]]),
    ("$P $R a still & $P $R b; kill $!", [END, Z]),
]


def matrix(full):
    """Return the scripts of the matrix; if not full, a form's last, in one of the shells."""
    rows = [(form, form, keys) for form, all_keys in MATRIX for keys in all_keys]
    for form, all_keys in IN_A_SCRIPT:
        # In a file's stead: the shell reads it from its argument, as eval would.
        command = "X=" + shlex.quote(form) + " $S -c 'eval \"$X\"; echo then $?'"
        rows += [(f"sh -c {form}", command, keys) for keys in all_keys]
    if not full:
        rows = [*{form: (form, *row) for form, *row in rows}.values()]
    scripts = []
    for number, (form, command, keys) in enumerate(rows):
        shells = [*SHELLS] if full else [[*SHELLS][number % len(SHELLS)]]
        for shell in shells:
            if shell == "busybox" and "</dev/tty" in form and "bg" in keys:
                # Its read polls: in the background it is stopped when the next line is
                # typed, which the shell at its prompt reads, before that or after.
                continue
            name = f"{shell}: {form}, then {' '.join(filter(None, keys))}"
            steps = [[step] * 2 for step in (command, *keys)]
            script = {"name": name, "shell": shell, "form": form, "kinds": []}
            scripts.append({**script, "steps": steps})
    return scripts


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
    """Return the scripts with a name; if not full, each with one of the shells."""
    scripts = []
    for number, (name, command, keys) in enumerate(NAMED):
        for shell in [*SHELLS] if full else [[*SHELLS][number % len(SHELLS)]]:
            steps = [[step] * 2 for step in (command, *keys)]
            script = {"name": f"{shell}: {name}", "shell": shell, "form": name}
            scripts.append({**script, "kinds": [], "steps": steps})
    return scripts


# --- A terminal ---------------------------------------------------------------------


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
        self.rows = 24
        self.resize()
        names = ("PATH", "HOME", "LANG", "LC_ALL")
        env = {name: os.environ[name] for name in names if name in os.environ}
        env.update(PS1=PROMPT, PS2="", ENV="", HISTFILE="", TERM="dumb", R=member)
        env.update(P=init, S=SCRIPT_SHELLS[shell])
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
        self.seen = b""
        self.echoes = []
        self.status = None

    def resize(self):
        """Give the terminal one row more than it had."""
        self.rows += 1
        size = struct.pack("HHHH", self.rows, 80, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def foreground(self):
        """Return the foreground group of the terminal."""
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(self.master)
        return 0

    def at_shell(self):
        """Tell whether it is the shell alone that has the terminal.

        A command substitution is in the shell's own group.
        """
        return self.foreground() == self.shell and not any(
            field == str(self.shell)
            for pid in others()
            if pid != self.shell
            for field in stat(pid)[2:3]
        )

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
        deadline = monotonic() + DEADLINE
        while readable(self.slave):
            raw = not termios.tcgetattr(self.slave)[3] & termios.ICANON
            if self.unread() != before if waiting else not raw:
                return
            if monotonic() > deadline:
                raise TimeoutError(f"{text!r} was not dealt with")

    def read(self):
        """Take what has been written to the terminal so far."""
        while readable(self.master):
            with contextlib.suppress(OSError):
                self.seen += os.read(self.master, 65536)

    def settle(self):
        """Wait until nothing more can happen before the next step.

        That is so when all processes were asleep or stopped at one moment. Two looks at
        all of them show it: who has the same counts of context switches in both has not
        run in between, and so the moment between the two looks is one.
        """
        deadline = monotonic() + DEADLINE
        before = None
        while True:
            self.read()  # who writes to a terminal that is full would wait for us
            reap(self)
            now = look()
            if now is not None and now == before:
                break
            if monotonic() > deadline:
                raise TimeoutError(f"never settled: {describe()}")
            if now is None:
                time.sleep(0.001)  # leave the CPU to those who are at work
            before = now
        self.read()

    def wait_for_shell(self):
        """Wait until a job that ends by itself has ended."""
        deadline = monotonic() + DEADLINE
        while not self.at_shell():
            if monotonic() > deadline:
                raise TimeoutError(f"the shell does not come: {describe()}")
            self.settle()
            time.sleep(0.01)

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

    def close(self):
        """End everything that was started here."""
        deadline = monotonic() + DEADLINE
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # all of our PID namespace but ourselves
            reap(self)
            if not others():
                break
            if monotonic() > deadline:
                raise TimeoutError(f"not killed: {describe()}")
        os.close(self.master)
        os.close(self.slave)


def readable(descriptor):
    """Tell whether there is something to read right now."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))


def reap(screen):
    """Reap what has ended and is our child: orphans, and the shell."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid == screen.shell:
                screen.status = status


def others():
    """Return the pids of all other processes of the namespace."""
    return sorted({int(name) for name in os.listdir("/proc") if name.isdigit()} - {1})


def stat(pid):
    """Return the fields of /proc/PID/stat from the state on, [] if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def look():
    """Return what tells whether anybody has run since; None if somebody runs now."""
    seen = []
    for pid in others():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            # A process that is about to sleep or to stop is in that state a little
            # before it does so, and before its parent knows. To read this file, the
            # kernel waits until it has really left the CPU.
            call = Path(f"/proc/{pid}/syscall").read_text()
            where = Path(f"/proc/{pid}/wchan").read_text()
        except OSError:
            return None  # it has just ended
        values = dict(
            line.split(":\t", 1) for line in status.splitlines() if ":\t" in line
        )
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


def describe():
    """Return the processes of the namespace, for a message."""
    found = []
    for pid in others():
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            found.append(" ".join([*stat.split()[:6], stat.split()[7]]))
    return "; ".join(found)


def members():
    """Return the members of the jobs, as "@a:S"."""
    found = []
    for pid in others():
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text()
            name = stat[stat.index("(") + 1 : stat.rindex(")")]
            state = stat.rpartition(")")[2].split()[0]
            if name.startswith("@") and state != "Z":
                found.append(f"{name}:{state}")
    return sorted(found)


# --- One run ------------------------------------------------------------------------


def normalise(text):
    """Return what a step has left: the shell's lines, and the members', sorted.

    Two members that get the same signal say so in any order.
    """
    lines = re.findall(r"@[a-z][+-]? [^\n]*\n", text)
    for line in lines:
        text = text.replace(line, "", 1)
    for _, pattern, replacement in NORMALISED:
        text = re.sub(pattern, replacement, text, flags=re.M)
    rest = [line.strip() for line in text.splitlines() if line.strip()]
    # A notice of a job comes before the answer to "echo =$?", or after it.
    rest.sort(key=lambda line: bool(re.fullmatch(r"=\d+", line)))
    return [*rest, *sorted(line.strip() for line in lines)]


def launcher(directory, name, words):
    """Write a program that becomes words, which can have blanks; return its path.

    A shell splits what it finds in a variable at blanks, whatever quotes there are.
    """
    path = Path(directory, name)
    path.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    path.chmod(0o755)
    return str(path)


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
            was_at_shell = screen.at_shell()
            step = at_shell if was_at_shell else in_job
            if step == "resize":
                screen.resize()
            elif step in KEYS:
                screen.type(KEYS[step])
            elif step == "^C (the shell)":  # that comes by itself, a little later
                screen.type(KEYS["^C"])
                screen.wait_for_shell()
            elif step == "(the shell)":
                screen.wait_for_shell()
            elif step.startswith("key "):
                screen.type(step[4:])
            else:
                screen.type(step + "\n")
            screen.settle()
            typed.append(step)
            if screen.at_shell():
                # Notices of jobs come before the next prompt, or before the one after
                # that, as it happens: an empty line asks for them.
                screen.type("\n")
                screen.settle()
                screen.type("echo =$?\n")
                screen.settle()
            states = compared(script, typed, members())
            who = "shell" if screen.at_shell() else "job"
            if screen.status is not None:
                who = f"the shell has ended: {screen.status}"
            transcript.append([step, normalise(screen.take()), who, states])
            if screen.status is not None:
                break
    except TimeoutError as error:
        transcript.append(["TIMEOUT", [str(error)], "", []])
    finally:
        screen.close()
    return transcript


def judge(script, init):
    """Run a script with and without an init; return a report, with a verdict.

    Where the two differ, both run again, to tell apart

    same: they do not differ
    stuck: a terminal was never settled
    different: the init never does what the shell does without it
    flaky with: the init now and then does what the shell never does without it
    flaky without: the shell itself does one thing or another, and so with the init
    """
    without, with_init = [run(script, "")], [run(script, init)]
    verdict = "same"
    if without[0] != with_init[0]:
        for _ in range(3):
            without.append(run(script, ""))
            with_init.append(run(script, init))
        # Where either varies, the shell is asked again and again: what it does now and
        # then without the init is no fault of the init's.
        for _ in range(30):
            varies = any(
                one != some[0] for some in (without, with_init) for one in some
            )
            if not varies or all(one in without for one in with_init):
                break
            without.append(run(script, ""))
        strange = [one for one in with_init if one not in without]
        verdict = "flaky with" if strange else "flaky without"
        if strange == with_init:
            verdict = "different"
    if any(step[0] == "TIMEOUT" for one in (*without, *with_init) for step in one):
        verdict = "stuck"
    return {"verdict": verdict, "without": without, "with": with_init}


# --- As a program -------------------------------------------------------------------


def consult(scripts, init, workers=2):
    """Run scripts with and without an init; yield (script, report) as they are done.

    workers namespaces, with this program as their PID 1, are at work at a time.
    """
    command = namespace_command()
    if isinstance(command, str):
        raise OSError(command)
    scripts = [*scripts]
    started = []
    directory = tempfile.mkdtemp(prefix="oracle-", dir="/tmp")
    member = launcher(directory, "member", MEMBER)
    launcher(directory, "waits", WAITS)
    job = {"init": launcher(directory, "init", init), "member": member}
    try:
        for first in range(min(workers, len(scripts))):
            with tempfile.TemporaryFile("w+") as file:
                json.dump({**job, "scripts": scripts[first::workers]}, file)
                file.seek(0)
                words = [*command, sys.executable, str(HERE), "--inside"]
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
    job = json.load(sys.stdin)
    os.set_inheritable(0, False)
    for script in job["scripts"]:
        script["member"] = job["member"]
        print(json.dumps([script, judge(script, job["init"])]), flush=True)


def show(script, report):
    """Return a script and its transcripts as text, with a mark where they differ."""
    transcripts = {}
    for name in ("without", "with"):
        unique = []
        for one in report[name]:
            if one not in unique:
                unique.append(one)
        for count, one in enumerate(unique):
            transcripts[f"{name} {count or ''}".strip()] = one
    lines = [f"{report['verdict']}: {script['name']}, {script['shell']}"]
    names = [*transcripts]
    for steps in zip_longest(*transcripts.values()):
        same = all(step == steps[0] for step in steps)
        for name, step in [("", steps[0])] if same else zip(names, steps):
            what, text, who, states = step or ("nothing more", [], "", [])
            mark = " " if same else "!"
            lines.append(f"{mark} {name:10}{what:24} -> {who} {' '.join(states)}")
            lines += [f"{mark} {'':14}| {line}" for line in text]
    return "\n".join(lines)


def passed(report):
    """Tell whether a report has nothing against the init."""
    return report["verdict"] in ("same", "flaky without")


def table(rows):
    """Return rows as a table in Markdown; the first are the headings."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(
        [lines[0], "| " + " | ".join(["---"] * len(rows[0])) + " |", *lines[1:]]
    )


def print_matrix(inits, workers):
    """Print what each init does with the matrix, as a table; return if all is well."""
    scripts = matrix(full=True)
    cells = {}
    ends = {}
    for name, init in inits.items():
        for script, report in consult(scripts, init, workers):
            _, text, who, _ = report["without"][0][-1]
            ends[script["name"]] = f"{who}: {' / '.join(text)}"[:60].replace("|", "\\|")
            cells[script["name"], name] = report["verdict"]
            if name == "pyinit" and not passed(report):
                print(show(script, report), file=sys.stderr)
    rows = [["shell", "form, then keys", "the end without an init", *inits]]
    for script in scripts:
        key = script["name"]
        name = "`" + key.partition(": ")[2].replace("|", "\\|") + "`"
        rows.append([script["shell"], name, ends[key], *(cells[key, n] for n in inits)])
    print(table(rows))
    return all(
        cells[script["name"], "pyinit"] in ("same", "flaky without")
        for script in scripts
    )


def main():
    """Run the command line; the status is 1 where something differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10, help="how many scripts")
    parser.add_argument("--seed", default="1", help="what the scripts are made from")
    parser.add_argument("--only", type=int, action="append", help="this script alone")
    parser.add_argument("--init", default=shlex.join(PYINIT), help="a command line")
    parser.add_argument("--shell", choices=SHELLS, action="append", help="this alone")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time")
    parser.add_argument(
        "--show", action="store_true", help="show those that are the same"
    )
    parser.add_argument(
        "--matrix", action="store_true", help="the pipelines, as a table"
    )
    parser.add_argument("--named", action="store_true", help="the scripts with a name")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        work()
        return 0
    if options.matrix:
        others = {"dumb-init": "dumb-init --", "tini": "tini -s -g --"}
        inits = {"pyinit": options.init}
        inits.update({n: w for n, w in others.items() if shutil.which(n)})
        return int(not print_matrix(inits, options.workers))
    shells = tuple(options.shell or SHELLS)
    numbers = options.only or range(options.count)
    scripts = [make_script(options.seed, number, shells) for number in numbers]
    if options.named:
        scripts = [one for one in named(full=True) if one["shell"] in shells]
    verdicts = Counter()
    start = monotonic()
    well = True
    for script, report in consult(scripts, options.init, options.workers):
        verdicts[report["verdict"]] += 1
        well = well and passed(report)
        if options.show or report["verdict"] != "same":
            print(show(script, report), end="\n\n", flush=True)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    print(f"{options.init}: seed {options.seed}, {len(scripts)} scripts: {counts}")
    print(f"in {monotonic() - start:.1f} s")
    return int(not well)


if __name__ == "__main__":
    sys.exit(main())
