"""As the interpreter that a script names in its first line."""

import os
from pathlib import Path

import pytest
from support import HOST, INTERPRETER, PYINIT_FILE, namespace

SCRIPT = 'echo "$0 $# $1"; exit 8\n'


def script(tmp_path, first_line, body=SCRIPT):
    """Return a script that runs a copy of pyinit by its first line.

    Beside it is the python3 that is to be found in PATH.
    """
    copy = tmp_path / "pyinit.py"
    if not copy.exists():
        copy.write_bytes(PYINIT_FILE.read_bytes())
        copy.chmod(0o755)
        (tmp_path / "python3").symlink_to(INTERPRETER)
    path = tmp_path / "script"
    path.write_text(f"#!{first_line.format(pyinit=copy)}\n{body}")
    path.chmod(0o755)
    return path


def run_script(start, *words, **kwargs):
    # A namespace with few processes: a script that starts itself ends there.
    limit = ["prlimit", "--nproc=200", "--cpu=20"]
    search = f"{Path(words[0]).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": search, **kwargs.pop("env", {})}
    return start(*namespace(), *limit, *words, env=env, **kwargs)


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/env -S python3 {pyinit} /bin/sh",
        "/usr/bin/env -S python3 -IS {pyinit} -v -- /bin/sh",
        "/usr/bin/env -S python3 {pyinit}",
        "/usr/bin/env -S python3 -IS {pyinit}",
        "/usr/bin/env -S python3 -IS {pyinit} --",
        "/usr/bin/env -S python3 {pyinit} -v",
        "/usr/bin/env -S python3 -IS {pyinit} -vr 15:3 --grace 1",
        "/usr/bin/env -S python3 -IS {pyinit} --rewrite=15:3 --expect 9 --",
        "/usr/bin/env -S python3 '{pyinit}'",
        '/usr/bin/env -S python3 "{pyinit}" "-v"',
        "/usr/bin/env pyinit.py",
        "{pyinit} /bin/sh",
        "{pyinit}",
        "{pyinit} -v",
        "{pyinit} --",
    ],
)
def test_as_an_interpreter(start, tmp_path, line):
    path = script(tmp_path, line)
    process = run_script(start, path, "a b", "-c")
    assert process.wait() == 8, process.stderr
    assert process.stdout == f"{path} 2 a b\n"


@pytest.mark.parametrize(
    ("search", "name"), [("{tmp_path}:", ""), (":", "./"), ("no-such::", "./")]
)
def test_the_bare_line_found_in_path(start, tmp_path, search, name):
    # The kernel hands the script's name on as it was found. An empty element of PATH is
    # the current directory: found so it would have no "/", and we would search again.
    path = script(tmp_path, "/usr/bin/env -S python3 {pyinit}")
    search = search.format(tmp_path=tmp_path) + os.environ["PATH"]
    words = [*HOST, path.parent / "pyinit.py", "script", "a b", "-c"]
    process = run_script(start, *words, cwd=tmp_path, env={"PATH": search})
    assert process.wait() == 8, process.stderr
    assert process.stdout == f"{name or str(tmp_path) + '/'}script 2 a b\n"


def test_the_bare_line_of_a_script_that_is_not_executable(start, tmp_path):
    path = script(tmp_path, "/usr/bin/env -S python3 {pyinit}")
    path.chmod(0o644)
    process = start(*HOST, tmp_path / "pyinit.py", path)
    assert process.wait() == 126
    assert process.stderr == f"[pyinit] {path}: Permission denied\n"


def test_the_bare_line_by_hand_and_with_a_program(start, tmp_path):
    # Not ours to run with /bin/sh: its first line names a program of its own.
    cat = script(tmp_path, "/usr/bin/env -S python3 {pyinit} /bin/cat", "hello\n")
    process = start(*HOST, tmp_path / "pyinit.py", cat)
    assert process.wait() == 0
    assert process.stdout.endswith("hello\n")
    # Nor is a script of another program's, whatever its words.
    other = script(tmp_path, "/bin/cat -", "hello\n")
    with open(PYINIT_FILE) as source:
        process = start(*HOST, "-", other, stdin=source)
        process.wait()
    assert process.stdout.endswith("hello\n")


def test_as_a_module(start, tmp_path):
    path = script(
        tmp_path, "/usr/bin/env -S PYTHONPATH={pyinit}/.. python3 -S -m pyinit"
    )
    path.write_text(path.read_text().replace("/pyinit.py/..", ""))
    process = run_script(start, path, "a b", "-c")
    assert process.wait() == 8, process.stderr
    assert process.stdout == f"{path} 2 a b\n"
