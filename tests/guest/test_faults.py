# SPDX-License-Identifier: GPL-2.0
#
# Trouble from outside while I/O runs: a cut wire, lost packets, a machine that
# dies, an HCA that goes away.
#
# A wire is cut by losing every packet, as when a switch between the machines
# dies. If a machine's own link goes down, rdma_rxe puts the queue pair for
# management datagrams into the error state at the next send, and does not get
# it out again: no login is possible until rxe0 is made anew.
#
# Not here: what an administrator does (test_load.py), peers that break the
# protocol (test_rogue.py).

import contextlib
import os
import time

import pytest

from .checks import contains, equal, expect, sit_through, until
from .initiator import TOOLS, UNTIL_STOPPED
from .peer import cmd, read_10, write_10

BOUND = 60


def cut(bench):
    """No packet passes any more, in either direction."""
    bench.pair.loss(100)


def mend(bench):
    bench.pair.loss(0)


def goes_on(bench, job, disk):
    """The target's HCA comes; the initiator is back by itself, with its data; returns
    the seconds."""
    bench.target.add_hca()
    began = time.monotonic()
    until(lambda: bench.initiator.port_state() == ["running"], 150,
          "the initiator is back")
    seconds = time.monotonic() - began
    bench.initiator.stop(job, disk)
    return seconds


def dropped(bench):
    """Packets of the target that were lost so far."""
    sent = bench.target.run("tc -s qdisc show dev eth0").out
    return int(sent.split("dropped ")[1].split(",")[0])


@contextlib.contextmanager
def rxe_gives_up(bench):
    """What rdma_rxe says then is excused."""
    with contextlib.ExitStack() as stack:
        for guest in bench.pair.guests:
            stack.enter_context(guest.console.allowing(
                "rxe_comp.c:.* at rxe_completer|Call Trace:",
                "a check in rdma_rxe that fails when it gives up on lost "
                "packets, whatever the target"))
        yield


@pytest.mark.timeout(240)
def test_packet_loss(bench):
    """Packets lost in both directions: login, data, logout.

    1 % for requests of a few packets, 0.2 % for those of many: rdma_rxe sends
    a request anew from its first lost packet on, seven times, and at 1 % gives
    up so often, with either target, that ib_srp does little but reconnect."""
    initiator = bench.initiator
    with rxe_gives_up(bench), bench.configured():
        before = dropped(bench)
        bench.pair.loss(1)
        disk, = initiator.login()
        initiator.patient()
        initiator.fio(disk, "2m", "4k", 8, timeout=120)
        bench.pair.loss(0.2)
        initiator.fio(disk, "4m", "64k", 4, timeout=120)
        expect(dropped(bench) > before, "packets were lost")
        initiator.logout()
        bench.pair.loss(0)
        bench.target.wait_for_connections(0, BOUND)


@pytest.mark.timeout(330)
def test_wire_cut(bench):
    """the wire is cut for 60 s; I/O waits, goes on, and is verified"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        cut(bench)
        sit_through(60, "nothing is to happen for so long")
        equal(job.poll(), None, "status of the load while it waits")
        begin = initiator.sectors(disk)
        mend(bench)
        began = time.monotonic()
        until(lambda: initiator.sectors(disk) > begin, 120,
              "data moves again")
        bench.fault("wire cut for 60 s", "data right", time.monotonic() - began)
        initiator.moves(disk)
        initiator.stop(job, disk)
        until(lambda: target.queue_pairs() == target.connections(), BOUND,
              "no dead queue pair is left on the target")


@pytest.mark.timeout(240)
def test_short_cut(bench):
    """the wire is cut for 3 s, three times; data is verified"""
    initiator = bench.initiator
    with bench.session() as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        for _ in range(3):
            cut(bench)
            sit_through(3, "the cut is to last so long")
            mend(bench)
            initiator.moves(disk, 90)
        initiator.stop(job, disk)


@pytest.mark.timeout(330)
def test_initiator_dies(bench):
    """the initiator loses power under load; it comes back, logs in with the
    same identity, and nothing of its former life is left"""
    target, initiator = bench.target, bench.initiator
    target.configure([initiator.port_id])
    disk, = initiator.login("max_sect=8192,ch_count=2")
    initiator.load(disk, 200)
    expect(target.connections() == 2, "two connections")
    initiator.guest.kill()
    initiator.restart()
    # A machine that boots the same way gets the same queue pair numbers. The
    # connection manager takes the first logins for stale ones and refuses
    # them, which ends the old connections.
    until(lambda: initiator.try_login("max_sect=8192,ch_count=2",
                                      disks=0).rc == 0, BOUND, "a login", 1)
    disk = until(lambda: initiator.run("ls -d /dev/sd?; true").out.split(),
                 20, "a disk")[0]
    # Old ones may be as good as new until their end is through.
    until(lambda: target.queue_pairs() == target.connections()
          == initiator.channels(), BOUND,
          "only the new connections are left")
    initiator.fio(disk, "4m")
    initiator.logout()
    target.wait_for_connections(0)
    target.unconfigure()


@pytest.mark.timeout(240)
def test_initiator_never_returns(bench):
    """the initiator loses power under load and stays away; everything can
    be removed and the module unloaded"""
    target, initiator = bench.target, bench.initiator
    target.configure([initiator.port_id])
    disk, = initiator.login("max_sect=8192,ch_count=2")
    initiator.load(disk, 200)
    initiator.guest.kill()
    target.unconfigure(timeout=120)
    equal(target.queue_pairs(), 0, "queue pairs")
    # For the next test.
    initiator.restart()


# Of a disk that survives its machine.
DISK_SIZE = 64 << 20


@pytest.mark.timeout(330)
@pytest.mark.engine("lio")
@pytest.mark.skipif(not os.environ.get("CUTS"), reason="it takes minutes: CUTS=<number>")
@pytest.mark.unsanitized("it has no driver for disks of QEMU")
def test_target_dies(bench):
    """the target loses power under writes, and comes back with its disk and its
    configuration: the session comes back by itself, every write that was acknowledged is
    there"""
    target, initiator = bench.target, bench.initiator
    image = target.guest.run_dir / "disk.image"
    with open(image, "wb") as file:
        file.truncate(DISK_SIZE)

    def export():
        # As targetcli makes it, without a write cache: a write is on the disk before it is
        # acknowledged.
        target.guest.add_disk(image)
        target.export("d=/dev/vda\n", "fileio", "fd_dev_name=/dev/vda,fd_dev_size=%d"
                      % DISK_SIZE, [initiator.port_id])

    export()
    disk, = initiator.login()
    initiator.patient()
    tool, log = TOOLS + "/acknowledged.py", "/tmp/acknowledged"
    job = initiator.spawn([tool, "write", disk, log], timeout=300, keep_input=True)
    until(lambda: initiator.sectors(disk) > 4000, 60, "writes are under way")
    target.guest.kill()
    job.close_input()
    began = time.monotonic()
    target.guest.start()
    target.prepare()
    export()
    booted = time.monotonic()
    until(lambda: initiator.port_state() == ["running"], 120, "the session is back")
    seconds = time.monotonic() - booted
    bench.say(job.wait(120).out)
    done = initiator.run([tool, "check", disk, log], timeout=120, check=False)
    bench.say(done.out)
    expect(done.rc == 0 and " of 0 " not in done.out, "no write is lost: " + done.out)
    bench.fault("the target loses power", "back after %.0f s; %s" % (
        booted - began, done.out.strip()), seconds)
    initiator.fio(disk, "1m")
    initiator.logout()
    target.wait_for_connections(0)
    target.unconfigure()
    target.guest.remove_disk()
    image.unlink()


@pytest.mark.timeout(240)
@pytest.mark.stock("it does not notice before it has something to send")
def test_idle_initiator_dies(bench):
    """an initiator without a command under way loses power; its connections
    end by themselves, whether its HCA's retries ever end (2) or not (7)"""
    target, initiator = bench.target, bench.initiator
    with tcp_gives_up(target):
        idle_initiator_dies(target, initiator)


@contextlib.contextmanager
def tcp_gives_up(target):
    """After some 13 s instead of a quarter of an hour: over iWARP a probe is done
    when TCP has taken it, and it is TCP that gives a silent peer up."""
    setting = "/proc/sys/net/ipv4/tcp_retries2"
    before = target.read(setting)
    target.write(setting, 5)
    try:
        yield
    finally:
        target.write(setting, before)


def idle_initiator_dies(target, initiator):
    for retries, bound in (2, 60), (7, 120):
        target.configure([initiator.port_id])
        initiator.login("max_sect=8192,ch_count=2,tl_retry_count=%d" % retries)
        expect(target.connections() == 2, "two connections")
        sit_through(30, "nothing is to happen for so long")
        equal(target.connections(), 2, "connections while nothing happens")
        initiator.guest.kill()
        target.wait_for_connections(0, bound)
        initiator.restart()
        target.unconfigure()


@pytest.mark.timeout(330)
def test_hca_removed(bench):
    """the target's HCA goes under load and comes back; a login works"""
    hca_removed(bench, BOUND, 90)


def hca_removed(bench, bound, patience):
    """The same for any HCA: it goes within `bound`, the load ends within
    `patience`, in seconds."""
    target, initiator = bench.target, bench.initiator
    target.configure([initiator.port_id])
    disk, = initiator.login("max_sect=8192,ch_count=2")
    initiator.impatient()
    job = initiator.load(disk, 120)
    target.remove_hca(bound)
    equal(target.queue_pairs(), 0, "queue pairs")
    done = job.wait(patience, check=False)
    expect(done.rc != 0, "the load ends with an error")
    # A login that is being tried ends soon then.
    target.add_hca()
    initiator.logout()
    if not target.keeps_configuration:
        target.unconfigure()
        target.configure([initiator.port_id])
    disk, = initiator.login()
    initiator.fio(disk, "1m")
    initiator.logout()
    target.wait_for_connections(0)
    target.unconfigure()


@pytest.mark.timeout(330)
@pytest.mark.engine("lio")
@pytest.mark.stock("a new HCA does not find the old configuration")
def test_hca_returns(bench):
    """the target's HCA goes and returns; the initiator reconnects by itself
    and its data is verified"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        target.remove_hca(BOUND)
        bench.fault("the HCA goes and returns", "data right", goes_on(bench, job, disk))


@pytest.mark.timeout(330)
@pytest.mark.engine("lio")
@pytest.mark.stock("it waits for ever")
@pytest.mark.parametrize("fault, shared", [("refuse", 0), ("lose", 1)])
def test_hca_stuck(bench, fault, shared):
    """the target's HCA does not flush queue pairs, or loses completions, under load:
    its removal ends, and what was under way is verified when it is back"""
    target, initiator = bench.target, bench.initiator
    if fault == "refuse" and target.guest.transport == "siw":
        bench.skip("siw flushes a queue pair with its connection, by no verb")
    with bench.target_module("stuck"), \
            bench.session(attributes={"use_srq": shared}) as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        target.run("echo Y > /sys/module/stuck/parameters/" + fault)
        target.remove_hca(BOUND)
        # Two at least: the initiator may have come back before the removal.
        expect(int(target.run("dmesg | grep -c 'does not complete'").out) >= 2,
               "queue pairs were broken off")
        target.run("echo N > /sys/module/stuck/parameters/" + fault)
        bench.fault("an HCA that hangs (%s) goes and returns" % fault, "data right",
                    goes_on(bench, job, disk))


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock("it frees what is in use")
@pytest.mark.parametrize("shared", [0, 1], ids=["own", "shared"])
def test_received_twice(bench, shared):
    """the target's HCA reports a request twice, the second time while its buffer is in use:
    it is executed once, its data is right, and the connection goes on"""
    target = bench.target
    data = os.urandom(4096)
    with bench.target_module("stuck"), \
            bench.configured(acls=[], attributes={"use_srq": shared}), \
            bench.peer() as one:
        target.add_acl(one.port_id)
        one.login()
        one.settle()
        one.fill(0, data)
        mark = target.mark()
        target.run("echo Y > /sys/module/stuck/parameters/twice")
        # Its data is fetched, and until then it is not answered.
        equal(one.ask(cmd(1, write_10(0, 1024), data_out=one.at(0, 524288)), 30).status, 0,
              "status of the write")
        target.run("echo N > /sys/module/stuck/parameters/twice")
        contains(target.log_since(mark), "a request was completed twice", "the log")
        one.fill(0, bytes(4096))
        answer = one.ask(cmd(2, read_10(0, 8), data_in=one.at(0, 4096)))
        equal((answer.tag, answer.status), (2, 0), "tag and status of the next answer")
        equal(one.dump(0, 4096), data, "what was written")
    target.wait_for_connections(0)


@pytest.mark.timeout(330)
def test_hca_gone_for_good(bench):
    """without its HCA the target can be unconfigured and unloaded"""
    target, initiator = bench.target, bench.initiator
    target.configure([initiator.port_id])
    disk, = initiator.login()
    initiator.impatient()
    job = initiator.load(disk, 120)
    target.remove_hca(BOUND)
    target.unconfigure(timeout=BOUND)
    job.wait(90, check=False)
    initiator.logout()
    target.add_hca()


@pytest.mark.timeout(150)
def test_load_without_hca(bench):
    """the module loads without any HCA and serves one that comes later"""
    target, initiator = bench.target, bench.initiator
    target.remove_hca()
    if target.variant == "rust":
        target.load("rdma_cm_port=5555")
    else:
        target.load()
    target.add_hca()
    with bench.configured():
        disk, = initiator.login()
        initiator.fio(disk, "256k")
        initiator.logout()
        target.wait_for_connections(0)


@pytest.mark.timeout(120)
@pytest.mark.stock("it does nothing about them")
@pytest.mark.parametrize("event", ["srq_err", "last_wqe", "cq_err"])
def test_given_up(bench, event):
    """the HCA gives up a queue pair, its completion queue or a shared receive
    queue, without any request that would fail: the session ends, and the next one works"""
    target, initiator = bench.target, bench.initiator
    with bench.target_module("bad_news"), \
            bench.configured(attributes={"use_srq": 1}):
        with bench.peer(extension=0) as one:
            one.login()
            one.settle()
            target.run("echo %s > /sys/module/bad_news/parameters/report" % event)
            equal(one.ended(15), None, "reason of a logout")
        target.wait_for_connections(0)
        disk, = initiator.login()
        initiator.fio(disk, "1m")
        initiator.logout()
        target.wait_for_connections(0)
