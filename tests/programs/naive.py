"""A parent that a terminal oracle must find out: it starts a command, and waits for it.

The command gets a group of its own and the terminal. Nobody looks at its stops.
"""

import os
import signal
import sys

child = os.fork()
if not child:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
status = os.waitpid(child, 0)[1]
os.tcsetpgrp(0, os.getpgrp())
os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
