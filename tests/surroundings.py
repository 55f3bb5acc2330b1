"""Surroundings in which a command is started, and what it then sees."""

import collections
import ctypes
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from support import PASSED_ON, PROGRAMS, run

PLAIN = {b"PATH": b"/usr/local/bin:/usr/bin:/bin", b"LANG": b"C.UTF-8", b"HOME": b"/"}
C_LOCALE = {b"PATH": PLAIN[b"PATH"]}
SIGPIPES = (signal.SIGPIPE, signal.SIGXFSZ)
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 28, 38, 24


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


# What is done in a process before it becomes the init, or the probe itself.
Surrounding = collections.namedtuple(
    "Surrounding",
    "name env setup args prefix root",
    defaults=[PLAIN, None, (), (), False],
)


def locales():
    for variable in (b"LANG", b"LC_ALL", b"LC_CTYPE"):
        for value in (b"C", b"POSIX", b"C.UTF-8", b"", b"xx_YY.nonsense", b"UTF-8"):
            env = {**C_LOCALE, b"FIRST": b"1", variable: value, b"LAST": b"1"}
            yield f"{variable.decode()}={value.decode()}", {"env": env}
    yield "LC_CTYPE=C first", {"env": {b"LC_CTYPE": b"C", **C_LOCALE}}
    last = {b"LANG": b"C", b"LC_CTYPE": b"C.UTF-8"}
    yield "LC_CTYPE=C.UTF-8 last", {"env": {**C_LOCALE, **last}}


def unshared(command):
    """Run the rest in a mount namespace, after a shell command in it."""
    program = command + '; exec "$@"'
    return ["unshare", "--mount", "sh", "-c", program, "sh"]


def surroundings(scratch):
    """Return all of them; scratch is an empty directory."""
    raw = scratch / "environment"
    raw.write_bytes(b"A=1\0A=2\0nothing\0=x\0B=\xff\n\0LC_CTYPE=\0A=3\0PATH=/bin\0")
    coerced = scratch / "coerced"
    coerced.write_bytes(b"A=1\0B=\xff\0A=2\0PATH=/bin\0")
    odd = {b"\xff\xfe": b"\xfd", b"EMPTY": b"", b"LINES": b"a\nb\n", b"a b": b"=c="}
    no_proc = {"prefix": unshared("mount -t tmpfs none /proc"), "root": True}
    read_only = f"mount --bind {scratch} {scratch}; mount -o remount,ro,bind /"
    oom = Path("/proc/self/oom_score_adj")
    everything = [number for number in PASSED_ON if number not in SIGPIPES]
    (scratch / "hostile").mkdir()
    rows = [
        ("plain", {}),
        ("no environment", {"env": {}}),
        *locales(),
        ("odd arguments", {"env": C_LOCALE, "args": [b"\xff", b"", b"a\nb", b"-v", b"--"]}),
        ("odd variables", {"env": {**C_LOCALE, **odd}}),
        ("repeated and malformed variables", {"prefix": ["--env", raw]}),
        ("repeated variables, no locale", {"prefix": ["--env", coerced]}),
        ("hostile PYTHON variables", {"env": hostile(scratch / "hostile")}),
        ("SIGINT and SIGTERM blocked", {"setup": block(2, 15)}),
        ("all signals blocked", {"setup": block(*PASSED_ON, signal.SIGCHLD)}),
        ("SIGCHLD ignored", {"setup": ignore(signal.SIGCHLD)}),
        ("SIGINT and SIGQUIT ignored", {"setup": ignore(2, 3)}),
        ("TSTP, TTIN, TTOU ignored", {"setup": ignore(20, 21, 22)}),
        ("all signals ignored", {"setup": ignore(*everything, signal.SIGCHLD)}),
        ("signals pending", {"setup": pending, "args": [b"pending"]}),
        ("descriptors inherited", {"setup": descriptors}),
        ("stdin closed", {"setup": close(0)}),
        ("stdout closed", {"setup": close(1)}),
        ("stderr closed", {"setup": close(2)}),
        ("0, 1 and 2 closed", {"setup": close(0, 1, 2)}),
        ("stderr full", {"setup": full_stderr}),
        ("stderr without a reader", {"setup": broken_stderr}),
        ("limits", {"setup": limits}),
        ("nice, batch, one CPU", {"setup": scheduling}),
        ("umask", {"setup": lambda: os.umask(0o177)}),
        ("a directory of its own", {"setup": lambda: os.chdir("/usr/lib")}),
        ("a deleted directory", {"setup": deleted(scratch / "gone")}),
        ("oom_score_adj", {"setup": lambda: oom.write_text("321")}),
        ("no_new_privs", {"setup": lambda: prctl(PR_SET_NO_NEW_PRIVS, 1)}),
        ("securebits", {"setup": lambda: prctl(PR_SET_SECUREBITS, 1), "root": True}),
        ("few capabilities", {"setup": few_capabilities, "root": True}),
        ("no /proc", no_proc),
        ("no /proc, C locale", {**no_proc, "env": C_LOCALE}),
        ("no /proc, no environment", {**no_proc, "env": {}}),
        ("no /proc, descriptors", {**no_proc, "setup": descriptors}),
        ("no /proc, LC_CTYPE set",
         {**no_proc, "env": {b"LC_CTYPE": b"C.UTF-8", **C_LOCALE}}),
        ("a read-only root", {"prefix": unshared(read_only), "root": True}),
    ]  # fmt: skip
    return [Surrounding(name, **values) for name, values in rows]


def surroundings_names():
    """Return the surroundings for their names alone."""
    with tempfile.TemporaryDirectory() as directory:
        return surroundings(Path(directory))


def build_probe(directory):
    """Compile the probe; return its path."""
    probe = Path(directory) / "probe"
    run("cc", "-O1", "-Wall", "-o", probe, PROGRAMS / "probe.c", check=True)
    return probe


def look(surrounding, probe, init, report):
    """Run the probe in a surrounding, under an init; return what it reported.

    A report that never came is one line that says why.
    """
    report.unlink(missing_ok=True)
    init = [shutil.which(init[0]), *init[1:]] if init else []
    words = [*init, probe, report, *surrounding.args]
    if surrounding.prefix[:1] == ["--env"]:
        words = [probe, *surrounding.prefix, *words]
    elif surrounding.prefix:
        words = [*surrounding.prefix, *words]
    result = run(
        *words,
        env=surrounding.env,
        preexec_fn=surrounding.setup,
        stdout=subprocess.DEVNULL,
        close_fds=surrounding.setup is not descriptors,
        start_new_session=True,
    )
    if result.returncode or not report.exists():
        return [f"status {result.returncode}", result.stderr.decode(errors="replace")]
    return report.read_text().splitlines()


def differences(seen, expected):
    """Return the lines that differ, of one or the other."""
    return sorted(set(seen) ^ set(expected))
