# SPDX-License-Identifier: GPL-2.0
#
# What happens when the target's memory runs out at a bad moment: allocations
# fail by chance (failslab) wherever a function of this module is among the
# callers. Only the sanitized kernel can do that.
#
# Not here: memory that is never freed (test_leaks.py, scripts/lab/leaks.py).

import contextlib

import pytest

from .checks import equal, expect, until
from .peer import TEST_UNIT_READY, cmd, indirect, read_10
from .test_leaks import try_many

pytestmark = pytest.mark.sanitized

# One of so many allocations fails. A login makes hundreds, a command a few; with
# primes it is another one each time. (If many more failed, the answer to a login
# could not be sent either, and the peer would ask again every few seconds.)
OF_LOGINS = (101, 503, 1009)
OF_COMMANDS = 3
OF_SESSION = 53
LOGINS = 30

# Where the module's code is: prints its first address and the one behind it.
CODE = r"""
base=$(cat /sys/module/ib_srpt/sections/.text)
size=0x$(readelf -SW /lab/modules/ib_srpt.ko |
    awk '{ for (i = 1; i < NF; i++) if ($i == ".text") print $(i + 4) }')
printf '0x%x 0x%x\n' $base $((base + size))
"""
# The filter looks for return addresses in it on the stack.
FAIL = r"""
set -e
cd /sys/kernel/debug/failslab
echo {start} > require-start
echo {end} > require-end
echo 32 > stacktrace-depth
echo 0 > verbose
echo N > ignore-gfp-wait
echo {most} > times
echo {every} > interval
echo 100 > probability
"""
STOP = "cd /sys/kernel/debug/failslab; echo 0 > probability; cat times"
# More failures than any test causes: how many of them are left tells.
MOST = 1000000

# vmalloc() says so when it fails, with a call trace; rxe makes queues with it.
VMALLOC = r"\] \S+: vmalloc error: size \d+, .*vm_struct allocation failed"


@contextlib.contextmanager
def failing(target, every):
    """Let one of so many allocations in the module fail meanwhile. There have
    to be some."""
    with target.guest.console.excused(VMALLOC, "the allocation is let fail"):
        start, end = target.run(CODE).out.split()
        target.run(FAIL.format(start=start, end=end, every=every, most=MOST))
        try:
            yield
        finally:
            left = int(target.run(STOP).out)
        expect(left < MOST, "allocations do fail")


def need_failslab(bench):
    bench.target.need_rust("the C driver is not what is tested")
    if bench.target.run("[ -d /sys/kernel/debug/failslab ]", check=False).rc:
        bench.skip("this kernel cannot let allocations fail "
                   "(KERNEL=sanitized can)")


@pytest.mark.timeout(200)
def test_logins(bench):
    """logins while allocations fail: granted or refused, nothing stays"""
    need_failslab(bench)
    with bench.configured() as target:
        refused = 0
        for every in OF_LOGINS:
            with failing(target, every):
                yes, no = try_many(bench, LOGINS)
            equal(yes + no, LOGINS, "answered logins")
            refused += no
            bench.say("one of %d fails: %d granted, %d refused"
                      % (every, yes, no))
            target.wait_for_connections(0, 60)
        expect(refused > 0, "some are refused")
        equal(try_many(bench, 5), (5, 0), "logins granted and refused after")


@pytest.mark.timeout(200)
def test_commands(bench):
    """commands with one descriptor, and with two, while allocations fail: each
    is answered, with GOOD where the target could try again, or the connection ends;
    then all is well"""
    need_failslab(bench)
    with bench.configured(acls=[]) as target:
        with bench.peer() as one:
            target.add_acl(one.port_id)
            one.login()
            one.settle()
            seen = {}
            with failing(target, OF_COMMANDS):
                two = [one.at(0, 2048), one.at(2048, 2048)]
                for tag in range(1, 101):
                    data = {"data_in": one.at(0, 4096)}
                    if tag % 2:
                        data = {"fmt": 0x02, "counts": (0, 2),
                                "tail": indirect(one.at(8192, 32), 4096, two)}
                    answer = one.ask(cmd(tag, read_10(0, 8), **data), 20)
                    if isinstance(answer, str):
                        seen[answer] = seen.get(answer, 0) + 1
                        break
                    equal(answer.tag, tag, "tag of the answer")
                    name = "status %#x" % answer.status
                    seen[name] = seen.get(name, 0) + 1
            bench.say("answers: %s" % seen)
            expect("timeout" not in seen, "every command is answered")
        target.wait_for_connections(0, 60)
        with bench.peer() as one:
            one.login()
            one.settle()
            answer = one.ask(cmd(1, [TEST_UNIT_READY]))
            equal((answer.tag, answer.status), (1, 0), "answer afterwards")


@pytest.mark.timeout(400)
def test_session(bench):
    """a stock session while allocations fail: its data is right afterwards"""
    need_failslab(bench)
    initiator, target = bench.initiator, bench.target
    with bench.session() as disk:
        with failing(target, OF_SESSION):
            initiator.run(["dd", "if=/dev/zero", "of=" + disk, "bs=64k",
                           "count=64", "oflag=direct"], timeout=150,
                          check=False)
        until(lambda: initiator.port_state() == ["running"], 100,
              "the session is there again")
        initiator.fio(disk, "1m", "4k", 8)
