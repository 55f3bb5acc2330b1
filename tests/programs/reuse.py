"""As PID 1, run pyinit (the arguments) and give its group's number to a bystander.

pyinit is stopped while its last group member ends and the bystander starts. Says
whether the bystander outlives the deadline.
"""

import os
import signal
import subprocess
import sys
import time

member = "trap '' TERM; echo $$; read line"
program = 'echo $$; sh -c "$1" <&3 & read line; exit 4'
read, write = os.pipe()
os.dup2(read, 3)
init = subprocess.Popen(
    [*sys.argv[1:], "--grace", "2", "sh", "-c", program, "sh", member],
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
bystander = subprocess.Popen(["sleep", "100"], start_new_session=True)
assert bystander.pid == group == os.getpgid(group), (bystander.pid, group)
time.sleep(2)  # until the deadline is past
os.kill(init.pid, signal.SIGCONT)
status = init.wait()
lives = "lives" if bystander.poll() is None else "was killed"
print(f"the bystander {lives}, the status is {status}", flush=True)
os._exit(0)
