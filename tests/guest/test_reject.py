# SPDX-License-Identifier: GPL-2.0
#
# Refused logins: every reason of SRP_LOGIN_REJ, as ib_srp reports it and byte
# by byte as a scripted peer receives it, and that a refusal leaves nothing.
#
# Not here: which entries let whom in (test_acl.py).

import time

import pytest

from . import peer
from .checks import equal, expect
from .initiator import REJECTED
from .test_leaks import try_many

ESTABLISH, RESOURCES, TOO_LONG, ASSOCIATE = range(0x00010000, 0x00010004)
ACCESS = 0x00010006
TAG = 0xa1b2c3d4e5f60718


@pytest.mark.timeout(120)
def test_reasons_by_ib_srp(bench):
    """wrong target, no access, disabled: what the stock initiator reports"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        wrong = "%016x" % (int(target.service_guid, 16) ^ 1)
        equal(initiator.refused(guid=wrong), ASSOCIATE, "wrong GUID")
        if not target.admits_all:
            equal(initiator.refused("initiator_ext=5"), ACCESS, "no access")
        target.enable(False)
        equal(initiator.refused(), RESOURCES, "disabled")
        target.enable(True)
        initiator.login()
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(90)
def test_too_long_by_ib_srp(bench):
    """information units longer than the target takes"""
    initiator = bench.initiator
    with bench.configured(params="srp_max_req_size=996"):
        equal(initiator.refused(), TOO_LONG, "immediate data")
        initiator.logout()
        equal(initiator.refused("cmd_sg_entries=255",
                                params="use_imm_data=N"), TOO_LONG,
              "255 descriptors")
        equal(initiator.refused("cmd_sg_entries=58"), TOO_LONG,
              "58 descriptors")
        initiator.login("cmd_sg_entries=57")
        initiator.logout()
        bench.target.wait_for_connections(0)


@pytest.mark.timeout(60)
@pytest.mark.ip("the IB/CM's listener does not go with the port")
def test_nobody_listens(bench):
    """without a listener there is a plain refusal"""
    with bench.configured(port=0):
        equal(bench.initiator.refused(), None, "reason")
        bench.initiator.logout()


def refused(bench, reason, tag=TAG, what="", **fields):
    """A scripted login is refused with exactly this SRP_LOGIN_REJ. A peer with siw
    that hears of the end of the connection before it has looked at the refusal
    does not look at it any more."""
    fields.setdefault("tag", TAG)
    name = what or str(fields)
    for _ in range(3 if bench.initiator.guest.transport == "siw" else 1):
        with bench.peer() as one:
            word, number, data = one.connect(one.request(**fields))
        if data:
            break
    equal((word, number), ("rejected", peer.CONSUMER_DEFINED),
          "answer to " + name)
    equal(data[:32].hex(), peer.login_rej(tag, reason).hex(),
          "SRP_LOGIN_REJ for " + name)


@pytest.mark.timeout(180)
def test_reasons_byte_by_byte(bench):
    """the SRP_LOGIN_REJ of every reason the C driver knows"""
    target = bench.target
    guid = bytes.fromhex(target.service_guid)
    other = bytes(8)
    with bench.configured(acls=[]):
        if not target.admits_all:
            refused(bench, ACCESS, what="a peer without access")
        for length in (0, 63, 8277, 0xffffffff):
            refused(bench, TOO_LONG, iu_len=length)
        refused(bench, ASSOCIATE, target=guid + other)
        refused(bench, ASSOCIATE, target=other + guid)
        target.enable(False)
        refused(bench, RESOURCES, what="a disabled target")
        # The order of the checks is part of the interface.
        refused(bench, TOO_LONG, iu_len=1, target=other * 2)
        refused(bench, RESOURCES, target=other * 2)
        equal(target.queue_pairs(), 0, "queue pairs")


@pytest.mark.timeout(180)
@pytest.mark.stock("it has no limit")
def test_log_lines(bench):
    """a peer that is refused again and again causes 20 lines in 5 s at most; the
    counter has all"""
    target, many = bench.target, 100
    counter = "/sys/class/infiniband_srpt/srpt-%s-1/refusals/iu_too_large" \
        % target.guest.hca
    with bench.configured(acls=[]):
        before, mark = int(target.read(counter)), target.mark()
        began = time.monotonic()
        equal(try_many(bench, many, iu_len=0), (0, many), "granted and refused")
        took = time.monotonic() - began
        lines = target.log_since(mark).count("refused: ")
        equal(int(target.read(counter)) - before, many, "counted")
        expect(0 < lines <= 20 * (1 + took // 5),
               "lines in the log: %d of %d logins in %.1f s" % (lines, many, took))


@pytest.mark.timeout(120)
@pytest.mark.stock("it accepts all of these")
def test_malformed_requests(bench):
    """the reason for requests that are none"""
    target = bench.target
    with bench.configured(acls=[]), bench.peer() as friend:
        # With access, so that only the one thing is wrong.
        target.add_acl(friend.port_id)
        # The kernel's rdma_cm zeroes the first byte of what it gives the IB/CM.
        ib = bench.initiator.guest.transport == "ib"
        for opcode in () if ib else (peer.CMD, 0x55, 0xff):
            refused(bench, ESTABLISH, tag=0, opcode=opcode)
        # Private data that is all zeroes is a request of length 0. (InfiniBand's
        # connection manager fills up with zeroes what is shorter, iWARP's does not.)
        with bench.peer() as empty:
            word, number, data = empty.connect(bytes(56))
            equal((word, number, data[:32]),
                  ("rejected", peer.CONSUMER_DEFINED,
                   peer.login_rej(0, TOO_LONG)), "answer to zeroes")
        equal(friend.login(tag=TAG)[0], peer.LOGIN_RSP, "a proper request")
        friend.order("disconnect")
        target.wait_for_connections(0)


@pytest.mark.timeout(120)
def test_refusals_leave_nothing(bench):
    """100 refused logins: no queue pair, no connection id is left"""
    target, initiator = bench.target, bench.initiator
    with bench.configured(acls=[]):
        # Where everybody is let in, the target is disabled instead.
        reason = RESOURCES if target.admits_all else ACCESS
        target.enable(not target.admits_all)
        mark = initiator.mark()
        initiator.run("""
modprobe ib_srp
for i in $(seq 100); do
    echo "%s" > /sys/class/infiniband_srp/srp-%s-1/add_target && exit 1
done 2>/dev/null
true""" % (initiator.string(), initiator.guest.hca), timeout=100)
        log = initiator.log_since(mark)
        said = "reason 0x%08x" % reason
        if initiator.guest.transport == "siw":
            said = REJECTED
        equal(log.count(said), 100, "refusals in the log")
        equal(target.queue_pairs(), 0, "queue pairs")
        ids = target.run("rdma resource show cm_id").out
        expect(len([x for x in ids.splitlines() if "LISTEN" not in x]) == 0,
               "only the listener is left:\n" + ids)
        initiator.logout()
