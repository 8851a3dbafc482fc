# SPDX-License-Identifier: GPL-2.0
#
# Where the time of a test goes. Tests and fixtures say what they are doing, in
# a `with` statement; report.py makes a table of it.
#
# Not here: time limits (pytest-timeout).

import contextlib
import os
import time

KINDS = ("waiting", "booting", "preparing")
TICKS = os.sysconf("SC_CLK_TCK")


class Clock:
    """Seconds of this process by what they were spent on. What is begun inside
    something else is taken off that."""

    def __init__(self):
        self.spent = dict.fromkeys(KINDS, 0.0)
        self.inner = [0.0]
        # Process numbers of the machines that run.
        self.machines = lambda: ()
        self.seen = {}

    @contextlib.contextmanager
    def _spending(self, kind):
        began = time.monotonic()
        self.inner.append(0.0)
        try:
            yield
        finally:
            whole = time.monotonic() - began
            self.spent[kind] += whole - self.inner.pop()
            self.inner[-1] += whole

    def waiting(self):
        """Nothing is done here until something happens elsewhere."""
        return self._spending("waiting")

    def booting(self):
        return self._spending("booting")

    def preparing(self):
        """Building, configuring, loading."""
        return self._spending("preparing")

    def _processor(self):
        """Seconds of processor time that machines have taken since the last
        call; what one takes at its very end is lost."""
        total, seen = 0.0, {}
        for number in self.machines():
            try:
                with open("/proc/%d/stat" % number) as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            seen[number] = (int(fields[11]) + int(fields[12])) / TICKS
            total += seen[number] - self.seen.get(number, 0.0)
        self.seen = seen
        return total

    def take(self):
        """What was spent since the last call."""
        spent = dict(self.spent, machines=self._processor())
        self.spent = dict.fromkeys(KINDS, 0.0)
        return spent


clock = Clock()
