"""The command line: what is an option, what is the command's, what is refused."""

import os
import re
import shutil
import signal

import pytest
from support import (
    DUMB_INIT_TOO,
    FULL,
    HOST,
    PASSED_ON,
    PYINIT,
    PYINIT_FILE,
    PYTHON,
    RTMIN,
    hosted,
    hosted_error,
    interpreter,
    run,
    tool,
)

SHOW = [*PYTHON, "-c", "import sys; print(sys.argv[1:])"]
SHOW_GROUP = ["sh", "-c", "read a b c d pgrp e < /proc/$$/stat; echo $pgrp"]


@DUMB_INIT_TOO
@pytest.mark.parametrize(
    "before", ["", "-c -r1:2", "--", "-c", "-v --"] if FULL else ["", "-c -r1:2"]
)
def test_the_commands_own_words_are_its_own(pyinit, before):
    words = ["-v", "--", "--rewrite", "1:2", "--help", "--version", "-V", "-c", "-h"]
    words += ["-r", "bad", "--ver", "--re", "", " ", "\n", "-", "--grace", "@file"]
    for some in (words, ["--", *words], ["--"], ["-h"], ["é", "\udcff"]):
        process = pyinit(*before.split(), *SHOW, *some)
        assert process.wait() == 0
        assert process.stdout == f"{some}\n"


@pytest.mark.parametrize(
    "options",
    [
        "-vc",
        "-cvr1:2",
        "-vcr 1:2 --",
        "-cve 3 -v",
        "--single-child --verbose",
        "--rewrite=1:2 --single-child -v --",
        "--rewrite 1:2 -cv",
        "--expect 3 --grace=0 -c -v",
        "--grace 0.5 -cv --",
    ],
)
def test_options_in_every_form(pyinit, options):
    process = pyinit(*options.split(), *SHOW_GROUP)
    assert process.wait() == 0
    assert process.stdout == f"{process.pid}\n"  # -c was seen
    assert "[pyinit] " in process.stderr  # and -v


@DUMB_INIT_TOO
def test_dumb_inits_variables(pyinit):
    for value in ("0", "1", "", "no"):
        process = pyinit(*SHOW_GROUP, env={**os.environ, "DUMB_INIT_SETSID": value})
        assert process.wait() == 0
        assert (process.stdout == f"{process.pid}\n") == (value == "0")
    for value in ("1", "0", "", "yes"):
        process = pyinit("true", env={**os.environ, "DUMB_INIT_DEBUG": value})
        assert process.wait() == 0
        assert bool(process.stderr) == (value == "1")


def prefixes():
    """Return each prefix of each of our long options, as --help has them."""
    found = re.findall(r"--[a-z-]{2,}", run(*PYINIT, "--help").stdout.decode())
    assert {"--verbose", "--version", "--rewrite", "--grace", "--wait"} <= {*found}
    return sorted({option[:n] for option in found for n in range(2, len(option) + 1)})


# Each in a process of its own, without another start of the interpreter.
EACH = """
for line in sys.argv[1].splitlines():
    pid = os.fork()
    if not pid:
        os._exit(pyinit.main(line.split()))
    os.waitpid(pid, 0)
"""


# Before 3.8 argparse would take them for abbreviations of ours.
@pytest.mark.parametrize(
    "version", ["ours", "3.6", "3.7", "3.8"] if FULL else ["ours", "3.6"]
)
def test_what_could_be_an_option_of_ours_is_the_commands(version):
    python, printf = [*interpreter(version), "-IS"], [tool("printf"), r"%s\n"]
    words = [p + rest for p in prefixes() for rest in ("", "=", "=1", "=1:2")]
    words += ["-v", "-vc", "-ve", "-r", "-re", "-h", "-V", "-x", "-g1", "-", "--"]
    for options in ([], ["-c"], ["--grace", "0"], ["-r15:3"], ["--"]):
        got = run(*python, PYINIT_FILE, *options, *printf, *words)
        assert (got.stdout.decode().splitlines(), got.stderr) == (words, b"")
    # As the only word, as its last, and with what would be its value.
    lines = [
        line
        for p in prefixes()
        for line in (f"echo {p}", f"-cr1:2 echo {p} 15:3 {p}")
        if p
        not in ("--help", "--version")  # (echo's own; none of bash's, but of others)
    ]
    got = run(*python, *hosted(EACH)[2:], "\n".join(lines))
    assert got.stderr == b""
    said = [line.partition("echo ")[2] for line in lines]
    assert got.stdout.decode().splitlines() == said


# --- What is refused --------------------------------------------------------------------


USAGE = "usage: pyinit.py [options] [--] command [arg ...]\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *[(words, "no command given") for words in ("", "--", "-v", "-c --", "-r 1:2")],
        ("--wait --grace 1 true", "argument --grace: not allowed with argument --wait"),
        ("--wait --grace=0", "argument --grace: not allowed with argument --wait"),
        ("--grace 1 -v --wait", "argument --wait: not allowed with argument --grace"),
    ],
)
def test_no_command_and_what_excludes_each_other(pyinit, words, said):
    process = pyinit(*words.split())
    assert process.wait() == 2
    assert (process.stdout, process.stderr) == (
        "",
        f"{USAGE}pyinit.py: error: {said}\n",
    )


def test_unknown_and_unfinished_options(pyinit):
    named = {"--nonsense": "--nonsense", "-x": "-x", "-vx": "x", "--ver": "--ver"}
    named.update(dict.fromkeys(("--verbose=1", "--verbose="), "--verbose"))
    named.update(dict.fromkeys(("-v-", "-v=", "-v-c"), "--verbose"))
    named["--rewrite="] = "--rewrite"
    for [option], error in hosted_error([[option] for option in named]):
        assert named[option] in error, option
    for option in ("-r", "--rewrite", "-e", "--grace"):  # and no word behind it
        process = pyinit(option)
        assert process.wait() == 2
        assert option in process.stderr and "usage: " in process.stderr
        assert "Traceback" not in process.stderr


BAD = """
15 15: :3 : 15:3:1 15;3 0:15 15:65 65:15 -1:15 15:-1 15:+3 +15:3 15:3x 15x:3 1_5:3 0x0f:3
15.0:3 1e1:3 KILL:TERM 9:15 STOP:TERM 19:15 CHLD:TERM 17:15 CLD:15 SIGCHLD:SIGTERM FOO:TERM
TERM:FOO SIGSIGTERM:TERM SIG:15 SIG15:3 TERM:SIG0 RTMIN+31:15 RTMIN-1:15 RTMAX+1:15
RTMAX-31:15 RTMIN+:15
"""
ODD = ["", " 15:3", "15:3 ", "15 :3", "15: 3", "15\n:3", "15:3\n", "RTMIN+ 1:15"]
BAD_REWRITES = [*BAD.split(), *ODD]
BAD_REWRITES += [f"{number}:15" for number in range(32, RTMIN)]  # the C library's own
BAD_REWRITES += [f"15:{number}" for number in range(32, RTMIN)]
BAD_REWRITES += ["9" * 5000 + ":15", "TERM:" + "1" * 100, "\udcff:15"]
# Arabic digits, full width, a long s, whose upper case is S, and other letters.
BAD_REWRITES += ["\u0661\u0665:3", "\uff11\uff15:3", "15:\u00b2", "\u017figterm:15"]
BAD_REWRITES += ["S\u0130GTERM:15", "TERM:QU\u0131T"]


def test_bad_rewrites():
    lines = [["-c", "-r", rule] for rule in BAD_REWRITES]
    lines += [["-c", f"--rewrite={rule}"] for rule in BAD_REWRITES]
    for (_, *form, last), error in hosted_error(lines):
        rule = last.replace("--rewrite=", "")
        if rule and (rule[0] != "-" or not form):  # else it is an option itself
            shown = ascii(rule)[1:-1], repr(rule)[1:-1], rule
            assert any(text in error for text in shown), rule


def test_every_spelling_of_every_signal(start):
    kill_l = "for n; do kill -l $n; done"
    names = run(tool("bash"), "-c", kill_l, "bash", *map(str, PASSED_ON)).stdout
    names = dict(zip(PASSED_ON, names.decode().split()))
    # bash counts the real-time ones from its own C library's first.
    for number in range(RTMIN + 1, signal.SIGRTMAX):
        names[number] = f"RTMIN+{number - RTMIN}"
    names[RTMIN] = "RTMIN"
    spellings = [
        (number, text)
        for number, name in names.items()
        for text in (str(number), name, "SIG" + name, name.lower(), "sig" + name)
    ]
    program = (
        f"for number, text in {spellings!r}:\n"
        "    assert pyinit.rewrite(text + ':0') == (number, 0), text\n"
        "    assert pyinit.rewrite('1:' + text) == (1, number), text\n"
    )
    assert start(*hosted(program)).wait() == 0


# Where stderr cannot be written: the status is 2 all the same.
REDIRECTIONS = ["2>/dev/full", "2>&-", "2</dev/null", "0<&- 1>&- 2>&-", "2>&3"]
MISUSES = ["--no-such-option", "-r x true", "-r", "--grace x true", "-e 300 true"]
MISUSES += ["-e \udcff true", "", "-v", "--"]
# 3 is a pipe without a reader: the shell waits for its last substitution. With its limit a
# file cannot grow: SIGXFSZ, which Python ignores, and EFBIG.
MISUSED = """
exec 3> >(exec true); wait $!
"$@" {}; echo $?
ulimit -f 0; "$@" 2>"$0"; echo $?
"""


EVERY_MISUSE = [("-IS", misuse) for misuse in MISUSES]
EVERY_MISUSE += [(form, MISUSES[0]) for form in ("compiled", "plain")]


@pytest.mark.parametrize("redirection", REDIRECTIONS if FULL else REDIRECTIONS[:1])
@pytest.mark.parametrize(
    ("form", "misuse"), EVERY_MISUSE if FULL else EVERY_MISUSE[:1], ids=ascii
)
def test_misuse_that_cannot_be_said(start, tmp_path, redirection, form, misuse):
    init = PYINIT
    if form == "compiled":
        shutil.copy(PYINIT_FILE, tmp_path)
        run(*HOST, "-m", "compileall", "-bq", tmp_path / "pyinit.py", check=True)
        init = [*HOST, f"{tmp_path}/pyinit.pyc"]
    elif form == "plain":
        init = [HOST[0], PYINIT_FILE]
    words = [os.fsencode(word) for word in misuse.split()]
    bash = [tool("bash"), "-c", MISUSED.format(redirection), tmp_path / "log"]
    process = start(*bash, *init, *words)
    assert process.wait() == 0
    # (Without a stderr argparse prints its usage to stdout. So it is.)
    assert re.findall(r"^\d+$", process.stdout, re.M) == ["2", "2"]
    assert "Traceback" not in process.stderr + process.stdout


# --- Help, version, and where they go ---------------------------------------------------


@pytest.mark.parametrize("python", [[], ["-OO"]], ids=["", "without docstrings"])
def test_help(start, python):
    for option in ("-h", "--help"):
        words = [*HOST, *python, *PYINIT[2:], option]
        process = start(*words, env={**os.environ, "COLUMNS": "200"})
        assert process.wait() == 0
        assert process.stderr == ""
        assert max(map(len, process.stdout.splitlines())) <= 80  # on any terminal
        for word in ("-c", "--rewrite", "--expect", "--grace", "--verbose", "usage: "):
            assert word in process.stdout


def test_version(pyinit):
    [version] = re.findall('^__version__ = "(.*)"$', PYINIT_FILE.read_text(), re.M)
    for option in ("-V", "--version"):
        process = pyinit(option)
        assert process.wait() == 0
        assert process.stdout == f"pyinit {version}\n"


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
@pytest.mark.parametrize("to", [">/dev/full 2>/dev/full", ">&- 2>&-"])
def test_output_that_cannot_be_written(start, option, to):
    redirected = ["sh", "-c", f'exec "$@" {to}', "sh"]
    process = start(*redirected, *PYINIT, option)
    # argparse itself passes over it that it cannot write, or that there is nowhere to
    # write to, in Python 3.11.7; in 3.11.2 it still raised an exception. And where only
    # Python's own last flush fails, Python ends with 120. An error's status stays 2.
    alone = start(*redirected, *HOST, "-c", ARGPARSE_ALONE, option).wait()
    if option in ("--help", "--version") and "full" in to:
        assert alone == 120
        assert process.wait() == 125  # pyinit has flushed it before
    elif option in ("--help", "--version"):
        assert process.wait() == alone
    else:
        assert process.wait() == 2


@pytest.mark.parametrize("file", ["dumb-init", "my-init.py"])
def test_messages_begin_alike_under_any_name(start, tmp_path, file):
    copy = tmp_path / file
    copy.write_bytes(PYINIT_FILE.read_bytes())
    process = start(*HOST, copy, "no-such-command")
    assert process.wait() == 127
    assert process.stderr == "[pyinit] no-such-command: No such file or directory\n"
    process = start(*HOST, copy)
    assert process.wait() == 2
    assert process.stderr.startswith("usage: pyinit.py [options]")


def test_the_terminals_width_is_not_asked_for(start):
    # The default formatter of argparse loads these for that: 3 ms of the start.
    process = start(*HOST, "-v", *PYINIT[2:], "-r", "15:3", "true")
    assert process.wait() == 0
    assert "import 'argparse'" in process.stderr
    assert "import 'shutil'" not in process.stderr


# --- From Python ------------------------------------------------------------------------


def test_importing_has_no_effect(start):
    program = (
        "import os, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "before = signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd()\n"
        "import pyinit\n"
        "assert before == (signal.pthread_sigmask(signal.SIG_BLOCK, []), os.getcwd())\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    process = start(*HOST, "-c", program, PYINIT_FILE.parent)
    assert (process.wait(), process.stdout, process.stderr) == (0, "", "")


def test_a_hosts_mask_at_the_time_of_the_call(start):
    program = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "os._exit(pyinit.main(['grep', 'SigBlk', '/proc/self/status']))\n"
    )
    process = start(*hosted(program))
    assert process.wait() == 0
    assert process.stdout.split() == ["SigBlk:", "0000000000000200"]  # SIGUSR1
