# SPDX-License-Identifier: GPL-2.0
#
# One disk through two ports of the target: udev, multipathd and the kernel's
# dm-multipath on the initiator, with the configuration of docs/admin.md. Paths
# go and return while verified I/O runs.
#
# Not here: one path that goes and returns (test_faults.py, test_load.py).

import contextlib
import signal

import pytest

from . import manual
from .checks import Failed, equal, until
from .initiator import ADD_TARGET, UNTIL_STOPPED
from .test_ports import NO_SECOND_NETWORK, SECOND_NETWORK, gid_of

pytestmark = [pytest.mark.engine("lio"),
              pytest.mark.roce("its second network has an rxe1")]

# The second network: an interface of its own on both machines, with an HCA.
# Packets are lost by a queueing discipline that is there from the start, for
# the reason in scripts/lab/guest.py.
MACS = ("52:54:00:09:00:81", "52:54:00:09:00:82")
ADDRESSES = ("10.9.5.1", "10.9.5.2")
QUEUE = "tc qdisc add dev second root netem limit 100000"
# rxe0 has the addresses of interfaces on top of its own, too, and who connects
# gets the HCA that is older.
OLDER = "rdma link delete rxe0; rdma link add rxe0 type rxe netdev eth0"

# udevd starts late: HCAs keep their names.
UDEV = r"""
set -e
modprobe -a dm_multipath sd_mod
/usr/lib/systemd/systemd-udevd --daemon
udevadm settle
"""
NO_UDEV = r"""
udevadm control --exit
for i in $(seq 100); do pgrep -x systemd-udevd >/dev/null || break; sleep 0.1; done
rm -rf /run/udev /etc/multipath /etc/multipath.conf /etc/modprobe.d/local-ib_srp.conf
"""


@contextlib.contextmanager
def second_network(bench):
    """rxe1 on both machines, on a network of their own; yields a function that gives
    netem these words for what these ends send, by default both; without words the
    network is whole."""
    ends = (bench.target, bench.initiator)
    for n, end in enumerate(ends):
        end.run(SECOND_NETWORK.format(mac=MACS[n], address=ADDRESSES[n],
                                      other=ADDRESSES[1 - n],
                                      other_mac=MACS[1 - n], queue=QUEUE))
    bench.initiator.run(OLDER)

    def netem(words="", only=ends):
        for end in only:
            end.run("tc qdisc change dev second root netem limit 100000 "
                    "loss 0% corrupt 0% " + words)
    yield netem
    for end in ends:
        end.run(NO_SECOND_NETWORK, timeout=60)


class Multipath:
    """multipathd on the initiator."""

    def __init__(self, initiator):
        self.initiator = initiator

    def __enter__(self):
        for path in ("/etc/multipath.conf",
                     "/etc/modprobe.d/local-ib_srp.conf"):
            self.initiator.guest.put(path, manual.block(path))
        self.initiator.run(UDEV)
        self.daemon = self.initiator.spawn(["multipathd", "-d", "-s"], 600)
        try:
            until(lambda: self.ask("show daemon").startswith("pid"), 60,
                  "multipathd answers")
        except Failed as error:
            raise Failed("%s; it says: %s" % (error, self.daemon.output))
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.initiator.run(NO_UDEV, timeout=60)

    def end(self):
        """End the daemon, which would make a map again, and remove the map."""
        self.daemon.signal(signal.SIGTERM)
        self.daemon.wait(30, check=False)
        until(lambda: "No devices" in self.initiator.run(
            "multipath -F; dmsetup ls").out, 30, "the map is gone")

    def ask(self, question, *form):
        """multipathd's answer, "" while it has none."""
        done = self.initiator.run(["multipathd", *question.split(), *form],
                                  check=False)
        return done.out if done.rc == 0 else ""

    def paths(self):
        """What device mapper says of each path: {"sda": "active"}."""
        out = self.ask("show paths raw format", "%d %t")
        return dict(line.split() for line in out.splitlines()
                    if len(line.split()) == 2)

    def wait_for(self, *states):
        """Until these are the states of the paths, in their names' order."""
        until(lambda: [s for _, s in sorted(self.paths().items())] ==
              list(states), 90, "paths are %s" % " and ".join(states))

    def disk(self):
        """The one map, as /dev/dm-<number>."""
        name, = self.ask("show maps raw format", "%d").split()
        return "/dev/" + name

    def both_work(self):
        """Until data moves on both paths."""
        self.wait_for("active", "active")
        for name in self.paths():
            self.initiator.moves("/dev/" + name)

    def lives_without(self, state, lose, get_back):
        """Data moves on the map while a path is away; `state` are those of both then.
        Afterwards both work."""
        lose()
        self.wait_for(*state)
        self.initiator.moves(self.disk())
        get_back()
        self.both_work()


@pytest.mark.timeout(300)
def test_paths_come_and_go(bench):
    """two ports of the target, two of the initiator, one disk: a cut link and a
    disabled port cost a path, not an error; both return, data is verified"""
    target, initiator = bench.target, bench.initiator
    if initiator.run("modprobe -q dm_multipath", check=False).rc:
        bench.skip("the kernel has no dm-multipath")
    with second_network(bench) as netem, \
            bench.configured(acls=[], disks=0, enable=False), \
            Multipath(initiator) as multipath:
        for hca, initiator_guid in (("rxe0", initiator.guid), (
                "rxe1", gid_of(initiator, "rxe1")[-16:])):
            target.share(gid_of(target, hca), "0x0000000000000000" + initiator_guid)
        # A lost link is noticed sooner with few retries.
        more = "max_sect=8192,tl_retry_count=2"
        first, = initiator.login(more)
        initiator.run("echo %s > %s" % (
            initiator.string(more, dest=ADDRESSES[0]),
            ADD_TARGET % ("rxe1", 1)))
        multipath.wait_for("active", "active")
        names = sorted(multipath.paths())
        equal("/dev/" + names[0], first, "the path that is first by name")
        disk = multipath.disk()
        job = initiator.load(disk, UNTIL_STOPPED, depth=4)

        multipath.both_work()
        multipath.lives_without(("active", "failed"), lambda: netem("loss 100%"), netem)
        multipath.lives_without(("failed", "active"), lambda: target.enable(False), target.enable)

        initiator.stop(job, disk)
        equal(sorted(multipath.paths()), names, "the paths at the end")
        equal(initiator.run("cat /sys/class/srp_remote_ports/port-*/"
                            "fast_io_fail_tmo").out.split(), ["3"] * 2,
              "fast_io_fail_tmo, as in modprobe.d,")
        multipath.end()
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")
