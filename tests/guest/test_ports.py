# SPDX-License-Identifier: GPL-2.0
#
# What changes at a port while it is in use: its GID (here: the MAC address it
# is made of), its IP addresses, the HCA itself; and that the configuration
# under the old names stays with it.
#
# What becomes of configfs is for LIO only. With SCST a target keeps its name, and
# comes back without configuration (test_scst.py, test_scst_load.py).
#
# Not here: HCAs that go under load and do not change (test_faults.py), LIDs and
# P_Keys (rdma_rxe has none; the module keeps none either).

import contextlib

import pytest

from lab.guest import linklocal_of, mac_of

from .checks import contains, equal, expect, until
from .dm import Asker
from .initiator import UNTIL_STOPPED
from .lio import SRPT, guid_name
from .peer import MULTI_CHANNEL
from .test_rogue import works

pytestmark = pytest.mark.roce("GIDs of RoCE, and HCAs named rxe0 and rxe1")

CLASS = "/sys/class/infiniband_srpt"

# Another address of the target's eth0, and the port GUID it makes.
MAC, GUID = "52:54:00:09:00:71", "505400fffe090071"
GID = "0xfe80000000000000" + GUID
OTHER_IP = "10.9.0.101"

NEIGHBOURS = "for a in {addresses}; do ip neigh replace $a lladdr {mac} nud " \
    "permanent dev eth0; done\n"


def set_mac(bench, mac):
    """Give the target's eth0 this address, and see that both machines know
    (a change makes a machine forget all neighbours)."""
    addresses = "10.9.0.%d fd09::%d %s"
    bench.target.run(
        "ip link set eth0 address %s\n" % mac + NEIGHBOURS.format(
            addresses=addresses % (2, 2, linklocal_of(2)), mac=mac_of(2)))
    bench.initiator.run(NEIGHBOURS.format(
        addresses=addresses % (1, 1, linklocal_of(1)), mac=mac))


def come_back(initiator, disk):
    """Until data moves again. rdma_rxe ends a queue pair whose GID was taken
    away, and what the target says then may be lost with the neighbours, so
    that it takes the initiator a while to notice."""
    initiator.moves(disk, 150)


def hasty(initiator, disk):
    """Log in again quickly and for ever, and notice soon that one should. (A
    load should have few requests: they are aborted one by one, 5 s each.)"""
    initiator.patient()
    initiator.run("echo 5 > /sys/block/%s/device/timeout"
                  % disk.split("/")[-1])


def gid_of(target, hca="rxe0"):
    """GID 0 of an HCA, in the form of a port directory's name, which has
    nothing after 0x if there is no such HCA."""
    path = "/sys/class/infiniband/%s/ports/1/gids/0" % hca
    return "0x" + target.run("cat %s 2>/dev/null; true" % path
                             ).out.strip().replace(":", "")


def wait_for_gid(target, gid):
    until(lambda: gid_of(target) == gid, 20, "GID 0 is " + gid)


def wait_for_name(target, gid):
    """Until the target takes this as the name of a port."""
    wait_for_gid(target, gid)
    until(lambda: not target.run("mkdir %s/%s" % (SRPT, gid),
                                 check=False).rc, 20, "a port " + gid)
    target.run("rmdir %s/%s" % (SRPT, gid))


def refused_name(target, name):
    done = target.run("mkdir %s/%s" % (SRPT, name), check=False)
    expect(done.rc != 0, "a port named %s is refused" % name)
    contains(done.out, "Invalid argument", "the error")


@pytest.mark.timeout(480)
@pytest.mark.engine("lio")
def test_gid_changes(bench):
    """the GID changes under load and back again; the directory with the old
    name goes on, the new name is known, data is verified"""
    target, initiator = bench.target, bench.initiator
    old_guid = guid_name(target.guid)
    new_guid = guid_name(GUID)
    with bench.session() as disk:
        hasty(initiator, disk)
        job = initiator.load(disk, UNTIL_STOPPED, depth=2)
        set_mac(bench, MAC)
        wait_for_name(target, GID)
        wait_for_name_of_guid(target, new_guid)
        refused_name(target, old_guid)
        # What is there under the old name can still be changed.
        equal(target.read(target.tpg() + "/enable"), "1", "enable")
        target.write(target.tpg() + "/attrib/srp_max_rdma_size", 1 << 20)
        equal(target.read(target.tpg() + "/attrib/srp_max_rdma_size"),
              str(1 << 20), "srp_max_rdma_size")
        target.add_acl("0x" + "5" * 32)
        target.enable(False)
        target.enable()
        come_back(initiator, disk)
        set_mac(bench, mac_of(1))
        wait_for_gid(target, target.gid)
        wait_for_name_of_guid(target, old_guid)
        refused_name(target, GID)
        initiator.stop(job, disk)


def wait_for_name_of_guid(target, guid):
    until(lambda: not target.run("mkdir %s/%s" % (SRPT, guid),
                                 check=False).rc, 20, "a port " + guid)
    target.run("rmdir %s/%s" % (SRPT, guid))


@pytest.mark.timeout(480)
@pytest.mark.engine("scst")
def test_name_stays(bench):
    """the GID changes under load and back again; the target keeps its name,
    login_info has the GID of the moment, data is verified"""
    target, initiator = bench.target, bench.initiator

    def shown(gid):
        until(lambda: "dgid=%s," % gid[2:] in target.attribute("login_info"),
              20, "login_info has " + gid)
        equal(target.attribute("enabled").split()[0], "1", "enabled")

    with bench.session() as disk:
        hasty(initiator, disk)
        job = initiator.load(disk, UNTIL_STOPPED, depth=2)
        for mac, gid in (MAC, GID), (mac_of(1), target.gid):
            set_mac(bench, mac)
            wait_for_gid(target, gid)
            shown(gid)
            come_back(initiator, disk)
        initiator.stop(job, disk)


@pytest.mark.timeout(300)
@pytest.mark.engine("lio")
@pytest.mark.stock("a new HCA does not find the old configuration")
def test_hca_returns_under_another_name(bench):
    """the HCA goes, and comes with another GUID: a port without
    configuration; when it gets the old GID, it has the old configuration, and
    keeps it under either name"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        initiator.login()
        initiator.logout()
        target.remove_hca()
        set_mac(bench, MAC)
        target.add_hca()
        wait_for_name(target, GID)
        equal(initiator.refused(), 0x00010001, "reason of the refusal")
        equal(target.read(target.tpg() + "/enable"), "1", "enable")
        set_mac(bench, mac_of(1))
        wait_for_gid(target, target.gid)
        done = until(lambda: initiator.try_login().rc == 0, 60, "a login", 1)
        expect(done, "the login succeeds")
        initiator.logout()
        # From now on the HCA is known by its node GUID, too.
        target.remove_hca()
        set_mac(bench, MAC)
        target.add_hca()
        wait_for_name(target, GID)
        disk, = initiator.login()
        initiator.fio(disk, "256k")
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")
        target.remove_hca()
        set_mac(bench, mac_of(1))
        target.add_hca()
        disk, = initiator.login()
        initiator.fio(disk, "256k")
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")


@pytest.mark.timeout(180)
@pytest.mark.engine("lio")
@pytest.mark.stock("a new HCA does not find the old configuration")
def test_configured_while_away(bench):
    """what an administrator changes while the HCA is away holds when it is
    back, and the agent answers again"""
    target, initiator = bench.target, bench.initiator
    stranger = "0x" + "7" * 32
    with bench.configured(acls=[stranger]):
        expect(initiator.refused() is not None, "no access at first")
        target.remove_hca()
        target.enable(False)
        target.add_acl(initiator.port_id)
        target.write(target.tpg() + "/attrib/srp_max_rdma_size", 1 << 22)
        target.enable()
        target.add_hca()
        equal(target.read(target.tpg() + "/attrib/srp_max_rdma_size"),
              str(1 << 22), "srp_max_rdma_size")
        profile = until(lambda: asked(bench), 30, "an answer")
        equal(int.from_bytes(profile[48:52], "big"), 1 << 22,
              "largest transfer in the profile")
        initiator.logout()
        disk, = initiator.login()
        initiator.fio(disk, "256k")
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")


def asked(bench):
    """The profile of the controller, or None."""
    answer, = Asker(bench).ask("ioc-profile:1", timeout=500)
    return None if isinstance(answer, str) or answer.status else answer.data


@pytest.mark.timeout(240)
def test_addresses_come_and_go(bench):
    """IP addresses are added and removed while sessions live; logins through
    a new one; its removal ends nobody else's session"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        target.run("ip addr add %s/24 dev eth0" % OTHER_IP)
        target.run("for i in 5 6 7 8; do ip addr add 10.9.1.$i/24 dev eth0; "
                   "ip addr add fd09:1::$i/64 dev eth0 nodad; done")
        initiator.run(NEIGHBOURS.format(addresses=OTHER_IP, mac=mac_of(1)))
        # A peer with an identity of its own, through the new address.
        target.add_acl("0x0000000000000002" + initiator.guid)
        with bench.peer(extension=2, dest=OTHER_IP) as peer:
            peer.login()
            target.run("for i in 5 6 7 8; do ip addr del 10.9.1.$i/24 dev "
                       "eth0; ip addr del fd09:1::$i/64 dev eth0; done")
            initiator.moves(disk)
            equal(target.connections(), initiator.channels() + 1,
                  "connections")
            target.run("ip addr del %s/24 dev eth0" % OTHER_IP)
            initiator.moves(disk)
            initiator.moves(disk)
            target.run("ip addr add %s/24 dev eth0" % OTHER_IP)
        target.remove_acl("0x0000000000000002" + initiator.guid)
        until(lambda: target.connections() == initiator.channels(), 60,
              "the peer's connection is gone")
        target.run("ip addr del %s/24 dev eth0" % OTHER_IP)
        initiator.run("ip neigh del %s dev eth0" % OTHER_IP)
        initiator.stop(job, disk)


def deaf(target):
    """A datagram of the connection manager that rdma_rxe finds no route for,
    because the address is away, ends the queue pair of all management datagrams
    (rxe_requester() calls rxe_qp_error()). ib_mad does not notice: it looks for
    the state SQE, which rdma_rxe does not have. No login arrives from then on."""
    return "type GSI state ERR" in target.run("rdma resource show qp").out


@pytest.mark.timeout(480)
def test_address_away(bench):
    """the address that a session uses is away for 3 s under load, twice; the
    initiator comes back by itself, with another HCA if need be; data is
    verified"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk:
        hasty(initiator, disk)
        job = initiator.load(disk, UNTIL_STOPPED, depth=2)
        for _ in range(2):
            target.run("ip addr del 10.9.0.1/24 dev eth0; sleep 3; "
                       "ip addr add 10.9.0.1/24 dev eth0; sleep 1")
            if deaf(target):
                bench.say("rdma_rxe has lost its queue pair for management")
                expect(target.keeps_configuration,
                       "the target can have another HCA")
                target.remove_hca()
                target.add_hca()
            come_back(initiator, disk)
        initiator.stop(job, disk)
        until(lambda: target.queue_pairs() == target.connections(), 60,
              "no dead queue pair is left on the target")


# A network of its own for a machine, with an HCA; `queue` says what happens to
# its packets.
SECOND_NETWORK = r"""
set -e
ip link add link eth0 name second address {mac} \
    mtu $(cat /sys/class/net/eth0/mtu) type macvlan mode private
{queue}
ip link set second up
ip addr add {address}/24 dev second
ip neigh replace {other} lladdr {other_mac} nud permanent dev second
rdma link add rxe1 type rxe netdev second
"""
NO_SECOND_NETWORK = "rdma link delete rxe1; ip link delete second"


@contextlib.contextmanager
def second_hca(bench):
    """Another HCA of the target, with a network of its own; yields its
    address."""
    target, initiator = bench.target, bench.initiator
    mac, here, there = "52:54:00:09:00:81", "10.9.5.1", "10.9.5.2"
    target.run(SECOND_NETWORK.format(mac=mac, address=here, other=there,
                                     other_mac=mac_of(2), queue=""))
    initiator.run("set -e; ip addr add %s/24 dev eth0\n" % there
                  + NEIGHBOURS.format(addresses=here, mac=mac))
    yield here
    target.run(NO_SECOND_NETWORK, timeout=60)
    initiator.run("ip neigh del %s dev eth0; ip addr del %s/24 dev eth0"
                  % (here, there))


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock("a login ends channels of its own port only")
def test_nexus_over_two_hcas(bench):
    """a login that replaces its session does so on every port of the target;
    one that joins it leaves the others alone; an HCA goes and takes its
    channels only"""
    target = bench.target
    with second_hca(bench) as address, bench.configured(acls=[]), \
            contextlib.ExitStack() as peers:
        other = "%s/%s/tpgt_1" % (SRPT, gid_of(target, "rxe1"))
        target.shell("mkdir -p %s; lun %s 0 disk0" % (other, other))

        def peer(dest=None):
            return peers.enter_context(bench.peer(dest=dest))

        first = peer()
        for tpg in (target.tpg(), other):
            target.shell("acl %s %s" % (tpg, first.port_id))
        target.run("echo 1 > %s/enable" % other)
        first.login()
        second = peer(address)
        equal(second.login(flags=1)[26] & 3, 2, "the session was joined")
        works(first)
        works(second)
        third = peer(address)
        equal(third.login()[26] & 3, 1, "channels were terminated")
        for one in (first, second):
            equal(one.ended(), MULTI_CHANNEL, "reason of the end")
        fourth = peer()
        equal(fourth.login(flags=1)[26] & 3, 2, "the session was joined")
        works(third)
        works(fourth)
        target.run("rdma link delete rxe1", timeout=60)
        works(fourth)
        until(lambda: target.connections() == 1, 30, "one connection is left")
        target.run("rdma link add rxe1 type rxe netdev second")
        fourth.order("disconnect")
        target.wait_for_connections(0)


@pytest.mark.timeout(120)
@pytest.mark.stock("it has no such directory")
def test_renamed(bench):
    """an HCA that is renamed under a session keeps it, and its directory follows;
    another HCA takes the old name"""
    target, initiator = bench.target, bench.initiator

    def directories():
        return sorted(target.run("ls " + CLASS).out.split())

    with bench.session() as disk:
        job = initiator.load(disk, UNTIL_STOPPED)
        equal(directories(), ["srpt-rxe0-1"], "directories")
        target.run("rdma dev set rxe0 name mlx5_0")
        equal(directories(), ["srpt-mlx5_0-1"], "directories after the change")
        equal(len(target.run("ls %s/srpt-mlx5_0-1/sessions" % CLASS).out.split()),
              2, "sessions")
        equal(target.read(CLASS + "/srpt-mlx5_0-1/device"), "mlx5_0", "device")
        contains(target.run("/repo/scripts/srpt-top --once").out, "\nmlx5_0/1",
                 "srpt-top")
        try:
            target.run("ip link add one type dummy && ip link set one up && "
                       "rdma link add rxe0 type rxe netdev one")
            equal(directories(), ["srpt-mlx5_0-1", "srpt-rxe0-1"],
                  "directories of both")
            # Names swapped, with one in between.
            for old, new in (("mlx5_0", "tmp"), ("rxe0", "mlx5_0"),
                             ("tmp", "rxe0")):
                target.run("rdma dev set %s name %s" % (old, new))
            equal(len(target.run("ls %s/srpt-rxe0-1/sessions"
                                 % CLASS).out.split()), 2, "sessions")
        finally:
            # The HCA goes with its interface, whatever it is called by now.
            target.run("ip link del one; [ -e /sys/class/infiniband/rxe0 ] || "
                       "for d in /sys/class/infiniband/*; do "
                       "rdma dev set ${d##*/} name rxe0; done", check=False)
        equal(directories(), ["srpt-rxe0-1"], "directories at the end")
        initiator.stop(job, disk)
