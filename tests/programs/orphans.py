"""Make COUNT orphans in bursts of BURST, that end at once; then say what is left.

Prints "left N", the zombies that nobody has reaped though they had five seconds, and ends
with status 42.
"""

import os
import sys
import time


def zombies():
    count = 0
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{int(name)}/stat") as file:
                count += ") Z " in file.read()
        except (OSError, ValueError):
            pass
    return count


count, burst = int(sys.argv[1]), int(sys.argv[2])
read, write = os.pipe()
for _ in range(count // burst):
    middle = os.fork()
    if not middle:
        for _ in range(burst):
            if not os.fork():
                os._exit(3)
        os._exit(0)
    os.waitpid(middle, 0)
os.close(write)
os.read(read, 1)  # the end of file: all of them have ended
deadline = time.monotonic() + 5
left = zombies()
while left and time.monotonic() < deadline:
    time.sleep(0.02)
    left = zombies()
print("left", left, flush=True)
os._exit(42)
