# SPDX-License-Identifier: GPL-2.0
#
# Data buffers that commands keep from use to use: no byte in them leaves that the
# engine did not write, and what is not used is given back. Where disks complete.
# Transfers that are larger than the send queue.
#
# Not here: that data arrives where it belongs (test_protocol.py, test_load.py, the
# conformance table), allocations that fail (test_memory.py).

import random

import pytest

from harness.clock import clock
from lab import env

from . import peer, slow
from .checks import equal, expect, skip, until

pytestmark = [pytest.mark.engine("lio"),
              pytest.mark.stock("it keeps no data buffers")]

MARK, UNTOUCHED = b"\xa5", b"\x11"
BLOCKS = 8
PAGE = 512 * BLOCKS

# A disk without memory behind it: what is read is what was in the buffer.
NULLIO = "backstore disk0 1024,rd_nullio=1"


def mark(one):
    """Fill the buffer of the command that the peer uses, one at a time."""
    one.fill(0, MARK * PAGE)
    answer = one.ask(peer.cmd(1, peer.write_10(0, BLOCKS),
                              data_out=one.at(0, PAGE)))
    equal(answer.status, 0, "status of the WRITE")


def asked(one, cdb, room=PAGE):
    """(status, what is in the peer's memory) after a command with room for so
    many bytes."""
    one.fill(0, UNTOUCHED * PAGE)
    answer = one.ask(peer.cmd(2, cdb, data_in=one.at(0, room)))
    expect(isinstance(answer, peer.Response), "an answer: %s" % (answer,))
    return answer.status, one.dump(0, PAGE)


def padded(*cdb):
    return bytes(cdb).ljust(16, b"\0")


@pytest.mark.timeout(120)
def test_no_foreign_bytes(bench):
    """short, long and refused READs, and commands that describe the disk, after
    a WRITE whose data is still in the command's buffer"""
    with bench.configured(acls=[], megabytes=4), bench.peer() as one:
        bench.target.add_acl(one.port_id)
        one.login()
        one.settle()
        cases = {
            "INQUIRY": padded(0x12, 0, 0, 1, 0),
            "INQUIRY of page 83h": padded(0x12, 1, 0x83, 2, 0),
            "MODE SENSE(6)": padded(0x1a, 0, 0x3f, 0, 255),
            "REPORT LUNS": padded(0xa0, 0, 0, 0, 0, 0, 0, 0, 8, 0),
            "READ CAPACITY(16)": padded(0x9e, 0x10, *[0] * 10, 2, 0),
            "REPORT SUPPORTED OPERATION CODES":
                padded(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 8, 0),
            "READ of a block, room for more": peer.read_10(64, 1),
            "READ of more than there is room for": peer.read_10(64, 2 * BLOCKS),
            "READ beyond the end": peer.read_10(1 << 20, BLOCKS),
        }
        for name, cdb in cases.items():
            mark(one)
            _, memory = asked(one, cdb)
            expect(MARK not in memory, "%s returns the mark" % name)
        mark(one)
        status, memory = asked(one, peer.read_10(64, BLOCKS))
        equal((status, memory), (0, bytes(PAGE)), "blocks never written")
        mark(one)
        status, memory = asked(one, peer.read_10(0, BLOCKS))
        equal((status, memory), (0, MARK * PAGE), "blocks that were written")


@pytest.mark.timeout(120)
def test_no_bytes_of_others(bench):
    """a disk that writes nothing on READ: a session finds its own data in the
    buffer, never another's"""
    target = bench.target
    target.prepare()
    target.shell(NULLIO)
    with bench.configured(acls=[]):
        with bench.peer() as one:
            target.add_acl(one.port_id)
            one.login()
            one.settle()
            mark(one)
            equal(asked(one, peer.read_10(0, BLOCKS)), (0, MARK * PAGE),
                  "the buffer is used again")
        until(lambda: target.queue_pairs() == 0, 30, "the logout")
        with bench.peer() as one:
            one.login()
            one.settle()
            equal(asked(one, peer.read_10(0, BLOCKS)), (0, bytes(PAGE)),
                  "what another session finds")


# Leaves the disk's device in $d: blocks of 4096 bytes, which it takes from
# addresses of their own size only.
ZRAM = r"""
modprobe zram num_devices=1
echo 32M > /sys/block/zram0/disksize
d=/dev/zram0
"""
# The address of the disk $d, as the pSCSI backstore takes it.
PSCSI = ("$(readlink -f /sys/block/${d##*/}/device | sed -E 's|.*/([0-9]+):"
         "([0-9]+):([0-9]+):([0-9]+)$|scsi_host_id=\\1,scsi_channel_id=\\2,"
         "scsi_target_id=\\3,scsi_lun_id=\\4|')")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("broken", (None, 0, 50, 99))
def test_parts(bench, broken):
    """READs and WRITEs of 100 pieces with a send queue that has room for four:
    every byte is in its place; if the initiator's memory for a piece is not its
    own, the session ends, and another works"""
    if "force_mr" in env.core_parameters():
        skip("IB_CORE=force_mr=1: each piece takes a memory region, of which there "
             "are srp_sq_size")
    count, piece = 100, 512

    def pieces(at):
        """The list from its end, in a table of the information unit."""
        all_of_them = [one.at(at + i * piece, piece) for i in range(count)][::-1]
        if broken is not None:
            address, key, length = all_of_them[broken]
            all_of_them[broken] = address, key ^ 0x1000, length
        return peer.indirect((0, 0, 16 * count), piece * count, all_of_them)

    with bench.configured(acls=[], megabytes=4, attributes={"srp_sq_size": 16}):
        with bench.peer() as one:
            bench.target.add_acl(one.port_id)
            one.login()
            one.settle()
            data = random.Random(broken).randbytes(count * piece)
            steps = range(0, len(data), 4096)
            for at in steps:
                one.fill(at, data[at:at + 4096])
            write = peer.cmd(1, peer.write_10(0, count), fmt=0x20,
                             counts=(count, 0), tail=pieces(0))
            read = peer.cmd(2, peer.read_10(0, count), fmt=0x02,
                            counts=(0, count), tail=pieces(65536))
            if broken is None:
                for cmd in write, read:
                    answer = one.ask(cmd)
                    expect(isinstance(answer, peer.Response) and not answer.status,
                           "GOOD: %s" % (answer,))
                found = b"".join(one.dump(65536 + at, 4096) for at in steps)
                expect(found[:len(data)] == data, "what was read is what was written")
                return
            one.send(write if broken % 2 else read)
            one.ended()
        bench.target.wait_for_connections(0)
        with bench.peer() as one:
            one.login()
            one.settle()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("make, kind, control, gone", [
    pytest.param(ZRAM, "iblock", "udev_path=$d", "rmmod zram", id="zram"),
    pytest.param(slow.SCSI_DEBUG, "pscsi", PSCSI, "rmmod scsi_debug",
                 id="pscsi"),
    pytest.param(slow.SCSI_DEBUG, "iblock", "udev_path=$d",
                 "rmmod scsi_debug", id="iblock")])
def test_backstores(bench, make, kind, control, gone):
    """disks that are particular about the memory they are given: short and long
    writes, with immediate data and without, are verified"""
    target, initiator = bench.target, bench.initiator
    name = gone.split()[1]
    if target.run("modprobe -n " + name, check=False).rc:
        pytest.skip("this kernel has no " + name)
    with clock.preparing():
        target.prepare()
        target.export(make, kind, control, [initiator.port_id])
    for immediate in "YN":
        disk, = initiator.login(params="use_imm_data=" + immediate)
        for size, depth, much in (("4k", 8, "1m"), ("8k", 8, "1m"),
                                  ("64k", 4, "2m"), ("1m", 2, "4m")):
            initiator.fio(disk, much, size, depth)
        initiator.logout()
    until(lambda: target.queue_pairs() == 0, 30, "the logout")
    with clock.preparing():
        target.unconfigure()
        target.run(gone)


QUEUED = "/sys/kernel/tracing/events/workqueue/workqueue_queue_work"
# Work that answers commands which were completed where the module does not run.
COUNT = r"""
cd /sys/kernel/tracing
case $1 in
begin) echo 'workqueue == "ib_srpt_done"' > %s/filter
       echo > trace; echo 1 > %s/enable ;;
end)   echo 0 > %s/enable; grep -c ib_srpt_done trace; true ;;
esac
""" % (QUEUED, QUEUED, QUEUED)


@pytest.mark.timeout(180)
def test_where_completed(bench):
    """disks that complete before they return are answered in the task that has
    submitted the command, others by a work item"""
    target, initiator = bench.target, bench.initiator

    def late(disk):
        """Work items for 64 blocks that are written and read."""
        target.run(["sh", "-c", COUNT, "-", "begin"])
        initiator.fio(disk, "256k", "4k", 4)
        return int(target.run(["sh", "-c", COUNT, "-", "end"]).out)

    with bench.session() as disk:
        kind = target.read(target.tpg() + "/../param/default_complete_type")
        equal(kind, "1", "TARGET_DIRECT_COMPL")
        items = late(disk)
        expect(items < 16, "%d work items with a RAM disk" % items)
    with clock.preparing():
        target.prepare()
        target.slow_disk([initiator.port_id])
        # Less, and it completes before it returns.
        slow.delay(target, 0.01)
    disk, = initiator.login()
    items = late(disk)
    # One may be counted outside the span.
    expect(items >= 120, "%d work items with a disk that has a timer" % items)
    initiator.logout()
    until(lambda: target.queue_pairs() == 0, 30, "the logout")
    with clock.preparing():
        target.unconfigure()
        slow.remove(target)


def free_mib(target):
    return int(target.run("grep MemFree /proc/meminfo").out.split()[1]) >> 10


@pytest.mark.timeout(180)
@pytest.mark.unsanitized("that kernel keeps freed memory for a while")
def test_given_back(bench):
    """buffers of a session that does nothing are freed within three periods of
    the module's check"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=1") as disk:
        before = free_mib(target)
        initiator.run(["fio", "--name=a", "--filename=" + disk, "--rw=randread",
                       "--bs=1m", "--iodepth=32", "--ioengine=libaio",
                       "--direct=1", "--size=64m"], timeout=90)
        kept = before - free_mib(target)
        expect(kept >= 16, "of 32 MiB in flight at least half is kept: %d MiB"
               % kept)
        until(lambda: before - free_mib(target) <= kept // 4, 20,
              "the buffers are freed")
