"""In real containers, with each engine that is here: Podman and Docker.

What the namespaces of the other tests show is not shown again, but for one container that
has it all.
"""

import re
import signal

import pytest
from engines import INIT, terminal, zombies
from support import BASH, FULL, PROMPT, ROOT, run, until


def test_the_example(containers):
    name = containers.start(containers.example)
    line = containers.inside(name, "cat", "/proc/1/cmdline").split("\0")
    assert line[:4] == ["python3", "-IS", "/sbin/pyinit.py", "--"]
    assert containers.inside(name, "id", "-u") == "65534"
    containers.until_it_serves(name)
    containers.stopped(name)


# Three hundred orphans, one who saves something when it is to end, and the reporter.
COMMAND = """
n=0; while [ $n -lt 300 ]; do (sleep 0.01 &); n=$((n + 1)); done
setsid sh -c 'trap "sleep 0.3; echo saved; exit" TERM; while :; do sleep 0.05; done' &
exec python3 -IS /tests/reporter.py 9
"""


def test_signals_zombies_and_a_stop(containers):
    """Signals from the client, which passes its own on, and from the engine by name."""
    options = ["--grace", "30", "-r", "USR2:QUIT"]
    client = containers.pyinit(*options, "--", "sh", "-c", COMMAND)
    client.ready()
    for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
        client.send(number)
        client.expect(3 if number == signal.SIGUSR2 else int(number))
    sent = {"SIGWINCH": 28, "USR2": 3, "1": 1, "RTMIN+3": 37, "50": 50}
    for name, number in sent.items():
        containers.good("kill", "-s", name, client.name)
        client.expect(number)
    # Of the engine's exec pyinit knows nothing.
    containers.inside(client.name, "sh", "-c", "(sleep 0.01 &)")
    until(lambda: not zombies(containers, client.name), "no zombie is left")
    containers.good("stop", "-t", "60", client.name)
    client.expect(15, "saved")
    assert client.wait() == 9


def test_a_shell_at_a_terminal(containers):
    """It has job control, and goes on where the client detaches and another attaches."""
    options = ["-it", "-e", f"PS1={PROMPT}"]
    screen = containers.pyinit("--", *BASH, options=options, start=terminal)
    assert "no job control" not in screen.expect(re.escape(PROMPT))
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
    screen.press("\x10")  # Ctrl-P Ctrl-Q, the engines' keys
    screen.type("\x11")
    assert screen.process.status() == 0
    # Its terminal has no reader now, and the shell goes on.
    again = containers.attached("attach", screen.name, start=terminal)
    # A client that attaches may still be at it when the first key comes.
    again.type("\n")
    again.expect(re.escape(PROMPT))
    again.type("echo =$-\n")
    again.expect("^=.*m.*\n")
    again.type("exit 7\n")
    # Podman 4.3's attach ends with 0, whatever the status is.
    assert again.process.status() in ([7] if containers.name == "docker" else [0, 7])
    assert containers.exit_code(screen.name) == 7


def test_confined(containers):
    options = "--read-only --cap-drop ALL --security-opt no-new-privileges --memory 30m"
    options = [*containers.mount, *options.split(), "--user", "54321:54321"]
    words = [*INIT, "-v", "--", "sh", "-c", "echo hello; exit 6"]
    result = containers.run(containers.base, *words, options=options)
    assert result.returncode == 6, result.stderr
    assert result.stdout == b"hello\n"
    assert b"Traceback" not in result.stderr


def test_as_the_engines_own_init(containers):
    """The image knows nothing of pyinit; only a variable can tell it something."""
    init = ["--init", "-e", "DUMB_INIT_DEBUG=1"]
    if containers.name == "podman":
        init += ["--init-path", containers.context / "pyinit.py"]
    elif not containers.ours:
        pytest.skip("docker's init-path is the daemon's to set")
    words = ["sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; echo; exec sleep 1000"]
    client = containers.client(containers.base, *words, options=init)
    line = client.line()
    assert line.startswith("python3 /")
    assert "-init " in line  # where the engine has mounted it
    client.until_stderr("[pyinit] ")
    containers.good("stop", "-t", "60", client.name)
    assert client.wait() == 143


# --- A base image whose standard library has no .pyc file, as the official ones of Python

BARE = """
FROM {base}
RUN find / -xdev -name __pycache__ -prune -exec rm -rf {{}} +
ENV PYTHONDONTWRITEBYTECODE=1
"""
EXAMPLE = (ROOT / "Dockerfile.example").read_text()
[RUN] = re.findall(r"^RUN .*\n", EXAMPLE, re.M)
BUILDERS = {"podman": [[]]}
BUILDERS["docker"] = [["env", "DOCKER_BUILDKIT=0"], ["env", "DOCKER_BUILDKIT=1"]]


def build(containers, text, builder=()):
    """Build an image of lines of a Dockerfile; return the result and its name."""
    file = containers.context / "Dockerfile.test"
    file.write_text(text)
    image = containers.new_image()
    options = [*containers.build_options()[2:-2], "-t", image, "-f", file]
    words = [*builder, *containers.words, "build", *options, containers.context]
    return run(*words), image


@pytest.mark.skipif(not FULL, reason="images are only built where PYINIT_FULL is set")
def test_the_example_compiles_every_module_of_a_start(containers):
    result, bare = build(containers, BARE.format(base=containers.base))
    assert result.returncode == 0, result.stderr.decode()
    example = EXAMPLE.replace("FROM ${PYTHON_IMAGE}", f"FROM {bare}")
    start = ["python3", "-IS", "-v", "/sbin/pyinit.py", "--", "true"]
    options = ["--entrypoint", "", "--user", "54321:54321", "--read-only"]
    for builder in BUILDERS[containers.name]:
        result, image = build(containers, example, builder)
        assert result.returncode == 0, result.stderr.decode()
        assert (b"[internal]" in result.stderr) == ("DOCKER_BUILDKIT=1" in builder)
        compiled = []
        for name, more in (bare, containers.mount), (image, []):
            result = containers.run(name, *start, options=[*options, *more])
            assert result.returncode == 0, result.stderr.decode()
            paths = re.findall(rb"^# code object from (.*)", result.stderr, re.M)
            compiled.append({path.endswith(b".pyc'") for path in paths})
        assert compiled == [{False}, {True}]
        # Python 3.5 stops so at the first line that it does not know.
        breaks = f"FROM {bare}\nCOPY pyinit.py /sbin/\nRUN echo '(' >>/sbin/pyinit.py\n"
        result, _ = build(containers, breaks + RUN, builder)
        assert result.returncode != 0
        assert b"python3" in result.stdout + result.stderr
