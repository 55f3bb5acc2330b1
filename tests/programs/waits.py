"""Run a command, and wait until all that it has left has ended: for the oracle's $G.

This is what a shell sees of an init that has a grace, without an init: the command and
what it leaves are in our group, and no key of the terminal's ends or stops us.
"""

import os
import signal
import sys

ours, theirs = os.pipe()
command = os.fork()
if not command:
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python has it otherwise
    os.set_inheritable(theirs, True)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(theirs)
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
    signal.signal(number, signal.SIG_IGN)
_, status = os.waitpid(command, 0)
os.read(ours, 1)  # at its end nobody has it open any more
os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
