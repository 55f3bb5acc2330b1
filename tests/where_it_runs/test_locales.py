"""In every locale: the command's words are the command's bytes.

Python decodes what it is started with by the locale's C functions, and encodes by codecs of
its own. In the locales of East Asia that does not always give back what was there: hence
thousands of words a start here, text and anything else. By default in one of them.
"""

import functools
import os
import random
import shlex

import pytest
from support import (
    FULL,
    HOST,
    INTERPRETER,
    PYINIT_FILE,
    executable,
    hosted,
    interpreter,
    run,
    tool,
)

LOCALES = {
    "EUC-JP": "ja_JP",
    "BIG5-HKSCS": "zh_HK",
    "SHIFT_JIS": "ja_JP",
    "ISO-8859-1": "en_US",
    "UTF-8": "en_US",
}
IN_EACH = pytest.mark.parametrize("charset", LOCALES if FULL else ["EUC-JP"])
# Words that begin like options, of ours and of anybody's.
LIKE_OPTIONS = "- -- --- -c -v -vc -r -r15:3 -V -h -e -x --v --ver --verbose --version"
LIKE_OPTIONS += " --verb=1 --rewrite --r=\xff --grace --grace=x --help --no-such -\xff"
LIKE_OPTIONS += " --\x80 -r\xa4\xa2 --grace=\x8f\xa1 @file = -= --="
PRINTF = [tool("printf"), r"%s\0"]


@pytest.fixture(scope="session")
def locale_of(tmp_path_factory):
    """Return a function from a character set to an environment that has it, or skip."""
    directory = tmp_path_factory.mktemp("locales")

    @functools.lru_cache(None)
    def locale_of(charset):
        name = f"{LOCALES[charset]}.{charset}"
        make = [tool("localedef"), "--no-archive", "-c", "-i", LOCALES[charset]]
        made = run(*make, "-f", charset, directory / name)
        # (1: with warnings, as for Shift_JIS, whose \ is a yen sign.)
        if made.returncode > 1 or not (directory / name / "LC_CTYPE").exists():
            pytest.skip(f"localedef cannot make {name}: {made.stdout + made.stderr!r}")
        env = {"LOCPATH": str(directory), "LC_ALL": name, "PATH": os.environ["PATH"]}
        check = "import sys; print(sys.getfilesystemencoding().lower())"
        ours = run(*HOST, "-c", check, env=env, check=True).stdout
        if ours == b"utf-8\n" and charset != "UTF-8":
            pytest.skip("the C library of pyinit's interpreter knows UTF-8 alone")
        return env

    return locale_of


@functools.lru_cache(None)
def words_in(charset):
    """Return some thousand words, the same each time: text, no text, and odd ones."""
    chance = random.Random(f"20 {charset}")
    alphabet = []
    for point in range(0x20, 0x10000):
        try:
            alphabet.append(chr(point).encode(charset))
        except UnicodeEncodeError:
            continue

    def noise(most):
        return bytes(chance.choices(range(1, 256), k=chance.randint(1, most)))

    words = [b"", b"\n", b"a\nb", b"\n\n", b"'", b'"', b"\\", b"a" * 100_000]
    words += LIKE_OPTIONS.encode("latin-1").split(b" ")
    words += [bytes(range(1, 256)), bytes(range(255, 0, -1))]
    words += [bytes([n]) for n in range(1, 256)]
    for _ in range(1500):
        words.append(b"".join(chance.choices(alphabet, k=chance.randint(1, 12))))
        words.append(noise(12))
        # Text that was cut off, or that something else has been put into.
        text = b"".join(chance.choices(alphabet, k=chance.randint(2, 6)))
        at = chance.randrange(len(text))
        words.append(text[:at] + noise(1) + text[at + 1 :])
        words.append(chance.choice([b"-", b"--", b"-r", b"--grace="]) + text[at:])
    chance.shuffle(words)
    # The last words: what is found by counting from the end.
    return [*words, b"", b""]


def same(words, got):
    """Assert that a command was given just these words; name the first that differs."""
    assert got.returncode == 0, (got.returncode, got.stderr[:500])
    seen = got.stdout.split(b"\0")[:-1]
    wrong = [pair for pair in zip(words, seen) if pair[0] != pair[1]]
    assert len(seen) == len(words) and not wrong, (
        f"{len(wrong)} of {len(words)} words differ, there are {len(seen)};"
        f" the first (given, got): {wrong[:3]}; stderr {got.stderr[:300]!r}"
    )
    assert got.stderr == b""


# By default the oldest of all, too: it has other codecs, and reads options otherwise.
EVERY = [("EUC-JP", "ours"), ("EUC-JP", "3.6")]
EVERY += [(charset, "ours") for charset in LOCALES if charset != "EUC-JP"]
EVERY += [("BIG5-HKSCS", "3.7"), ("EUC-JP", "3.8"), ("EUC-JP", "3.13")]


@pytest.mark.parametrize(("charset", "version"), EVERY if FULL else EVERY[:2])
def test_thousands_of_words(locale_of, charset, version):
    env, python, words = locale_of(charset), interpreter(version), words_in(charset)
    for options in ("", "-cr15:3 --rewrite=USR1:0 -e9", "-r 15:3 --grace 0 --"):
        init = [*python, "-IS", PYINIT_FILE, *options.split()]
        same(words, run(*init, *PRINTF, *words, env=env))


def test_from_a_pipe_and_from_a_scripts_first_line(locale_of, tmp_path):
    env, words = {**locale_of("EUC-JP")}, words_in("EUC-JP")
    with open(PYINIT_FILE) as file:
        init = [*HOST, "-", "-c", "--"]
        same(words, run(*init, *PRINTF, *words, env=env, stdin=file))
    # The kernel puts the interpreter's words before those of the command line. (To dash
    # some bytes are its own marks; with "$@" alone it passes them on.)
    (tmp_path / "python3").symlink_to(INTERPRETER)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    line = f"#!/usr/bin/env -S python3 -IS {PYINIT_FILE} -r 15:3 -- /bin/sh\n"
    text = f'{line}exec {shlex.join(PRINTF)} "$@"\n'
    same(words, run(executable(tmp_path / "script", text), *words, env=env))


def test_in_the_c_locale():
    # Python takes UTF-8 for what it is in.
    words = words_in("UTF-8")
    for env in {"LC_ALL": "C"}, {}, {"LC_CTYPE": "POSIX"}:
        same(words, run(*HOST, PYINIT_FILE, *PRINTF, *words, env=env))


# --- The command's own name -----------------------------------------------------------

EVERY_BYTE = bytes(n for n in range(1, 256) if n not in b"/:")


@IN_EACH
@pytest.mark.parametrize("name", [b"\xa4\xa2\xa4\xa4", EVERY_BYTE], ids=["あい", "all"])
def test_a_command_whose_name_is_such(locale_of, charset, name, tmp_path):
    # A copy of cat that shows the words that it was started with, its name among them; a
    # text that sh is given by its path as it was found (ENOEXEC); and one that is missing.
    env, directory = (
        locale_of(charset),
        os.path.join(os.fsencode(tmp_path), b"d" + name),
    )
    text = b'exec %s \'%%s\\0\' "$0" "$@"\n' % os.fsencode(PRINTF[0])
    os.mkdir(directory)
    path, script = (os.path.join(directory, end + name) for end in (b"", b"s"))
    os.symlink(tool("cat"), path)
    with open(script, "wb") as file:
        file.write(text)
    os.chmod(script, 0o755)
    for word, search in ((path, env["PATH"]), (name, directory)):
        words, found = [word, b"/proc/self/cmdline"], {**env, "PATH": search}
        same(words, run(*HOST, PYINIT_FILE, *words, env=found))
    words = [b"\x8f\xa2", b"", b"-x", b"\xff"]
    init = [*HOST, PYINIT_FILE, "-r", "1:2", "--"]
    found = {**env, "PATH": directory}
    same([script, *words], run(*init, b"s" + name, *words, env=found))
    got = run(*init, b"no" + name, b"\xff", env=env)
    assert (got.returncode, got.stdout) == (127, b""), (name, got)
    said = b"[pyinit] no%s: No such file or directory\n"
    assert got.stderr == said % name.replace(b"\n", b"\\n").replace(b"\r", b"\\r")


# --- Where the words are not the kernel's ------------------------------------------------


def test_main_with_words_of_its_own():
    """What imports pyinit gives its own words: the kernel's copy has nothing of them."""
    body = r"sys.exit(pyinit.main(['-c', '--', 'printf', '%s\\0', 'a', '', '\udcff', '-v']))"
    same([b"a", b"", b"\xff", b"-v"], run(*hosted(body), "x", "y", "z"))
    words = [*PRINTF, b"a", b"\xff", b"", b"--ver", b""]
    body = "sys.exit(pyinit.main())"
    same(words[2:], run(*hosted(body), "-c", *words))
    # And with a list that somebody has put in their place, as test runners do.
    got = run(*hosted("sys.argv = ['x', 'echo', 'new']; " + body), "echo", "old")
    assert (got.returncode, got.stdout, got.stderr) == (0, b"new\n", b"")
