"""Which program the command becomes, as execvp(3) finds it; and the line that says why not.

127 is for what is not there, 126 for what cannot be run. If a file is there and what is to
run it is not, the kernel's answer is ENOENT, too: so the line says whom to look for.
"""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest
from support import (
    PYINIT,
    executable,
    namespace,
    reason,
    strace,
    tool,
)

MISSING, DENIED = reason(errno.ENOENT), reason(errno.EACCES)
BY_PATH_OR_IN_PATH = pytest.mark.parametrize(
    "in_path", [False, True], ids=["by path", "in PATH"]
)


def runs(start, *words, in_path=False, init=PYINIT, **kwargs):
    """Start pyinit with a program by its path, or by its name with its place in PATH."""
    program, *words = words
    if in_path:
        path = f"/no-such:{program.parent}:{os.environ['PATH']}"
        kwargs["env"], program = {**os.environ, "PATH": path}, program.name
    process = start(*init, program, *words, **kwargs)
    process.word = str(program)
    return process


# --- The search in PATH -----------------------------------------------------------------


def test_a_command_in_the_path(pyinit, tmp_path):
    # The first that can be run is taken, though EACCES came before, or ENOENT, whatever
    # that means.
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    executable(first / "thing", "#!/bin/sh\necho first\n", 0o644)
    executable(tmp_path / "zero" / "thing", "#!/no/such\n")
    for directory in (second, third):
        executable(directory / "thing", f"#!/bin/sh\necho {directory.name}\n")
    places = [tmp_path / "zero", first, second, third]
    path = ":".join(map(str, ("/etc/passwd", "/nonexistent", *places)))
    process = pyinit("thing", env={"PATH": path})
    process.expect("second")
    assert process.wait() == 0
    # What is there and cannot be run is what is said, not what is not there.
    (first / "loop").symlink_to("loop")
    last = tmp_path / "last"
    last.mkdir()
    (last / "thing").symlink_to("thing")
    for name, why in ("thing", DENIED), ("loop", reason(errno.ELOOP)):
        process = pyinit(name, env={"PATH": f"/nonexistent:{first}:{last}"})
        assert process.says(126) == f"{name}: {why}"
    process = pyinit("thing", env={"PATH": "/etc/passwd:/nonexistent"})
    assert process.says(127) == f"thing: {MISSING}"
    # An empty entry, and an empty PATH, are the working directory; none is /bin:/usr/bin.
    pyinit("thing", env={"PATH": "/nonexistent:"}, cwd=third).expect("third")
    pyinit("thing", env={"PATH": ""}, cwd=third).expect("third")
    pyinit("echo", "found", env={}).expect("found")


def test_what_is_missing_or_may_not_be_run(start, tmp_path):
    plain = executable(tmp_path / "plain", "", 0o644)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "fifo", 0o755)  # which must not be waited for
    os.chmod(tmp_path / "fifo", 0o755)
    script = executable(tmp_path / "script", "#!/no/such\n", 0o644)
    for word in (
        *("no-such-command", "./no-such-command", "/no/such/command", "", "-"),
        *("no\nsuch", tmp_path / "dangling", tmp_path / "no-such-directory" / "x"),
    ):
        shown = str(word).replace("\n", "\\n")  # it is still one line
        assert start(*PYINIT, "--", word).says(127) == f"{shown}: {MISSING}"
    for word, error in (
        *[(one, errno.EACCES) for one in (plain, tmp_path, tmp_path / "fifo", script)],
        (plain / "x", errno.ENOTDIR),
        ("/" + "x" * 300, errno.ENAMETOOLONG),
    ):
        assert start(*PYINIT, word).says(126) == f"{word}: {reason(error)}"


# --- A text without an interpreter line, and a program for another machine ----------------


@BY_PATH_OR_IN_PATH
@pytest.mark.parametrize("length", [None, 20])
def test_a_program_for_another_machine(start, tmp_path, length, in_path):
    program = bytearray(Path("/bin/true").read_bytes())
    program[18:20] = (0xF7).to_bytes(2, "little")  # e_machine: BPF, which nobody runs
    path = executable(tmp_path / "x", bytes(program[:length]))
    # Were it run by sh something would come to stdout.
    process = runs(start, path, in_path=in_path)
    assert process.says(126) == f"{process.word}: Exec format error"


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (b"tr '\\0' '|' </proc/$$/cmdline; exit 6", "/bin/sh|{script}|a b|-c|--|"),
        (b"", ""),
        (b"\n" * 300 + b"echo late; exit 6\n\0\0\0", "late\n"),
        (b"echo " + b"long" * 100 + b"\nexit 6\n", "long" * 100 + "\n"),
    ],
    ids=["its command line", "empty", "NUL later", "a long line"],
)
@BY_PATH_OR_IN_PATH
def test_a_text_is_run_by_sh(start, tmp_path, text, output, in_path):
    script = executable(tmp_path / "script", text)
    process = runs(start, script, "a b", "-c", "--", in_path=in_path)
    assert process.wait() == (6 if text else 0), process.stderr
    assert process.stdout == output.format(script=script)


def test_a_program_that_cannot_be_opened(start, tmp_path):
    # By what the child does between fork and exec, or by pyinit before.
    program = tmp_path / "program"
    shutil.copy(os.path.realpath(tool("sh")), program)
    rules = ["-e", "trace=open,openat", "-e", "inject=open,openat:error=EMFILE"]
    words = [*strace("-P", program, *rules), *PYINIT, program, "-c", "exit 9"]
    process = start(*namespace(), *words)
    assert (process.wait(), process.stderr) == (9, "")


# --- An interpreter that is missing is named ----------------------------------------------

# The first line, and what of it has to be in what pyinit says.
LINES = [
    (b"#!/bin/sh\r\n", r"/bin/sh\r"),
    (b"#!\t/no/such\t-x y\r\n", "/no/such"),
    (b"#!/no/such", "/no/such"),
    (b"#!/no/such/\xff\xe4\n", "/no/such/"),
    (b"#!/no/" + b"d/" * 100 + b"such\n", "/no/" + "d/" * 100 + "such"),
]


@BY_PATH_OR_IN_PATH
@pytest.mark.parametrize(("line", "named"), LINES)
def test_a_missing_interpreter_is_named(start, tmp_path, line, named, in_path):
    script = executable(tmp_path / "a-script", line + b"echo ran\r\n")
    process = runs(start, script, "a", in_path=in_path)
    said = process.says(127)
    assert said.startswith(f"{process.word}: interpreter {named}"), said
    assert said.endswith(f": {MISSING}"), said


def test_it_is_named_wherever_it_is_said(start, tmp_path):
    script = executable(tmp_path / "script", b"#!/no/such\n")
    line = f"script: interpreter /no/such: {MISSING}"
    assert start(*PYINIT, "./script", cwd=tmp_path).says(127) == f"./{line}"
    process = start(*PYINIT, "-v", script)
    assert process.wait() == 127
    assert f"[pyinit] {tmp_path}/{line}\n" in process.stderr
    # The kernel goes on from line to line: ours names the file's own, that is enough.
    outer = executable(tmp_path / "outer", b"#!%s -x\n" % os.fsencode(script))
    assert (
        start(*PYINIT, outer).says(127) == f"{outer}: interpreter {script}: {MISSING}"
    )


def test_an_interpreter_that_is_there(start, tmp_path):
    # It may not be run, or is a directory.
    plain = executable(tmp_path / "plain", "no program\n", 0o644)
    for name in (plain, tmp_path):
        script = executable(tmp_path / "script", b"#!%s\n" % os.fsencode(name))
        assert start(*PYINIT, script).says(126) == f"{script}: {DENIED}"


def test_a_first_line_without_an_interpreter(start, tmp_path):
    for line in (b"#!", b"#!\n", b"#! \n", b"#!\t \nexit 0\n", b"#!" + b" " * 300):
        process = start(*PYINIT, executable(tmp_path / "script", line))
        assert process.wait() in (0, 126, 127), (line, process.stderr)
        assert b"Traceback" not in process.err


# --- So is a binary's: its dynamic loader -------------------------------------------------


@BY_PATH_OR_IN_PATH
def test_a_missing_loader_is_named(start, tmp_path, in_path):
    image = Path(os.path.realpath(tool("true"))).read_bytes()
    [loader] = re.findall(rb"/lib[^\0]*/ld[^\0]*", image[:4096])
    missing = b"/no/such.so".ljust(len(loader), b"\0")
    program = executable(tmp_path / "an-app", image.replace(loader, missing))
    process = runs(start, program, in_path=in_path)
    assert process.says(127) == f"{process.word}: interpreter or loader: {MISSING}"
