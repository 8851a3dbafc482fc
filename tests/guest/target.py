# SPDX-License-Identifier: GPL-2.0
#
# The target machine as tests see it, whatever the storage engine: the module
# under test (ours, or a C driver as a baseline), and what the RDMA core knows
# about its connections.
#
# Not here: how a target is configured (lio.py, scst.py), the other end
# (initiator.py), checks of what is found.

import contextlib
import shlex

from lab import demo, env, sanitized
from lab.guest import mac_of, quick

from .checks import skip, until
from .kernel_log import KernelLog

QUEUE_PAIRS = ["rdma", "resource", "show", "qp"]
PARAMETERS = "/sys/module/ib_srpt/parameters"
TRACING = "/sys/kernel/tracing"
CM_PORT = 5555

# Queue pairs of management datagrams, which an HCA always has.
MANAGEMENT_QPS = {"rxe": 1, "siw": 0, "ib": 2}

# Prints whatever a finished test should not have left behind. It runs after
# every test, hence with few programs.
LEFT_BEHIND = r"""
[ -d /sys/module/ib_srpt ] && echo "the module is loaded"
case "$(rdma resource show)" in
    *": @HCA@: "*" qp @QPS@ cm_id 0 "*) ;;
    *) rdma resource show qp; rdma resource show cm_id ;;
esac
[ "$(ls /sys/class/infiniband)" = @HCA@ ] ||
    echo "HCAs: $(echo $(ls /sys/class/infiniband)), not @HCA@"
read carrier < /sys/class/net/eth0/carrier
[ "$carrier" = 1 ] || echo "no carrier"
read online < /sys/devices/system/cpu/online
[ "$online" = 0 ] || echo "CPUs $online are on"
grep -ls '^State:.D' /proc/[0-9]*/status
true
"""


def expected(script):
    """Such a script with what every test finds and leaves."""
    kind = env.transport()
    return script.replace("@HCA@", env.TRANSPORTS[kind]).replace(
        "@QPS@", str(MANAGEMENT_QPS[kind]))


class Target(KernelLog):
    """One guest in the role of the target. What is abstract here depends on
    the storage engine; names of initiators are their port identifiers."""

    engine = None           # as in ENGINE=
    identification = ""     # of the I/O controller, by default
    vendor = b""            # the first 7 bytes of it in INQUIRY data
    admits_all = False      # who is not named is let in, too
    keeps_configuration = False     # when the HCA goes and comes back
    resets_silently = True  # what an initiator's reset ends for others
    largest_lun = 65535     # that tests use
    leaves = {}             # objects per slab cache that its sessions leave
    functions = ""          # that scripts of shell() have
    traces = ""             # more that a test may have left, as a script

    def __init__(self, guest, variant, module):
        self.guest = guest
        self.variant = variant          # "rust" or "stock"
        self.module = module            # the built ib_srpt.ko
        self.installed_at = None        # the boot that has it
        self.bases = set()              # where its code was
        self.run, self.spawn, self.quick = guest.run, guest.spawn, guest.quick

    @property
    def guid(self):
        """GUID of the HCA's port; with RoCE, its node's, too."""
        return demo.port_guid(self.guest)

    @property
    def node_guid(self):
        """Of the HCA: tests/softib/softib.c gives InfiniBand another."""
        if self.guest.transport == "ib":
            return self.guid[:6] + "0300" + self.guid[10:]
        return self.guid

    @property
    def gid(self):
        """Default GID: 0x and 32 digits. With iWARP it is the MAC address."""
        if self.guest.transport == "siw":
            return "0x" + mac_of(self.guest.number).replace(":", "") + "0" * 20
        return "0xfe80000000000000" + self.guid

    @property
    def service_guid(self):
        """The service GUID that follows from it by default."""
        return self.node_guid

    def ib_service(self, pkey="ffff", gid=None):
        """Where the IB/CM finds it, in the words of srp_daemon, of which ib_srp
        takes these, and so do the peers of tests/initiator and tools/dest.h."""
        return "dgid=%s,pkey=%s,service_id=%s" % (
            (gid or self.gid)[2:], pkey, self.service_guid)

    # --- the module -------------------------------------------------------

    def install(self):
        """See that modprobe, whoever runs it, takes the module under test."""
        if self.installed_at != self.guest.boots:
            self.guest.install_module(self.module, load=False,
                                      name="ib_srpt")
            self.installed_at = self.guest.boots

    def load(self, params="", check=True):
        """Load the module under test; returns the command's result."""
        self.install()
        done = self.quick("modprobe ib_srpt " + params, check=check)
        if sanitized.wanted() and done.rc == 0:
            self.bases.add(self.read("/sys/module/ib_srpt/sections/.text"))
        return done

    def unload(self, timeout=30):
        self.run(["rmmod", "ib_srpt"], timeout=timeout)

    def parameter(self, name):
        return self.read(PARAMETERS + "/" + name)

    def read(self, path):
        return self.run(["cat", path]).out.rstrip("\n")

    def write(self, path, value):
        """Write to a file of sysfs or configfs; returns "" or the error's
        name, as in "Invalid argument"."""
        done = self.quick("echo %s > %s" % (shlex.quote(str(value)), path),
                          check=False)
        return "" if done.rc == 0 else done.out.rsplit(": ", 1)[-1].strip()

    def loaded(self):
        return self.quick("[ -d /sys/module/ib_srpt ]", check=False).rc == 0

    # --- configuration ----------------------------------------------------

    def shell(self, script, timeout=60, check=True):
        """Run a script that has the engine's functions."""
        return self.quick("set -e\n" + self.functions + script, timeout=timeout,
                          check=check)

    def prepare(self):
        """What the machine needs once, after it has booted."""
        raise NotImplementedError

    def configure(self, acls, disks=1, megabytes=64, enable=True,
                  port=CM_PORT, params="", attributes=None, luns=None):
        """Load the module and export disks to these names: LUN 0 and up, or
        those of `luns`. The attributes are srp_max_rsp_size, srp_sq_size and
        use_srq."""
        raise NotImplementedError

    def unconfigure(self, timeout=60):
        """Remove the whole configuration and unload the module."""
        raise NotImplementedError

    def enable(self, on=True, timeout=60):
        raise NotImplementedError

    def listen(self, port):
        """Set the port for RDMA/CM logins, 0 for none; returns "" or the
        error's name."""
        raise NotImplementedError

    def add_acl(self, name):
        """Let an initiator in."""
        raise NotImplementedError

    def remove_acl(self, name, timeout=60):
        """End the sessions of an initiator; it is not let in again, unless
        everybody is."""
        raise NotImplementedError

    def slow_disk(self, acls, tas=0):
        """Load the module and export a disk of slow.py as LUN 0. With `tas`,
        commands that another initiator aborts are answered."""
        raise NotImplementedError

    def aborts(self):
        """How many ABORT TASKs the slow disk has got; None if nobody
        counts."""
        return None

    def open(self, gid, on=True, timeout=60):
        """Let initiators in through the port with this GID, or close it."""
        raise NotImplementedError

    def share(self, gid, *names):
        """Export one disk, the same each time, through the port with this GID to these
        initiators; with SCST, to all."""
        raise NotImplementedError

    def private_disks(self, names, address):
        """LUNs 0 and 1 for nobody but these initiators, who have a configured
        target, and come from this address."""
        raise NotImplementedError

    def resets(self, disk=0):
        """How many LUN resets of a disk were counted; None if nobody does."""
        return None

    # --- what there is ----------------------------------------------------

    def connections(self):
        """How many queue pairs of ours are connected."""
        out = self.run(QUEUE_PAIRS).out
        return sum("type RC" in line and "state RTS" in line
                   for line in out.splitlines())

    def queue_pairs(self):
        """How many there are, in whatever state."""
        return self.run(QUEUE_PAIRS).out.count("type RC")

    def wait_for_connections(self, count, timeout=30):
        until(lambda: self.queue_pairs() == count, timeout,
              "%d queue pairs on the target (there are %s)"
              % (count, self.run(QUEUE_PAIRS).out.strip()))

    @contextlib.contextmanager
    def calls(self, function):
        """Yields a function that says how often the kernel has called one of its own since;
        one at a time."""
        probe = TRACING + "/kprobe_events"
        self.run("echo 'p:lab/calls %s' >> %s && echo 1 > %s/events/lab/calls/enable"
                 % (function, probe, TRACING))

        def count():
            lines = self.read(TRACING + "/kprobe_profile").splitlines()
            return next(int(x.split()[1]) for x in lines if x.split()[0] == "calls")
        try:
            yield count
        finally:
            self.run("echo 0 > %s/events/lab/calls/enable && echo '-:lab/calls' >> %s && "
                     "echo > %s/trace" % (TRACING, probe, TRACING))

    def sessions_counted(self):
        """Yields a function that says how many sessions the engine has opened since, if
        `leaves` says what these leave."""
        return contextlib.nullcontext(lambda: 0)

    def left_behind(self):
        """A job that prints what a test left."""
        return self.spawn(quick(self.traces + expected(LEFT_BEHIND)), 60)

    def need_rust(self, why):
        if self.variant != "rust":
            skip("only our module: " + why)

    def add_hca(self):
        self.guest.add_hca()

    def remove_hca(self, timeout=60):
        self.guest.remove_hca(timeout)
