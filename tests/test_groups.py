"""The group against the child alone: who gets a signal."""

import os
import shlex
import signal

import pytest
from support import (
    BOTH_MODES,
    DUMB_INIT_TOO,
    command_line,
    has_come,
    marked,
    namespace,
    only_child,
    state,
    until,
)

PIPELINE = "sleep 61 | sleep 62 | sleep 63 & sleep 64 & echo $!; exec sleep 65"
SHOW = "read a b c d pgrp sid e < /proc/$$/stat; echo $$ $pgrp $sid"


def sleeps(process):
    """Return the arguments of the sleeps of a run that are alive, sorted."""
    alive = [pid for pid in marked(process.run) if state(pid) not in ("Z", "")]
    words = map(command_line, alive)
    return sorted(int(each[1]) for each in words if each[:1] == ["sleep"])


@DUMB_INIT_TOO
@BOTH_MODES
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_gets_a_signal(start, init, mode, number):
    # pyinit is a child of PID 1, so that what it leaves behind lives on.
    program = f"{shlex.join([*init, *mode, 'sh', '-c', PIPELINE])}; echo ended $?"
    process = start(*namespace(), "sh", "-c", program + "; read line", stdin=-1)
    process.line()
    until(lambda: sleeps(process) == [61, 62, 63, 64, 65], "five sleeps")
    os.kill(only_child(only_child(process.pid)), number)
    process.expect(f"ended {128 + number}")
    if mode:
        assert sleeps(process) == [61, 62, 63, 64]
    else:
        # Background commands of sh ignore SIGINT: the farewell ends them.
        until(lambda: sleeps(process) == [], "nobody left")


@DUMB_INIT_TOO
@BOTH_MODES
def test_who_makes_a_session(pyinit, mode):
    process = pyinit(*mode, "sh", "-c", SHOW)
    assert process.wait() == 0
    pid, pgrp, sid = process.stdout.split()
    assert pgrp == sid == (str(process.pid) if mode else pid)


def test_a_child_with_a_group_of_its_own_is_signalled_alone(pyinit):
    # With -c the child is in pyinit's group; here it makes a session of its own.
    program = "sleep 60 & echo $!; exec sleep 61"
    process = pyinit("-c", "setsid", "--wait", "sh", "-c", program)
    member = int(process.line())
    process.send(signal.SIGTERM)
    assert process.status() == 143
    assert not has_come(member, signal.SIGTERM)
