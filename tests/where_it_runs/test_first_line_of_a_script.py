"""As the interpreter that a script names in its first line; and one that only mentions it.

The kernel adds the script to the words of its first line. A bare line would so start itself
again for ever: such a script is run once, by /bin/sh.
"""

import os

import pytest
from support import (
    INTERPRETER,
    PYINIT_FILE,
    executable,
    namespace,
    tool,
)

BODY = 'echo "$0 $# $1"; exit 8\n'
PYINIT = ["python3", "{place}/pyinit.py"]


@pytest.fixture
def place(tmp_path):
    """A directory with a copy of pyinit.py and the python3 that is to run it."""
    executable(tmp_path / "pyinit.py", PYINIT_FILE.read_bytes())
    (tmp_path / "python3").symlink_to(INTERPRETER)
    (tmp_path / "link").symlink_to(tmp_path)
    return tmp_path


@pytest.fixture
def run(start, place):
    """Return a function that runs words with that python3 in PATH."""

    def run(*words, path="", **kwargs):
        # A namespace with few processes: a script that starts itself ends there.
        limit = [tool("prlimit"), "--nproc=200", "--cpu=20"]
        env = {**os.environ, "PATH": f"{path}{place}:{os.environ['PATH']}"}
        words = [str(word).replace("{place}", str(place)) for word in words]
        return start(*namespace(), *limit, *words, env=env, **kwargs)

    return run


def script(place, line, body=BODY):
    line = line.format(place=place, name=place.name)
    return executable(place / "a-script", f"#!{line}\n{body}")


def ran_once_by_sh(process, path):
    assert process.wait() == 8, (process.stdout, process.stderr)
    assert process.stdout == f"{path} 2 a b\n"
    lines = process.stderr.splitlines()
    assert all(line.startswith("[pyinit] ") for line in lines), lines


CARDS_OWN = "/usr/bin/env -S python3 {place}/pyinit.py"
LINES = [
    CARDS_OWN,
    *[CARDS_OWN + " -v", CARDS_OWN + " -vr 15:3 --grace 1 --expect 9 --"],
    CARDS_OWN.replace("python3", "python3 -IS"),
    # The kernel splits only once: what follows the interpreter is one word.
    *["{place}/pyinit.py", "{place}/pyinit.py -v"],
    "{place}/python3 {place}/pyinit.py",
    # What the line does not name as we are started: the second pyinit sees the first.
    *["/usr/bin/env pyinit.py", "/usr/bin/env -S A=1 pyinit.py -v"],
    # By another way to the same file.
    "/usr/bin/env -S python3 {place}/../{name}/pyinit.py",
    "/usr/bin/env -S python3 {place}/link/pyinit.py",
    '/usr/bin/env -S python3 "{place}/pyinit.py" "-v"',
    "/usr/bin/env -S -i PATH={place}:/usr/bin:/bin python3 {place}/pyinit.py",
    "\t/usr/bin/env\t-S\tpython3\t{place}/pyinit.py\t",
    # With a program that is to run it.
    *[CARDS_OWN + " -v -- /bin/sh -e", "{place}/pyinit.py /bin/sh"],
    "/usr/bin/env -S PYTHONPATH={place} python3 -S -m pyinit",
]


@pytest.mark.parametrize("line", LINES)
def test_the_script_is_run_once_by_sh(run, place, line):
    path = script(place, line)
    ran_once_by_sh(run(path, "a b", "-c"), path)


def test_under_another_name(run, place):
    """As where it takes dumb-init's place: it is the file that counts, not its name."""
    os.link(place / "pyinit.py", place / "dumb-init")
    for line in (CARDS_OWN, CARDS_OWN + " -v", "{place}/pyinit.py"):
        path = script(place, line.replace("pyinit.py", "dumb-init"))
        ran_once_by_sh(run(path, "a b", "-c"), path)


@pytest.mark.parametrize(
    ("path", "words", "seen"),
    [
        ("", ["sh", "-c", 'a-script "a b" -c'], "{place}/a-script"),
        ("", ["../{name}/a-script"], "../{name}/a-script"),
        # As a container's command: pyinit starts the script, whose line starts pyinit.
        ("", [*PYINIT, "{place}/a-script"], "{place}/a-script"),
        ("", [*PYINIT, "a-script"], "{place}/a-script"),
        # The kernel hands the script's name on as it was found. An empty element of PATH
        # is the current directory: found so it would have no "/", and be searched again.
        (":", [*PYINIT, "a-script"], "./a-script"),
        # From -c pyinit is in no file: a script's line is not its own.
        (
            "",
            ["python3", "-IS", "-c", PYINIT_FILE.read_text(), "{place}/a-script"],
            "{place}/a-script",
        ),
    ],
    ids=["sh", "../", "path", "PATH", "empty", "-c"],
)
def test_however_the_script_is_named(run, place, path, words, seen):
    script(place, CARDS_OWN)
    if words[0] != "sh":
        words = [*words, "a b", "-c"]
    words = [word.replace("{name}", place.name) for word in words]
    process = run(*words, path=path, cwd=place)
    ran_once_by_sh(process, seen.format(place=place, name=place.name))


def test_a_bad_option_in_the_line_is_said_and_ends_there(run, place):
    process = run(script(place, CARDS_OWN + " --no-such-option"))
    assert process.wait() == 2
    assert process.stderr.count("unrecognized arguments") == 1 and process.stdout == ""


# --- What is another's ------------------------------------------------------------------

ENV = "/usr/bin/env -S "
BY_BASH = '[ -n "$BASH_VERSION" ] && echo by bash || echo by sh\n'


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("/bin/echo {place}/pyinit.py", "{place}/pyinit.py {place}/a-script x\n"),
        (CARDS_OWN + " -r 15:3 -- /bin/echo", "{place}/a-script x\n"),
        (ENV + "bash --rcfile {place}/pyinit.py", "by bash\n"),
        # Not we are started, but what takes our file as a word, or has our name.
        (ENV + "python3 {place}/tool.py {place}/pyinit.py", "tool 4\n"),
        (ENV + "python3 {place}/other/pyinit.py", "tool 3\n"),
    ],
)
def test_a_script_of_another_interpreter(run, place, line, output):
    tool("bash")
    for name in ("tool.py", "other/pyinit.py"):
        executable(place / name, "import sys; print('tool', len(sys.argv))\n")
    process = run(*PYINIT, script(place, line, BY_BASH), "x")
    assert process.wait() == 0, process.stderr
    assert process.stdout == output.format(place=place)


def test_our_own_name_and_pyinit_as_its_own_command(run, place):
    # A text without an interpreter line is sh's anyway.
    path = executable(place / "pyinit", BODY)
    ran_once_by_sh(run(*PYINIT, path, "a b", "-c"), path)
    # As an ENTRYPOINT of a base image and once more in the image upon it.
    process = run(*PYINIT, "{place}/pyinit.py", "--", "echo", "x")
    assert (process.wait(), process.stdout) == (0, "x\n")
    assert run(*PYINIT, "pyinit.py", "-e", "3", "sh", "-c", "exit 3").wait() == 0
