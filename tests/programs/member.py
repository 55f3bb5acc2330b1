"""Be a member of a job: answer lines, copy them on, and say on stderr what comes.

usage: member.py NAME [KIND ...]

Each answer is one line "@NAME …". Lines come on stdin; where stdout is no terminal they
are copied there, for the next of a pipeline. The line "NAME stop" stops this member by
SIGSTOP, "NAME tstp" by SIGTSTP, "NAME exit 3" ends it. The kinds can be combined:

report: handles SIGINT, SIGQUIT and SIGWINCH by saying their names, and SIGCONT where
        stdin is no pipe: where somebody else of the group reads the terminal in the
        background, that stops the group, and discards a SIGCONT not yet acted on
ignore: ignores SIGTSTP, SIGTTIN and SIGTTOU
handle: says TSTP, and stops itself by SIGSTOP, as nano does
again:  says TSTP, and stops itself by SIGTSTP with its default action, as vi does
still:  reads nothing
later:  reads nothing before a SIGWINCH has come
group:  has a child in its group, "@NAME+", that reports, and ends when this one does
leaves: leaves a child behind in its group, "@NAME-", that nothing of the terminal ends
lingers: the same, but Ctrl-C ends it; and nothing of the terminal stops it
"""

import os
import signal
import stat
import sys

NAME, KINDS = sys.argv[1], sys.argv[2:]
REPORTED = (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH)
STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def say(text):
    with open("/proc/self/comm", "rb") as comm:
        os.write(2, b"%s %s\n" % (comm.read().strip(), text.encode()))


def be(name):
    """Take a name, in /proc/PID/comm, where the oracle finds us."""
    with open("/proc/self/comm", "w") as comm:
        comm.write("@" + name)


def report(number, frame):
    say(signal.Signals(number).name[3:])


def stop_after_all(number, frame):
    say("TSTP")
    if "handle" in KINDS:
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, stop_after_all)
    say("is back")


def wait_for_ever():
    while True:
        signal.pause()


def wait_for_resize():
    """Return when a SIGWINCH has come."""
    ours, theirs = os.pipe()
    signal.signal(signal.SIGWINCH, lambda number, frame: os.write(theirs, b"1"))
    say("waits")
    os.read(ours, 1)


def obey(words):
    """Do what a line asks of us."""
    if words == [NAME, "stop"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    elif words == [NAME, "tstp"]:
        os.kill(os.getpid(), signal.SIGTSTP)
    elif words[:2] == [NAME, "exit"]:
        os._exit(int(words[2]))


def answer_lines():
    while True:
        try:
            data = os.read(0, 4096)
        except OSError as error:
            say(error.strerror)
            wait_for_ever()
        if not data:
            say("end of input")
            os._exit(0)
        for line in data.splitlines(keepends=True):
            say("got " + line.decode().strip())
            obey(line.decode().split())
            if not os.isatty(1):
                os.write(1, line)


be(NAME)
for number in (signal.SIGINT, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)  # Python has it otherwise
for number in REPORTED if "report" in KINDS else ():
    signal.signal(number, report)
for number in STOPS if "ignore" in KINDS else ():
    signal.signal(number, signal.SIG_IGN)
if "report" in KINDS and not stat.S_ISFIFO(os.fstat(0).st_mode):
    signal.signal(signal.SIGCONT, report)
if "handle" in KINDS or "again" in KINDS:
    signal.signal(signal.SIGTSTP, stop_after_all)
if "group" in KINDS:
    ours, theirs = os.pipe()
    ready = os.pipe()
    if not os.fork():
        os.close(theirs)
        be(NAME + "+")
        # It ends with its parent, by this pipe, whether there is a farewell or not.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        for number in REPORTED:
            signal.signal(number, report)
        say("ready")
        os.write(ready[1], b"1")
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    os.read(ready[0], 1)
if "leaves" in KINDS or "lingers" in KINDS:
    ready = os.pipe()
    if not os.fork():
        be(NAME + "-")
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if "lingers" in KINDS:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)
        say("ready")
        os.write(ready[1], b"1")
        wait_for_ever()
    os.read(ready[0], 1)
if "later" in KINDS:
    wait_for_resize()
say("ready")
wait_for_ever() if "still" in KINDS else answer_lines()
