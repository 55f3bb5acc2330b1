"""Container engines, Podman and Docker, as the tests of containers use them.

Nothing of a test stays behind, whether it passes or fails: every container carries a
label of this run and is removed by it, and every image has a name of this run. Docker's
daemon is the one that runs already or, with PYINIT_FULL, one of the tests' own, in
namespaces that end with it.
"""

import contextlib
import glob
import json
import os
import shlex
import shutil
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
from support import (
    FULL,
    PROGRAMS,
    PYINIT_FILE,
    PYTHON,
    ROOT,
    Process,
    Terminal,
    only_child,
    run,
    tool,
    until,
)

ONE = "podman" if shutil.which("podman") and not os.getuid() else "docker"
BASE = os.environ.get("PYINIT_BASE", "/var/tmp/pyinit/base")
# What an image does not need of that directory, or gets from the engine.
LEFT_OUT = ["usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/*"]
LEFT_OUT += ["var/lib/apt/lists/*", "dev/*", "proc/*", "sys/*", "run/*"]
INIT = ["python3", "-IS", "/sbin/pyinit.py"]
REPORTER = ["python3", "-IS", "/tests/reporter.py"]


class Engine:
    """An engine, and all that the tests have made with it.

    place: the directory of these tests, by whose name all that they make is known.
    parent: the name of the cgroup that all the containers are in, None for any.
    ours: whether it is a daemon of the tests' own, which has pyinit as its init.
    """

    def __init__(self, name, words, place, parent=None, ours=False):
        self.name, self.words, self.ours = name, words, ours
        self.context, self.label = place / "context", place.name
        self.base = f"localhost/{self.label}/base"
        self.example = f"localhost/{self.label}/example"
        self.images, self.clients, self.count = [], [], 0
        self.limits = ["--label", self.label, "--network", "none"]
        self.limits += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        if parent:
            self.limits += ["--cgroup-parent", f"/{parent}"]
        # With this, an image that knows nothing of pyinit has it.
        self.mount = ["-v", f"{self.context}/pyinit.py:/sbin/pyinit.py:ro"]
        self.mount += ["-v", f"{self.context}/programs:/tests:ro"]

    def __call__(self, *words):
        """Run a command of the engine; return its status, stdout and stderr."""
        return run(*self.words, *words)

    def good(self, *words):
        """Run a command of the engine that has to succeed; return its output."""
        result = self(*words)
        assert result.returncode == 0, (words, result.stdout, result.stderr)
        return result.stdout.decode().strip()

    def new_name(self):
        self.count += 1
        return f"{self.label}-{self.count}"

    def run(self, image, *words, options=()):
        """Run a container to its end; return its status, stdout and stderr."""
        return self("run", "--rm", *self.limits, *options, image, *words)

    def start(self, image, *words, options=()):
        """Start a container in the background; return its name."""
        name = self.new_name()
        self.good("run", "-d", "--name", name, *self.limits, *options, image, *words)
        return name

    def client(self, image, *words, options=(), start=Process):
        """Start a container and stay attached; return the client, with its .name."""
        name = self.new_name()
        words = ["--name", name, *self.limits, *options, image, *words]
        client = self.attached("run", *words, start=start)
        client.name = name
        return client

    def pyinit(self, *words, options=(), start=Process):
        """Start pyinit with these words in a container; return the client."""
        options = [*self.mount, *options]
        return self.client(self.base, *INIT, *words, options=options, start=start)

    def reporter(self, *words, options=()):
        """The same, with the reporter as the command; return the client when it is ready."""
        client = self.pyinit(*words, "--", *REPORTER, "9", options=options)
        client.ready()
        return client

    def stopped(self, name, status=143):
        """Stop a container, and see its status. (137: the minute has been used up.)"""
        self.good("stop", "-t", "60", name)
        assert self.inspect(name, ".State.ExitCode") == status

    def attached(self, *words, start=Process):
        """Start a command of the engine that goes on, with Process or Terminal."""
        client = start([*self.words, *words])
        self.clients.append(client)
        return client

    def inspect(self, name, field):
        """Return a field of a container, as Go's templates name it, from its JSON."""
        return json.loads(self.good("inspect", "-f", "{{json %s}}" % field, name))

    def exit_code(self, name):
        """Wait for the end of a container; return its status."""
        return int(self.good("wait", name))

    def inside(self, name, *words):
        """Run a command in a container; return its output."""
        return self.good("exec", name, *words)

    def until_it_serves(self, name):
        """Wait until the example's server listens."""
        listens = "import socket; socket.create_connection(('127.0.0.1', 8000))"
        probe = ["exec", name, "python3", "-IS", "-c", listens]
        until(lambda: not self(*probe).returncode, f"{name} serves")

    def log(self, name):
        result = self("logs", name)
        return (result.stdout + result.stderr).decode()

    def new_image(self):
        """Return a name for an image that a test makes."""
        self.images.append(f"localhost/{self.label}/image{len(self.images)}")
        return self.images[-1]

    def fill(self):
        """Make the two images; skip if this engine cannot run even `true`."""
        if not os.path.isdir(BASE):
            pytest.skip(f"there is no root to make a base image of at {BASE}")
        tar = ["tar", "-C", BASE, "--ignore-failed-read", "-c", "."]
        tar[3:3] = [f"--exclude=./{path}" for path in LEFT_OUT]
        command = [*self.words, "import", "-", self.base]
        self.images.append(self.base)
        pipe = f"set -o pipefail; {shlex.join(tar)} | {shlex.join(command)}"
        for result in (run("bash", "-c", pipe), self.run(self.base, "true")):
            if result.returncode:
                error = result.stderr.decode().strip()
                pytest.skip(f"{shlex.join(result.args)}: {error}")
        self.images.append(self.example)
        build = ["build", *self.build_options(), "-t", self.example, self.context]
        self.good(*build)

    def build_options(self):
        """Return what every build of Dockerfile.example is told."""
        options = ["--build-arg", f"PYTHON_IMAGE={self.base}"]
        if self.name == "podman":
            # (Its layers of stages and of failed builds would stay, without a name.)
            options += ["--isolation", "chroot", "--layers=false"]
        else:
            options += ["--network", "none"]  # RUN needs none
        return [*options, "-f", self.context / "Dockerfile.example"]

    def clear(self):
        """Remove every container of the tests, and end every client."""
        # Docker kills at once; Podman waits for ten seconds first, if not told.
        remove = ["rm", "-f", *(["-t", "0"] if self.name == "podman" else [])]

        def none_is_left():
            found = self.good("ps", "-aq", "--filter", f"label={self.label}").split()
            if found:
                self(*remove, *found)
            return not found

        try:
            until(none_is_left, "no container is left")
        finally:
            for client in self.clients:
                getattr(client, "process", client).clean()
                getattr(client, "close", int)()
            self.clients.clear()

    def empty(self):
        """Remove what the tests have made, and see that nothing of it is left."""
        self.clear()
        for image in reversed(self.images):
            self("rmi", "-f", image)
        names = self.good("images", "-a", "--format", "{{.Repository}}")
        assert self.label not in names


@contextlib.contextmanager
def directory(name):
    """Make a directory of a new name; yield its path.

    Its "context" has what containers need of this repository. Any user can read that,
    which cannot be said of a clone.
    """
    place = Path("/var/tmp", f"pyinit-{name}-{uuid.uuid4().hex[:12]}")
    context = place / "context"
    place.mkdir()
    try:
        shutil.copytree(PROGRAMS, context / "programs")
        for file in (PYINIT_FILE, ROOT / "Dockerfile.example"):
            shutil.copy(file, context)
        for path in (place, context, *context.rglob("*")):
            path.chmod(0o755)
        yield place
    finally:
        shutil.rmtree(place)
        # The control groups of the containers, one tree in each hierarchy.
        groups = glob.glob(f"/sys/fs/cgroup/{place.name}/")
        groups += glob.glob(f"/sys/fs/cgroup/*/{place.name}/")
        for group in groups:
            for path, _, _ in os.walk(group, topdown=False):
                until(lambda path=path: is_removed(path), f"nobody is in {path}")


def is_removed(path):
    """Remove a control group; return whether it is gone."""
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return not os.path.exists(path)


@pytest.fixture(scope="session")
def podman():
    """Podman, as root: rootless it needs what few machines have set up."""
    words = [tool("podman"), "--cgroup-manager", "cgroupfs", "--runtime", tool("runc")]
    if os.getuid():
        pytest.skip("podman is here, but is only tried as root")
    with directory("podman") as place:
        engine = Engine("podman", words, place, parent=place.name)
        try:
            engine.fill()
            yield engine
        finally:
            engine.empty()


# The daemon's own /run, /etc and /opt: it makes directories and a key there.
PRIVATE = """
mount -t tmpfs tmpfs /run
for top in etc opt; do
    mkdir -p /run/upper/$top /run/work/$top
    options=lowerdir=/$top,upperdir=/run/upper/$top,workdir=/run/work/$top
    mount -t overlay -o $options overlay /$top
done
exec "$@"
"""


@contextlib.contextmanager
def daemon(place):
    """Run a Docker daemon of our own; yield the words of its client.

    It is in a PID namespace, with pyinit as PID 1, and in a mount namespace: where it
    is killed, its containers, its mounts and its sockets end with it, and it is killed
    where pytest is.
    """
    pyinit = place / "context" / "pyinit.py"
    settings = place / "daemon.json"
    settings.write_text(json.dumps({"init-path": str(pyinit)}))
    socket = f"unix://{place}/socket"
    words = [tool("setpriv"), "--pdeathsig", "KILL", tool("unshare"), "--mount"]
    words += ["--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec", PRIVATE]
    words += ["sh", *PYTHON, pyinit, "--", tool("dockerd")]
    words += ["--config-file", settings, "--host", socket]
    words += ["--data-root", place / "data", "--exec-root", place / "exec"]
    words += ["--pidfile", place / "pid", "--cgroup-parent", f"/{place.name}"]
    words += ["--exec-opt", "native.cgroupdriver=cgroupfs"]
    words += ["--storage-driver=overlay2", "--bridge=none", "--ip-forward=false"]
    words += ["--iptables=false", "--ip6tables=false"]
    # The client of Debian's package is of the daemon's version, and the settings of
    # whoever runs the tests are not for it.
    docker = shutil.which("docker", path=f"/usr/bin:{os.environ['PATH']}")
    client = [tool("env"), f"DOCKER_CONFIG={place}", docker, "--host", socket]
    log = place / "log"
    process = Process(words, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    try:

        def answers():
            ended = process.popen.poll() is not None
            return ended or not run(*client, "version").returncode

        until(answers, "the Docker daemon answers")
        if process.popen.poll() is not None:
            pytest.skip(f"{shlex.join(process.argv)}: {log.read_text()[-2000:]}")
        yield client
        process.send(signal.SIGTERM, only_child(process.pid))
        assert process.status() == 0
    finally:
        process.clean()
    assert str(place) not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture(scope="session")
def docker():
    """Docker: the daemon that runs or, with PYINIT_FULL, one of the tests' own."""
    client = tool("docker")
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(directory("docker"))
        if FULL:
            if os.getuid():
                pytest.skip("only root can run a Docker daemon")
            words = stack.enter_context(daemon(place))
        else:
            words = [client]
            answer = run(*words, "version")
            if answer.returncode:
                pytest.skip(f"docker version: {answer.stderr.decode().strip()}")
        engine = Engine("docker", words, place, ours=FULL)
        stack.callback(engine.empty)
        engine.fill()
        yield engine


@pytest.fixture(scope="session", params=["podman", "docker"] if FULL else [ONE])
def engine(request):
    """Each engine, or one of them where not all is to be run."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def containers(engine):
    """The engine, whose containers are removed after the test."""
    yield engine
    engine.clear()


def terminal(words):
    return Terminal(*words)


ZOMBIES = "cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') Z ' || true"


def zombies(containers, name):
    """Return how many zombies there are in a container."""
    return int(containers.inside(name, "sh", "-c", ZOMBIES))
