"""Dockerfile.example upon a base image whose standard library has no .pyc file.

So are the official images of Python, which also set PYTHONDONTWRITEBYTECODE at times. The
line RUN is to leave every module compiled that a start imports, for any user to read.
"""

import re

import pytest
from support import FULL, ROOT, run

pytestmark = pytest.mark.skipif(
    not FULL, reason="images are only built where PYINIT_FULL is set"
)
BARE = """
FROM {base}
RUN find / -xdev -name __pycache__ -prune -exec rm -rf {{}} +
ENV PYTHONDONTWRITEBYTECODE=1
"""
LINES = (ROOT / "Dockerfile.example").read_text().splitlines()
[RUN] = [line for line in LINES if line.startswith("RUN ")]
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


BUILT = {}


def good(containers, text, builder=()):
    """Build an image that has to be built; return its name. The same is built once."""
    key = (containers.name, text, *builder)
    if key not in BUILT:
        result, BUILT[key] = build(containers, text, builder)
        assert result.returncode == 0, result.stderr.decode()
        assert (b"[internal]" in result.stderr) == ("DOCKER_BUILDKIT=1" in builder)
    return BUILT[key]


@pytest.fixture
def bare(containers):
    """The name of the base image without any .pyc file."""
    return good(containers, BARE.format(base=containers.base))


def imported(containers, image, *options):
    """Return where each module comes from that a start imports in an image."""
    words = ["python3", "-IS", "-v", "/sbin/pyinit.py", "--", "true"]
    options = ["--entrypoint", "", "--user", "54321:54321", *options]
    result = containers.run(image, *words, options=options)
    assert result.returncode == 0, result.stderr.decode()
    return re.findall(r"^# code object from (.*)", result.stderr.decode(), re.M)


def compiled(paths):
    return [path.endswith(".pyc'") for path in paths]


def example(base):
    """Return the example's lines upon a base image."""
    return "\n".join(LINES).replace("FROM ${PYTHON_IMAGE}", f"FROM {base}") + "\n"


def test_every_module_of_a_start_is_compiled(containers, bare):
    assert imported(containers, bare, *containers.mount)  # they are there
    assert not any(compiled(imported(containers, bare, *containers.mount)))
    for builder in BUILDERS[containers.name]:
        image = good(containers, example(bare), builder)
        assert all(compiled(imported(containers, image))), builder
        name = containers.start(image)
        containers.until_it_serves(name)
        containers.stopped(name)


def test_a_copy_from_another_stage(containers, bare):
    """It keeps the times of the files, by which Python knows a .pyc as the source's."""
    copy = (
        "COPY --from=made /usr/lib /usr/lib\nCOPY --from=made /sbin/pyinit.py /sbin/\n"
    )
    text = example(bare).replace(f"FROM {bare}", f"FROM {bare} AS made")
    for builder in BUILDERS[containers.name]:
        image = good(containers, f"{text}FROM {bare}\n{copy}", builder)
        assert all(compiled(imported(containers, image))), builder


def test_a_base_image_of_another_user(containers, bare):
    """The build passes, and nothing is compiled; with USER root before, all is."""
    lines = f"FROM {bare}\nUSER 65534\nCOPY pyinit.py /sbin/pyinit.py\n"
    image = good(containers, f"{lines}{RUN}\n")
    assert not any(compiled(imported(containers, image)))
    image = good(containers, f"{lines}USER root\n{RUN}\nUSER 65534\n")
    assert all(compiled(imported(containers, image)))


def test_read_only(containers, bare):
    image = good(containers, example(bare), BUILDERS[containers.name][0])
    assert all(compiled(imported(containers, image, "--read-only")))


def test_an_image_without_a_shell(containers):
    """The lines are lists, and start no shell, as in the distroless images."""
    for builder in BUILDERS[containers.name]:
        lines = [f"FROM {containers.base}", 'RUN ["rm", "/bin/sh", "/bin/bash"]']
        text = example(containers.base).replace(lines[0], "\n".join(lines))
        name = containers.start(good(containers, text, builder))
        containers.until_it_serves(name)
        containers.stopped(name)


@pytest.mark.parametrize(
    "break_it",
    [
        "RUN rm /usr/bin/python3",
        # Python 3.5 stops so at the first line that it does not know.
        "RUN echo '(' >>/sbin/pyinit.py",
    ],
)
def test_a_build_fails_where_it_cannot_start(containers, break_it):
    lines = f"FROM {containers.base}\nCOPY pyinit.py /sbin/pyinit.py\n"
    for builder in BUILDERS[containers.name]:
        result, _ = build(containers, f"{lines}{break_it}\n{RUN}\n", builder)
        assert result.returncode != 0
        assert b"python3" in result.stdout + result.stderr
