# SPDX-License-Identifier: GPL-2.0
#
# The console guard: which lines of a guest's kernel console mean that a run
# has failed, whatever the script inside says, and the few that are excused.
#
# Not here: saving the console (qemu.py lets QEMU write it to a file).

import contextlib
import re
from pathlib import Path

from .env import LabError

# One expression per kind of trouble.
BAD = [
    r"\bBUG\b",                         # BUG:, kernel BUG at, BUG kmalloc-64
    r"\bOops\b",
    r"WARNING:",
    r"\bKASAN\b", r"\bKCSAN\b", r"\bKFENCE: (?!initialized)", r"\bUBSAN\b",
    r"possible recursive locking", r"circular locking",
    r"possible circular", r"INFO: possible", r"INFO: trying to register",
    r"inconsistent lock state", r"suspicious RCU", r"bad unlock balance",
    r"Invalid wait context", r"DEBUG_LOCKS_WARN_ON",
    r"hung[ _]task:? (?!.*timeout)", r"blocked for more than",
    r"Kernel panic", r"general protection fault",
    r"refcount_t:", r"list_(?:add|del) corruption",
    r"\brcu:.*stall", r"soft lockup", r"hard LOCKUP",
    r"unable to handle (?:kernel|page)", r"\bODEBUG\b", r"\bDMA-API:.*"
    r"(?:device driver|error)",
    r"unreferenced object", r"kmemleak: \d+ new suspected",
    r"rust_kernel: panicked", r"Call Trace:",
    r"turning off the locking correctness validator",
    r"lab-init:", r"lab-agent:", r"lab-pid1:",
]

# Lines that match the above and yet are harmless: (expression, reason). Only
# for what the stock kernel or its boot was seen to print by itself.
ALLOWED = [
]

_BAD = re.compile("|".join("(?:%s)" % b for b in BAD))


# Where what the kernel says about one trouble ends, and how long it may be.
END = re.compile(r"</TASK>|---\[ end")
END_KASAN = re.compile(r"^=+$")
LONGEST = 80

# How far below the first line of a report its "Call Trace:" is.
HEAD = 6


class ConsoleError(LabError):
    """The kernel of a guest complained."""

    def __init__(self, name, lines, path, text):
        self.lines = lines
        shown = ["  " + line for line in lines[:20]]
        if len(lines) > 20:
            shown.append("  ... and %d more" % (len(lines) - 20))
        shown += ["  | " + line for line in first(lines, text)]
        super().__init__("the kernel of guest '%s' complained (console: %s):"
                         "\n%s" % (name, path, "\n".join(shown)))


def first(bad, text):
    """All lines of `text` about the first of the lines in `bad`."""
    lines = [line.strip() for line in text.splitlines()]
    if not bad or bad[0] not in lines:
        return []
    lines = lines[lines.index(bad[0]):][:LONGEST]
    end = END_KASAN if "KASAN" in bad[0] else END
    for number, line in enumerate(lines):
        if number and end.search(re.sub(r"^\[[\d. ]+\] ", "", line)):
            return lines[:number + 1]
    return lines


class Console:
    """The console file of one guest, with what this run excuses on top."""

    def __init__(self, name, path, allow=()):
        self.name = name
        self.path = Path(path)
        self.allowed = [(re.compile(a), why) for a, why in
                        list(ALLOWED) + list(allow)]
        self._offset = 0
        self._partial = ""
        self._bad = []
        self._heads = []
        self._below = HEAD      # lines since the head of an excused report

    @contextlib.contextmanager
    def excused(self, head, reason):
        """Excuse the call trace of reports that begin with a line that matches
        `head`, meanwhile; a reason is required."""
        if not reason:
            raise ValueError("an excused report needs a reason")
        self.bad_lines()
        self._heads.append(re.compile(head))
        try:
            yield
        finally:
            self.bad_lines()
            self._heads.pop()
            self._below = HEAD

    def _alarming(self, line):
        """Does this line, the next of the console, mean trouble?"""
        self._below += 1
        if any(head.search(line) for head in self._heads):
            self._below = 0
        return _BAD.search(line) and not (
            self._below < HEAD and line.endswith("Call Trace:"))

    def allow(self, expression, reason):
        """Excuse lines that match, for this guest; a reason is required."""
        if not reason:
            raise ValueError("an excused console line needs a reason")
        self.allowed.append((re.compile(expression), reason))

    @contextlib.contextmanager
    def allowing(self, expression, reason):
        """allow() meanwhile."""
        self.allow(expression, reason)
        try:
            yield
        finally:
            self.bad_lines()
            rule, _ = self.allowed.pop()
            self._bad = [x for x in self._bad if not rule.search(x)]

    def text(self):
        """The whole console so far."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return ""
        return data.decode("utf-8", "replace").replace("\r", "")

    def tail(self, count=30):
        return "\n".join(self.text().splitlines()[-count:])

    def bad_lines(self):
        """All lines so far that mean trouble and are not excused. Reads only
        what is new since the last call."""
        try:
            with open(self.path, "rb") as f:
                f.seek(self._offset)
                data = f.read()
        except FileNotFoundError:
            data = b""
        self._offset += len(data)
        text = self._partial + data.decode("utf-8", "replace")
        lines = text.split("\n")
        self._partial = lines.pop()
        self._bad += [x.strip() for x in lines if self._alarming(x.strip())]
        bad = list(self._bad)
        # A line that is not finished yet counts, but only for this call.
        if _BAD.search(self._partial) and self._below >= HEAD:
            bad.append(self._partial.strip())
        return [x for x in bad
                if not any(a.search(x) for a, _ in self.allowed)]

    def check(self):
        """Raise ConsoleError if the kernel complained."""
        bad = self.bad_lines()
        if bad:
            raise ConsoleError(self.name, bad, self.path, self.text())


def check_file(path, name=None):
    """Check a saved console."""
    Console(name or Path(path).stem, path).check()
