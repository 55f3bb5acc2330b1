"""Which program the command becomes, as execvp(3) finds it; and the line that says why not.

127 is for what is not there, 126 for what cannot be run. If a file is there and what is to
run it is not, the kernel's answer is ENOENT, as for a file that is missing itself: of
"app.sh: No such file or directory" the reader looks at app.sh, and there it is. So the line
says whom to look for. (Most often it is a script with the line ends of Windows, or a binary
of Alpine's.)
"""

import errno
import os
import shutil
import struct
from pathlib import Path

import pytest
from support import (
    FULL,
    PYINIT,
    as_user,
    executable,
    hosted,
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


def as_without(start, program):
    """See that a program that says itself what is wrong says the same under pyinit."""
    direct, process = start(program), start(*PYINIT, program)
    status = direct.wait()
    assert (process.wait(), process.stderr) == (status, direct.stderr)
    return status


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
    for name, why in ("thing", DENIED), ("loop", reason(errno.ELOOP)):
        process = pyinit(name, env={"PATH": f"/nonexistent:{first}:/nonexistent"})
        assert process.says(126) == f"{name}: {why}"
    # An empty entry, and an empty PATH, are the working directory; none is /bin:/usr/bin.
    pyinit("thing", env={"PATH": "/nonexistent:"}, cwd=third).expect("third")
    pyinit("thing", env={"PATH": ""}, cwd=third).expect("third")
    pyinit("echo", "found", env={}).expect("found")


def test_a_path_with_a_slash_is_not_looked_for_in_the_path(pyinit, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for place in (here, there):
        for program in (place / "bin" / "program", place / "program"):
            executable(program, f"#!/bin/sh\necho {place.name}\n")
    (there / "bin" / "other").symlink_to("program")
    env = {**os.environ, "PATH": f"{there}:{os.environ['PATH']}"}
    for word, status, said in (
        ("bin/program", 0, "here\n"),
        ("./program", 0, "here\n"),
        ("bin/other", 127, ""),
        ("program", 0, "there\n"),
    ):
        process = pyinit(word, cwd=here, env=env)
        assert process.wait() == status, process.stderr
        assert process.stdout == said


ERRORS = ["ESTALE", "ENOENT", "EACCES", "ENODEV", "ETIMEDOUT"]


@pytest.mark.parametrize("error", ERRORS if FULL else ERRORS[:2])
def test_a_directory_of_path_on_a_dead_mount(start, tmp_path, error):
    dead = executable(tmp_path / "dead" / "program", "#!/bin/sh\necho dead\n")
    executable(tmp_path / "alive" / "program", "#!/bin/sh\necho alive\n")
    rules = ["-P", dead, "-e", "trace=execve", "-e", f"inject=execve:error={error}"]
    words = [*namespace(), *strace(*rules), "env"]
    program = [*PYINIT, "program"]
    process = start(*words, f"PATH={dead.parent}:{tmp_path}/alive", *program)
    assert (process.wait(), process.stdout, process.stderr) == (0, "alive\n", "")
    process = start(*words, f"PATH={dead.parent}", *program)
    assert process.says(127 if error == "ENOENT" else 126).startswith("program: ")


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
@pytest.mark.parametrize("length", [None, 1000, 64, 20, 8] if FULL else [None, 20])
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
        (b'echo "$0" "$@"; exit 6', "{script} a b -c --\n"),
        (b"tr '\\0' '|' </proc/$$/cmdline; exit 6", "/bin/sh|{script}|a b|-c|--|"),
        (b"", ""),
        ("# Grüße, κόσμε\necho 'zażółć'\nexit 6\n".encode(), "zażółć\n"),
        (b"\n" * 300 + b"echo late; exit 6\n\0\0\0", "late\n"),
        (b"echo " + b"long" * 100 + b"\nexit 6\n", "long" * 100 + "\n"),
    ],
    ids=["its words", "its command line", "empty", "UTF-8", "NUL later", "a long line"],
)
@BY_PATH_OR_IN_PATH
def test_a_text_is_run_by_sh(start, tmp_path, text, output, in_path):
    script = executable(tmp_path / "script", text)
    process = runs(start, script, "a b", "-c", "--", in_path=in_path)
    assert process.wait() == (6 if text else 0), process.stderr
    assert process.stdout == output.format(script=script)


@pytest.mark.parametrize("user", ["--reuid", "--euid"])
def test_a_program_that_may_be_run_and_not_read(start, public, user):
    # access(2) asks for the real user, and open(2) for the effective one.
    program = public / "program"
    shutil.copy(os.path.realpath(tool("sh")), program)
    program.chmod(0o111)
    words = as_user(64010, [*PYINIT, program, "-c", "exit 9"])
    process = start(*[word.replace("--reuid", user) for word in words])
    assert (process.wait(), process.stderr) == (9, "")


@pytest.mark.parametrize(
    "error", ["EMFILE", "EACCES", "ENFILE", "EPERM", "EIO"] if FULL else ["EMFILE"]
)
def test_a_program_that_cannot_be_opened(start, tmp_path, error):
    # By what the child does between fork and exec, or by pyinit before.
    program = tmp_path / "program"
    shutil.copy(os.path.realpath(tool("sh")), program)
    rules = ["-e", "trace=open,openat", "-e", f"inject=open,openat:error={error}"]
    words = [*strace("-P", program, *rules), *PYINIT, program, "-c", "exit 9"]
    process = start(*namespace(), *words)
    assert (process.wait(), process.stderr) == (9, "")


# --- An interpreter that is missing is named ----------------------------------------------

# The first line, and what of it has to be in what pyinit says.
LINES = [
    (b"#!/bin/sh\r\n", r"/bin/sh\r"),
    (b"#! /no/such arg\n", "/no/such"),
    (b"#!\t/no/such\t-x y\r\n", "/no/such"),
    (b"#!/no/such\r\n", r"/no/such\r"),
    (b"#!/no/such", "/no/such"),
    (b"#!no-such-here\n", "no-such-here"),
    (b"#!/usr/bin/env-of-nobody python3\n", "/usr/bin/env-of-nobody"),
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
    process = start(*hosted(f"sys.exit(pyinit.main([{str(script)!r}]))"))
    assert process.says(127) == f"{tmp_path}/{line}"
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
    # What sh makes of its word "-e\r" is its own matter, and what env does not find.
    as_without(start, executable(script, "#!/bin/sh -e\r\nexit 3\n"))
    for line in ("sh\r", "no-such-interpreter", "-S no-such-interpreter -x"):
        script = executable(tmp_path / "script", f"#!/usr/bin/env {line}\n")
        assert as_without(start, script) == 127


def test_a_first_line_without_an_interpreter(start, tmp_path):
    for line in (b"#!", b"#!\n", b"#! \n", b"#!\t \nexit 0\n", b"#!" + b" " * 300):
        process = start(*PYINIT, executable(tmp_path / "script", line))
        assert process.wait() in (0, 126, 127), (line, process.stderr)
        assert b"Traceback" not in process.err


# --- So is a binary's: its dynamic loader -------------------------------------------------


def with_loader(target, loader):
    """Copy an ELF program, with another dynamic loader in its PT_INTERP."""
    source = os.path.realpath(tool("true"))
    image = bytearray(Path(source).read_bytes())
    assert image[:4] == b"\x7fELF"
    order, wide = "<" if image[5] == 1 else ">", image[4] == 2
    word = order + ("Q" if wide else "I")

    def number(kind, at):
        return struct.unpack_from(kind, image, at)[0]

    begin = number(word, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", image, 54 if wide else 42)
    for at in range(begin, begin + size * count, size):
        if number(order + "I", at) == 3:  # PT_INTERP
            offset = number(word, at + (8 if wide else 4))
            length = number(word, at + (32 if wide else 16))
            assert len(loader) < length, f"{loader} is longer than the one there"
            # The kernel takes it up to its NUL; so what else is there does not matter.
            image[offset : offset + length] = loader.encode().ljust(length, b"\0")
            return executable(target, bytes(image))
    return pytest.skip(f"{source} is not dynamically linked")


@BY_PATH_OR_IN_PATH
@pytest.mark.parametrize("loader", ["/lib/ld-no-such.so.1", "/no/such.so"])
def test_a_missing_loader_is_named(start, tmp_path, loader, in_path):
    process = runs(start, with_loader(tmp_path / "an-app", loader), in_path=in_path)
    assert process.says(127) == f"{process.word}: interpreter or loader: {MISSING}"


def test_a_missing_loader_of_a_scripts_interpreter(start, tmp_path):
    binary = with_loader(tmp_path / "interp", "/no/such.so")
    script = executable(tmp_path / "script", b"#!%s\n" % os.fsencode(binary))
    assert (
        start(*PYINIT, script).says(127) == f"{script}: interpreter {binary}: {MISSING}"
    )


def test_a_binary_of_which_a_library_is_missing_says_so_itself(start, tmp_path):
    # The loader runs: it is its own line, with its own status.
    image = Path(os.path.realpath(tool("true"))).read_bytes()
    if b"libc.so.6\0" not in image:
        pytest.skip("true needs no libc.so.6")
    image = image.replace(b"libc.so.6\0", b"libx.so.6\0")
    as_without(start, executable(tmp_path / "app", image))


@pytest.mark.parametrize("size", [16, 52, 63, 64, 100, 200] if FULL else [64, 200])
@pytest.mark.parametrize("source", ["true", "garbage"])
def test_a_binary_that_was_cut_off(start, tmp_path, source, size):
    image = Path(os.path.realpath(tool("true"))).read_bytes()[:size]
    if source == "garbage":  # sizes and places that lead out of the file
        image = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\xff" * (size - 16)
    process = start(*PYINIT, executable(tmp_path / "app", image[:size]))
    assert process.wait() in (126, 127)
    assert process.err.startswith(b"[pyinit] ") and process.err.count(b"\n") == 1


def test_what_may_not_be_read_is_said_as_ever(start, public):
    # Nobody can say what is missing; but nothing else goes wrong.
    binary = with_loader(public / "in" / "app", "/no/such")
    binary.chmod(0o111)
    process = start(*as_user(64011, [*PYINIT, str(binary)]))
    assert process.says(127) == f"{binary}: {MISSING}"
