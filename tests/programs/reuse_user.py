"""As PID 1, run pyinit as a user and give its group's number to a group of root's.

Usage: reuse_user.py UID PYINIT …, the words that run pyinit as that user. In the group,
whose leader is root's, there is a process of the user's, as sudo has one: that one pyinit
may signal. It is no longer the command's group, so it is to be left alone.
"""

import os
import signal
import subprocess
import sys
import time

uid = sys.argv[1]
member = "trap '' TERM; echo $$; read line"
program = 'echo $$; sh -c "$1" <&3 & read line; exit 4'
read, write = os.pipe()
os.dup2(read, 3)
init = subprocess.Popen(
    [*sys.argv[2:], "--grace", "2", "sh", "-c", program, "sh", member],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    pass_fds=[3],
)
group, member_pid = int(init.stdout.readline()), int(init.stdout.readline())
os.write(init.stdin.fileno(), b"\n")
while os.path.exists(f"/proc/{group}"):  # until pyinit has reaped the leader
    time.sleep(0.001)
os.kill(init.pid, signal.SIGSTOP)
os.waitid(os.P_PID, init.pid, os.WSTOPPED)
os.write(write, b"\n")
os.waitpid(member_pid, 0)  # an orphan is a child of PID 1
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(group - 1))
# (Not sh: it would become the one program that it runs.)
become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
lead = (
    "import os, subprocess, sys; one = subprocess.Popen(sys.argv[1:]);"
    "print(one.pid, flush=True); sys.exit(one.wait() != 0)"
)
leader = subprocess.Popen(
    [sys.executable, "-IS", "-c", lead, *become, "sh", "-c", "echo up; exec sleep 100"],
    start_new_session=True,
    stdout=subprocess.PIPE,
)
assert leader.pid == group == os.getpgid(group), (leader.pid, group)
bystander = int(leader.stdout.readline())
assert leader.stdout.readline() == b"up\n"
assert os.getpgid(bystander) == group and os.stat(f"/proc/{bystander}").st_uid == int(
    uid
)
time.sleep(2)  # until the deadline is past
os.kill(init.pid, signal.SIGCONT)
status = init.wait()
lives = "lives" if leader.poll() is None else "was killed"  # (the leader waits for it)
print(f"the user's process {lives}, the status is {status}", flush=True)
os._exit(0)
