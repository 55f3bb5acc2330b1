"""Run pyinit.py, and let Python be out of memory in one call that it makes, once.

Usage: nomemory.py N WHO MARK pyinit.py [word …]. The Nth call of a function, Python's or C's,
that pyinit.py makes raises MemoryError. WHO says from when on they are counted: "before"
from the moment when signals are blocked (in functions alone), "pyinit" from fork on, "child"
in the forked child; the name of a function: in that, from fork on. The file MARK then has
the place. If there is no Nth call, nothing is raised and MARK stays as it is. os._exit() is
left out: it allocates nothing.
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
    """Tell whether a call from this code is one of those asked for."""
    if code.co_filename != path:
        return False
    if who not in ("before", "pyinit", "child"):
        return state["part"] == "pyinit" and code.co_name == who
    if state["part"] != who:
        return False
    if who != "before":
        return True
    inside = code.co_name != "<module>"
    return inside and bool(signal.pthread_sigmask(signal.SIG_BLOCK, []))


def profile(frame, event, arg):
    if event == "call":
        frame = frame.f_back
    elif event != "c_call" or arg is os._exit:
        return
    if frame and counts(frame.f_code):
        state["left"] -= 1
        if not state["left"]:
            sys.setprofile(None)
            with open(mark, "w") as file:
                file.write("%s, line %d" % (frame.f_code.co_name, frame.f_lineno))
            raise MemoryError


os.fork = fork
with open(path, "rb") as file:
    program = compile(file.read(), path, "exec")
sys.setprofile(profile)
exec(program, {"__name__": "__main__", "__file__": path})
