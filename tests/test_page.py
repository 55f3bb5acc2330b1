"""The README: every block is run as it stands, and what stands in two places is equal.

A block is named by how its text begins. A reader's `docker` is here a script, which adds
what this machine needs: the limits and the label of the tests' own containers.
"""

import hashlib
import json
import os
import re
import shlex
import signal
import sys
from subprocess import STDOUT

import pytest
from support import (
    FULL,
    INTERPRETER,
    PYINIT_FILE,
    ROOT,
    executable,
    interpreters,
    run,
    until,
)

README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / "Dockerfile.example").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
RUN_BY_A_TEST = []
needs_engines = pytest.mark.skipif(
    not FULL, reason="the README's containers are only run where PYINIT_FULL is set"
)


def block(language, beginning, inside=""):
    """Return the text of the one block that begins so, with that in it.

    A test is to run it.
    """
    found = [
        (name, text)
        for name, text in BLOCKS
        if text.startswith(beginning) and inside in text
    ]
    assert [name for name, _ in found] == [language], (beginning, found)
    RUN_BY_A_TEST.append(found[0])
    return found[0][1]


CHECKSUM = block("sh", "echo ")
DOCKERFILE = block("dockerfile", "COPY ")
LOOK = block("sh", "docker exec NAME", "ExitCode}}'")
TROUBLE = block("sh", "docker exec NAME", "OOMKilled")
LOG = block("text", "[pyinit] ")
HELP = block("text", "usage: ")
LISTS = block("sh", "docker inspect -f '{{json")
COMPOSE = block("yaml", "services:")
KUBERNETES = block("yaml", "spec:")
MAIN_JOB = block("sh", "python3 -IS pyinit.py")
NOT_RUN = {
    block("sh", "python3 -m venv"): "it is what runs this; .ci/run takes it from here"
}
COPY, RUN, ENTRYPOINT, CMD = DOCKERFILE.splitlines()
INIT = json.loads(ENTRYPOINT.partition(" ")[2])  # ["python3", "-IS", …, "--"]


def shell(command, cwd, **environment):
    """Run what somebody types; return the status and the lines that are printed."""
    environment = {**os.environ, **environment}
    result = run("bash", "-c", command, cwd=cwd, env=environment, stderr=STDOUT)
    return result.returncode, result.stdout.decode().splitlines()


# --- The page itself --------------------------------------------------------------


def test_every_block_is_run():
    """A new block needs a test of its own here, or a reason in NOT_RUN."""
    assert sorted(BLOCKS) == sorted(RUN_BY_A_TEST)


def test_its_length():
    assert len(README.splitlines()) <= 250
    assert len(README.split()) <= 2500


def anchor(heading):
    """Return the anchor of a heading, as the usual hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_its_links():
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.M | re.S)
    anchors = {"#" + anchor(text) for text in re.findall(r"^#+ (.*)", prose, re.M)}
    links = re.findall(r"\]\((.*?)\)", prose)
    assert len(links) > 10
    for link in links:
        assert link in anchors or (ROOT / link).exists(), link


def test_it_names_no_host_and_no_tag():
    """It stands beside the file that it tells of, wherever that is kept."""
    assert not re.findall(r"https?://|git clone|--branch|raw/", README)


# --- Get the file -----------------------------------------------------------------


def test_the_checksum(tmp_path):
    """The one of the file; another file is found out."""
    checksum = hashlib.sha256(PYINIT_FILE.read_bytes()).hexdigest()
    stands = re.findall(r"\b([0-9a-f]{64})\b", README)
    assert stands == [checksum], f"sed -i s/{stands[0]}/{checksum}/ README.md"
    copy = tmp_path / "pyinit.py"
    copy.write_bytes(PYINIT_FILE.read_bytes())
    assert shell(CHECKSUM, tmp_path) == (0, ["pyinit.py: OK"])
    with copy.open("ab") as file:
        file.write(b"\n")
    status, lines = shell(CHECKSUM, tmp_path)
    assert status != 0
    assert "pyinit.py: FAILED" in lines


# --- The Dockerfile ---------------------------------------------------------------


def test_its_lines_are_those_of_the_example():
    lines = [line for line in EXAMPLE.splitlines() if not line.startswith("#")]
    start = lines.index(COPY)
    assert lines[start : start + 3] == [COPY, RUN, ENTRYPOINT]
    assert json.loads(RUN.partition(" ")[2])[:4] == INIT
    for text in (COMPOSE, KUBERNETES):
        [words] = re.findall(
            r"^ *(?:entrypoint|command): (\[\"python3.*\])", text, re.M
        )
        words = json.loads(words)
        assert [*words[:3], words[-1]] == INIT


# --- The options ------------------------------------------------------------------


def words_of_help(text):
    """Return the words of a help text, alike for all versions of argparse."""
    text = re.sub(r"(-\w) ([A-Z:]+), (--\w+) \2", r"\1, \3 \2", text)  # before 3.13
    return text.replace("optional arguments:", "options:").split()  # before 3.10


def test_the_help_is_the_help():
    """Of each Python that is here: their layouts differ, and the words do not."""
    for name, python in interpreters().items():
        if name == "pypy3":
            continue
        said = run(*python, "-IS", PYINIT_FILE, "--help", check=True).stdout.decode()
        assert words_of_help(said) == words_of_help(HELP), f"{python} says:\n{said}"
        if python == [sys.executable] and (3, 10) <= sys.version_info < (3, 13):
            assert said == HELP


def test_each_option_is_told_of():
    told = set(re.findall(r"^- \*\*`(--?\w+)`\*\*", README, re.M))
    options = set(re.findall(r"^  (--?\w+)", HELP, re.M)) - {"-h", "-v", "-V"}
    assert told == options


def masked(lines):
    """Return lines of the log without what is another in each run: pids."""
    return [re.sub(r"(?<=\] )\d+|(?<=group )\d+", "PID", line) for line in lines]


def test_the_log(pid1):
    server = ["sh", "-c", "echo up; exec sleep 100"]
    process = pid1("-v", "--", *server)
    process.expect("up")
    process.send(signal.SIGTERM, process.init)
    assert process.wait() == 143
    got = process.err.decode().replace("runs sh;", "runs my-server;").splitlines()
    stands = [line.partition("  #")[0].rstrip() for line in LOG.splitlines()]
    assert masked(stands) == masked(got)
    assert all("  # " in line for line in LOG.splitlines())


def test_the_main_job_of_a_clone(tmp_path):
    (tmp_path / "python3").symlink_to(INTERPRETER)
    path = f"{tmp_path}:{os.environ['PATH']}"
    status, lines = shell(MAIN_JOB, ROOT, PATH=path)
    assert status == 0
    assert lines[-1].endswith("was ended by SIGTERM, status 143")
    assert any("SIGTERM: sent SIGTERM to group" in line for line in lines)


# --- With an engine ---------------------------------------------------------------

FILES = {
    "pyinit.py": PYINIT_FILE.read_text(),
    "my-server": "#!/bin/sh\necho up\nexec sleep 1000\n",
}


@pytest.fixture
def typed(containers, tmp_path):
    """Return a function: what somebody types to an engine, and what it prints."""
    command = shlex.join(containers.words)
    executable(tmp_path / "docker", f'#!/bin/sh\nexec {command} "$@"\n')

    def typed(text, **words):
        for word, value in words.items():
            text = re.sub(rf"\b{word}\b", value, text)
        status, lines = shell(text, tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
        assert status == 0, lines
        return lines

    return typed


@pytest.fixture
def build(containers, tmp_path):
    """Return a function that builds lines of the page, and returns the image's name."""
    for name, text in FILES.items():
        executable(tmp_path / "context" / name, text)

    def build(*lines):
        image, file = containers.new_image(), tmp_path / "context" / "Dockerfile"
        first = [f"FROM {containers.base}", "COPY my-server /usr/bin/"]
        file.write_text("\n".join([*first, *lines, ""]))
        options = [*containers.build_options()[2:-2], "-t", image]
        containers.good("build", *options, file.parent)
        return image

    return build


def serves(containers, image, *options):
    """Start a server; return its container's name once it runs."""
    name = containers.start(image, options=options)
    until(lambda: "up\n" in containers.log(name), "the server runs")
    return name


def seconds(lines):
    """Return what bash's `time` says."""
    [real] = [line for line in lines if line.startswith("real")]
    minutes, rest = re.match(r"^real\t(\d+)m([0-9.]+)s$", real).groups()
    return int(minutes) * 60 + float(rest)


@needs_engines
def test_the_first_screen_and_what_the_image_has(containers, build, typed):
    image = build(*DOCKERFILE.splitlines())
    name = serves(containers, image)
    lines = typed(LOOK, NAME=name)
    assert seconds(lines) < 10
    lines = [line for line in lines if "resorting to SIGKILL" not in line and line]
    [begins] = re.findall(r"This shows `(.*?) …`", README)
    assert lines[0].startswith(begins)
    assert lines[0].rstrip().endswith("my-server --port 80")
    assert (lines[1], lines[-1]) == (name, "143")
    decoder, [line, *_] = json.JSONDecoder(), typed(LISTS, IMAGE=image)
    first, end = decoder.raw_decode(line)
    second, _ = decoder.raw_decode(line[end + 1 :])
    assert [first, second] == [INIT, json.loads(CMD.partition(" ")[2])]


@needs_engines
def test_is_it_your_containers_trouble(containers, build, typed):
    """The server of the first screen without pyinit; and a shell that is in the way."""
    # Ten seconds are both engines' own patience. To wait for one of them is enough.
    patience = 10 if containers.name == "docker" else 2
    options = [] if patience == 10 else ["--stop-timeout", str(patience)]
    name = serves(containers, build('CMD ["my-server"]'), *options)
    lines = typed(TROUBLE, NAME=name)
    assert seconds(lines) >= patience
    assert "137 false" in lines
    assert lines[0].rstrip() == "sleep 1000"
