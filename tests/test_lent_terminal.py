"""A terminal on stdin that is nobody's controlling terminal, as lxc-start -F gives one.

What the terminal's keys mean goes to the foreground group of the session that it controls.
If it controls none, Ctrl-C does nothing: so the child, whose session is new, makes it its
own. Everywhere else the terminal is a session's already, and stays that one's.
"""

import fcntl
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import termios
from pathlib import Path

import pytest
from support import (
    DEADLINE,
    PYINIT,
    PYINIT_FILE,
    REPORTER,
    Process,
    as_user,
    monotonic,
    mounted,
    namespace,
    only_child,
    open_terminal,
    state,
    tool,
    until,
)

PROMPT = "@prompt@ "
INIT = shlex.join(PYINIT)


class Lent:
    """A terminal, and a program with it as stdin, stdout and stderr or some of them."""

    def __init__(self, *argv, control=False, stdout=True, **kwargs):
        self.master, slave = open_terminal()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        self.number = os.fstat(slave).st_rdev

        def lead_session():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        if control:
            kwargs.update(preexec_fn=lead_session, start_new_session=False)
        env = {**os.environ, "PS1": PROMPT, "ENV": "", "HISTFILE": "", "TERM": "dumb"}
        if stdout:
            kwargs.update(stdout=slave, stderr=slave)
        self.process = Process(argv, env=env, stdin=slave, **kwargs)
        os.close(slave)
        self.all, self.seen = "", ""

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, *patterns):
        """Wait until each pattern has come, in this order; return what came with it."""
        for pattern in patterns:
            deadline = monotonic() + DEADLINE
            while not re.search(pattern, self.seen, re.M):
                left = max(0, deadline - monotonic())
                ready, _, _ = select.select([self.master], [], [], left)
                try:
                    data = os.read(self.master, 4096) if ready else b""
                except OSError:
                    data = b""
                if not data:
                    pytest.fail(f"{pattern!r} did not come; the terminal:\n{self.all}")
                self.seen += data.decode(errors="replace")
                self.all += data.decode(errors="replace")
            found = re.search(pattern, self.seen, re.M)
            before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def run(self, command):
        self.type(command + "\n")
        return self.expect(re.escape(PROMPT))[: -len(PROMPT)]

    def close(self):
        self.process.clean()
        os.close(self.master)


@pytest.fixture
def lent():
    opened = []

    def lent(*argv, **kwargs):
        opened.append(Lent(*argv, **kwargs))
        return opened[-1]

    yield lent
    for one in opened:
        one.close()


def stat(pid):
    """Return a process's group, session, controlling terminal and its foreground group."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    group, session, terminal, foreground = map(int, fields[2:6])
    return group, session, terminal, foreground


def device(number):
    """Return what /proc/PID/stat says of a terminal that stat(2) has by this number."""
    major, minor = os.major(number), os.minor(number)
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12


# --- It becomes the child's -------------------------------------------------------------


@pytest.fixture(params=["PID 1", "not PID 1"])
def started(request, lent):
    """Return a function that starts pyinit with a terminal that controls no session."""

    def started(*words, **kwargs):
        if request.param == "PID 1":
            screen = lent(*namespace(), "--", *PYINIT, *words, **kwargs)
            screen.init = only_child(screen.process.pid)
        else:
            screen = lent(*PYINIT, *words, **kwargs)
            screen.init = screen.process.pid
        return screen

    return started


@pytest.mark.parametrize("options", [[], ["--grace", "1"]], ids=repr)
@pytest.mark.parametrize(
    ("key", "number"), [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT)]
)
def test_its_keys_work(started, options, key, number):
    screen = started(*options, "--", *REPORTER, "7")
    screen.expect("ready .*\n")
    for _ in range(3):
        screen.type(key)
        screen.expect(f"^{number:d}\n")
        # Once: a second one would come before this.
        os.kill(screen.init, signal.SIGRTMAX)
        assert screen.expect("^64\n") == "64\n"
    os.kill(screen.init, signal.SIGTERM)
    screen.expect("^15\n")
    assert screen.process.status() == 7


def test_it_is_the_childs_and_not_ours(started):
    screen = started(*REPORTER, "7")
    screen.expect("ready .*\n")
    child = only_child(screen.init)
    # (What the numbers in stat are depends on our PID namespace, which is the outer one.)
    group, session, terminal, foreground = stat(child)
    assert group == session == foreground == child
    assert terminal == device(screen.number)
    assert stat(screen.init)[2] == 0


def test_ctrl_c_ends_what_has_no_handler(started):
    screen = started("sh", "-c", "echo up; exec sleep 1000")
    screen.expect("up\n")
    screen.type("\x03")
    assert screen.process.status() == 130


def test_ctrl_z_does_not_wedge(started):
    # The child's group has no shell (it is orphaned): the kernel drops the stop.
    screen = started("sh", "-c", "echo up; while read line; do echo got $line; done")
    screen.expect("up\n")
    for line in ("one", "two"):
        screen.type("\x1a")
        screen.type(line + "\n")
        screen.expect(f"got {line}\n")
    screen.type("\x04")
    assert screen.process.status() == 0


def test_a_shell_has_job_control(started):
    screen = started(tool("bash"), "--norc", "--noprofile", "--noediting", "-i")
    begin = screen.expect(re.escape(PROMPT))
    assert "no job control" not in begin and "cannot set terminal" not in begin, begin
    screen.type("sh -c 'echo up; exec sleep 100'\n")
    screen.expect("up\n")
    screen.type("\x1a")
    screen.expect("Stopped", re.escape(PROMPT))
    screen.type("fg\n")
    screen.expect("sleep 100'\n")
    screen.type("\x03")
    screen.expect(re.escape(PROMPT))
    assert screen.run("echo $?") == "130\n"
    screen.type("exit 6\n")
    assert screen.process.status() == 6


def test_dev_tty_is_there(started):
    screen = started("sh", "-c", "echo hello >/dev/tty; exit 5")
    screen.expect("hello\n")
    assert screen.process.status() == 5


def test_stdin_alone(started):
    # stdout is a pipe: who reads it may need no terminal, and this one is nobody's.
    screen = started(*REPORTER, "7", stdout=False)
    screen.process.line()
    screen.type("\x03")
    screen.process.expect(int(signal.SIGINT))
    os.kill(screen.init, signal.SIGTERM)
    screen.process.expect(15)
    assert screen.process.wait() == 7


def test_a_hang_up_comes_once(started):
    # It goes to the session's leader, which is the child now.
    screen = started(*REPORTER, "7", stdout=False)
    assert screen.process.line().startswith("ready ")
    os.close(screen.master)
    screen.master = os.open("/dev/null", os.O_RDONLY)
    screen.process.expect(int(signal.SIGHUP))
    os.kill(screen.init, signal.SIGRTMAX)
    got = screen.process.line()
    while got == str(int(signal.SIGCONT)):  # the kernel sends it with the hang-up
        got = screen.process.line()
    assert got == str(int(signal.SIGRTMAX))


@pytest.mark.parametrize("options", [["-c"], ["-c", "-v"]], ids=repr)
def test_with_c_all_is_as_it_was(started, options):
    # Without a session of its own the child cannot have a terminal of its own.
    screen = started(*options, "--", *REPORTER, "7")
    screen.expect("ready .*\n")
    assert stat(only_child(screen.init))[2] == 0
    os.kill(screen.init, signal.SIGTERM)
    screen.expect("15\n")
    assert screen.process.status() == 7


@pytest.mark.parametrize("gone", ["/dev/pts", "/dev", "/proc"])
def test_a_terminal_without_a_name(lent, gone):
    """Nothing to open, so all is as it was: no message, and no failure."""
    setup = f"mount -t tmpfs none {gone}"
    if gone == "/dev":
        setup += " && mknod -m 666 /dev/null c 1 3"
    screen = lent(*mounted(setup), *PYINIT, *REPORTER, "7")
    assert screen.expect("^.*\n").startswith("ready ")
    screen.process.send(signal.SIGTERM)
    assert screen.expect("^15\n") == "15\n"
    assert screen.process.status() == 7


def test_a_terminal_that_may_not_be_opened(lent, public):
    """As root's terminal is for whom su has made of root: silently as it was."""
    screen = lent(*as_user(64013, [*PYINIT, *REPORTER, "7"]))
    assert screen.expect("^.*\n").startswith("ready ")
    child = only_child(screen.process.pid)
    assert stat(child)[2] in (0, device(screen.number))
    screen.process.send(signal.SIGTERM)
    screen.expect("^15\n")
    assert screen.process.status() == 7


def test_nothing_of_it_stays_open(started):
    screen = started(*REPORTER, "7")
    screen.expect("ready .*\n")
    child = only_child(screen.init)
    for pid in (child, screen.init):
        until(
            lambda: sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"],
            f"{os.listdir(f'/proc/{pid}/fd')} are closed",
        )


# --- It is somebody's, and stays theirs -------------------------------------------------


@pytest.fixture
def shell(lent):
    """An interactive bash at its prompt, whose terminal it is."""
    words = [tool("bash"), "--norc", "--noprofile", "--noediting", "-i"]
    screen = lent(*words, control=True)
    screen.expect(re.escape(PROMPT))
    return screen


# (A shell says what a job was when it ends: what is printed is not in there.)
ASK = "if (: </dev/tty) 2>/dev/null; then printf has; else printf no; fi; echo -tty"
ASK = f"sh -c {shlex.quote(ASK)}"


@pytest.mark.parametrize(
    "line", ["{init} {probe} | cat", "{init} {probe} | cat & wait"]
)
def test_in_a_pipeline_it_stays_the_shells(shell, line):
    # The command has a session without a terminal; its stdin is the shell's terminal.
    said = shell.run(line.format(init=INIT, probe=ASK))
    assert "no-tty" in said and "has-tty" not in said, said
    assert device(shell.number) == stat(shell.process.pid)[2]
    assert (
        stat(shell.process.pid)[3] == shell.process.pid
    )  # it has the foreground again


def test_ctrl_c_in_a_pipeline_reaches_the_shells_job(shell):
    shell.type(f"{INIT} sh -c 'echo up; exec sleep 1000' | cat; echo over\n")
    shell.expect("up\n")
    shell.type("\x03")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo still here") == "still here\n"


@pytest.mark.parametrize("setsid", ["setsid", "setsid --wait", "setsid --fork --wait"])
def test_under_setsid_it_stays_the_shells(shell, setsid):
    said = shell.run(f"{setsid} {INIT} {ASK} | cat")
    assert "no-tty" in said and "has-tty" not in said, said
    assert stat(shell.process.pid)[2] == device(shell.number)
    shell.type("sleep 1000\n")
    until(
        lambda: stat(shell.process.pid)[3] != shell.process.pid,
        "sleep in the foreground",
    )
    shell.type("\x03")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo $?") == "130\n"


def test_under_setsid_ctty_it_is_pyinits_own(lent):
    # setsid --ctty gives the terminal to pyinit, as docker run -t has it: mode JOB.
    screen = lent(tool("setsid"), "--ctty", "--wait", *PYINIT, *REPORTER, "7")
    screen.expect("ready .*\n")
    screen.type("\x03")
    screen.expect("^2\n")


def test_under_script(lent):
    line = f"{INIT} {shlex.join(REPORTER)} 7"
    screen = lent(tool("script"), "-qec", line, "/dev/null", control=True)
    screen.expect("ready .*\n")
    screen.type("\x03")
    screen.expect("2\r?\n")
    screen.type("\x1c")
    screen.expect("3\r?\n")


def test_a_job_in_the_background_takes_nothing(shell):
    shell.type(f"{INIT} cat | cat &\n")
    shell.expect(re.escape(PROMPT))
    assert shell.run("echo the shell reads this") == "the shell reads this\n"
    assert stat(shell.process.pid)[3] == shell.process.pid
    shell.type("kill %1; wait\n")
    shell.expect(re.escape(PROMPT))


def test_the_shell_ends_and_the_terminal_is_free(lent):
    """What runs on after its shell's end, by nohup say, gets no terminal afterwards."""
    program = f"nohup {INIT} {shlex.join(REPORTER)} 7 | cat & sleep 0.1; exit"
    screen = lent(tool("bash"), "-c", program, control=True)
    screen.process.status()
    assert state(screen.process.pid) in ("", "Z", "X")


def test_another_sessions_terminal_by_name(lent):
    """stdin is a terminal of a session that is not ours, and not in our reach: login's."""
    screen = lent("sh", "-c", "echo $(tty); exec sleep 1000", control=True)
    name = screen.expect("^/dev/.*\n").strip()
    words = ["sh", "-c", f'exec "$@" <{name}', "sh", *PYINIT, *shlex.split(ASK)]
    process = Process(words)
    try:
        assert process.wait() == 0, process.stderr
        assert process.stdout == "no-tty\n"
        assert stat(screen.process.pid)[2] == device(screen.number)
    finally:
        process.clean()


# --- ssh --------------------------------------------------------------------------------


def test_under_ssh(lent, tmp_path):
    """ssh -t and sshd, each on a pipe of the other's: sshd gives pyinit its terminal."""
    if os.getuid():
        pytest.skip("only root can run sshd")
    keygen, ssh, sshd = tool("ssh-keygen"), tool("ssh"), tool("sshd")
    for name in ("host", "user"):
        words = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    (tmp_path / "sshd").write_text(
        f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/user.pub\nStrictModes no\n"
        "PermitRootLogin yes\nUsePAM no\nPidFile none\nLogLevel ERROR\n"
    )
    os.makedirs("/run/sshd", exist_ok=True)
    proxy = f"{sshd} -i -f {tmp_path}/sshd"
    check = [ssh, "-F", "none", "-o", f"ProxyCommand={proxy}", "-i", tmp_path / "user"]
    check += [
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        f"UserKnownHostsFile={tmp_path}/known",
    ]
    check += ["-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
    got = subprocess.run(
        [*check, "localhost", "true"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if got.returncode:
        pytest.skip(f"no ssh to this machine: {got.stderr.decode()}")
    line = f"exec {INIT} {shlex.join(REPORTER)} 7"
    screen = lent(*check, "-tt", "localhost", line, control=True)
    screen.expect("ready .*\n")
    screen.type("\x03")
    screen.expect("2\r?\n")
    screen.type("\x1c")
    screen.expect("3\r?\n")
    # Without -t there is no terminal, and all is as it was.
    got = subprocess.run(
        [*check, "localhost", f"{INIT} sh -c 'exit 6'"], stdin=subprocess.DEVNULL
    )
    assert got.returncode == 6


# --- lxc --------------------------------------------------------------------------------


@pytest.fixture
def lxc(tmp_path):
    """Return a function from a command to the words that run it in lxc-start -F; or skip."""
    start = tool("lxc-start")
    if os.getuid():
        pytest.skip("only root can start this container")
    base = os.environ.get("PYINIT_BASE", "/var/tmp/pyinit/base")
    if not Path(base, "usr/bin/python3").exists():
        pytest.skip(f"there is no root in {base}")
    root = tmp_path / "root"
    for name in ("usr", "etc", "proc", "sys", "dev", "run", "tmp", "sbin"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    shutil.copy(PYINIT_FILE, root / "sbin" / "pyinit.py")
    shutil.copy(REPORTER[-1], root / "sbin" / "reporter.py")
    config = tmp_path / "config"

    def lxc(*command):
        config.write_text(
            f"lxc.uts.name = pyinit\nlxc.rootfs.path = dir:{root}\n"
            f"lxc.mount.entry = {base}/usr usr none bind,ro 0 0\n"
            "lxc.mount.auto = proc:mixed\nlxc.net.0.type = empty\nlxc.tty.max = 0\n"
            "lxc.apparmor.profile = unconfined\nlxc.autodev = 1\n"
            f"lxc.init.cmd = {' '.join(command)}\n"
        )
        name = f"pyinit-{os.getpid()}"
        log = ["-l", "INFO", "-o", tmp_path / "log"]
        return [start, "-F", "-n", name, "-P", tmp_path, "-f", config, *log]

    got = subprocess.run(
        lxc("/bin/true"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60
    )
    if got.returncode:
        log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
        wrong = [line for line in log.splitlines() if "ERROR" in line][:3]
        pytest.skip(f"lxc-start does not run here: {got.stderr.decode()} {wrong}")
    return lxc


IN_LXC = ["/usr/bin/python3", "-IS", "/sbin/pyinit.py"]
REPORTS = ["/usr/bin/python3", "-IS", "/sbin/reporter.py"]


def test_ctrl_c_in_lxc_start(lent, lxc):
    screen = lent(*lxc(*IN_LXC, "--", *REPORTS, "7"), control=True)
    screen.expect("ready .*\n")
    for _ in range(2):
        screen.type("\x03")
        screen.expect("2\r?\n")
        screen.type("\x1c")
        screen.expect("3\r?\n")


def test_a_shell_in_lxc_start_has_job_control(lent, lxc):
    words = [*IN_LXC, "--", "/bin/bash", "--norc", "--noprofile", "--noediting", "-i"]
    screen = lent(*lxc(*words), control=True)
    begin = screen.expect(r"bash-.*# ")
    assert "no job control" not in begin and "cannot set terminal" not in begin, begin
    screen.type("sleep 1000\n")
    screen.type("echo no; \x03")
    screen.expect(r"# ")
    screen.type("exit 6\n")


def test_without_a_terminal_lxc_start_is_as_it_was(lxc):
    words = lxc(*IN_LXC, "--", "/bin/sh", "-c", "exit 0")
    got = subprocess.run(
        words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60
    )
    assert got.returncode == 0, got.stderr
