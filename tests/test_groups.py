"""The group against the child alone."""

import os
import shlex
import signal
from pathlib import Path

from support import PYINIT, marked, namespace, only_child, state, until

PIPELINE = "sleep 61 | sleep 62 | sleep 63 & sleep 64 & echo $!; exec sleep 65"


def sleeps(process):
    """Return the arguments of the sleeps of a run that are alive, sorted."""
    found = []
    for pid in marked(process.run):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            alive = state(pid) not in ("Z", "")
        except OSError:
            continue
        if words[0] == b"sleep" and alive:
            found.append(int(words[1]))
    return sorted(found)


def test_session_mode_ends_the_whole_pipeline(pid1):
    process = pid1("--", "sh", "-c", PIPELINE)
    process.line()
    until(lambda: sleeps(process) == [61, 62, 63, 64, 65], "five sleeps")
    os.kill(process.init, signal.SIGTERM)
    assert process.wait() == 143
    assert sleeps(process) == []


OUTER = "{pyinit} {mode} sh -c '{pipeline}'; echo ended $?; read line"


def inside(start, mode, number):
    """Run pyinit as a child of PID 1, so that what it leaves behind lives on."""
    init = shlex.join(PYINIT)
    program = OUTER.format(pyinit=init, mode=mode, pipeline=PIPELINE)
    process = start(*namespace(), "sh", "-c", program, stdin=-1)
    process.line()
    until(lambda: sleeps(process) == [61, 62, 63, 64, 65], "five sleeps")
    pyinit = only_child(only_child(process.pid))
    os.kill(pyinit, number)
    process.expect(f"ended {128 + number}")
    return process


def test_session_mode_signals_the_group(start):
    process = inside(start, "", signal.SIGINT)
    # Background commands of sh ignore SIGINT: SIGTERM, once the child is dead, ends
    # them.
    until(lambda: sleeps(process) == [], "nobody left")


def test_single_child_mode_signals_the_child_alone(start):
    process = inside(start, "-c", signal.SIGTERM)
    assert sleeps(process) == [61, 62, 63, 64]


def test_session_mode_makes_a_session(pyinit):
    process = pyinit(
        "sh", "-c", "read a b c d pgrp sid e < /proc/$$/stat; echo $$ $pgrp $sid"
    )
    pid, pgrp, sid = process.line().split()
    assert pid == pgrp == sid
    assert process.wait() == 0


def test_single_child_mode_leaves_session_and_group(pyinit):
    for options, env in (["-c"], {}), ([], {"DUMB_INIT_SETSID": "0"}):
        process = pyinit(
            *options,
            "sh",
            "-c",
            "read a b c d pgrp sid e < /proc/$$/stat; echo $pgrp $sid",
            env={**os.environ, **env},
        )
        assert process.line().split() == [str(process.pid)] * 2
        assert process.wait() == 0


def test_a_child_that_left_pyinits_group_is_signalled_all_the_same(start):
    # With -c the child is in pyinit's group; here it makes a session of its own.
    process = start(*PYINIT, "-c", "setsid", "--wait", "sh", "-c", "echo up; sleep 60")
    process.expect("up")
    process.send(signal.SIGTERM)
    assert process.status() == 143
