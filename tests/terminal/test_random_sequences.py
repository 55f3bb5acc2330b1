"""Whatever comes, in whatever order: what must hold of a terminal, and of pyinit's work.

Random sequences of stops, continues, keys, deaths and rewrites, in all three modes, with
an interactive bash as the shell, as PID 1, and in a script. After each step:

- the terminal is the shell's as long as that has not given it away by fg
- pyinit takes no time of the CPU's
- where there is no shell with job control, no key has stopped the command for good
  (only a process that sends a stop stops it, until it sends SIGCONT)

and at the end, which is SIGTERM and SIGCONT to pyinit:

- nothing is left, so nothing that only SIGKILL ends
- the terminal is whose it was before, and that reads from it

PYINIT_SEED=S: what they are made from; PYINIT_SEQUENCES=N: how many. A failure says what
was done, and which one it was: PYINIT_SEED=S python3 -m pytest FILE -k "sequence-N."
"""

import contextlib
import os
import random
import shlex
import signal
import time

import pytest
from jobs import (
    ANSWER,
    cpu,
    descendants,
    handled,
    interactive,
    look,
    send,
    shell_reads,
)
from support import (
    DEADLINE,
    FULL,
    INIT,
    command_line,
    monotonic,
    namespace,
    only_child,
    state,
    until,
)

SEED = os.environ.get("PYINIT_SEED", "1")
COUNT = int(os.environ.get("PYINIT_SEQUENCES") or (150 if FULL else 18))
LENGTH = 14  # steps
WORLDS = [
    (world, mode)
    for world in ("shell", "container", "script")
    for mode in ("job", "single", "session")
]
RULES = ["USR1:STOP", "USR1:TSTP", "HUP:TTIN", "TSTP:TSTP", "TSTP:STOP", "TTIN:TSTP"]
RULES += ["TSTP:0", "TSTP:CONT", "TTIN:USR2", "TSTP:USR2", "TTOU:WINCH", "TSTP:TERM"]
RULES += ["CONT:0", "CONT:USR2", "CONT:TSTP", "CONT:TERM", "USR1:CONT", "USR1:TERM"]
KINDS = ["", "", "handles", "nano", "ends"]
STOPPING = {"STOP", "TSTP", "TTIN", "TTOU"}


class Sequence:
    """One sequence: pyinit on a terminal, what is done to it, and what must hold."""

    def __init__(self, number, terminal):
        self.choose = random.Random(f"{SEED}.{number}")
        self.world, self.mode = WORLDS[number % len(WORLDS)]
        self.terminal = terminal
        self.rules = self.choose.sample(RULES, self.choose.choice([0, 1, 1, 2]))
        self.sent_for = dict(rule.split(":") for rule in reversed(self.rules))
        self.history = []
        self.asked = False  # by a process, for a stop that has not ended
        self.stopped_by_others = False  # directly

    def chance(self, one_in):
        return self.choose.randrange(one_in) == 0

    def start(self):
        """Start pyinit; set screen, init, command, and who reads the terminal."""
        words = [INIT, "-c"] if self.mode == "single" else [INIT]
        for rule in reversed(self.rules):  # the last one for a signal counts
            words += ["-r", rule]
        grace = self.mode != "single" and self.chance(2)
        if grace:
            words += ["--grace", "20"]
        kind = self.choose.choice(KINDS) + " still" * (self.mode == "session")
        command = f"{ANSWER} {kind}"
        left = self.mode != "single" and (grace or self.chance(3))
        if grace:
            command += " leaves"
        elif left:
            command = "sh -c " + shlex.quote(f"sleep 1000 & exec {command}")
        line = f"{' '.join(words)} {command}" + " </dev/null" * (self.mode == "session")
        if self.world == "shell":
            if self.chance(4):
                line = f"(trap '' TSTP; exec {line})"
            self.screen = interactive(self.terminal, "bash")
            self.owner = self.screen.pid
            in_background = self.chance(3)
            self.history.append(line + " &" * in_background)
            self.screen.type(self.history[0] + "\n")
            self.screen.expect(*["up\n"] * (1 + grace))
            self.init = only_child(self.screen.pid)
            until(lambda: os.getpgid(self.init) == self.init, "the job has its group")
            if in_background:
                assert self.screen.foreground() == self.owner, "the shell has it"
        elif self.world == "container":
            self.history.append(line)
            words = [*namespace(), "--", "sh", "-c", "exec " + line]
            self.screen = self.terminal(*words)
            self.screen.expect(*["up\n"] * (1 + grace))
            self.init = only_child(self.screen.pid)
            self.owner = None
        else:
            self.history.append(line)
            script = f'trap : INT QUIT; {line}; echo then; read line; echo "=$line="'
            self.screen = self.terminal("sh", "-c", script)
            self.screen.expect(*["up\n"] * (1 + grace))
            self.init = only_child(self.screen.pid)
            self.owner = self.screen.pid
        self.screen.open()  # it may all be over after a step
        # A command that is a job of sh's ends with it. (sh has become the command.)
        self.command = only_child(self.init)
        until(lambda: "answers" in " ".join(command_line(self.command)), "the command")
        # In the group of the command, and with another state than that.
        self.left = only_child(self.command) if left else None
        self.settle()

    def is_over(self):
        return state(self.init) in ("Z", "")

    def shell_has_terminal(self):
        return self.world == "shell" and self.screen.foreground() == self.owner

    def settle(self):
        """Wait until all that this step brings has come."""
        before, deadline = None, monotonic() + DEADLINE
        while True:
            pids = {self.screen.pid, *descendants(self.screen.pid)}
            if state(self.command) in ("Z", ""):
                handled(
                    self.init
                )  # in the grace it looks for those left, again and again
                pids.discard(self.init)
            now = {pid: look(pid) for pid in sorted(pids)}
            if None not in now.values() and now == before:
                return
            before = now
            assert monotonic() < deadline, "it comes to rest"

    # --- Steps --------------------------------------------------------------------

    def steps(self):
        """Return the steps that can be done now, each with a weight."""
        names = ["TSTP", "TTIN", "TTOU", "CONT", "CONT", "USR2", "URG", *self.sent_for]
        steps = {("init", name): 1 for name in names}
        steps["init", "CONT"] = 4
        if self.world != "container":
            steps["init", "STOP"] = 1
        steps.update({("command", "STOP"): 1, ("command", "CONT"): 2})
        steps.update({("command", "TSTP"): 1, ("command", "KILL"): 0.6})
        steps.update({("key", "Z"): 6, ("key", "C"): 0.5, ("resize", ""): 1})
        steps["key", "\\"] = 0.3
        if self.shell_has_terminal():
            steps.update({("type", "fg"): 8, ("type", "bg"): 3, ("type", "jobs"): 1})
        elif self.mode != "session" and state(self.command) == state(self.init) == "S":
            steps["type", "hello"] = 4  # else who comes after it would read that
        return steps

    def do(self, what, name):
        """Do one step."""
        pid = {"init": self.init, "command": self.command}.get(what)
        if what == "key":
            self.screen.press(chr(ord(name) - 64))
        elif what == "type":
            self.screen.press(name + "\n")
        elif what == "resize":
            self.screen.resize(self.choose.randrange(20, 60), 80)
        elif state(pid) not in ("Z", ""):
            self.note(what, name)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, getattr(signal, f"SIG{name}"))

    def note(self, what, name):
        """Keep what a process has asked for."""
        sent = self.sent_for.get(name, name) if what == "init" else name
        # One that is rewritten to what does not stop stops pyinit itself.
        if sent in STOPPING or (name in STOPPING and sent != "0"):
            self.asked = True
        if what == "command" and name in STOPPING:
            self.stopped_by_others = True

    def step(self):
        """Do a step, and look at what must hold after it."""
        steps = self.steps()
        what, name = self.choose.choices([*steps], [*steps.values()])[0]
        was_the_shells = self.shell_has_terminal()
        left_before = state(self.left)
        self.history.append(f"{what} {name}".strip())
        self.do(what, name)
        self.settle()
        states = [state(pid) for pid in (self.init, self.command, self.left)]
        self.history[-1] += f" -> {states}{' $' * self.shell_has_terminal()}"
        if was_the_shells and (what, name) != ("type", "fg"):
            assert self.shell_has_terminal(), "the shell still has the terminal"
        if states[1] in ("Z", "") and left_before != "T":
            assert states[2] != "T", "nobody is frozen whom the grace is for"
        if "T" not in states[:2]:
            self.asked = self.stopped_by_others = False
        elif self.world != "shell" and states[1] == "T":
            assert self.asked, "no key stops the command where nobody resumes it"
        self.idle(0.002)  # (It has come to rest: a loop never would.)

    def idle(self, seconds):
        """See that pyinit takes no time of the CPU's while there is nothing to do."""
        if self.is_over() or state(self.command) in ("Z", ""):
            return  # it has died, or looks for those left
        before = cpu(self.init)
        time.sleep(seconds)  # a stretch of idleness, not a wait for something
        assert cpu(self.init) == before, "what has nothing to do takes no CPU"

    # --- The end ------------------------------------------------------------------

    def end(self):
        """End it, by SIGTERM and SIGCONT; look at what must hold then."""
        self.idle(0.05)
        self.screen.flush()  # of that, the script is to read nothing
        all_of_it = [self.init, self.command, self.left, *descendants(self.init)]

        def ended():
            # Again and again: some of it ends by a second one.
            send(self.init, signal.SIGTERM, signal.SIGCONT)
            if self.stopped_by_others and state(self.command) == "T":
                os.kill(self.command, signal.SIGCONT)
            return all(state(pid) in ("Z", "") for pid in all_of_it)

        until(ended, "SIGTERM and SIGCONT end all of it")
        if self.world == "shell":
            until(self.shell_has_terminal, "the shell has the terminal again")
            shell_reads(self.screen)
        elif self.world == "script":
            self.screen.expect("then\n")
            assert self.screen.foreground() == self.owner, "the terminal is given back"
            self.screen.type("fine\n")
            self.screen.expect("fine=\n")
            assert self.screen.process.status() == 0

    def run(self):
        """Do all of it; a failure says what was done."""
        try:
            self.start()
            for _ in range(LENGTH):
                self.step()
                if self.is_over():
                    break
            self.end()
        except (AssertionError, pytest.fail.Exception, OSError) as error:
            lines = [f"{type(error).__name__}: {error}", *self.history]
            lines.append(f"{self.world}, {self.mode}; the terminal:\n{self.screen.all}")
            pytest.fail("\n".join(lines), pytrace=False)


@pytest.mark.parametrize("number", range(COUNT), ids=lambda n: f"sequence-{n}.")
def test_a_sequence(terminal, number):
    Sequence(number, terminal).run()
