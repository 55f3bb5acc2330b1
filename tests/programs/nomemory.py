"""Run pyinit.py, and let Python be out of memory at one place of it, once.

Usage: nomemory.py N WHO MARK pyinit.py [word …]. MemoryError is raised at the Nth line that
is run, counted for WHO is "before" from the moment when signals are blocked (in functions
alone), for "pyinit" from fork on, for "child" in the forked child. The file MARK then has
the place. If there is no Nth line, nothing is raised and MARK stays as it is.
"""

import os
import signal
import sys

who, mark, path = sys.argv[2:5]
state = {"left": int(sys.argv[1]), "part": "before"}
sys.argv = sys.argv[4:]
forked = os.fork


def fork():
    pid = forked()
    state["part"] = "pyinit" if pid else "child"
    return pid


def counts(code):
    """Tell whether a line of this code, that is to be run now, is one of those asked for."""
    if state["part"] != who:
        return False
    if who != "before":
        return True
    inside = code.co_name != "<module>"
    return inside and bool(signal.pthread_sigmask(signal.SIG_BLOCK, []))


def trace(frame, event, arg):
    if frame.f_code.co_filename != path:
        return None
    if event == "line" and counts(frame.f_code):
        state["left"] -= 1
        if not state["left"]:
            sys.settrace(None)
            with open(mark, "w") as file:
                file.write("%s, line %d" % (frame.f_code.co_name, frame.f_lineno))
            raise MemoryError
    return trace


os.fork = fork
with open(path, "rb") as file:
    program = compile(file.read(), path, "exec")
sys.settrace(trace)
exec(program, {"__name__": "__main__", "__file__": path})
