# SPDX-License-Identifier: GPL-2.0
#
# A second InfiniBand subnet: both machines have another HCA, rxe1, on a switch of
# their own, or their HCA has a second port there, with a subnet manager that gives its
# subnet another prefix; and a third machine, an initiator, on that switch. The subnet
# manager looks at the subnet every 10 s, its default: in between, the switch's trap
# tells it of links.
#
# Not here: the switch (scripts/lab/fabric.py), the cable between rxe0 of both
# (scripts/lab/pair.py).

import contextlib
import json
import signal

from lab import Guest, demo
from lab.fabric import Fabric

from .checks import until
from .initiator import Initiator

PREFIX = "fe80000000000001"
SM_CONFIG = "/run/lab/opensm1.conf"
SM_CACHE = "/var/cache/opensm1"
SM_LOG = "/var/log/opensm1.log"
# Ports of the switch.
TARGET, INITIATOR, OTHER = 1, 2, 3

RXE1 = "rdma link add rxe1 type rxe netdev eth1"
NO_RXE1 = "rdma link delete rxe1"


def target_guid(target):
    """GUID of the target's port on the switch."""
    return demo.port_guid(target.guest, 1)


class Second(Initiator):
    """An initiator that logs in through the second subnet, by the HCA on a card of its
    machine, or a port of another, at a port of the switch."""

    hca = None    # of each object; a property of Initiator

    def __init__(self, guest, target, card, port, hca, number=1):
        super().__init__(guest, target)
        self.card, self.port = card, port
        self.hca, self.port_number = hca, number
        self.prefix = PREFIX

    @property
    def guid(self):
        return demo.port_guid(self.guest, self.card)

    @property
    def target_gid(self):
        return "0x" + self.prefix + target_guid(self.target)

    def wait_active(self):
        wait_active(self.guest, self.hca, self.port_number)


def wait_active(guest, hca, number):
    until(lambda: guest.port_state(hca, number) == "ACTIVE", 60,
          "the port of the %s on the switch is active" % guest.name)


class Subnet:
    """The second subnet; what it is made of is there while the context lasts."""

    hca, number = "rxe1", 1

    def __init__(self, bench):
        self.target, self.pair = bench.target, bench.pair
        self.initiator = Second(bench.initiator.guest, bench.target, 1, INITIATOR, self.hca,
                                self.number)
        self.sm = None

    def plug(self, end, port):
        """Give a machine a card with a cable to the switch, and a port on it."""
        end.guest.add_card(self.fabric.wire(port))
        self.make(end)

    def make(self, end):
        """Make a port on the card of a machine."""
        end.run(RXE1)

    def unmake(self, end):
        end.run(NO_RXE1)

    def files(self, name):
        """A file of such a port."""
        return "/sys/class/infiniband/%s/ports/%d/%s" % (self.hca, self.number, name)

    def __enter__(self):
        with contextlib.ExitStack() as all_of_it, contextlib.ExitStack() as stack:
            # At the end: HCAs that were made anew work again.
            stack.callback(self.pair.wait_active)
            self.fabric = all_of_it.enter_context(Fabric(3))
            for port, end in (TARGET, self.target), (INITIATOR, self.initiator):
                self.plug(end, port)
                stack.callback(end.guest.remove_card)
                stack.callback(self.unmake, end)
            self.start_sm()
            stack.callback(self.stop_sm)
            self.wait_active()
            self.machines, self.rest = stack.pop_all(), all_of_it.pop_all()
        return self

    def __exit__(self, kind, value, trace):
        """Machines of a test that failed are thrown away as they are."""
        with self.rest:
            if kind is None:
                self.machines.close()

    def wait_active(self):
        for guest in self.pair.guests:
            wait_active(guest, self.hca, self.number)
        self.pair.wait_active()

    # --- the subnet manager -----------------------------------------------

    def start_sm(self, *more, prefix=PREFIX):
        self.initiator.prefix = prefix
        self.initiator.guest.put(SM_CONFIG, "subnet_prefix 0x%s\n" % prefix)
        self.sm = self.initiator.spawn(
            ["opensm", "-g", "0x" + self.initiator.guid, "-F", SM_CONFIG, "-f", SM_LOG,
             *more], 3600, env={"OSM_CACHE_DIR": SM_CACHE, "OSM_TMP_DIR": "/run/lab"})

    def stop_sm(self):
        self.sm.signal(signal.SIGTERM)
        self.sm.wait(30, check=False)

    def sweep(self):
        """Have it look at everything again."""
        self.sm.signal(signal.SIGHUP)

    # --- cables and machines ----------------------------------------------

    def set_link(self, end, up):
        """Plug in or pull out the cable between the switch and an end, the target
        or a Second."""
        port, card = (TARGET, 1) if end is self.target else (end.port, end.card)
        end.guest.set_link(up, ("nic", "nic1")[card])
        self.fabric.set_link(port, up)

    @contextlib.contextmanager
    def third(self, append="slab_nomerge", **options):
        """Another initiator's machine on the switch, with these kernel parameters and
        options of Guest."""
        guest = Guest("other", self.pair.run_dir, number=3, smp=1, peers=(),
                      wire=json.dumps(dict(self.fabric.wire(OTHER), id="wire")),
                      transport="ib", manages=False, append=append,
                      kernel=self.initiator.guest.kernel, limit=3600, **options)
        with guest:
            other = Second(guest, self.target, 0, OTHER, "rxe0")
            other.be_patient()
            other.wait_active()
            yield other


class SecondPorts(Subnet):
    """The second subnet by a second port of the HCA of each machine, whose first is on
    the cable as ever."""

    hca, number = "rxe0", 2

    def make(self, end):
        end.guest.remake_hca("eth1")

    def unmake(self, end):
        end.guest.remake_hca()
