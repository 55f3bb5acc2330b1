"""In real containers, with each engine that is here: Podman and Docker."""

import functools
import os
import re
import select
import signal

import pytest
from engines import INIT, NOT_REAPING, terminal, zombies
from support import BASH, FULL, PROMPT, run, tool, until

IN_FULL = pytest.mark.skipif(not FULL, reason="only with PYINIT_FULL")


def press(screen, *keys):
    """Type keys one by one: Podman's client knows its keys if it reads them alone."""
    slave = os.open(f"/proc/{screen.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)
    for key in keys:
        screen.type(key)
        until(lambda: not select.select([slave], [], [], 0)[0], "the key is read")
    os.close(slave)


def test_the_example(containers):
    name = containers.start(containers.example)
    line = containers.inside(name, "cat", "/proc/1/cmdline").split("\0")
    assert line[:4] == ["python3", "-IS", "/sbin/pyinit.py", "--"]
    assert containers.inside(name, "id", "-u") == "65534"
    containers.until_it_serves(name)
    containers.stopped(name)


LEAK = "n=0; while [ $n -lt {} ]; do (sleep 0.01 &); n=$((n + 1)); done"


def test_zombies(containers):
    """The command's orphans, and those of the engine's exec, whom pyinit knows nothing of."""
    leak = f"{LEAK.format(300)}; echo up; exec sleep 1000"
    for init, one in ([*INIT, "--"], 0), (NOT_REAPING, 1):
        words = [containers.base, *init, "sh", "-c", leak]
        name = containers.client(*words, options=containers.mount).expect("up").name
        count = functools.partial(zombies, containers, name)
        until(lambda n=300 * one, count=count: count() == n, "the command's zombies")
        containers.inside(name, "sh", "-c", LEAK.format(5))
        until(lambda n=305 * one, count=count: count() == n, "those of exec")


def test_a_shell_at_a_terminal_has_job_control(containers):
    options = ["-it", "-e", f"PS1={PROMPT}"]
    screen = containers.pyinit("--", *BASH, options=options, start=terminal)
    start = screen.expect(re.escape(PROMPT))
    assert "no job control" not in start
    screen.run("stty -echo")
    # It forks nobody: a shell cannot stop while it waits for an exec in vfork(2).
    screen.type("sh -c 'echo up; while read line; do echo got $line; done'\n")
    screen.expect("up\n")
    screen.type("\x1a")
    screen.expect("Stopped", re.escape(PROMPT))
    screen.type("fg\n")
    screen.expect("done'\n")
    screen.type("hello\n")
    screen.expect("^got hello\n")
    screen.type("\x03")
    screen.expect(re.escape(PROMPT))
    assert screen.run("echo =$?").strip() == "=130"
    screen.type("exit 7\n")
    assert screen.process.status() == 7


def test_detach_and_attach_at_a_terminal(containers):
    options = ["-it", "-e", f"PS1={PROMPT}"]
    screen = containers.pyinit("--", *BASH, options=options, start=terminal)
    screen.expect(re.escape(PROMPT))
    screen.run("stty -echo; here=still")
    press(screen, "\x10", "\x11")  # Ctrl-P Ctrl-Q, the engines' keys
    assert screen.process.status() == 0
    assert containers.inspect(screen.name, ".State.Running")
    # Its terminal has no reader now, and the shell goes on.
    again = containers.attached("attach", screen.name, start=terminal)
    # A client that attaches may still be at it when the first key comes.
    again.type("\n")
    again.expect(re.escape(PROMPT))
    again.type("echo $here; echo =$-\n")
    again.expect("^still\n", "^=.*m.*\n")
    again.type("cat\nhello\n")
    again.expect("hello\n")
    again.type("\x03")
    again.expect(re.escape(PROMPT))
    again.type("exit 7\n")
    # Podman 4.3's attach ends with 0, whatever the status is.
    assert again.process.status() in ([7] if containers.name == "docker" else [0, 7])
    assert containers.exit_code(screen.name) == 7


def test_signals(containers):
    """From the client, which passes its own on, and by name and number from the engine."""
    client = containers.reporter("-r", "USR2:QUIT")
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGUSR2):
        client.send(number)
        client.expect(3 if number == signal.SIGUSR2 else int(number))
    sent = {"USR1": 10, "SIGWINCH": 28, "USR2": 3, "1": 1, "RTMIN+3": 37, "50": 50}
    for name, number in sent.items():
        containers.good("kill", "-s", name, client.name)
        client.expect(number)
    client.send(signal.SIGTERM)
    client.expect(15)
    assert client.wait() == 9


@IN_FULL
def test_signals_that_are_pending_in_a_pause(containers):
    # Docker resumes a container that is sent its stop signal, or has none of its own.
    client = containers.reporter(options=["--stop-signal", "TERM"])
    containers.good("pause", client.name)
    for name in ("USR1", "RTMIN", "HUP", "RTMIN"):
        containers.good("kill", "-s", name, client.name)
    assert containers.inspect(client.name, ".State.Paused")
    assert containers.log(client.name).count("\n") == 1
    containers.good("unpause", client.name)
    # The kernel hands the standard ones over first, by their numbers.
    client.expect(1, 10, 34, 34)
    containers.good("stop", "-t", "60", client.name)
    client.expect(15)
    assert client.wait() == 9


@pytest.mark.parametrize("expected", [False, True] if FULL else [False])
def test_a_restart_policy(containers, expected):
    """A policy takes 143 for a crash, if pyinit is not told to expect it, but for a stop."""
    options = ["--restart", "on-failure:1", *containers.mount]
    code = ["-e", "143"] if expected else []
    for command in "kill -TERM $$", "exec sleep 1000":
        words = [*INIT, *code, "--", "sh", "-c", f"echo up; {command}"]
        name = containers.start(containers.base, *words, options=options)
        until(lambda name=name: "up" in containers.log(name), "it runs")
        if "sleep" in command:
            containers.good("stop", "-t", "60", name)
        times = 1 if expected or "sleep" in command else 2
        until(lambda name=name, n=times: containers.log(name).count("up") == n, "again")
        assert containers.exit_code(name) == (0 if expected else 143)
        assert containers.inspect(name, ".RestartCount") == times - 1


CONFINED = [
    "--read-only --cap-drop ALL --security-opt no-new-privileges --user 54321:54321",
    "--memory 30m",
    "--read-only",
    "--cap-drop ALL --user 54321",
]


@pytest.mark.parametrize("options", CONFINED if FULL else CONFINED[:1])
def test_confined(containers, options):
    words = [*INIT, "-v", "--", "sh", "-c", "echo hello; exit 6"]
    options = [*containers.mount, *options.split()]
    result = containers.run(containers.base, *words, options=options)
    assert result.returncode == 6, result.stderr
    assert result.stdout == b"hello\n"
    assert b"Traceback" not in result.stderr


def test_grace_in_a_stop(containers):
    leave = (
        'setsid sh -c \'trap "sleep 0.3; echo saved; exit" TERM; echo up;'
        " while :; do sleep 0.05; done' & wait"
    )
    client = containers.pyinit("--grace", "30", "--", "sh", "-c", leave)
    client.expect("up")
    containers.good("stop", "-t", "60", client.name)
    client.expect("saved")
    assert client.wait() == 143


def test_as_the_engines_own_init(containers):
    """The image knows nothing of pyinit; only a variable can tell it something."""
    init = ["--init", "-e", "DUMB_INIT_DEBUG=1"]
    if containers.name == "podman":
        init += ["--init-path", containers.context / "pyinit.py"]
    elif not containers.ours:
        pytest.skip("docker's init-path is the daemon's to set")
    words = ["sh", "-c", "cat /proc/1/cmdline; exit 5"]
    result = containers.run(containers.base, *words, options=init)
    assert result.returncode == 5, result.stderr
    assert result.stdout.startswith(b"python3\0/")
    assert b"-init\0" in result.stdout  # where the engine has mounted it
    assert result.stderr.startswith(b"[pyinit] ")
    words = ["sh", "-c", "echo up; exec sleep 1000"]
    client = containers.client(containers.base, *words, options=init)
    client.expect("up")
    containers.good("stop", "-t", "60", client.name)
    assert client.wait() == 143


LINES = [
    "/usr/bin/env -S python3 /sbin/pyinit.py",
    "/usr/bin/env -S python3 /sbin/pyinit.py /bin/sh",
    "/usr/bin/env -S python3 -IS /sbin/pyinit.py -v --",
    "/sbin/pyinit.py",
]


@pytest.mark.parametrize("line", LINES if FULL else LINES[:1])
def test_scripts(containers, tmp_path, line):
    script = tmp_path / "script"
    script.write_text(f"#!{line}\necho $1; exit 8\n")
    script.chmod(0o755)
    options = [*containers.mount, "-v", f"{script}:/script:ro", "--pids-limit", "50"]
    result = containers.run(containers.base, "/script", "hello", options=options)
    assert result.returncode == 8, result.stderr
    assert result.stdout == b"hello\n"


@IN_FULL
def test_buildah(podman):
    """It builds what Podman then runs: they have their images in one place."""
    image = podman.new_image()
    words = ["build", *podman.build_options(), "-t", image, podman.context]
    run(tool("buildah"), *words, check=True)
    assert podman.run(image, "sh", "-c", "exit 4").returncode == 4
