"""Keeps whoever opens FILE waiting: says `held` when that is so, and `wanted` when somebody does."""

import fcntl
import signal
import sys

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
with open(sys.argv[1], "rb") as file:
    # F_SETLEASE(2const): "the lease holder is notified … when the process attempting the open is blocked"
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    print("held", flush=True)
    signal.sigwait([signal.SIGIO])
    print("wanted", flush=True)
    sys.stdin.read()
