# SPDX-License-Identifier: GPL-2.0
#
# Numbers of logical units: the stock initiator's data and resets get to the
# disk that has the number, whatever the number looks like on the wire.
#
# Not here: addressing methods one by one (tests/host, the conformance table),
# LUNs that come and go (test_protocol.py, test_load.py).

import pytest

from . import peer
from .checks import equal, expect

# Around every place where the encoding changes: one byte and two, and the two
# bits in which SAM has the addressing method.
NUMBERS = (0, 1, 255, 256, 16383, 16384, 32768, 49151, 65535)
# 5 in flat addressing.
FLAT = 0x4005

MARK = 64                       # characters at the start of each disk


def numbers(initiator, disks):
    """The disks by the numbers that the initiator has for them."""
    out = initiator.run("for d in %s; do readlink /sys/block/${d#/dev/}/device; "
                        "done" % " ".join(disks)).out
    return {int(line.rsplit(":", 1)[1]): disk
            for line, disk in zip(out.split(), disks)}


def write(initiator, disk, text):
    initiator.run("dd of=%s bs=512 conv=sync oflag=direct" % disk,
                  input=text.ljust(MARK).encode())


def read(initiator, disk):
    return initiator.run("dd if=%s bs=512 count=1 iflag=direct status=none" % disk,
                         binary=True).out[:MARK].decode().rstrip()


@pytest.mark.timeout(180)
def test_numbers(bench):
    """reads, writes and resets of the lowest and highest numbers of each form"""
    target, initiator = bench.target, bench.initiator
    wanted = [n for n in NUMBERS if n <= target.largest_lun]
    with bench.session(disks=len(wanted), megabytes=4, luns=wanted) as disks:
        found = numbers(initiator, disks)
        equal(sorted(found), wanted, "numbers")
        for number, disk in found.items():
            write(initiator, disk, "LUN %d" % number)
        for number, disk in found.items():
            equal(read(initiator, disk), "LUN %d" % number,
                  "what LUN %d has" % number)
        for index, number in enumerate(wanted):
            if target.resets() is None:
                break
            before = [target.resets(n) for n in range(len(wanted))]
            initiator.run("sg_reset -d " + found[number], timeout=30)
            after = [target.resets(n) for n in range(len(wanted))]
            equal([b - a for a, b in zip(before, after)],
                  [int(n == index) for n in range(len(wanted))],
                  "resets of each disk after one of LUN %d" % number)
        for number, disk in found.items():
            equal(read(initiator, disk), "LUN %d" % number,
                  "what LUN %d has after the resets" % number)


@pytest.mark.engine("lio")
@pytest.mark.stock("it has no limit of its own")
def test_transfer_limit(bench):
    """the longest transfer is announced: 16 MiB"""
    with bench.session() as disk:
        # INQUIRY of the page Block Limits.
        page = bench.initiator.run("sg_raw --request=64 --binary %s "
                                   "12 01 b0 00 40 00 2>/dev/null" % disk,
                                   binary=True).out
        equal(page[1], 0xb0, "page")
        equal(int.from_bytes(page[8:12], "big") * 512, 16 << 20,
              "MAXIMUM TRANSFER LENGTH")


def put(one, lun, byte):
    """Write a block of a LUN with this address."""
    one.fill(0, bytes([byte]) * 512)
    answer = one.ask(peer.cmd(0x2a, peer.write_10(0, 1), lun=lun,
                              data_out=one.at(0, 512)))
    equal(answer.status, 0, "status of a WRITE to %#x" % lun)


def get(one, lun):
    """The byte that a block of a LUN with this address is full of, or None
    for no such LUN."""
    one.fill(0, bytes(512))
    answer = one.ask(peer.cmd(0x28, peer.read_10(0, 1), lun=lun,
                              data_in=one.at(0, 512)))
    expect(isinstance(answer, peer.Response), "an answer: %s" % (answer,))
    found = set(one.dump(0, 512))
    expect(len(found) == 1, "a block of one byte: %s" % found)
    return None if answer.status else found.pop()


@pytest.mark.timeout(90)
@pytest.mark.engine("lio")
def test_methods(bench):
    """the addressing method is part of the number: what was removed, or is not
    there, is not taken for another LUN"""
    for luns in (0, 5), (0, 5, FLAT):
        with bench.configured(acls=[], megabytes=4, luns=luns), \
                bench.peer() as one:
            bench.target.add_acl(one.port_id)
            one.login()
            one.settle()
            for number, lun in enumerate(luns, 1):
                one.settle(lun)
                put(one, lun, number)
            equal(get(one, 5), 2, "LUN 5")
            equal(get(one, FLAT), 3 if FLAT in luns else None,
                  "LUN 5 in flat addressing, which is the number %d" % FLAT)
            equal(get(one, 0x8005), None, "LUN 5 in logical unit addressing")
            equal(get(one, 0xc005), None, "LUN 5 in extended addressing")
