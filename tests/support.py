"""What all the tests share: real processes, with a deadline and a clean end."""

import contextlib
import fcntl
import functools
import glob
import os
import pty
import re
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from pathlib import Path
from time import monotonic

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYINIT_FILE = ROOT / "pyinit.py"
PROGRAMS = ROOT / "tests" / "programs"
PYTHON = [sys.executable, "-IS"]  # for all but pyinit
# What pyinit is started with, and pyinit itself: others can be put in their places.
INTERPRETER = os.environ.get("PYINIT_PYTHON") or sys.executable
HOST = [INTERPRETER, "-IS"]  # what imports pyinit, too
PYINIT = os.environ.get("PYINIT_COMMAND", "").split() or [*HOST, str(PYINIT_FILE)]
REPORTER = [*PYTHON, str(PROGRAMS / "reporter.py")]
DEADLINE = float(os.environ.get("PYINIT_DEADLINE", "30"))  # seconds
MARKER = "PYINIT_TEST_RUN"
FORKY = os.environ.get("PYINIT_FORKY", "/var/tmp/pyinit/forky")
MUSL = os.environ.get("PYINIT_MUSL", "/var/tmp/pyinit/musl/python3")
PYENV = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
# What repeats a rule in every interpreter, mode, engine and shell.
FULL = bool(os.environ.get("PYINIT_FULL"))
BOTH_MODES = pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
# What dumb-init does as well: the fixture init, and so pyinit and pid1, starts both.
DUMB_INIT_TOO = pytest.mark.parametrize(
    "init", [None, "dumb-init"], ids=["pyinit", "dumb-init"], indirect=True
)
# Debian's packages, where a program is not in one of its own name.
PACKAGES = {
    "busybox": "busybox-static",
    "cc": "gcc",
    "nginx": "nginx-light",
    "sh": "dash",
    **dict.fromkeys(("docker", "dockerd"), "docker.io"),
    **dict.fromkeys(
        ("nsenter", "prlimit", "setpriv", "setsid", "unshare"), "util-linux"
    ),
}


def run(*words, timeout=120, **kwargs):
    """Run a command to its end; return its status, stdout and stderr, as bytes."""
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    kwargs.setdefault("stdout", subprocess.PIPE)
    kwargs.setdefault("stderr", subprocess.PIPE)
    return subprocess.run([*map(os.fspath, words)], timeout=timeout, **kwargs)


def ask(expression):
    """Return what an expression is to pyinit's interpreter, as a string."""
    program = f"import os, signal; print({expression})"
    asked = run(INTERPRETER, "-IS", "-c", program, stderr=None, check=True)
    return asked.stdout.decode().rstrip("\n")


@functools.lru_cache(None)
def reason(number):
    """Return what the C library of pyinit's interpreter calls an error of errno(3)."""
    return ask(f"os.strerror({number:d})")


# 34 with glibc, 35 with musl: each keeps those below, from 32, for itself.
RTMIN = int(ask("int(signal.SIGRTMIN)"))  # (printed by its name before Python 3.11)
PASSED_ON = [
    number
    for number in [*range(1, 32), *range(RTMIN, signal.SIGRTMAX + 1)]
    if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD)
]
STOPS = [signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU]


STARTED = []  # in the test that runs


class Process:
    """A started program: its lines, its end, and all that it was in one failure."""

    def __init__(self, argv, env=None, **kwargs):
        need_proc()
        self.argv = [os.fsdecode(word) for word in argv]
        self.run = str(uuid.uuid4())
        env = {**(os.environ if env is None else env), MARKER: self.run}
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        kwargs.setdefault("start_new_session", True)
        self.popen = subprocess.Popen(self.argv, env=env, **kwargs)
        self.pid = self.popen.pid
        STARTED.append(self)
        self.out, self.err = b"", b""
        self.seen = 0  # how much of self.out has been handed out as lines

    def report(self):
        """Return what there is to look at where a test has failed."""
        left = [f"{pid} {state(pid)} {command_line(pid)}" for pid in marked(self.run)]
        lines = [f"command: {shlex.join(self.argv)}", f"status: {self.popen.poll()}"]
        lines += [f"stdout: {self.out!r}", f"stderr: {self.err!r}"]
        return "\n".join([*lines, f"left: {len(left)}", *left])

    def _read(self, deadline):
        """Read what there is, or wait for it; False at the end of both streams."""
        streams = [s for s in (self.popen.stdout, self.popen.stderr) if s]
        streams = [s for s in streams if not s.closed]
        if not streams:
            return False
        ready, _, _ = select.select(streams, [], [], max(0, deadline - monotonic()))
        if not ready:
            pytest.fail("no output within the deadline")
        for stream in ready:
            data = os.read(stream.fileno(), 65536)
            if not data:
                stream.close()
            elif stream is self.popen.stdout:
                self.out += data
            else:
                self.err += data
        return True

    def line(self):
        """Return the next line of stdout, without its newline."""
        deadline = monotonic() + DEADLINE
        while b"\n" not in self.out[self.seen :]:
            if not self._read(deadline):
                pytest.fail("stdout ended before another line came")
        line, _, _ = self.out[self.seen :].partition(b"\n")
        self.seen += len(line) + 1
        return line.decode(errors="surrogateescape")

    def expect(self, *lines):
        for line in lines:
            got = self.line()
            if got != str(line):
                pytest.fail(f"expected the line {line!s}, got {got}")
        return self

    said = expect  # so does a Terminal

    def ready(self):
        """Wait until the reporter is ready; return its pid, in its own namespace."""
        line = self.line()
        if not line.startswith("ready "):
            pytest.fail(f"expected ready, got {line}")
        return int(line.split()[1])

    def write(self, text="\n"):
        """Write to stdin."""
        self.popen.stdin.write(text.encode())
        self.popen.stdin.flush()

    def let_go(self):
        """Close stdin, for whose end the command waits; return the time."""
        self.popen.stdin.close()
        self.popen.stdin = None
        return monotonic()

    def says(self, status):
        """Wait for the end with a status; return the one line that says why."""
        assert self.wait() == status
        assert self.stdout == ""
        begin, line = self.stderr[:9], self.stderr[9:]
        assert begin == "[pyinit] " and line.count("\n") == 1 and line[-1] == "\n"
        return line[:-1]

    def until_stderr(self, text):
        deadline = monotonic() + DEADLINE
        while text.encode() not in self.err:
            if not self._read(deadline):
                pytest.fail(f"stderr ended without {text!r}")

    def send(self, number, pid=None):
        os.kill(pid or self.pid, number)

    def wait(self, timeout=DEADLINE):
        """Read to the end of output, and return the status as a shell has it."""
        deadline = monotonic() + timeout
        while self._read(deadline):
            pass
        return self.status(max(0.1, deadline - monotonic()))

    def status(self, timeout=DEADLINE):
        """Return the status as a shell has it, without waiting for end of output."""
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail("did not end within the deadline")
        return 128 - code if code < 0 else code

    stdout = property(lambda self: self.out.decode(errors="surrogateescape"))
    stderr = property(lambda self: self.err.decode(errors="surrogateescape"))

    def clean(self):
        clean([self])


def clean(processes):
    """Kill everything that carries these runs' markers in its environment."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGCONT)
    while [pid for pid in marked(*[one.run for one in processes]) if kill(pid)]:
        pass
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.popen.wait(5)
        for stream in (process.popen.stdin, process.popen.stdout, process.popen.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()


def kill(pid):
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        return state(pid) not in ("Z", "X", "")
    return False


def marked(*runs):
    """Return the pids of the processes that have a marker of one of these runs."""
    found, marker = [], f"{MARKER}=".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            _, is_marked, rest = file.read().rpartition(marker)
            if is_marked and rest[:36].decode() in runs:
                found.append(int(pid))
    return found


def state(pid):
    """Return the one-letter state of a process as ps has it, "" if there is none."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def until(condition, what, timeout=DEADLINE):
    """Poll a condition of the kernel's that nothing announces."""
    deadline = monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if monotonic() > deadline:
            pytest.fail(f"not within {timeout} s: {what}")
        time.sleep(0.002)


def until_state(pid, letters):
    until(lambda: state(pid) in letters, f"{pid} in state {letters}, is {state(pid)}")


def rests(pid):
    """Tell whether a process sleeps and does not wake up, for half a second."""

    def wakeups():
        status = Path(f"/proc/{pid}/status").read_text()
        return state(pid) == "S" and field(status, "voluntary_ctxt_switches")

    before = wakeups()
    time.sleep(0.5)  # a stretch of idleness, not a wait for something
    return before and wakeups() == before


def children(pid):
    """Return the pids of the children of a process, in this PID namespace."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [*map(int, words)]


def command_line(pid):
    """Return the words of a process, [] if there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []


def only_child(pid, program=""):
    """Wait for a child of a process that runs a program; return its pid."""

    def found():
        words = {child: command_line(child)[:1] for child in children(pid)}
        return [child for child in words if not program or words[child] == [program]]

    return until(found, f"a child of {pid} {program}")[0]


def tool(name):
    """Return the path of a program, or skip the test."""
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not path:
        pytest.skip(f"no {name}: apt-get install {PACKAGES.get(name, name)}")
    return path


@functools.lru_cache(None)
def namespace_command():
    """Return the words that make the next one PID 1, or the reason why not."""
    words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if not shutil.which("unshare"):
        return "no unshare: apt-get install util-linux"
    for extra in ([], ["--map-root-user"]):
        probe = [*words, *extra, "sh", "-c", "echo $$"]
        result = run(*probe)
        if result.stdout == b"1\n":
            return [*words, *extra]
    why = result.stderr.decode().strip()
    return f"{' '.join(probe)}: {why}: needs root, or a kernel that lets users do it"


def namespace():
    """Return the words that make the next one PID 1 of a namespace, or skip."""
    command = namespace_command()
    if isinstance(command, str):
        pytest.skip(command)
    return command


def strace(*rules, follow=True, log="/dev/null"):
    """Return the words that run a command under strace with rules, or skip.

    What it does not trace, it does not stop for, if it follows children (without, it
    cannot). But with -DDD it may be ended before what it traces: see release().
    """
    options = ["-f"] if follow else []
    options += ["--seccomp-bpf"] if follow and "-DDD" not in rules else []
    need(tool("strace"), *options, "-o", "/dev/null", "true")
    return [tool("strace"), *options, "-qq", "-o", str(log), *rules]


def release(pid):
    """Let go at once what hold() holds up, by a process of it: without strace it goes on."""
    with contextlib.suppress(OSError):  # it has ended
        tracer = int(field(Path(f"/proc/{pid}/status").read_text(), "TracerPid"))
        if tracer:
            os.kill(tracer, signal.SIGKILL)


def has_come(pid, number):
    """Tell whether a signal waits in a process, or has ended it."""
    return state(pid) in ("Z", "") or number in mask(pid, "ShdPnd")


def all_blocked(pid):
    """Tell whether pyinit has blocked what it blocks. (musl blocks more, for a moment.)"""
    return mask(pid, "SigBlk") == {*PASSED_ON, signal.SIGCHLD}


def delay(call, seconds, rule="", when=""):
    """Return strace's rules that hold such system calls up: see strace(1) for when."""
    inject = f"inject={call}:{rule or 'delay_enter'}={seconds * 1e6:.0f}"
    inject += f":when={when}" if when else ""
    return ["-e", f"trace={call}", "-e", inject]


def hold(call, seconds=60, rule="", when="", follow=False, path=()):
    """Return the words that start pyinit with such system calls of it held up.

    strace is neither its parent nor in its session.
    """
    rules = ["-DDD", *path, *delay(call, seconds, rule, when)]
    return strace(*rules, follow=follow)


def hosted(body, *words):
    """Return the words that run a program that has imported pyinit."""
    start = f"import os, signal, sys; sys.path.insert(0, {str(ROOT)!r}); import pyinit"
    return [*HOST, "-c", f"{start}\n{body}", *words]


@functools.lru_cache(None)
def interpreters():
    """Return the words that start each interpreter that is here, by its version.

    "ours" is pyinit's own.
    """
    found = {"%d.%d" % sys.version_info[:2]: [sys.executable], "ours": [INTERPRETER]}
    for path in sorted(glob.glob(f"{PYENV}/versions/3.*/bin/python3")):
        found[".".join(Path(path).parts[-3].split(".")[:2])] = [path]
    library = f"{FORKY}/usr/lib/x86_64-linux-gnu"
    loader = [f"{FORKY}/lib64/ld-linux-x86-64.so.2", "--library-path", library]
    for path in sorted(glob.glob(f"{FORKY}/usr/bin/python3.[0-9]*")):
        found[Path(path).name[len("python") :]] = [*loader, path]
    others = {"Debian's": ["/usr/bin/python3"], "musl's": [MUSL]}
    others["pypy3"] = [*loader, f"{FORKY}/usr/bin/pypy3"]
    found.update((k, words) for k, words in others.items() if os.access(words[-1], 1))
    return found


def interpreter(version):
    """Return the words that start an interpreter, or skip."""
    if version not in interpreters():
        places = f"{PYENV}/versions, {FORKY} or {MUSL}"
        pytest.skip(f"no CPython {version} in {places}: .ci/run puts it there")
    return interpreters()[version]


def mask(pid, name):
    """Return the signals of a mask in /proc/PID/status as a set: "SigBlk", "ShdPnd" …"""
    try:
        bits = int(field(Path(f"/proc/{pid}/status").read_text(), name), 16)
    except OSError:  # there is no such process
        return set()
    return {number for number in range(1, 65) if bits >> (number - 1) & 1}


def mounted(command):
    """Return the words that run the next ones where a command has mounted things, or skip."""
    unshare = [tool("unshare"), "--mount", "sh", "-c", command + ' && exec "$@"', "sh"]
    need(*unshare, "true")
    return unshare


def need_proc():
    """Skip where /proc is not mounted, as in a bare chroot."""
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("/proc is not mounted: a test could not find its processes")


def open_terminal():
    """Open a pseudo-terminal; or skip, as in a chroot without /dev/pts."""
    try:
        return pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal can be opened: {error}")


@functools.lru_cache(None)
def need(*words, timeout=DEADLINE):
    """Run a command that has to succeed for a test to run here, or skip."""
    result = run(*words, timeout=timeout)
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip()
        pytest.skip(f"{shlex.join(result.args)}: {said or result.returncode}")


def executable(path, text, mode=0o755):
    """Write a file that can be executed, in a directory that may be new; return path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def field(text, name):
    """Return the value of a line "name: value" of a /proc/PID/status."""
    return re.search(rf"^{name}:\s*(.*)$", text, re.M).group(1)


PROMPT = "@prompt@ "
AT_PROMPT = re.escape(PROMPT)
ECHOES = ["sh", "-c", "echo up; while read line; do echo got $line; done"]


class Terminal:
    """A pseudo-terminal, and the program that has it as its controlling terminal.

    ours=False: it is nobody's controlling terminal. stdout=False: it is stdin alone.
    """

    def __init__(self, *argv, ours=True, stdout=True):
        self.master, slave = open_terminal()
        self.name = self.tty = os.ttyname(slave)
        self.slave = None  # for press()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~termios.ECHO
        # Without it the terminal, at a Ctrl-C, sends the signal and then throws away what
        # is on its way to us: the command's answer as well, if that was quick.
        attributes[3] |= termios.NOFLSH
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        env = {**os.environ, "PS1": PROMPT, "ENV": "", "HISTFILE": "", "TERM": "dumb"}

        def lead_session():
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        kwargs = {"stdin": slave}
        if stdout:
            kwargs.update(stdout=slave, stderr=slave)
        if ours and argv[0] == "unshare":
            # It is PID 1 that is to lead the session, not unshare.
            end = argv.index("--") + 1
            argv = [*argv[:end], tool("setsid"), "--ctty", *argv[end:]]
        elif ours:
            kwargs.update(preexec_fn=lead_session, start_new_session=False)
        self.process = Process(argv, env=env, **kwargs)
        os.close(slave)
        self.pid = self.process.pid
        self.seen = ""  # what no expect() has matched yet
        self.all = ""  # the whole transcript

    def type(self, text):
        os.write(self.master, text.encode())

    def write(self, text="\n"):  # as a Process has it
        self.type(text)

    def press(self, keys):
        """Press keys; return when the line discipline has dealt with them.

        A worker of the kernel's does it, for which poll(2) waits if nothing is to be
        read; and what was to be read, a key that sends a signal throws away.
        """
        self.open()
        self.type(keys)
        poll = select.poll()
        poll.register(self.slave, select.POLLIN)
        if keys.endswith("\n"):
            poll.poll(0)
        else:
            until(lambda: not poll.poll(0) and not self.unread(), "the key's signal")

    def open(self):
        """Open the program's end as well, to ask what is unread."""
        if self.slave is None:
            self.slave = os.open(self.tty, os.O_RDWR | os.O_NOCTTY)

    def unread(self):
        """Return how many bytes were typed that nobody has read."""
        empty = struct.pack("i", 0)
        return struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, empty))[0]

    def flush(self):
        """Throw away what was typed that nobody has read."""
        self.open()
        termios.tcflush(self.slave, termios.TCIFLUSH)

    def expect(self, *patterns):
        """Wait until each pattern has come, in this order; return what came with it."""
        before = ""
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
                self.seen += data.decode(errors="replace").replace("\r\n", "\n")
                self.all += data.decode(errors="replace")
                if self.process.popen.stdout is None:
                    self.process.out += data  # for the report of a failure
            found = re.search(pattern, self.seen, re.M)
            before, self.seen = self.seen[: found.end()], self.seen[found.end() :]
        return before

    def said(self, *lines):
        """Wait for these lines of the command's, whatever comes before."""
        return self.expect(*(f"^{re.escape(str(line))}\n" for line in lines))

    def status(self):
        return self.process.status()

    def run(self, command):
        """Type a command to the shell at its prompt; return its output."""
        self.type(command + "\n")
        return self.expect(AT_PROMPT)[: -len(PROMPT)]

    def start(self, *words, said="up\n", trace=()):
        """Type pyinit and these words to the shell; wait for what the command says."""
        self.type(f"{shlex.join([*trace, *PYINIT, *words])}\n")
        return self.expect(said)

    def suspend(self):
        """Type Ctrl-Z, which makes a job of what is in the foreground."""
        self.type("\x1a")
        return self.stopped()

    def stopped(self):
        """Wait until the shell says that a job is stopped, and is at its prompt."""
        return self.expect("Stopped", AT_PROMPT)

    def answers(self, *lines):
        """Type lines, each of which ECHOES is to read, and answer."""
        for line in lines:
            self.type(line + "\n")
            self.expect(f"got {line}\n")

    def leave(self, key, status):
        """End what is in the foreground by a key; see that the shell has its status."""
        self.type(key)
        self.expect(AT_PROMPT)
        assert re.fullmatch(f"{status}\n", self.run("echo $?"))

    def gets_once(self, init, key, number):
        """See that what a key or a resize sends comes to the reporter, and once."""
        for number_of_round in range(3):
            if key:
                self.type(key)
            else:
                self.resize(30 + number_of_round, 100)
            self.expect(f"^{number:d}\n")
            # A second one would come before this: it has the higher number.
            os.kill(init, signal.SIGRTMAX)
            assert self.expect("^64\n") == "64\n"

    def resize(self, rows, columns):
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def foreground(self):
        return os.tcgetpgrp(self.master)

    def close(self):
        for end in (self.master, self.slave):
            if end is not None:
                os.close(end)
        self.master = self.slave = None


# --- Where pyinit leads a terminal's session, or is where no shell can resume it: each
# takes the fixture terminal and pyinit's words, and returns a Terminal; .init is pyinit.


def as_container(terminal, *words, trace=(), **kwargs):
    """As docker run -it has it: PID 1."""
    screen = terminal(*namespace(), "--", *trace, *PYINIT, *words, **kwargs)
    screen.init = only_child(screen.pid)
    return screen


def as_exec(terminal, *words, trace=(), **kwargs):
    """As docker exec -it has it: not PID 1."""
    screen = terminal(*trace, *PYINIT, *words, **kwargs)
    screen.init = screen.pid
    return screen


def as_script(terminal, *words, trace=()):
    """In the group of a shell without job control that leads the session."""
    words = [*trace, *PYINIT, *words]
    screen = terminal("sh", "-c", 'trap : INT QUIT; "$@"', "sh", *words)
    screen.init = only_child(screen.pid)
    return screen


def stage(pid):
    """Return what pyinit does: "stopping", "resumed", and does not know it, or "on".

    It lets SIGTSTP alone through to be stopped; sigtimedwait(2) lets all through.
    """
    if mask(pid, "SigBlk") & {signal.SIGCONT, signal.SIGTSTP} == {signal.SIGCONT}:
        return "stopping"
    return "resumed" if signal.SIGCONT in mask(pid, "ShdPnd") else "on"


INIT = shlex.join(PYINIT)
BASH = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
KEYS = [("\x03", signal.SIGINT), ("\x1c", signal.SIGQUIT), (None, signal.SIGWINCH)]
