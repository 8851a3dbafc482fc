# SPDX-License-Identifier: GPL-2.0
#
# Peers that break the rules after a proper login: each gets a defined answer
# or loses its connection, and a session beside it does not notice. The basics
# only; what the C drivers do with these is in the reference notes.
#
# Not here: malformed login requests (test_reject.py).

import contextlib
import json
import os
import struct
import time

import pytest

from . import peer
from .checks import equal, expect
from .initiator import UNTIL_STOPPED

GOOD, CHECK_CONDITION = 0x00, 0x02
COMPLETE, FIELDS_INVALID, NOT_SUPPORTED, TMF_FAILED = 0x00, 0x02, 0x04, 0x05
OOPS = "kernel Oops"


@contextlib.contextmanager
def logged_in(bench, **fields):
    """A configured target with a peer that has logged in properly."""
    with bench.configured(acls=[]) as target, bench.peer() as one:
        target.add_acl(one.port_id)
        one.login(**fields)
        one.settle()
        yield one
        if one.job.poll() is None:
            one.order("disconnect")
        target.wait_for_connections(0)


@contextlib.contextmanager
def neighbour(bench):
    """The same, beside a stock session under load, which must come through."""
    initiator = bench.initiator
    with bench.session() as disk, bench.peer() as one:
        bench.target.add_acl(one.port_id)
        job = initiator.load(disk, UNTIL_STOPPED)
        yield one
        initiator.moves(disk)
        initiator.stop(job, disk)


def works(one, tag=0x7001):
    """The connection still serves a proper command."""
    answer = one.ask(peer.cmd(tag, peer.inquiry(), data_in=one.at(0, 36)))
    equal((answer.tag, answer.status), (tag, GOOD), "answer to INQUIRY")
    equal(one.dump(8, 7), one.target.vendor, "vendor")


def is_check_condition(answer, tag, code=FIELDS_INVALID):
    expect(isinstance(answer, peer.Response), "there is an answer: %s"
           % (answer,))
    equal((answer.tag, answer.status), (tag, CHECK_CONDITION), "tag, status")
    equal(answer.code, code, "response code")
    equal(answer.delta, 1, "the credit comes back")
    equal((answer.sense[0] & 0x7f, answer.sense[2] & 15), (0x70, 5),
          "sense: fixed format, ILLEGAL REQUEST")


@pytest.mark.timeout(90)
def test_proper(bench):
    """the scripted peer itself: direct and indirect data, task management"""
    with logged_in(bench) as one:
        works(one)
        data = os.urandom(4096)
        one.fill(0, data)
        answer = one.ask(peer.cmd(1, peer.write_10(8, 8),
                                  data_out=one.at(0, 4096)))
        equal((answer.tag, answer.status), (1, GOOD), "answer to WRITE")
        # Read it back into three pieces, in another order.
        pieces = ((65536, 512), (32768, 1536), (131072, 2048))
        table = b"".join(struct.pack(">QII", *one.at(*p)) for p in pieces)
        indirect = struct.pack(">QIII", 0, 0, len(table), 4096) + table
        answer = one.ask(peer.cmd(2, peer.read_10(8, 8), fmt=0x02,
                                  counts=(0, 3), tail=indirect))
        equal((answer.tag, answer.status), (2, GOOD), "answer to READ")
        found = b"".join(one.dump(*p) for p in pieces)
        expect(found == data, "what was read is what was written")
        answer = one.ask(peer.tsk_mgmt(3, peer.LUN_RESET))
        equal((answer.tag, answer.code), (3, COMPLETE), "answer to LUN RESET")
        answer = one.ask(peer.tsk_mgmt(4, peer.ABORT_TASK, task_tag=77))
        equal(answer.tag, 4, "tag of the answer to ABORT TASK")
        expect(answer.code is not None, "it has a response code")
        works(one)


@pytest.mark.timeout(120)
@pytest.mark.stock("it runs the previous command again")
def test_one_byte(bench):
    """an information unit of 1 byte ends the connection, no other one"""
    with neighbour(bench) as one:
        one.login()
        one.settle()
        works(one)
        one.send(bytes([peer.CMD]))
        equal(one.ended(), peer.INVALID_IU, "reason of the end")


@pytest.mark.timeout(90)
@pytest.mark.stock(OOPS)
def test_claimed_descriptor(bench):
    """SRP_CMD of 48 bytes that claims a descriptor is answered"""
    with neighbour(bench) as one:
        one.login()
        one.settle()
        for n, fmt in enumerate((0x01, 0x10, 0x02, 0x20)):
            answer = one.ask(peer.cmd(n, peer.read_10(0, 1), fmt=fmt,
                                      counts=(1, 1)))
            is_check_condition(answer, n)
        works(one)


@pytest.mark.timeout(90)
@pytest.mark.stock(OOPS)
def test_claimed_cdb(bench):
    """an additional CDB that is not there is answered"""
    with neighbour(bench) as one:
        one.login()
        one.settle()
        for n, length in enumerate((252, 20, 255)):
            answer = one.ask(peer.cmd(n, peer.read_10(0, 1),
                                      add_cdb_len=length, tail=bytes(16)))
            is_check_condition(answer, n)
        # An 0x7f CDB that says it is longer than the unit.
        variable = [0x7f, 0, 0, 0, 0, 0, 0, 248, 0, 9]
        answer = one.ask(peer.cmd(9, variable))
        equal((answer.tag, answer.status), (9, CHECK_CONDITION), "answer")
        works(one)


@pytest.mark.timeout(90)
@pytest.mark.stock(OOPS)
def test_table_too_long(bench):
    """descriptor tables that lie about their length are answered

    One of more entries than are counted is fetched: see test_protocol.py."""
    with logged_in(bench) as one:
        entry = struct.pack(">QII", *one.at(0, 512))
        cases = {
            "longer than the unit": (160, 512, 10, entry),
            "no entry": (0, 512, 0, b""),
            "total longer than the entries": (16, 4096, 1, entry),
            "half an entry": (24, 512, 1, entry),
        }
        for n, (what, (size, total, count, table)) in enumerate(cases.items()):
            tail = struct.pack(">QIII", 0, 0, size, total) + table
            answer = one.ask(peer.cmd(n, peer.read_10(0, 1), fmt=0x02,
                                      counts=(0, count), tail=tail))
            expect(isinstance(answer, peer.Response) and answer.tag == n
                   and answer.status == CHECK_CONDITION,
                   "%s: %s" % (what, answer))
        works(one)


@pytest.mark.timeout(90)
@pytest.mark.stock(OOPS)
def test_huge_descriptor(bench):
    """a descriptor of 4 GiB, and one beyond the address space, are answered"""
    with logged_in(bench) as one:
        for n, (address, length) in enumerate((
                (one.address, 0xffffffff), (2 ** 64 - 512, 4096))):
            tail = struct.pack(">QII", address, one.key, length)
            answer = one.ask(peer.cmd(n, peer.read_10(0, 1), fmt=0x01,
                                      tail=tail))
            expect(isinstance(answer, peer.Response) and answer.tag == n
                   and answer.status == CHECK_CONDITION,
                   "%d bytes at %#x: %s" % (length, address, answer))
        works(one)


@pytest.mark.timeout(90)
@pytest.mark.stock(OOPS)
def test_uninvited_immediate_data(bench):
    """immediate data that was not agreed on, or lies, is answered"""
    def immediate(one, n, offset, claimed, real):
        tail = struct.pack(">I", claimed)
        tail += bytes(offset - 48 - len(tail)) + bytes(real)
        return one.ask(peer.cmd(n, peer.write_10(0, 1), fmt=0x30, tail=tail))

    with logged_in(bench) as one:
        is_check_condition(immediate(one, 1, 68, 512, 512), 1)
        works(one)
    with logged_in(bench, flags=peer.IMMEDIATE, imm_offset=68, iu_len=8276) as one:
        answer = immediate(one, 2, 68, 512, 512)
        equal((answer.tag, answer.status), (2, GOOD), "proper immediate data")
        is_check_condition(immediate(one, 3, 68, 1024, 512), 3)
        is_check_condition(immediate(one, 4, 68, 0xfffffff0, 512), 4)
        works(one)


@pytest.mark.timeout(90)
@pytest.mark.stock("the connection stays, and the credit is lost")
def test_unknown_opcode(bench):
    """unknown and misplaced information units end the connection"""
    for opcode, reason in ((0x55, peer.INVALID_IU),
                           (peer.RSP, peer.INVALID_IU),
                           (peer.LOGIN_REQ, peer.INVALID_IU),
                           (peer.CRED_RSP, peer.SPURIOUS_RESPONSE),
                           (peer.AER_RSP, peer.SPURIOUS_RESPONSE)):
        with logged_in(bench) as one:
            works(one)
            one.send(struct.pack(">B7xQ32x", opcode, 1))
            equal(one.ended(), reason,
                  "reason of the end after opcode %#x" % opcode)


@pytest.mark.timeout(90)
@pytest.mark.stock("it ignores it")
def test_logout(bench):
    """SRP_I_LOGOUT ends the session"""
    with neighbour(bench) as one:
        one.login()
        one.settle()
        works(one)
        one.send(peer.logout())
        equal(one.ended(), None, "reason, to who knows it")


@pytest.mark.timeout(90)
def test_unknown_task_management(bench):
    """an unknown task management function is answered as such"""
    with logged_in(bench) as one:
        for n, function in enumerate((0x00, 0x77, 0xff, 0x03)):
            answer = one.ask(peer.tsk_mgmt(n, function))
            expect(isinstance(answer, peer.Response), "there is an answer: %s"
                   % (answer,))
            equal((answer.tag, answer.code), (n, NOT_SUPPORTED),
                  "answer to function %#x" % function)
            equal(answer.delta, 1, "the credit comes back")
        # A logical unit that does not exist.
        answer = one.ask(peer.tsk_mgmt(9, peer.LUN_RESET, lun=99))
        expect(answer.tag == 9 and answer.code not in (None, COMPLETE),
               "LUN RESET of nothing: %s" % answer)
        works(one)


@pytest.mark.timeout(90)
@pytest.mark.stock("it answers with what the buffer held before")
def test_short_task_management(bench):
    """a task management request that is too short is answered"""
    with logged_in(bench) as one:
        answer = one.ask(peer.tsk_mgmt(5, peer.LUN_RESET)[:40])
        expect(isinstance(answer, peer.Response), "there is an answer: %s"
               % (answer,))
        equal((answer.tag, answer.code), (5, FIELDS_INVALID), "answer")
        works(one)


@pytest.mark.timeout(90)
def test_bad_memory_key(bench):
    """memory the peer does not own: the connection ends, the target lives"""
    with neighbour(bench) as one:
        one.login()
        one.settle()
        works(one)
        tail = struct.pack(">QII", one.address, one.key ^ 0x5a5a, 512)
        one.send(peer.cmd(1, peer.write_10(0, 1), fmt=0x10, tail=tail))
        answer = one.receive(20)
        expect(answer == "disconnected" or
               isinstance(answer, bytes) and
               peer.Response(answer).status == CHECK_CONDITION,
               "answer: %s" % (answer,))


@pytest.mark.timeout(120)
@pytest.mark.no_iwarp("siw reports a WRITE as done when TCP has it")
def test_memory_of_the_target(bench):
    """no memory of the target has a key for peers; a WRITE there with a key of the
    target's, or a guessed one, ends the connection, and no other"""
    target = bench.target
    with neighbour(bench):
        domains, regions = (json.loads(target.run(
            ["rdma", "-j", "-dd", "resource", "show", what]).out)
            for what in ("pd", "mr"))
        ours = [pd for pd in domains if pd.get("comm", "").strip("[]") == "ib_srpt"]
        expect(ours, "there is a protection domain: %s" % domains)
        expect(not any("unsafe_global_rkey" in pd for pd in ours),
               "none has a key for all memory: %s" % ours)
        equal([mr for mr in regions if mr.get("pdn") in
               [pd["pdn"] for pd in ours]], [], "memory regions")
        keys = {int(str(pd.get("local_dma_lkey", 0)), 16) for pd in ours}
        for key in sorted(keys | {0, 1, 0x100, 0xffffffff}):
            with bench.peer(extension=2) as one:
                target.add_acl(one.port_id)
                one.login()
                works(one)
                expect(not one.write_at_target(one.address, key),
                       "a WRITE with key %#x fails" % key)
                one.ended()
                target.remove_acl(one.port_id)


@pytest.mark.timeout(90)
def test_absent_lun(bench):
    """logical units that do not exist: INQUIRY says so, others fail"""
    with logged_in(bench) as one:
        answer = one.ask(peer.cmd(1, peer.inquiry(), lun=5,
                                  data_in=one.at(0, 36)))
        expect(answer.tag == 1, "INQUIRY is answered: %s" % answer)
        answer = one.ask(peer.cmd(2, [peer.TEST_UNIT_READY], lun=5))
        equal((answer.tag, answer.status), (2, CHECK_CONDITION), "answer")
        works(one)


@pytest.mark.timeout(200)
def test_silent_end(bench):
    """a peer that never answers the target's disconnect does not hold up
    anything for long"""
    with bench.configured(acls=[]) as target, bench.peer() as one:
        target.add_acl(one.port_id)
        one.login()
        one.order("stubborn")
        works(one)
        began = time.monotonic()
        target.remove_acl(one.port_id, timeout=60)
        removed = time.monotonic()
        target.wait_for_connections(0, 90)
        bench.say("removing the entry took %.1f s, the connection %.1f s" % (
            removed - began, time.monotonic() - began))
