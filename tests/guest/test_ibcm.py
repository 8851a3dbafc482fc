# SPDX-License-Identifier: GPL-2.0
#
# Native InfiniBand logins, through the IB/CM: over RoCE, with a kernel module
# as the peer, because the lab has no InfiniBand. Logins and who is let in,
# refusals, and every way in which a connection may fail to come about or end.
#
# Not here: what is the same for all channels (the other files).

import os
import time

import pytest

from . import ibcm, peer
from .checks import contains, equal, expect, until
from .dm import Asker, daemon_scan
from .ibcm import IbPeer
from .initiator import UNTIL_STOPPED
from .test_memory import CODE
from .test_nth import Nth
from .test_reject import (ACCESS, ASSOCIATE, ESTABLISH, RESOURCES, TAG,
                          TOO_LONG)
from .test_rogue import TMF_FAILED

pytestmark = pytest.mark.roce("iWARP has a connection manager of its own")

NATIVE = "it takes native InfiniBand logins on InfiniBand links only"
GOOD = 0x00

# The connection manager's time-outs: 4 microseconds times two to this.
SOON = 12                       # 16 ms
FLOOR = 8                       # 1 ms, as is everything below it


def works(one, tag=0x7001, timeout=10):
    """The connection serves a command."""
    answer = one.ask(peer.cmd(tag, peer.inquiry(), data_in=one.at(0, 36)),
                     timeout)
    expect(isinstance(answer, peer.Response), "INQUIRY is answered: %s"
           % (answer,))
    equal((answer.tag, answer.status), (tag, GOOD), "answer to INQUIRY")
    equal(one.dump(8, 7), one.target.vendor, "vendor")


def closed(bench, timeout=30):
    """Nothing is left of the channels."""
    bench.target.wait_for_connections(0, timeout)


def leave(bench, one):
    """The peer disconnects, and the target answers and forgets it."""
    one.order("disconnect")
    equal(one.await_event("drep"), "drep", "answer to the disconnect")
    closed(bench)


def target_log(bench):
    return bench.target.run("dmesg").out


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_login(bench):
    """login, INQUIRY, data in both directions, logout"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            answer = one.login(tag=TAG)
            equal(answer[8:16].hex(), "%016x" % TAG, "tag of the answer")
            equal(target.connections(), 1, "connections")
            one.settle()
            works(one)
            data = os.urandom(4096)
            one.fill(0, data)
            answer = one.ask(peer.cmd(1, peer.write_10(8, 8),
                                      data_out=one.at(0, 4096)))
            equal((answer.tag, answer.status), (1, GOOD), "answer to WRITE")
            answer = one.ask(peer.cmd(2, peer.read_10(8, 8),
                                      data_in=one.at(65536, 4096)))
            equal((answer.tag, answer.status), (2, GOOD), "answer to READ")
            expect(one.dump(65536, 4096) == data,
                   "what was read is what was written")
            leave(bench, one)
        contains(target_log(bench), "from GID fe80::", "the kernel log")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_other_paths(bench):
    """other GIDs of both ports, a limited partition key, a shared queue"""
    with ibcm.target(bench) as target:
        gids = bench.initiator.run(
            "cat /sys/class/infiniband/rxe0/ports/1/gids/* 2>/dev/null; true"
        ).out.replace(":", "").split()
        v4 = "00000000000000000000ffff0a0900"
        equal(gids.count(v4 + "02"), 1, "GIDs of the IPv4 address")
        with IbPeer(bench, index=gids.index(v4 + "02"), gid=v4 + "01") as one:
            target.add_acl(one.port_id)
            one.login()
            works(one)
            leave(bench, one)
        with IbPeer(bench, pkey=0x7fff) as one:
            one.login()
            works(one)
            leave(bench, one)
    with ibcm.target(bench, attributes={"use_srq": 1}) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            works(one)
            leave(bench, one)


# What two initiators that log in through the IB/CM only put into their login, with
# which offset of their tags, and whether they abort; see docs/initiators.md.
INITIATORS = {
    "ipxe": (dict(iu_len=80, buf_fmt=0x0200, flags=0), 0x6950584500000000, False),
    "windows": (dict(iu_len=4196, flags=0), 0, True),
}


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
@pytest.mark.parametrize("name", INITIATORS)
def test_initiators(bench, name):
    """iPXE and WinOFED: login, data both ways, an abort, and a target that ends the
    session, without a unit that they do not know"""
    fields, tags, aborts = INITIATORS[name]

    def ask(number, *args, **options):
        answer = one.ask(peer.cmd(tags + number, *args, **options))
        expect(isinstance(answer, peer.Response), "a response: %s" % (answer,))
        equal((answer.tag, answer.status), (tags + number, GOOD), "the response")

    def moved(at, direction):
        """The descriptor, or a table of two."""
        if not aborts:
            return {direction: one.at(at, 4096)}
        halves = [one.at(at, 2048), one.at(at + 2048, 2048)]
        out = direction == "data_out"
        return dict(fmt=0x20 if out else 0x02, counts=(2, 0) if out else (0, 2),
                    tail=peer.indirect((0, 0, 32), 4096, halves))

    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login(**fields)
            one.settle()
            data = os.urandom(4096)
            one.fill(0, data)
            ask(1, peer.write_10(8, 8), **moved(0, "data_out"))
            ask(2, peer.read_10(8, 8), **moved(65536, "data_in"))
            expect(one.dump(65536, 4096) == data,
                   "what was read is what was written")
            if aborts:
                answer = one.ask(peer.tsk_mgmt(tags + 3, peer.ABORT_TASK,
                                               task_tag=tags + 2))
                equal((answer.tag, answer.code), (tags + 3, TMF_FAILED),
                      "the answer to ABORT TASK of a task that is gone")
            target.enable(False)
            equal(one.ended(), None, "SRP_T_LOGOUT")
        closed(bench)


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
@pytest.mark.engine("lio")
def test_access(bench):
    """entries by port GUID and by port identifier; others let nobody in"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            names = [one.guid_name, one.port_id, one.port_id[2:]]
            others = ["0x" + "0" * 16 + one.port_id[18:], "10.9.0.2",
                      one.guid_name[:-1] + "3"]
        for name in others:
            target.add_acl(name)
        refused(bench, ACCESS, what="others")
        for name in names:
            target.add_acl(name)
            with IbPeer(bench) as one:
                one.login()
                works(one)
                leave(bench, one)
            contains(target_log(bench), "through " + name, "the kernel log")
            target.remove_acl(name)
            refused(bench, ACCESS, what=name + " is gone")


def refused(bench, reason, tag=TAG, what="", data=None, **fields):
    """A login is refused with exactly this SRP_LOGIN_REJ."""
    with IbPeer(bench) as one:
        fields.setdefault("tag", TAG)
        word, number, answer = one.connect(data or one.request(**fields))
        name = what or str(fields)
        equal((word, number), ("rejected", peer.CONSUMER_DEFINED),
              "answer to " + name)
        equal(answer[:32].hex(), peer.login_rej(tag, reason).hex(),
              "SRP_LOGIN_REJ for " + name)


@pytest.mark.timeout(180)
@pytest.mark.stock(NATIVE)
def test_reasons(bench):
    """every reason of SRP_LOGIN_REJ, byte by byte"""
    with ibcm.target(bench) as target:
        guid, other = bytes.fromhex(target.service_guid), bytes(8)
        if not target.admits_all:
            refused(bench, ACCESS, what="a peer without access")
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
        for length in (0, 63, 8277, 0xffffffff):
            refused(bench, TOO_LONG, iu_len=length)
        refused(bench, ASSOCIATE, target=guid + other)
        refused(bench, ASSOCIATE, target=other + guid)
        refused(bench, ESTABLISH, tag=0, opcode=peer.CMD)
        refused(bench, TOO_LONG, tag=0, what="zeroes", data=bytes(1))
        target.enable(False)
        refused(bench, RESOURCES, what="a disabled target")
        equal(target.queue_pairs(), 0, "queue pairs")
        target.enable(True)
        with IbPeer(bench) as one:
            one.login()
            works(one)
            leave(bench, one)


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_other_services(bench):
    """what is not this service is refused by the connection manager"""
    with ibcm.target(bench) as target:
        nothing = bytes(64)
        with IbPeer(bench, service="0001020304050607") as one:
            equal(one.connect(nothing)[:2], ("rejected", ibcm.INVALID_SERVICE),
                  "answer to another service id")
        with IbPeer(bench, type=ibcm.UC) as one:
            equal(one.connect(nothing)[:2],
                  ("rejected", ibcm.INVALID_TRANSPORT),
                  "answer to an unreliable connection")
        with IbPeer(bench) as one:
            # IB_SIDR_REJECT
            equal(one.order("resolve").strip(), "resolved 2",
                  "answer to the search for a datagram queue pair")
        equal(target.queue_pairs(), 0, "queue pairs")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_opt_in(bench):
    """over RoCE there is a listener only if asked for; its service id"""
    target = bench.target
    with bench.configured(acls=[]):
        equal(target.parameter("ib_cm_on_roce"), "N", "ib_cm_on_roce")
        ibcm.load(bench)
        with IbPeer(bench) as one:
            equal(one.connect(one.request())[:2],
                  ("rejected", ibcm.INVALID_SERVICE), "answer by default")
        ibcm.unload(bench)
    guid = "0008f10403961234"
    with ibcm.target(bench, params="srpt_service_guid=" + guid):
        with IbPeer(bench, service=guid) as one:
            target.add_acl(one.port_id)
            one.login(target=bytes.fromhex(guid * 2))
            works(one)
            leave(bench, one)
    # An id that the connection manager keeps for itself.
    with bench.configured(acls=[bench.initiator.port_id], params=
                          "ib_cm_on_roce=1 srpt_service_guid=0200000000000001"):
        contains(target_log(bench), "cannot listen for IB/CM logins on "
                 "service 0x0200000000000001: EINVAL", "the kernel log")
        bench.initiator.login(guid="0200000000000001")
        bench.initiator.logout()
        closed(bench)


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock(NATIVE)
def test_listened_late(bench):
    """an HCA whose listener cannot be started when it comes, as its service id is in use,
    listens later, which the log says; what says that it could not is there once"""
    with bench.target_module("nth", "result=-16 functions=ib_cm_listen"), \
            ibcm.target(bench) as target:
        nth = Nth(bench)
        nth.of(CODE)
        target.remove_hca()
        mark = target.mark()
        nth.arm(1)
        target.add_hca()
        until(lambda: "rxe0: listening for IB/CM logins" in target.log_since(mark), 15,
              "it listens")
        equal(target.log_since(mark).count("cannot listen for IB/CM logins"), 1,
              "lines about the failure")
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            works(one)
            leave(bench, one)


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_data_first(bench):
    """a message is served at once, whether its confirmation is late or lost"""
    with ibcm.target(bench) as target:
        # The answer to the login is given up after 13 s.
        with IbPeer(bench, patience=19, retries=5) as one:
            target.add_acl(one.port_id)
            one.half_login()
            began = time.monotonic()
            works(one)
            expect(time.monotonic() - began < 3,
                   "nothing waits for the confirmation")
            # The target says to its connection manager that there is one, before
            # that gives up its answer.
            time.sleep(15)
            works(one)
            equal(one.order("rtu"), "confirmed", "late confirmation")
            works(one)
            leave(bench, one)


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock(NATIVE)
def test_unconfirmed_ends(bench):
    """a connection that is in use and whose confirmation is lost ends at once, and
    logins that are not confirmed have a bound"""
    with ibcm.target(bench, params="max_unconfirmed_logins=1") as target:
        # Neither end repeats anything for two minutes.
        with IbPeer(bench, patience=25) as one, IbPeer(bench) as two:
            target.add_acl(one.port_id)
            one.half_login()
            words = two.order("request " + two.request(
                flags=peer.LOSOLNT | peer.MULTI).hex()).split()
            equal(words[0], "rejected", "what the second is told")
            contains(target_log(bench), "max_unconfirmed_logins", "the kernel log")
            # Its confirmation is lost.
            bench.pair.cut()
            one.order("rtu")
            bench.pair.mend()
            works(one)
            target.enable(False)
            # The connection manager cannot disconnect what it has not seen confirmed.
            equal(one.await_event("rejected"), "rejected", "what the first is told")
            closed(bench, 10)


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock(NATIVE)
def test_without_node_guid(bench):
    """an HCA without node GUID is found, and takes logins, by the service GUID 0;
    one with a node GUID that comes later changes nothing"""
    target, zero = bench.target, "0" * 16
    with bench.target_module("odd_hca", "no_guid=1"), ibcm.target(bench):
        asker = Asker(bench)
        for acl in True, False:
            line = ("id_ext=%s,ioc_guid=%s,dgid=%s,pkey=ffff,service_id=%s"
                    % (zero, zero, asker.gid, zero))
            found = daemon_scan(asker.get, asker.gid)
            equal([text for text, _ in found], [line], "lines for add_target")
            with IbPeer(bench, service=zero) as one:
                if acl:
                    target.add_acl(one.port_id)
                one.login(target=bytes(16))
                works(one)
                leave(bench, one)
            target.run("ip link add other type dummy; ip link set other up; "
                       "[ -e /sys/class/infiniband/rxe1 ] || "
                       "rdma link add rxe1 type rxe netdev other")
        target.run("ip link del other")
        until(lambda: target.run("[ ! -e /sys/class/infiniband/rxe1 ]",
                                 check=False).rc == 0, 20, "the other HCA is gone")


@pytest.mark.timeout(180)
@pytest.mark.stock(NATIVE)
def test_never_confirmed(bench):
    """without any confirmation the channel is closed, by either time limit"""
    with ibcm.target(bench) as target:
        # The connection manager gives up on its answer.
        with IbPeer(bench, patience=SOON, retries=2) as one:
            target.add_acl(one.port_id)
            one.half_login()
            closed(bench, 10)
            contains(target_log(bench), "closing: connection failed",
                     "the kernel log")
        # It is very patient; the target is not.
        with IbPeer(bench, patience=25) as one:
            one.half_login()
            equal(target.connections(), 1, "connections")
            closed(bench, 60)
            contains(target_log(bench), "closing: connect timeout",
                     "the kernel log")
            equal(one.await_event("rejected"), "rejected", "what it is told")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_rejected(bench):
    """a peer that rejects the target's answer leaves nothing behind"""
    with ibcm.target(bench) as target:
        for reason in (peer.CONSUMER_DEFINED, ibcm.STALE, 4):
            with IbPeer(bench) as one:
                if reason == peer.CONSUMER_DEFINED:
                    target.add_acl(one.port_id)
                one.half_login()
                one.order("reject %d" % reason)
                closed(bench, 10)
        contains(target_log(bench), "closing: rejected by initiator",
                 "the kernel log")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_target_disconnects(bench):
    """the target ends the connection: disabled, entry removed, unloaded"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            works(one)
            target.enable(False)
            equal(one.await_event("dreq"), "dreq", "event")
            closed(bench, 10)
            equal(one.ended(), peer.NO_REASON, "reason of the end")
            equal(one.await_event("timewait-exit"), "timewait-exit", "event")
        target.enable(True)
        with IbPeer(bench) as one:
            one.login()
            target.remove_acl(one.port_id)
            equal(one.await_event("dreq"), "dreq", "event")
            closed(bench, 10)
            target.add_acl(one.port_id)
        with IbPeer(bench) as one:
            one.login()
            works(one)
            # Configuration and module go under the connection.
            target.unconfigure()
            equal(one.await_event("dreq"), "dreq", "event")
            equal(target.queue_pairs(), 0, "queue pairs")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_unanswered_disconnect(bench):
    """a peer that does not answer the disconnect holds up nobody"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            one.order("stubborn")
            target.enable(False)
            closed(bench, 10)
            equal(one.await_event("dreq"), "dreq", "event")
        target.enable(True)
        with IbPeer(bench) as one:
            one.login()
            one.order("stubborn")
            target.unconfigure(timeout=20)
            equal(target.queue_pairs(), 0, "queue pairs")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_peer_dies(bench):
    """the initiator's module is removed under the connection"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            works(one)
            bench.initiator.run("pkill -KILL -f ibcm_peer.py")
            ibcm.unload(bench)
            closed(bench)
        ibcm.load(bench)
        with IbPeer(bench) as one:
            one.half_login()
            bench.initiator.run("pkill -KILL -f ibcm_peer.py")
            ibcm.unload(bench)
            closed(bench)
        ibcm.load(bench)


def duplicates(target):
    """How many connection requests came more than once."""
    return int(target.read("/sys/class/infiniband/rxe0/ports/1/"
                           "cm_rx_duplicates/req"))


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_duplicate_request(bench):
    """a request that is repeated before it is answered makes one channel"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
        before = duplicates(target)
        # Sixteen requests must take longer than the answer, and one of them must
        # not. How long that is depends on the machines: from at once to 4 s.
        # Where they did not, the target's answer is repeated for 2 s.
        hurry, granted = FLOOR, 0
        while granted < 5:
            with IbPeer(bench, hurry=hurry, life=0, retries=15,
                        patience=15) as one:
                if not one.tries_to_connect(one.request()):
                    hurry += 2
                    expect(hurry <= 16, "the peer hears the answer")
                    closed(bench)
                    continue
                granted += 1
                equal(target.queue_pairs(), 1, "queue pairs")
                # In such a hurry the answer to this may be missed, too.
                one.order("disconnect")
                closed(bench)
        expect(duplicates(target) > before, "requests were repeated")


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_stale_connection(bench):
    """a new request of the same queue pair ends what is left of the old one"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            answer = one.order("again " + one.request().hex()).split()
            equal(answer[:2], ["rejected", str(ibcm.STALE)], "answer")
            equal(one.await_event("dreq"), "dreq", "event")
            closed(bench, 10)
        with IbPeer(bench) as one:
            one.login()
            works(one)
            leave(bench, one)


@pytest.mark.timeout(180)
@pytest.mark.stock(NATIVE)
def test_device_goes(bench):
    """the target's HCA goes under the connection; the new one listens again"""
    with ibcm.target(bench) as target:
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            one.login()
            target.remove_hca()
            # Whether the logout gets out before the HCA is gone is open.
            answer = one.receive(5)
            expect(answer in ("timeout", "disconnected") or
                   answer[0] == peer.T_LOGOUT, "the end: %s" % (answer,))
        target.add_hca()
        if not target.keeps_configuration:
            until(lambda: target.run("test -d " + target.directory,
                                     check=False).rc == 0, 20,
                  "the target is back")
            target.configure()
        with IbPeer(bench) as one:
            one.login()
            works(one)
            leave(bench, one)


@pytest.mark.timeout(120)
@pytest.mark.stock(NATIVE)
def test_beside_others(bench):
    """sessions through both connection managers do not disturb each other"""
    with bench.session(target_params="ib_cm_on_roce=Y") as disk:
        ibcm.load(bench)
        job = bench.initiator.load(disk, UNTIL_STOPPED)
        for n in range(3):
            with IbPeer(bench) as one:
                if not n:
                    bench.target.add_acl(one.port_id)
                one.login()
                works(one)
                bench.initiator.moves(disk)
                one.order("disconnect")
        bench.initiator.stop(job, disk)
        ibcm.unload(bench)


@pytest.mark.timeout(300)
@pytest.mark.stock(NATIVE)
def test_leaves_nothing(bench):
    """50 logins, and what is none, leave no queue pair, no connection id"""
    target = bench.target
    with ibcm.target(bench):
        with IbPeer(bench) as one:
            target.add_acl(one.port_id)
            wrong = "target" if target.admits_all else "initiator"
            stranger = one.request(**{wrong: bytes(16)}).hex()
        for n in range(10):
            with IbPeer(bench) as one:
                equal(one.order("connect " + stranger).split()[:2],
                      ["rejected", str(peer.CONSUMER_DEFINED)], "a refusal")
            with IbPeer(bench, type=ibcm.UC) as one:
                one.connect(bytes(64))
            with IbPeer(bench) as one:
                one.order("resolve")
            with IbPeer(bench) as one:
                one.half_login()
                if n % 2:
                    one.order("reject %d" % peer.CONSUMER_DEFINED)
        for n in range(50):
            with IbPeer(bench) as one:
                one.login()
                if n % 5:
                    one.order("disconnect")
        until(lambda: target.queue_pairs() == 0, 30, "no queue pair is left")
    # ib_cm warns if connection ids are left, which the console guard sees.
    target.run("rmmod rdma_ucm rdma_cm ib_cm && "
               "[ ! -d /sys/module/ib_cm ] && modprobe rdma_ucm")
