"""In real containers, with whichever engine is here: docker or podman."""

import json
import os
import re
import shlex
import shutil
import subprocess
import uuid

import pytest
from support import PYINIT_FILE, ROOT, monotonic, until

BASE = os.environ.get("PYINIT_BASE", "/var/tmp/pyinit/base")
IMAGE = "localhost/pyinit-base"
LIMITS = [
    "--network",
    "none",
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=1000:1000",
]


def engine():
    """Return the words that start the engine, or the reason why there is none."""
    if os.environ.get("PYINIT_ENGINE"):
        return shlex.split(os.environ["PYINIT_ENGINE"])
    if shutil.which("podman"):
        if os.getuid():
            return "podman is here, but is only tried as root"
        if not shutil.which("runc"):
            return "podman is here, but not runc"
        return ["podman", "--runtime", "runc"]
    if shutil.which("docker"):
        answer = subprocess.run(["docker", "info"], stdout=-3, stderr=subprocess.PIPE)
        return ["docker"] if not answer.returncode else answer.stderr.decode()
    return "neither podman nor docker is installed"


def run(*words, **kwargs):
    kwargs.setdefault("timeout", 120)
    return subprocess.run(
        [*map(str, words)], stdout=-1, stderr=-1, check=False, **kwargs
    )


class Containers:
    """An engine, the images of these tests, and the containers to remove."""

    def __init__(self, words):
        self.words = words
        self.names = []

    def __call__(self, *words, **kwargs):
        return run(*self.words, *words, **kwargs)

    def good(self, *words):
        result = self(*words)
        assert result.returncode == 0, (words, result.stdout, result.stderr)
        return result.stdout.decode().strip()

    def start(self, *words, options=()):
        """Start a container in the background; return its name."""
        name = f"pyinit-{uuid.uuid4().hex[:12]}"
        self.names.append(name)
        self.good("run", "-d", "--name", name, *LIMITS, *options, *words)
        return name

    def run(self, *words, options=()):
        """Run a container to its end; return the result."""
        return self("run", "--rm", *LIMITS, *options, *words)

    def inside(self, name, *words):
        return self.good("exec", name, *words)

    def log(self, name):
        result = self("logs", name)
        return (result.stdout + result.stderr).decode()

    def state(self, name):
        return json.loads(self.good("inspect", name))[0]["State"]


@pytest.fixture(scope="module")
def images():
    """The engine, with the base image imported and Dockerfile.example built on it."""
    words = engine()
    if isinstance(words, str):
        pytest.skip(words)
    containers = Containers(words)
    if containers("image", "inspect", IMAGE).returncode:
        if not os.path.isdir(BASE):
            pytest.skip(f"no base image, and no root to make it of at {BASE}")
        command = f"tar -C {BASE} -c . | {shlex.join(words)} import - {IMAGE}"
        assert run("bash", "-o", "pipefail", "-c", command, timeout=300).returncode == 0
    build = ["build", "-q", "-t", "localhost/pyinit-example"]
    build += ["--build-arg", f"PYTHON_IMAGE={IMAGE}", "-f", ROOT / "Dockerfile.example"]
    if words[0] == "podman":
        build[1:1] = ["--isolation", "chroot"]
    containers.good(*build, ROOT)
    yield containers


@pytest.fixture
def containers(images):
    yield images
    if images.names:
        images("rm", "-f", "-t", "0", *images.names)
    images.names.clear()


EXAMPLE = "localhost/pyinit-example"
# What the base image lacks of pyinit is mounted, with the example's entry point.
MOUNT = ["-v", f"{PYINIT_FILE}:/sbin/pyinit.py:ro"]
INIT = ["python3", "-IS", "/sbin/pyinit.py"]


def test_the_example(containers):
    name = containers.start(EXAMPLE)
    line = containers.inside(name, "cat", "/proc/1/cmdline").split("\0")
    assert line[:4] == ["python3", "-IS", "/sbin/pyinit.py", "--"]
    assert containers.inside(name, "id", "-u") == "65534"
    listens = "import socket; socket.create_connection(('127.0.0.1', 8000))"
    probe = ["exec", name, "python3", "-c", listens]
    until(lambda: not containers(*probe).returncode, "the server listens")
    before = monotonic()
    containers.good("stop", "-t", "10", name)
    assert monotonic() - before < 2
    assert containers.state(name)["ExitCode"] == 143


def test_negative_control_the_example_without_its_entry_point(containers):
    name = containers.start(
        EXAMPLE, "python3", "-m", "http.server", options=["--entrypoint", ""]
    )
    until(lambda: containers.state(name)["Running"], "it runs")
    before = monotonic()
    containers.good("stop", "-t", "3", name)
    assert monotonic() - before > 2.9
    assert containers.state(name)["ExitCode"] == 137


# A minute's work.
LEAK = """
end=$(($(date +%s) + 60)); n=0
while [ $(date +%s) -lt $end ]; do (sleep 0.01 &); sleep 0.2; n=$((n + 1)); done
sleep 0.1; echo leaked $n; exec sleep 100
"""
COUNT = """
for d in /proc/[0-9]*; do
    read -r line < $d/stat && case "$line" in *") Z "*) echo z;; esac
done 2>/dev/null; true
"""
NOT_REAPING = "import subprocess, sys; subprocess.call(sys.argv[1:])"


def test_zombies(containers):
    # Beside it the negative control: a command that is PID 1 itself and does not reap.
    programs = {"with": [*INIT, "--"], "without": ["python3", "-c", NOT_REAPING]}
    names, zombies = {}, {}
    for key, words in programs.items():
        command = [*words, "sh", "-c", LEAK]
        names[key] = containers.start(IMAGE, *command, options=MOUNT)
    for key, name in names.items():
        log = until(lambda name=name: containers.log(name), "the leak is done", 90)
        zombies[key] = len(containers.inside(name, "sh", "-c", COUNT).split())
        leaked = int(log.split()[1])
    assert zombies["with"] == 0
    assert zombies["without"] >= leaked > 100


def test_a_shell_at_a_terminal_has_job_control(containers):
    from test_terminal import PROMPT, Terminal

    name = f"pyinit-{uuid.uuid4().hex[:12]}"
    containers.names.append(name)
    words = [*containers.words, "run", "--rm", "--name", name, "-it", *LIMITS, *MOUNT]
    words += ["-e", f"PS1={PROMPT}", IMAGE, *INIT, "--"]
    screen = Terminal(*words, "bash", "--norc", "--noprofile", "--noediting", "-i")
    try:
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
    finally:
        screen.process.clean()
        screen.close()


def test_signals_by_name_and_a_rewrite(containers):
    program = 'for n in USR1 WINCH QUIT; do trap "echo got $n" $n; done; echo up; while :; do sleep 0.05; done'
    options = ["--rewrite", "USR2:QUIT"]
    name = containers.start(
        IMAGE, *INIT, "-c", *options, "--", "sh", "-c", program, options=MOUNT
    )
    until(lambda: "up" in containers.log(name), "up")
    for sent, got in (("USR1", "USR1"), ("WINCH", "WINCH"), ("USR2", "QUIT")):
        containers.good("kill", "-s", sent, name)
        until(lambda got=got: f"got {got}" in containers.log(name), f"got {got}")


def test_the_pids_limit(containers):
    # Filled from inside: with a limit of 1 the engine's own threads may not fit in.
    fill = (
        "import os, signal, sys\n"
        "try:\n"
        "    while os.fork(): pass\n"
        "    signal.pause()\n"
        "except BlockingIOError:\n"
        "    os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    words = ["python3", "-IS", "-c", fill, *INIT, "--", "echo", "started"]
    result = containers.run(IMAGE, *words, options=[*MOUNT, "--pids-limit", "50"])
    assert result.returncode == 125
    assert result.stdout == b""
    assert result.stderr == b"[pyinit] cannot start: Resource temporarily unavailable\n"


@pytest.mark.parametrize(
    "options",
    [
        ["--read-only"],
        [
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--user",
            "54321:54321",
        ],
        ["--read-only", "--cap-drop", "ALL", "--user", "54321"],
        ["--memory", "30m"],
    ],
)
def test_confined(containers, options):
    command = ["sh", "-c", "echo hello; exit 6"]
    result = containers.run(
        IMAGE, *INIT, "-v", "--", *command, options=[*MOUNT, *options]
    )
    assert result.returncode == 6, result.stderr
    assert result.stdout == b"hello\n"
    assert b"Traceback" not in result.stderr


def test_in_the_place_of_dumb_init(containers):
    mount = ["-v", f"{PYINIT_FILE}:/usr/bin/dumb-init:ro"]
    entry = ["--entrypoint", '["/usr/bin/dumb-init", "--"]']
    result = containers.run(IMAGE, "sh", "-c", "exit 9", options=[*mount, *entry])
    assert result.returncode == 9, result.stderr
    result = containers.run(IMAGE, "no-such-command", options=[*mount, *entry])
    assert result.returncode == 127
    assert result.stderr == b"[dumb-init] no-such-command: No such file or directory\n"


def test_grace_in_a_stop(containers):
    leave = "setsid sh -c 'trap \"sleep 0.3; echo saved; exit\" TERM; echo up; while :; do sleep 0.05; done' & wait"
    name = containers.start(
        IMAGE, *INIT, "--grace", "5", "--", "sh", "-c", leave, options=MOUNT
    )
    until(lambda: "up" in containers.log(name), "up")
    containers.good("stop", "-t", "10", name)
    assert "saved" in containers.log(name)
    assert containers.state(name)["ExitCode"] == 143


def test_as_the_engines_own_init(containers):
    if containers.words[0] != "podman":
        pytest.skip("docker's init-path is the daemon's to set")
    init = ["--init", "--init-path", PYINIT_FILE]
    result = containers.run(
        IMAGE, "sh", "-c", "cat /proc/1/cmdline; exit 5", options=init
    )
    assert result.returncode == 5, result.stderr
    assert b"python3\0" in result.stdout


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/env -S python3 /sbin/pyinit.py /bin/sh",
        "/usr/bin/env -S python3 -IS /sbin/pyinit.py -v --",
        "/usr/bin/env -S python3 /sbin/pyinit.py",
        "/sbin/pyinit.py",
    ],
)
def test_scripts(containers, tmp_path, line):
    script = tmp_path / "script"
    script.write_text(f"#!{line}\necho $1; exit 8\n")
    script.chmod(0o755)
    mount = [*MOUNT, "-v", f"{script}:/script:ro", "--pids-limit", "50"]
    result = containers.run(IMAGE, "/script", "hello", options=mount)
    assert result.returncode == 8, result.stderr
    assert result.stdout == b"hello\n"


def test_every_builder(images, tmp_path):
    buildah = shutil.which("buildah")
    if not buildah:
        pytest.skip("buildah is not installed")
    build = ["build", "--isolation", "chroot", "-q"]
    build += ["-t", "localhost/pyinit-buildah", "--build-arg", f"PYTHON_IMAGE={IMAGE}"]
    result = run(buildah, *build, "-f", ROOT / "Dockerfile.example", ROOT)
    assert result.returncode == 0, result.stderr
