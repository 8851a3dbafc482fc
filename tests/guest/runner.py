# SPDX-License-Identifier: GPL-2.0
#
# Runs guest tests one after the other: machines, time limits, the verdict of
# the console guard, and whether a test cleaned up after itself.
#
# Tests depend on how fast two emulated machines get on. What did not happen in
# time is therefore tried a second time, on new machines, a few times per run;
# what is wrong is not (registry.Wrong). The report says so.
#
# Not here: the registry (registry.py), how results are printed (tests/run).

import contextlib
import os
import re
import signal
import traceback

from lab import REPO, ConsoleError, GuestDied, LabError, env

from .machines import Machines
from .peer import Peer
from .registry import TESTS, Checks, Failed, Skip, Wrong, until

# How many tests may be tried a second time in one run.
RETRIES = int(os.environ.get("RETRIES") or 3)

# What the text of one that passed then begins with.
SECOND_TRY = "at the second try; the first failed: "

# What the stock kernel of the initiator, where no code of ours runs, was seen to
# do by itself: (expression over its console, what it is). A test that meets it
# is tried a second time like one that is late.
STOCK_FAULTS = (
    (r"RIP: \S+:rxe_req_notify_cq\+(?s:.*)ib_poll_handler\+",
     "ib_poll_handler() asks for events of a completion queue after it has "
     "called irq_poll_complete(), which is all that ib_free_cq() waits for"),
)

# Extra time for a test that ignores its time limit the first time.
LAST_WARNING = 60


class OutOfTime(BaseException):
    """The hard time limit of a test is over. Not an Exception, so that no
    test swallows it by accident."""


class Bench:
    """What a test gets: the machines, and a way to tell what it does."""

    repo = REPO

    def __init__(self, machines, say):
        self.machines = machines
        self.target = machines.target
        self.initiator = machines.initiator
        self.say = say

    @property
    def pair(self):
        return self.machines.machine

    def skip(self, why):
        raise Skip(why)

    @contextlib.contextmanager
    def configured(self, acls=None, params="", **options):
        """A target that lets the initiator in, and its removal. The options
        are those of Target.configure()."""
        if acls is None:
            acls = [self.initiator.port_id]
        self.target.configure(acls, params=params, **options)
        yield self.target
        self.target.unconfigure()

    @contextlib.contextmanager
    def session(self, more="max_sect=8192", params="", disks=1,
                target_params="", **options):
        """A configured target and an initiator that is logged in; yields the
        disk, or the list if there are more. Logs out and removes all.
        `more` and `params` are the initiator's."""
        with self.configured(disks=disks, params=target_params, **options):
            found = self.initiator.login(more, params, disks)
            yield found[0] if disks == 1 else found
            self.initiator.logout()
            until(lambda: self.target.queue_pairs() == 0, 30,
                  "the logout reaches the target")

    def test_module(self, name):
        """Path of a module from tests/guest/modules, built when first asked
        for."""
        return self.machines.test_module(name)

    def peer(self, **options):
        """A scripted peer on the initiator machine; see peer.py."""
        return Peer(self.initiator, self.machines.programs["peer"], **options)


@contextlib.contextmanager
def time_limit(seconds):
    def over(number, frame):
        signal.alarm(LAST_WARNING)
        raise OutOfTime("not done after %d s" % seconds)

    seconds = round(seconds * env.pace())
    old = signal.signal(signal.SIGALRM, over)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


class Runner:
    """Runs tests; `report(name, verdict, seconds, text)` gets the results,
    verdict being "ok", "FAILED" or "SKIP"."""

    def __init__(self, variant, module, programs, test_module, run_dir, say,
                 scst=None, retries=RETRIES):
        self.retries = retries
        self.variant = variant
        self.engine = "scst" if scst else "lio"
        self.machines = Machines(variant, module, run_dir, say, scst)
        self.machines.programs = programs
        self.machines.test_module = test_module
        self.say = say

    def run(self, test):
        """One test; returns (verdict, text)."""
        if test.engine not in (None, self.engine):
            return "SKIP", "it is for the other engine: ENGINE=%s%s" % (
                test.engine, " SCST_DIR=<built SCST tree>"
                if test.engine == "scst" else "")
        if self.variant == "stock" and test.stock:
            return "SKIP", "the C driver: " + test.stock
        verdict, text, wrong = self._try(test)
        if verdict == "FAILED" and not wrong and self.retries:
            self.retries -= 1
            self.say("FAILED %s, and is tried again with new machines"
                     % test.name)
            first = text
            verdict, text, wrong = self._try(test)
            if verdict == "ok":
                return verdict, SECOND_TRY + first
            text = "at the first try: %s\nat the second try: %s" % (first,
                                                                   text)
        return verdict, text

    def _try(self, test):
        """One try; returns (verdict, text, whether there is no second)."""
        try:
            self.machines.get(test.needs)
        except (LabError, OSError) as error:
            self.machines.discard()
            return "FAILED", "no machine: %s" % error, True
        verdict, text, wrong = self._run(test)
        if verdict == "FAILED":
            wrong = wrong or bool(self.machines.complaints())
            fault = self._stock_fault()
            if fault:
                wrong = False
                text += "\na fault of the initiator's kernel: " + fault
            text += self._context()
            self.machines.discard()
        elif test.spoils:
            self.machines.retire()
        return verdict, text, wrong

    def _stock_fault(self):
        """What the initiator's kernel has done by itself, if anything; the
        target's must be well."""
        if not self.machines.initiator or \
                self.machines.target.guest.console.bad_lines():
            return None
        console = self.machines.initiator.guest.console.text()
        return next((what for expression, what in STOCK_FAULTS
                     if re.search(expression, console)), None)

    def _run(self, test):
        """The test itself, then what it may have left behind."""
        Checks.count = 0
        try:
            with time_limit(test.timeout):
                test.function(Bench(self.machines, self.say))
            if not Checks.count:
                raise Wrong("the test has checked nothing")
            with time_limit(60):
                self._aftermath(test)
            return "ok", "", False
        except Skip as why:
            # A test skips before it touches anything, or it fails.
            with time_limit(60):
                left = self.machines.left_behind()
            if left:
                return "FAILED", "skipped (%s), but left %s" % (why,
                                                                left), True
            return "SKIP", str(why), False
        except OutOfTime as error:
            return "FAILED", "time limit: %s; it was at\n%s" % (
                error, where(error)), False
        except (Wrong, ConsoleError, GuestDied) as error:
            return "FAILED", "%s\n%s" % (error, where(error)), True
        except (Failed, LabError, TimeoutError) as error:
            return "FAILED", "%s\n%s" % (error, where(error)), False
        except Exception:
            return "FAILED", traceback.format_exc(), True

    def _aftermath(self, test):
        bad = self.machines.complaints()
        if bad:
            raise Wrong("the kernel complained:\n  " + "\n  ".join(bad))
        if test.spoils:
            return
        left = ""

        def clean():
            nonlocal left
            left = self.machines.left_behind()
            return not left
        try:
            until(clean, 10, "clean machines")
        except Failed:
            raise Failed("left behind " + left) from None

    def _context(self):
        """The ends of the kernel logs, for the report of a failure."""
        out = ""
        for guest in self.machines.guests():
            lines = guest.console.tail(12)
            out += "\n--- end of the console of %s (%s):\n%s" % (
                guest.name, guest.console_path, lines)
        return out

    def verdicts(self):
        """Verdicts on machines since the last call; see machines.py."""
        taken, self.machines.verdicts = self.machines.verdicts, []
        return taken

    def end(self):
        """The last look at the machines, and their end."""
        self.machines.retire()


def where(error):
    """The line of the test that raised, as "t_x.py:12: code"."""
    frames = [f for f in traceback.extract_tb(error.__traceback__)
              if "/tests/guest/t_" in f.filename]
    return "\n".join("  at %s:%d: %s" % (f.filename.rsplit("/", 1)[-1],
                                         f.lineno, f.line)
                     for f in frames[-3:])


def tests():
    return list(TESTS)
