"""Run a program that the kernel refuses some system calls, as a security profile would.

Usage: refuse.py CALL:ERROR[:TARGET] … -- program [arg …], all of them numbers. With
TARGET, the call is refused only where that is its first argument (its lower 32 bits).
The filter is seccomp's, so the program's children have it too.
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
CALL, ARGUMENT = (
    0,
    16,
)  # where struct seccomp_data has the number and the first argument


def instruction(code, value, if_not=0):
    """Return one struct sock_filter, that skips so many of the next if not equal."""
    return struct.pack("=HBBI", code, 0, if_not, value & 0xFFFFFFFF)


end = sys.argv.index("--")
filters = []
for rule in sys.argv[1:end]:
    call, error, *target = map(int, rule.split(":"))
    refusal = [instruction(RETURN, ERRNO | error)]
    for value in target:
        at = ARGUMENT + (4 if sys.byteorder == "big" else 0)
        refusal = [instruction(LOAD, at), instruction(EQUAL, value, 1), *refusal]
    filters += [
        instruction(LOAD, CALL),
        instruction(EQUAL, call, len(refusal)),
        *refusal,
    ]
filters.append(instruction(RETURN, ALLOW))
code = ctypes.create_string_buffer(b"".join(filters))
program = struct.pack("HP", len(filters), ctypes.addressof(code))  # struct sock_fprog
libc = ctypes.CDLL(None, use_errno=True)
for words in (
    (PR_SET_NO_NEW_PRIVS, 1, 0),
    (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program),
):
    if libc.prctl(*words, 0, 0):
        number = ctypes.get_errno()
        sys.exit(f"prctl({words[0]}): {os.strerror(number)}")
os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
