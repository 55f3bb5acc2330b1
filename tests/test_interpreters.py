"""Every interpreter that is there, in every form in which pyinit can be started.

By default the oldest that is there and the one that runs the tests; with PYINIT_FULL all
that pyinit is for, of which none may be missing in CI.
"""

import glob
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import surroundings
from support import (
    HOST,
    INTERPRETER,
    PROGRAMS,
    PYINIT_FILE,
    PYTHON,
    REPORTER,
    ROOT,
    mounted,
    namespace,
    tool,
)

FULL = bool(os.environ.get("PYINIT_FULL"))
FORKY = os.environ.get("PYINIT_FORKY", "/var/tmp/pyinit/forky")
MUSL = os.environ.get("PYINIT_MUSL", "/var/tmp/pyinit/musl/python3")
PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
OURS = "%d.%d" % sys.version_info[:2]


def find():
    """Return the words that start each interpreter, by its version."""
    found = {OURS: [sys.executable]}
    for path in sorted(glob.glob(f"{PYENV}/versions/3.*/bin/python3")):
        found[".".join(Path(path).parts[-3].split(".")[:2])] = [path]
    library = f"{FORKY}/usr/lib/x86_64-linux-gnu"
    loader = [f"{FORKY}/lib64/ld-linux-x86-64.so.2", "--library-path", library]
    for path in sorted(glob.glob(f"{FORKY}/usr/bin/python3.[0-9]*")):
        found[Path(path).name[len("python") :]] = [*loader, path]
    if os.access(f"{FORKY}/usr/bin/pypy3", os.X_OK):
        found["pypy3"] = [*loader, f"{FORKY}/usr/bin/pypy3"]
    if os.access("/usr/bin/python3", os.X_OK):
        found["Debian's"] = ["/usr/bin/python3"]
    if os.access(MUSL, os.X_OK):
        found["musl's"] = [MUSL]
    return found


INTERPRETERS = find()
if FULL:
    CPYTHONS = [f"3.{minor}" for minor in range(6, 16)] + ["Debian's", "musl's"]
else:
    THERE = {int(name[2:]): name for name in INTERPRETERS if name.startswith("3.")}
    CPYTHONS = sorted({THERE[min(THERE)], OURS})


def interpreter(version):
    if version not in INTERPRETERS:
        where = {"musl's": MUSL, "Debian's": "/usr/bin/python3"}
        where = where.get(version, f"{PYENV}/versions or {FORKY}")
        pytest.skip(f"{version} of CPython is not in {where}")
    return INTERPRETERS[version]


@pytest.fixture(
    params=["-IS", "plain", "first line", "compiled", "stdin", "-c", "pipe"]
)
def form(request, tmp_path):
    """Return a function from an interpreter's words to those that start pyinit."""

    def form(words):
        if request.param == "-IS":
            return [*words, "-IS", str(PYINIT_FILE)], None
        if request.param == "plain":
            return [*words, str(PYINIT_FILE)], None
        if request.param == "first line":
            python = tmp_path / "python3"
            python.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            python.chmod(0o755)
            return [
                "env",
                f"PATH={tmp_path}:{os.environ['PATH']}",
                str(PYINIT_FILE),
            ], None
        if request.param == "compiled":
            copy = tmp_path / "pyinit.py"
            copy.write_bytes(PYINIT_FILE.read_bytes())
            compile_it = ["-IS", "-m", "compileall", "-b", "-q", str(copy)]
            subprocess.run([*words, *compile_it], check=True)
            copy.unlink()
            return [*words, "-IS", str(tmp_path / "pyinit.pyc")], None
        if request.param == "stdin":
            return [*words, "-IS", "-"], PYINIT_FILE
        if request.param == "-c":
            return [*words, "-IS", "-c", PYINIT_FILE.read_text()], None
        script = (
            f'exec {shlex.join(words)} -IS <(cat {shlex.quote(str(PYINIT_FILE))}) "$@"'
        )
        return [tool("bash"), "-c", script, "bash"], None

    form.name = request.param
    return form


@pytest.mark.parametrize("version", CPYTHONS)
def test_every_form(start, form, version):
    words, source = form(interpreter(version))
    for options in ([], ["-vr", "USR1:TERM", "-e", "99"]):
        stdin = open(source) if source else subprocess.DEVNULL
        command = [*options, "--", *REPORTER, "9"]
        process = start(*words, *command, stdin=stdin)
        assert process.line().startswith("ready")
        process.send(signal.SIGUSR1 if options else signal.SIGTERM)
        process.expect(15)
        assert process.wait() == 9
        lines = process.stderr.splitlines()
        assert bool(options) == bool(lines)
        assert all(line.startswith("[pyinit] ") for line in lines), lines
    stdin = open(source) if source else subprocess.DEVNULL
    process = start(*words, "no-such-command", stdin=stdin)
    assert process.wait() == 127
    assert process.stderr == "[pyinit] no-such-command: No such file or directory\n"
    stdin = open(source) if source else subprocess.DEVNULL
    process = start(*words, "-r", "x", "true", stdin=stdin)
    assert process.wait() == 2 and "Traceback" not in process.stderr
    assert process.stderr.startswith("usage: pyinit.py ") and "'x'" in process.stderr


@pytest.mark.parametrize("version", CPYTHONS)
def test_as_pid_1(start, version):
    init = [*interpreter(version), "-IS", str(PYINIT_FILE), "--grace", "5", "--"]
    orphans = [*PYTHON, str(PROGRAMS / "orphans.py"), "300", "100"]
    process = start(*namespace(), *init, *orphans)
    process.expect("left 0")
    assert process.wait() == 42
    leave = "(setsid sh -c 'trap \"echo bye; exit\" TERM; echo up; while :; do sleep 0.05; done' &); read x; exit 3"
    process = start(*namespace(), *init, "sh", "-c", leave, stdin=-1)
    process.expect("up")
    process.popen.stdin.close()
    process.popen.stdin = None
    process.expect("bye")
    assert process.wait() == 3


# With musl's that is for the suite below to see, which knows what musl cannot block.
@pytest.mark.parametrize("version", [name for name in CPYTHONS if name != "musl's"])
def test_what_the_command_sees(version, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("inherit")
    try:
        probe = surroundings.build_probe(scratch)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    init = [*interpreter(version), "-IS", str(PYINIT_FILE), "--"]
    for surrounding in surroundings.surroundings(scratch):
        if surrounding.root and os.getuid():
            continue
        # Without /proc the loader of a foreign root cannot say who it is.
        if surrounding.name.startswith("no /proc") and len(init) > 4:
            continue
        direct = surroundings.look(surrounding, probe, [], scratch / "report")
        under = surroundings.look(surrounding, probe, init, scratch / "report")
        assert under == direct, surrounding.name


# What pyinit does. None of it is left out: which signals there are, and so which rules
# are bad ones, the C library decides as well.
BEHAVIOUR = ["command_line", "exit_status", "grace", "groups", "inherit", "namespace"]
BEHAVIOUR += ["signals", "terminal"]


@pytest.mark.skipif(not FULL, reason="it takes minutes: only with PYINIT_FULL")
def test_the_suite_with_musl():
    files = [f"tests/test_{name}.py" for name in BEHAVIOUR]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *files],
        cwd=ROOT,
        env={**os.environ, "PYINIT_PYTHON": interpreter("musl's")[0]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output = result.stdout.decode(errors="replace")
    assert result.returncode == 0, output
    print(output)


def test_pypy_says_why_not(start):
    words = INTERPRETERS.get("pypy3") or pytest.skip(f"PyPy is not in {FORKY}")
    process = start(*words, "-IS", str(PYINIT_FILE), "echo", "started")
    assert process.wait() == 125
    assert process.stdout == ""
    assert process.stderr.startswith("[pyinit] cannot start: ")
    assert process.stderr.count("\n") == 1


def test_with_half_of_the_standard_library(start, tmp_path):
    # Debian's python3-minimal is enough, in a root that holds little else.
    root = Path(os.environ.get("PYINIT_MINIMAL", "/var/tmp/pyinit/minimal"))
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    if os.getuid():
        pytest.skip("only root can enter another root")
    (root / "mnt" / "pyinit.py").touch()
    bind = ["mount", "--bind", str(PYINIT_FILE), f"{root}/mnt/pyinit.py"]
    words = ["python3", "-IS", "/mnt/pyinit.py", "-v", "-r", "1:2", "-e", "5", "--"]
    command = ["sh", "-c", "echo hello; exit 5"]
    chroot = [*mounted(shlex.join(bind)), tool("chroot"), root]
    process = start(*chroot, *words, *command)
    assert process.wait() == 0, process.stderr
    assert process.stdout == "hello\n"


# --- As an interpreter ------------------------------------------------------------

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
