# SPDX-License-Identifier: GPL-2.0
#
# Random units over several channels (tests/initiator fuzz) beside a stock
# session whose data is verified all the time. Disks of their own: what random
# units write must not be what the stock session reads.
#
# Environment: FUZZ_COUNT, FUZZ_SEED, FUZZ_CHANNELS. The seed is printed, and a
# failure is worth repeating with it, though the order of events between
# channels is not the same again. `make fuzz-guest` takes another seed every day.
#
# Not here: what is sent, and the law it is checked against
# (tests/initiator/src/fuzz).

import os
import re
import time

import pytest

from .checks import Failed, Wrong, expect, until
from .conformance import pace, where
from .initiator import UNTIL_STOPPED

COUNT = int(os.environ.get("FUZZ_COUNT") or 20000)
SEED = int(os.environ.get("FUZZ_SEED") or 1)
CHANNELS = int(os.environ.get("FUZZ_CHANNELS", "4"))

# What tests/initiator/src/fuzz/mod.rs adds the number of the channel to.
EXTENSION = 0xf022f022f0220000

# Units per second that the slowest machine sends.
SLOWEST = 60

# Nothing in the target's kernel waits this many seconds: peers that leave in the
# middle of something must not hold up its end.
LONGEST_WAIT = 30

# Prints what waits in the kernel.
WAITING = """
echo w > /proc/sysrq-trigger
dmesg | sed -n '/sysrq: Show Blocked/,$p'
"""

# Prints where the threads of the program are.
THREADS = """
for t in /proc/$(pgrep -x initiator | head -n 1)/task/*; do
    echo "$t $(cat $t/wchan) syscall $(cat $t/syscall)"
    cat $t/stack
done
rdma resource show qp
"""

# The program says how far it is every five seconds; without any progress for
# this time it is stuck.
STUCK = 90


def watch(bench, job, limit):
    """Wait for the program; say where it is when it does not get on."""
    last, since = "", time.monotonic()
    while job.poll() is None:
        time.sleep(1)
        found = re.findall(r"^(\d+) of \d+ units", job.output, re.M)
        if found and found[-1] != last:
            last, since = found[-1], time.monotonic()
        if time.monotonic() - since > STUCK * pace():
            bench.say("no progress after %s units:\n%s" % (
                last, bench.initiator.run(THREADS, check=False).out[-6000:]))
            job.kill()
            break
    return job.wait(limit + 60, check=False)


@pytest.mark.fuzz
@pytest.mark.long
@pytest.mark.timeout(240 + COUNT // SLOWEST)
@pytest.mark.stock("kernel Oops")
def test_beside_a_session(bench):
    """random units over several channels; a stock session beside them"""
    target, initiator = bench.target, bench.initiator
    if target.engine == "scst" and initiator.guest.transport == "ib":
        bench.skip("SCST knows all sessions of a port by the port's GID, so that none "
                   "has disks of its own")
    with bench.session() as disk:
        names = ["0x%016x%s" % (EXTENSION + n, initiator.guid)
                 for n in range(CHANNELS)]
        # The fuzzer has an address of its own, as SCST knows it by that.
        target.private_disks(names, initiator.guest.ip6)
        target.guest.limit_waits(LONGEST_WAIT * pace())
        limit = (120 + COUNT // SLOWEST) * pace()
        load = initiator.load(disk, limit + UNTIL_STOPPED, "16m", "4k", 2,
                              ["--rate_iops=100"])
        program = initiator.tool(bench.machines.built.initiator)
        job = initiator.spawn([
            program, "fuzz", "--dest", where(target, target.guest.ip6),
            "--target-guid", target.service_guid, "--guid", initiator.guid,
            "--seed", str(SEED), "--count", str(COUNT),
            "--channels", str(CHANNELS), "--pace", str(pace())],
            timeout=limit)
        done = watch(bench, job, limit)
        for line in done.out.splitlines():
            if not re.match(r"\d+ of \d+ units", line):
                bench.say(line[:1000])
        if done.rc:
            for end in (target, initiator):
                bench.say("what waits on the %s:\n%s" % (
                    end.guest.name, end.run(WAITING).out[-6000:]))
            raise Wrong("fuzz ended with status %d, seed %d"
                         % (done.rc, SEED))
        expect(re.search(r"^%d units, .*: ok$" % COUNT, done.out, re.M),
               "all units were sent")
        initiator.moves(disk)
        until(lambda: initiator.port_state() == ["running"], 30,
              "the session beside it runs")
        initiator.stop(load, disk, "4m")
        # A login whose peer went away half-way is given up after 30 s.
        try:
            until(lambda: target.queue_pairs() <= initiator.channels(), 90,
                  "only the stock session is left")
        except Failed:
            bench.say("what waits on the target:\n" + target.run(WAITING).out)
            raise
        target.guest.limit_waits()
