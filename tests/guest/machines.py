# SPDX-License-Identifier: GPL-2.0
#
# Machines for the guest tests: booted when first needed, used again while
# tests leave them clean, replaced otherwise. When the life of clean machines
# with the sanitized kernel ends, their memory is searched for leaks.
#
# Not here: booting itself (scripts/lab) and the tests' order (runner.py).

import os
import time

from lab import Guest, LabError, Pair, env, leaks
from lab.guest import default_kernel

from .initiator import Initiator
from .lio import LioTarget
from .scst import ScstTarget

# Two CPUs each: races want company. Where two runs share two processors, one
# for the target is better (docs/testing.md).
CPUS = 2
TARGET_CPUS = int(os.environ.get("LAB_CPUS") or CPUS)

# Emulated CPUs now and then trip over the kernel patching itself during boot.
BOOT_ATTEMPTS = 3
SETTINGS = {"smp": TARGET_CPUS, "limit": 3 * 3600, "append": "slab_nomerge"}


class Machines:
    """At most one pair or one single machine at a time."""

    def __init__(self, variant, module, run_dir, say, scst=None):
        self.variant, self.module = variant, module
        self.scst = scst            # scst.Tree, or None for LIO
        self.run_dir, self.say = run_dir, say
        self.programs = {}          # compiled on the host, for guests
        self.boots = 0
        # Verdicts on machines whose life has ended: (name, verdict, seconds,
        # text), as those of tests; whoever reports them takes them out.
        self.verdicts = []
        self.machine = None         # a Pair or a Guest
        self.target = self.initiator = None

    def guests(self):
        if isinstance(self.machine, Pair):
            return self.machine.guests
        return (self.machine,) if self.machine else ()

    def get(self, needs):
        """Make sure that there is what a test needs."""
        if self.machine and (needs == "single" or self.initiator):
            return
        for again in reversed(range(BOOT_ATTEMPTS)):
            try:
                return self._boot(needs)
            except LabError as error:
                self.discard()
                if not again:
                    raise
                self.say("booting failed, before any test: %s; again"
                         % str(error).splitlines()[0])

    def _boot(self, needs):
        self.retire()
        self.boots += 1
        folder = self.run_dir / ("machines-%02d" % self.boots)
        folder.mkdir()
        if needs == "pair":
            peer = {"smp": CPUS, "kernel": default_kernel("PEER_KERNEL")}
            self.machine = Pair(run_dir=folder, initiator=peer, **SETTINGS)
            target = self.machine.target
        else:
            self.machine = target = Guest("target", run_dir=folder,
                                          **SETTINGS)
        self.machine.start()
        self.say("booted %s in %.1f s (consoles in %s)" % (
            "a pair" if needs == "pair" else "one machine",
            max(g.boot_seconds for g in self.guests()), folder.name))
        if self.scst:
            self.target = ScstTarget(target, self.variant, self.module,
                                     self.scst)
        else:
            self.target = LioTarget(target, self.variant, self.module)
        self.target.prepare()
        if needs == "pair":
            self.initiator = Initiator(self.machine.initiator, self.target)
            # ib_srp waits up to 80 s for the answer of a target that is away.
            self.machine.initiator.limit_waits(180 * env.pace())

    def complaints(self):
        """What the kernels of the machines in use complained about."""
        bad = []
        for guest in self.guests():
            bad += ["%s: %s" % (guest.name, line)
                    for line in guest.console.bad_lines()]
        return bad

    def left_behind(self):
        """What a test left that the next one should not find."""
        found = []
        for end in (self.target, self.initiator):
            if end:
                text = end.left_behind()
                if text:
                    found.append("on the %s:\n%s" % (end.guest.name, text))
        return "\n".join(found)

    def retire(self):
        """The end of machines that are as they should be: the last look at
        them, then discard()."""
        watched = [g for g in self.guests() if g.kernel.kind == "sanitized"]
        if watched:
            began = time.monotonic()
            try:
                found = [self._leaks(guest) for guest in watched]
            except LabError as error:
                found = ["the search for leaks failed: %s" % error]
            text = "\n".join(f for f in found if f)
            self.verdicts.append(("leaks.machines-%02d" % self.boots,
                                  "FAILED" if text else "ok",
                                  time.monotonic() - began, text))
        self.discard()

    def _leaks(self, guest):
        """What kmemleak found on one machine, as text."""
        if not leaks.supported(guest):
            raise LabError("the kernel of %s has no kmemleak" % guest.name)
        found = leaks.scan(guest)
        guest.check_console()
        if not found:
            return ""
        bases = ""
        if self.target and guest is self.target.guest:
            bases = "\nib_srpt was loaded with .text at " + ", ".join(
                sorted(self.target.bases)) if self.target.bases else ""
        (guest.run_dir / (guest.name + ".kmemleak")).write_text(
            "\n".join(leak.text for leak in found) + bases + "\n")
        return "%s: %d objects (%d bytes) without an owner (all of them in " \
            "%s/%s.kmemleak), for example\n%s%s" % (
                guest.name, len(found), sum(x.size for x in found),
                guest.run_dir, guest.name,
                "\n".join(x.text for x in found[:3]), bases)

    def discard(self):
        """Pull the plug; the next test gets fresh machines."""
        if self.machine:
            self.machine.kill()
        self.machine = self.target = self.initiator = None
