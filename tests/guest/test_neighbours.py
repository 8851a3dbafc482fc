# SPDX-License-Identifier: GPL-2.0
#
# Many peers that take what a login gives them and give nothing back, beside a session
# that has to be served. Each is an initiator of its own, all through one entry.
# NEIGHBOURS=all asks for all kinds of them.
#
# Not here: units that are wrong (test_fuzz.py), bounds by themselves (test_login.py).

import os
import re

import pytest

from lab import env

from .checks import equal, expect, until
from .conformance import where
from .initiator import UNTIL_STOPPED
from .usage import free_kib

pytestmark = [pytest.mark.engine("lio"), pytest.mark.roce(
    "the peers have an address, which names their entry")]
longer = pytest.mark.skipif(os.environ.get("NEIGHBOURS") != "all",
                            reason="it takes a minute: NEIGHBOURS=all")

PEERS, SECONDS = 64, 25
# MiB: what a channel takes at most for a peer that asks for no more than others, and the
# same again for its queues, which rdma_rxe has in memory. docs/security.md has the former.
CHANNEL = 2 * 3.2


def iops(initiator, disk):
    """4k reads per second, one at a time, for 5 s."""
    out = initiator.run(["fio", "--name=v", "--filename=" + disk, "--rw=randread", "--bs=4k",
                         "--iodepth=1", "--ioengine=libaio", "--direct=1", "--thread",
                         "--time_based", "--runtime=5"], timeout=120).out
    found = re.search(r"IOPS=([0-9.]+)(k?)", out)
    expect(found, "fio says how many: " + out)
    return float(found.group(1)) * (1000 if found.group(2) else 1)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", [
    "idle", *(pytest.param(kind, marks=longer) for kind in ("deaf", "busy", "churn", "storm"))])
def test_beside(bench, kind):
    """64 peers that log in and send nothing, that take no response but one, that send all the
    time, that log in and out, that ask for connections and go: a session beside them
    goes on, its data is right, all that the peers had is given back"""
    target, initiator = bench.target, bench.initiator
    with bench.session("ch_count=1") as disk:
        target.add_acl(initiator.guest.ip)
        before, free = iops(initiator, disk), free_kib(target)
        program = initiator.tool(bench.machines.built.initiator)
        job = initiator.spawn([
            program, "neighbours", "--dest", where(target, target.guest.ip),
            "--target-guid", target.service_guid, "--guid", "0123456789abcdef",
            "--kind", kind, "--peers", str(PEERS), "--pace", "%d" % env.pace(),
            "--seconds", "%d" % (SECONDS * env.pace())], timeout=200)
        # Such a peer takes no processor once it is there.
        quiet = kind == "idle"
        if quiet:
            target.wait_for_connections(PEERS + 1, 90)
            taken = (free - free_kib(target)) / 1024 / PEERS
            bench.say("%.1f MiB per peer" % taken)
            expect(0 < taken < CHANNEL, "a peer takes %.1f MiB" % taken)
        else:
            # How many are there at a time depends: rdma_rxe gives up a peer that has no
            # receive after some time, whatever it is told.
            until(lambda: target.queue_pairs() > 1, 60, "peers are there")
        during = iops(initiator, disk)
        if quiet and during < before / 2:
            during = iops(initiator, disk)      # The host does other things, too.
        bench.fault("%d peers, %s" % (PEERS, kind),
                    "IOPS of a session: %.0f alone, %.0f beside them" % (before, during))
        if quiet:
            expect(during >= before / 2, "the session has half: %.0f of %.0f" % (during, before))
            equal(target.queue_pairs(), PEERS + 1, "connections after that")
        load = initiator.load(disk, UNTIL_STOPPED, depth=4)
        done = job.wait(200, check=False)
        bench.say(done.out)
        expect(done.rc == 0, "the peers could do what they do")
        counts = {what: int(n) for what, n in re.findall(r"^(.+): (\d+)$", done.out, re.M)}
        if kind == "storm":
            expect(counts["asked"] > PEERS, "they asked: %s" % counts)
        elif kind == "churn":
            expect(counts["login accepted"] > PEERS, "they logged in: %s" % counts)
        else:
            equal(counts["login accepted"], PEERS, "logins")
        if kind == "busy":
            equal([what for what in counts if what.startswith("status")], ["status 0x0"],
                  "what they were answered")
        initiator.moves(disk)
        initiator.stop(load, disk)
        until(lambda: target.queue_pairs() == 1, 90, "only the session is left")
        target.remove_acl(initiator.guest.ip)
