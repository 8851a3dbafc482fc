# SPDX-License-Identifier: GPL-2.0
#
# What administrators do with SCST's own files while an initiator is logged in: security
# groups, black_hole, relative target port identifiers. Run with ENGINE=scst
# SCST_DIR=<built SCST tree>.
#
# Not here: the files of this module (test_scst.py), what is done under load
# (test_scst_load.py).

import pytest

from . import peer
from .checks import contains, equal, expect, until
from .scst import session_name
from .test_scst import logged_in

pytestmark = pytest.mark.engine("scst")

LUN_RESET = 8
READ_CAPACITY = 0x25
BLOCK = 512

# Values of black_hole, and whether TEST UNIT READY, which has no data, is swallowed, too.
BLACK_HOLES = ((1, True), (3, False))


def read(one):
    """A READ of one block."""
    return peer.cmd(1, peer.read_10(0, 1), data_in=one.at(0, BLOCK))


def megabytes(one):
    """Size of LUN 0."""
    answer = one.ask(peer.cmd(1, [READ_CAPACITY] + [0] * 9, data_in=one.at(0, 8)))
    equal(answer.status, 0, "status of READ CAPACITY")
    return (int.from_bytes(one.dump(0, 4), "big") + 1) * BLOCK >> 20


@pytest.mark.timeout(120)
def test_black_hole(bench):
    """black_hole: commands vanish, functions are answered; then the session goes on with
    all of its credits"""
    target = bench.target
    with logged_in(bench) as one:
        session, = target.sessions()
        limit = target.session(session, "req_lim")
        path = target.directory + "/black_hole"
        equal(target.attribute("black_hole"), "0", "default")
        for value, all_commands in BLACK_HOLES:
            target.must(value, path)
            equal(one.ask(read(one), 1), "timeout", "READ with black_hole=%d" % value)
            answer = one.ask(peer.cmd(2, [peer.TEST_UNIT_READY]), 1)
            equal(getattr(answer, "status", answer),
                  "timeout" if all_commands else 0,
                  "TEST UNIT READY with black_hole=%d" % value)
            equal(one.ask(peer.tsk_mgmt(3, LUN_RESET)).code, 0, "LUN RESET")
            target.must(0, path)
            one.settle()
            equal(one.ask(read(one)).status, 0, "READ afterwards")
        until(lambda: target.session(session, "req_lim") == limit, 10, "req_lim is " + limit)


@pytest.mark.timeout(120)
def test_moved(bench):
    """an initiator that is logged in is put into a group, taken out, put in: it gets the disks
    of the group and of the target, and its session stays"""
    target = bench.target
    with logged_in(bench) as one:
        here = target.directory
        target.shell("disk small 32\n"
                     "put 'create some' %s/ini_groups/mgmt\n"
                     "put 'add small 0' %s/ini_groups/some/luns/mgmt" % (here, here))
        names = here + "/ini_groups/some/initiators/mgmt"
        sessions = target.sessions()
        name = session_name(bench.initiator.guest.ip)
        for order, size in (("add", 32), ("del", 64), ("add", 32)):
            target.must("%s %s" % (order, name), names)
            one.settle()
            equal(megabytes(one), size, "size after '%s'" % order)
        # The session is in the group now.
        hole = here + "/ini_groups/some/black_hole"
        target.must(1, hole)
        equal(one.ask(read(one), 1), "timeout", "READ with black_hole of the group")
        target.must(0, hole)
        equal(one.ask(read(one)).status, 0, "READ afterwards")
        equal((target.sessions(), target.queue_pairs()), (sessions, 1), "sessions, connections")


@pytest.mark.timeout(120)
def test_relative_port(bench):
    """rel_tgt_id: what the disk says of the port, and bad values"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk:
        path = target.directory + "/rel_tgt_id"
        for value in (target.attribute("rel_tgt_id").split()[0], "513"):
            target.must(value, path)
            contains(initiator.run(["sg_vpd", "--page=di", disk]).out,
                     "Relative target port: 0x%x\n" % int(value), "device identification")
        for bad in ("0", "65536", "x"):
            expect(target.put(bad, path), "%s is refused" % bad)
        equal(target.attribute("rel_tgt_id").split()[0], "513", "after that")
