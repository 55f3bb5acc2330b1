"""Say "ready PID", then the number of each signal that comes; all are blocked.

With an argument, end with that as the status when SIGTERM comes.
"""

import os
import signal
import sys

signals = [*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
os.write(1, b"ready %d\n" % os.getpid())
while True:
    number = signal.sigwaitinfo(signals).si_signo
    os.write(1, b"%d\n" % number)
    if number == signal.SIGTERM and len(sys.argv) > 1:
        os._exit(int(sys.argv[1]))
