"""The command line: what is an option, what is the command's, what is refused."""

import json
import os
import re
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
    ask,
    hosted,
    interpreter,
    run,
    tool,
)

SHOW = [*PYTHON, "-c", "import sys; print(sys.argv[1:])"]
SHOW_GROUP = ["sh", "-c", "read a b c d pgrp e < /proc/$$/stat; echo $pgrp"]


@DUMB_INIT_TOO
@pytest.mark.parametrize("before", ["", "-c -r1:2", "-v --"])
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
        "-cve 3 -v",
        "-vcr 1:2 --",
        "--rewrite=1:2 --single-child --verbose",
        "--rewrite 1:2 --expect 3 --grace=0 -cv --",
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
    """Return each prefix of each of our long options, as --help has them, but for --."""
    found = re.findall(r"--[a-z-]{2,}", run(*PYINIT, "--help").stdout.decode())
    assert {"--verbose", "--version", "--rewrite", "--grace", "--wait"} <= {*found}
    return sorted({option[:n] for option in found for n in range(3, len(option) + 1)})


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


# --- What is refused --------------------------------------------------------------------

USAGE = "usage: pyinit.py [options] [--] command [arg ...]\n"
# All in one process: main() is what a command line comes to.
REFUSED = """
import json
for line in json.load(sys.stdin):
    read, write = os.pipe()  # which has room for what is said
    os.dup2(write, 2)
    os.close(write)
    try:
        status = pyinit.main([*line, "--", "echo", "started"])
    except SystemExit as end:
        status = end.code
    print(json.dumps([status, os.read(read, 65536).decode()]), flush=True)
    os.close(read)
os._exit(0)  # Python 3.6 would write to that stderr once more
"""


def refused(lines):
    """See that each list of options is refused; yield it with what is said then."""
    result = run(*hosted(REFUSED), input=json.dumps(lines).encode(), check=True)
    answers = result.stdout.decode().splitlines()
    assert len(answers) == len(lines)
    for words, answer in zip(lines, answers):
        status, error = json.loads(answer)  # "started" is no JSON
        assert status == 2, (words, status, error)
        assert (
            error.startswith(f"{USAGE}pyinit.py: error: ") and error.count("\n") == 2
        ), (words, error)
        yield words, error


@pytest.mark.parametrize("words", ["", "--", "-v", "-c --", "-r 1:2"])
def test_no_command(pyinit, words):
    process = pyinit(*words.split())
    assert process.wait() == 2
    assert process.stdout == ""
    assert process.stderr == f"{USAGE}pyinit.py: error: no command given\n"


def test_unknown_unfinished_and_contradictory_options(pyinit):
    named = dict.fromkeys(("--verbose=1", "--verbose="), "--verbose")
    named.update({"--nonsense": "--nonsense", "-x": "-x", "-vx": "x"})
    if ask("hasattr(signal, 'valid_signals')") == "True":
        # Before 3.8 argparse abbreviates, and takes some of these for -v.
        named["--ver"] = "--ver"
        named.update(dict.fromkeys(("-v-", "-v=", "-v-c"), "--verbose"))
    named["--rewrite="] = "--rewrite"
    for words in ("--wait --grace 1", "--wait --grace=0"):
        named[words] = "argument --grace: not allowed with argument --wait"
    named["--grace 1 -v --wait"] = "--wait: not allowed with argument --grace"
    for words, error in refused([words.split() for words in named]):
        assert named[" ".join(words)] in error, words
    for option in ("-r", "--rewrite", "-e", "--grace"):  # and no word behind it
        process = pyinit(option)
        assert process.wait() == 2
        assert option in process.stderr and process.stderr.startswith(USAGE)
        assert "Traceback" not in process.stderr


BAD = """
15 15: :3 : 15:3:1 15;3 0:15 15:65 65:15 -1:15 15:-1 15:+3 +15:3 15:3x 15x:3 1_5:3 0x0f:3
15.0:3 1e1:3 KILL:TERM 9:15 STOP:TERM 19:15 CHLD:TERM 17:15 CLD:15 SIGCHLD:SIGTERM FOO:TERM
TERM:FOO SIGSIGTERM:TERM SIG:15 SIG15:3 TERM:SIG0 RTMIN+31:15 RTMIN-1:15 RTMAX+1:15
RTMAX-31:15 RTMIN+:15
"""
BAD_REWRITES = [*BAD.split(), "", " 15:3", "15 :3", "15:3\n", "RTMIN+ 1:15"]
BAD_REWRITES += [f"{number}:15" for number in range(32, RTMIN)]  # the C library's own
BAD_REWRITES += [f"15:{number}" for number in range(32, RTMIN)]
BAD_REWRITES += ["9" * 5000 + ":15", "TERM:" + "1" * 100, "\udcff:15"]
# Arabic digits, full width, a long s, whose upper case is S, and other letters.
BAD_REWRITES += ["\u0661\u0665:3", "\uff11\uff15:3", "15:\u00b2", "\u017figterm:15"]
BAD_REWRITES += ["S\u0130GTERM:15", "TERM:QU\u0131T"]
BAD_CODES = ["256", "-1", "", "x", "1.0", "+1", " 1", "1_0", "٣", "1e2"]
BAD_GRACES = ["-1", "-0.5", "nan", "NaN", "inf", "-inf", "infinity", "1e3", "1e400"]
BAD_GRACES += ["", " ", "x", "1s", "1,5", " 1", "1 ", "+1", "1_0", "0x1", "1.2.3", "."]
BAD_GRACES += ["9" * 400, "٣", "1000001"]


@pytest.mark.parametrize(
    ("option", "argument", "values"),
    [
        ("--rewrite", "-r/--rewrite", BAD_REWRITES),
        ("--expect", "-e/--expect", BAD_CODES),
        ("--grace", "--grace", BAD_GRACES),
    ],
)
def test_bad_values(option, argument, values):
    lines = [[f"{option}={value}"] for value in values]
    lines += [[option, value] for value in values]
    for (*form, last), error in refused(lines):
        value = last.replace(f"{option}=", "")
        if value[:1] != "-" or not form:  # else it is an option itself
            assert f"argument {argument}: " in error
            shown = ascii(value)[1:-1], repr(value)[1:-1], value
            assert any(text in error for text in shown), value


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
    spellings += [(signal.SIGABRT, "IOT"), (signal.SIGIO, "poll")]  # the same ones
    spellings += [(signal.SIGRTMAX, "RTMAX-0"), (signal.SIGRTMAX - 3, "SIGRTMAX-3")]
    spellings = [(int(number), text) for number, text in spellings]
    program = (
        f"for number, text in {spellings!r}:\n"
        "    assert pyinit.rewrite(text + ':0') == (number, 0), text\n"
        "    assert pyinit.rewrite('1:' + text) == (1, number), text\n"
    )
    assert start(*hosted(program)).wait() == 0


# --- Help, version, and where they go ---------------------------------------------------


def test_version(pyinit):
    [version] = re.findall('^__version__ = "(.*)"$', PYINIT_FILE.read_text(), re.M)
    for option in ("-V", "--version"):
        process = pyinit(option)
        assert process.wait() == 0
        assert process.stdout == f"pyinit {version}\n"


# With its limit a file cannot grow: SIGXFSZ, which Python ignores, and EFBIG.
NOWHERE = [">/dev/full 2>/dev/full", "0<&- >&- 2>&-", "2</dev/null", '2>"$0"']


@pytest.mark.parametrize("redirection", NOWHERE)
def test_output_that_cannot_be_written(start, tmp_path, redirection):
    program = f'ulimit -f 0; exec "$@" {redirection}'
    words = ["sh", "-c", program, tmp_path / "log", *PYINIT]
    for misuse in ("--nonsense", "-e999", "-r", "-e \udcff true", "-v --"):
        process = start(*words, *misuse.split())
        assert process.wait() == 2
        assert "Traceback" not in process.stderr
    # (Where there is no stdout at all, Python's versions differ.)
    if "full" in redirection:
        assert start(*words, "--help").wait() == 125


def test_the_terminals_width_is_not_asked_for(start):
    # The default formatter of argparse loads these for that: 3 ms of the start.
    body = "pyinit.read_command_line(['-r', '15:3', 'true']); print(*sys.modules)"
    process = start(*hosted(body))
    assert process.wait() == 0
    loaded = process.stdout.split()
    assert "argparse" in loaded and "shutil" not in loaded


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


def test_a_host_has_no_child_left(start):
    program = (
        "pyinit.main(['true'])\n"
        "try: os.waitpid(-1, os.WNOHANG)\n"
        "except ChildProcessError: print('none', flush=True)\n"
    )
    process = start(*hosted(program))
    assert (process.wait(), process.stdout) == (0, "none\n")


def test_a_hosts_mask_at_the_time_of_the_call(start):
    program = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "os._exit(pyinit.main(['grep', 'SigBlk', '/proc/self/status']))\n"
    )
    process = start(*hosted(program))
    assert process.wait() == 0
    assert process.stdout.split() == ["SigBlk:", "0000000000000200"]  # SIGUSR1
