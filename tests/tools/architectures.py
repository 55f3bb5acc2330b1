#!/usr/bin/env python3
"""Run pyinit on other architectures: Debian's python3 for them, by qemu-user.

Numbers of signals and of errors differ between them, MIPS's most of all: SIGUSR1 is 16
there, which is SIGSTKFLT elsewhere, SIGCHLD 18, ELOOP 90, and it has 127 signals.

Needs root, debootstrap, qemu-user-static, and Linux 6.7 or later: from then on a user
namespace has a binfmt_misc of its own, so that nothing of the machine's is changed. The
roots are made by debootstrap --foreign, whose second half, on the other architecture, is
not needed: what it has fetched is unpacked here. They are kept for the next time.
"""

import argparse
import ast
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import PYINIT_FILE, Terminal, executable, run, tool

ROOTS = Path("/var/tmp/pyinit/architectures")
QEMU = {"arm64": "aarch64", "mips64el": "mips64el", "s390x": "s390x", "armhf": "arm",
        "i386": "i386", "ppc64el": "ppc64le", "riscv64": "riscv64"}  # fmt: skip
DEFAULT = ["mips64el", "arm64", "s390x"]
PYTHON = ["/usr/bin/python3", "-IS"]


# === Make a root ======================================================================
def make(arch):
    """Make a root of an architecture, if there is none yet."""
    root, done = ROOTS / arch, ROOTS / f"{arch}.done"
    if done.exists():
        return
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian"]
    words += ["Identifier: Packages"]
    mirror = run(*words, check=True).stdout.decode()
    shutil.rmtree(root, ignore_errors=True)
    ROOTS.mkdir(parents=True, exist_ok=True)
    with open(ROOTS / f"{arch}.log", "wb") as log:
        options = ["--foreign", "--no-check-gpg", "--variant=minbase", f"--arch={arch}"]
        words = ["debootstrap", *options, "--include=python3-minimal", "bookworm", root]
        words.append(mirror.split()[0])
        subprocess.run(words, stdout=log, stderr=log, check=True)
        for package in sorted(root.glob("var/cache/apt/archives/*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True, stderr=log)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    done.touch()


# === In the namespace: the other architecture's programs run as if they were ours ======
def register(arch):
    """Let the kernel start this architecture's programs by qemu, in our namespace only."""
    words = ["mount", "-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc"]
    run(*words, check=True)
    rule = Path(f"/usr/lib/binfmt.d/qemu-{QEMU[arch]}.conf").read_text().strip()
    fields = rule.split(":")
    # P: argv[0] stays what it is. F: the interpreter is opened now, outside the root.
    fields[6:] = [f"/usr/bin/qemu-{QEMU[arch]}-static", "FP"]
    Path("/proc/sys/fs/binfmt_misc/register").write_text(":".join(fields))


class Machine:
    """The root of an architecture, with pyinit in it, and what it says of itself."""

    root, tmp = Path("/mnt"), Path("/mnt/tmp")

    def __init__(self, root, pyinit):
        run("mount", "--bind", root, self.root, check=True)
        run("mount", "-t", "tmpfs", "none", self.tmp, check=True)
        run("mount", "--rbind", "/dev", self.root / "dev", check=True)
        executable(self.tmp / "pyinit.py", pyinit.read_bytes())
        ask = (
            "import os, signal; print(["
            "{s.name: int(s) for s in signal.Signals},"
            "os.uname()[4], [int(signal.SIGRTMIN), int(signal.SIGRTMAX)]])"
        )
        status, out, err = self.run(*PYTHON, "-c", ask)
        assert status == 0, f"its Python does not run here: {status} {err}"
        self.signals, self.name, self.real_time = ast.literal_eval(out)

    def words(self, *words):
        """Return the words that run these in the root, as PID 1 of their namespace."""
        # By their paths, since PATH is the one that pyinit is to have.
        inside = (
            f'{tool("mount")} -t proc proc "$0"/proc && exec {tool("chroot")} "$0" "$@"'
        )
        space = [tool("unshare"), "--pid", "--mount", "--fork", "--kill-child", "--"]
        return [*space, "/bin/sh", "-c", inside, self.root, *words]

    def run(self, *words, path="/usr/bin:/bin"):
        result = run(*self.words(*words), env={"PATH": path})
        status = result.returncode
        status = 128 - status if status < 0 else status
        return status, result.stdout.decode(errors="replace"), result.stderr.decode()

    def pyinit(self, *words, **kwargs):
        return self.run(*PYTHON, "/tmp/pyinit.py", *words, **kwargs)


# === What is checked ==================================================================
def same(got, expected):
    assert got == expected, f"got {got!r}, not {expected!r}"


def it_starts_and_ends(m):
    same(m.pyinit("sh", "-c", "uname -m; exit 7"), (7, f"{m.name}\n", ""))
    same(m.run("/tmp/pyinit.py", "--", "echo", "x", "", "-v")[:2], (0, "x  -v\n"))
    same(m.pyinit("-e", "9", "sh", "-c", "exit 9")[0], 0)
    for name in ("USR1", "USR2", "TERM", "KILL", "BUS", "SYS", "XCPU"):
        status, _, err = m.pyinit("-v", "sh", "-c", f"kill -s {name} $$")
        same(status, 128 + m.signals[f"SIG{name}"])
        assert f"was ended by SIG{name}" in err, err


# The command sends each signal to pyinit, and waits for it to come back.
ECHO = """
import os, signal
numbers = [n for n in range(1, int(signal.SIGRTMAX) + 1) if n not in (32, 33)]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
left_out = ["KILL", "STOP", "CHLD", "TSTP", "TTIN", "TTOU", "CONT"]
# With these qemu ends the program, although it has them blocked.
left_out += ["SEGV", "BUS", "ILL", "FPE", "TRAP"]
left_out = [getattr(signal, "SIG" + name) for name in left_out]
tried = []
for n in numbers:
    if n in left_out:
        continue
    try:
        os.kill(os.getpid(), n)  # qemu does not have all of MIPS's 127
    except (OSError, ValueError):
        continue
    if signal.sigtimedwait([n], 5) is None:
        continue
    os.kill(os.getppid(), n)
    got = signal.sigtimedwait(numbers, 60)
    assert got is not None and got.si_signo == n, (n, got)
    tried.append(n)
print(*tried)
"""


def each_signal_is_passed_on(m):
    status, out, err = m.pyinit("-v", *PYTHON, "-c", ECHO)
    same(status, 0 if not err.count("Error") else err)
    tried = [int(word) for word in out.split()]
    assert len(tried) > 40, tried
    names = {number: name for name, number in reversed([*m.signals.items()])}
    lowest = m.real_time[0]
    for n in tried:
        name = names.get(n) or ("SIGSTKFLT" if n == 16 else f"SIGRTMIN+{n - lowest}")
        # (Of CLD and POLL, the second names of CHLD and IO, either will do.)
        also = [key for key, number in m.signals.items() if number == n] + [name]
        assert any(f" {one}: sent {one} to " in err for one in also), (n, also, err)
    return f"{len(tried)} signals, {tried[-1]} the highest"


def names_and_numbers(m):
    usr1, term = m.signals["SIGUSR1"], m.signals["SIGTERM"]
    program = "trap 'echo term; exit 3' TERM; kill -s USR1 $PPID; sleep 60 & wait"
    for rule in ("USR1:TERM", "sigusr1:SIGTERM", f"{usr1}:{term}", f"USR1:{term}"):
        status, out, err = m.pyinit("-vr", rule, "sh", "-c", program)
        same((status, out), (3, "term\n"))
        assert "SIGUSR1: sent SIGTERM to " in err and "STKFLT" not in err, err
    # STKFLT is where Python, from 3.11 on, has it; or 16, where that is nothing else.
    there = "SIGSTKFLT" in m.signals or 16 not in m.signals.values()
    same(m.pyinit("-r", "STKFLT:TERM", "true")[0], 0 if there else 2)
    same(m.pyinit("-r", "RTMAX:TERM", "-r", f"RTMIN+1:{m.real_time[1]}", "true")[0], 0)
    same(m.pyinit("-r", f"{m.real_time[1] + 1}:TERM", "true")[0], 2)
    same(m.pyinit("-r", f"{m.signals['SIGCHLD']}:TERM", "true")[0], 2)


NOT_THERE = "No such file or directory"


def what_is_run_and_what_not(m):
    """ELOOP, ENAMETOOLONG and others have other numbers on MIPS: errno(3)."""
    executable(m.tmp / "one/thing", "x", mode=0o644)
    executable(m.tmp / "two/thing", "#!/bin/sh\necho two\n")
    executable(m.tmp / "text", 'echo "$0 $1"; exit 6\n')
    executable(m.tmp / "crlf", "#!/bin/sh\r\n")
    image = bytearray((m.root / "usr/bin/true").read_bytes())
    image[18:20] = b"\xfe\xfe"  # what is a program of no machine is no text
    executable(m.tmp / "foreign", bytes(image))
    (m.tmp / "loop").symlink_to("loop")
    for words, status, said in (
        (["no-such"], 127, NOT_THERE),
        (["/tmp/one/thing"], 126, "Permission denied"),
        (["/tmp/foreign"], 126, "Exec format error"),
        (["/tmp/loop"], 126, "Too many levels of symbolic links"),
        (["/tmp/crlf"], 127, f"interpreter /bin/sh\\r: {NOT_THERE}"),
        (["n" * 300], 126, "File name too long"),
    ):
        same(m.pyinit(*words), (status, "", f"[pyinit] {words[0]}: {said}\n"))
    same(m.pyinit("/tmp/text", "a b"), (6, "/tmp/text a b\n", ""))
    for before in ("/no-such", "/tmp/text", "/tmp/one", "/tmp/loop"):
        got = m.pyinit("thing", path=f"{before}:/tmp/two:/usr/bin")
        same(got, (0, "two\n", ""))
    got = m.pyinit("thing", path="/tmp/one:/no-such")
    same(got, (126, "", "[pyinit] thing: Permission denied\n"))


def zombies_are_reaped(m):
    program = "for i in 1 2 3 4 5; do (sleep 0 &); done; sleep 1; ls /proc; exit 4"
    status, _, err = m.pyinit("-v", "sh", "-c", program)
    same((status, err.count("reaped ")), (4, 5))


# By PID 1 they are passed on; the command waits for each, and for what resumes it.
STOPS = """
import os, signal, sys, time
read, write = os.pipe()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT, signal.SIGTERM])
command = os.getpid()
if not os.fork():
    os.setsid()
    for name in ('TSTP', 'TTIN', 'TTOU'):
        os.kill(1, getattr(signal, 'SIG' + name))
        while open(f'/proc/{command}/stat').read().rpartition(')')[2].split()[0] != 'T':
            time.sleep(0.05)
        os.kill(1, signal.SIGCONT)
        os.read(read, 1)
    os.kill(1, signal.SIGTERM)
    os._exit(0)
while True:
    number = signal.sigwait([signal.SIGCONT, signal.SIGTERM])
    print(number.name, flush=True)
    os.write(write, b'.')
    if number == signal.SIGTERM: sys.exit(8)
"""


def a_stop_and_its_end(m):
    """TSTP, TTIN, TTOU and CONT have other numbers on MIPS."""
    status, out, err = m.pyinit("-v", *PYTHON, "-c", STOPS)
    same((status, out), (8, "SIGCONT\n" * 3 + "SIGTERM\n"))
    for name in ("SIGTSTP", "SIGTTIN", "SIGTTOU"):
        assert f"{name}: sent SIGSTOP to group" in err, err


def ctrl_c_at_a_terminal(m):
    shown = "trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.2; done"
    screen = Terminal(*m.words(*PYTHON, "/tmp/pyinit.py", "sh", "-c", shown))
    try:
        screen.expect("up\n")
        screen.type("\x03")
        screen.expect("int\n")
        same(screen.status(), 3)
    finally:
        screen.process.clean()
        screen.close()


CHECKS = [
    it_starts_and_ends,
    each_signal_is_passed_on,
    names_and_numbers,
    what_is_run_and_what_not,
    zombies_are_reaped,
    a_stop_and_its_end,
    ctrl_c_at_a_terminal,
]


def check(arch, pyinit):
    """Run the checks on an architecture; return the number of those that have failed."""
    register(arch)
    machine, failed = Machine(ROOTS / arch, pyinit), 0
    usr1, rtmax = machine.signals["SIGUSR1"], machine.real_time[1]
    print(f"{arch}: {machine.name}, SIGUSR1 is {usr1}, SIGRTMAX {rtmax}", flush=True)
    for one in CHECKS:
        before = time.monotonic()
        try:
            result = one(machine) or "ok"
        except (
            AssertionError,
            subprocess.TimeoutExpired,
            pytest.fail.Exception,
        ) as why:
            failed += 1
            result = f"FAILED: {why}"
        took = time.monotonic() - before
        print(f"  {one.__name__.replace('_', ' ')}: {took:.1f} s, {result}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = f"of {', '.join(QEMU)} (default: {' '.join(DEFAULT)})"
    choices = [[], *QEMU]
    add = parser.add_argument
    add("arch", nargs="*", help=names, choices=choices, metavar="ARCH")
    add("--pyinit", type=Path, default=PYINIT_FILE, help="the file to run")
    add("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.exit(check(options.arch[0], options.pyinit) > 0)
    status = 0
    for arch in options.arch or DEFAULT:
        for name in ("debootstrap", "dpkg-deb", f"qemu-{QEMU[arch]}-static"):
            if not shutil.which(name):
                parser.exit(3, f"{name} is not installed\n")
        print(f"{arch}: its root is {ROOTS / arch}", flush=True)
        make(arch)
        space = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
        space += ["--mount-proc", "--kill-child", "--"]
        words = [sys.executable, __file__, "--inside", arch]
        words += ["--pyinit", options.pyinit.resolve()]
        result = subprocess.run([*space, *words], stdin=subprocess.DEVNULL)
        status = status or result.returncode
    sys.exit(status)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
