"""An init like pyinit's core, with one fault, or none: careless.py FAULT command …

reaps-one: one child for each SIGCHLD, though one stands for any number of deaths
coalesces: one real-time signal for all of its number that are pending
drops:     a signal in ten below SIGCHLD is not passed on; those that stop and resume are
repeats:   a signal in fifty is passed on twice
grows:     it remembers each signal
polls:     it looks ten times a second whether there is something to do
none:      no fault
"""

import os
import signal
import sys

fault = sys.argv[1]
signals = [*range(1, 32), *range(signal.SIGRTMIN, signal.SIGRTMAX + 1)]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
child = os.fork()
if not child:
    os.setsid()
    os.execvp(sys.argv[2], sys.argv[2:])
count, low, memory = 0, 0, []
while True:
    info = signal.sigtimedwait(signals, 0.1 if fault == "polls" else 1000)
    if not info:
        continue
    number = info.si_signo
    if fault == "grows":
        memory.append(bytes(1000))
    if number == signal.SIGCHLD:
        pid = 1
        while pid:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                os._exit(os.WEXITSTATUS(status))
            if fault == "reaps-one":
                break
        continue
    while fault == "coalesces" and number > 32 and signal.sigtimedwait([number], 0):
        pass
    count += 1
    low += number < signal.SIGCHLD
    if fault == "drops" and number < signal.SIGCHLD and low % 10 == 0:
        continue
    if fault == "repeats" and count % 50 == 0:
        os.kill(-child, number)
    stop = number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
    os.kill(-child, signal.SIGSTOP if stop else number)
