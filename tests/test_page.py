"""The README: what it shows is run, what it says twice is held equal.

A console block is what somebody types after "$ " and what is printed then. A comment
before a block says where it is run: <!-- docker --> with each container engine, and only
where PYINIT_FULL is set. The page's `docker` is then a script of ours, which adds what
this machine needs: a base image that is here, since no registry may be within reach, and
the limits and the label of the tests' own containers.
"""

import hashlib
import os
import re
import shlex
import subprocess

import pytest
from engines import FULL
from support import PYINIT_FILE, PYTHON, ROOT, need, tool

README = (ROOT / "README.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile.example").read_text()
BLOCKS = re.findall(r"^(?:<!-- (\w+) -->\n)?```(\w+)\n(.*?)^```$", README, re.M | re.S)
needs_engines = pytest.mark.skipif(
    not FULL, reason="the README's containers are only run where PYINIT_FULL is set"
)


def blocks(language, where=None):
    """Return the texts of the blocks in a language that are run there."""
    return [
        text
        for place, name, text in BLOCKS
        if (place or None, name) == (where, language)
    ]


def typed(block):
    """Return each command of a console block with the lines that it prints."""
    parts = re.split(r"^\$ ", block, flags=re.M)
    assert parts[0] == "", f"output without a command: {block}"
    return [(part.splitlines()[0], part.splitlines()[1:]) for part in parts[1:]]


def shell(command, cwd, **environment):
    """Run what somebody types; return the status and the lines that are printed."""
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return result.returncode, result.stdout.decode().splitlines()


def mask(line):
    """Return a line without what is another in each run: pids, ids, times."""
    line = re.sub(r"^(\[pyinit\]|.* group|.* reaped|.* to) \d+", r"\1 PID", line)
    line = re.sub(r"^(\[pyinit\] PID .*group|\[pyinit\] reaped) \d+", r"\1 PID", line)
    line = re.sub(r"^(sha256:)?[0-9a-f]{64}$", "ID", line)
    line = re.sub(r"^(user|sys)\t0m[0-9.]+s$", r"\1 TIME", line)
    stop = re.match(r"^real\t(\d+)m([0-9.]+)s$", line)
    if stop:
        long = int(stop[1]) * 60 + float(stop[2]) >= 10
        line = "real: ten seconds" if long else "real: less than ten seconds"
    return line.rstrip()


def compare(command, got, expected):
    """What a command prints is what stands there; in any order, as two may write."""
    got, expected = sorted(map(mask, got)), sorted(map(mask, expected))
    assert got == expected, command


EXAMPLES = [pair for block in blocks("console") for pair in typed(block)]


@pytest.mark.parametrize("command, lines", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples(command, lines):
    if command.startswith("script "):
        need("script", "-qc", "true", "/dev/null")  # it opens a terminal of its own
    compare(command, shell(command, ROOT)[1], lines)


def test_every_console_block_is_run():
    places = {place for place, language, _ in BLOCKS if language == "console"}
    assert places == {"", "docker"}
    assert README.count("```console\n") == len(blocks("console")) + len(
        blocks("console", "docker")
    )


@needs_engines
def test_the_containers(containers, tmp_path):
    """All of them, one after the other, since they build on one another."""
    docker = tmp_path / "docker"
    command = shlex.join(containers.words)
    build = shlex.join(containers.build_options()[:-2])  # without its -f
    docker.write_text(
        "#!/bin/bash\nwhat=$1; shift\ncase $what in\n"
        f'build) exec {command} build {build} "$@";;\n'
        f'run) exec {command} run {shlex.join(containers.limits)} "$@";;\n'
        f'*) exec {command} $what "$@";;\nesac\n'
    )
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    ours = f"{containers.label}-"
    containers.images.append(ours + "hello")
    for block in blocks("console", "docker"):
        for command, lines in typed(block):
            # Names of our own: this machine may have a "hello" of somebody else's.
            text = re.sub(r"\b(hello|bare)\b", ours + r"\1", command)
            _, got = shell(text, containers.context, PATH=path)
            got = [line.replace(ours, "") for line in got]
            if containers.name == "podman":
                got = [line for line in got if "resorting to SIGKILL" not in line]
                wanted = [re.sub(r"^/(hello|bare) ", r"\1 ", line) for line in lines]
            else:
                wanted = lines
            compare(command, got, wanted)
            if "run -d" in command:  # its reader is slower than we are
                containers.until_it_serves(re.search(r"--name (\S+)", text)[1])


OTHER_DOCKERFILES = [text for text in blocks("dockerfile") if text != DOCKERFILE]


@needs_engines
@pytest.mark.parametrize("text", OTHER_DOCKERFILES, ids=range(len(OTHER_DOCKERFILES)))
def test_the_other_dockerfiles(containers, text):
    """Each is built and runs a command, from the base image that is here."""
    if not text.startswith("FROM "):  # lines for a Dockerfile that is there already
        copy = "" if "COPY" in text else "COPY pyinit.py /sbin/pyinit.py\n"
        text = f"FROM\n{copy}{text}"
    text = re.sub(r"^FROM.*", f"FROM {containers.base}", text)
    text = text.replace("RUN apk add --no-cache python3\n", "")  # Alpine's own
    file = containers.context / "Dockerfile.other"
    file.write_text(text)
    image = containers.new_image()
    options = containers.build_options()[:-2]
    containers.good("build", *options, "-t", image, "-f", file, containers.context)
    show = "tr '\\0' ' ' </proc/1/cmdline; exit 4"
    result = containers.run(image, "sh", "-c", show)
    assert result.returncode == 4, result.stderr
    assert result.stdout.startswith(b"python3 -IS /sbin/pyinit.py")


def words_of_help(text):
    """Return the words of a help text, alike for all versions of argparse."""
    text = re.sub(r"(-\w) ([A-Z:]+), (--\w+) \2", r"\1, \3 \2", text)  # before 3.13
    return text.replace("optional arguments:", "options:").split()  # before 3.10


def test_the_usage_is_the_help():
    help_text = subprocess.run(
        [*PYTHON, str(PYINIT_FILE), "--help"], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    assert words_of_help(help_text) in map(words_of_help, blocks("text"))


def test_the_dockerfile_is_the_example():
    assert DOCKERFILE in blocks("dockerfile")


def test_the_version_and_the_checksum():
    """Both stand on the page; after a change of pyinit.py the checksum is another."""
    checksum = hashlib.sha256(PYINIT_FILE.read_bytes()).hexdigest()
    stands = re.findall(r"\b([0-9a-f]{64})  pyinit\.py", README)
    assert stands == [checksum], f"sed -i s/{stands[0]}/{checksum}/ README.md"
    command = [*PYTHON, str(PYINIT_FILE), "--version"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    version = printed.decode().split()[1]
    assert f"about version {version}" in README
    assert re.findall(r"^VERSION=(.*)", README, re.M) == [version]
    changes = README.partition("\n## What changed\n")[2]
    assert re.search(r"^### ([0-9.]+)", changes, re.M)[1] == version


def test_the_check_fails_for_another_file(tmp_path):
    [check] = [command for command, _ in EXAMPLES if "sha256sum" in command]
    (tmp_path / "pyinit.py").write_bytes(PYINIT_FILE.read_bytes())
    assert shell(check, tmp_path)[0] == 0
    with (tmp_path / "pyinit.py").open("ab") as file:
        file.write(b"\n")
    status, lines = shell(check, tmp_path)
    assert status != 0
    assert "pyinit.py: FAILED" in lines


def test_the_download(tmp_path):
    """As pasted, but for the address, which is that of a directory here."""
    tool("git")
    [download] = [text for text in blocks("sh") if "git clone" in text]
    tag = "v" + re.search(r"^VERSION=(.*)", download, re.M)[1]
    files = PYINIT_FILE, ROOT / "Dockerfile.example"
    repository = tmp_path / "repository"
    repository.mkdir()
    for file in files:
        (repository / file.name).write_bytes(file.read_bytes())
    git = "git -c user.name=name -c user.email=name@example.com"
    make = f"git init -q && git add . && {git} commit -qm 1 && git tag {tag}"
    # What comes after the tag is not what is wanted.
    make += f" && echo >>pyinit.py && {git} commit -qam 2"
    assert shell(make, repository, GIT_CONFIG_GLOBAL="/dev/null") == (0, [])
    address = "https://YOUR-GIT-HOST/pyinit"
    assert README.count(address) == download.count(address) == 1
    here = download.replace(address, f"file://{repository}")
    place = tmp_path / "place"
    place.mkdir()
    assert shell(f"set -e\n{here}", place) == (0, [])
    for file in files:
        assert (place / file.name).read_bytes() == file.read_bytes()
    # Where a host gives single files, the address is of the same parts.
    assert '`curl -fsSLO "$REPO/raw/v$VERSION/pyinit.py"`' in README
