"""The command of the fault tests: say what comes, and do what it is told.

Usage: patient.py CONTROL EVENTS, two descriptors. A line on EVENTS is "ready", the number
of a signal that came, or what was done. A line on CONTROL asks for it: "orphan" makes one
that ends at once, "leave" a process that stays until a signal ends it, "exit" ends with 7.
"""

import os
import select
import signal
import sys

HANDLED = ["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT", "SIGCONT"]
HANDLED = [getattr(signal, name) for name in HANDLED]

control, events = int(sys.argv[1]), int(sys.argv[2])


def say(line):
    os.write(events, b"%s\n" % line.encode())


def orphan():
    read, write = os.pipe()
    middle = os.fork()
    if not middle:
        if not os.fork():
            os._exit(3)
        os._exit(0)
    os.close(write)
    os.waitpid(middle, 0)
    os.read(read, 1)  # the end of file: it has ended
    os.close(read)


def leave():
    if not os.fork():
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pause()


# Python's handlers run between its own steps, that is not while it waits; what wakes it is
# a byte in a pipe, the signal's number, that the C handler has written.
came, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
for number in HANDLED:
    signal.signal(number, lambda number, frame: None)
say("ready")
asked = b""
while True:
    ready = select.select([control, came], [], [])[0]
    if came in ready:
        for number in os.read(came, 100):
            say(str(number))
    if control in ready:
        asked += os.read(control, 100) or b"exit\n"  # the test has gone
        *words, asked = asked.split(b"\n")
        for word in words:
            if word == b"exit":
                os._exit(7)
            {b"orphan": orphan, b"leave": leave}[word]()
            say(word.decode())
