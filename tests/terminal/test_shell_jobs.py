"""A job of an interactive shell: what bash and dash do with it, they do with pyinit.

A shell outside reads from the same terminal. So it is never taken from it, and a job that
cannot go on waits as any other: stopped, at no cost, until fg. And what ends by Ctrl-C
ends the loop around it.
"""

import os
import shlex
import signal

import pytest
from jobs import (
    ANSWERS,
    AT_PROMPT,
    BOTH_MODES,
    INIT,
    SCRIPT_SHELLS,
    answers,
    as_pid_1,
    at_rest,
    descendants,
    foreground_of,
    idle,
    job_of,
    jobs_end,
    shell_reads,
    tostop,
)
from support import (
    PYINIT,
    children,
    only_child,
    state,
    tool,
    until,
    until_state,
)

IGNORED = ["TSTP", "TTIN", "TTOU", "TSTP TTIN TTOU"]
EVERY_IGNORED = pytest.mark.parametrize("ignored", IGNORED, ids=lambda text: text[:9])


def ignoring(ignored, command):
    """Return a subshell that becomes a command with stop signals ignored."""
    return f"(trap '' {ignored}; exec {command})"


# --- Started with stop signals ignored ------------------------------------------------


@BOTH_MODES
@EVERY_IGNORED
def test_a_background_job_started_with_stops_ignored(any_shell, mode, ignored):
    # As after nohup-like wrappers and in supervisors. It reads, so it stops; or, where
    # SIGTTIN is what it ignores, it gets an error, as it would without pyinit.
    screen = any_shell
    screen.run(ignoring(ignored, f"{INIT} {mode} {ANSWERS} 2>/dev/null") + " &")
    if "TTIN" in ignored:
        jobs_end(screen)
        shell_reads(screen)
        return
    job = job_of(screen)
    command = only_child(job)
    until_state(command, "T")
    until_state(job, "T")
    idle(job)
    assert "Stopped" in screen.run("jobs")
    shell_reads(screen)
    screen.type("fg\n")
    foreground_of(screen, job)
    assert answers(screen, "hello") == "answer"
    screen.type("\x04")
    screen.expect(AT_PROMPT)
    assert screen.run("echo $?") == "0\n"
    shell_reads(screen)


@BOTH_MODES
def test_what_cat_says_of_an_ignored_sigttin(any_shell, mode):
    screen = any_shell
    screen.run(ignoring("TTIN", f"{INIT} {mode} cat") + " &")
    if "Input/output error" not in screen.all:
        screen.expect("Input/output error")
    jobs_end(screen)
    shell_reads(screen)


@BOTH_MODES
@EVERY_IGNORED
def test_a_job_that_ignores_ctrl_z_goes_on(any_shell, press, mode, ignored):
    screen = any_shell
    screen.type(ignoring(ignored, f"{INIT} {mode} {ANSWERS}") + "\n")
    screen.expect("up\n")
    job = job_of(screen, foreground=True)
    press(screen, "\x1a")
    if "TSTP" in ignored:
        at_rest(job, *descendants(job))
        assert screen.foreground() != screen.pid
    else:
        until_state(job, "T")
        shell_reads(screen)
        screen.type("fg\n")
        foreground_of(screen, job)
    assert answers(screen, "hello") == "answer"


@BOTH_MODES
@EVERY_IGNORED
@pytest.mark.parametrize("how", ["Ctrl-Z", "SIGSTOP"])
def test_its_stop_is_followed_all_the_same(any_shell, press, mode, ignored, how):
    # The command has the default action back, as a shell has; or it is stopped by what
    # nobody ignores. Then the job is stopped, whatever pyinit was started with.
    screen = any_shell
    screen.type(ignoring(ignored, f"{INIT} {mode} {ANSWERS} default") + "\n")
    screen.expect("up\n")
    job = job_of(screen, foreground=True)
    command = only_child(job)
    for line in ("one", "two"):
        if how == "Ctrl-Z":
            press(screen, "\x1a")
        else:
            os.kill(command, signal.SIGSTOP)
        screen.expect("Stopped", AT_PROMPT)
        assert (state(job), state(command)) == ("T", "T")
        idle(job, 0.1)
        shell_reads(screen)
        screen.type("fg\n")
        foreground_of(screen, job)
        assert answers(screen, line) == "answer"


@BOTH_MODES
@EVERY_IGNORED
def test_the_command_gets_the_ignored_stops(any_shell, mode, ignored):
    screen = any_shell
    command = "grep SigIgn /proc/self/status"
    with_init = screen.run(ignoring(ignored, f"{INIT} {mode} {command}"))
    assert with_init == screen.run(ignoring(ignored, command))


# --- The shell is outside of our PID namespace ------------------------------------------
# pyinit is PID 1, in the group of unshare(1), whose number it cannot see: getpgrp() is 0.
# dumb-init does all of this, too; of no init at all the kernel stops unshare alone, and
# what is PID 1 runs on.


@pytest.mark.parametrize("mode", ["", "-c", "</dev/null"])
@pytest.mark.parametrize("options", ["", "--mount-proc --kill-child"])
def test_ctrl_z_where_the_shell_is_outside(any_shell, press, mode, options):
    tool("unshare")
    screen = any_shell
    option, _, stdin = mode.partition("<")
    command = f"{INIT} {option} {ANSWERS}" + f" still <{stdin}" * bool(stdin)
    screen.type(f"unshare -pf {options} {command}\n")
    screen.expect("up\n")
    job = job_of(screen, foreground=True)
    init = only_child(job)
    command = only_child(init)
    for line in ("one", "two"):
        if not stdin:
            assert answers(screen, line) == "answer"
        press(screen, "\x1a")
        screen.expect("Stopped", AT_PROMPT)
        idle(init)
        shell_reads(screen)
        assert state(command) == "T"
        screen.type("fg\n")
        foreground_of(screen, job)
        until_state(command, "S")
        os.kill(command, signal.SIGUSR2)
        screen.expect("alive\n")
    if not stdin:
        assert answers(screen, "again") == "answer"
    press(screen, "\x03")
    screen.expect(AT_PROMPT)
    assert screen.run("echo $?") == "130\n"
    shell_reads(screen)


@BOTH_MODES
def test_bg_where_the_shell_is_outside(any_shell, press, mode):
    tool("unshare")
    screen = any_shell
    screen.type(f"unshare -pf {INIT} {mode} {ANSWERS} still\n")
    screen.expect("up\n")
    job = job_of(screen, foreground=True)
    command = only_child(only_child(job))
    press(screen, "\x1a")
    screen.expect("Stopped", AT_PROMPT)
    screen.run("bg")
    until_state(command, "S")
    os.kill(command, signal.SIGUSR2)
    screen.expect("alive\n")
    idle(only_child(job))
    shell_reads(screen)
    os.kill(only_child(job), signal.SIGTERM)
    jobs_end(screen)
    shell_reads(screen)


@BOTH_MODES
def test_a_background_job_where_the_shell_is_outside(any_shell, mode):
    # What would stop cat reaches only who can be stopped; the shell reads all the same.
    tool("unshare")
    screen = any_shell
    screen.run(f"unshare -pf {INIT} {mode} {ANSWERS} still &")
    if "up\n" not in screen.all.replace("\r", ""):
        screen.expect("up\n")
    init = only_child(job_of(screen))
    idle(init)
    shell_reads(screen)
    screen.type("fg\n")
    until(lambda: screen.foreground() != screen.pid, "the job has the terminal")
    screen.type("\x03")
    screen.expect(AT_PROMPT)
    assert screen.run("echo $?") == "130\n"


# --- fg of a job that runs --------------------------------------------------------------
# The shell sends it no SIGCONT then. It finds out that it may have the terminal when it
# wants that: it stops by SIGTTIN or SIGTTOU, as pyinit's own group is in the foreground.

WANTS = [("", ""), ("stty", "set\n"), ("writes", "written\n")]
EVERY_WANT = pytest.mark.parametrize(
    ("wants", "says"), WANTS, ids=["reads", "stty", "writes"]
)


def in_the_background(screen, words):
    """Start a job in the background that says "up"; return its pid."""
    before = {*children(screen.pid)}
    screen.type(words + " &\n")
    screen.expect("^(?:@prompt@ )?up\n")
    [job] = {*children(screen.pid)} - before
    until(lambda: os.getpgid(job) == job, "the job leads its group")
    return job


def command_of(job):
    """Return the command of a job: the last of a chain of only children."""
    return descendants(job)[-1]


@BOTH_MODES
@EVERY_WANT
def test_fg_of_a_running_job(any_shell, mode, wants, says):
    screen = any_shell
    job = in_the_background(screen, f"{INIT} {mode} {ANSWERS} later {wants}")
    screen.type("fg\n")
    foreground_of(screen, job)
    tostop(screen, wants == "writes")
    os.kill(job, signal.SIGUSR1)
    if says:
        screen.expect(says)
    assert answers(screen, "hello") == "answer"
    idle(job, 0.1)
    screen.type("\x04")
    screen.expect(AT_PROMPT)
    assert screen.run("echo $?") == "0\n"
    shell_reads(screen)


@BOTH_MODES
@EVERY_WANT
def test_fg_after_bg(any_shell, press, mode, wants, says):
    screen = any_shell
    screen.type(f"{INIT} {mode} {ANSWERS} later {wants}\n")
    screen.expect("up\n")
    job = job_of(screen, foreground=True)
    press(screen, "\x1a")
    screen.expect("Stopped", AT_PROMPT)
    screen.run("bg")
    until_state(command_of(job), "S")
    screen.type("fg\n")
    foreground_of(screen, job)
    tostop(screen, wants == "writes")
    os.kill(job, signal.SIGUSR1)
    if says:
        screen.expect(says)
    assert answers(screen, "hello") == "answer"
    screen.type("\x04")
    screen.expect(AT_PROMPT)
    shell_reads(screen)


@BOTH_MODES
@EVERY_WANT
def test_and_in_the_background_it_stops(any_shell, mode, wants, says):
    # The same look at the same moment, and the shell has the terminal.
    screen = any_shell
    job = in_the_background(screen, f"{INIT} {mode} {ANSWERS} later {wants}")
    tostop(screen, wants == "writes")
    os.kill(job, signal.SIGUSR1)
    until_state(job, "T")
    idle(job, 0.1)
    shell_reads(screen)
    screen.type("fg\n")
    foreground_of(screen, job)
    if says:
        screen.expect(says)
    assert answers(screen, "hello") == "answer"


@BOTH_MODES
def test_two_running_jobs(any_shell, press, mode):
    screen = any_shell
    words = f"{INIT} {mode} {ANSWERS} later"
    first, second = (in_the_background(screen, words) for _ in range(2))
    for number, job in ((2, second), (1, first)):
        screen.type(f"fg %{number}\n")
        foreground_of(screen, job)
        os.kill(job, signal.SIGUSR1)
        assert answers(screen, f"line {number}") == "answer"
        press(screen, "\x1a")
        screen.expect("Stopped", AT_PROMPT)
        shell_reads(screen)
    # And again, by turns, now that both have had the terminal.
    for number, job in ((2, second), (1, first)):
        screen.type(f"fg %{number}\n")
        foreground_of(screen, job)
        assert answers(screen, f"again {number}") == "answer"
        screen.type("\x04")
        screen.expect(AT_PROMPT)
        shell_reads(screen)


@BOTH_MODES
@pytest.mark.parametrize("key", ["\x03", "\x1a"], ids=["Ctrl-C", "Ctrl-Z"])
def test_a_key_before_it_wants_the_terminal(any_shell, press, mode, key):
    # The terminal still has pyinit's own group in the foreground, not the command's.
    screen = any_shell
    job = in_the_background(screen, f"{INIT} {mode} {ANSWERS} later")
    screen.type("fg\n")
    foreground_of(screen, job)
    press(screen, key)
    if key == "\x03":
        screen.expect(AT_PROMPT)
        assert screen.run("echo $?") == "130\n"
        return
    screen.expect("Stopped", AT_PROMPT)
    shell_reads(screen)
    screen.type("fg\n")
    foreground_of(screen, job)
    os.kill(job, signal.SIGUSR1)
    assert answers(screen, "hello") == "answer"


@BOTH_MODES
def test_fg_of_a_script_that_runs_pyinit(any_shell, mode):
    # It is the script's shell that the job is to the interactive one.
    screen = any_shell
    script = f"{INIT} {mode} {ANSWERS} later; echo then $?"
    job = in_the_background(screen, f"sh -c {shlex.quote(script)}")
    screen.type("fg\n")
    foreground_of(screen, job)
    os.kill(only_child(job), signal.SIGUSR1)
    assert answers(screen, "hello") == "answer"
    screen.type("\x04")
    screen.expect("then 0\n", AT_PROMPT)
    shell_reads(screen)


# --- Ctrl-C in a loop -------------------------------------------------------------------
# A shell ends a loop when it has got SIGINT itself, or has seen that SIGINT ended what it
# ran. 130 says that to a reader, not to a shell.

LOOP = "for i in 1 2 3; do {}; done; echo after"
SLEEPS = "sh -c 'echo up $1; exec sleep 100' sh $i"
EVERY_SCRIPT = pytest.mark.parametrize("name", [*SCRIPT_SHELLS])
PIPED = {"job": "", "single": "-c", "session": ">/dev/tty"}
EVERY_MODE = pytest.mark.parametrize("mode", [*PIPED.values()], ids=[*PIPED])


def loop(command, mode, options=""):
    """Return a loop that runs pyinit; in mode ">/dev/tty" stdout is a pipe to cat."""
    option, pipe = (mode, "") if mode in ("", "-c") else ("", " | cat")
    return LOOP.format(f"{INIT} {option} {options} {command}{pipe}")


def interrupts(screen, press, status):
    """Press Ctrl-C in a loop's first round: it is the last one."""
    screen.expect("up 1\n")
    press(screen, "\x03")
    said = screen.expect(AT_PROMPT)
    assert "up" not in said and "after" not in said
    assert screen.run("echo $?") == f"{status}\n"
    shell_reads(screen)


@EVERY_SCRIPT
@EVERY_MODE
def test_ctrl_c_ends_a_script(any_shell, press, name, mode):
    words = shlex.join([*SCRIPT_SHELLS[name], "-c", loop(SLEEPS, mode)])
    any_shell.type(words + "\n")
    interrupts(any_shell, press, 130)


@EVERY_MODE
def test_ctrl_c_ends_a_loop_that_was_typed(any_shell, press, mode):
    # (What comes behind the loop on the line bash drops, too, and dash with it.)
    any_shell.type(loop(SLEEPS, mode) + "\n")
    interrupts(any_shell, press, 130)


@EVERY_SCRIPT
@EVERY_MODE
def test_ctrl_c_ends_a_script_that_leads_the_session(terminal, press, name, mode):
    # As docker run -it IMAGE sh -c has it: there is no shell with job control at all.
    screen = terminal(tool(name), *SCRIPT_SHELLS[name][1:], "-c", loop(SLEEPS, mode))
    screen.expect("up 1\n")
    press(screen, "\x03")
    assert screen.process.wait() == 130
    assert "up" not in screen.seen


# dash, in the same group as a single child, ends without asking how that did.
@pytest.mark.parametrize(
    ("name", "mode"), [("bash", ""), ("bash", "-c"), ("dash", "")], ids=str
)
@pytest.mark.parametrize("status", [0, 3])
def test_a_command_that_handles_it_does_not_end_the_loop(
    any_shell, press, name, mode, status
):
    command = f"{ANSWERS} exits {status}"
    words = shlex.join([*SCRIPT_SHELLS[name], "-c", loop(command, mode)])
    any_shell.type(words + "\n")
    for _ in range(3):
        any_shell.expect("up\n")
        press(any_shell, "\x03")
        any_shell.expect("end 2\n")
    any_shell.expect("after\n", AT_PROMPT)
    shell_reads(any_shell)


@BOTH_MODES
def test_expect_130_does_not_end_the_loop(any_shell, press, mode):
    # Exit status 0 was asked for where it would be 130.
    options = "-e 130"
    any_shell.type(f"{INIT} {mode} {options} {ANSWERS}; echo then $?\n")
    any_shell.expect("up\n")
    press(any_shell, "\x03")
    any_shell.expect("then 0\n")


@BOTH_MODES
def test_ctrl_c_with_a_grace(any_shell, press, mode):
    # Those left have their time before the loop ends.
    left = f"{ANSWERS} left & echo up $i; exec sleep 100"
    command = f"sh -c {shlex.quote(left.replace('$i', '1'))}"
    any_shell.type(loop(command, mode, "--grace 0.2") + "\n")
    any_shell.expect("up 1\n")
    any_shell.expect("up\n")
    press(any_shell, "\x03")
    said = any_shell.expect(AT_PROMPT)
    assert "up 1" not in said and "after" not in said
    shell_reads(any_shell)


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["job", "single"])
def test_as_pid_1_ctrl_c_is_130(terminal, press, mode):
    screen = as_pid_1(terminal, *PYINIT, *mode, "sh", "-c", "echo up; exec sleep 100")
    screen.expect("up\n")
    press(screen, "\x03")
    assert screen.process.status() == 130
    assert screen.process.popen.returncode == 130


@pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
@pytest.mark.parametrize("as_", ["pyinit", "pid1"])
def test_without_a_terminal_sigint_is_130(request, mode, as_):
    process = request.getfixturevalue(as_)(*mode, "sh", "-c", "echo up; exec sleep 100")
    process.expect("up")
    os.kill(process.init if as_ == "pid1" else process.pid, signal.SIGINT)
    process.status()
    assert process.popen.returncode == 130  # and not -2: no shell waits for that


def test_with_another_stdin_sigint_is_130(shell, press):
    words = f"bash -c {shlex.quote(loop(SLEEPS + ' </dev/null', ''))}"
    shell.type(words + "\n")
    for number in (1, 2, 3):
        shell.expect(f"up {number}\n")
        press(shell, "\x03")
    shell.expect("after\n", AT_PROMPT)
