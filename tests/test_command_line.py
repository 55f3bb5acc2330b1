"""The command line: what is an option, what is the command's, what is refused."""

import os
import signal
import subprocess

import pytest
from support import (
    HOST,
    PASSED_ON,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    ROOT,
    RTMIN,
    need_proc,
    tool,
)

SHOW = [*PYTHON, "-c", "import sys; print(sys.argv[1:])"]


@pytest.mark.parametrize(
    "words",
    [
        ["-v", "--", "--rewrite", "1:2"],
        ["--"],
        ["--", "--"],
        ["-h"],
        ["--help", "--version", "-V", "-c", "-r", "bad", "--ver", "--re"],
        ["", " ", "\n", "-", "--grace"],
        ["@file", "é", "\udcff"],
    ],
)
@pytest.mark.parametrize("before", [[], ["--"], ["-c"], ["-v", "--"], ["-c", "-r1:2"]])
def test_the_commands_own_words_are_its_own(pyinit, before, words):
    process = pyinit(*before, *SHOW, *words)
    assert process.wait() == 0
    assert process.stdout == f"{words}\n"


@pytest.mark.parametrize(
    "options",
    [
        ["-vc"],
        ["-cv"],
        ["-cvr1:2"],
        ["-vcr", "1:2"],
        ["-cve", "3", "-v"],
        ["--single-child", "--verbose"],
        ["--rewrite=1:2", "--single-child", "-v"],
        ["--rewrite", "1:2", "-cv"],
        ["--expect", "3", "--grace=0", "-c", "-v"],
        ["--grace", "0.5", "-cv"],
    ],
)
@pytest.mark.parametrize("end", [[], ["--"]])
def test_options_in_every_form(pyinit, options, end):
    process = pyinit(
        *options, *end, "sh", "-c", "read a b c d pgrp e < /proc/$$/stat; echo $pgrp"
    )
    assert process.wait() == 0
    assert process.stdout == f"{process.pid}\n"  # -c was seen
    assert "[pyinit] " in process.stderr  # and -v


def test_dumb_inits_variables(pyinit):
    show = ["sh", "-c", "read a b c d pgrp e < /proc/$$/stat; echo $pgrp"]
    for value, single in (("0", True), ("1", False), ("", False), ("no", False)):
        process = pyinit(*show, env={**os.environ, "DUMB_INIT_SETSID": value})
        assert process.wait() == 0
        assert (process.stdout == f"{process.pid}\n") == single
    for value, verbose in (("1", True), ("0", False), ("", False), ("yes", False)):
        process = pyinit("true", env={**os.environ, "DUMB_INIT_DEBUG": value})
        assert process.wait() == 0
        assert bool(process.stderr) == verbose


def test_a_lone_dash_is_a_command(pyinit):
    process = pyinit("-")
    assert process.wait() == 127
    assert process.stderr == "[pyinit] -: No such file or directory\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--"],
        ["-v"],
        ["-c", "--"],
        ["--rewrite", "1:2"],
    ],
)
def test_no_command(pyinit, words):
    process = pyinit(*words)
    assert process.wait() == 2
    assert process.stdout == ""
    assert "no command" in process.stderr
    assert "usage: pyinit.py [options] [--] command [arg ...]" in process.stderr


@pytest.mark.parametrize(
    ("words", "offending"),
    [
        (["--nonsense"], "--nonsense"),
        (["-x"], "-x"),
        (["-vx"], "x"),
        (["--ver"], "--ver"),
        (["--verbose=1"], "--verbose"),
        (["--verbose="], "--verbose"),
        (["-v-"], "--verbose"),
        (["-v="], "--verbose"),
        (["-v-c"], "--verbose"),
        (["-r"], "-r"),
        (["--rewrite"], "--rewrite"),
        (["-e"], "-e"),
        (["--grace"], "--grace"),
        (["--rewrite="], "--rewrite"),
    ],
)
def test_unknown_and_unfinished_options(pyinit, words, offending):
    started = [] if words[0] in ("-r", "--rewrite", "-e", "--grace") else ["echo", "no"]
    process = pyinit(*words, *started)
    assert process.wait() == 2
    assert process.stdout == ""
    assert offending in process.stderr and "usage: " in process.stderr
    assert "Traceback" not in process.stderr


BAD_REWRITES = [
    "15",
    "15:",
    ":3",
    ":",
    "",
    "15:3:1",
    "15;3",
    "0:15",
    "15:65",
    "65:15",
    *(f"{number}:15" for number in range(32, RTMIN)),  # the C library's own
    *(f"15:{number}" for number in range(32, RTMIN)),
    "-1:15",
    "15:-1",
    "15:+3",
    "+15:3",
    " 15:3",
    "15:3 ",
    "15 :3",
    "15: 3",
    "15\n:3",
    "15:3\n",
    "15:3x",
    "15x:3",
    "1_5:3",
    "0x0f:3",
    "15.0:3",
    "1e1:3",
    "KILL:TERM",
    "9:15",
    "STOP:TERM",
    "19:15",
    "CHLD:TERM",
    "17:15",
    "CLD:15",
    "SIGCHLD:SIGTERM",
    "FOO:TERM",
    "TERM:FOO",
    "SIGSIGTERM:TERM",
    "SIG:15",
    "SIG15:3",
    "TERM:SIG0",
    "RTMIN+31:15",
    "RTMIN-1:15",
    "RTMAX+1:15",
    "RTMAX-31:15",
    "RTMIN+:15",
    "RTMIN+ 1:15",
    "\u0661\u0665:3",  # Arabic digits
    "\uff11\uff15:3",  # full width
    "15:\u00b2",
    "\u017figterm:15",  # a long s, whose upper case is S
    "S\u0130GTERM:15",
    "TERM:QU\u0131T",
    "\udcff:15",
    "9" * 5000 + ":15",
    "TERM:" + "1" * 100,
]


@pytest.mark.parametrize("rule", BAD_REWRITES, ids=lambda rule: ascii(rule)[:20])
@pytest.mark.parametrize("form", ["-r", "--rewrite", "--rewrite="])
def test_bad_rewrites(pyinit, rule, form):
    words = [form + rule] if form.endswith("=") else [form, rule]
    process = pyinit("-c", *words, "--", "echo", "started")
    assert process.wait() == 2
    assert process.stdout == ""
    assert "usage: " in process.stderr
    assert "Traceback" not in process.stderr
    assert process.stderr.count("\n") == 2  # usage, and what is wrong
    if rule and (rule[0] != "-" or form.endswith("=")):  # else it is an option itself
        shown = os.fsencode(rule).decode(errors="surrogateescape")
        assert (
            ascii(rule)[1:-1] in process.stderr
            or shown in process.stderr
            or repr(rule)[1:-1] in process.stderr
        )


def test_every_spelling_of_every_signal():
    kill_l = "for n; do kill -l $n; done"
    words = [tool("bash"), "-c", kill_l, "bash", *map(str, PASSED_ON)]
    names = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode()
    spellings = []
    names = dict(zip(PASSED_ON, names.split()))
    # bash counts the real-time ones from its own C library's first.
    for number in range(RTMIN + 1, signal.SIGRTMAX):
        names[number] = f"RTMIN+{number - RTMIN}"
    names[RTMIN] = "RTMIN"
    for number, name in names.items():
        for text in (str(number), name, "SIG" + name, name.lower(), "sig" + name):
            spellings.append((number, text))
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import pyinit\n"
        f"for number, text in {spellings!r}:\n"
        "    assert pyinit.rewrite(text + ':0') == (number, 0), text\n"
        "    assert pyinit.rewrite('1:' + text) == (1, number), text\n"
    )
    subprocess.run([*HOST, "-c", program], check=True)


def test_help(pyinit):
    for option in ("-h", "--help"):
        process = pyinit(option, env={**os.environ, "COLUMNS": "200"})
        assert process.wait() == 0
        assert process.stderr == ""
        assert max(map(len, process.stdout.splitlines())) <= 80  # on any terminal
        for word in ("--single-child", "--rewrite", "--expect", "--grace", "--verbose"):
            assert word in process.stdout


def test_version(pyinit):
    import re

    version = re.search('^__version__ = "(.*)"$', PYINIT_FILE.read_text(), re.M).group(
        1
    )
    for option in ("-V", "--version"):
        process = pyinit(option)
        assert process.wait() == 0
        assert process.stdout == f"pyinit {version}\n"


def test_without_docstrings(start):
    process = start(*HOST, "-OO", *PYINIT[2:], "--help")
    assert process.wait() == 0
    assert "usage: pyinit.py" in process.stdout


# The same options, read without pyinit. What argparse raises, pyinit ends with 125 for.
ARGPARSE_ALONE = """
import argparse, os
parser = argparse.ArgumentParser()
parser.add_argument("--version", action="version", version="1")
parser.add_argument("-e", type=int, choices=range(256))
try:
    parser.parse_args()
except Exception:
    os._exit(125)
"""


@pytest.mark.parametrize("option", ["--help", "--version", "--nonsense", "-e999"])
@pytest.mark.parametrize("streams", ["full", "closed"])
def test_output_that_cannot_be_written(start, option, streams):
    to = ">/dev/full 2>/dev/full" if streams == "full" else ">&- 2>&-"
    redirected = ["sh", "-c", f'exec "$@" {to}', "sh"]
    process = start(*redirected, *PYINIT, option)
    # argparse itself passes over it that it cannot write, or that there is nowhere to
    # write to, in Python 3.11.7; in 3.11.2 it still raised an exception. And where only
    # Python's own last flush fails, Python ends with 120. An error's status stays 2.
    alone = start(*redirected, *HOST, "-c", ARGPARSE_ALONE, option).wait()
    if option in ("--help", "--version") and streams == "full":
        assert alone == 120
        assert process.wait() == 125  # pyinit has flushed it before
    elif option in ("--help", "--version"):
        assert process.wait() == alone
    else:
        assert process.wait() == 2


@pytest.mark.parametrize("file", ["dumb-init", "pyinit.py", "my-init.py"])
def test_messages_begin_alike_under_any_name(start, tmp_path, file):
    copy = tmp_path / file
    copy.write_bytes(PYINIT_FILE.read_bytes())
    process = start(*HOST, copy, "no-such-command")
    assert process.wait() == 127
    assert process.stderr == "[pyinit] no-such-command: No such file or directory\n"
    process = start(*HOST, copy)
    assert process.wait() == 2
    assert process.stderr.startswith("usage: pyinit.py [options]")


def test_importing_has_no_effect():
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import signal, os\n"
        "before = signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd()\n"
        "import pyinit\n"
        "assert before == (signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd())\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    result = subprocess.run([*HOST, "-c", program], stdout=-1, stderr=-1)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def test_a_hosts_mask_at_the_time_of_the_call():
    need_proc()
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import os, pyinit, signal\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "os._exit(pyinit.main(['grep', 'SigBlk', '/proc/self/status']))\n"
    )
    result = subprocess.run([*HOST, "-c", program], stdout=subprocess.PIPE)
    assert result.stdout.split() == [b"SigBlk:", b"0000000000000200"]  # SIGUSR1


def test_the_terminals_width_is_not_asked_for():
    # The default formatter of argparse loads these for that: 3 ms of the start.
    traced = subprocess.run(
        [*HOST, "-v", *PYINIT[2:], "-r", "15:3", "true"], stderr=subprocess.PIPE
    )
    assert b"import 'argparse'" in traced.stderr
    assert b"import 'shutil'" not in traced.stderr
