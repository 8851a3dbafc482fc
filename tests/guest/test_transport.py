# SPDX-License-Identifier: GPL-2.0
#
# HCAs that are not rdma_rxe as it comes: software iWARP (siw), and memory
# registration for each transfer. With TRANSPORT=siw all tests have siw; these
# few are there in every run.
#
# Not here: what makes siw (scripts/lab/hcas.py).

import contextlib
import time

import pytest

from lab import Guest, hcas

from .checks import contains, expect, until
from .initiator import TWO_CHANNELS
from .lio import LioTarget
from .test_faults import hca_removed
from .test_load import BOUND

# For requests of 4 MiB: a login, what the block layer has to be told, and memory
# in few pieces. (siw registers none with more than 256, and ib_srp tries again
# for ever.)
LARGE = "max_sect=8192,ch_count=2,cmd_sg_entries=255,sg_tablesize=255"
LIMIT = "echo 4096 > /sys/block/%s/queue/max_sectors_kb"
HUGE_PAGES = "echo %d > /proc/sys/vm/nr_hugepages"


@pytest.fixture
def iwarp(bench):
    """Both machines have siw instead of their HCA; see Bench.other_hcas()."""
    return bench.other_hcas(hcas.SIW)


def writes(initiator, disk):
    """Write requests so far, and sectors in them."""
    words = initiator.run(["cat", "/sys/block/%s/stat" % disk[5:]]).out.split()
    return int(words[4]), int(words[6])


def verified(initiator, disk):
    """Verified data: immediate data, some pages, and transfers of 4 MiB."""
    initiator.fio(disk, "256k", "4k", 16)
    initiator.run(LIMIT % disk[5:] + "; " + HUGE_PAGES % 12)
    before = writes(initiator, disk)
    initiator.fio(disk, "16m", "4m", 2, more=["--mem=shmhuge"])
    initiator.run(HUGE_PAGES % 0)
    requests, sectors = (x - y for x, y in zip(writes(initiator, disk), before))
    expect(sectors // requests > 2048, "requests of more than 1 MiB: %d "
           "requests, %d sectors" % (requests, sectors))


@pytest.mark.timeout(120)
def test_siw_login(bench, iwarp):
    """over iWARP: logins over IPv4 and over IPv6, transfers up to 4 MiB"""
    target, initiator = bench.target, bench.initiator
    with iwarp(), bench.configured():
        for address in (target.guest.ip, target.guest.ip6):
            disk, = initiator.login(LARGE, dest=address)
            ids = target.run("rdma resource show cm_id").out
            expect(any("siw0" in line and "CONNECT" in line and address in line
                       for line in ids.splitlines()),
                   "a connection of siw0 with %s:\n%s" % (address, ids))
            verified(initiator, disk)
            initiator.logout()
            target.wait_for_connections(0)


@pytest.mark.timeout(120)
@pytest.mark.stock("in SRQ mode it warns and frees what is in use")
def test_siw_shared_receive_queue(bench, iwarp):
    """over iWARP, where nobody says that a queue pair takes no more from a
    shared receive queue: data is right, and that is waited for (10 s) by the
    first channels that end only"""
    target, initiator = bench.target, bench.initiator
    with iwarp(), bench.configured(params="srpt_srq_size=256",
                                   attributes={"use_srq": 1}):
        disk, = initiator.login(TWO_CHANNELS)
        out = target.run("rdma resource show srq").out
        expect("srqn" in out, "there is a shared receive queue: " + out)
        initiator.fio(disk, "512k", "4k", 32)
        initiator.fio(disk, "2m", "64k", 16)
        initiator.logout(unload=False)
        target.wait_for_connections(0, BOUND)
        disk, = initiator.login()
        initiator.fio(disk, "256k", "4k", 4)
        initiator.logout()
        began = time.monotonic()
        target.wait_for_connections(0, BOUND)
        took = time.monotonic() - began
        expect(took < 8, "queue pairs were gone %.1f s after the logout" % took)


@pytest.mark.timeout(120)
def test_siw_removed(bench, iwarp):
    """over iWARP: the HCA goes under load and comes back; a login works"""
    with iwarp():
        hca_removed(bench, BOUND, 60)


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock("it has no parameter for the listener")
def test_siw_without_ipv6(bench, iwarp):
    """with ipv6.disable=1 siw refuses to listen for IPv6; the module loads with
    a port number, and listens for IPv4"""
    target = bench.target
    with Guest("without-ipv6", bench.pair.run_dir, smp=1, transport="siw",
               kernel=target.guest.kernel, append="ipv6.disable=1") as guest:
        alone = LioTarget(guest, target.variant, target.module)
        alone.load("rdma_cm_port=5555")
        log = guest.run("dmesg").out
        contains(log, "no RDMA/CM logins over IPv6: ", "the log")
        contains(log, "listening for RDMA/CM logins on port 5555", "the log")
        ids = guest.run("rdma resource show cm_id").out
        expect("LISTEN" in ids and "0.0.0.0:5555" in ids,
               "it listens for IPv4:\n" + ids)
        alone.unload()
        # An HCA that comes later than the listener, which it could refuse.
        guest.run("rdma link delete siw0")
        alone.load("rdma_cm_port=5555")
        guest.run("rdma link add siw0 type siw netdev eth0")
        ids = guest.run("rdma resource show cm_id").out
        expect(any("siw0" in line and "LISTEN" in line
                   for line in ids.splitlines()),
               "the new HCA listens, too:\n" + ids)
        alone.unload()


@contextlib.contextmanager
def registering(target):
    """The target registers memory for each transfer: ib_core says so, which only
    takes the parameter when it is loaded. Yields a function that says how many
    registrations there were."""
    target.guest.reload_rdma("force_mr=1")
    with target.calls("ib_map_mr_sg") as count:
        yield count
    target.guest.reload_rdma()


@pytest.mark.timeout(180)
def test_force_mr(bench):
    """ib_core.force_mr=1: each transfer goes through a registered region, and
    data is right, with immediate data and without"""
    target, initiator = bench.target, bench.initiator
    with registering(target) as count:
        for use in ("Y", "N"):
            with bench.session(LARGE, "use_imm_data=" + use) as disk:
                regions = target.run("rdma resource show mr").out
                expect("ib_srpt" in regions, "regions of ib_srpt:\n" + regions)
                before = count()
                verified(initiator, disk)
                # Those of 4 MiB alone: written, and read again.
                registered = count() - before
                bench.say("use_imm_data=%s: %d registrations" % (use, registered))
                expect(registered >= 8 + (64 if use == "Y" else 128),
                       "each transfer was registered: %d" % registered)


@pytest.mark.timeout(120)
def test_small_regions(bench):
    """an HCA whose memory regions take 255 pages (cxgb4): transfers of 256 pages, in
    few entries, go through two regions"""
    target, initiator = bench.target, bench.initiator
    with registering(target) as count, \
            bench.target_module("odd_hca", "region_pages=255"), \
            bench.session(LARGE) as disk:
        initiator.run(LIMIT % disk[5:] + "; " + HUGE_PAGES % 12)
        before = count()
        initiator.fio(disk, "8m", "1m", 2, more=["--mem=shmhuge"])
        initiator.run(HUGE_PAGES % 0)
        # Written, and read again.
        registered = count() - before
        expect(registered >= 2 * 2 * 8, "two registrations each: %d" % registered)
