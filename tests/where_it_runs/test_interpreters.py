"""Every interpreter that is there, in every form in which pyinit can be started.

By default the oldest that is there and the one that runs the tests; with PYINIT_FULL all
that pyinit is for, of which none may be missing in CI.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import surroundings
from support import (
    FULL,
    PROGRAMS,
    PYINIT_FILE,
    PYTHON,
    REPORTER,
    ROOT,
    interpreter,
    interpreters,
    mounted,
    namespace,
    need,
    run,
    tool,
)

OURS = "%d.%d" % sys.version_info[:2]
if FULL:
    CPYTHONS = [f"3.{minor}" for minor in range(6, 16)] + ["Debian's", "musl's"]
else:
    THERE = {int(name[2:]): name for name in interpreters() if name.startswith("3.")}
    CPYTHONS = sorted({THERE[min(THERE)], OURS})


def written_as(form, words, place):
    """Return the words that start pyinit by an interpreter's words, and its stdin."""
    if form == "compiled":
        copy = place / "pyinit.py"
        copy.write_bytes(PYINIT_FILE.read_bytes())
        run(*words, "-IS", "-m", "compileall", "-b", "-q", copy, check=True)
        copy.unlink()
        return [*words, "-IS", str(place / "pyinit.pyc")], None
    if form == "pipe":
        cat = f"<(cat {shlex.quote(str(PYINIT_FILE))})"
        script = f'exec {shlex.join(words)} -IS {cat} "$@"'
        return [tool("bash"), "-c", script, "bash"], None
    return {
        "-IS": ([*words, "-IS", str(PYINIT_FILE)], None),
        "plain": ([*words, str(PYINIT_FILE)], None),
        "stdin": ([*words, "-IS", "-"], PYINIT_FILE),
        "-c": ([*words, "-IS", "-c", PYINIT_FILE.read_text()], None),
    }[form]


FORMS = ["-IS", "plain", "compiled", "stdin", "-c", "pipe"]
EVERY_FORM = [(OURS, form) for form in FORMS]
EVERY_FORM += [(version, FORMS[0]) for version in CPYTHONS if version != OURS]


@pytest.mark.parametrize(("version", "form"), EVERY_FORM)
def test_every_form(start, version, form, tmp_path):
    words, source = written_as(form, interpreter(version), tmp_path)

    def pyinit(*command):
        stdin = open(source) if source else subprocess.DEVNULL
        return start(*words, *command, stdin=stdin)

    for options in ([], ["-vr", "USR1:TERM", "-e", "99"]):
        process = pyinit(*options, "--", *REPORTER, "9")
        process.ready()
        process.send(signal.SIGUSR1 if options else signal.SIGTERM)
        process.expect(15)
        assert process.wait() == 9
        lines = process.stderr.splitlines()
        assert bool(options) == bool(lines)
        assert all(line.startswith("[pyinit] ") for line in lines), lines
    process = pyinit("no-such-command")
    assert process.wait() == 127
    assert process.stderr == "[pyinit] no-such-command: No such file or directory\n"
    process = pyinit("-r", "x", "true")
    assert process.wait() == 2 and "Traceback" not in process.stderr
    assert process.stderr.startswith("usage: pyinit.py ") and "'x'" in process.stderr


@pytest.mark.parametrize("version", CPYTHONS)
def test_as_pid_1(start, version):
    init = [*interpreter(version), "-IS", str(PYINIT_FILE), "--grace", "5", "--"]
    orphans = [*PYTHON, str(PROGRAMS / "orphans.py"), "300", "100"]
    process = start(*namespace(), *init, *orphans)
    process.expect("left 0")
    assert process.wait() == 42


# Of what runs these tests, test_what_the_command_sees.py asks it. With musl's that is for
# the suite below to see, which knows what musl cannot block.
@pytest.mark.skipif(not FULL, reason="seconds for each Python: only with PYINIT_FULL=1")
@pytest.mark.parametrize("version", ["3.6", "3.8", "3.15"])
def test_what_the_command_sees(version, tmp_path_factory):
    scratch = tmp_path_factory.mktemp("inherit")
    tool("cc")
    probe = surroundings.build_probe(scratch)
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
BEHAVIOUR = ["test_command_line.py", "test_exit_status.py", "test_grace.py"]
BEHAVIOUR += ["test_groups.py", "test_reaping.py", "test_signals.py"]
BEHAVIOUR += ["test_what_the_command_sees.py", "test_which_program.py"]
BEHAVIOUR += ["terminal/test_a_job_of_a_shell.py"]
BEHAVIOUR += ["terminal/test_nobody_to_resume_us.py"]


@pytest.mark.skipif(not FULL, reason="it takes minutes: only with PYINIT_FULL=1")
def test_the_suite_with_musl():
    files = [f"tests/{name}" for name in BEHAVIOUR]
    # (What PYINIT_FULL adds repeats a rule; the rules are all that is asked here.)
    env = {**os.environ, "PYINIT_PYTHON": interpreter("musl's")[0]}
    env.pop("PYINIT_FULL")
    words = [sys.executable, "-m", "pytest", "-q", *files]
    result = run(*words, cwd=ROOT, env=env, stderr=subprocess.STDOUT, timeout=900)
    output = result.stdout.decode(errors="replace")
    assert result.returncode == 0, output
    print(output)


@pytest.mark.skipif(not FULL, reason="it takes a minute: only with PYINIT_FULL=1")
def test_on_another_architecture():
    """MIPS, where signals and errors have other numbers, by qemu-user."""
    if os.getuid():
        pytest.skip("only root can make its root")
    tool("debootstrap")
    tool("qemu-mips64el-static")
    mount = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc"
    space = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
    need(*space, "--mount-proc", "sh", "-c", mount)  # from Linux 6.7 on
    architectures = ROOT / "tests" / "tools" / "architectures.py"
    words = [sys.executable, architectures, "--pyinit", PYINIT_FILE, "mips64el"]
    result = run(*words, stderr=subprocess.STDOUT, timeout=600)
    assert result.returncode == 0, result.stdout.decode()


def test_pypy_says_why_not(start):
    words = [*interpreter("pypy3"), "-IS", str(PYINIT_FILE), "echo", "started"]
    assert start(*words).says(125).startswith("cannot start: ")


def test_with_half_of_the_standard_library(start, tmp_path):
    # Debian's python3-minimal is enough, in a root that holds little else.
    root = Path(os.environ.get("PYINIT_MINIMAL", "/var/tmp/pyinit/minimal"))
    if not root.is_dir():
        pytest.skip(f"{root} is not here: .ci/run makes it")
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
