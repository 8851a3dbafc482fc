# SPDX-License-Identifier: GPL-2.0
#
# The supervisor: a process of its own between the lab and one QEMU. It ends
# QEMU when the time limit is over or when its standard input closes, which
# happens by itself if the lab dies in whatever way.
#
# Not here: anything else; this runs as a plain script (see qemu.py).
# Usage: supervise.py <seconds> <command> ...

import os
import select
import signal
import subprocess
import sys


def supervise(limit, cmd):
    def die_with_parent():
        import ctypes
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)      # PR_SET_PDEATHSIG

    qemu = subprocess.Popen(cmd, stdin=subprocess.DEVNULL,
                            stdout=sys.stderr, preexec_fn=die_with_parent)
    print(qemu.pid, flush=True)
    # Let go of standard output, so that a reader sees its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    ended = os.pidfd_open(qemu.pid)
    ready, _, _ = select.select([0, ended], [], [], limit)
    if ended not in ready:
        if not ready:
            print("lab: time limit of %d s is over; ending QEMU" % limit,
                  file=sys.stderr, flush=True)
        qemu.kill()
    rc = qemu.wait()
    return rc if rc >= 0 else 128 - rc


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(supervise(float(sys.argv[1]), sys.argv[2:]))
