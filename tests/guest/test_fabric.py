# SPDX-License-Identifier: GPL-2.0
#
# More of InfiniBand than a cable between two ports: two subnets with prefixes of
# their own, HCAs with two ports, a switch, two initiators on it, several LIDs per port,
# many sessions, a subnet manager that moves. With TRANSPORT=ib only, as they take long.
#
# Not here: two ports on a cable (test_softib.py).

import contextlib
import re

import pytest

from conftest import TRANSPORT
from lab import hcas

from .checks import contains, equal, expect, sit_through, until
from .dm import is_announced
from .initiator import ADD_TARGET, TWO_CHANNELS, UNTIL_STOPPED
from .lio import guid_name
from .subnet import PREFIX, SecondPorts, Subnet, target_guid
from .test_multipath import Multipath
from .test_softib import (IPOIB, LOAD, PARTITION, PORT as PORT_OF_RXE0, daemon, disk_of, found,
                          ipoib, scan)

pytestmark = pytest.mark.skipif(TRANSPORT != "ib", reason="it takes long: with TRANSPORT=ib")

# A lost link is noticed sooner with few retries.
HASTY = "max_sect=8192,tl_retry_count=2"
SIZE = 4 << 20          # bytes of a disk that a machine uses
SHOWN = "/sys/class/infiniband_srpt/srpt-%s-%d/"
PARTITIONS = "/run/lab/partitions2.conf"


@pytest.fixture
def second(bench, request):
    """The second subnet, beside the first."""
    for guest in bench.pair.guests:
        hcas.SOFTIB.module(guest.kernel)
    return getattr(request, "param", Subnet)(bench)


def export(second, *ends):
    """One disk, which these may use through the target's port on the switch."""
    second.target.share(second.initiator.target_gid, *[guid_name(end.guid) for end in ends])


def shown(second, name):
    """A file of the target's port on the switch."""
    return second.target.read(SHOWN % (second.hca, second.number) + name)


def own_part(end):
    """Options of fio, for each machine a part of the disk of its own."""
    return ["--offset=%d" % (end.guest.number * SIZE)]


@pytest.mark.timeout(360)
@pytest.mark.parametrize("second", [Subnet, SecondPorts], ids=["hcas", "ports"], indirect=True)
def test_two_subnets(bench, second):
    """the disk through two cables, in two subnets with prefixes of their own, by two
    HCAs of each machine or by two ports of one: a cable that is out or a port that is
    disabled costs a path, an HCA that goes its ports, no error; all return, data is verified"""
    target, initiator = bench.target, bench.initiator
    with second, bench.configured(acls=[], disks=0, enable=False), \
            Multipath(initiator) as multipath:
        through = second.initiator
        export(second, through)
        target.share(target.gid, initiator.port_id)
        gids = target.run("cat %sgids/0 %s" % (PORT_OF_RXE0, second.files("gids/0"))).out
        equal([gid.replace(":", "") for gid in gids.split()],
              [target.gid[2:], PREFIX + target_guid(target)], "GIDs of the target")
        initiator.login(HASTY)
        through.login(HASTY)
        multipath.wait_for("active", "active")
        disk = multipath.disk()
        job = initiator.load(disk, UNTIL_STOPPED, depth=4)
        multipath.both_work()
        multipath.lives_without(("active", "failed"), lambda: second.set_link(target, False),
                                lambda: second.set_link(target, True))
        multipath.lives_without(("failed", "active"), bench.pair.unplug, bench.pair.plug)
        multipath.lives_without(("active", "failed"), lambda: target.open(through.target_gid, False),
                                lambda: target.open(through.target_gid))
        if target.keeps_configuration:
            second.unmake(target)
            multipath.wait_for("active", "failed")
            second.make(target)
            second.wait_active()
            multipath.both_work()
        initiator.stop(job, disk)
        multipath.end()
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(240)
@pytest.mark.stock("it announces itself before it lets anybody in")
@pytest.mark.parametrize("second", [SecondPorts], ids=["ports"], indirect=True)
def test_second_port(bench, second):
    """port 2 of an HCA by itself: while only it lets an initiator in, it is announced and
    found, and port 1 is not; it is in a partition in which port 1 is not, and a login
    with that P_Key works; sessions and refusals are shown at the port they are of"""
    target, first, through = bench.target, bench.initiator, second.initiator
    with second, bench.configured(acls=[], disks=0, enable=False):
        first.run(LOAD)
        infos = target.run("cat /sys/class/infiniband_srpt/*/login_info").out
        equal(re.findall(r"dgid=(\w+)", infos), [target.gid[2:], through.target_gid[2:]],
              "GIDs in login_info of both ports")
        export(second, through)
        until(lambda: is_announced(target, 2), 15, "port 2 is announced")
        equal(is_announced(target), False, "port 1 is announced")
        equal(scan(first), [], "what is found through port 1")
        equal(scan(first, "umad1"), [found(target, gid=through.target_gid)],
              "what is found through port 2")
        second.stop_sm()
        through.guest.put(PARTITIONS, PARTITION)
        second.start_sm("-P", PARTITIONS)
        for end in target, through:
            until(lambda: "0x8001" in end.run("cat %s" % second.files("pkeys/*")).out, 30,
                  "opensm has set the P_Keys of the " + end.guest.name)
            expect("0x8001" not in end.run("cat %spkeys/*" % PORT_OF_RXE0).out,
                   "port 1 of the %s is not in the partition" % end.guest.name)
        disk, = through.login(pkey="8001")
        through.fio(disk, "1m", "16k", 8)
        expect(first.refused() is not None, "port 1 refuses")
        channels = target.connections()
        for number, sessions, logins, refused in (1, 0, 0, 1), (2, channels, channels, 0):
            place = SHOWN % ("rxe0", number)
            counted = target.run("cd %s; ls sessions | wc -l; cat counters/logins "
                                 "counters/logins_refused" % place).out.split()
            equal(list(map(int, counted)), [sessions, logins, refused],
                  "sessions, logins and refusals of port %d" % number)
        through.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("second", [SecondPorts], ids=["ports"], indirect=True)
def test_ipoib_second_port(bench, second):
    """a login over IP over InfiniBand on port 2 of the HCA, that is through the RDMA/CM:
    it is a session of that port"""
    target, through = bench.target, second.initiator
    with second, bench.configured(acls=[], disks=0, enable=False):
        second.stop_sm()
        through.guest.put(PARTITIONS, IPOIB)
        second.start_sm("-P", PARTITIONS)
        second.wait_active()
        with ipoib("ib1", target, through):
            target.share(through.target_gid, through.port_id)
            disk, = through.login(dest="10.8.0.1")
            through.fio(disk, "1m", "16k", 8)
            contains(target.run("ls %s/sessions" % (SHOWN % ("rxe0", 2))).out,
                     through.port_id[2:], "sessions of port 2")
            through.logout()
            target.wait_for_connections(0)


@pytest.mark.timeout(300)
def test_two_hosts(bench, second):
    """two machines on a switch find the target by srp_daemon and use one disk; the
    cable of one is out: its connection ends and comes back, the other does not
    notice"""
    target = bench.target
    with second, second.third() as other, bench.configured(acls=[], disks=0, enable=False):
        first = second.initiator
        seen = first.run("ibnetdiscover -C rxe1").out
        contains(seen, "switch of the lab", "the topology")
        for guid in first.guid, other.guid, target_guid(target):
            contains(seen, guid, "the topology")
        export(second, first, other)
        disks = {}
        for end in first, other:
            end.run(LOAD)
            said = end.run(daemon(end, "-o")).out
            contains(said, "dgid=" + first.target_gid[2:], "srp_daemon")
            disks[end] = disk_of(end)
            end.fio(disks[end], "1m", more=own_part(end))
        channels = target.connections()
        other.patient()
        loads = {end: end.load(disks[end], UNTIL_STOPPED, "2m", more=own_part(end))
                 for end in disks}
        second.set_link(other, False)
        until(lambda: target.connections() < channels, 90, "a connection is lost")
        first.moves(disks[first])
        second.set_link(other, True)
        until(lambda: target.connections() == channels, 90, "the session is made again")
        for end in disks:
            end.moves(disks[end], 60)
        for end in disks:
            end.stop(loads[end], disks[end])
            end.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(300)
def test_fencing(bench, second):
    """two machines on a switch: one reserves the disk, the other cannot write, takes
    the reservation over, and the first cannot write any more"""
    target = bench.target
    with second, second.third() as other, bench.configured(acls=[], disks=0, enable=False):
        first = second.initiator
        export(second, first, other)
        disks = {end: end.login()[0] for end in (first, other)}

        def reserve(end, *words, check=True):
            return end.run(["sg_persist", "--out", *words, disks[end]], check=check)

        def written(end):
            return end.run(["dd", "if=/dev/zero", "of=" + disks[end], "bs=4k", "count=1",
                            "oflag=direct"], check=False).rc == 0

        reserve(first, "--register", "--param-sark=a")
        reserve(first, "--reserve", "--param-rk=a", "--prout-type=5")
        equal((written(first), written(other)), (True, False), "may write: first, other")
        reserve(other, "--register", "--param-sark=b")
        reserve(other, "--preempt-abort", "--param-rk=b", "--param-sark=a", "--prout-type=5")
        equal((written(first), written(other)), (False, True), "may write: first, other")
        reserve(other, "--clear", "--param-rk=b")
        for end in disks:
            end.fio(disks[end], "256k", more=own_part(end))
            end.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(240)
def test_several_lids(bench, second):
    """ports with two LIDs each (LMC 1): the paths between two ports are several, a
    login takes one, data is right"""
    target = bench.target
    with second:
        second.stop_sm()
        second.start_sm("-l", "1")
        for end in target, second.initiator:
            until(lambda: end.run(["cat", second.files("lid_mask_count")]).out.strip() == "1",
                  60, "LMC of the " + end.guest.name)
        second.wait_active()
        with bench.configured(acls=[], disks=0, enable=False):
            through = second.initiator
            export(second, through)
            paths = through.run(["saquery", "-C", "rxe1", "PathRecord", "--sgid-to-dgid", "%s-%s" % (
                colons(PREFIX + through.guid), colons(through.target_gid[2:]))]).out
            expect(paths.count("dlid") > 1, "several paths:\n" + paths)
            disk, = through.login()
            through.fio(disk, "2m", "16k", 8)
            through.logout()
            target.wait_for_connections(0)


@pytest.mark.timeout(240)
def test_prefix_changes(bench, second):
    """the subnet gets another prefix under load: the session goes on, as its packets
    have no GID; the target names its new GID, and a login finds it by that"""
    target, through = bench.target, second.initiator
    with second, bench.configured(acls=[], disks=0, enable=False):
        export(second, through)
        disk, = through.login()
        job = through.load(disk, UNTIL_STOPPED)
        mark = target.mark()
        second.stop_sm()
        second.start_sm(prefix="fe80000000000002")
        gid = through.target_gid[2:]
        for end in target, through:
            until(lambda: end.run(["cat", second.files("gids/0")]).out.startswith(
                "fe80:0000:0000:0002:"), 60, "the prefix of the " + end.guest.name)
        if target.variant == "rust":
            until(lambda: "dgid=%s," % gid in shown(second, "login_info"), 20, "the new login_info")
        through.moves(disk)
        through.stop(job, disk)
        equal(target.log_since(mark).count("closing"), 0, "connections that ended")
        through.logout(unload=False)
        target.wait_for_connections(0)
        disk, = through.login()
        through.fio(disk, "1m")
        through.logout()
        target.wait_for_connections(0)


def colons(gid):
    return ":".join(gid[i:i + 4] for i in range(0, 32, 4))


@contextlib.contextmanager
def many(ends, each):
    """So many sessions of each of these machines, which differ by their identifier
    extension."""
    jobs = []
    for end in ends:
        end.run(LOAD)
        words = end.string("queue_size=8,ch_count=1,initiator_ext=$(printf %016x $n)")
        jobs.append(end.spawn(
            "for n in $(seq %d); do echo %s > %s || exit; done" % (
                each, words, ADD_TARGET % (end.hca, end.port_number)), 600))
    for job in jobs:
        job.wait(600)
    yield
    for end in ends:
        end.logout()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [64, 256])
def test_many_sessions(bench, second, count):
    """sessions of two machines on the switch, while the subnet manager looks at all of
    the subnet again and again: each is there, data is right, all end"""
    target = bench.target
    with second, second.third() as other, bench.configured(acls=[], disks=0, enable=False):
        first = second.initiator
        ends = first, other
        export(second, *ends)
        with many(ends, count // 2):
            equal(target.connections(), count, "connections")
            equal(sum(len(end.hosts()) for end in ends), count, "sessions")
            loads = {}
            for end in ends:
                disk = disk_of(end)
                loads[end] = disk, end.load(disk, UNTIL_STOPPED, "2m", more=own_part(end))
            for _ in range(5):
                second.sweep()
                sit_through(1, "the subnet manager looks")
            for end, (disk, job) in loads.items():
                end.moves(disk)
                end.stop(job, disk)
            equal(target.connections(), count, "connections")
        target.wait_for_connections(0, 120)


@pytest.mark.timeout(240)
def test_manager_moves(bench):
    """the subnet manager ends under load without a word, and one on the target takes
    over; nothing happens to the session, and a login finds its way by the new one; and
    back again"""
    target, initiator, sm = bench.target, bench.initiator, bench.pair.initiator
    with bench.configured([initiator.port_id, "0x" + target.guid + initiator.guid]):
        initiator.run(LOAD)
        disk, = initiator.login(TWO_CHANNELS)
        job = initiator.load(disk, UNTIL_STOPPED)
        sm.restart_sm(options="-p 9")
        bench.pair.wait_active()
        target.guest.put("/run/lab/standby.conf",
                         "sminfo_polling_timeout 1000\npolling_retry_number 2\n")
        mark = target.mark()
        standby = target.spawn(["opensm", "-s", "1", "-p", "1", "-F", "/run/lab/standby.conf"], 600)
        until(lambda: "STANDBY" in standby.output, 30, "there is a second subnet manager")
        sm.run("kill -9 $(pidof opensm)")
        lid = target.read(PORT_OF_RXE0 + "lid")
        until(lambda: initiator.run(["cat", PORT_OF_RXE0 + "sm_lid"]).out.strip() == lid, 60,
              "the target has the subnet manager")
        initiator.moves(disk)
        initiator.stop(job, disk)
        equal(target.log_since(mark).count("ib_srpt"), 0, "lines of the target")
        initiator.logout(unload=False)
        target.wait_for_connections(0)
        initiator.run(daemon(initiator, "-o"))
        disk = disk_of(initiator)
        initiator.fio(disk, "1m")
        initiator.logout()
        target.wait_for_connections(0)
        target.run("kill $(pidof opensm)")
        standby.wait(30, check=False)
        sm.start_sm()
        bench.pair.wait_active()
