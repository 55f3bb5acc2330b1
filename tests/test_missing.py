"""A file that is there, and cannot be run because what is to run it is not there.

The kernel's answer is ENOENT, as for a file that is missing itself: of "app.sh: No such
file or directory" the reader looks at app.sh, and there it is. The line says whom to look
for. (Most often it is a script with the line ends of Windows, or a binary of Alpine's.)
"""

import errno
import os
import struct
from pathlib import Path

import pytest
from support import HOST, PYINIT, as_user, reason, tool

MISSING = reason(errno.ENOENT)


def program(path, content):
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def one_line(process, status=127):
    """Return the one line that pyinit ends with, without its beginning."""
    assert process.wait() == status, (process.stdout, process.stderr)
    assert process.stdout == ""
    err = process.err
    assert err.startswith(b"[pyinit] ") and err.endswith(b"\n"), err
    assert err.count(b"\n") == 1 and b"\r" not in err, err
    return err[len(b"[pyinit] ") : -1].decode(errors="surrogateescape")


# The first line, and what of it has to be in what pyinit says.
LINES = [
    (b"#!/bin/sh\r\n", r"/bin/sh\r"),
    (b"#!/bin/sh -e\r\n", "/bin/sh -e"),  # there is no /bin/sh -e\r: see below
    (b"#!/no/such\n", "/no/such"),
    (b"#!/no/such\r\n", r"/no/such\r"),
    (b"#! /no/such arg\n", "/no/such"),
    (b"#!\t/no/such\t-x y\n", "/no/such"),
    (b"#!/no/such", "/no/such"),
    (b"#!no-such-here\n", "no-such-here"),
    (b"#!/usr/bin/env-of-nobody python3\n", "/usr/bin/env-of-nobody"),
    (b"#!/no/such/\xff\xe4\n", "/no/such/"),
    (b"#!/no/" + b"d/" * 100 + b"such\n", "/no/" + "d/" * 100 + "such"),
]
RUNNABLE = LINES[1]  # sh is there; what it makes of its word "-e\r" is its own matter


@pytest.mark.parametrize("by", ["path", "PATH", "./"])
@pytest.mark.parametrize(
    ("line", "named"), [one for one in LINES if one is not RUNNABLE]
)
def test_a_missing_interpreter_is_named(start, tmp_path, line, named, by):
    script = program(tmp_path / "a-script", line + b"echo ran\r\n")
    if by == "path":
        process, word = start(*PYINIT, script, "a"), str(script)
    elif by == "./":
        process, word = start(*PYINIT, "./a-script", cwd=tmp_path), "./a-script"
    else:
        env = {**os.environ, "PATH": f"/no-such:{tmp_path}:{os.environ['PATH']}"}
        process, word = start(*PYINIT, "--", "a-script", env=env), "a-script"
    said = one_line(process)
    assert word in said and named in said and MISSING in said, said
    # It is not the script that is missing: not the line for one that is.
    assert said != f"{word}: {MISSING}"


def test_an_interpreter_with_a_word_that_ends_in_cr_is_not_missing(start, tmp_path):
    script = program(tmp_path / "script", RUNNABLE[0] + b"exit 3\n")
    direct = start(script)
    direct.wait()
    process = start(*PYINIT, script)
    assert process.wait() == direct.status()
    assert process.stderr == direct.stderr


@pytest.mark.parametrize(
    "line",
    [
        "#!/usr/bin/env no-such-interpreter\n",
        "#!/usr/bin/env -S no-such-interpreter -x\n",
        "#!/usr/bin/env python3\r\n",
        "#!/usr/bin/env sh\r\n",
    ],
)
def test_what_env_does_not_find_env_names(start, tmp_path, line):
    # env is there and says it itself; pyinit has nothing to add.
    script = program(tmp_path / "script", line.encode() + b"echo ran\n")
    direct = start(script)
    direct.wait()
    process = start(*PYINIT, script)
    assert process.wait() == direct.status() == 127
    assert process.stderr == direct.stderr


def test_what_is_missing_itself_is_said_as_ever(start, tmp_path):
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("#!/no/such\n")
    for word in (
        "no-such-command",
        tmp_path / "no-such",
        tmp_path / "dangling",
        tmp_path / "no-such-directory" / "x",
        "",
    ):
        assert one_line(start(*PYINIT, word)) == f"{word}: {MISSING}"
    process = start(*PYINIT, tmp_path / "file" / "x")
    said = one_line(process, 126)
    assert said == f"{tmp_path}/file/x: {reason(errno.ENOTDIR)}"


def test_what_is_there_and_may_not_be_run_is_said_as_ever(start, tmp_path):
    script = tmp_path / "script"
    script.write_text(
        "#!/no/such\n"
    )  # not executable: that is what the kernel looks at
    for word in (script, tmp_path):
        said = one_line(start(*PYINIT, word), 126)
        assert said == f"{word}: {reason(errno.EACCES)}"


def test_an_interpreter_that_is_there_and_may_not_be_run(start, tmp_path):
    interpreter = tmp_path / "interpreter"
    interpreter.write_text("no program\n")
    for name in (interpreter, tmp_path):  # the second is a directory
        script = program(tmp_path / "script", b"#!%s\n" % os.fsencode(name))
        said = one_line(start(*PYINIT, script), 126)
        assert str(script) in said and reason(errno.EACCES) in said


def test_the_interpreters_interpreter_is_missing(start, tmp_path):
    # The kernel goes on from line to line; that ours names the file's own is enough.
    inner = program(tmp_path / "inner", b"#!/no/such\r\n")
    outer = program(tmp_path / "outer", b"#!%s -x\n" % os.fsencode(inner))
    said = one_line(start(*PYINIT, outer))
    assert str(outer) in said and MISSING in said
    assert str(inner) in said or "/no/such" in said, said


def test_the_search_goes_on_as_ever(start, tmp_path):
    # As execvp(3): ENOENT, whatever it means, is "not here"; the next one is run.
    for name, line in (("one", b"#!/no/such\n"), ("two", b"#!/bin/sh\n")):
        (tmp_path / name).mkdir()
        program(tmp_path / name / "a-thing", line + b"echo two\n")
    env = {**os.environ, "PATH": f"{tmp_path}/one:{tmp_path}/two:{os.environ['PATH']}"}
    process = start(*PYINIT, "a-thing", env=env)
    process.expect("two")
    assert process.wait() == 0


# --- A binary's interpreter: its dynamic loader -----------------------------------------


def with_loader(source, target, loader):
    """Copy an ELF program, with another dynamic loader in its PT_INTERP."""
    image = bytearray(Path(source).read_bytes())
    assert image[:4] == b"\x7fELF"
    order = "<" if image[5] == 1 else ">"
    wide = image[4] == 2
    start = struct.unpack_from(
        order + ("Q" if wide else "I"), image, 32 if wide else 28
    )[0]
    size, count = struct.unpack_from(order + "HH", image, 54 if wide else 42)
    for at in range(start, start + size * count, size):
        if struct.unpack_from(order + "I", image, at)[0] != 3:  # PT_INTERP
            continue
        offset = struct.unpack_from(
            order + ("Q" if wide else "I"), image, at + (8 if wide else 4)
        )[0]
        length = struct.unpack_from(
            order + ("Q" if wide else "I"), image, at + (32 if wide else 16)
        )[0]
        assert len(loader) < length, f"{loader} is longer than the one there"
        # The kernel takes it up to its NUL; so what else is there does not matter.
        image[offset : offset + length] = loader.ljust(length, b"\0")
        return program(target, bytes(image))
    return pytest.skip(f"{source} is not dynamically linked")


@pytest.mark.parametrize("by", ["path", "PATH"])
@pytest.mark.parametrize("loader", ["/lib/ld-no-such.so.1", "/no/such.so"])
def test_a_missing_loader_is_named(start, tmp_path, loader, by):
    binary = with_loader(
        os.path.realpath(tool("true")), tmp_path / "an-app", loader.encode()
    )
    if by == "path":
        process, word = start(*PYINIT, binary), str(binary)
    else:
        env = {**os.environ, "PATH": f"/no-such:{tmp_path}:{os.environ['PATH']}"}
        process, word = start(*PYINIT, "an-app", env=env), "an-app"
    said = one_line(process)
    assert word in said and loader in said and MISSING in said, said


def test_a_missing_loader_of_a_scripts_interpreter(start, tmp_path):
    source = os.path.realpath(tool("true"))
    binary = with_loader(source, tmp_path / "interp", b"/no/such.so")
    script = program(tmp_path / "script", b"#!%s\n" % os.fsencode(binary))
    said = one_line(start(*PYINIT, script))
    assert str(script) in said and str(binary) in said and MISSING in said


def test_a_binary_of_which_a_library_is_missing_says_so_itself(start, tmp_path):
    # The loader runs: it is its own line, with its own status.
    image = Path(os.path.realpath(tool("true"))).read_bytes()
    if b"libc.so.6\0" not in image:
        pytest.skip("true needs no libc.so.6")
    binary = program(tmp_path / "app", image.replace(b"libc.so.6\0", b"libx.so.6\0"))
    direct = start(binary)
    direct.wait()
    process = start(*PYINIT, binary)
    assert process.wait() == direct.status()
    assert process.stderr == direct.stderr


@pytest.mark.parametrize("size", [16, 52, 63, 64, 100, 200])
@pytest.mark.parametrize("source", ["true", "garbage"])
def test_a_binary_that_was_cut_off(start, tmp_path, source, size):
    image = Path(os.path.realpath(tool("true"))).read_bytes()[:size]
    if source == "garbage":  # sizes and places that lead out of the file
        image = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\xff" * (size - 16)
    process = start(*PYINIT, program(tmp_path / "app", image[:size]))
    assert process.wait() in (126, 127)
    assert process.err.startswith(b"[pyinit] ") and process.err.count(b"\n") == 1


def test_what_may_not_be_read_is_said_as_ever(start, public):
    # Nobody can say what is missing; but nothing else goes wrong.
    (public / "in").mkdir()
    binary = with_loader(
        os.path.realpath(tool("true")), public / "in" / "app", b"/no/such"
    )
    binary.chmod(0o111)
    said = one_line(start(*as_user(64011, [*PYINIT, str(binary)])))
    assert str(binary) in said and MISSING in said


def test_a_first_line_without_an_interpreter(start, tmp_path):
    for line in (b"#!", b"#!\n", b"#! \n", b"#!\t \nexit 0\n", b"#!" + b" " * 300):
        script = program(tmp_path / "script", line)
        process = start(*PYINIT, script)
        status = process.wait()
        assert b"Traceback" not in process.err
        assert status in (0, 126, 127), (line, status, process.stderr)


def test_verbose_says_it_too(start, tmp_path):
    script = program(tmp_path / "script", b"#!/bin/sh\r\n")
    process = start(*PYINIT, "-v", script)
    assert process.wait() == 127
    lines = process.err.split(b"\n")[:-1]
    assert all(line.startswith(b"[pyinit] ") for line in lines)
    assert [line for line in lines if rb"/bin/sh\r" in line]


def test_a_module_that_is_imported_says_it(start, tmp_path):
    script = program(tmp_path / "script", b"#!/no/such\n")
    program_text = (
        f"import sys; sys.path.insert(0, {os.path.dirname(PYINIT[-1])!r}); import pyinit;"
        f"sys.exit(pyinit.main([{str(script)!r}]))"
    )
    said = one_line(start(*HOST, "-c", program_text))
    assert str(script) in said and "/no/such" in said
