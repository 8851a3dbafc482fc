# SPDX-License-Identifier: GPL-2.0
#
# The kernel log of a guest, and the part of it since a moment of a test.
#
# Not here: what must not be in it (scripts/lab/console.py).


class KernelLog:
    """What both machines have in common; `run` is how commands run there."""

    marks = 0                           # of all machines

    def mark(self):
        """Marks the moment in the kernel log; returns the mark."""
        KernelLog.marks += 1
        text = "lab-mark-%d" % KernelLog.marks
        self.run("echo %s > /dev/kmsg" % text)
        return text

    def log_since(self, mark):
        """What came behind a mark. The kernel forgets old lines: without the
        mark it is everything that is left."""
        return self.run("dmesg").out.rsplit(mark + "\n", 1)[-1]
