"""refuse.py CALL=ERRNO... -- COMMAND: runs a command whose system calls fail, as
containers' seccomp profiles have it."""

import ctypes
import errno
import os
import platform
import struct
import sys

MACHINES = {
    "x86_64": (0xC000003E, {"unshare": 272, "clone": 56, "mount": 165, "pivot_root": 155, "seccomp": 317}),
    "aarch64": (0xC00000B7, {"unshare": 97, "clone": 220, "mount": 40, "pivot_root": 41, "seccomp": 277}),
}
ARCHITECTURE, NUMBERS = MACHINES[platform.machine()]
NUMBERS |= {"fsopen": 430, "fsmount": 432, "move_mount": 429, "open_tree": 428, "close_range": 436}
CLONE_NEWUSER = 0x10000000
CLONE_NAMESPACES = 0x7E020000
SECCOMP_FILTER_FLAG_NEW_LISTENER = 8
# the argument, and the bits of it that are refused: `0` is the call without any bits
FORMS = {
    "unshare-user": ("unshare", 0, CLONE_NEWUSER),
    "clone-new": ("clone", 0, CLONE_NAMESPACES),
    "clone-net": ("clone", 0, 0x40000000),
    "mount-new": ("mount", 3, 0),
    "listener": ("seccomp", 1, SECCOMP_FILTER_FLAG_NEW_LISTENER),
}

LOAD, EQUAL, ANY, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000


def rule(name, code):
    call, argument, bits = FORMS.get(name, (name, None, None))
    verdict = [(RETURN, 0, 0, REFUSE | code)]
    if argument is None:
        return [(EQUAL, 0, 1, NUMBERS[call])] + verdict
    test = (ANY, 0, 1, bits) if bits else (EQUAL, 0, 1, 0)
    inner = [(LOAD, 0, 0, 16 + 8 * argument), test] + verdict + [(LOAD, 0, 0, 0)]
    return [(EQUAL, 0, len(inner), NUMBERS[call])] + inner


end = sys.argv.index("--")
program = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCHITECTURE), (RETURN, 0, 0, ALLOW), (LOAD, 0, 0, 0)]
for refused in sys.argv[1:end]:
    name, code = refused.split("=")
    program += rule(name, getattr(errno, code))
program.append((RETURN, 0, 0, ALLOW))
code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
buffer = ctypes.create_string_buffer(code)
filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer)))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
installed = libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), ctypes.c_ulong(ctypes.addressof(filter)))
assert installed == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])
