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
import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
QEMU = {"arm64": "aarch64", "mips64el": "mips64el", "s390x": "s390x"}
QEMU.update(
    {"armhf": "arm", "i386": "i386", "ppc64el": "ppc64le", "riscv64": "riscv64"}
)
DEFAULT = ["mips64el", "arm64", "s390x"]
TIMEOUT = 120  # seconds; emulated, all takes some ten times as long
INIT = ["/usr/bin/python3", "-IS", "/pyinit.py"]


# === Make a root ======================================================================
def make(arch, directory):
    """Make a root of an architecture, if there is none yet."""
    root, done = directory / arch, directory / f"{arch}.done"
    if done.exists():
        return root
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian"]
    words += ["Identifier: Packages"]
    mirror = subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout.decode()
    shutil.rmtree(root, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / f"{arch}.log", "wb") as log:
        options = ["--foreign", "--no-check-gpg", "--variant=minbase", f"--arch={arch}"]
        words = ["debootstrap", *options, "--include=python3-minimal", "bookworm", root]
        words.append(mirror.split()[0])
        subprocess.run(words, stdout=log, stderr=log, check=True)
        for package in sorted(root.glob("var/cache/apt/archives/*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True, stderr=log)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    done.touch()
    return root


# === In the namespace: the other architecture's programs run as if they were ours ======
def register(arch):
    """Let the kernel start this architecture's programs by qemu, in our namespace only."""
    words = ["mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc"]
    subprocess.run(words, check=True)
    rule = Path(f"/usr/lib/binfmt.d/qemu-{QEMU[arch]}.conf").read_text().strip()
    fields = rule.split(":")
    # P: argv[0] stays what it is. F: the interpreter is opened now, outside the root.
    fields[6:] = [f"/usr/bin/qemu-{QEMU[arch]}-static", "FP"]
    Path("/proc/sys/fs/binfmt_misc/register").write_text(":".join(fields))


def which(name):
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")


class Machine:
    """The root of an architecture, with pyinit in it, and what it says of itself."""

    def __init__(self, root, pyinit):
        self.root = Path("/mnt")
        subprocess.run(["mount", "--bind", root, self.root], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", self.root / "tmp"], check=True)
        subprocess.run(["mount", "--rbind", "/dev", self.root / "dev"], check=True)
        shutil.copy(pyinit, self.root / "tmp" / "pyinit.py")
        (self.root / "tmp" / "pyinit.py").chmod(0o755)
        (self.root / "pyinit.py").unlink(missing_ok=True)
        (self.root / "pyinit.py").symlink_to("tmp/pyinit.py")
        ask = (
            "import errno, os, signal; print(["
            "{s.name: int(s) for s in signal.Signals},"
            "{n: getattr(errno, n) for n in dir(errno) if n[0] == 'E'},"
            "os.uname()[4], [int(signal.SIGRTMIN), int(signal.SIGRTMAX)]])"
        )
        status, out, err = self.run("/usr/bin/python3", "-IS", "-c", ask)
        assert status == 0, f"its Python does not run here: {status} {err}"
        self.signals, self.errors, self.name, self.real_time = ast.literal_eval(out)

    def words(self, *words):
        """Return the words that run these in the root, as PID 1 of their namespace."""
        # By their paths: PATH is the one that pyinit is to have.
        inside = f'{which("mount")} -t proc proc "$0"/proc && exec {which("chroot")} "$0" "$@"'
        unshare = [which("unshare"), "--pid", "--mount", "--fork", "--kill-child", "--"]
        return [*unshare, "/bin/sh", "-c", inside, self.root, *words]

    def run(self, *words, **kwargs):
        """Run a program to its end; return its status, stdout and stderr."""
        env = {"PATH": "/usr/bin:/bin", **kwargs.pop("env", {})}
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        pipe = subprocess.PIPE
        result = subprocess.run(
            self.words(*words),
            env=env,
            stdout=pipe,
            stderr=pipe,
            timeout=TIMEOUT,
            **kwargs,
        )
        status = result.returncode
        status = 128 - status if status < 0 else status
        return status, result.stdout.decode(errors="replace"), result.stderr.decode()

    def pyinit(self, *words, **kwargs):
        return self.run(*INIT, *words, **kwargs)

    def write(self, name, content, mode=0o755):
        path = self.root / "tmp" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return f"/tmp/{name}"


# === What is checked ==================================================================
def same(got, expected):
    assert got == expected, f"got {got!r}, not {expected!r}"


def it_starts(m):
    same(m.pyinit("sh", "-c", "uname -m; exit 7"), (7, f"{m.name}\n", ""))
    same(m.run("/pyinit.py", "--", "echo", "x", "", "-v")[:2], (0, "x  -v\n"))
    same(m.pyinit("--version")[0], 0)


def exit_statuses(m):
    for status in (0, 1, 2, 127, 255):
        same(m.pyinit("sh", "-c", f"exit {status}")[0], status)
    same(m.pyinit("-e", "9", "sh", "-c", "exit 9")[0], 0)
    for name in (
        "SIGUSR1",
        "SIGUSR2",
        "SIGTERM",
        "SIGKILL",
        "SIGBUS",
        "SIGSYS",
        "SIGXCPU",
    ):
        short = name[3:]
        status, _, err = m.pyinit("-v", "sh", "-c", f"kill -s {short} $$")
        same(status, 128 + m.signals[name])
        assert f"was ended by {name}" in err, err


# The command sends each signal to pyinit, and waits for it to come back.
ECHO = """
import os, signal
numbers = [n for n in range(1, int(signal.SIGRTMAX) + 1) if n not in (32, 33)]
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
left_out = ["KILL", "STOP", "CHLD", "TSTP", "TTIN", "TTOU", "CONT"]
left_out += ["SEGV", "BUS"]  # with these qemu ends a program that has them blocked
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
    status, out, err = m.pyinit("-v", "/usr/bin/python3", "-IS", "-c", ECHO)
    same(status, 0 if not err.count("Error") else err)
    tried = [int(word) for word in out.split()]
    assert len(tried) > 50, tried
    names = {number: name for name, number in reversed([*m.signals.items()])}
    lowest = m.real_time[0]
    for n in tried:
        name = names.get(n) or ("SIGSTKFLT" if n == 16 else f"SIGRTMIN+{n - lowest}")
        # (Of CLD and POLL, the second names of CHLD and IO, either will do.)
        also = [key for key, number in m.signals.items() if number == n] + [name]
        assert any(f" {one}: sent {one} to " in err for one in also), (
            n,
            also,
            err[-3000:],
        )
    return f"{len(tried)} signals, {tried[-1]} the highest"


def names_and_numbers(m):
    usr1, term = m.signals["SIGUSR1"], m.signals["SIGTERM"]
    program = (
        "trap 'echo term; exit 3' TERM; kill -s USR1 $PPID; while :; do sleep 1; done"
    )
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


def what_cannot_be_run(m):
    same(
        m.pyinit("no-such"), (127, "", "[pyinit] no-such: No such file or directory\n")
    )
    name = m.write("plain", "x", 0o644)
    same(m.pyinit(name), (126, "", f"[pyinit] {name}: Permission denied\n"))
    # errno(3): ELOOP and ENAMETOOLONG have other numbers on MIPS.
    (m.root / "tmp/loop").unlink(missing_ok=True)
    (m.root / "tmp/loop").symlink_to("loop")
    status, _, err = m.pyinit("/tmp/loop")
    assert status == 126 and "Too many levels of symbolic links" in err, (status, err)
    status, _, err = m.pyinit("n" * 300)
    assert status in (126, 127) and err.count("\n") == 1, (status, err)


def a_text_is_run_by_sh(m):
    name = m.write("text", 'echo "$0 $1"; exit 6\n')
    same(m.pyinit(name, "a b"), (6, f"{name} a b\n", ""))
    # ENOEXEC is 8 everywhere; but what is a program of no machine is no text.
    image = bytearray((m.root / "usr/bin/true").read_bytes())
    image[18:20] = b"\xfe\xfe"
    name = m.write("foreign", bytes(image))
    same(m.pyinit(name), (126, "", f"[pyinit] {name}: Exec format error\n"))


def the_search_in_path(m):
    m.write("one/thing", "x", 0o644)
    m.write("two/thing", "#!/bin/sh\necho two\n")
    m.write("file", "")
    m.write("three/thing", "#!/bin/sh\necho three\n")
    (m.root / "tmp/self").unlink(missing_ok=True)
    (m.root / "tmp/self").symlink_to("self")
    for before in ("/no-such", "/tmp/file", "/tmp/one", "/tmp/one:/no-such:/tmp/file"):
        got = m.pyinit("thing", env={"PATH": f"{before}:/tmp/two:/tmp/three:/usr/bin"})
        same(got, (0, "two\n", ""))
    got = m.pyinit("thing", env={"PATH": "/tmp/one:/no-such"})
    same(got, (126, "", "[pyinit] thing: Permission denied\n"))


def a_missing_interpreter(m):
    name = m.write("crlf", "#!/bin/sh\r\necho\r\n")
    status, _, err = m.pyinit(name)
    assert status == 127 and r"/bin/sh\r" in err, (status, err)


def zombies_and_grace(m):
    program = "for i in 1 2 3 4 5; do (sleep 0 &); done; sleep 1; ls /proc; exit 4"
    status, out, err = m.pyinit("-v", "sh", "-c", program)
    same(status, 4)
    same(err.count("reaped "), 5)
    # (The binary is named, since sh would have it run and end by SIGTERM.)
    leave = "(trap '' TERM; setsid sleep 1000 &) ; sleep 1; exit 5"
    before = time.monotonic()
    status, _, err = m.pyinit("-v", "--grace", "1", "sh", "-c", leave)
    same(status, 5)
    assert "grace is over: sent SIGKILL to everybody" in err, err
    assert time.monotonic() - before < 60


def a_stop_and_its_end(m):
    # TSTP, TTIN, TTOU and CONT have other numbers on MIPS: by PID 1 they are passed on.
    program = (
        "import os, signal, sys, time\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    os.setsid()\n"
        "    for name in ('TSTP', 'TTIN', 'TTOU'):\n"
        "        os.kill(1, getattr(signal, 'SIG' + name))\n"
        "        time.sleep(1)\n"
        "        os.kill(1, signal.SIGCONT)\n"
        "        time.sleep(1)\n"
        "    os.kill(1, signal.SIGTERM)\n"
        "    os._exit(0)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT, signal.SIGTERM])\n"
        "while True:\n"
        "    number = signal.sigwait([signal.SIGCONT, signal.SIGTERM])\n"
        "    print(number.name, flush=True)\n"
        "    if number == signal.SIGTERM: sys.exit(8)\n"
    )
    status, out, err = m.pyinit("-v", "/usr/bin/python3", "-IS", "-c", program)
    same((status, out), (8, "SIGCONT\n" * 3 + "SIGTERM\n"))
    for name in ("SIGTSTP", "SIGTTIN", "SIGTTOU"):
        assert f"{name}: sent SIGSTOP to group" in err, err


def ctrl_c_at_a_terminal(m):
    master, slave = pty.openpty()
    words = ["setsid", "--ctty", "--wait", *map(str, m.words(*INIT))]
    shown = "trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.2; done"
    child = subprocess.Popen(
        [*words, "sh", "-c", shown],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={"PATH": "/usr/bin:/bin"},
    )
    os.close(slave)
    said, deadline, typed = b"", time.monotonic() + TIMEOUT, False
    while time.monotonic() < deadline:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            data = os.read(master, 1000)
        except OSError:
            break
        if not data:
            break
        said += data
        if b"up\r\n" in said and not typed:
            os.write(master, b"\x03")
            typed = True
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(10)
    if child.poll() is None:
        child.kill()
    os.close(master)
    assert b"int\r\n" in said, said
    same(child.returncode, 3)


def words_are_bytes(m):
    words = [bytes(range(1, 256)), b"", b"\xff\xfe", "日本語".encode(), b"--ver", b""]
    env = {"LC_ALL": "C.UTF-8"}
    for options in ([], ["-c", "--"]):
        got = subprocess.run(
            m.words(*INIT, *options, "printf", r"%s\0", *words),
            env={"PATH": "/usr/bin:/bin", **env},
            stdout=subprocess.PIPE,
            timeout=TIMEOUT,
        )
        same((got.returncode, got.stdout.split(b"\0")[:-1]), (0, words))


CHECKS = [
    it_starts,
    exit_statuses,
    each_signal_is_passed_on,
    names_and_numbers,
    what_cannot_be_run,
    a_text_is_run_by_sh,
    the_search_in_path,
    a_missing_interpreter,
    zombies_and_grace,
    a_stop_and_its_end,
    ctrl_c_at_a_terminal,
    words_are_bytes,
]


def check(arch, root, pyinit, chosen):
    """Run the checks on an architecture; return the number of those that have failed."""
    register(arch)
    machine = Machine(root, pyinit)
    usr1, rtmax = machine.signals["SIGUSR1"], machine.real_time[1]
    print(f"{arch}: {machine.name}, SIGUSR1 is {usr1}, SIGRTMAX {rtmax}", flush=True)
    failed = 0
    for one in CHECKS:
        if chosen and one.__name__ not in chosen:
            continue
        before = time.monotonic()
        try:
            result = one(machine) or "ok"
        except (AssertionError, subprocess.SubprocessError) as error:
            failed += 1
            result = f"FAILED: {error}"
        took = time.monotonic() - before
        print(f"  {one.__name__.replace('_', ' ')}: {took:.1f} s, {result}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    help = f"of Debian's names, one of {', '.join(QEMU)} (default: {' '.join(DEFAULT)})"
    parser.add_argument(
        "arch", nargs="*", help=help, choices=[[], *QEMU], metavar="ARCH"
    )
    add = parser.add_argument
    default = "/var/tmp/pyinit/architectures"
    add(
        "--roots",
        type=Path,
        default=default,
        help=f"where they are (default: {default})",
    )
    add("--pyinit", type=Path, default=ROOT / "pyinit.py", help="the file to run")
    add("--check", action="append", choices=[one.__name__ for one in CHECKS])
    add("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        (arch,) = options.arch
        sys.exit(check(arch, options.roots / arch, options.pyinit, options.check) > 0)
    for name in ("debootstrap", "dpkg-deb", "unshare"):
        if not shutil.which(name):
            parser.exit(3, f"{name} is not installed\n")
    status = 0
    for arch in options.arch or DEFAULT:
        if not shutil.which(f"qemu-{QEMU[arch]}-static"):
            parser.exit(3, "qemu-user-static is not installed\n")
        before = time.monotonic()
        make(arch, options.roots)
        made = time.monotonic() - before
        space = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"]
        space += ["--mount-proc", "--kill-child", "--"]
        words = [sys.executable, __file__, "--inside", arch, "--roots", options.roots]
        words += ["--pyinit", options.pyinit.resolve()]
        words += [f"--check={name}" for name in options.check or []]
        result = subprocess.run([*space, *words], stdin=subprocess.DEVNULL)
        status = status or result.returncode
        took = time.monotonic() - before - made
        print(f"{arch}: the root {made:.0f} s, the checks {took:.0f} s", flush=True)
    sys.exit(status)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
