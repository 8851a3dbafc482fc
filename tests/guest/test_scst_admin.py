# SPDX-License-Identifier: GPL-2.0
#
# What administrators do with SCST's own files while an initiator is logged in: security
# groups, black_hole, cpu_mask, relative target port identifiers, registrations that are
# kept, EXTENDED COPY, devices with protection information. Run with ENGINE=scst
# SCST_DIR=<built SCST tree>.
#
# Not here: the files of this module (test_scst.py), what is done under load
# (test_scst_load.py).

import contextlib

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


@pytest.mark.timeout(120)
def test_cpu_mask(bench):
    """cpu_mask: what is no mask is refused; the disk's threads get another one, and the session
    goes on"""
    target, initiator = bench.target, bench.initiator
    path = target.directory + "/cpu_mask"

    def allowed():
        """The masks of the threads that serve the disk for this initiator."""
        out = target.run("for c in $(grep -ls '^disk0' /proc/[0-9]*/comm); do "
                         "sed -n 's/^Cpus_allowed:\t//p' ${c%comm}status; done; true").out
        return {int(mask.replace(",", ""), 16) for mask in out.split()}

    with bench.configured(disks=0):
        target.shell("disk disk0 64\n"
                     "put per_initiator devices/disk0/threads_pool_type\n"
                     "put 'add disk0 0' %s/luns/mgmt" % target.directory)
        disk, = initiator.login()
        before = target.attribute("cpu_mask")
        expect(1 not in allowed(), "more CPUs than one are allowed: %s" % allowed())
        expect(target.put("x", path), "x is refused")
        equal(target.attribute("cpu_mask"), before, "the mask after that")
        target.must("1", path)
        equal(int(target.attribute("cpu_mask").split()[0].replace(",", ""), 16), 1, "the mask")
        # Others of the disk are of sessions of SCST's own.
        expect(1 in allowed(), "threads with that mask: %s" % allowed())
        initiator.fio(disk, "1m")
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(120)
def test_kept_registration(bench):
    """a registration with APTPL: when SCST's device and this module have been away, the
    initiator has it still, and another one meets its reservation"""
    target, initiator = bench.target, bench.initiator

    def persist(disk, *words):
        return initiator.run(["sg_persist", *words, disk]).out

    @contextlib.contextmanager
    def session():
        # By itself the port gets another number each time, and is another port to SCST.
        with bench.configured(enable=False):
            target.must(5, target.directory + "/rel_tgt_id")
            target.enable()
            disk, = initiator.login()
            yield disk
            initiator.logout()
            target.wait_for_connections(0)

    with session() as disk:
        persist(disk, "--out", "--register", "--param-sark=123abc", "--param-aptpl")
        persist(disk, "--out", "--reserve", "--param-rk=123abc", "--prout-type=3")
    with session() as disk:
        contains(persist(disk, "--in", "--read-keys"), "0x123abc", "keys")
        contains(initiator.full_status(disk), "04" + "00" * 7 + initiator.port_id[2:],
                 "full status")
        initiator.run("dd if=/dev/zero of=%s bs=4k count=4 oflag=direct" % disk)
        with bench.peer(extension=9) as other:
            other.login()
            other.settle()
            equal(other.ask(read(other)).status, peer.RESERVATION_CONFLICT, "another initiator")
            other.order("disconnect")
        persist(disk, "--out", "--clear", "--param-rk=123abc")


@pytest.mark.timeout(120)
def test_extended_copy(bench):
    """EXTENDED COPY from disk to disk: the data is there, and has not come to the initiator"""
    target, initiator = bench.target, bench.initiator
    with bench.session(disks=2) as (source, destination):
        # sg_xcopy looks for these names, which udev would make.
        initiator.run("mkdir -p /dev/block; for d in %s %s; do "
                      "ln -sf $d /dev/block/$(cat /sys/block/${d##*/}/dev); done"
                      % (source, destination))
        initiator.run("dd if=/dev/urandom of=%s bs=64k count=64 oflag=direct" % source)
        session, = target.sessions()
        before = int(target.session(session, "read_io_count_kb"))
        initiator.run("sg_xcopy if=%s of=%s bs=512 count=8192" % (source, destination))
        moved = int(target.session(session, "read_io_count_kb")) - before
        expect(moved < 1024, "%d of 4096 KiB went to the initiator" % moved)
        initiator.run("blockdev --flushbufs %s; blockdev --flushbufs %s; cmp -n %d %s %s" % (
            source, destination, 8192 * 512, source, destination))
    initiator.run("rm -r /dev/block")


@pytest.mark.timeout(90)
def test_protection_information(bench):
    """a device with a DIF mode cannot be shown through this target, which has no T10-PI;
    SCST's log says so, and the other disk goes on"""
    target = bench.target
    with logged_in(bench) as one:
        luns = target.directory + "/luns/mgmt"
        mark = target.mark()
        target.shell("truncate -s 8M /tmp/scst-dif\n"
                     "put 'add_device dif filename=/tmp/scst-dif; dif_mode=scst; "
                     "dif_type=1' handlers/vdisk_fileio/mgmt")
        equal(target.put("add dif 1", luns), "Invalid argument", "error of the LUN")
        contains(target.log_since(mark), "doesn't support T10-PI (device dif)", "the log")
        equal(one.ask(read(one)).status, 0, "READ of the other disk")
    target.run("rm /tmp/scst-dif")
