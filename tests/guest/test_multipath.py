# SPDX-License-Identifier: GPL-2.0
#
# One disk through two paths: udev, multipathd and the kernel's dm-multipath on the
# initiator, with the configuration of docs/admin.md. Paths go and return while verified
# I/O runs; a cluster fences with a reservation_key.
#
# Not here: one path that goes and returns (test_faults.py, test_load.py).

import contextlib
import os
import signal

import pytest

from . import manual, peer
from .checks import Failed, equal, until
from .initiator import ADD_TARGET, TWO_CHANNELS, UNTIL_STOPPED
from .test_ports import NO_SECOND_NETWORK, SECOND_NETWORK, gid_of

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

    def __init__(self, initiator, *more):
        self.initiator = initiator
        self.files = ("/etc/multipath.conf", "/etc/modprobe.d/local-ib_srp.conf", *more)

    def __enter__(self):
        for path in self.files:
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


def need_multipath(bench):
    if bench.initiator.run("modprobe -q dm_multipath", check=False).rc:
        bench.skip("the kernel has no dm-multipath")


@pytest.mark.timeout(300)
@pytest.mark.engine("lio")
@pytest.mark.roce("its second network has an rxe1")
def test_paths_come_and_go(bench):
    """two ports of the target, two of the initiator, one disk: a cut link and a
    disabled port cost a path, not an error; both return, data is verified"""
    target, initiator = bench.target, bench.initiator
    need_multipath(bench)
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


# PERSISTENT RESERVE OUT: operation code, service actions, and the type that lets all
# registrants write.
RESERVE_OUT, REGISTER, CLEAR, PREEMPT_AND_ABORT = 0x5f, 0, 3, 5
WRITE_EXCLUSIVE_REGISTRANTS = 5
OURS, THEIRS = 0x123abc, 0xb


class OtherHost:
    """A scripted peer that takes part in the reservations of LUN 0."""

    def __init__(self, one):
        self.one = one
        one.login()
        one.settle()

    def change(self, action, key, other=0):
        """PERSISTENT RESERVE OUT, which must succeed."""
        self.one.settle()
        self.one.fill(0, key.to_bytes(8, "big") + other.to_bytes(8, "big") + bytes(8))
        cdb = bytes([RESERVE_OUT, action, WRITE_EXCLUSIVE_REGISTRANTS, 0, 0, 0, 0, 0, 24])
        answer = self.one.ask(peer.cmd(1, cdb, data_out=self.one.at(0, 24)))
        equal(answer.status, 0, "PERSISTENT RESERVE OUT, action %d" % action)

    def write(self):
        """The status of a WRITE."""
        self.one.settle()
        data = self.one.at(0, 512)
        return self.one.ask(peer.cmd(2, peer.write_10(0, 1), data_out=data)).status


@pytest.mark.timeout(240)
@pytest.mark.skipif(not os.environ.get("FENCING"), reason="it takes a minute: FENCING=1")
@pytest.mark.stock("SCST's driver ties a registration to one channel")
def test_fencing(bench):
    """two paths with two channels each, a reservation_key: multipathd registers it through
    a path that comes later; every channel may write; another host is fenced, and fences"""
    target, initiator = bench.target, bench.initiator
    need_multipath(bench)
    second_id = "initiator_ext=0000000000000002,"
    ports = ["0x%016x%s" % (extension, initiator.guid) for extension in (0, 2, 9)]

    def keys(disk):
        out = initiator.run(["sg_persist", "--in", "--read-keys", disk]).out
        return out.count("0x%x" % OURS)

    def persist(*words):
        initiator.run(["mpathpersist", "--out", *words, multipath.disk()])

    def may_write():
        """What writes do through the map and through both paths, with either CPU, which is
        to say with either channel."""
        return {initiator.run(["taskset", "-c", str(cpu), "dd", "if=/dev/zero", "of=" + disk,
                               "bs=4k", "count=1", "oflag=direct"], check=False).rc == 0
                for disk in (multipath.disk(), first, second) for cpu in (0, 1)}

    with bench.two_cpus(), bench.configured(acls=[], disks=0, enable=False), \
            Multipath(initiator, "/etc/multipath/conf.d/reservation.conf") as multipath:
        target.share(target.gid, *ports)
        first, = initiator.login()
        host, = initiator.hosts()
        initiator.login(second_id + TWO_CHANNELS)
        multipath.wait_for("active", "active")
        other_host, = set(initiator.hosts()) - {host}
        initiator.quick(initiator.logout_script(False, "port-%d:*" % other_host))
        multipath.wait_for("active")

        persist("--register", "--param-sark=%x" % OURS)
        persist("--reserve", "--param-rk=%x" % OURS,
                "--prout-type=%d" % WRITE_EXCLUSIVE_REGISTRANTS)
        equal(keys(first), 1, "registrations")
        second, = initiator.login(second_id + TWO_CHANNELS)
        multipath.wait_for("active", "active")
        until(lambda: keys(first) == 2, 30, "multipathd registers through the new path")
        equal((initiator.channels(), target.connections()), (4, 4), "channels")
        equal(may_write(), {True}, "this host may write")

        with bench.peer(extension=9) as one:
            other = OtherHost(one)
            equal(other.write(), peer.RESERVATION_CONFLICT, "the other host writes")
            other.change(REGISTER, 0, THEIRS)
            equal(other.write(), 0, "registered, the other host writes")
            persist("--preempt-abort", "--param-rk=%x" % OURS, "--param-sark=%x" % THEIRS,
                    "--prout-type=%d" % WRITE_EXCLUSIVE_REGISTRANTS)
            equal(other.write(), peer.RESERVATION_CONFLICT, "fenced, the other host writes")
            equal(may_write(), {True}, "this host may write")
            other.change(REGISTER, 0, THEIRS)
            other.change(PREEMPT_AND_ABORT, THEIRS, OURS)
            # The writes take the unit attentions, which sg_persist would stumble over.
            equal(may_write(), {False}, "fenced, this host may write")
            equal(keys(first), 0, "registrations")
            equal(other.write(), 0, "the other host writes")
            other.change(CLEAR, THEIRS)
            equal(may_write(), {True}, "without registrations this host may write")
            one.order("disconnect")
        multipath.end()
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")
