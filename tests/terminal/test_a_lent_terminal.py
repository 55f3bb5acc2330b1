"""A terminal on stdin that is nobody's controlling terminal, as lxc-start -F gives one.

There Ctrl-C does nothing. So the child, whose session is new, makes it its own;
test_nobody_to_resume_us.py shows that its keys work then. Everywhere else the terminal is
a session's already, and stays that one's.
"""

import os
import shlex
import shutil
import signal
from pathlib import Path

import pytest
from jobs import LENT, crossed
from support import (
    INIT,
    KEYS,
    PYINIT,
    PYINIT_FILE,
    REPORTER,
    mounted,
    need,
    only_child,
    tool,
    until,
)


def stat(pid):
    """Return a process's group, session, controlling terminal and its foreground group."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[2:6]]


# --- It becomes the child's -------------------------------------------------------------


@crossed(launch=LENT)
def test_it_is_the_childs_and_not_ours(launch):
    screen = launch(*REPORTER, "7")
    screen.expect("ready .*\n")
    child = only_child(screen.init)
    group, session, terminal, foreground = stat(child)
    assert group == session == foreground == child and terminal
    assert stat(screen.init)[2] == 0
    for pid in (child, screen.init):  # and nothing of it stays open
        fds = Path(f"/proc/{pid}/fd")
        until(lambda fds=fds: sorted(os.listdir(fds)) == ["0", "1", "2"], f"{fds}")


@pytest.mark.parametrize("gone", ["/dev/pts", "/proc"])
def test_a_terminal_without_a_name(terminal, gone):
    """Nothing to open, so all is as it was: no message, and no failure."""
    setup = f"mount -t tmpfs none {gone}"
    screen = terminal(*mounted(setup), *PYINIT, *REPORTER, "7", ours=False)
    assert screen.expect("^.*\n").startswith("ready ")
    os.kill(screen.pid, signal.SIGTERM)
    screen.said("15")
    assert screen.status() == 7


# --- It is somebody's, and stays theirs -------------------------------------------------


# (A shell says what a job was when it ends: what is printed is not in there.)
ASK = "if (: </dev/tty) 2>/dev/null; then printf has; else printf no; fi; echo -tty"
ASK = f"sh -c {shlex.quote(ASK)}"


@pytest.mark.parametrize("line", ["{} | cat", "{} | cat & wait", "setsid -w {} | cat"])
def test_it_stays_the_shells(shell, line):
    # The command has a session without a terminal; its stdin is the shell's terminal.
    said = shell.run(line.format(f"{INIT} {ASK}"))
    assert "no-tty" in said and "has-tty" not in said, said
    assert stat(shell.pid)[3] == shell.pid


# --- In LXC -----------------------------------------------------------------------------


def test_in_lxc_start(terminal, tmp_path):
    start = tool("lxc-start")
    if os.getuid():
        pytest.skip("only root can start this container")
    base = os.environ.get("PYINIT_BASE", "/var/tmp/pyinit/base")
    if not Path(base, "usr/bin/python3").exists():
        pytest.skip(f"there is no root in {base}: .ci/run makes it")
    root = tmp_path / "root"
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "sbin"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copy(PYINIT_FILE, root / "sbin" / "pyinit.py")
    shutil.copy(REPORTER[-1], root / "sbin" / "reporter.py")
    config = tmp_path / "config"
    config.write_text(
        f"lxc.uts.name = pyinit\nlxc.rootfs.path = dir:{root}\n"
        f"lxc.mount.entry = {base}/usr usr none bind,ro 0 0\n"
        "lxc.mount.auto = proc:mixed\nlxc.net.0.type = empty\nlxc.tty.max = 0\n"
        "lxc.apparmor.profile = unconfined\nlxc.autodev = 1\n"
    )
    words = [start, "-F", "-n", f"pyinit-{os.getpid()}", "-P", tmp_path, "-f", config]
    need(*words, "--", "/bin/true", timeout=60)
    python = ["/usr/bin/python3", "-IS"]
    init = [*python, "/sbin/pyinit.py", "--", *python, "/sbin/reporter.py"]
    screen = terminal(*words, "--", *init)
    screen.expect("ready .*\n")
    for key, number in KEYS[:2] * 2:
        screen.type(key)
        screen.expect(f"{number:d}\r*\n")
