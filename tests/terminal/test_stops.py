"""Stops that a process sends, and Ctrl-Z: what ends them, in the grace, and under -r.

SIGTSTP, SIGTTIN and SIGTTOU are what some servers take for "quiet" or "fewer workers";
sent to PID 1 they stop the group. A SIGTERM that comes then would wait for a SIGCONT, and
docker stop for its SIGKILL. So one follows what would end a group that we have stopped,
as systemd and the shells have it. Whom others have stopped is left to them.
"""

import os
import shlex
import signal

from jobs import (
    ANSWER,
    ANSWERS,
    ENDS,
    LAYOUTS,
    MODES,
    NO_TERMINAL,
    OPTIONS,
    WAYS,
    at_rest,
    command_of,
    crossed,
    descendants,
    fg,
    handled,
    job,
    jobs_end,
    send,
    shell_reads,
    stop,
    up,
)
from support import (
    AT_PROMPT,
    FULL,
    INIT,
    STOPS,
    marked,
    monotonic,
    only_child,
    state,
    until,
    until_state,
)

BOTH_SHELLS = ["bash", "dash"]


def stopped(process, number):
    """Have pyinit stop its command, which is at rest; return the pid of that."""
    command = only_child(process.init)
    os.kill(process.init, number)
    until_state(command, "T")
    at_rest(process.init)
    return command


def goes_on(process):
    """Resume pyinit where it is stopped, too: where it is not PID 1."""
    if state(process.init) == "T":
        os.kill(process.init, signal.SIGCONT)


def is_alive(process, pid):
    """Show that somebody is not stopped: it answers."""
    assert state(pid) != "T"
    os.kill(pid, signal.SIGUSR2)
    process.said("alive")


def number_of(word):
    name, _, more = word.partition("+")
    return getattr(signal, f"SIG{name}") + int(more or 0)


def received(rule):
    """Return the number of the signal that a rule is for."""
    return number_of(rule.partition(":")[0])


def gone(run):
    until(lambda: all(state(pid) in ("Z", "") for pid in marked(run)), "all have ended")


# --- Whom we have stopped we can end ----------------------------------------------------

# Beside the four themselves: as nginx needs it, and systemd's halt.
REWRITTEN = ["TERM:QUIT", "TERM:INT", "USR1:TERM", "RTMIN+3:TERM"]


@crossed(
    launch=[*NO_TERMINAL, "container"],
    stop=STOPS,
    end=["TERM", "HUP", "INT", "QUIT", *REWRITTEN],
)
def test_a_handler_is_run(launch, stop, end):
    process = launch(*["-r", end] * (":" in end), *ANSWERS, "ends")
    up(process)
    stopped(process, stop)
    os.kill(process.init, received(end))
    goes_on(process)
    process.said(f"end {number_of(end.rpartition(':')[2]):d}")
    assert process.status() == 7


@crossed(launch=[*NO_TERMINAL, "container"])
def test_so_it_is_where_the_end_is_another_signal(launch):
    # As Apache and PHP have it, with WINCH and QUIT: it is TERM that asks for the end.
    process = launch("-r", "TERM:USR2", *ANSWERS)
    up(process)
    stopped(process, signal.SIGTSTP)
    os.kill(process.init, signal.SIGTERM)
    goes_on(process)
    process.said("alive")


@crossed(launch=NO_TERMINAL, end=ENDS)
def test_the_default_action_ends_the_whole_group(launch, end):
    process = launch("sh", "-c", "sleep 100 & sleep 100 & echo up; wait")
    up(process)
    stopped(process, signal.SIGTSTP)
    os.kill(process.init, end)
    goes_on(process)
    assert process.status() == 128 + end
    gone(process.run)


@crossed(
    mode={"single": ["-c"], "default": []},
    how=["hang up", *STOPS],
    end=[signal.SIGTERM, signal.SIGHUP],
)
def test_as_pid_1_of_a_terminal(container, mode, how, end):
    screen = container(*mode, *ANSWERS, "still" if how == "hang up" else "ends")
    up(screen)
    os.kill(screen.init, signal.SIGTSTP if how == "hang up" else how)
    handled(screen.init)
    if how == "hang up":  # the kernel's SIGHUP is for who leads the session: pyinit
        screen.close()
        assert screen.status() == 129
        return
    os.kill(screen.init, end)
    screen.said(f"end {end:d}")
    assert screen.status() == 7


@crossed(any_shell=BOTH_SHELLS, mode=MODES, how=WAYS)
def test_a_job_of_a_shell(any_shell, mode, how):
    # SIGCONT alone ends it then, as bash's kill %1 has it: it need not have the terminal.
    screen = any_shell
    screen.init = job(screen, f"{INIT} {mode} {ANSWER} ends")
    stop(screen, how)
    screen.stopped()
    os.kill(screen.init, signal.SIGTERM)
    os.kill(screen.init, signal.SIGCONT)
    screen.said("end 15")
    jobs_end(screen)
    shell_reads(screen)


@crossed(launch=NO_TERMINAL)
def test_more_than_one_stop(launch):
    # A worker more, a worker fewer, and quiet: and not PID 1, each needs its SIGCONT.
    process = launch(*ANSWERS, "ends")
    up(process)
    for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP):
        command = stopped(process, number)
        # What does not end it waits: a reload is no reason to go on.
        os.kill(process.init, signal.SIGUSR2)
        handled(process.init)
        assert state(command) == "T"
        os.kill(process.init, signal.SIGCONT)
        process.said("alive")
        at_rest(process.init)
    stopped(process, signal.SIGTSTP)
    os.kill(process.init, signal.SIGTERM)
    goes_on(process)
    process.said("end 15")
    assert process.status() == 7


# --- Whom others have stopped -----------------------------------------------------------


# (With -c, the group of a session without a shell is not stopped by what we pass on.)
@crossed(
    lambda launch, mode, by: mode and by == "us, before",
    launch=NO_TERMINAL,
    mode=OPTIONS,
    by=["itself", "others", "us, before"],
)
def test_who_was_stopped_by_others_gets_no_sigcont(launch, mode, by):
    itself = ["sh", "-c", "echo up; kill -STOP $$; read line; exit 3"]
    process = launch(*mode, *(itself if by == "itself" else ANSWERS))
    command = up(process)
    if by == "us, before":  # and that is over
        stopped(process, signal.SIGTSTP)
        os.kill(process.init, signal.SIGCONT)
        assert at_rest(command, process.init) == ["S", "S"]
    if by != "itself":
        os.kill(command, signal.SIGSTOP)
    until_state(command, "T")
    for end in ENDS:
        os.kill(process.init, end)
    assert at_rest(process.init, command) == ["S", "T"]
    os.kill(process.init, signal.SIGCONT)
    assert process.status() > 128


def test_whom_others_have_resumed_gets_no_sigcont(container):
    # The command does not read, or it would need the terminal, and so us.
    screen = container("-v", *ANSWERS, "ends", "still")
    up(screen)
    command = stopped(screen, signal.SIGTSTP)
    os.kill(command, signal.SIGCONT)
    until_state(command, "S")
    at_rest(screen.init)
    os.kill(screen.init, signal.SIGTERM)
    screen.expect("SIGTERM: sent", "farewell")
    assert screen.status() == 7
    assert "SIGCONT" not in screen.all


def test_an_end_while_nothing_is_stopped_brings_no_sigcont(pyinit):
    # SIGCONT has handlers, too.
    program = "trap 'echo cont' CONT; trap 'echo hup' HUP; trap 'echo usr1' USR1; echo up; while :; do read line; done"
    process = pyinit("bash", "-c", program, stdin=-1).expect("up")
    for number, word in ((signal.SIGHUP, "hup"), (signal.SIGUSR1, "usr1")):
        os.kill(process.pid, number)
        process.expect(word)


# --- The grace --------------------------------------------------------------------------
# No stop freezes those whom it is for: they have it to end in. The command has ended; what
# it leaves has no part in its terminal, and nobody would resume it before the grace is
# over. pyinit itself may be stopped meanwhile, as a job of a shell.

GRACE = ["--grace", "30"]
# It leaves who has a handler for SIGTERM and the default action for what stops.
LEAVES = ["sh", "-c", f"{ANSWER} left & read line; exit 4"]
RULES_OF_GRACE = ["TSTP:TSTP", "TSTP:STOP", "USR1:STOP", "TSTP:TTIN"]


def is_no_case(launch, options, how):
    if how == "Ctrl-Z" and launch in NO_TERMINAL:
        return True
    if options[:1] == ["-c"]:  # waits for others as PID 1 alone
        return launch not in ("pid1", "container") or how == signal.SIGUSR1
    if options:
        return launch != "pid1" or how != received(options[1])
    return how == signal.SIGUSR1


@crossed(
    is_no_case,
    launch=[*NO_TERMINAL, *LAYOUTS],
    options={**OPTIONS, **{rule: ["-r", rule] for rule in RULES_OF_GRACE}},
    how=[*WAYS, signal.SIGUSR1],
)
def test_a_stop_in_the_grace(launch, options, how):
    process = launch(*options, *GRACE, *LEAVES)
    up(process)
    left = command_of(process.init)
    process.write("\n")
    process.said("farewell")
    for number_of_round in range(3):  # in two of them together with what resumes
        stop(process, how)
        handled(process.init)
        if number_of_round:
            os.kill(process.init, signal.SIGCONT)
            handled(process.init)
        is_alive(process, left)
    os.kill(left, signal.SIGKILL)
    assert process.status() == 4


@crossed(any_shell=BOTH_SHELLS, mode=["job", "session"], how=WAYS)
def test_a_stop_of_a_job_in_the_grace(any_shell, tmp_path, mode, how):
    screen = any_shell
    fifo = tmp_path / "fifo"  # with another stdin, the child gets a session
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    line = f"{INIT} {shlex.join([*GRACE, *LEAVES])}"
    screen.init = job(screen, line + f" <{fifo}" * (mode == "session"))
    left = command_of(screen.init)
    screen.type("\n") if mode == "job" else os.write(writer, b"\n")
    screen.said("farewell")
    stop(screen, how)
    handled(screen.init)
    is_alive(screen, left)
    if state(screen.init) == "T":
        screen.expect(AT_PROMPT)
        fg(screen, screen.init)
        is_alive(screen, left)
    os.kill(left, signal.SIGKILL)
    screen.expect(AT_PROMPT)
    assert screen.run("echo $?") == "4\n"
    os.close(writer)


@crossed(launch=NO_TERMINAL, stop=STOPS, options=[GRACE, []])
def test_those_that_were_stopped_before(launch, stop, options):
    # pyinit has stopped the group, and SIGKILL ends the command. Those left could not do
    # anything about their SIGTERM before the grace is over; and without one, nobody
    # would kill them when a pyinit that is not PID 1 ends.
    sleep = ["sh", "-c", "sleep 100 & echo up; read line"]
    process = launch(*options, *(LEAVES if options else sleep))
    command, left = up(process), command_of(process.init)
    os.kill(process.init, stop)
    until(lambda: state(command) == state(left) == "T", "the group is stopped")
    at_rest(process.init)
    os.kill(command, signal.SIGKILL)
    goes_on(process)
    if options:
        process.said("farewell")
        is_alive(process, left)
        os.kill(left, signal.SIGKILL)
    assert process.status() == 137
    gone(process.run)


@crossed(how=WAYS[: 1 + FULL])
def test_the_grace_ends_all_the_same(container, how):
    screen = container("--grace", "1", *LEAVES)
    up(screen)
    left = command_of(screen.init)
    screen.type("\n")
    screen.said("farewell")
    before = monotonic()
    stop(screen, how)
    handled(screen.init)
    is_alive(screen, left)
    assert screen.status() == 4
    assert monotonic() - before > 0.5
    gone(screen.process.run)


# --- What -r makes of it: nothing that only SIGKILL ends --------------------------------
# A rewritten signal is somebody's wish; a Ctrl-Z after it, or a SIGTERM, works as ever. As
# with dumb-init, SIGTSTP, SIGTTIN and SIGTTOU stop pyinit itself, where it can be stopped,
# also where they are rewritten to another signal, and not where they are dropped.

# What is received, and what is sent: 0 is nothing.
MADE = ["USR1:STOP", "USR1:TSTP", "HUP:TTIN", "RTMIN+1:STOP", "WINCH:STOP"]
KEPT = ["TSTP:TSTP", "TTIN:TTIN", "TTOU:TTOU", "TSTP:STOP", "TTIN:TSTP"]
LOST = ["TSTP:0", "TSTP:CONT", "TTIN:USR2", "TSTP:TERM", "TTOU:WINCH"]
CONTINUES = ["CONT:0", "CONT:USR2", "CONT:STOP", "CONT:TSTP", "CONT:TERM"]
RULES = [*MADE, *KEPT, *LOST, *CONTINUES]
JOBS = {
    "job": f"{INIT} -r {{}} {ANSWER}",
    "single": f"{INIT} -c -r {{}} {ANSWER}",
    "session": f"{INIT} -r {{}} {ANSWER} still | cat",
}
ASKED_FOR = ["USR1:STOP", "RTMIN+1:STOP", "TSTP:STOP", "HUP:STOP"]


def some_rules(n):
    """Return the rules: each of them in one of three tests, or in all of them."""
    return RULES if FULL else RULES[n::3]


def end(init):
    """End pyinit as who does not know its rules would: SIGTERM, SIGCONT, and again."""
    everybody = (init, *descendants(init))
    send(init, *[signal.SIGTERM, signal.SIGCONT] * 2)
    until(
        lambda: all(state(pid) in ("Z", "") for pid in everybody), "all of it has ended"
    )


@crossed(launch=NO_TERMINAL, mode=OPTIONS, rule=some_rules(0))
def test_without_a_terminal_it_can_be_ended(launch, mode, rule):
    process = launch(*mode, "-r", rule, *ANSWERS)
    up(process)
    send(process.init, received(rule), signal.SIGCONT, received(rule))
    end(process.init)
    assert process.status() in (143, 128 + received(rule))


def has_ended(screen):
    return at_rest(screen.init)[0] in ("Z", "")


@crossed(mode=OPTIONS, rule=some_rules(1))
def test_as_pid_1_of_a_terminal_nothing_freezes_it(container, mode, rule):
    # A Ctrl-Z before it, and one after it, are undone: nobody else could resume that.
    # Only a SIGCONT that the rule has made a stop is taken back by nobody who sends it:
    # then the stop lasts, as it was asked for. And SIGTERM ends it.
    screen = container(*mode, "-r", rule, *ANSWERS)
    up(screen)
    screen.press("\x1a")
    ended = has_ended(screen)
    if not ended:
        screen.answers("one")
        send(screen.init, received(rule), signal.SIGCONT)
        screen.press("\x1a")
        ended = has_ended(screen)
    assert not ended or rule.endswith(":TERM")
    if not ended:
        if rule not in ("CONT:STOP", "CONT:TSTP"):
            screen.answers("two")
        os.kill(screen.init, signal.SIGTERM)
        assert screen.status() == 143


@crossed(line=JOBS, rule=some_rules(2))
def test_a_job_can_be_ended(shell, line, rule):
    pid = job(shell, line.format(rule))
    shell.press("\x1a")
    at_rest(pid)
    send(pid, received(rule))
    at_rest(pid)
    end(pid)
    # (Of a pipeline cat can be left, stopped by the Ctrl-Z: then it is the shell's.)
    shell_reads(shell)


@crossed(launch=[*NO_TERMINAL, "container"], mode=OPTIONS, rule=ASKED_FOR)
def test_a_stop_that_was_asked_for_lasts(launch, mode, rule):
    # No SIGTSTP has stopped the command: there is nothing to undo.
    process = launch(*mode, "-r", rule, *ANSWERS)
    command = up(process)
    for line in ("one", "two"):
        os.kill(process.init, received(rule))
        until_state(command, "T")
        assert at_rest(command, process.init)[0] == "T"
        os.kill(process.init, signal.SIGCONT)
        until_state(command, "S")
        is_alive(process, command)
        at_rest(process.init)
        if hasattr(process, "press"):  # and Ctrl-Z is undone again
            process.press("\x1a")
        process.write(line + "\n")
        process.said(f"got {line}")
    os.kill(process.init, signal.SIGTERM)
    assert process.status() == 143


@crossed(
    any_shell=BOTH_SHELLS, mode=MODES, rule=[*ASKED_FOR[::2], "TSTP:TSTP", "HUP:STOP"]
)
def test_a_shell_sees_it(any_shell, mode, rule):
    screen = any_shell
    pid = job(screen, f"{INIT} {mode} -r {rule} {ANSWER}")
    for line in ("one", "two"):
        at_rest(pid)  # or the SIGCONT of fg could still be on its way
        os.kill(pid, received(rule))
        screen.stopped()
        assert at_rest(pid, only_child(pid)) == ["T", "T"]
        shell_reads(screen)
        fg(screen, pid)
        screen.answers(line)


@crossed(
    mode=OPTIONS,
    kind=["", "handles", "nano"],
    rule=["TSTP:TSTP", "USR1:TSTP", "TTIN:TSTP"],
)
def test_a_stop_that_came_to_nothing_is_not_remembered(container, mode, kind, rule):
    # The command handles it and goes on; or stops itself, as nano does.
    screen = container(*mode, "-r", rule, *ANSWERS, kind)
    up(screen)
    for line in ("one", "two"):
        send(screen.init, received(rule))
        screen.said(*["TSTP"] * bool(kind))
        send(screen.init, signal.SIGCONT)
        screen.answers(line)
        at_rest(screen.init)
        screen.press("\x1a")
        screen.said(*["TSTP"] * bool(kind))
        screen.answers(line)
        at_rest(screen.init)


@crossed(any_shell=BOTH_SHELLS, mode=MODES, rule=["CONT:0", "CONT:USR2", "CONT:TERM"])
def test_fg_resumes_the_job_or_ends_it(any_shell, mode, rule):
    screen = any_shell
    pid = job(screen, f"{INIT} {mode} -r {rule} {ANSWER}")
    command = only_child(pid)
    screen.press("\x1a")
    screen.stopped()
    screen.type("fg\n")
    until(lambda: state(command) != "T", "it is resumed, or has ended")
    if rule != "CONT:TERM":
        until(lambda: screen.foreground() != screen.pid, "the job has the terminal")
        screen.answers("hello")
    os.kill(pid, signal.SIGTERM)
    screen.expect(AT_PROMPT)
    shell_reads(screen)


@crossed(
    lambda launch, mode, stop, sent: launch == "pid1" and sent != "0",
    launch=NO_TERMINAL,
    mode=OPTIONS,
    stop=["TSTP", "TTIN", "TTOU"],
    sent=["0", "USR2", "CONT", "WINCH"],
)
def test_a_rewritten_stop_still_stops_us(launch, mode, stop, sent):
    # And one that is dropped stops nobody.
    process = launch(*mode, "-r", f"{stop}:{sent}", *ANSWERS)
    command = up(process)
    os.kill(process.init, number_of(stop))
    if sent != "0":
        until_state(process.init, "T")
    else:
        os.kill(process.init, signal.SIGUSR2)
    if sent in ("0", "USR2"):
        process.said("alive")
    assert at_rest(process.init, command) == ["S" if sent == "0" else "T", "S"]
    os.kill(process.init, signal.SIGCONT)
    until_state(process.init, "S")
    os.kill(process.init, signal.SIGTERM)
    assert process.status() == 143
