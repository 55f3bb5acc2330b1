"""Stops that a process sends, and Ctrl-Z: what ends them, in the grace, and under -r.

SIGTSTP, SIGTTIN and SIGTTOU are what some servers take for "quiet" or "fewer workers";
sent to PID 1 they stop the group. A SIGTERM that comes then would wait for a SIGCONT, and
docker stop for its SIGKILL. So one follows what would end a group that we have stopped,
as systemd and the shells have it. Whom others have stopped is left to them.
"""

import os
import signal

from jobs import (
    ANSWER,
    ANSWERS,
    LAYOUTS,
    LENT,
    NO_TERMINAL,
    OPTIONS,
    SHELLS,
    WAYS,
    at_rest,
    command_of,
    crossed,
    descendants,
    end,
    fg,
    handled,
    received,
    send,
    shell_reads,
    stop,
    up,
)
from support import AT_PROMPT, STOPS, marked, state, until, until_state

ENDS = ["TERM", "HUP", "INT", "QUIT"]


def stopped(process):
    """Have pyinit stop its command, which is up and at rest; return the pid of that."""
    command = up(process)
    os.kill(process.init, signal.SIGTSTP)
    until_state(command, "T")
    at_rest(process.init)
    return command


def goes_on(process):
    """Resume pyinit where it is stopped, too: where it is not PID 1."""
    if state(process.init) == "T":
        os.kill(process.init, signal.SIGCONT)


# --- Whom we have stopped we can end ----------------------------------------------------


@crossed(
    # (With -c, a group without a shell is not stopped by what we pass on.)
    lambda launch, mode, how, rule: (
        ":" in rule if launch in SHELLS else mode or how == "Ctrl-Z"
    ),
    launch=[*NO_TERMINAL, "container", *SHELLS],
    mode=OPTIONS,
    how=WAYS,
    # (As nginx needs it, and systemd's halt.)
    rule=[*ENDS, "TERM:QUIT", "TERM:INT", "USR1:TERM", "RTMIN+3:TERM"],
)
def test_a_handler_is_run(launch, mode, how, rule):
    process = launch(*mode, *["-r", rule] * (":" in rule), *ANSWERS, "ends", "still")
    command = up(process)
    stop(process, how)
    until_state(command, "T")
    if process.where in SHELLS:
        process.stopped()
    at_rest(process.init)
    os.kill(process.init, received(rule))
    # In a shell, too, this alone ends it: it need not have the terminal.
    goes_on(process)
    process.said(f"end {received(rule.rpartition(':')[2]):d}")
    if process.where in SHELLS:
        end(process.init)
        shell_reads(process)
    else:
        assert process.status() == 7


@crossed(launch=[*NO_TERMINAL, "container"])
def test_so_it_is_where_the_end_is_another_signal(launch):
    # As Apache and PHP have it, with WINCH and QUIT: it is TERM that asks for the end.
    process = launch("-r", "TERM:USR2", *ANSWERS)
    stopped(process)
    os.kill(process.init, signal.SIGTERM)
    goes_on(process)
    process.said("alive")


@crossed(mode=OPTIONS)
def test_a_hang_up_ends_it(container, mode):
    # The kernel sends it to who leads the session, and that is pyinit.
    screen = container(*mode, *ANSWERS, "still")
    up(screen)
    os.kill(screen.init, signal.SIGTSTP)
    at_rest(screen.init)
    screen.close()
    assert screen.status() == 129


# --- Whom others have stopped -----------------------------------------------------------


@crossed(
    lambda launch, mode, by: mode and by == "us, before",
    launch=NO_TERMINAL,
    mode=OPTIONS,
    by=["itself", "others", "us, before"],
)
def test_who_was_stopped_by_others_gets_no_sigcont(launch, mode, by):
    itself = ["sh", "-c", "echo up; kill -STOP $$; read line; exit 3"]
    process = launch(*mode, *(itself if by == "itself" else ANSWERS))
    if by == "us, before":  # and that is over
        command = stopped(process)
        os.kill(process.init, signal.SIGCONT)
        assert at_rest(command, process.init) == ["S", "S"]
    else:
        command = up(process)
    if by != "itself":
        os.kill(command, signal.SIGSTOP)
    until_state(command, "T")
    for name in ENDS:
        os.kill(process.init, received(name))
    assert at_rest(process.init, command) == ["S", "T"]
    os.kill(process.init, signal.SIGCONT)
    assert process.status() > 128


@crossed(launch=["pid1"])
def test_an_end_that_is_dropped_resumes_nobody(launch):
    process = launch("-r", "TERM:0", *ANSWERS)
    command = stopped(process)
    os.kill(process.init, signal.SIGTERM)
    assert at_rest(process.init, command) == ["S", "T"]


# --- The grace --------------------------------------------------------------------------
# No stop freezes those whom it is for: they have it to end in. The command has ended; what
# it leaves has no part in its terminal, and nobody would resume it before the grace is
# over.

GRACE = ["--grace", "30"]
# It leaves who has a handler for SIGTERM and the default action for what stops.
LEAVES = ["sh", "-c", f"{ANSWER} left & read line; exit 4"]


@crossed(
    # With -c it waits for others as PID 1 alone.
    lambda launch, mode, how: (
        (mode and launch not in ("pid1", "container"))
        or (how == "Ctrl-Z" and launch in NO_TERMINAL)
    ),
    launch=[*NO_TERMINAL, *LAYOUTS, *SHELLS],
    mode=OPTIONS,
    how=[*WAYS, "TSTP:TSTP", "TSTP:STOP", "USR1:STOP", "TSTP:TTIN"],
)
def test_a_stop_in_the_grace(launch, mode, how):
    process = launch(*mode, *["-r", how] * (":" in how), *GRACE, *LEAVES)
    up(process)
    left = command_of(process.init)
    process.write("\n")
    process.said("farewell")
    for resumed in (False, True, False):
        stop(process, how)
        handled(process.init)
        if resumed:
            send(process.init, signal.SIGCONT)
        os.kill(left, signal.SIGUSR2)
        process.said("alive")
    os.kill(left, signal.SIGKILL)
    if process.where in SHELLS:
        process.expect(AT_PROMPT)
        assert process.run("echo $?") == "4\n"
    else:
        assert process.status() == 4


@crossed(
    lambda launch, stop, options: (launch == "pid1") != bool(options),
    launch=NO_TERMINAL,
    stop=STOPS,
    options=[GRACE, []],
)
def test_those_that_were_stopped_before(launch, stop, options):
    # pyinit has stopped the group, and SIGKILL ends the command. Those left could not do
    # anything about their SIGTERM before the grace is over; and without one, nobody
    # would kill them when a pyinit that is not PID 1 ends.
    process = launch(*options, "sh", "-c", "sleep 100 & echo up; read line")
    command, left = up(process), command_of(process.init)
    os.kill(process.init, stop)
    until(lambda: state(command) == state(left) == "T", "the group is stopped")
    at_rest(process.init)
    os.kill(command, signal.SIGKILL)
    goes_on(process)
    assert process.status() == 137
    end(*marked(process.run))


# --- What -r makes of it: nothing that only SIGKILL ends --------------------------------
# A rewritten signal is somebody's wish; a Ctrl-Z after it, or a SIGTERM, works as ever. As
# with dumb-init, SIGTSTP, SIGTTIN and SIGTTOU stop pyinit itself, where it can be stopped,
# also where they are rewritten to another signal, and not where they are dropped.

# What is received, and what is sent: 0 is nothing.
RULES = ["USR1:STOP", "USR1:TSTP", "HUP:TTIN", "RTMIN+1:STOP", "WINCH:STOP"]
RULES += ["TSTP:TSTP", "TTIN:TTIN", "TTOU:TTOU", "TSTP:STOP", "TTIN:TSTP"]
RULES += ["TSTP:0", "TSTP:CONT", "TTIN:USR2", "TTOU:WINCH"]
RULES += ["CONT:0", "CONT:USR2", "CONT:STOP", "CONT:TSTP"]


@crossed(
    launch=[*NO_TERMINAL, "bash"], mode=OPTIONS, rule=[*RULES, "CONT:TERM", "TSTP:TERM"]
)
def test_it_can_be_ended(launch, mode, rule):
    # As by who does not know its rules: SIGTERM, SIGCONT, and again.
    process = launch(*mode, "-r", rule, *ANSWERS)
    up(process)
    everybody = [process.init, *descendants(process.init)]
    send(process.init, received(rule), signal.SIGCONT, received(rule))
    send(process.init, *[signal.SIGTERM, signal.SIGCONT] * 2)
    end(*everybody)
    if process.where in SHELLS:
        shell_reads(process)


@crossed(
    # (The terminal of the command's session, what was lent: its stops are its affair.)
    lambda launch, mode, kind, rule: (
        (rule and launch != "container")
        or (launch in LENT and (mode or kind == "nano"))
    ),
    launch=[*LAYOUTS, *LENT],
    mode=OPTIONS,
    kind=["", "handles", "nano"],
    rule=["", *RULES],
)
def test_where_nobody_could_resume_it_nothing_freezes_it(launch, mode, kind, rule):
    # A Ctrl-Z before it, and one after it, are undone. The command takes a stop as it is;
    # handles it and goes on; or stops itself, as nano and mutt do.
    screen = launch(*mode, *["-r", rule] * bool(rule), *ANSWERS, kind)
    up(screen)
    for line in ("one", "two"):
        screen.press("\x1a")
        # Only a SIGCONT that the rule has made a stop is taken back by nobody who sends
        # it: then the stop lasts, as it was asked for.
        if line == "one" or rule not in ("CONT:STOP", "CONT:TSTP"):
            screen.answers(line)
        at_rest(screen.init)
        if rule:
            send(screen.init, received(rule), signal.SIGCONT)
            at_rest(screen.init)
    os.kill(screen.init, signal.SIGTERM)
    assert screen.status() == 143


@crossed(
    lambda launch, mode, rule: mode and launch not in SHELLS and ":" not in rule,
    launch=[*NO_TERMINAL, "container", *SHELLS],
    mode=OPTIONS,
    rule=["TSTP", "TTIN", "TTOU", "USR1:STOP", "RTMIN+1:STOP", "TSTP:STOP", "HUP:STOP"],
)
def test_a_stop_that_was_asked_for_lasts(launch, mode, rule):
    # No Ctrl-Z has stopped the command: there is nothing to undo, but by a shell's fg.
    process = launch(*mode, *["-r", rule] * (":" in rule), *ANSWERS)
    command = up(process)
    for line in ("one", "two"):
        os.kill(process.init, received(rule))
        until_state(command, "T")
        # What does not end it waits: a reload is no reason to go on.
        os.kill(process.init, signal.SIGUSR2)
        assert at_rest(command, process.init)[0] == "T"
        if process.where in SHELLS:
            process.stopped()
            shell_reads(process)
            fg(process, process.init)
        else:
            os.kill(process.init, signal.SIGCONT)
        process.said("alive")
        at_rest(process.init)
        if process.where == "container":  # and Ctrl-Z is undone again
            process.press("\x1a")
        process.write(line + "\n")
        process.said(f"got {line}")
        at_rest(process.init)


@crossed(launch=SHELLS, mode=OPTIONS, rule=["CONT:0", "CONT:USR2"])
def test_fg_resumes_the_job(launch, mode, rule):
    screen = launch(*mode, "-r", rule, *ANSWERS)
    up(screen)
    screen.press("\x1a")
    screen.stopped()
    fg(screen, screen.init)
    screen.answers("hello")


@crossed(
    launch=["pyinit"],
    mode=OPTIONS,
    rule=["TSTP:0", "TTIN:USR2", "TTOU:CONT", "TSTP:WINCH"],
)
def test_a_rewritten_stop_still_stops_us(launch, mode, rule):
    # And one that is dropped stops nobody.
    process = launch(*mode, "-r", rule, *ANSWERS)
    command = up(process)
    os.kill(process.init, received(rule))
    stops = "S" if rule == "TSTP:0" else "T"
    assert at_rest(process.init, command) == [stops, "S"]
