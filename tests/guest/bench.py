# SPDX-License-Identifier: GPL-2.0
#
# What a guest test gets as `bench`: the machines, and the usual ways to prepare
# them.
#
# Not here: who makes it (conftest.py), checks (checks.py).

import contextlib

from harness.clock import clock
from lab import REPO, hcas

from .checks import skip, until
from .initiator import TWO_CHANNELS
from .peer import Peer


class Bench:
    """The machines of this worker, and what is often done with them."""

    repo = REPO

    def __init__(self, machines, properties=None):
        self.machines = machines
        self.properties = properties    # what the report of the test has

    @property
    def target(self):
        return self.machines.target

    @property
    def initiator(self):
        return self.machines.initiator

    @property
    def pair(self):
        return self.machines.machine

    def say(self, text):
        """A line for the report of the test."""
        print(text, flush=True)

    def fault(self, what, seen, seconds=None, curve=None):
        """A row of the table of faults: what was done, what was seen, how long the session
        took to recover, and what plot.curve() draws."""
        self.say("%s: %s%s" % (what, seen, "" if seconds is None else
                               ", recovered after %.1f s" % seconds))
        self.properties.append(("fault", {
            "fault": what, "seen": seen, "seconds": seconds, "curve": curve}))

    def skip(self, why):
        skip(why)

    @contextlib.contextmanager
    def configured(self, acls=None, params="", **options):
        """A target that lets the initiator in, and its removal. The options
        are those of Target.configure()."""
        if acls is None:
            acls = [self.initiator.port_id]
        with clock.preparing():
            self.target.configure(acls, params=params, **options)
        yield self.target
        with clock.preparing():
            self.target.unconfigure()

    @contextlib.contextmanager
    def session(self, more=TWO_CHANNELS, params="", disks=1,
                target_params="", **options):
        """A configured target and an initiator that is logged in; yields the
        disk, or the list if there are more. Logs out and removes all.
        `more` and `params` are the initiator's."""
        with self.configured(disks=disks, params=target_params, **options):
            with clock.preparing():
                found = self.initiator.login(more, params, disks)
            yield found[0] if disks == 1 else found
            with clock.preparing():
                self.initiator.logout()
            until(lambda: self.target.queue_pairs() == 0, 30,
                  "the logout reaches the target")

    @contextlib.contextmanager
    def two_cpus(self):
        """The second CPU of each machine, which is off otherwise. Not of a target
        with SCST: its memory pools are those of the CPUs that are there when it is
        loaded (`scst_mem.c`, "not compatible with CPU hotplug")."""
        guests = [guest for guest in self.pair.guests
                  if guest is self.pair.initiator or self.target.engine != "scst"]
        for number in (1, 0):
            for guest in guests:
                guest.run("echo %d > /sys/devices/system/cpu/cpu1/online"
                          % number)
            if number:
                yield

    def other_hcas(self, driver):
        """A function that gives both machines HCAs of this kind instead of theirs
        while its context lasts. Their driver, one of lab.hcas, is built before the
        test's time begins; where there is none, the test is skipped."""
        try:
            for guest in self.pair.guests:
                driver.module(guest.kernel)
        except hcas.Missing as why:
            skip(str(why))

        @contextlib.contextmanager
        def instead():
            before = self.pair.initiator.transport
            self.pair.change_hca(driver.transport)
            yield
            self.pair.change_hca(before)
        return instead

    def test_module(self, name, guest=None):
        """Path of a module from tests/guest/modules for a machine, by default the
        initiator's."""
        guest = guest or self.pair.initiator
        return self.machines.built.test_module(name, guest.kernel)

    @contextlib.contextmanager
    def target_module(self, name, params=""):
        """One of them in the target machine, for as long as the context lasts."""
        target = self.target
        target.guest.install_module(self.test_module(name, target.guest), params=params)
        try:
            yield
        finally:
            target.run("rmmod " + name)

    def peer(self, **options):
        """A scripted peer on the initiator machine; see peer.py."""
        return Peer(self.initiator, self.machines.built.program("srp_peer"),
                    **options)
