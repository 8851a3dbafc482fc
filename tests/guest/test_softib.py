# SPDX-License-Identifier: GPL-2.0
#
# InfiniBand as its users have it, in software: Debian's opensm brings up a subnet
# of two ports that are connected by a cable, and Debian's srp_daemon and ib_srp
# find the target and log in, over LIDs, path records and the InfiniBand CM. With
# TRANSPORT=ib all tests have such ports; these few, but for the longer ones, are
# there in every run.
#
# Not here: what makes such ports (tests/softib, scripts/lab/hcas.py).

import contextlib
import re
import signal
import struct

import pytest

from conftest import TRANSPORT
from lab import hcas
from lab.guest import SM_LOG

from . import conformance, manual
from .checks import Late, contains, equal, expect, sit_through, until
from .dm import Asker, is_announced
from .initiator import TWO_CHANNELS, UNTIL_STOPPED
from .lio import guid_name
from .target import TRACING
from .test_targetcli import FORGET, nothing_left

PORT = "/sys/class/infiniband/rxe0/ports/1/"
UNIT = "/usr/lib/systemd/system/srp_daemon_port@.service"
# What srp_daemon does with a disk that it finds is a matter of these.
LOAD = "modprobe -a ib_srp sd_mod"
RULES = "/etc/srp_daemon.conf"
NO_ENTRY = 0x00010006
# Which port gets which LID, as opensm remembers it.
LIDS = "/var/cache/opensm/guid2lid"
ANOTHER = "0x00000000000000000000000000000001"

# What takes a minute or depends on when the subnet manager looks.
longer = pytest.mark.skipif(TRANSPORT != "ib", reason="it takes long: with "
                            "TRANSPORT=ib")


@pytest.fixture
def subnet(bench):
    """Both machines have a port of InfiniBand instead of their HCA; see
    Bench.other_hcas()."""
    return bench.other_hcas(hcas.SOFTIB)


def daemon(initiator, *more, leave_out=()):
    """The words by which the distribution's unit starts srp_daemon for a port."""
    unit = initiator.run(["cat", UNIT]).out
    line, = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    for words in ("--systemd", *leave_out):
        expect(words in line, "%r is in %r" % (words, line))
        line = line.replace(words, "")
    return ["stdbuf", "-oL", *line.replace("%I", "%s:%d" % (
        initiator.hca, initiator.port_number)).split(), *more]


def scan(initiator, port="umad0"):
    """What ibsrpdm finds: the lines for add_target."""
    return initiator.run("ibsrpdm -c -d /dev/infiniband/" + port).out.splitlines()


def found(target, pkey="ffff", gid=None):
    """Such a line, as it should be."""
    guid = target.service_guid
    return "id_ext=%s,ioc_guid=%s,dgid=%s,pkey=%s,service_id=%s" % (
        guid, guid, (gid or target.gid)[2:], pkey, guid)


def disk_of(initiator, timeout=30):
    """Wait for the one disk."""
    return until(lambda: initiator.quick(
        "cd /sys/block; for d in sd*; do [ -e $d ] && [ $(cat $d/size) != 0 ] && "
        "echo /dev/$d; done; true").out.split(), timeout, "a disk")[0]


def traps(initiator):
    """Numbers of the traps that the subnet manager has had, and from which LIDs."""
    return [(int(number), int(lid)) for number, lid in re.findall(
        r"Received Generic Notice type:\d+ num:(\d+) .* from LID:(\d+)",
        initiator.run(["cat", SM_LOG]).out)]


@pytest.mark.timeout(90)
def test_subnet(bench, subnet):
    """opensm brings up both ports; each is an InfiniBand port with a LID of its
    own, and is found from the other end over a directed route and by the subnet
    administration"""
    target, initiator = bench.target, bench.initiator
    with subnet():
        lids = []
        for end in (target, initiator):
            state = end.run("cd %s; cat state link_layer lid sm_lid" % PORT).out
            active, layer, lid, manager = state.splitlines()
            equal((active, layer), ("4: ACTIVE", "InfiniBand"), "port of the "
                  + end.guest.name)
            lids.append((int(lid, 16), int(manager, 16)))
        (one, manager), (other, same) = lids
        expect(one != other and manager == same == other, "LIDs: %s" % lids)
        contains(initiator.run("ibv_devinfo -d rxe0").out, "InfiniBand (0)",
                 "the transport")
        contains(initiator.run("ibstat").out, "State: Active", "the port")
        contains(initiator.run("smpquery -D nodeinfo 0,1").out,
                 "0x" + target.node_guid, "the node at the other end")
        contains(initiator.run("ibnetdiscover").out,
                 "(%s)" % target.guid, "the topology")
        records = initiator.run("saquery NodeRecord").out
        for end in (target, initiator):
            contains(records, "0x" + end.guid, "the node records")
        contains(initiator.run("sminfo").out, "SMINFO_MASTER", "the manager")
        contains(initiator.run("perfquery %d" % one).out, "PortXmitData",
                 "what performance management says")


@pytest.mark.timeout(90)
def test_ibsrpdm(bench, subnet):
    """ibsrpdm finds the target while it is enabled, and nothing otherwise"""
    target, initiator = bench.target, bench.initiator
    with subnet():
        initiator.run(LOAD)
        equal(scan(initiator), [], "what is found without the module")
        with bench.configured(enable=False):
            equal(scan(initiator), [], "what is found of a disabled target")
            target.enable()
            equal(scan(initiator), [found(target)], "what is found")
        equal(scan(initiator), [], "what is found when the module is gone")
        initiator.logout()


@pytest.mark.timeout(120)
def test_srp_daemon(bench, subnet):
    """srp_daemon, started once as the distribution's unit starts it, logs in
    through an entry that names the initiator by its port GUID; data is right; a
    second start makes no second session; logout"""
    target, initiator = bench.target, bench.initiator
    with subnet():
        initiator.run(LOAD)
        with bench.configured([guid_name(initiator.guid)]):
            mark = target.mark()
            said = initiator.run(daemon(initiator, "-o")).out
            contains(said, found(target), "srp_daemon")
            disk = disk_of(initiator)
            contains(target.log_since(mark), "from GID fe80::", "the target's log")
            initiator.fio(disk, "4m", "64k", 8)
            initiator.fio(disk, "256k", "4k", 16)
            said = initiator.run(daemon(initiator, "-o")).out
            expect("id_ext" not in said, "nothing is new: " + said)
            said = initiator.run(daemon(initiator, "-o", "-a", leave_out=("-e",))).out
            contains(said, found(target), "srp_daemon -a, which shows all")
            equal(len(initiator.hosts()), 1, "sessions")
            initiator.logout()
            target.wait_for_connections(0)


@pytest.mark.timeout(120)
def test_srp_daemon_rules(bench, subnet):
    """an entry by port identifier, which begins with the GUID of the target's port
    as the unit's -n has it; rules in srp_daemon.conf decide"""
    target, initiator = bench.target, bench.initiator
    with subnet(), bench.configured(["0x" + target.guid + initiator.guid]):
        guid = target.service_guid
        initiator.run(LOAD)
        shipped = initiator.run(["cat", RULES]).out
        for rules, sessions in (
                ("d\n", 0),
                ("a id_ext=%s,ioc_guid=%s,max_sect=512,queue_size=16\nd\n"
                 % (guid, guid), 1)):
            initiator.guest.put(RULES, rules)
            initiator.run(daemon(initiator, "-o"))
            equal(len(initiator.hosts()), sessions, "sessions with " + rules)
        initiator.guest.put(RULES, shipped)
        disk = disk_of(initiator)
        equal(initiator.run("cat /sys/block/%s/queue/max_hw_sectors_kb"
                            % disk.removeprefix("/dev/")).out, "256\n",
              "KiB of a request, by max_sect")
        initiator.fio(disk, "256k")
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(120)
def test_conformance(bench, subnet):
    """the rows of the conformance table that are about the IB/CM; with TRANSPORT=ib
    all rows go through it"""
    rows = [name for name in conformance.names() if name.startswith("login.ib")]
    expect(len(rows) > 1, "rows: %s" % rows)
    with subnet():
        table = conformance.configured(bench)
        said = bench.initiator.run(
            table.words("conformance", "--only", ",".join(rows)), check=False).out
        for name in rows:
            expect(re.search(r"^ok +%s " % re.escape(name), said, re.M), said)
        table.remove()


@pytest.mark.timeout(180)
@pytest.mark.engine("lio")
@pytest.mark.stock("targetcli does not know its parameters' file")
def test_quick_start(bench, subnet):
    """the way from nothing that docs/admin.md names, one command after the other;
    what systemd would run is run by hand"""
    target, initiator = bench.target, bench.initiator
    target.install()
    target.guest.system_bus()
    with subnet():
        names = {"target_gid": target.gid[2:], "target_guid": target.guid,
                 "initiator_guid": initiator.guid, "hca": "rxe0"}
        said = {}
        for end, title in ((target, "InfiniBand, target"),
                           (initiator, "InfiniBand, initiator")):
            if end is initiator:
                until(lambda: is_announced(target), 15, "the entry is noticed")
            for line in manual.commands(title, **names):
                if line.startswith("systemctl"):
                    initiator.run(LOAD)
                    initiator.run(daemon(initiator, "-o"))
                elif not line.startswith("apt"):
                    said[end, line] = end.run(line, timeout=120).out
        for end in target, initiator:
            contains(said[end, "ibstat"], "State: Active", "ibstat")
            contains(said[end, "ibstat"], "Port GUID: 0x" + end.guid, "ibstat")
        found_here = said[initiator, "ibsrpdm -c -d /dev/infiniband/umad0"]
        contains(found_here, found(target), "ibsrpdm")
        info = said[target, "cat /sys/class/infiniband_srpt/srpt-rxe0-1/login_info"]
        equal(set(info.replace("tid_ext", "id_ext").strip().split(",")),
              set(found(target).split(",")), "login_info")
        disk = disk_of(initiator)
        contains(initiator.run("lsblk -S").out, "LIO-ORG", "lsblk")
        initiator.fio(disk, "1m")
        initiator.logout()
        target.wait_for_connections(0)
        target.run("targetcli clearconfig confirm=True", timeout=120)
        nothing_left(target)
        target.run(FORGET)


@pytest.mark.timeout(90)
@pytest.mark.engine("lio")         # SCST's targets have no entries.
def test_refused(bench, subnet):
    """without an entry, nobody is let in: neither what srp_daemon starts, nor a
    login with the initiator's own identifier; with one, the latter is"""
    target, initiator = bench.target, bench.initiator
    with subnet():
        initiator.run(LOAD)
        with bench.configured([ANOTHER]):
            mark = initiator.mark()
            initiator.run(daemon(initiator, "-o"))
            contains(initiator.log_since(mark), "REJECTED, reason 0x%08x" % NO_ENTRY,
                     "the initiator's log")
            equal(initiator.hosts(), [], "sessions")
            equal(initiator.refused(), NO_ENTRY, "reason")
            target.add_acl(initiator.port_id)
            disk, = initiator.login()
            initiator.fio(disk, "256k")
            initiator.logout()
            target.wait_for_connections(0)


@contextlib.contextmanager
def under_load(bench, more=TWO_CHANNELS):
    """A session with verified input and output that waits for the target while it
    is away, and goes on afterwards."""
    initiator = bench.initiator
    with bench.session(more) as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        yield disk
        initiator.moves(disk, 120)
        initiator.stop(job, disk)


def out(guests, pull):
    """Pull out the cable or whatever, and see that the ports notice."""
    pull()
    for guest in guests:
        until(lambda: guest.port_state() == "DOWN", 10,
              "the port of the %s is down" % guest.name)


@pytest.mark.timeout(120)
def test_cable(bench, subnet):
    """the cable is out for a moment: opensm brings up both ports again, the
    connection lives on, data is right"""
    target, pair = bench.target, bench.pair
    with subnet(), under_load(bench):
        mark = target.mark()
        for _ in range(3):
            out(pair.guests, pair.unplug)
            sit_through(1, "the cable is out")
            pair.plug()
            pair.wait_active()
            sit_through(1, "the cable is in")
        equal(target.log_since(mark).count("ib_srpt:"), 0, "lines of the target")


@longer
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["cable", "link"])
def test_connection_lost(bench, subnet, how):
    """the cable is out, or the initiator's port down, until an end has lost the
    connection: with the port up again, the session is made again, data is right"""
    target, initiator, pair = bench.target, bench.initiator, bench.pair
    with subnet(), under_load(bench, TWO_CHANNELS + ",tl_retry_count=2"):
        mark = target.mark()
        if how == "cable":
            out(pair.guests, pair.unplug)
        else:
            out([pair.initiator], lambda: pair.initiator.set_up(False))
        until(lambda: initiator.port_state() == ["blocked"] or
              "closing: " in target.log_since(mark), 90, "a connection is lost")
        if how == "cable":
            pair.plug()
        else:
            pair.initiator.set_up(True)
        pair.wait_active()
        until(lambda: "login of" in target.log_since(mark), 90,
              "the session is made again")


@pytest.mark.timeout(180)
@pytest.mark.stock("it announces itself before it lets anybody in")
def test_announced(bench, subnet):
    """srp_daemon, which has been waiting since before, logs in by itself when the
    target is enabled: the target's port sends trap 144, once, and opensm passes it
    on; nothing is tried before, and no trap is sent without a change"""
    target, initiator = bench.target, bench.initiator
    with subnet():
        initiator.run(LOAD)
        lid = int(target.read(PORT + "lid"), 16)
        with bench.configured([guid_name(initiator.guid)], enable=False):
            # Without its periodic scan: what it hears of is all it knows.
            job = initiator.spawn(daemon(initiator, leave_out=("-R 60",)), 300)
            until(lambda: initiator.run("saquery InformInfoRecord").out.count(
                "InformInfoRecord") >= 2, 30, "srp_daemon has subscribed to traps")
            sit_through(2, "it scans once")
            mark, before = initiator.mark(), len(traps(initiator))
            # The notice of a trap is a datagram, which a busy host may lose.
            for seen in 1, 3, 5:
                target.enable()
                try:
                    disk = disk_of(initiator)
                    break
                except Late:
                    if seen == 5:
                        raise
                target.enable(False)
            initiator.fio(disk, "256k")
            equal(traps(initiator)[before:], [(144, lid)] * seen,
                  "traps of the login")
            before += seen - 1
            expect("REJ" not in initiator.log_since(mark), "the first one works")
            target.enable()
            sit_through(3, "a trap would be repeated after 1 s")
            equal(len(traps(initiator)), before + 1, "traps without a change")
            target.enable(False)
            until(lambda: traps(initiator)[before + 1:] == [(144, lid)], 10,
                  "a trap when the target is disabled")
            expect(job.poll() is None, "srp_daemon still runs: " + job.output)
            job.signal(signal.SIGTERM)
            job.wait(30, check=False)
            initiator.logout()
            target.wait_for_connections(0)


@longer
@pytest.mark.timeout(150)
def test_lids_change(bench, subnet):
    """opensm comes back with other LIDs while data is written: the connection is
    lost, as LIDs are part of it, the session is made again with the new ones"""
    target, initiator, sm = bench.target, bench.initiator, bench.pair.initiator
    with subnet(), under_load(bench, TWO_CHANNELS + ",tl_retry_count=2"):
        mark = target.mark()
        sm.stop_sm()
        sm.put(LIDS, "0x%s 0x0022 0x0022\n\n0x%s 0x0011 0x0011\n" % (
            target.guid, initiator.guid))
        sm.start_sm(options="--honor_guid2lid")
        for end, lid in ((target, "0x22"), (initiator, "0x11")):
            until(lambda: end.run(["cat", PORT + "lid"]).out.strip() == lid, 30, "LID %s" % lid)
        until(lambda: "login of" in target.log_since(mark), 90,
              "the session is made again")


PARTITION = """Default=0x7fff: ALL=full;
lab=0x0001: ALL=full;
"""


def has_partition(bench, there):
    """Wait until both ports have P_Key 0x8001, or have it no more."""
    for end in (bench.target, bench.initiator):
        until(lambda: ("0x8001" in end.run("cat %spkeys/*" % PORT).out) == there,
              30, "opensm has set the P_Keys of the " + end.guest.name)


@contextlib.contextmanager
def partition(bench):
    """Partition 0x8001 while the context lasts."""
    sm = bench.pair.initiator
    sm.restart_sm(PARTITION)
    has_partition(bench, True)
    yield
    sm.restart_sm()
    has_partition(bench, False)


@pytest.mark.timeout(120)
def test_partition(bench, subnet):
    """in a second partition, which opensm makes, the target is found once for each
    P_Key; a login with 0x8001 works, one with a P_Key that the port has not fails"""
    target, initiator = bench.target, bench.initiator
    with subnet(), partition(bench):
        initiator.run(LOAD)
        with bench.configured():
            equal(sorted(scan(initiator)),
                  [found(target, "8001"), found(target)], "what is found")
            disk, = initiator.login(pkey="8001")
            initiator.fio(disk, "1m", "16k", 8)
            initiator.logout(unload=False)
            target.wait_for_connections(0)

            def wrong():
                """What a login says when the last one has been cleared away."""
                out = initiator.try_login(disks=0, pkey="8002").out
                return "File exists" not in out and out
            contains(until(wrong, 20, "the initiator has forgotten the last login"),
                     "No such file or directory", "a wrong P_Key")
            initiator.logout()


@longer
@pytest.mark.timeout(180)
def test_partition_goes(bench, subnet):
    """the partition of a session goes while data is written: the connection is
    lost and cannot be made again; when the partition is back, it is, data is
    right"""
    target, initiator, sm = bench.target, bench.initiator, bench.pair.initiator
    with subnet(), partition(bench), bench.configured():
        disk, = initiator.login(TWO_CHANNELS + ",tl_retry_count=2", pkey="8001")
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        mark = target.mark()
        sm.restart_sm()
        has_partition(bench, False)
        until(lambda: initiator.port_state() == ["blocked"], 90,
              "the connection is lost")
        sit_through(3, "it is tried again each second")
        expect("login of" not in target.log_since(mark), "there is no other way")
        sm.restart_sm(PARTITION)
        initiator.moves(disk, 120)
        initiator.stop(job, disk)
        initiator.logout()
        target.wait_for_connections(0)


@longer
@pytest.mark.timeout(180)
def test_limited_member(bench, subnet):
    """a limited member of a partition logs in to a full one, and data is right; when
    both are limited there is no way"""
    target, initiator, sm = bench.target, bench.initiator, bench.pair.initiator

    def members(of_target, pkey):
        sm.restart_sm("Default=0x7fff: ALL=full;\nlab=0x0001: 0x%s=%s, 0x%s=limited;\n" % (
            target.guid, of_target, initiator.guid))
        for end, key in (target, pkey), (initiator, "0x0001"):
            until(lambda: key in end.run("cat %spkeys/*" % PORT).out.split(), 30,
                  "opensm has set the P_Keys of the " + end.guest.name)

    with subnet(), bench.configured():
        members("full", "0x8001")
        disk, = initiator.login(pkey="0001")
        initiator.fio(disk, "1m", "16k", 8)
        initiator.logout()
        target.wait_for_connections(0)
        members("limited", "0x0001")
        done = initiator.try_login(disks=0, pkey="0001")
        expect(done.rc == 1, "a login between limited members fails: " + done.out)
        sm.restart_sm()
        has_partition(bench, False)
        initiator.logout()


# A message of the IB/CM that asks to load an alternate path (LAP): its header, the
# identifiers of the connection, and the path, here the one that it has already.
LAP = struct.Struct(">BBBB4xQHH4xII12xHH16s16sI4B168x")
CM_CLASS, SEND, LAP_ATTRIBUTE = 0x07, 0x03, 0x0019
RATE, LIFE = 3, 18 << 3         # 10 Gb/s; 4.096 us << 18 for an answer
EVENTS = TRACING + "/events/ib_cma/icm_send_rep/enable"


@longer
@pytest.mark.timeout(90)
def test_alternate_path(bench, subnet):
    """a peer that asks to load an alternate path, twice: both reach the target's
    connection, the kernel has no answer to give, and the session goes on"""
    target, initiator = bench.target, bench.initiator

    def counts():
        """Requests, those that came twice, answers."""
        return [int(target.read(PORT + name)) for name in (
            "cm_rx_msgs/lap", "cm_rx_duplicates/lap", "cm_tx_msgs/apr")]

    with subnet(), bench.configured():
        target.run("echo 1 > " + EVENTS)
        disk, = initiator.login("max_sect=8192,ch_count=1")
        trace = target.run("cat %s/trace; echo 0 > %s; echo > %s/trace"
                           % (TRACING, EVENTS, TRACING)).out
        (here, there), = re.findall(r"icm_send_rep: local_id=(\d+) remote_id=(\d+)", trace)
        ends = [(int(end.run(["cat", PORT + "lid"]).out, 16),
                 bytes.fromhex("fe80000000000000" + end.guid)) for end in (initiator, target)]
        (lid, gid), (target_lid, target_gid) = ends
        lap = LAP.pack(1, CM_CLASS, 2, SEND, 1, LAP_ATTRIBUTE, 0, int(there), int(here),
                       lid, target_lid, gid, target_gid, 0, 64, RATE, 0, LIFE)
        asker, mark, before = Asker(bench), target.mark(), counts()
        equal(asker.ask("raw:" + lap.hex(), "raw:" + lap.hex(), retries=0),
              ["timeout", "timeout"], "answers")
        # The second is a duplicate to the kernel, as the first was handed over.
        equal([now - then for now, then in zip(counts(), before)], [2, 1, 0],
              "requests, those that came twice, answers")
        initiator.fio(disk, "256k")
        equal(target.log_since(mark).count("ib_srpt:"), 0, "lines of the target")
        initiator.logout()
        target.wait_for_connections(0)


# IP over InfiniBand, with packets as large as they may be here (1024 bytes).
IPOIB = "Default=0x7fff,ipoib,mtu=3: ALL=full;\n"


@contextlib.contextmanager
def ipoib(dev, target, initiator):
    """An interface with an address on both; the target's is 10.8.0.1."""
    for end in target, initiator:
        end.run("modprobe ib_ipoib && ip link set %s up && ip addr add 10.8.0.%d/24 dev %s"
                % (dev, end.guest.number, dev))
    until(lambda: initiator.run("ping -c 1 -W 2 10.8.0.1", check=False).rc == 0, 60,
          "the target is there")
    yield
    for end in target, initiator:
        end.run("rmmod ib_ipoib")


@longer
@pytest.mark.timeout(120)
def test_ipoib(bench, subnet):
    """a login over IP over InfiniBand, that is through the RDMA/CM"""
    target, initiator = bench.target, bench.initiator
    with subnet():
        bench.pair.initiator.restart_sm(IPOIB)
        with ipoib("ib0", target, initiator), bench.configured():
            disk, = initiator.login(dest="10.8.0.1")
            ids = target.run("rdma resource show cm_id").out
            expect(any("CONNECT" in line and "10.8.0.1:" in line
                       for line in ids.splitlines()), "a connection of 10.8.0.1: "
                   + ids)
            initiator.fio(disk, "1m", "16k", 8)
            initiator.logout()
            target.wait_for_connections(0)
        bench.pair.initiator.restart_sm()
