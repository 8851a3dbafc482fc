# SPDX-License-Identifier: GPL-2.0
#
# Who is let in: the forms an access control entry may have, and several
# portal groups with different entries.
#
# Not here: which names mkdir takes (test_configfs.py), other refusals
# (test_reject.py), removal of entries in use (test_load.py).

import json
import re

import pytest

from . import peer, slow
from .checks import contains, equal, expect
from .lio import SRPT, guid_name
from .test_rogue import TMF_FAILED

pytestmark = pytest.mark.engine("lio")

NO_ACCESS = 0x00010006
ADDRESSES = "peers have no addresses of IP there"
OWN_ADDRESS = "it compares the target's own address with such an entry"


def lets_in(bench, name, **options):
    """With this entry alone the initiator gets in and its data is right."""
    with bench.configured(acls=[name], **options):
        disk, = bench.initiator.login()
        bench.initiator.fio(disk, "256k", depth=4)
        bench.initiator.logout()
        bench.target.wait_for_connections(0)


def keeps_out(bench, *names):
    """With these entries alone the initiator is refused for lack of access."""
    with bench.configured(acls=names):
        equal(bench.initiator.refused(), NO_ACCESS, "reason")
        equal(bench.target.connections(), 0, "connections")
        bench.initiator.logout()


def test_none(bench):
    """without any entry nobody gets in"""
    keeps_out(bench)


def test_others(bench):
    """entries of others let nobody in"""
    own = bench.initiator.port_id
    names = ["0x0000000000000001" + own[18:],
             "0x" + own[2:18] + own[18:-1] + "e", "fd09::3"]
    # The target's own address is no entry for its peers. The C driver tries
    # addresses only under the other name of the port, hence not here.
    keeps_out(bench, *names, "10.9.0.3", bench.target.guest.ip,
              bench.target.guest.ip6)


def test_port_id(bench):
    """initiator port identifier, 0x and 32 digits"""
    lets_in(bench, bench.initiator.port_id)


def test_port_id_without_prefix(bench):
    """initiator port identifier without 0x"""
    lets_in(bench, bench.initiator.port_id[2:])


def test_initiator_ext(bench):
    """initiator_ext is the first half of the identifier"""
    with bench.configured(acls=["0x00000000000000ab" + bench.initiator.guid]):
        equal(bench.initiator.refused(), NO_ACCESS, "reason without it")
        bench.initiator.login("initiator_ext=00000000000000ab")
        bench.initiator.logout()
        bench.target.wait_for_connections(0)


@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_peer_ipv4(bench):
    """the peer's IPv4 address"""
    lets_in(bench, bench.initiator.guest.ip)


@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_peer_ipv6(bench):
    """the peer's IPv6 address, in short form"""
    with bench.configured(acls=[bench.initiator.guest.ip6]):
        equal(bench.initiator.refused(), NO_ACCESS, "reason over IPv4")
        bench.initiator.login(dest=bench.target.guest.ip6)
        bench.initiator.logout()
        bench.target.wait_for_connections(0)


@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_peer_ipv6_long(bench):
    """the peer's IPv6 address, all 32 digits"""
    with bench.configured(acls=["fd09:0000:0000:0000:0000:0000:0000:0002"]):
        bench.initiator.login(dest=bench.target.guest.ip6)
        bench.initiator.logout()
        bench.target.wait_for_connections(0)


@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_address_as_port_id(bench):
    """the peer's addresses in the form of a port identifier, for targetcli"""
    v4 = "0x00000000000000000000ffff0a090002"
    v6 = "0xfd090000000000000000000000000002"
    with bench.configured(acls=[v4]) as target:
        bench.initiator.login()
        bench.initiator.logout(unload=False)
        target.wait_for_connections(0)
        equal(bench.initiator.refused(dest=target.guest.ip6), NO_ACCESS,
              "reason over IPv6")
        target.add_acl(v6)
        bench.initiator.login(dest=target.guest.ip6)
        bench.initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_transport_id(bench):
    """reservations know an entry by address that has the form of a port
    identifier (LIO makes nothing of other forms)"""
    name = "0x00000000000000000000ffff0a090002"
    with bench.session(acls=[name]) as disk:
        bench.target.shell("mkdir -p $(cat dbroot)/pr")
        bench.initiator.run("sg_persist --out --register --param-sark=123abc "
                            + disk)
        contains(bench.initiator.full_status(disk), "04" + "00" * 7 + name[2:],
                 "full status")
        bench.initiator.run("sg_persist --out --clear --param-rk=123abc " + disk)


@pytest.mark.stock("it knows other addresses")
@pytest.mark.ip(ADDRESSES)
def test_no_transport_id(bench):
    """the log says so when an initiator reserves through an entry of which LIO
    makes no TransportID, and which directory is missing for that"""
    target, initiator = bench.target, bench.initiator
    register = "sg_persist --out --register --param-sark=123abc "
    with bench.session(acls=["10.9.0.2"]) as disk:
        root = target.run("cat /sys/kernel/config/target/dbroot").out.strip()
        target.run("mkdir -p {0}/pr && mv {0}/pr {0}/elsewhere".format(root))
        try:
            initiator.run(register + disk, check=False)
        finally:
            target.run("mv {0}/elsewhere {0}/pr".format(root))
        log = target.run("dmesg").out
        contains(log, "ib_srpt: ACL 10.9.0.2: its reservations have no "
                 "TransportID", "the log")
        contains(log, root + "/pr/", "the log")
        initiator.run("sg_persist --out --clear --param-rk=123abc " + disk,
                      check=False)


@pytest.mark.ip("there it is the name of the initiator's port")
def test_guid_form(bench):
    """a GUID names a port of a native InfiniBand login; over RDMA/CM it does
    not match"""
    keeps_out(bench, guid_name(bench.initiator.guid))


@pytest.mark.no_iwarp("its ports have no GUID")
@pytest.mark.stock("under this name of the port it tries no port identifiers")
def test_under_port_guid(bench):
    """the same entries work below the port's other name, its GUID"""
    name = guid_name(bench.target.guid)
    tpg = "%s/%s/%s" % (SRPT, name, name)
    lets_in(bench, bench.initiator.port_id, tpg=tpg)


def test_added_later(bench):
    """an entry that is added later lets in; taken away, it keeps out"""
    with bench.configured(acls=[]) as target:
        equal(bench.initiator.refused(), NO_ACCESS, "reason")
        target.add_acl(bench.initiator.port_id)
        bench.initiator.login()
        bench.initiator.logout(unload=False)
        target.wait_for_connections(0)
        target.remove_acl(bench.initiator.port_id)
        equal(bench.initiator.refused(), NO_ACCESS, "reason after that")
        bench.initiator.logout()


@pytest.mark.timeout(90)
def test_second_portal_group(bench):
    """of several portal groups, the one with the entry serves its own disk"""
    target, initiator = bench.target, bench.initiator
    with bench.configured(acls=["0x%032x" % 1]):
        second = target.tpg("second")
        target.shell("""
mkdir %(tpg)s
backstore small %(pages)d
lun %(tpg)s 0 small
acl %(tpg)s %(acl)s
""" % {"tpg": second, "pages": 5 * 256, "acl": initiator.port_id})
        if target.variant == "rust":
            # The first portal group is enabled; this one is not yet.
            equal(initiator.refused(), NO_ACCESS, "reason while disabled")
        target.write(second + "/enable", 1)
        disk, = initiator.login()
        equal(initiator.megabytes(disk), 5, "the disk of the second group")
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.no_iwarp("its ports have no GUID")
@pytest.mark.ip(ADDRESSES)
@pytest.mark.timeout(90)
def test_order(bench):
    """of two entries that match, the one below the port's GUID wins, whichever
    was made first"""
    target, initiator = bench.target, bench.initiator
    by_guid = guid_name(target.guid)
    by_guid = "%s/%s/%s" % (SRPT, by_guid, by_guid)
    # The C driver takes the target's own address for the initiator's.
    address = (initiator if target.variant == "rust" else target).guest.ip
    entries = [(target.tpg(), initiator.port_id, 4), (by_guid, address, 8)]
    for first, second in entries, entries[::-1]:
        tpg, name, size = first
        with bench.configured(acls=[name], megabytes=size, tpg=tpg):
            tpg, name, size = second
            target.shell("""
mkdir -p %(tpg)s
backstore other %(pages)d
lun %(tpg)s 0 other
acl %(tpg)s %(acl)s
echo 1 > %(tpg)s/enable
""" % {"tpg": tpg, "pages": size * 256, "acl": name})
            disk, = initiator.login()
            equal(initiator.megabytes(disk), 8,
                  "size of the disk, entry %s made first" % first[1])
            initiator.logout()
            target.wait_for_connections(0)


def both_stay(bench, entries, guid=None):
    """Two peers of one identifier, over IPv4 and over IPv6, are none of each
    other's business."""
    with bench.configured(acls=[]) as target:
        with bench.peer() as one, \
                bench.peer(dest=target.guest.ip6) as other:
            if guid is not None:
                one.port_id = other.port_id = one.port_id[:18] + guid
            for name in entries or [one.port_id]:
                target.add_acl(name)
            equal(one.login()[26] & 3, 0, "what the first login found")
            one.settle()
            equal(other.login()[26] & 3, 0, "what the second login found")
            other.settle()
            equal(target.connections(), 2, "connections")
            for peer_ in one, other:
                answer = peer_.ask(peer.cmd(5, [peer.TEST_UNIT_READY]))
                equal(answer.status, 0, "status")


@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_another_entry(bench):
    """a login ends no session that another entry let in, from another address"""
    guest = bench.initiator.guest
    both_stay(bench, [guest.ip, guest.ip6])


@pytest.mark.stock("it compares identifiers only")
@pytest.mark.ip(ADDRESSES)
def test_without_guid(bench):
    """identifiers without a GUID, as over iWARP, do not make two addresses one
    initiator"""
    both_stay(bench, [], "0" * 16)


@pytest.mark.timeout(120)
@pytest.mark.stock(OWN_ADDRESS)
@pytest.mark.ip(ADDRESSES)
def test_abort_through_another_entry(bench):
    """ABORT TASK of a peer with the same identifier, whom another entry let in
    from another address, finds no task of the first"""
    target, guest = bench.target, bench.initiator.guest
    with bench.peer() as one, bench.peer(dest=target.guest.ip6) as other:
        target.slow_disk([guest.ip, guest.ip6])
        for each in one, other:
            each.login()
            each.settle()
        slow.delay(target, 4)
        one.send(peer.cmd(0x101, peer.read_10(0, 8), data_in=one.at(0, 4096)))
        equal(one.receive(1), "timeout", "the disk works on it")
        answer = other.ask(peer.tsk_mgmt(5, peer.ABORT_TASK, task_tag=0x101))
        equal((answer.tag, answer.code), (5, TMF_FAILED), "the answer to the abort")
        answer = peer.Response(one.receive(20))
        equal((answer.tag, answer.status), (0x101, 0), "the READ's response")
        slow.delay(target, 0)
        for each in one, other:
            each.order("disconnect")
        target.wait_for_connections(0)
        target.unconfigure()
        slow.remove(target)


@pytest.mark.stock("it does not say why")
@pytest.mark.ip(ADDRESSES)
def test_refusals_say_why(bench):
    """the log has the names an entry could have, and the entry that was meant"""
    target, initiator = bench.target, bench.initiator
    own = initiator.port_id
    names = "it may be named %s or %s" % (own, initiator.guest.ip)
    other = "0x00000000000000ab" + initiator.guid

    def refusal():
        mark = target.mark()
        equal(initiator.refused(), NO_ACCESS, "reason")
        return target.log_since(mark)

    def refusals():
        return target.read("/sys/class/infiniband_srpt/srpt-%s-1/"
                           "login_refused" % target.guest.hca).splitlines()

    with bench.configured(acls=[]):
        log = refusal()
        contains(log, names, "the kernel log")
        expect("; ACL" not in log, "there is no entry to name: " + log)
        target.add_acl(target.guest.ip)
        contains(refusal(), "%s; ACL %s is the target's own address"
                 % (names, target.guest.ip), "the kernel log")
        target.remove_acl(target.guest.ip)
        target.add_acl(other)
        contains(refusal(), "%s; ACL %s differs in initiator_ext"
                 % (names, other), "the kernel log")
        second = target.tpg("second")
        target.shell("mkdir %(tpg)s\nacl %(tpg)s %(acl)s"
                     % {"tpg": second, "acl": own})
        contains(refusal(), "%s; ACL %s matches, but its portal group is not "
                 "enabled" % (names, own), "the kernel log")
        lines = refusals()
        equal(len(lines), 1, "lines of login_refused: one for all four")
        expect(re.fullmatch(r"\d+ 4 0x10006 %s %s; %s; ACL %s matches, but its "
                            "portal group is not enabled" % (
                                own, initiator.guest.ip, names, own), lines[0]),
               "it says what the last one lacked: " + lines[0])
        seen = target.run(["/repo/scripts/srpt-top", "--json", "--count", "1"]).out
        seen, = json.loads(seen)["ports"]
        for login in seen["login_refused"]:
            equal(login["names"], [own, initiator.guest.ip], "names in srpt-top")
        equal([login["hint"] for login in seen["login_refused"]],
              [line.partition(names)[2].removeprefix("; ") for line in lines],
              "hints in srpt-top")
        # Others do not displace it, and it does not displace them.
        for host in range(7):
            initiator.refused("initiator_ext=%016x" % (0x100 + host))
        refusal()
        refusal()
        lines = refusals()
        equal(len(lines), 8, "lines of login_refused")
        contains(lines[0], " 6 0x10006 " + own, "the newest comes first")
        contains(lines[7], " 1 0x10006 0x%016x" % 0x100, "the oldest comes last")
        initiator.logout()
