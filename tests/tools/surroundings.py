#!/usr/bin/env python3
"""Surroundings in which a command is started, and what it then sees.

Run as a program it prints a table: how often, in one run, each init that is installed
changes what the command sees, and in which surroundings.
"""

import argparse
import contextlib
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where support.py is
from support import PASSED_ON, PROGRAMS, PYINIT, namespace_command

PLAIN = {b"PATH": b"/usr/local/bin:/usr/bin:/bin", b"LANG": b"C.UTF-8", b"HOME": b"/"}
C_LOCALE = {b"PATH": PLAIN[b"PATH"]}
SIGPIPES = (signal.SIGPIPE, signal.SIGXFSZ)
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 28, 38, 24
TIMEOUT = 10  # seconds, after which an init counts as hanging


def prctl(option, value):
    assert ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0


def ignore(*numbers):
    return lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers]


def block(*numbers):
    return lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def close(*descriptors):
    return lambda: [os.close(descriptor) for descriptor in descriptors]


def pending():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGRTMAX])
    os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGRTMAX)


def descriptors():
    directory = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    file = os.open("/etc/passwd", os.O_RDONLY)
    os.lseek(file, 17, os.SEEK_SET)
    left, right = socket.socketpair()
    for number, source in ((5, directory), (9, file), (63, left), (700, right)):
        os.dup2(source if not hasattr(source, "fileno") else source.fileno(), number)
    os.closerange(10, 63)
    os.closerange(64, 700)
    os.closerange(701, 1024)


def deleted(directory):
    """Return what enters a deleted directory: the same each time, not another alike."""
    directory.mkdir()
    descriptor = os.open(directory, os.O_RDONLY)
    directory.rmdir()
    return lambda: os.fchdir(descriptor)


def full_stderr():
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def broken_stderr():
    read, write = os.pipe()
    os.dup2(write, 2)
    os.close(read)
    os.close(write)


def limits():
    resource.setrlimit(resource.RLIMIT_NOFILE, (777, 888))
    resource.setrlimit(resource.RLIMIT_CORE, (1234, 5678))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**7, 10**8))
    resource.setrlimit(resource.RLIMIT_STACK, (10**7, 10**8))


def scheduling():
    os.nice(5)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def oom():
    Path("/proc/self/oom_score_adj").write_text("321")


def few_capabilities():
    for number in (0, 5, 21):
        prctl(PR_CAPBSET_DROP, number)


def hostile(directory):
    """PYTHON* variables that break any Python that heeds them."""
    for name in ("os", "signal", "argparse", "enum", "sitecustomize"):
        (directory / f"{name}.py").write_text("raise SystemExit('hostile')\n")
    values = {
        "PYTHONPATH": directory,
        "PYTHONHOME": "/nonexistent",
        "PYTHONINSPECT": "1",
        "PYTHONSTARTUP": directory / "os.py",
        "PYTHONVERBOSE": "3",
        "PYTHONWARNINGS": "error",
        "PYTHONIOENCODING": "nonsense",
        "PYTHONCOERCECLOCALE": "warn",
        "PYTHONUTF8": "0",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONBREAKPOINT": "os.abort",
        "PYTHONPLATLIBDIR": "nonsense",
        "PYTHONNOUSERSITE": "",
    }
    values = {os.fsencode(k): os.fsencode(v) for k, v in values.items()}
    return {**C_LOCALE, **values}


class Surrounding:
    """What is done in a process before it becomes the init, or the probe itself."""

    def __init__(self, name, env=PLAIN, setup=None, args=(), prefix=(), root=False):
        self.name, self.env, self.setup = name, env, setup
        self.args, self.prefix, self.root = list(args), list(prefix), root


def locales():
    for variable in (b"LANG", b"LC_ALL", b"LC_CTYPE"):
        for value in (b"C", b"POSIX", b"C.UTF-8", b"", b"xx_YY.nonsense", b"UTF-8"):
            name = f"{variable.decode()}={value.decode()}"
            env = {b"FIRST": b"1", variable: value, b"LAST": b"1"}
            yield Surrounding(name, {**C_LOCALE, **env})
    yield Surrounding("LC_CTYPE=C first", {b"LC_CTYPE": b"C", **C_LOCALE})
    last = {b"LANG": b"C", b"LC_CTYPE": b"C.UTF-8"}
    yield Surrounding("LC_CTYPE=C.UTF-8 last", {**C_LOCALE, **last})


def unshared(command):
    """Run the rest in a mount namespace, after a shell command in it."""
    program = command + '; exec "$@"'
    return [shutil.which("unshare") or "unshare", "--mount", "sh", "-c", program, "sh"]


def surroundings(scratch):
    """Return all of them; scratch is an empty directory."""
    raw = scratch / "environment"
    raw.write_bytes(b"A=1\0A=2\0nothing\0=x\0B=\xff\n\0LC_CTYPE=\0A=3\0PATH=/bin\0")
    coerced = scratch / "coerced"
    coerced.write_bytes(b"A=1\0B=\xff\0A=2\0PATH=/bin\0")
    odd = {b"\xff\xfe": b"\xfd", b"EMPTY": b"", b"LINES": b"a\nb\n", b"a b": b"=c="}
    no_proc = unshared("mount -t tmpfs none /proc")
    everything = [number for number in PASSED_ON if number not in SIGPIPES]
    (scratch / "hostile").mkdir()
    return [
        Surrounding("plain"),
        Surrounding("no environment", {}),
        *locales(),
        Surrounding(
            "odd arguments", C_LOCALE, args=[b"\xff", b"", b"a\nb", b"-v", b"--"]
        ),
        Surrounding("odd variables", {**C_LOCALE, **odd}),
        Surrounding("repeated and malformed variables", prefix=["--env", raw]),
        Surrounding("repeated variables, no locale", prefix=["--env", coerced]),
        Surrounding("hostile PYTHON variables", hostile(scratch / "hostile")),
        Surrounding("SIGINT and SIGTERM blocked", setup=block(2, 15)),
        Surrounding("all signals blocked", setup=block(*PASSED_ON, signal.SIGCHLD)),
        Surrounding("SIGCHLD ignored", setup=ignore(signal.SIGCHLD)),
        Surrounding("SIGINT and SIGQUIT ignored", setup=ignore(2, 3)),
        Surrounding("TSTP, TTIN, TTOU ignored", setup=ignore(20, 21, 22)),
        Surrounding("all signals ignored", setup=ignore(*everything, signal.SIGCHLD)),
        Surrounding("signals pending", setup=pending, args=[b"pending"]),
        Surrounding("descriptors inherited", setup=descriptors),
        Surrounding("stdin closed", setup=close(0)),
        Surrounding("stdout closed", setup=close(1)),
        Surrounding("stderr closed", setup=close(2)),
        Surrounding("0, 1 and 2 closed", setup=close(0, 1, 2)),
        Surrounding("stderr full", setup=full_stderr),
        Surrounding("stderr without a reader", setup=broken_stderr),
        Surrounding("limits", setup=limits),
        Surrounding("nice, batch, one CPU", setup=scheduling),
        Surrounding("umask", setup=lambda: os.umask(0o177)),
        Surrounding("a directory of its own", setup=lambda: os.chdir("/usr/lib")),
        Surrounding("a deleted directory", setup=deleted(scratch / "gone")),
        Surrounding("oom_score_adj", setup=oom),
        Surrounding("no_new_privs", setup=lambda: prctl(PR_SET_NO_NEW_PRIVS, 1)),
        Surrounding("securebits", setup=lambda: prctl(PR_SET_SECUREBITS, 1), root=True),
        Surrounding("few capabilities", setup=few_capabilities, root=True),
        Surrounding("no /proc", prefix=no_proc, root=True),
        Surrounding("no /proc, C locale", C_LOCALE, prefix=no_proc, root=True),
        Surrounding("no /proc, no environment", {}, prefix=no_proc, root=True),
        Surrounding(
            "no /proc, descriptors", prefix=no_proc, setup=descriptors, root=True
        ),
        Surrounding(
            "no /proc, LC_CTYPE set",
            {b"LC_CTYPE": b"C.UTF-8", **C_LOCALE},
            prefix=no_proc,
            root=True,
        ),
        Surrounding(
            "a read-only root",
            prefix=unshared(
                f"mount --bind {scratch} {scratch}; mount -o remount,ro,bind /"
            ),
            root=True,
        ),
    ]


def surroundings_names():
    """Return the surroundings for their names alone."""
    with tempfile.TemporaryDirectory() as directory:
        return surroundings(Path(directory))


def build_probe(directory):
    """Compile the probe; return its path."""
    probe = Path(directory) / "probe"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise FileNotFoundError("no C compiler")
    source = str(PROGRAMS / "probe.c")
    subprocess.run([compiler, "-O1", "-Wall", "-o", str(probe), source], check=True)
    return probe


def look(surrounding, probe, init, report):
    """Run the probe in a surrounding, under an init; return what it reported.

    A report that never came is one line that says why.
    """
    report.unlink(missing_ok=True)
    init = [shutil.which(init[0]), *init[1:]] if init else []
    words = [*init, str(probe), str(report), *surrounding.args]
    if surrounding.prefix[:1] == ["--env"]:
        words = [str(probe), *surrounding.prefix, *words]
    elif surrounding.prefix:
        words = [*surrounding.prefix, *words]
    process = subprocess.Popen(
        words,
        env=surrounding.env,
        preexec_fn=surrounding.setup,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        close_fds=surrounding.setup is not descriptors,
        start_new_session=True,
    )
    try:
        _, error = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return ["it hangs"]
    if process.returncode or not report.exists():
        return [f"status {process.returncode}", error.decode(errors="replace")]
    return report.read_text().splitlines()


def differences(seen, expected):
    """Return the lines that differ, of one or the other."""
    return sorted(set(seen) ^ set(expected))


def main():
    inits = {
        "pyinit": PYINIT,
        "dumb-init": ["dumb-init"],
        "tini": ["tini", "-s"],
        "catatonit": ["catatonit"],
    }
    inits = {k: [*v, "--"] for k, v in inits.items() if shutil.which(v[0])}
    counts = dict.fromkeys(inits, 0)
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        scratch.chmod(0o755)
        probe, report = build_probe(scratch), scratch / "report"
        everything = surroundings(scratch)
        print("| surrounding | " + " | ".join(inits) + " |")
        print("|---" * (len(inits) + 1) + "|")
        for surrounding in everything:
            if surrounding.root and os.getuid():
                continue
            direct = look(surrounding, probe, [], report)
            cells = []
            for name, init in inits.items():
                found = differences(look(surrounding, probe, init, report), direct)
                counts[name] += bool(found)
                kinds = sorted({line.partition(" ")[0] for line in found})
                text = " ".join(kinds[:4]) + (" ..." if len(kinds) > 4 else "")
                text = "hangs" if "it hangs" in found else text
                cells.append("fails" if "status" in kinds else text)
            print(f"| {surrounding.name} | " + " | ".join(cells) + " |")
        total = " | ".join(str(count) for count in counts.values())
        print(f"| **differing, of {len(everything)}** | {total} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.parse_args()
    namespace_command()
    main()
