# SPDX-License-Identifier: GPL-2.0
#
# The first call of a kind that an operation makes fails, then the second and so on,
# until the operation makes no more of them: each fails once. Calls with a function of
# this module among their callers count, those that the RDMA core and target core make
# for it included. The operation succeeds or is answered with an error; afterwards it
# works.
#
#   memory   allocations, those that rdma_rxe makes for it included; only the sanitized
#            kernel can let them fail. It looks for memory without an owner in the end.
#   verbs    what the HCA's driver is asked for
#   vectors  what the module's own code allocates, with any kernel
#
# They take minutes each: NTH=<first>,<step> asks for them, NTH=1,1 for each call. Receives
# of a shared receive queue, which are what a connection shares with others, fail in every
# run.
#
# Not here: allocations that fail by chance (test_memory.py); an HCA whose verbs fail as
# long as a test wants it to (test_faults.py).

import contextlib
import os

import pytest

from conftest import TRANSPORT

from .checks import Failed, equal, expect, sit_through, until
from .dm import Answer, Asker
from .peer import (ABORT_TASK, BUSY, CONSUMER_DEFINED, IMMEDIATE, LUN_RESET, MULTI, TEST_UNIT_READY, Response, cmd,
                   indirect, logout, read_10, table, tsk_mgmt, write_10)
from .test_memory import CODE, VMALLOC, need_failslab
from .test_rogue import TMF_FAILED

pytestmark = pytest.mark.engine("lio")

NTH = os.environ.get("NTH")
FIRST, STEP = map(int, (NTH or "3,29").split(","))
PARAMETERS = "/sys/module/nth/parameters/"
# More calls than any operation makes.
MOST = 3000

# Addresses of the function that runs a module's start.
LOADER = r"""
set -- $(grep -A 1 ' [tT] do_one_initcall$' /proc/kallsyms | cut -d ' ' -f 1)
echo 0x$1 0x$2
"""


# Verbs that rdma_rxe has, but for those that may not fail, which give something back.
VERBS = ("alloc_mr alloc_pd create_ah create_cq create_qp create_srq map_mr_sg modify_port "
         "modify_qp post_recv post_send post_srq_recv query_device query_port query_qp "
         "req_notify_cq").split()
KINDS = {
    "memory": "",
    "verbs": "result=-5 functions=" + ",".join("rxe_" + verb for verb in VERBS),
    "receives": "result=-5 functions=rxe_post_srq_recv",
    "vectors": "result=0 functions=krealloc_node_align_noprof",
}


class Nth:
    """The module that lets calls fail, in the target machine."""

    def __init__(self, bench):
        self.bench, self.target = bench, bench.target

    def of(self, where):
        """Calls count that are made below this: CODE or LOADER."""
        start, end = self.target.run(where).out.split()
        self.target.run("echo %s > %sstart; echo %s > %send" % (start, PARAMETERS, end, PARAMETERS))

    @contextlib.contextmanager
    def each(self, what, armed=True, some=True, first=FIRST, step=STEP):
        """A generator of numbers of the call that fails; ends when there was no such
        call. What the loop does in between is the operation; unless it is to be `armed`
        here, it calls arm() when the operation begins. `some`: there are such calls."""
        self.failed = 0
        with self.target.guest.console.excused(VMALLOC, "the allocation is let fail"):
            yield self._numbers(what, armed, first, step)
        expect(self.failed > 0 or not some or (NTH and first > 1), "calls of %s fail" % what)
        self.bench.fault("a call fails: " + what, "%d calls failed, one at a time; "
                         "it works afterwards, nothing left" % self.failed)

    def _numbers(self, what, armed, first, step):
        for number in range(first, MOST, step):
            if armed:
                self.arm(number)
            yield number
            if self.disarm():
                return
            self.failed += 1
        raise Failed("%s has no last call" % what)

    def arm(self, number):
        """The call of this number fails, counted from now on."""
        self.target.quick("echo %d > %sleft" % (number, PARAMETERS))

    def disarm(self):
        """Nothing fails from now on; returns whether nothing has failed."""
        left = int(self.target.quick("cat {0}left; echo 0 > {0}left".format(PARAMETERS)).out)
        return left > 0


def made(bench, kind):
    """An Nth for a kind of calls."""
    bench.target.need_rust("the C driver is not what is tested")
    if kind == "memory":
        need_failslab(bench)
    elif kind != "vectors" and TRANSPORT == "siw":
        bench.skip("the verbs are those of rdma_rxe")
    with bench.target_module("nth", KINDS[kind]):
        yield Nth(bench)


@pytest.fixture
def memory(bench):
    yield from made(bench, "memory")


@pytest.fixture(params=["memory", "verbs"])
def nth(request, bench):
    yield from made(bench, request.param)


@pytest.fixture
def receives(bench):
    yield from made(bench, "receives")


@pytest.fixture
def vectors(bench):
    yield from made(bench, "vectors")


def is_served(target):
    expect("srpt-rxe0-1" in target.run("ls /sys/class/infiniband_srpt").out, "the HCA is served")


longer = pytest.mark.skipif(not NTH, reason="it takes minutes: NTH=1,1")


@longer
@pytest.mark.timeout(3000)
def test_loading(bench, memory):
    """the module is loaded, or is not and leaves nothing"""
    target = bench.target
    target.install()
    memory.of(LOADER)
    with memory.each("loading") as numbers:
        for _ in numbers:
            if target.load(check=False).rc == 0:
                # Without an HCA that could not be prepared.
                target.unload()
            expect(not target.loaded(), "the module is gone")
    target.load()
    is_served(target)
    target.unload()


@longer
@pytest.mark.timeout(3000)
def test_device(bench, nth):
    """an HCA comes: it is served, or is not and the log says so; the next one is"""
    target = bench.target
    target.load()
    nth.of(CODE)
    with nth.each("an HCA that comes") as numbers:
        for number in numbers:
            target.remove_hca()
            mark = target.mark()
            target.add_hca()
            served = "rxe0" in target.run("ls /sys/class/infiniband_srpt").out
            expect(served or "rxe0" in target.log_since(mark), "the log says that the HCA is not "
                   "served (%d)" % number)
    target.remove_hca()
    target.add_hca()
    is_served(target)
    target.unload()


@pytest.mark.timeout(6000)
@pytest.mark.parametrize("shared", [0, 1], ids=["own", "shared"])
def test_login(bench, nth, shared):
    """a login is granted, or refused with a reason, or the connection ends; the next one
    is granted"""
    target = bench.target
    # Few receives in a shared queue, which is filled by the first login that wants it.
    with bench.configured(acls=[], attributes={"use_srq": shared},
                          params="srpt_srq_size=160"):
        nth.of(CODE)
        ends = {}
        with bench.peer() as one:
            target.add_acl(one.port_id)
        with nth.each("a login") as numbers:
            for _ in numbers:
                with bench.peer() as one:
                    word, number, data = one.connect(one.request())
                    if word == "established":
                        one.ask(cmd(1, [TEST_UNIT_READY]))
                    elif number == CONSUMER_DEFINED:
                        word = "refused, %#x" % int.from_bytes(data[4:8], "big")
                    ends[word] = ends.get(word, 0) + 1
                target.wait_for_connections(0, 60)
        bench.say("logins: %s" % ends)
        expect(any(word.startswith(("refused", "rejected")) for word in ends), "some are refused")
        with bench.peer() as one:
            one.login()
            one.settle()


@pytest.mark.timeout(120)
def test_shared_receives(bench, receives):
    """of a shared receive queue of four the HCA does not take a receive, five times, each
    time from another connection: that one ends, and the queue does not run dry"""
    target = bench.target
    with bench.configured(acls=[], attributes={"use_srq": 1}, params="srpt_srq_size=4"):
        receives.of(CODE)
        with bench.peer() as one:
            target.add_acl(one.port_id)
        ended = 0
        while ended < 5:
            with bench.peer() as one:
                one.login()
                one.settle()
                receives.arm(1)
                # The failure may have met what posts a receive that was lost before.
                ended += one.ask(cmd(1, [TEST_UNIT_READY])) == "disconnected"
                expect(not receives.disarm(), "a receive was not posted (%d)" % ended)
            target.wait_for_connections(0, 60)
        with bench.peer() as one:
            one.login()
            one.settle()
            equal(one.ask(cmd(1, [TEST_UNIT_READY])).status, 0, "status of the last")


@pytest.mark.timeout(120)
def test_left_receives(bench, receives):
    """of a shared receive queue of four that no port is to use any more, four connections
    end as the HCA does not take their receives; the fifth, which still uses it, is served"""
    target = bench.target
    with bench.configured(acls=[], attributes={"use_srq": 1}, params="srpt_srq_size=4"), \
            contextlib.ExitStack() as stack:
        receives.of(CODE)
        peers = [stack.enter_context(bench.peer(extension=number)) for number in range(6)]
        for one in peers:
            target.add_acl(one.port_id)
        *losers, last, unshared = peers
        for one in (*losers, last):
            one.login()
            one.settle()
        equal(target.write(target.tpg() + "/attrib/use_srq", 0), "", "error of the change")
        # With this the queue is forgotten.
        unshared.login()
        for one in losers:
            answer = None
            while answer != "disconnected":
                receives.arm(1)
                # The failure may have met what posts a receive that was lost before.
                answer = one.ask(cmd(1, [TEST_UNIT_READY]))
                expect(not receives.disarm(), "a receive was not posted")
        sit_through(6, "receives are posted again every 5 s")
        for tag in range(2, 8):
            answer = last.ask(cmd(tag, [TEST_UNIT_READY]))
            expect(isinstance(answer, Response) and answer.status == 0,
                   "the fifth is served: %s" % (answer,))


# Information units by what they are called; each takes the peer and a tag.
UNITS = {
    "read": lambda one, tag: cmd(tag, read_10(0, 8), data_in=one.at(0, 4096)),
    "read_large": lambda one, tag: cmd(tag, read_10(0, 1024), data_in=one.at(0, 524288)),
    "write": lambda one, tag: cmd(tag, write_10(0, 8), data_out=one.at(0, 4096)),
    "write_large": lambda one, tag: cmd(tag, write_10(0, 1024), data_out=one.at(0, 524288)),
    "table": lambda one, tag: cmd(
        tag, read_10(0, 8), fmt=0x02, counts=(0, 2), tail=indirect(
            one.at(8192, 32), 4096, [one.at(0, 2048), one.at(2048, 2048)])),
    "bad_opcode": lambda one, tag: cmd(tag, [0xff]),
    "no_lun": lambda one, tag: cmd(tag, [TEST_UNIT_READY], lun=77),
    "abort_task": lambda one, tag: tsk_mgmt(tag, ABORT_TASK, task_tag=tag + 1),
    "lun_reset": lambda one, tag: tsk_mgmt(tag, LUN_RESET),
}


# Those that move data.
ALLOCATE = ("read", "read_large", "write", "write_large", "table")


@longer
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("unit", UNITS)
def test_unit(bench, nth, unit):
    """an information unit on a connection of its own is answered, or the connection
    ends; the same unit on the next one is answered with the same as before"""
    target = bench.target
    with bench.configured(acls=[]):
        nth.of(CODE)

        def answer(armed=lambda: None):
            with bench.peer() as one:
                one.login(flags=IMMEDIATE)
                one.settle()
                armed()
                return one.ask(UNITS[unit](one, 0x77), 30)

        with bench.peer() as one:
            target.add_acl(one.port_id)
        before = answer()
        # The login is not what is tested: it is over when the call is named. What is
        # answered without memory, or with no more than one verb, has no such call.
        seen = {}
        with nth.each(unit, armed=False, some=unit in ALLOCATE) as numbers:
            for number in numbers:
                found = answer(lambda: nth.arm(number))
                name = "status %#x" % found.status if isinstance(found, Response) else found
                expect(name != "timeout", "%s is answered (%d)" % (unit, number))
                seen[name] = seen.get(name, 0) + 1
                target.wait_for_connections(0, 60)
        bench.say("answers: %s" % seen)
        after = answer()
        equal((after.status, after.code), (before.status, before.code), "the answer after that")


@longer
@pytest.mark.timeout(600)
def test_reset_of_tables(bench, vectors):
    """LUN RESET while the descriptor tables of two commands are being fetched, each on a
    connection of its own: it works and ends both, or fails and both are answered"""
    target = bench.target
    with bench.configured(acls=[]), contextlib.ExitStack() as stack:
        vectors.of(CODE)
        peers = [stack.enter_context(bench.peer()) for _ in range(3)]
        target.add_acl(peers[0].port_id)
        for one in peers:
            one.login(flags=MULTI)
            one.fill(8192, table([one.at(0, 2048), one.at(2048, 2048)]))
        seen = set()
        with vectors.each("a reset of two commands without their tables", armed=False,
                          first=1, step=1) as numbers:
            for number in numbers:
                for one in peers:
                    one.settle()
                # All that is sent arrives 1.5 s later, the tables as much later still.
                bench.initiator.guest.loss(0, "delay 1500ms")
                vectors.arm(number)
                units = [cmd(tag, read_10(0, 8), fmt=0x02,
                             tail=indirect(one.at(8192, 32), 4096))
                         for tag, one in enumerate(peers[:2])] + [tsk_mgmt(2, LUN_RESET)]
                for one, unit in zip(peers, units):
                    one.begin(unit, 8)
                    sit_through(0.1, "the next one is to come later")
                *reads, reset = [one.finish() for one in peers]
                bench.initiator.guest.loss(0)
                expect(isinstance(reset, Response), "the reset is answered: %s" % (reset,))
                seen.add(reset.code)
                reads = [getattr(answer, "status", answer) for answer in reads]
                if reset.code == TMF_FAILED:
                    expect("timeout" not in reads, "both are answered (%d)" % number)
                else:
                    # A command may have ended before the reset, for want of memory.
                    equal((reset.code, {*reads} - {BUSY, "timeout"}), (0, set()),
                          "code of the reset, answers of commands (%d)" % number)
        equal(seen, {0, TMF_FAILED}, "codes of resets")


# Writes of an administrator, relative to configfs' srpt: what changes something, and
# what takes it back, which must work even when the first has failed.
CHANGES = {
    "port": ("mkdir srpt/0x{other}", "[ ! -d srpt/0x{other} ] || rmdir srpt/0x{other}"),
    "group": ("mkdir {tpg}2", "[ ! -d {tpg}2 ] || rmdir {tpg}2"),
    "entry": ("mkdir {tpg}/acls/0x{other}",
              "[ ! -d {tpg}/acls/0x{other} ] || rmdir {tpg}/acls/0x{other}"),
    "enable": ("echo 0 > {tpg}/enable; echo 1 > {tpg}/enable", "true"),
    "attribute": ("echo 512 > {tpg}/attrib/srp_sq_size", "true"),
    "listen": ("echo 5556 > srpt/discovery_auth/rdma_cm_port",
               "echo 5555 > srpt/discovery_auth/rdma_cm_port"),
    "port_id": ("echo nth > /sys/class/infiniband_srpt/srpt-rxe0-1/port_id", "true"),
    "vectors": ("echo 1 > /sys/class/infiniband_srpt/srpt-rxe0-1/comp_v_mask", "true"),
}


@longer
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("change", CHANGES)
def test_change(bench, memory, change):
    """what an administrator writes or makes: it works, or says ENOMEM, and works the
    next time; a login works afterwards"""
    target = bench.target
    with bench.configured():
        memory.of(CODE)
        names = {"tpg": target.tpg(), "other": "5" * 32}
        make, undo = (line.format(**names) for line in CHANGES[change])
        with memory.each(change, armed=False, some=False) as numbers:
            for number in numbers:
                memory.arm(number)
                done = target.shell(make, check=False)
                nothing = memory.disarm()
                if done.rc:
                    expect("Cannot allocate memory" in done.out,
                           "%s (%d) says what it lacks: %s" % (change, number, done.out))
                target.shell(undo)
                if nothing:
                    break
        equal(done.rc, 0, "status of the last, without a failure")
        bench.initiator.login()
        bench.initiator.logout()
        target.wait_for_connections(0)


@longer
@pytest.mark.timeout(3000)
def test_questions(bench, nth):
    """each question to device management is answered, or asked again and answered"""
    target = bench.target
    with bench.configured():
        nth.of(CODE)
        asker = Asker(bench)
        with nth.each("an answer of device management") as numbers:
            for _ in numbers:
                answer, = asker.ask("ioc-profile:1", timeout=500)
                expect(answer == "timeout" or isinstance(answer, Answer),
                       "an answer, or none: %s" % (answer,))
        answer, = asker.ask("ioc-profile:1")
        expect(isinstance(answer, Answer) and answer.status == 0, "an answer: %s" % (answer,))


@longer
@pytest.mark.timeout(3000)
def test_logout(bench, nth):
    """the end of a connection, by the initiator and by the target: it ends, and nothing
    is left"""
    target = bench.target
    with bench.configured(acls=[]):
        nth.of(CODE)
        with bench.peer() as one:
            target.add_acl(one.port_id)
        for how in "logout", "disconnect", "closed":
            with nth.each(how, armed=False) as numbers:
                for number in numbers:
                    with bench.peer() as one:
                        one.login()
                        one.settle()
                        nth.arm(number)
                        if how == "logout":
                            one.send(logout())
                        elif how == "disconnect":
                            one.order("disconnect")
                        else:
                            target.remove_acl(one.port_id)
                    until(lambda: target.queue_pairs() == 0, 60, "the connection has ended")
                    if how == "closed":
                        target.add_acl(one.port_id)
