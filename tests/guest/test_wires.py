# SPDX-License-Identifier: GPL-2.0
#
# Wires that are cut and mended at random moments of everything a session does, and wires
# that lose, double, delay and change packets. Another session, over another wire, is not
# ended by the target; the disturbed one comes back by itself, its data is right, and nothing of what
# it was is left on the target.
#
#   CUTS=<number>   asks for them: so many cuts in each phase
#   SEED=<number>   of the moments
#
# Not here: single cuts with longer waits, machines that die (test_faults.py).

import os
import random
import time

import pytest

from .checks import contains, equal, expect, sit_through, until
from .test_faults import rxe_gives_up
from .usage import growing, usage
from .wires import HCA, IMMEDIATE, beside_a_session

CUTS = int(os.environ.get("CUTS") or 0)
SEED = int(os.environ.get("SEED") or 1)
LIMIT = 240 + CUTS * 60

pytestmark = [pytest.mark.engine("lio"), pytest.mark.roce("its second network has an rxe1"),
              pytest.mark.skipif(not CUTS, reason="it takes minutes: CUTS=<number>")]

# Objects that a slab cache may gain in each third of the cuts.
TOLERANCE = 25


class Cuts:
    """Moments, lengths and directions, by chance."""

    def __init__(self, bench, other, phase):
        self.bench, self.other = bench, other
        self.random = random.Random("%d %s" % (SEED, phase))
        self.ends = {"both": (bench.target, bench.initiator), "the target": (bench.target,),
                     "the initiator": (bench.initiator,)}
        self.waits = []

    def one(self, latest):
        """Cut and mend; the moment is within `latest` seconds. One in three costs the
        connection."""
        moment = self.random.uniform(0, latest)
        long = self.random.random() < 1 / 3
        seconds = self.random.uniform(8, 11) if long else self.random.uniform(0.05, 2)
        who = self.random.choice(list(self.ends))
        self.bench.say("after %.2f s, for %.2f s, what comes from %s" % (moment, seconds, who))
        self.other.cut(moment, seconds, self.ends[who])

    def recovered(self):
        self.waits.append(self.other.back())
        self.other.has_credits()

    def report(self, phase):
        self.waits.sort()
        self.bench.fault(
            "wire cut %d times, %s (SEED=%d)" % (CUTS, phase, SEED),
            "back after %.1f s in the middle, %.1f s at most; data right, no dead queue pair" % (
                self.waits[len(self.waits) // 2], self.waits[-1]), self.waits[-1])


def cuts_in_io(cuts, other):
    cuts.one(1)
    cuts.recovered()


def cuts_in_reset(cuts, other):
    job = other.initiator.spawn(["sg_reset", "-d", other.disk], timeout=200)
    cuts.one(0.4)
    job.wait(200, check=False)
    cuts.recovered()


def cuts_in_disable(cuts, other):
    """The portal group is disabled, which ends its sessions, and enabled."""
    mark = other.target.mark()
    job = other.target.spawn("echo 0 > %s/enable" % other.tpg, timeout=60)
    cuts.one(0.2)
    equal(job.wait(60).rc, 0, "status of disabling")
    # Not the cut has ended them.
    contains(other.target.log_since(mark), ": closing: port disabled", "the log")
    until(lambda: other.target.queue_pairs() == other.others, 60, "its connections have ended")
    other.enable()
    cuts.recovered()


def cuts_in_login(cuts, other):
    job = other.logs_in()
    cuts.one(1.2)
    began = time.monotonic()
    other.log_in(job)
    cuts.waits.append(time.monotonic() - began)
    other.initiator.fio(other.disk, "256k")
    other.log_out()


def cuts_in_logout(cuts, other):
    other.log_in()
    other.initiator.fio(other.disk, "256k")
    job = other.logs_out()
    cuts.one(0.5)
    began = time.monotonic()
    other.log_out(job)
    cuts.waits.append(time.monotonic() - began)


# Phase: (what is done, fio's words for the load meanwhile, if there is one).
PHASES = {
    "login": (cuts_in_login, None),
    "reads": (cuts_in_io, ["--rw=randread"]),
    "writes": (cuts_in_io, []),
    "rdma_writes": (cuts_in_io, ["--bs=64k"]),
    "reset": (cuts_in_reset, []),
    "disable": (cuts_in_disable, []),
    "logout": (cuts_in_logout, None),
}


@pytest.mark.timeout(LIMIT)
@pytest.mark.parametrize("phase", PHASES)
def test_cuts(bench, phase):
    """the wire is cut, in one direction or both, at random moments: the session is back,
    its data is right, the target has not ended the other one, no dead queue pair is
    left; with CUTS=9 and more, nothing grows"""
    target, initiator = bench.target, bench.initiator
    step, words = PHASES[phase]
    with rxe_gives_up(bench), beside_a_session(bench) as other:
        cuts = Cuts(bench, other, phase)
        job = None
        if words is not None:
            if phase == "rdma_writes":
                initiator.run("echo N > " + IMMEDIATE)
            other.log_in()
            # All that reads will find.
            initiator.fio(other.disk, "8m", "64k", more=["--verify_interval=4k"])
            job = other.load(words)
        usages = [usage(target)] if CUTS >= 9 else []
        for number in range(1, CUTS + 1):
            step(cuts, other)
            if usages and number % (CUTS // 3) == 0:
                usages.append(usage(target))
        if job:
            initiator.stop(job, other.disk)
            other.is_whole()
            other.log_out()
        if len(usages) > 3:
            equal(growing(usages, TOLERANCE), {}, "what grows on the target with each cut")
        cuts.report(phase)


# Kind: what netem does to packets, of both ends or of one.
BAD = {
    "loss_1": ("loss 1%", None),
    "loss_10": ("loss 10%", None),
    "loss_50": ("loss 50%", None),
    "reorder": ("delay 5ms reorder 25% 50%", None),
    "duplicate": ("duplicate 10%", None),
    "corrupt": ("corrupt 1%", None),
    "cut": ("loss 100%", None),
    "deaf_target": ("loss 100%", "initiator"),
    "deaf_initiator": ("loss 100%", "target"),
}
# What nothing gets through, once what was under way has ended.
CLOSED = ("cut", "deaf_target", "deaf_initiator", "no_hca", "disabled")
# Seconds with a good wire, with a bad one, and with a good one again.
BEFORE, DURING, AFTER = 3, 15, 3


def bad_wire(other, words, only):
    """Begins; returns what ends it."""
    ends = [getattr(other.bench, only)] if only else [other.bench.target, other.bench.initiator]
    other.netem(words, ends)
    return other.netem


def without_hca(other):
    other.target.run("rdma link delete " + HCA, timeout=60)
    return lambda: other.target.run("rdma link add %s type rxe netdev second" % HCA)


def disabled(other):
    other.enable(False)
    return other.enable


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [*BAD, "no_hca", "disabled"])
def test_through(bench, kind):
    """packets are lost, late, doubled or changed for a while, or the target's port is away:
    the session goes on or is back soon, its data is right"""
    begin = {"no_hca": without_hca, "disabled": disabled}.get(
        kind, lambda other: bad_wire(other, *BAD[kind]))
    with rxe_gives_up(bench), beside_a_session(bench) as other:
        initiator = bench.initiator
        other.log_in()
        job = other.load()
        with other.watched() as points:
            sit_through(BEFORE, "how it is with a good wire")
            began = other.now()
            end = begin(other)
            sit_through(DURING, "how it is with a bad wire")
            ended = other.now()
            end()
            seconds = other.back()
            sit_through(AFTER, "how it is afterwards")
        initiator.stop(job, other.disk)
        other.is_whole()
        during = [value for when, value in points if began + 1 < when < ended]
        rate = sum(during) / max(len(during), 1)
        expect(during, "the disk was watched")
        if kind in CLOSED:
            equal(max(during[len(during) // 2:]), 0, "IOPS in the second half")
        bench.fault(kind, "%.0f IOPS meanwhile; data right, no dead queue pair" % rate, seconds, {
            "points": points, "begin": began, "end": ended})
        other.log_out()
