"""The command's words are the command's bytes, in every locale and on every Python.

Python decodes what it is started with by the locale's C functions, and encodes by codecs of
its own. In the locales of East Asia that does not always give back what was there: hence
thousands of words a process here, valid text and anything else.
"""

import functools
import glob
import os
import random
import re
import shutil
import subprocess

import pytest
from support import (
    HOST,
    INTERPRETER,
    PYINIT_FILE,
    mounted,
    public_directory,
    tool,
)

PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
SEED = 20
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
# Words that begin like options, of ours and of anybody's.
LIKE_OPTIONS = [
    *(
        "-",
        "--",
        "---",
        "-c",
        "-v",
        "-vc",
        "-r",
        "-r15:3",
        "-V",
        "-h",
        "-e",
        "-x",
        "-ve",
    ),
    *("--v", "--ver", "--verbose", "--version", "--verb=1", "--rewrite", "--r=\xff"),
    *(
        "--grace",
        "--g",
        "--grace=x",
        "--expect",
        "--help",
        "--single-child",
        "--no-such",
    ),
    *("-\xff", "--\x80", "-r\xa4\xa2", "--grace=\x8f\xa1", "@file", "=", "-=", "--="),
]
HALF = re.compile(rb"[\x81-\xfe][0-9]")  # half a character of GB18030's four bytes
PRINTF = [tool("printf"), r"%s\0"]


def pyenv(version):
    """Return an interpreter of pyenv's, or skip."""
    found = sorted(glob.glob(f"{PYENV}/versions/{version}.*/bin/python3"))
    return found[0] if found else pytest.skip(f"no {version} in {PYENV}/versions")


@pytest.fixture(scope="session")
def locale_of():
    """Return a function from a character set to an environment that has it, or skip."""
    directory = public_directory()

    @functools.lru_cache(None)
    def locale_of(charset):
        definition, name = LOCALES[charset], f"{LOCALES[charset]}.{charset}"
        words = [
            tool("localedef"),
            "--no-archive",
            "-c",
            "-i",
            definition,
            "-f",
            charset,
        ]
        made = subprocess.run(
            [*words, directory / name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        # (1: with warnings, as for Shift_JIS, whose \ is a yen sign.)
        if made.returncode > 1 or not (directory / name / "LC_CTYPE").exists():
            pytest.skip(f"localedef cannot make {name}: {made.stdout!r}")
        env = {"LOCPATH": str(directory), "LC_ALL": name, "PATH": os.environ["PATH"]}
        check = "import sys; print(sys.getfilesystemencoding().lower())"
        ours = subprocess.run(
            [INTERPRETER, "-IS", "-c", check],
            env=env,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        if ours == b"utf-8\n" and charset != "UTF-8":
            pytest.skip("the C library of pyinit's interpreter knows UTF-8 alone")
        return env

    yield locale_of
    shutil.rmtree(directory, ignore_errors=True)


def without_python(words, env, python=INTERPRETER):
    """Return those of the words that Python itself starts with; for others it says so.

    "Fatal Python error: cannot decode command line arguments", 1: some of GB18030, in
    which it also loses count, and up to 3.7 UTF-8 of a number beyond Unicode.
    """
    if not words or not run([python, "-IS", "-c", "pass", *words], env)[0]:
        return words
    half = len(words) // 2
    if not half:
        return ()
    first = without_python(words[:half], env, python)
    return (*first, *without_python(words[half:], env, python))


@functools.lru_cache(None)
def startable(charset, python, *env):
    return without_python(words_for(charset), dict(env), python)


def words_in(env, charset, python=INTERPRETER):
    """Return the words for a locale that Python itself can be started with."""
    return startable(charset, python, *env.items())


@functools.lru_cache(None)
def words_for(charset):
    """Return some thousand words, the same each time: text, no text, and odd ones."""
    chance = random.Random(f"{SEED} {charset}")
    alphabet = []
    for point in range(0x20, 0x10000):
        try:
            alphabet.append(chr(point).encode(charset))
        except UnicodeEncodeError:
            continue
    words = [b"", b"\n", b"a\nb", b"\n\n", b"'", b'"', b"\\", b"a" * 100_000]
    words += [word.encode("latin-1") for word in LIKE_OPTIONS]
    words += [bytes(range(1, 256)), bytes(range(255, 0, -1))]
    words += [bytes([n]) for n in range(1, 256)]
    for _ in range(1500):
        words.append(b"".join(chance.choices(alphabet, k=chance.randint(1, 12))))
        words.append(bytes(chance.choices(range(1, 256), k=chance.randint(1, 12))))
        # Text that was cut off, or that something else has been put into.
        text = b"".join(chance.choices(alphabet, k=chance.randint(2, 6)))
        at = chance.randrange(len(text))
        words.append(
            text[:at] + bytes(chance.choices(range(1, 256), k=1)) + text[at + 1 :]
        )
        words.append(chance.choice([b"-", b"--", b"-r", b"--grace="]) + text[at:])
    if (
        charset == "GB18030"
    ):  # of such words there would be too many that no Python starts with
        words = [
            word for word in words if not HALF.search(word) or is_text(word, charset)
        ]
    chance.shuffle(words)
    return (*words, b"", b"")  # the last words: what is found by counting from the end


def is_text(word, charset):
    try:
        return bool(word.decode(charset))
    except UnicodeDecodeError:
        return False


@functools.lru_cache(None)
def all_pairs():
    """Return each word of two bytes, of which one at least is not of ASCII."""
    return tuple(
        bytes([a, b])
        for a in range(1, 256)
        for b in range(1, 256)
        if a > 127 or b > 127
    )


def run(words, env, **kwargs):
    """Run a command to its end; return its status, stdout and stderr."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    result = subprocess.run(
        words,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=60,
        **kwargs,
    )
    return result.returncode, result.stdout, result.stderr


def same(got, words):
    """Assert that a command was given just these words; name the first that differs."""
    status, out, err = got
    assert status == 0, (status, err[:500])
    seen = out.split(b"\0")[:-1]
    wrong = [pair for pair in zip(words, seen) if pair[0] != pair[1]]
    assert len(seen) == len(words) and not wrong, (
        f"{len(wrong)} of {len(words)} words differ, there are {len(seen)};"
        f" the first (given, got): {wrong[:3]}; stderr {err[:300]!r}"
    )
    assert err == b""


# --- In every locale ----------------------------------------------------------------

OPTIONS = {
    "none": [],
    "--": ["--"],
    "attached": ["-cr15:3", "--rewrite=USR1:0", "-e9"],
    "separate": ["-r", "15:3", "--grace", "0", "--expect", "9", "--"],
    "separate, no --": ["--rewrite", "HUP:15", "-c", "-e", "7"],
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("charset", LOCALES)
def test_some_thousand_words(locale_of, charset, options):
    env = locale_of(charset)
    words = words_in(env, charset)
    same(run([*HOST, PYINIT_FILE, *OPTIONS[options], *PRINTF, *words], env), words)


@pytest.mark.parametrize("charset", LOCALES)
def test_every_pair_of_bytes(locale_of, charset):
    words = all_pairs()
    if charset == "GB18030":
        words = [word for word in words if not HALF.search(word)]
    same(run([*HOST, PYINIT_FILE, "--", *PRINTF, *words], locale_of(charset)), words)


FORMS = ["first line", "script", "-c", "stdin", "plain", "-X utf8", "compiled"]


# In Shift_JIS a backslash is a yen sign: with -c Python reads another program than ours.
EVERY_FORM = [(charset, form) for charset in LOCALES for form in FORMS]
EVERY_FORM.remove(("SHIFT_JIS", "-c"))


@pytest.mark.parametrize(("charset", "form"), EVERY_FORM)
def test_every_form(locale_of, tmp_path, charset, form):
    env, stdin = {**locale_of(charset)}, subprocess.DEVNULL
    words = words_in(env, charset)
    (tmp_path / "python3").symlink_to(INTERPRETER)
    env["PATH"] = f"{tmp_path}:{env['PATH']}"
    command, cwd = PRINTF, None
    if form == "first line":
        if not os.access(PYINIT_FILE, os.X_OK):
            pytest.skip(f"{PYINIT_FILE} cannot be executed")
        init = [PYINIT_FILE, "--"]
    elif form == "script":
        # The kernel puts the interpreter's words before those of the command line.
        script = tmp_path / "script"
        line = f"#!/usr/bin/env -S python3 -IS {PYINIT_FILE} -r 15:3 -- /bin/sh\n"
        script.write_text(line + f"exec {PRINTF[0]} '%s\\0' \"$@\"\n")
        script.chmod(0o755)
        init, command = [script], []
        # To dash some bytes are its own marks; with "$@" alone it passes them on.
    elif form == "-c":
        init = [*HOST, "-c", PYINIT_FILE.read_text(), "--"]
    elif form == "stdin":
        init, stdin = [*HOST, "-", "-c", "--"], open(PYINIT_FILE)
    elif form == "plain":
        init, cwd = [INTERPRETER, PYINIT_FILE.name], PYINIT_FILE.parent
    elif form == "-X utf8":
        init = [INTERPRETER, "-X", "utf8", *HOST[1:], PYINIT_FILE]
    else:
        copy = tmp_path / "pyinit.py"
        shutil.copy(PYINIT_FILE, copy)
        subprocess.run(
            [*HOST, "-m", "compileall", "-b", "-q", str(copy)],
            check=True,
            env=os.environ,
        )
        init = [*HOST, tmp_path / "pyinit.pyc"]
    same(run([*init, *command, *words], env, stdin=stdin, cwd=cwd), words)


@pytest.mark.parametrize(
    "version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13"]
)
@pytest.mark.parametrize("charset", ["EUC-JP", "BIG5-HKSCS", "UTF-8"])
def test_every_python(locale_of, charset, version):
    python, env = pyenv(version), locale_of(charset)
    words = words_in(env, charset, python)
    for options in ([], ["-c", "--expect", "3", "--"]):
        init = [python, "-IS", PYINIT_FILE, *options, *PRINTF]
        same(run([*init, *words], env), words)


@pytest.mark.parametrize("env", [{}, {"LC_ALL": "C"}, {"LC_CTYPE": "POSIX"}], ids=repr)
def test_without_a_locale(env):
    words = words_in(env, "UTF-8")
    env = {**env, "PATH": os.environ["PATH"]}
    same(run([*HOST, PYINIT_FILE, *PRINTF, *words], env), words)


def test_as_many_words_as_the_kernel_takes(locale_of):
    # argparse is linear in them, and so is to be what finds them.
    words = [b"\xa4\xa2" * 60_000] * 40 + [b"x"] * 50_000
    same(
        run([*HOST, PYINIT_FILE, *PRINTF, *words], locale_of("EUC-JP"), preexec_fn=big),
        words,
    )


def big():
    """Let the stack, of which a quarter is for the words, grow as far as it may."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))


# --- The command's own name ---------------------------------------------------------

# Of those that a file name can have; the first three as text of EUC-JP, UTF-8 and Big5.
NAMES = [
    b"\xa4\xa2\xa4\xa4",
    b"\xe6\x97\xa5\xe6\x9c\xac",
    b"\xa4@\xa4\\",
    b"\xff\xfe",
    b"\x8f\xa2\xb7",
    b"\x8e\xe0a",
    b"\xa2\xcc\xa1\xc1",
    b"a\nb",
    b" ",
    b"\\",
    b"~",
    bytes(n for n in range(1, 256) if n not in b"/:"),
]


@pytest.mark.parametrize("options", [[], ["-v"], ["-r", "1:2", "--"]], ids=repr)
@pytest.mark.parametrize("charset", LOCALES)
def test_a_command_whose_name_is_such(locale_of, charset, options, public):
    # A copy of cat that shows the words that it was started with, its name among them.
    env = locale_of(charset)
    for name in NAMES:
        for directory in (b"d" + name, b"plain"):
            place = os.path.join(os.fsencode(public), directory)
            os.makedirs(place, exist_ok=True)
            path = os.path.join(place, name)
            if not os.path.lexists(path):
                os.symlink(tool("cat"), path)
            for word, search in ((path, env["PATH"]), (name, place)):
                words = [word, b"/proc/self/cmdline"]
                got = run(
                    [*HOST, PYINIT_FILE, *options, *words], {**env, "PATH": search}
                )
                assert got[0] == 0, (name, directory, got)
                assert got[1].split(b"\0")[:-1] == words, (name, directory, got)
                for line in got[2].split(b"\n")[:-1]:
                    assert line.startswith(b"[pyinit] "), (name, got[2])


@pytest.mark.parametrize("charset", LOCALES)
def test_a_command_that_is_not_there(locale_of, charset):
    for name in NAMES:
        status, out, err = run([*HOST, PYINIT_FILE, name, b"\xff"], locale_of(charset))
        assert (status, out) == (127, b""), (name, err)
        assert err.startswith(b"[pyinit] ") and err.count(b"\n") == 1, (name, err)
        assert err.endswith(b": No such file or directory\n"), (name, err)


@pytest.mark.parametrize("charset", LOCALES)
def test_an_option_whose_value_is_such(locale_of, charset):
    for option in (b"-r", b"-e", b"--grace", b"--no-such-option"):
        for value in (*NAMES, b"\xb2", b"\xd9\xa3", b"15:\xa3\xb3"):
            if b"no-such" in option and b" " in value:
                continue  # what has a blank in it is no option, to argparse
            for words in ([option, value], [option + b"=" + value]):
                got = run([*HOST, PYINIT_FILE, *words, "true"], locale_of(charset))
                assert got[0] == 2 and got[1] == b"", (words, got)
                assert got[2].startswith(b"usage: pyinit.py "), (words, got)
                assert b"Traceback" not in got[2], (words, got)


def test_text_that_the_shell_runs(locale_of, public):
    # ENOEXEC: /bin/sh is given the path, as it was found, and the words.
    env = locale_of("EUC-JP")
    for name in NAMES:
        path = os.path.join(os.fsencode(public), name)
        with open(path, "wb") as file:
            file.write(b'exec %s \'%%s\\0\' "$0" "$@"\n' % os.fsencode(PRINTF[0]))
        os.chmod(path, 0o755)
        words = [b"\x8f\xa2", b"", b"-x", b"\xff"]
        for search, word in ((env["PATH"], path), (public, name)):
            got = run([*HOST, PYINIT_FILE, word, *words], {**env, "PATH": str(search)})
            same(got, [path, *words])


# --- Without /proc, and where it is something else ------------------------------------


def decoded_and_encoded(env, words):
    """Return what Python makes of words, None for a word that it cannot encode again."""
    program = (
        "import os, sys\n"
        "for word in sys.argv[1:]:\n"
        "    try:\n"
        "        word = b'+' + os.fsencode(word)\n"
        "    except UnicodeError:\n"
        "        word = b'-'\n"
        "    sys.stdout.buffer.write(word + bytes(1))\n"  # (In Shift_JIS \\ is a yen sign.)
    )
    out = run([*HOST, "-c", program, *words], env)[1].split(b"\0")[:-1]
    assert len(out) == len(words)
    return [word[1:] if word[:1] == b"+" else None for word in out]


@pytest.mark.parametrize("charset", LOCALES)
@pytest.mark.parametrize("proc", ["none", "another's"])
def test_without_proc_as_python_has_them(locale_of, tmp_path, charset, proc):
    """In an 8-bit locale, UTF-8 and none that is all of them; elsewhere what goes."""
    env = locale_of(charset)
    setup = "mount -t tmpfs none /proc"
    if proc == "another's":  # a tree that was copied into a chroot
        setup += "; mkdir /proc/self; printf 'a\\0b\\0c\\0' >/proc/self/cmdline"
    words = words_in(env, charset)
    made = decoded_and_encoded(env, words)
    words = [word for word, again in zip(words, made) if again is not None]
    expected = [again for again in made if again is not None]
    if charset in ("UTF-8", "ISO-8859-1"):
        assert expected == [*words]
    assert len(words) > 500
    init = [*mounted(setup), *HOST, PYINIT_FILE, "-c", "--", *PRINTF]
    same(run([*init, *words], env), expected)


def test_main_with_a_list_of_its_own():
    """What imports pyinit gives its own words: the kernel's copy has nothing of them."""
    program = (
        f"import sys; sys.path.insert(0, {str(PYINIT_FILE.parent)!r}); import pyinit;"
        " sys.exit(pyinit.main(['-c', '--', 'printf', '%s\\\\0', 'a', '', '\\udcff', '-v']))"
    )
    got = run([*HOST, "-c", program, "x", "y", "z"], dict(os.environ))
    same(got, [b"a", b"", b"\xff", b"-v"])


def test_main_with_the_words_of_the_process():
    program = (
        f"import sys; sys.path.insert(0, {str(PYINIT_FILE.parent)!r}); import pyinit;"
        " sys.exit(pyinit.main())"
    )
    words = [*PRINTF, b"a", b"\xff", b"", b"--ver", b""]
    same(run([*HOST, "-c", program, "-c", *words], dict(os.environ)), words[2:])
    # And with a list that somebody has put in their place, as test runners do.
    program = program.replace("sys.exit", "sys.argv = ['x', 'echo', 'new']; sys.exit")
    got = run([*HOST, "-c", program, "echo", "old"], dict(os.environ))
    assert got == (0, b"new\n", b"")


# --- Words that begin like options of ours --------------------------------------------


def prefixes():
    """Return each prefix of each of our long options, as --help has them."""
    text = run([*HOST, PYINIT_FILE, "--help"], dict(os.environ))[1].decode()
    options = sorted(set(re.findall(r"--[a-z-]{2,}", text)))
    assert {"--verbose", "--version", "--rewrite", "--grace"} <= set(options)
    return sorted({option[:n] for option in options for n in range(2, len(option) + 1)})


PYTHONS = ["3.6", "3.7", "3.8", "ours"]


@pytest.mark.parametrize("version", PYTHONS)
def test_every_prefix_is_the_commands_own(version):
    python = INTERPRETER if version == "ours" else pyenv(version)
    env = {"PATH": os.environ["PATH"]}
    words = [
        os.fsencode(p + rest) for p in prefixes() for rest in ("", "=", "=1", "=1:2")
    ]
    words += [
        b"-v",
        b"-vc",
        b"-ve",
        b"-r",
        b"-re",
        b"-h",
        b"-V",
        b"-x",
        b"-g1",
        b"-",
        b"--",
    ]
    for options in ([], ["-c"], ["--grace", "0"], ["-r15:3"], ["--"]):
        init = [python, "-IS", PYINIT_FILE, *options, *PRINTF]
        same(run([*init, *words], env), words)


@pytest.mark.parametrize("version", PYTHONS[:2])
def test_every_prefix_alone(version):
    # As the only word, as its last, and with what would be its value.
    env = {"PATH": os.environ["PATH"]}
    init = [pyenv(version), "-IS", PYINIT_FILE]
    for prefix in prefixes():
        words = [prefix.encode(), b"15:3", prefix.encode()]
        same(run([*init, *PRINTF, prefix], env), words[:1])
        same(run([*init, "-cr1:2", *PRINTF, *words], env), words)


@pytest.mark.parametrize("version", PYTHONS)
def test_our_own_options_are_read_in_every_way(version):
    python = INTERPRETER if version == "ours" else pyenv(version)
    init = [python, "-IS", PYINIT_FILE]
    env = {"PATH": os.environ["PATH"]}
    words = [
        "-cv",
        "-r15:3",
        "-vr",
        "15:3",
        "-ce9",
        "--rewrite=1:2",
        "--grace=1",
        "-e",
        "8",
    ]
    words += ["--expect=7", "--grace", ".5", "--verbose", "--single-child"]
    status, out, err = run([*init, *words, "sh", "-c", "exit 7"], env)
    assert (status, out) == (0, b"")
    assert b" exited with 7\n" in err
    status, out, err = run([*init, "--no-such", "echo"], env)
    assert (status, out) == (2, b"") and b"--no-such" in err
