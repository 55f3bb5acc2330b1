"""As PID 1, run pyinit and give its group's number to a bystander of another user's.

Usage: reuse.py PYINIT …, the words that run pyinit, as root without the right to signal
others. It is stopped while the last of its group ends and the bystander starts. In the
bystander's group there is a process of root's, that pyinit may signal, but it is no longer
the command's group. Says whether that one outlives the deadline.
"""

import os
import signal
import subprocess
import sys
import time

member = "trap '' TERM; echo $$; read line"
program = 'echo $$; sh -c "$1" <&3 & read line; exit 4'
pipe = subprocess.PIPE
read, write = os.pipe()
os.dup2(read, 3)
init = subprocess.Popen(
    ["setpriv", "--bounding-set=-kill", *sys.argv[1:], "--grace", "1"]
    + ["sh", "-c", program, "sh", member],
    stdin=pipe,
    stdout=pipe,
    pass_fds=[3],
)
group, member_pid = int(init.stdout.readline()), int(init.stdout.readline())
os.write(init.stdin.fileno(), b"\n")
while os.path.exists(f"/proc/{group}"):  # until pyinit has reaped the leader
    pass
os.kill(init.pid, signal.SIGSTOP)
os.waitid(os.P_PID, init.pid, os.WSTOPPED)
os.write(write, b"\n")
os.waitpid(member_pid, 0)  # an orphan is a child of PID 1
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(group - 1))
answer = "exec 3<&0; (echo up; read line <&3; echo alive) &"
answer += " exec setpriv --reuid=64012 --regid=64012 --clear-groups sleep 100"
words = ["sh", "-c", answer]
bystander = subprocess.Popen(words, start_new_session=True, stdin=pipe, stdout=pipe)
assert bystander.pid == group == os.getpgid(group), (bystander.pid, group)
assert bystander.stdout.readline() == b"up\n"
while os.stat(f"/proc/{group}").st_uid != 64012:
    pass
time.sleep(1)  # until the deadline is past
os.kill(init.pid, signal.SIGCONT)
status = init.wait()
# A SIGKILL that has been sent comes before this.
os.write(bystander.stdin.fileno(), b"\n")
lives = "lives" if bystander.stdout.readline() == b"alive\n" else "was killed"
print(f"the bystander {lives}, the status is {status}", flush=True)
os._exit(0)
