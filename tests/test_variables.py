"""Variables that name a process name the command, where they have named pyinit.

systemd's, which Podman and others set as well: sd_listen_fds(3), sd_watchdog_enabled(3),
systemd.exec(5). What does not name us is somebody else's, and stays as it is.
"""

import os
import shlex

import pytest
from support import HOST, PYINIT, PYTHON, namespace

OURS = "$$"  # as the shell that becomes pyinit has it


def environment(start, variables, *options, prefix=()):
    """Return the command's pid, and its environment as lines, where pyinit had these."""
    setting = " ".join(f"{name}={value}" for name, value in variables)
    # env -i: nothing but what is asked for, in this order; the shell is the parent's pid.
    program = f'exec env -i PATH="$PATH" {setting} "$@"'
    show = ["sh", "-c", "echo $$; tr '\\0' '\\n' </proc/self/environ"]
    words = [*prefix, "sh", "-c", program, "sh", *PYINIT, *options, "--", *show]
    process = start(*words)
    assert process.wait() == 0, process.stderr
    assert process.stderr == ""
    pid, *lines = process.stdout.splitlines()
    return pid, [line for line in lines if not line.startswith("PATH=")]


MODES = pytest.mark.parametrize("mode", [[], ["-c"]], ids=["session", "single"])
NAMES = ["LISTEN_PID", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"]


@MODES
@pytest.mark.parametrize("name", NAMES)
def test_what_named_us_names_the_command(start, name, mode):
    pid, lines = environment(start, [("A", "1"), (name, OURS), ("Z", "2")], *mode)
    assert sorted(lines) == sorted(["A=1", f"{name}={pid}", "Z=2"])


@MODES
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", ["4000000", "0", "", "x", "-1", "'$$ '", "0$$", "+$$"]
)
def test_what_names_another_stays(start, name, value, mode):
    variables = [
        ("A", "1"),
        (name, value),
        ("LISTEN_PIDFDID", "77"),
        ("LISTEN_FDS", "2"),
    ]
    pid, lines = environment(start, variables, *mode)
    if "$$" not in value:
        shown = value
    else:  # sh expands it to what pyinit's pid is, which we do not learn here
        shown = next(line for line in lines if line.startswith(name)).partition("=")[2]
        assert shown != pid
    assert lines == ["A=1", f"{name}={shown}", "LISTEN_PIDFDID=77", "LISTEN_FDS=2"]


@MODES
def test_all_of_them_together(start, mode):
    variables = [(name, OURS) for name in NAMES] + [("LISTEN_FDS", "1"), ("B", "$$")]
    pid, lines = environment(start, variables, *mode)
    seen = dict(line.split("=", 1) for line in lines)
    assert seen.pop("B") != pid
    assert seen == {**dict.fromkeys(NAMES, pid), "LISTEN_FDS": "1"}


@MODES
def test_the_pidfd_id_goes_with_a_listen_pid_that_was_ours(start, mode):
    # Of another process it would be wrong: sd_listen_fds would see no sockets.
    variables = [("LISTEN_PID", OURS), ("LISTEN_PIDFDID", "12345"), ("LISTEN_FDS", "1")]
    pid, lines = environment(start, variables, *mode)
    assert sorted(lines) == ["LISTEN_FDS=1", f"LISTEN_PID={pid}"]


@pytest.mark.parametrize("name", ["WATCHDOG_PID", "SYSTEMD_EXEC_PID"])
def test_the_pidfd_id_stays_where_another_was_ours(start, name):
    variables = [(name, OURS), ("LISTEN_PID", "1"), ("LISTEN_PIDFDID", "12345")]
    pid, lines = environment(start, variables)
    assert sorted(lines) == sorted(
        [f"{name}={pid}", "LISTEN_PID=1", "LISTEN_PIDFDID=12345"]
    )
    variables = [(name, OURS), ("LISTEN_PIDFDID", "12345")]
    pid, lines = environment(start, variables)
    assert sorted(lines) == sorted([f"{name}={pid}", "LISTEN_PIDFDID=12345"])


@MODES
def test_as_pid_1(start, mode):
    # Podman's socket activation sets LISTEN_PID=1: in the container, that is us.
    variables = [
        ("LISTEN_PID", "1"),
        ("LISTEN_PIDFDID", "5"),
        ("SYSTEMD_EXEC_PID", "1"),
    ]
    pid, lines = environment(start, variables, *mode, prefix=[*namespace(), "--"])
    assert pid != "1"
    assert sorted(lines) == [f"LISTEN_PID={pid}", f"SYSTEMD_EXEC_PID={pid}"]


# --- As systemd's own code looks at them --------------------------------------------

ACTIVATE = """
import os, socket, sys
pid = os.getpid()
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
os.dup2(server.fileno(), 3)
os.set_inheritable(3, True)  # (dup2 of 3 to itself does not)
os.environ.update(LISTEN_PID=str(pid), LISTEN_FDS="1", LISTEN_FDNAMES="web")
if hasattr(os, "pidfd_open"):
    os.environ["LISTEN_PIDFDID"] = str(os.fstat(os.pidfd_open(pid)).st_ino)
os.execvp(sys.argv[1], sys.argv[1:])
"""
# sd_listen_fds of systemd 258: LISTEN_PID has to be ours, and LISTEN_PIDFDID, where it is
# set, the inode number of our pidfd (a pidfs is not in every kernel: then it is not set).
LISTEN_FDS = """
import os, socket
assert int(os.environ["LISTEN_PID"]) == os.getpid(), "LISTEN_PID is another's"
wanted = os.environ.get("LISTEN_PIDFDID")
if wanted is not None:
    ours = os.fstat(os.pidfd_open(os.getpid())).st_ino
    assert int(wanted) == ours, "LISTEN_PIDFDID is another's"
assert os.environ["LISTEN_FDS"] == "1"
print("port", socket.socket(fileno=3).getsockname()[0])
"""


@MODES
def test_a_server_finds_its_socket(start, mode):
    activate = [*PYTHON, "-c", ACTIVATE]
    process = start(*activate, *PYINIT, *mode, "--", *PYTHON, "-c", LISTEN_FDS)
    assert process.wait() == 0, process.stderr
    assert process.stdout == "port 127.0.0.1\n"


def test_negative_control_a_server_under_a_shell_does_not(start):
    words = [*PYTHON, "-c", ACTIVATE, "sh", "-c", '"$@"; exit', "sh"]
    process = start(*words, *PYTHON, "-c", LISTEN_FDS)
    assert process.wait() == 1
    assert "LISTEN_PID is another's" in process.stderr


def test_what_a_host_that_imports_us_has_is_left_to_it(start):
    # main() in a child of the host: its own environment is not changed by what we rewrite.
    program = (
        f"import sys; sys.path.insert(0, {os.path.dirname(PYINIT[-1])!r}); import os, pyinit;"
        "os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.environ['LISTEN_PIDFDID'] = '5';"
        "status = pyinit.main(['sh', '-c', 'test $LISTEN_PID = $$ && ! env | grep PIDFD']);"
        "print(status, os.environ['LISTEN_PID'] == str(os.getpid()),"
        " os.environ['LISTEN_PIDFDID'])"
    )
    process = start(*HOST, "-c", program)
    assert process.wait() == 0, shlex.join(process.argv) + process.stderr
    assert process.stdout == "0 True 5\n"
