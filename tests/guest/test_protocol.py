# SPDX-License-Identifier: GPL-2.0
#
# What only few initiators ask for: descriptor tables outside the information
# unit, task management through another channel, solicited notification; and
# what the target says of its own accord: logout, credits, events.
#
# Not here: peers that break the rules (test_rogue.py).

import contextlib
import struct

import pytest

from . import peer, slow
from .checks import equal, expect, until
from .test_rogue import (CHECK_CONDITION, COMPLETE, FIELDS_INVALID, GOOD,
                         is_check_condition, logged_in, works)

# Task attributes, and a SCSI status.
SIMPLE, ORDERED = 0, 2
TASK_ABORTED = 0x40

C_DRIVER = "the C driver knows nothing of this"

# Longer than the target takes to notice that LUNs have changed, seconds.
NOTICED = 7


def scatter(initiator, disk, pages, requests):
    return initiator.run(["/repo/tests/guest/tools/scatter.py", disk,
                          str(pages), str(requests)], timeout=100)


@pytest.mark.timeout(120)
@pytest.mark.stock("it Oopses or answers with an error")
def test_external_table(bench):
    """stock ib_srp with allow_ext_sg sends tables that are not in the unit:
    the data is verified"""
    initiator = bench.initiator
    with bench.session("max_sect=8192,cmd_sg_entries=12,allow_ext_sg=1,"
                       "sg_tablesize=128", params="never_register=Y") as disk:
        for pages, requests in ((12, 4), (13, 4), (64, 8), (128, 8)):
            scatter(initiator, disk, pages, requests)
            expect(True, "requests of %d pages" % pages)
        equal(initiator.port_state(), ["running"], "remote ports")


@pytest.mark.timeout(120)
@pytest.mark.stock("it Oopses or answers with an error")
def test_external_table_srq(bench):
    """the same with a shared receive queue"""
    initiator = bench.initiator
    with bench.configured(attributes={"use_srq": 1}) as target:
        disk, = initiator.login("max_sect=8192,cmd_sg_entries=12,"
                                "allow_ext_sg=1,sg_tablesize=128",
                                "never_register=Y")
        scatter(initiator, disk, 64, 16)
        expect(True, "requests of 64 pages")
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout arrives")


def read_through(one, tag, at, length, inline=()):
    """INQUIRY with an indirect descriptor; the table is `at`."""
    return one.ask(peer.cmd(tag, peer.inquiry(36), fmt=0x02,
                            counts=(0, len(inline)),
                            tail=peer.indirect(at, length, inline)))


@pytest.mark.timeout(90)
@pytest.mark.stock(C_DRIVER)
def test_external_table_bytes(bench):
    """tables of a peer: scattered, partly inline, wrong, too large, unreadable"""
    with logged_in(bench) as one:
        one.fill(8192, peer.table([one.at(0, 8), one.at(64, 7),
                                   one.at(128, 21)]))
        answer = read_through(one, 1, one.at(8192, 48), 36)
        equal((answer.tag, answer.status), (1, GOOD), "answer")
        equal(one.dump(64, 7), one.target.vendor, "vendor, in the second piece")
        # The inline part is a copy of the beginning.
        one.fill(64, bytes(7))
        answer = read_through(one, 2, one.at(8192, 48), 36, [one.at(0, 8)])
        equal((answer.tag, answer.status), (2, GOOD), "answer, part inline")
        equal(one.dump(64, 7), one.target.vendor, "vendor")
        # Describes less than announced.
        is_check_condition(read_through(one, 3, one.at(8192, 48), 37), 3)
        # No multiple of a descriptor; more than is ever fetched.
        is_check_condition(read_through(one, 4, one.at(8192, 40), 36), 4)
        is_check_condition(read_through(one, 5, one.at(8192, 65552), 36), 5)
        # In both directions.
        both = peer.cmd(6, peer.inquiry(36), fmt=0x22,
                        tail=peer.indirect(one.at(8192, 48), 36) * 2)
        is_check_condition(one.ask(both), 6)
        # 4096 descriptors are the limit, and work.
        many = [one.at(0, 0)] * 4093 + [one.at(0, 8), one.at(64, 7),
                                       one.at(128, 21)]
        data = peer.table(many)
        for start in range(0, len(data), 4096):
            one.fill(16384 + start, data[start:start + 4096])
        one.fill(64, bytes(7))
        answer = read_through(one, 7, one.at(16384, len(data)), 36)
        equal((answer.tag, answer.status), (7, GOOD), "answer, large table")
        equal(one.dump(64, 7), one.target.vendor, "vendor")
        works(one)
        # Memory the target may not read.
        address, key, _ = one.at(8192, 0)
        answer = read_through(one, 8, (address, key ^ 0x100, 48), 36)
        equal(answer, "disconnected", "answer to a bad key")


@pytest.mark.timeout(90)
@pytest.mark.stock(C_DRIVER)
def test_solicited(bench):
    """responses are marked as the request asks for"""
    with logged_in(bench) as one:
        for bits, good, bad in ((0, False, False), (2, True, False),
                                (4, False, True), (6, True, True)):
            answer = one.ask(peer.cmd(1, peer.inquiry(), sol_not=bits,
                                      data_in=one.at(0, 36)))
            equal((answer.status, answer.solicited), (GOOD, good),
                  "status and mark of a success with bits %d" % bits)
            answer = one.ask(peer.cmd(2, [0xff], sol_not=bits))
            equal((answer.status, answer.solicited), (CHECK_CONDITION, bad),
                  "status and mark of a failure with bits %d" % bits)
            short = one.ask(peer.cmd(3, [0], sol_not=bits)[:47])
            equal((short.code, short.solicited), (FIELDS_INVALID, bad),
                  "code and mark of an invalid request with bits %d" % bits)


@pytest.mark.timeout(120)
@pytest.mark.stock(C_DRIVER)
def test_target_logout(bench):
    """SRP_T_LOGOUT before the disconnect: disabled, entry removed, replaced,
    module removed; to initiators that ask for it, or to none or all, as
    target_requests says"""
    target = bench.target
    for policy, told in (0, None), (2, peer.NO_REASON):
        with bench.configured([], "target_requests=%d" % policy), \
                bench.peer() as one:
            target.add_acl(one.port_id)
            one.login(flags=0 if told else peer.LOSOLNT)
            target.enable(False)
            equal(one.ended(), told, "reason with target_requests=%d" % policy)
    with bench.configured(acls=[]), contextlib.ExitStack() as peers:
        one = peers.enter_context(bench.peer())
        target.add_acl(one.port_id)
        one.login()
        two = peers.enter_context(bench.peer(dest=None))
        two.port_id = one.port_id
        rsp = two.login()
        equal(rsp[26] & 3, 1, "the first channel was terminated")
        equal(one.ended(), peer.MULTI_CHANNEL, "reason of the end")
        works(two)
        target.enable(False)
        equal(two.ended(), peer.NO_REASON, "reason of the end")
        target.enable(True)
        three = peers.enter_context(bench.peer())
        three.login()
        target.remove_acl(three.port_id)
        equal(three.ended(), peer.NO_REASON, "reason of the end")
        target.add_acl(three.port_id)
        four = peers.enter_context(bench.peer())
        four.login()
        # Who answers nothing is told why.
        four.send(struct.pack(">B7xQ", peer.CRED_RSP, 1))
        equal(four.ended(), peer.SPURIOUS_RESPONSE, "reason of the end")
        # Who logs out knows.
        five = peers.enter_context(bench.peer())
        five.login()
        five.send(peer.logout())
        equal(five.ended(), None, "reason, to who knows it")
        target.wait_for_connections(0)


@pytest.mark.timeout(90)
@pytest.mark.stock(C_DRIVER)
@pytest.mark.engine("lio")
def test_events(bench):
    """SRP_AER_REQ when LUNs come and go: one at a time, on one channel"""
    target = bench.target
    lun = target.tpg() + "/lun/lun_7"
    with logged_in(bench, flags=peer.AESOLNT) as one, bench.peer() as two:
        mapped = "%s/acls/%s/lun_7" % (target.tpg(), one.port_id)
        two.port_id = one.port_id
        two.login(flags=peer.MULTI | peer.AESOLNT)
        target.shell("backstore more 256; lun %s 7 more; mkdir %s; "
                     "ln -s %s %s/lun" % (target.tpg(), mapped, lun, mapped))
        event = one.receive(NOTICED)
        expect(isinstance(event, bytes) and event[0] == peer.AER_REQ,
               "an event: %s" % (event,))
        sense_len = int.from_bytes(event[28:32], "big")
        equal((len(event), sense_len), (54, 18), "length, of the sense data")
        equal((event[36], event[38], event[48], event[49]),
              (0x70, 6, 0x3f, 0x0e), "REPORTED LUNS DATA HAS CHANGED")
        # The next one waits for the answer to the first.
        target.shell("drop_lun %s; drop_lun %s" % (mapped, lun))
        equal(one.receive(NOTICED), "timeout", "before the answer")
        one.send(peer.answer_to(event))
        event = one.receive()
        expect(isinstance(event, bytes) and event[0] == peer.AER_REQ,
               "the other event: %s" % (event,))
        equal(two.receive(1), "timeout", "the other channel")
        one.send(peer.answer_to(event))
        works(one)
        works(two)
        # To answer twice is against the rules.
        one.send(peer.answer_to(event))
        equal(one.ended(), peer.SPURIOUS_RESPONSE, "reason of the end")
        two.order("disconnect")


@contextlib.contextmanager
def slow_disk(bench, seconds, tas=0):
    """A disk that takes its time, two peers of one initiator and one of
    another. With `tas`, commands that the other one aborts are answered."""
    target = bench.target
    with bench.peer() as one, bench.peer() as two, \
            bench.peer(extension=9) as three:
        target.slow_disk([one.port_id, three.port_id], tas)
        two.port_id = one.port_id
        one.login(flags=peer.LOSOLNT | peer.CRSOLNT)
        two.login(flags=1)
        three.login()
        for each in (one, two, three):
            # What was noted when the disk was attached.
            each.settle()
        slow.delay(target, seconds)
        yield one, two, three
        slow.delay(target, 0)
        for each in (one, two, three):
            each.order("disconnect")
        target.wait_for_connections(0)
        target.unconfigure()
        slow.remove(target)


def write(one, tag, attr=0):
    return peer.cmd(tag, peer.write_10(0, 8), data_out=one.at(0, 4096),
                    attr=attr)


@pytest.mark.timeout(180)
@pytest.mark.stock("it looks on the channel of the request only")
def test_abort_elsewhere(bench):
    """ABORT TASK through another channel of the nexus finds its command"""
    target = bench.target
    with slow_disk(bench, 8) as (one, two, three):
        def aborted(count):
            if target.aborts() is not None:
                equal(target.aborts("aborts_complete"), count,
                      "aborted commands")

        one.send(write(one, 0x101))
        # Another initiator cannot, whatever tag it names.
        answer = three.ask(peer.tsk_mgmt(5, peer.ABORT_TASK, task_tag=0x101))
        expect(answer.code != COMPLETE, "another initiator: %s" % answer)
        aborted(0)
        answer = two.ask(peer.tsk_mgmt(6, peer.ABORT_TASK, task_tag=0x101),
                         30)
        equal((answer.tag, answer.code), (6, COMPLETE), "answer to the abort")
        aborted(1)
        equal(one.receive(1), "timeout", "answer to the aborted command")
        answer = two.ask(peer.tsk_mgmt(7, peer.ABORT_TASK, task_tag=0x101))
        expect(answer.tag == 7 and answer.code != COMPLETE,
               "the same again: %s" % answer)


def aborts(one, tags):
    """ABORT TASK for all of these, at the same time."""
    one.send_all([peer.tsk_mgmt(n, peer.ABORT_TASK, task_tag=tag)
                  for n, tag in enumerate(tags)])
    answers = [peer.Response(one.receive(60)) for _ in tags]
    equal(sorted((a.tag, a.code) for a in answers),
          [(n, COMPLETE) for n in range(len(tags))], "answers to the aborts")


@pytest.mark.timeout(180)
@pytest.mark.stock(C_DRIVER)
def test_credits_come_back(bench):
    """SRP_CRED_REQ to an initiator that asks for it when commands end without
    response and it has no credit left"""
    with slow_disk(bench, 8) as (one, two, three):
        # The disk takes 8 s for each, and a busy host as long to order them singly.
        expect(one.send_all([write(one, 0x1000 + n) for n in range(one.credits)]),
               "commands are sent")
        if bench.target.resets_silently:
            answer = three.ask(peer.tsk_mgmt(5, peer.LUN_RESET), 60)
            equal((answer.tag, answer.code), (5, COMPLETE),
                  "answer to the reset")
        else:
            aborts(two, [0x1000 + n for n in range(one.credits)])
        back = 0
        while back < one.credits:
            message = one.receive(20)
            expect(isinstance(message, bytes) and message[0] == peer.CRED_REQ,
                   "a credit request: %s" % (message,))
            delta = int.from_bytes(message[4:8], "big")
            expect(delta > 0, "credits: %d" % delta)
            back += delta
            one.send(peer.answer_to(message))
        equal(back, one.credits, "credits that came back")
        answer = one.ask(peer.cmd(9, [peer.TEST_UNIT_READY]), 20)
        equal(answer.tag, 9, "answer to a command")


def reset_noted(one):
    """The unit attention after a reset."""
    answer = one.ask(peer.cmd(7, [peer.TEST_UNIT_READY]), 30)
    equal((answer.tag, answer.status, answer.sense[2] & 15),
          (7, CHECK_CONDITION, 6), "UNIT ATTENTION after a reset")


def goes_on(one, tag):
    """The disk executes ORDERED commands, and others after them."""
    for attr in (ORDERED, SIMPLE, ORDERED):
        tag += 1
        answer = one.ask(write(one, tag, attr), 30)
        expect(isinstance(answer, peer.Response), "a command with attribute "
               "%d is answered: %s" % (attr, answer))
        equal((answer.tag, answer.status), (tag, GOOD),
              "answer to a command with attribute %d" % attr)


@pytest.mark.timeout(240)
@pytest.mark.stock("LIO forgets the aborted command: the disk hangs")
@pytest.mark.engine("lio")
def test_ordered_after_abort(bench):
    """ORDERED commands are executed although commands were aborted while the
    disk had them: a SIMPLE one, an ORDERED one, and one waiting for those"""
    with slow_disk(bench, 2) as (one, two, three):
        for tag, attr in ((0x100, SIMPLE), (0x200, ORDERED)):
            one.send(write(one, tag, attr))
            answer = two.ask(peer.tsk_mgmt(5, peer.ABORT_TASK, task_tag=tag),
                             30)
            equal((answer.tag, answer.code), (5, COMPLETE), "the abort")
            goes_on(two, tag)
        for n, attr in enumerate((SIMPLE, ORDERED, SIMPLE, ORDERED)):
            one.send(write(one, 0x300 + n, attr))
        answer = three.ask(peer.tsk_mgmt(6, peer.LUN_RESET), 60)
        equal((answer.tag, answer.code), (6, COMPLETE), "the reset")
        reset_noted(two)
        goes_on(two, 0x310)


@pytest.mark.timeout(240)
@pytest.mark.stock("LIO forgets the aborted command: the disk hangs")
@pytest.mark.engine("lio")
def test_ordered_after_task_aborted(bench):
    """the same when another initiator's reset is answered with TASK ABORTED"""
    with slow_disk(bench, 2, tas=1) as (one, two, three):
        sent = [(0x400 + n, attr) for n, attr in
                enumerate((SIMPLE, SIMPLE, ORDERED, SIMPLE))]
        for tag, attr in sent:
            one.send(write(one, tag, attr))
        answer = three.ask(peer.tsk_mgmt(6, peer.LUN_RESET), 60)
        equal((answer.tag, answer.code), (6, COMPLETE), "the reset")
        answers = [peer.Response(one.receive(30)) for _ in sent]
        equal(sorted((a.tag, a.status) for a in answers),
              [(tag, TASK_ABORTED) for tag, _ in sent],
              "answers to what was reset")
        reset_noted(two)
        goes_on(two, 0x410)
