"""Be a command that answers: "up", then "got LINE" for each line of stdin.

usage: answers.py [KIND ...]

It says "alive" for each SIGUSR2. The kinds can be combined:

ends:    says "end N" for SIGTERM, SIGHUP, SIGINT and SIGQUIT, and ends with 7
exits:   says "end 2" for SIGINT, and ends with 3; "exits 0": with 0
handles: says TSTP for SIGTSTP, and no more
nano:    says TSTP for SIGTSTP, and stops itself by SIGSTOP, as nano and mutt do
default: has the default action for SIGTSTP, whatever it was when it was started
later:   does nothing before a SIGUSR1 has come
stty:    and then sets the terminal
writes:  and then writes to it
left:    never reads, and nothing but SIGKILL ends it; says "farewell" for SIGTERM
still:   never reads
"""

import os
import signal
import sys
import termios

KINDS = sys.argv[1:]
HANDLERS = {}


def on(number, handler):
    HANDLERS[number] = handler
    signal.signal(number, handler)


def say(text):
    os.write(1, text.encode() + b"\n")


def end(number, frame):
    say(f"end {number}")
    os._exit(7)


def leave(number, frame):
    say(f"end {number}")
    os._exit(0 if "0" in KINDS else 3)


def stop(number, frame):
    say("TSTP")
    os.kill(os.getpid(), signal.SIGSTOP)
    say("back")


signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python has it otherwise
on(signal.SIGUSR2, lambda *_: say("alive"))
if "ends" in KINDS:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        on(number, end)
if "exits" in KINDS:
    on(signal.SIGINT, leave)
if "handles" in KINDS:
    on(signal.SIGTSTP, lambda *_: say("TSTP"))
if "nano" in KINDS:
    on(signal.SIGTSTP, stop)
if "default" in KINDS:
    signal.signal(signal.SIGTSTP, signal.SIG_DFL)
if "left" in KINDS:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    on(signal.SIGTERM, lambda *_: say("farewell"))
if "later" in KINDS:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
reads = not {"still", "left"} & {*KINDS}
if not reads:  # (Python runs no handler of a signal that comes just before pause(2).)
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLERS)
say("up")
if "later" in KINDS:
    signal.sigwait([signal.SIGUSR1])
if "stty" in KINDS:
    termios.tcsetattr(0, termios.TCSADRAIN, termios.tcgetattr(0))
    say("set")
if "writes" in KINDS:
    say("written")
while not reads:
    number = signal.sigwait(HANDLERS)
    HANDLERS[number](number, None)
# Of a signal that comes right before read(2) Python's handler is run when that returns.
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
while True:
    data = os.read(0, 4096)
    if not data:
        os._exit(0)
    for line in data.decode().splitlines():
        say("got " + line)
