# SPDX-License-Identifier: GPL-2.0
#
# What many logins leave behind: nothing, counted in objects of the slab caches
# on the target. LOGINS=<number> in the environment asks for more of them. What
# the engine itself leaves with every session is known (Target.leaves); it must be
# that, no more and no less.
#
# Not here: loading and unloading (test_module.py); memory without an owner, which
# the sanitized kernel looks for by itself (scripts/lab/leaks.py).

import os
import re
import time

import pytest

from .checks import equal, expect, until
from .peer import login_form, port_bytes, where
from .usage import growing, relevant, usage

# Logins per batch. Whatever a login leaves shows as this many objects in each
# batch; what is kept ready for later does not grow with every one of them.
BATCHES = 3
LOGINS = int(os.environ.get("LOGINS") or 300)
BATCH = max(LOGINS // BATCHES, 1)
TOLERANCE = BATCH // 4

# Seconds for a login in the worst case, and for the rest of a test.
PER_LOGIN, BASE = 0.5, 120
LIMIT = round(BASE + LOGINS * PER_LOGIN)


def try_many(bench, count, **fields):
    """`count` logins; returns how many were granted and refused."""
    initiator, target = bench.initiator, bench.target
    fields.setdefault("initiator", port_bytes(initiator.port_id))
    fields.setdefault("target", bytes.fromhex(target.service_guid * 2))
    program = initiator.tool(
        bench.machines.built.program("srp_logins"))
    request = login_form(initiator.guest)(**fields)
    out = initiator.run([program, *where(target), str(count), request.hex()],
                        timeout=LIMIT).out
    found = re.search(r"established (\d+) rejected (\d+)", out)
    return int(found.group(1)), int(found.group(2))


def many(bench, count, granted, **fields):
    """`count` logins, all of which are granted or all refused; returns how
    many there were in a second."""
    target = bench.target
    began = time.monotonic()
    equal(try_many(bench, count, **fields),
          (count, 0) if granted else (0, count), "logins granted and refused")
    until(lambda: target.queue_pairs() == 0, 60, "the logouts reach the target")
    return count / (time.monotonic() - began)


def nothing_grows(bench, granted, own=False, **fields):
    """Batches of logins, and what is in use on the target after each. `own`: each has a
    session of its own; by default a few join one that has not ended yet."""
    target = bench.target
    expect(LOGINS >= 60, "LOGINS is enough to tell a leak from noise")
    many(bench, BATCH // 2, granted, **fields)
    known = target.leaves if granted else {}
    with target.sessions_counted() as opened:
        usages = [usage(target)]
        for _ in range(BATCHES):
            rate = many(bench, BATCH, granted, **fields)
            usages.append(usage(target))
            for name, count in known.items():
                usages[-1][name] -= count * opened()
        if known:
            least = BATCHES * BATCH * (10 if own else 9) // 10
            expect(least <= opened() <= BATCHES * BATCH, "%d logins have opened %d sessions or more: %d"
                   % (BATCHES * BATCH, least, opened()))
            bench.say("not counted, as the engine leaves it: %s with each of %d sessions"
                      % (", ".join("%s %+d" % item for item in known.items()), opened()))
    expect(sum(n.startswith("kmalloc") for n in relevant(usages[-1])) > 10,
           "the kmalloc caches are looked at")
    grown = growing(usages, TOLERANCE)
    expect(not grown, "nothing grows by more than %d in each %d logins: %s"
           % (TOLERANCE, BATCH, grown))
    fewer = growing([{n: -u[n] for n in known} for u in usages], TOLERANCE)
    expect(not fewer, "the engine leaves %s with every session; without "
           "these: %s" % (known, fewer))
    changed = {n: usages[-1].get(n, 0) - usages[0].get(n, 0)
               for n in relevant(usages[-1])}
    bench.say("%d logins, %.0f per second; largest changes: %s" % (
        BATCHES * BATCH, rate, ", ".join(
            "%s %+d" % (n, d) for n, d in sorted(
                changed.items(), key=lambda x: -abs(x[1]))[:4])))


@pytest.mark.timeout(LIMIT)
def test_logins(bench):
    """many logins and logouts leave no object behind"""
    with bench.configured():
        nothing_grows(bench, True)


@pytest.mark.timeout(LIMIT)
def test_logins_shared_queue(bench):
    """the same with a shared receive queue"""
    with bench.configured(attributes={"use_srq": 1}):
        nothing_grows(bench, True)


@pytest.mark.engine("scst")
@pytest.mark.stock("each channel is a session there")
@pytest.mark.timeout(LIMIT)
def test_logins_session_per_channel(bench):
    """the same with a session for each login, which joins no older one"""
    with bench.configured(params="session_per_channel=Y"):
        nothing_grows(bench, True, own=True)


@pytest.mark.timeout(LIMIT)
def test_refused_logins(bench):
    """many refused logins leave no object behind"""
    with bench.configured(acls=[]) as target:
        # Where everybody is let in, only while the target is enabled.
        if target.admits_all:
            target.enable(False)
        nothing_grows(bench, False)
