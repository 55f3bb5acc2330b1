"""As PID 1, run pyinit and give its group's number to a bystander of root's.

Usage: reuse.py UID PYINIT …, the words that run pyinit. It is stopped while the last of its
group ends and the bystander starts. Says whether the bystander outlives the deadline. UID
is 0 or a user whom pyinit runs as: then there is a process of the user's in the bystander's
group, as sudo has one. That one pyinit may signal, but it is no longer the command's group.
"""

import os
import signal
import subprocess
import sys
import time

uid, *pyinit = sys.argv[1:]
member = "trap '' TERM; echo $$; read line"
program = 'echo $$; sh -c "$1" <&3 & read line; exit 4'
read, write = os.pipe()
os.dup2(read, 3)
init = subprocess.Popen(
    [*pyinit, "--grace", "1", "sh", "-c", program, "sh", member],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
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
answer = ["sh", "-c", "echo up; read line; echo alive; exec sleep 100"]
if uid != "0":
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    # (Not sh: it would become the one program that it runs.)
    lead = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]) != 0)"
    answer = [sys.executable, "-IS", "-c", lead, *become, *answer]
pipe = subprocess.PIPE
bystander = subprocess.Popen(answer, start_new_session=True, stdin=pipe, stdout=pipe)
assert bystander.pid == group == os.getpgid(group), (bystander.pid, group)
assert bystander.stdout.readline() == b"up\n"
time.sleep(1)  # until the deadline is past
os.kill(init.pid, signal.SIGCONT)
status = init.wait()
# A SIGKILL that has been sent comes before this.
os.write(bystander.stdin.fileno(), b"\n")
lives = "lives" if bystander.stdout.readline() == b"alive\n" else "was killed"
print(f"the bystander {lives}, the status is {status}", flush=True)
os._exit(0)
