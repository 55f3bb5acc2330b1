"""A script whose first line starts pyinit, and one that only mentions it.

The kernel adds the script to the words of its first line. A bare line, as the card has it,
would so start itself again for ever: such a script is run once, by /bin/sh. Whatever
another interpreter is to do with a line that has our name in it is left to that.
"""

import os
import shutil
import stat
from pathlib import Path

import pytest
from support import INTERPRETER, PYINIT_FILE, namespace, tool

BODY = 'echo "$0 $# $1"; exit 8\n'


@pytest.fixture
def place(tmp_path):
    """A directory with a copy of pyinit.py and the python3 that is to run it."""
    shutil.copy(PYINIT_FILE, tmp_path / "pyinit.py")
    (tmp_path / "pyinit.py").chmod(0o755)
    (tmp_path / "python3").symlink_to(INTERPRETER)
    return tmp_path


def script(path, line, body=BODY):
    path.write_text(f"#!{line}\n{body}")
    path.chmod(0o755)
    return path


def run(start, place, *words, **kwargs):
    # A namespace with few processes: a script that starts itself ends there.
    limit = [tool("prlimit"), "--nproc=200", "--cpu=20"]
    env = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    return start(*namespace(), *limit, *words, env=env, **kwargs)


def ran_once_by_sh(process, path):
    assert process.wait() == 8, (process.stdout, process.stderr)
    assert process.stdout == f"{path} 2 a b\n"
    lines = process.stderr.splitlines()
    assert all(line.startswith("[pyinit] ") for line in lines), lines


OPTIONS = [
    "",
    " --",
    " -v",
    " -c",
    " -cv --",
    " -r 15:3",
    " -r15:3",
    " --rewrite=TERM:QUIT --grace 1",
    " --grace=0.5 -e 9 -e 10",
    " -vr 15:3 --expect 9 --",
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "python", ["python3", "python3 -IS", "python3 -I -S", "python3 -u -B"]
)
def test_the_cards_own_line(start, place, python, options):
    # (Not "-IS -v" alone: what stands after the file is ours, what stands before Python's.)
    line = f"/usr/bin/env -S {python} {place}/pyinit.py{options}"
    path = script(place / "a-script", line)
    ran_once_by_sh(run(start, place, path, "a b", "-c"), path)


@pytest.mark.parametrize("options", OPTIONS[:4])
def test_without_env(start, place, options):
    # The kernel splits only once: what follows the interpreter is one word.
    line = f"{place}/pyinit.py{options}"
    path = script(place / "a-script", line)
    ran_once_by_sh(run(start, place, path, "a b", "-c"), path)
    path = script(place / "a-script", f"{place}/python3 {place}/pyinit.py")
    ran_once_by_sh(run(start, place, path, "a b", "-c"), path)


@pytest.mark.parametrize("name", ["dumb-init", "tini", "init.py"])
@pytest.mark.parametrize("how", ["copy", "symlink", "hard link"])
def test_under_another_name(start, place, name, how):
    """As where it takes dumb-init's place: it is the file that counts, not its name."""
    other = place / name
    if how == "copy":
        shutil.copy(place / "pyinit.py", other)
    elif how == "symlink":
        other.symlink_to("pyinit.py")
    else:
        os.link(place / "pyinit.py", other)
    for line in (
        f"/usr/bin/env -S python3 {other}",
        f"/usr/bin/env -S python3 {other} -v",
    ):
        path = script(place / "a-script", line)
        ran_once_by_sh(run(start, place, path, "a b", "-c"), path)
    path = script(place / "a-script", str(other))
    ran_once_by_sh(run(start, place, path, "a b", "-c"), path)


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/env -S python3 {place}/./pyinit.py",
        "/usr/bin/env -S python3 {place}/../{name}/pyinit.py",
        "/usr/bin/env -S python3 {place}/link/pyinit.py",
        "/usr/bin/env -S python3 '{place}/pyinit.py'",
        '/usr/bin/env -S python3 "{place}/pyinit.py" "-v"',
        "/usr/bin/env -S A=1 python3 {place}/pyinit.py",
        "/usr/bin/env -S -i PATH={place}:/usr/bin:/bin python3 {place}/pyinit.py",
        "\t/usr/bin/env\t-S\tpython3\t{place}/pyinit.py\t",
        "/usr/bin/env pyinit.py",
        "/usr/bin/env -S pyinit.py -v",
    ],
)
def test_by_another_way_to_the_same_file(start, place, line):
    (place / "link").symlink_to(place)
    path = script(place / "a-script", line.format(place=place, name=place.name))
    ran_once_by_sh(run(start, place, path, "a b", "-c"), path)


@pytest.mark.parametrize("where", ["PATH", "./", "symlink", "relative"])
def test_however_the_script_is_named(start, place, where):
    path = script(place / "a-script", f"/usr/bin/env -S python3 {place}/pyinit.py")
    if where == "PATH":
        process, seen = run(start, place, "sh", "-c", 'a-script "a b" -c'), path
    elif where == "./":
        process, seen = (
            run(start, place, "./a-script", "a b", "-c", cwd=place),
            "./a-script",
        )
    elif where == "symlink":
        (place / "other").symlink_to("a-script")
        seen = place / "other"
        process = run(start, place, seen, "a b", "-c")
    else:
        (place / "d").mkdir()
        seen = "../a-script"
        process = run(start, place, seen, "a b", "-c", cwd=place / "d")
    ran_once_by_sh(process, seen)


def test_under_pyinit_itself(start, place):
    # As a container's command: pyinit starts the script, whose line starts pyinit.
    path = script(place / "a-script", f"/usr/bin/env -S python3 {place}/pyinit.py -v")
    process = run(start, place, "python3", place / "pyinit.py", path, "a b", "-c")
    ran_once_by_sh(process, path)
    process = run(start, place, "python3", place / "pyinit.py", "a-script", "a b", "-c")
    ran_once_by_sh(process, path)


def test_a_program_behind_it_runs_the_script(start, place):
    for program, result in (("/bin/sh", 8), ("/bin/sh -e", 8), ("-- /bin/sh", 8)):
        line = f"/usr/bin/env -S python3 {place}/pyinit.py {program}"
        path = script(place / "a-script", line)
        process = run(start, place, path, "a b", "-c")
        assert process.wait() == result, process.stderr
        assert process.stdout == f"{path} 2 a b\n"
    line = f"/usr/bin/env -S python3 {place}/pyinit.py -r 15:3 -- /bin/cat"
    path = script(place / "a-script", line, "hello\n")
    process = run(start, place, path)
    assert process.wait() == 0 and process.stdout.endswith("hello\n")


def test_a_bad_option_in_the_line_is_said_and_ends_there(start, place):
    line = f"/usr/bin/env -S python3 {place}/pyinit.py --no-such-option"
    path = script(place / "a-script", line)
    process = run(start, place, path)
    assert process.wait() == 2
    assert process.stderr.count("unrecognized arguments") == 1 and process.stdout == ""


# --- What is another's ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("/bin/echo {place}/pyinit.py", "{place}/pyinit.py {path} x\n"),
        ("/bin/echo pyinit", "pyinit {path} x\n"),
        (
            "/usr/bin/env -S echo python {place}/pyinit.py",
            "python {place}/pyinit.py {path} x\n",
        ),
        ("/usr/bin/env -S bash --rcfile pyinit", "by bash\n"),
        ("/usr/bin/env -S bash --rcfile {place}/pyinit.py", "by bash\n"),
        ("/usr/bin/env -S bash --norc -o pipefail", "by bash\n"),
        ("/usr/bin/env -S A={place}/pyinit.py bash", "by bash\n"),
        ("/usr/bin/env -S PYINIT=python3 bash --rcfile {place}/pyinit.py", "by bash\n"),
    ],
)
def test_a_script_of_another_interpreter(start, place, line, output):
    tool("bash")
    body = '[ -n "$BASH_VERSION" ] && echo by bash || echo by sh\n'
    path = script(place / "a-script", line.format(place=place), body)
    process = run(start, place, "python3", place / "pyinit.py", path, "x")
    assert process.wait() == 0, process.stderr
    assert process.stdout == output.format(place=place, path=path)


def test_a_python_script_that_takes_our_file_as_a_word(start, place):
    # "python3 tool.py pyinit.py": not we are started, but tool.py.
    (place / "tool.py").write_text("import sys; print('tool', len(sys.argv))\n")
    line = f"/usr/bin/env -S python3 {place}/tool.py {place}/pyinit.py"
    path = script(place / "a-script", line)
    process = run(start, place, "python3", place / "pyinit.py", path, "x")
    assert process.wait() == 0, process.stderr
    assert process.stdout == "tool 4\n"


def test_another_file_of_our_name(start, place):
    # Somebody's own pyinit.py, which has nothing to do with this one.
    (place / "other").mkdir()
    other = place / "other" / "pyinit.py"
    other.write_text("import sys; print('other', len(sys.argv))\n")
    path = script(place / "a-script", f"/usr/bin/env -S python3 {other}")
    process = run(start, place, "python3", place / "pyinit.py", path, "x")
    assert process.wait() == 0, process.stderr
    assert process.stdout == "other 3\n"


def test_our_own_name_without_a_line(start, place):
    # A text without an interpreter line is sh's anyway; a binary is itself.
    path = place / "pyinit"
    path.write_text(BODY)
    path.chmod(0o755)
    ran_once_by_sh(run(start, place, place / "pyinit.py", path, "a b", "-c"), path)
    shutil.copy(os.path.realpath(tool("true")), place / "pyinit.true")
    assert run(start, place, place / "pyinit.py", place / "pyinit.true").wait() == 0


def test_pyinit_as_its_own_command(start, place):
    # As an ENTRYPOINT of a base image and once more in the image upon it.
    process = run(
        start, place, place / "pyinit.py", place / "pyinit.py", "--", "echo", "x"
    )
    assert process.wait() == 0, process.stderr
    assert process.stdout == "x\n"
    process = run(
        start, place, place / "pyinit.py", "pyinit.py", "-e", "3", "sh", "-c", "exit 3"
    )
    assert process.wait() == 0, process.stderr


def test_the_script_is_not_executable(start, place):
    path = script(place / "a-script", f"/usr/bin/env -S python3 {place}/pyinit.py")
    path.chmod(path.stat().st_mode & ~(stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH))
    process = run(start, place, "python3", place / "pyinit.py", path)
    assert process.wait() == 126
    assert process.stderr == f"[pyinit] {path}: Permission denied\n"


def test_without_a_file(start, place):
    """From standard input or -c pyinit is in no file: a script's line is not its own."""
    path = script(place / "a-script", f"/usr/bin/env -S python3 {place}/pyinit.py")
    with open(PYINIT_FILE) as source:
        process = run(
            start, place, "python3", "-IS", "-", path, "a b", "-c", stdin=source
        )
        ran_once_by_sh(process, path)
    process = run(
        start, place, "python3", "-IS", "-c", source_text(), path, "a b", "-c"
    )
    ran_once_by_sh(process, path)


def source_text():
    return Path(PYINIT_FILE).read_text()
