# SPDX-License-Identifier: GPL-2.0
#
# The two machines of a worker: booted when a test first needs them, used again
# while tests leave them clean, replaced otherwise. When the life of clean
# machines with the sanitized kernel ends, their memory is searched for leaks.
#
# Not here: booting itself (scripts/lab), when machines are replaced
# (conftest.py), what is compiled for them (built.py).

import os

from harness.clock import clock
from lab import LabError, Pair, arm64, leaks
from lab.guest import default_kernel

from .initiator import Initiator
from .lio import LioTarget
from .scst import ScstTarget

# Emulated CPUs now and then trip over the kernel patching itself during boot.
BOOT_ATTEMPTS = 3
# Of the two CPUs one is off until a test wants it: with more CPUs than the host
# has processors, those that hold a lock lose it to those that wait for the lock.
SETTINGS = {"limit": 3600 * (3 + float(os.environ.get("HOURS") or 0)), "smp": 2, "append": "slab_nomerge maxcpus=1"}


class Leaks(Exception):
    """Memory without an owner was found when machines came to their end."""


class Machines:
    """At most one pair at a time."""

    def __init__(self, variant, built, run_dir, say, scst=None):
        self.variant, self.built = variant, built
        self.scst = scst            # scst.Tree, or None for LIO
        self.run_dir, self.say = run_dir, say
        self.boots = 0
        self.machine = None         # a Pair
        self.target = self.initiator = None

    def guests(self):
        return self.machine.guests if self.machine else ()

    def processes(self):
        """Process numbers of the machines that run."""
        return [g.qemu.pid for g in self.guests() if g.qemu]

    def get(self):
        """Make sure that there is a pair."""
        if self.machine:
            return
        module = self.built.all().small_module
        for again in reversed(range(BOOT_ATTEMPTS)):
            try:
                with clock.booting():
                    self._boot(module)
                return
            except BaseException as error:
                self.discard()
                if not again or not isinstance(error, LabError):
                    raise
                self.say("booting failed, before any test: %s; again"
                         % str(error).splitlines()[0])

    def _boot(self, module):
        self.boots += 1
        folder = self.run_dir / ("machines-%02d" % self.boots)
        folder.mkdir(parents=True)
        self.machine = Pair(
            run_dir=folder, **SETTINGS,
            initiator={"kernel": default_kernel("PEER_KERNEL")})
        self.machine.start()
        self.say("booted a pair in %.1f s (consoles in %s)" % (
            max(g.boot_seconds for g in self.guests()), folder))
        target = self.machine.target
        if target.kernel.foreign:
            target.install_module(arm64.get().scsi_debug(target.kernel.release), load=False)
        if self.scst:
            self.target = ScstTarget(target, self.variant, module, self.scst)
        else:
            self.target = LioTarget(target, self.variant, module)
        self.target.prepare()
        self.initiator = Initiator(self.machine.initiator, self.target)
        self.initiator.be_patient()

    def complaints(self):
        """What the kernels of the machines in use complained about."""
        bad = []
        for guest in self.guests():
            bad += ["%s: %s" % (guest.name, line)
                    for line in guest.console.bad_lines()]
        return bad

    def left_behind(self):
        """What a test left that the next one should not find."""
        found = ["packets of the %s are lost or late" % guest.name
                 for guest in self.guests() if guest.netem]
        found += ["%s is plugged into the %s" % (guest.plugged, guest.name)
                  for guest in self.guests() if guest.plugged]
        jobs = [(end, end.left_behind()) for end in
                (self.target, self.initiator) if end]
        for end, job in jobs:
            text = job.wait().out.strip()
            if text:
                found.append("on the %s:\n%s" % (end.guest.name, text))
        return "\n".join(found)

    def retire(self):
        """The end of machines that are as they should be: the last look at
        them, then discard()."""
        try:
            watched = [g for g in self.guests()
                       if g.kernel.kind == "sanitized"]
            found = [self._leaks(guest) for guest in watched]
        finally:
            self.discard()
        if any(found):
            raise Leaks("\n".join(f for f in found if f))
        for guest in watched:
            self.say("no memory without an owner on the %s" % guest.name)

    def _leaks(self, guest):
        """What kmemleak found on one machine, as text."""
        if not leaks.supported(guest):
            raise LabError("the kernel of %s has no kmemleak" % guest.name)
        found = leaks.scan(guest)
        guest.check_console()
        if not found:
            return ""
        bases = ""
        if guest is self.target.guest and self.target.bases:
            bases = "\nib_srpt was loaded with .text at " + ", ".join(
                sorted(self.target.bases))
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
