"""Be a server that upgrades itself while it serves, as gunicorn, Unicorn and nginx do.

usage: upgrades.py KIND [LISTENING_SOCKET GENERATION]

KIND is "group", or "session": each generation then leads a session of its own.

Says "serving PORT PID". Whoever connects is told the generation, 1 for the first. USR2
starts the program anew, with the same socket; QUIT and TERM end it, TERM with a line.
"""

import os
import signal
import socket
import sys

kind = sys.argv[1]
if sys.argv[2:]:
    listening, generation = socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])
else:
    listening, generation = socket.create_server(("127.0.0.1", 0)), 1


def upgrade(number, frame):
    if not os.fork():
        os.set_inheritable(listening.fileno(), True)
        if kind == "session":
            os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        words = [sys.executable, "-IS", __file__, kind, str(listening.fileno())]
        os.execv(words[0], [*words, str(generation + 1)])


def end(number, frame):
    if number == signal.SIGTERM:
        os.write(1, b"end %d\n" % generation)
    os._exit(0)


signal.signal(signal.SIGUSR2, upgrade)
signal.signal(signal.SIGQUIT, end)
signal.signal(signal.SIGTERM, end)
os.write(1, b"serving %d %d\n" % (listening.getsockname()[1], os.getpid()))
while True:
    peer, _ = listening.accept()
    peer.sendall(b"%d\n" % generation)
    peer.close()
