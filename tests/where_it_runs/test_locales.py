"""In every locale: the command's words are the command's bytes.

Python decodes what it is started with by the locale's C functions, and encodes by codecs of
its own. In the locales of East Asia that does not always give back what was there: hence
thousands of words a start here, text and anything else. By default in one of them.
"""

import functools
import os
import random
import re
import resource
import shlex
import shutil

import pytest
from support import (
    FULL,
    HOST,
    INTERPRETER,
    PYINIT_FILE,
    executable,
    hosted,
    interpreter,
    mounted,
    public_directory,
    run,
    tool,
)

LOCALES = {
    "EUC-JP": "ja_JP",
    "EUC-KR": "ko_KR",
    "BIG5": "zh_TW",
    "BIG5-HKSCS": "zh_HK",
    "GBK": "zh_CN",
    "GB18030": "zh_CN",
    "SHIFT_JIS": "ja_JP",
    "ISO-8859-1": "en_US",
    "UTF-8": "en_US",
}
IN_EACH = pytest.mark.parametrize("charset", LOCALES if FULL else ["EUC-JP"])
# Words that begin like options, of ours and of anybody's.
LIKE_OPTIONS = (
    "- -- --- -c -v -vc -r -r15:3 -V -h -e -x -ve --v --ver --verbose --version"
)
LIKE_OPTIONS += " --verb=1 --rewrite --r=\xff --grace --g --grace=x --expect --help"
LIKE_OPTIONS += (
    " --single-child --no-such -\xff --\x80 -r\xa4\xa2 --grace=\x8f\xa1 @file"
)
LIKE_OPTIONS += " = -= --="
HALF = re.compile(rb"[\x81-\xfe][0-9]")  # half a character of GB18030's four bytes
PRINTF = [tool("printf"), r"%s\0"]


@pytest.fixture(scope="session")
def locale_of():
    """Return a function from a character set to an environment that has it, or skip."""
    directory = public_directory()

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

    yield locale_of
    shutil.rmtree(directory, ignore_errors=True)


def startable(words, env, python):
    """Return those of the words that Python itself starts with; for others it says so.

    "Fatal Python error: cannot decode command line arguments", 1: some of GB18030, in
    which it also loses count, and up to 3.7 UTF-8 of a number beyond Unicode.
    """
    if not words or not run(*python, "-IS", "-c", "pass", *words, env=env).returncode:
        return words
    half = len(words) // 2
    if not half:
        return ()
    return (
        *startable(words[:half], env, python),
        *startable(words[half:], env, python),
    )


@functools.lru_cache(None)
def words_in(charset, python, *env):
    """Return the words for a locale that Python itself can be started with."""
    return startable(words_for(charset), dict(env), python)


@functools.lru_cache(None)
def words_for(charset):
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
    return (*[word for word in words if goes(word, charset)], b"", b"")


def goes(word, charset):
    """Tell whether to try a word: there are too many that no Python starts with."""
    if charset != "GB18030" or not HALF.search(word):
        return True
    try:
        return bool(word.decode(charset))
    except UnicodeDecodeError:
        return False


def pairs(charset):
    """Return each word of two bytes, of which one at least is not of ASCII."""
    every = (bytes([a, b]) for a in range(1, 256) for b in range(1, 256) if a | b > 127)
    return [word for word in every if charset != "GB18030" or not HALF.search(word)]


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


OPTIONS = ["--", "", "-cr15:3 --rewrite=USR1:0 -e9", "--rewrite HUP:15 -c -e 7"]
OPTIONS += ["-r 15:3 --grace 0 --expect 9 --"]


# By default the oldest of all, too: it has other codecs, and reads options otherwise.
EVERY = [(charset, "ours") for charset in LOCALES]
EVERY += [
    (charset, version)
    for charset in ("EUC-JP", "BIG5-HKSCS", "UTF-8")
    for version in ("3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13")
]


@pytest.mark.parametrize(("charset", "version"), EVERY if FULL else EVERY[:1])
def test_thousands_of_words(locale_of, charset, version):
    env, python = locale_of(charset), (*interpreter(version),)
    words = words_in(charset, python, *env.items())
    if version == "ours":
        words = [*pairs(charset), *words]
    for options in OPTIONS if FULL else OPTIONS[:2]:
        init = [*python, "-IS", PYINIT_FILE, *options.split()]
        same(words, run(*init, *PRINTF, *words, env=env))


FORMS = ["script", "stdin", "first line", "-c", "plain", "-X utf8", "compiled"]
# In Shift_JIS a backslash is a yen sign: with -c Python reads another program than ours.
EVERY_FORM = [(charset, form) for charset in LOCALES for form in FORMS]
EVERY_FORM.remove(("SHIFT_JIS", "-c"))


@pytest.mark.parametrize(("charset", "form"), EVERY_FORM if FULL else EVERY_FORM[:2])
def test_every_form(locale_of, tmp_path, charset, form):
    env, cwd, stdin, command = {**locale_of(charset)}, None, os.devnull, PRINTF
    words = words_in(charset, (INTERPRETER,), *env.items())
    (tmp_path / "python3").symlink_to(INTERPRETER)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    if form == "first line":
        init = [PYINIT_FILE, "--"]
    elif form == "script":
        # The kernel puts the interpreter's words before those of the command line. (To
        # dash some bytes are its own marks; with "$@" alone it passes them on.)
        line = f"#!/usr/bin/env -S python3 -IS {PYINIT_FILE} -r 15:3 -- /bin/sh\n"
        text = f'{line}exec {shlex.join(PRINTF)} "$@"\n'
        init, command = [executable(tmp_path / "script", text)], []
    elif form == "-c":
        init = [*HOST, "-c", PYINIT_FILE.read_text(), "--"]
    elif form == "stdin":
        init, stdin = [*HOST, "-", "-c", "--"], PYINIT_FILE
    elif form == "plain":
        init, cwd = [INTERPRETER, PYINIT_FILE.name], PYINIT_FILE.parent
    elif form == "-X utf8":
        init = [INTERPRETER, "-X", "utf8", *HOST[1:], PYINIT_FILE]
    else:
        shutil.copy(PYINIT_FILE, tmp_path)
        run(*HOST, "-m", "compileall", "-b", "-q", tmp_path / "pyinit.py", check=True)
        init = [*HOST, tmp_path / "pyinit.pyc"]
    with open(stdin) as file:
        same(words, run(*init, *command, *words, env=env, stdin=file, cwd=cwd))


def test_in_the_c_locale():
    # Python takes UTF-8 for what it is in.
    words = words_in("UTF-8", (INTERPRETER,), ("LC_ALL", "C"))
    for env in {"LC_ALL": "C"}, {}, {"LC_CTYPE": "POSIX"}:
        same(words, run(*HOST, PYINIT_FILE, *PRINTF, *words, env=env))


def test_as_many_words_as_the_kernel_takes(locale_of):
    # argparse is linear in them, and so is to be what finds them. A quarter of the stack
    # is for the words.
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    words = [b"\xa4\xa2" * 60_000] * 40 + [b"x"] * 50_000
    init, env = [*HOST, PYINIT_FILE, *PRINTF], locale_of("EUC-JP")
    allow = functools.partial(resource.setrlimit, resource.RLIMIT_STACK, (hard, hard))
    same(words, run(*init, *words, env=env, preexec_fn=allow))


# --- The command's own name -----------------------------------------------------------

# Of those that a file name can have; the first three as text of EUC-JP, UTF-8 and Big5.
NAMES = [b"\xa4\xa2\xa4\xa4", b"\xe6\x97\xa5\xe6\x9c\xac", b"\xa4@\xa4\\"]
NAMES += [
    b"\xff\xfe",
    b"\x8f\xa2\xb7",
    b"\x8e\xe0a",
    b"\xa2\xcc\xa1\xc1",
    b"a\nb",
    b" ",
]
NAMES += [b"\\", b"~", bytes(n for n in range(1, 256) if n not in b"/:")]


@IN_EACH
def test_a_command_whose_name_is_such(locale_of, charset, public):
    # A copy of cat that shows the words that it was started with, its name among them; a
    # text that sh is given by its path as it was found (ENOEXEC); and one that is missing.
    env, place = locale_of(charset), os.fsencode(public)
    text = b'exec %s \'%%s\\0\' "$0" "$@"\n' % os.fsencode(PRINTF[0])
    for name in NAMES if FULL else NAMES[:1] + NAMES[-1:]:
        directory = os.path.join(place, b"d" + name)
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


REFUSES = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
for words in zip(sys.argv[1::2], sys.argv[2::2]):
    for form in words, ["=".join(words)]:
        try:
            raise SystemExit(f"status {pyinit.main([*form, 'true'])}")
        except SystemExit as end:
            if end.code != 2:
                raise SystemExit(f"{form!a}: {end.code}")
"""


@IN_EACH
def test_an_option_whose_value_is_such(locale_of, charset):
    words = [
        word
        for option in (b"-r", b"-e", b"--grace", b"--no-such-option")
        for value in (*NAMES, b"\xb2", b"\xd9\xa3", b"15:\xa3\xb3")
        # (What has a blank in it is no option, to argparse.)
        if b"no-such" not in option or b" " not in value
        for word in (option, value)
    ]
    got = run(*hosted(REFUSES), *words, env=locale_of(charset))
    assert got.returncode == 0 and got.stdout == b"", got
    assert got.stderr.count(b"usage: pyinit.py ") == len(words), got.stderr
    assert b"Traceback" not in got.stderr


# --- Without /proc, and where the words are not the kernel's ----------------------------

# In Shift_JIS \\ is a yen sign: so bytes(1).
AGAIN = """
import os, sys
for word in sys.argv[1:]:
    try:
        word = b"+" + os.fsencode(word)
    except UnicodeError:
        word = b"-"
    sys.stdout.buffer.write(word + bytes(1))
"""


@IN_EACH
@pytest.mark.parametrize("proc", ["none", "another's"] if FULL else ["none"])
def test_without_proc_as_python_has_them(locale_of, charset, proc):
    """In an 8-bit locale, UTF-8 and none that is all of them; elsewhere what goes."""
    env = locale_of(charset)
    setup = "mount -t tmpfs none /proc"
    if proc == "another's":  # a tree that was copied into a chroot
        setup += "; mkdir /proc/self; printf 'a\\0b\\0c\\0' >/proc/self/cmdline"
    words = words_in(charset, (INTERPRETER,), *env.items())
    made = run(*HOST, "-c", AGAIN, *words, env=env).stdout.split(b"\0")[:-1]
    assert len(made) == len(words)
    # What Python cannot encode again nobody could pass on.
    words = [word for word, again in zip(words, made) if again[:1] == b"+"]
    expected = [again[1:] for again in made if again[:1] == b"+"]
    if charset in ("UTF-8", "ISO-8859-1"):
        assert expected == [*words]
    assert len(words) > 500
    init = [*mounted(setup), *HOST, PYINIT_FILE, "-c", "--"]
    same(expected, run(*init, *PRINTF, *words, env=env))


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
