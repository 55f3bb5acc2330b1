"""Whatever comes, in whatever order: what must hold of a terminal, and of pyinit's work.

Random sequences of stops, continues, keys, deaths and rewrites, in all three modes, with
an interactive bash as the shell, as PID 1, and in a script. After each step:

- the terminal is the shell's as long as that has not given it away by fg
- pyinit takes no time of the CPU's
- where there is no shell with job control, no key has stopped the command for good
  (only a process that sends a stop stops it, until it sends SIGCONT)

and at the end SIGTERM and SIGCONT end it, and the terminal is whose it was before.

PYINIT_SEED=S: what they are made from; PYINIT_SEQUENCES=N: how many. A failure says what
was done, and which one it was: PYINIT_SEED=S python3 -m pytest FILE -k "sequence-N."
"""

import os
import random
import signal

import pytest
from jobs import (
    ANSWER,
    at_rest,
    idle,
    interactive,
    is_gone,
    send,
    shell_reads,
    type_job,
)
from support import FULL, INIT, namespace, only_child, state, until

SEED = os.environ.get("PYINIT_SEED", "1")
COUNT = int(os.environ.get("PYINIT_SEQUENCES") or (90 if FULL else 9))
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
        self.rules = self.choose.sample(RULES, self.choose.choice([0, 1, 1, 2]))
        self.sent_for = dict(rule.split(":") for rule in self.rules)
        self.asked = False  # by a process, for a stop that has not ended
        self.stopped_by_others = False  # directly
        self.history = [self.line()]
        self.start(terminal)

    def line(self):
        """Choose what to start, as a line for a shell."""
        words = [INIT] + ["-c"] * (self.mode == "single")
        words += [f"-r {rule}" for rule in self.rules]
        words += [ANSWER, self.choose.choice(KINDS)]
        line = " ".join(words) + " still </dev/null" * (self.mode == "session")
        if self.world != "shell":
            return line
        return self.choose.choice([line, f"(trap '' TSTP; exec {line})", line + " &"])

    def start(self, terminal):
        """Start pyinit; set screen, init, command, and the shell that reads."""
        [line] = self.history
        if self.world == "shell":
            self.screen = interactive(terminal, "bash")
            self.init = type_job(self.screen, line)
        elif self.world == "container":
            self.screen = terminal(*namespace(), "--", "sh", "-c", f"exec {line}")
        else:
            line = f'trap : INT QUIT; {line}; echo then; read line; echo "=$line="'
            self.screen = terminal("sh", "-c", line)
        self.screen.expect("up\n")
        if self.world != "shell":
            self.init = only_child(self.screen.pid)
        self.shell = self.screen.pid
        self.screen.open()  # it may all be over after a step
        self.command = only_child(self.init)
        at_rest(self.shell)

    def shell_has_terminal(self):
        return self.world == "shell" and self.screen.foreground() == self.shell

    # --- Steps --------------------------------------------------------------------

    def steps(self):
        """Return the steps that can be done now, each with a weight."""
        names = ["TSTP", "TTIN", "TTOU", "USR2", "URG", *self.sent_for]
        steps = {("init", name): 1 for name in names}
        steps["init", "CONT"] = 4
        if self.world != "container":
            steps["init", "STOP"] = 1
        steps.update({("command", "STOP"): 1, ("command", "CONT"): 2})
        steps.update({("command", "TSTP"): 1, ("command", "KILL"): 0.6})
        steps.update({("key", "Z"): 6, ("key", "C"): 0.5, ("key", "\\"): 0.3})
        if self.shell_has_terminal():
            steps.update({("type", "fg"): 8, ("type", "bg"): 3, ("type", "jobs"): 1})
        elif self.mode != "session" and state(self.command) == state(self.init) == "S":
            steps["type", "hello"] = 4  # else who comes after it would read that
        return steps

    def do(self, what, name):
        """Do one step, and wait until all that it brings has come."""
        if what == "key":
            self.screen.press(chr(ord(name) - 64))
        elif what == "type":
            self.screen.press(name + "\n")
        else:
            sent = self.sent_for.get(name, name) if what == "init" else name
            # One that is rewritten to what does not stop stops pyinit itself.
            if sent in STOPPING or (name in STOPPING and sent != "0"):
                self.asked = True
                self.stopped_by_others |= what == "command"
            pid = self.init if what == "init" else self.command
            if not is_gone(pid):
                os.kill(pid, getattr(signal, f"SIG{name}"))
        at_rest(self.shell)

    def step(self):
        """Do a step, and look at what must hold after it."""
        steps = self.steps()
        what, name = self.choose.choices([*steps], [*steps.values()])[0]
        was_the_shells = self.shell_has_terminal()
        self.history.append(f"{what} {name}")
        self.do(what, name)
        states = state(self.init), state(self.command)
        self.history[-1] += f" -> {states}{' $' * self.shell_has_terminal()}"
        if was_the_shells and (what, name) != ("type", "fg"):
            assert self.shell_has_terminal(), "the shell still has the terminal"
        if "T" not in states:
            self.asked = self.stopped_by_others = False
        elif self.world != "shell" and states[1] == "T":
            assert self.asked, "no key stops the command where nobody resumes it"
        if not is_gone(self.init):
            idle(self.init, 0.002)  # (It has come to rest: a loop never would.)

    # --- The end ------------------------------------------------------------------

    def end(self):
        """End it, by SIGTERM and SIGCONT; look at what must hold then."""
        self.screen.flush()  # of that, the script is to read nothing

        def ended():
            # Again and again: some of it ends by a second one.
            send(self.init, signal.SIGTERM, signal.SIGCONT)
            if self.stopped_by_others and state(self.command) == "T":
                os.kill(self.command, signal.SIGCONT)
            return is_gone(self.init) and is_gone(self.command)

        until(ended, "SIGTERM and SIGCONT end it")
        if self.world == "shell":
            until(self.shell_has_terminal, "the shell has the terminal again")
            shell_reads(self.screen)
        elif self.world == "script":
            self.screen.expect("then\n")
            assert self.screen.foreground() == self.shell, "the terminal is given back"
            self.screen.type("fine\n")
            self.screen.expect("fine=\n")


@pytest.mark.parametrize("number", range(COUNT), ids=lambda n: f"sequence-{n}.")
def test_a_sequence(terminal, number):
    sequence = Sequence(number, terminal)
    try:
        for _ in range(LENGTH):
            if not is_gone(sequence.init):
                sequence.step()
        sequence.end()
    except (AssertionError, pytest.fail.Exception, OSError) as error:
        lines = [f"{type(error).__name__}: {error}", *sequence.history]
        lines += [f"{sequence.world}; the terminal:", sequence.screen.all]
        pytest.fail("\n".join(lines), pytrace=False)
