"""What only Docker has, and what takes it long: with a daemon of the tests' own."""

import signal
import tarfile

import pytest
from engines import INIT, NOT_REAPING, REPORTER, terminal, zombies
from support import FULL, PASSED_ON, tool, until

if not FULL:
    why = "a Docker daemon is only started where PYINIT_FULL is set"
    pytest.skip(why, allow_module_level=True)


@pytest.fixture(scope="session")
def engine(docker):
    return docker


def test_kill_with_every_signal(containers):
    """By its number, and by its name where it has one; the client's proxy too."""
    client = containers.pyinit("-r", "TSTP:0", "--", *REPORTER)
    client.ready()
    # Stop signals stop pyinit itself, in a container too: they have tests of their own.
    stops = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
    for number in PASSED_ON:
        if number in stops or number in (signal.SIGCONT, 32, 33):
            continue
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = str(number)
        containers.good("kill", "-s", name, client.name)
        client.expect(int(number))
    containers.good("kill", "-s", "TSTP", client.name)  # it is dropped
    containers.good("kill", "-s", "CONT", client.name)
    client.expect(int(signal.SIGCONT))


@pytest.mark.parametrize("init", ["pyinit", "negative control"])
def test_a_health_check_leaves_orphans(containers, tmp_path, init):
    """Each probe is an exec of the daemon's; what it leaves behind is reaped."""
    check = "(sleep 0.01 &); test -e /tmp/healthy"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {containers.base}\n"
        "HEALTHCHECK --interval=500ms --timeout=20s --retries=1 "
        f"CMD {check}\n"
    )
    image = containers.new_image()
    containers.good("build", "-t", image, tmp_path)
    start = [*INIT, "--"] if init == "pyinit" else NOT_REAPING
    words = [image, *start, *REPORTER, "9"]
    client = containers.client(*words, options=containers.mount)
    assert client.line().startswith("ready")

    def health():
        return containers.inspect(client.name, ".State.Health.Status")

    until(lambda: health() == "unhealthy", "the probe fails")
    containers.inside(client.name, "touch", "/tmp/healthy")
    until(lambda: health() == "healthy", "the probe succeeds")
    if init != "pyinit":
        until(lambda: zombies(containers, client.name) >= 2, "a zombie a probe")
        return
    # One may be on its way; those of the probes before it are gone.
    until(lambda: not zombies(containers, client.name), "no zombie is left")
    containers.good("stop", "-t", "60", client.name)
    client.expect(15)
    assert client.wait() == 9


def test_a_resize_of_the_clients_terminal(containers):
    """The daemon sends SIGWINCH, with the client's proxy a second time, perhaps."""
    program = (
        "import os, signal\n"
        "def resized(*_): print(*os.get_terminal_size(), flush=True)\n"
        "signal.signal(signal.SIGWINCH, resized)\n"
        "input('up\\n')"
    )
    words = ["--", "python3", "-c", program]
    screen = containers.pyinit(*words, options=["-it"], start=terminal)
    screen.expect("up\n")
    screen.resize(31, 97)
    screen.expect("^97 31\n")
    screen.type("\n")
    assert screen.process.status() == 0


def test_exec_at_a_terminal(containers):
    """A shell by exec is no child of pyinit's; its orphans are."""
    client = containers.reporter()
    words = ["exec", "-it", client.name, "sh", "-c"]
    words.append("trap '' HUP; (sleep 0.3; kill -USR1 1) & echo up; read line; exit 3")
    screen = containers.attached(*words, start=terminal)
    screen.expect("up\n")
    screen.type("\n")
    assert screen.process.status() == 3
    client.expect(10)  # an orphan has sent it, and ended
    until(lambda: not zombies(containers, client.name), "it is reaped")


def test_memory_runs_out(containers):
    """The command is killed, and pyinit, which is small, says so."""
    eat = "import time; b = bytearray(200 << 20); time.sleep(100)"
    words = [containers.base, *INIT, "--", "python3", "-c", eat]
    options = ["--memory", "40m", "--memory-swap", "40m", *containers.mount]
    result = containers.run(*words, options=options)
    assert result.returncode == 137, result.stderr
    assert result.stdout == b""


def test_the_daemons_init_in_an_image_without_python(containers, tmp_path):
    """With "init": true in daemon.json that would be every container: it does not start."""
    image = containers.new_image()
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tool("busybox"), "bin/busybox")
        links = {"bin/true": "busybox", "bin/env": "busybox", "usr/bin": "../bin"}
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type = tarfile.SYMTYPE
            link.linkname = target
            tar.addfile(link)
    containers.good("import", path, image)
    assert containers.run(image, "true").returncode == 0
    result = containers.run(image, "true", options=["--init"])
    assert result.returncode == 127
    assert b"python3" in result.stderr
