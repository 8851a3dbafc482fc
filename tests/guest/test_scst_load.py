# SPDX-License-Identifier: GPL-2.0
#
# What an administrator does through SCST's sysfs tree while I/O runs, HCAs that
# go, and commands that take long in the device, with the SCST engine.
#
# Not here: the same for both engines (test_load.py, test_faults.py), names and
# attributes (test_scst.py).

import contextlib
import time

import pytest

from . import peer, slow
from .checks import equal, expect, until
from .initiator import UNTIL_STOPPED
from .scst import DRIVER, SYSFS
from .test_load import BOUND, fails, timed

pytestmark = pytest.mark.engine("scst")

# Task attribute.
ORDERED = 2


@pytest.mark.timeout(150)
def test_remove_lun(bench):
    """take a disk away under load; the other one goes on undisturbed"""
    target, initiator = bench.target, bench.initiator
    with bench.session(disks=2, megabytes=32) as (one, two):
        first = initiator.load(one, 60, "16m")
        second = initiator.load(two, 20, "16m")
        timed(target.must, "del 0", target.directory + "/luns/mgmt")
        fails(initiator, first)
        initiator.finish(second)
        equal(initiator.port_state(), ["running"], "remote ports")


@pytest.mark.timeout(150)
def test_remove_disk(bench):
    """take a device from SCST that is exported and in use"""
    target, initiator = bench.target, bench.initiator
    with bench.session(disks=2, megabytes=32) as (one, two):
        job = initiator.load(one, 60, "16m")
        timed(target.must, "del_device disk0",
              SYSFS + "/handlers/vdisk_fileio/mgmt")
        fails(initiator, job)
        initiator.fio(two, "1m")


@pytest.mark.timeout(180)
def test_unload(bench):
    """rmmod under load, enabled and configured; loaded again, it goes on"""
    target, initiator = bench.target, bench.initiator
    target.configure()
    initiator.login("max_sect=8192,ch_count=2")
    disk = "/dev/" + initiator.run("ls /sys/block | grep ^sd").out.split()[0]
    initiator.impatient()
    job = initiator.load(disk, 90)
    timed(target.unload)
    equal(target.queue_pairs(), 0, "queue pairs")
    equal(target.run("ls " + SYSFS + "/targets").out.split(),
          ["copy_manager"], "target drivers")
    fails(initiator, job)
    target.configure()
    until(lambda: initiator.port_state() == ["running"], BOUND,
          "the initiator is back")
    initiator.fio(disk, "1m")
    initiator.logout()
    target.unconfigure()


@pytest.mark.timeout(180)
def test_force_close(bench):
    """force_close of every session, three times under load; the initiator
    comes back and its data is right"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        for _ in range(3):
            timed(target.remove_acl, None)
            until(lambda: target.queue_pairs() == target.connections() == 2
                  and initiator.port_state() == ["running"], BOUND * 2,
                  "the initiator is back")
            initiator.moves(disk)
        initiator.stop(job, disk)


@pytest.mark.timeout(330)
def test_hca_goes(bench):
    """the HCA goes under load, and the target with it; it comes back without
    configuration, as with SCST's driver"""
    target, initiator = bench.target, bench.initiator
    target.configure()
    disk, = initiator.login()
    initiator.impatient()
    job = initiator.load(disk, 120)
    target.remove_hca()
    equal(target.run("ls " + DRIVER).out.split(), [], "targets")
    job.wait(90, check=False)
    initiator.logout()
    target.add_hca()
    until(lambda: target.run("ls " + DRIVER).out.split() == [target.name],
          20, "the target is back")
    equal(target.attribute("enabled"), "0", "enabled")
    target.configure()
    disk, = initiator.login()
    initiator.fio(disk, "1m")
    initiator.logout()
    target.unconfigure()


@pytest.mark.timeout(300)
def test_toggled_logins(bench):
    """enabled is switched on and off while an initiator tries to log in"""
    target, initiator = bench.target, bench.initiator
    with bench.configured():
        job = initiator.spawn("""
modprobe ib_srp
for i in $(seq 40); do
    echo '%s' > /sys/class/infiniband_srp/srp-rxe0-1/add_target && n=$((n+1))
    for f in /sys/class/srp_remote_ports/port-*/delete; do
        [ -e $f ] && echo 1 > $f
    done
done 2>/dev/null
echo "$n logins"
""" % initiator.string(), 250)
        on = True
        while job.poll() is None:
            on = not on
            timed(target.enable, on)
        done = job.wait(check=False)
        bench.say(done.out.strip())
        target.enable(True)
        initiator.logout(unload=False)
        disk, = initiator.login()
        initiator.fio(disk, "256k")
        initiator.logout()
        target.wait_for_connections(0)


# --- commands that take long ----------------------------------------------

@contextlib.contextmanager
def slow_disk(bench):
    """LUN 0 is a disk whose answers can be delayed; yields the function that
    sets by how many seconds."""
    target = bench.target
    target.slow_disk()
    yield lambda seconds: slow.delay(target, seconds)
    slow.delay(target, 0)
    target.wait_for_connections(0, 60)
    target.unconfigure()
    slow.remove(target)


@pytest.mark.timeout(180)
def test_closed_while_slow(bench):
    """a channel that closes while commands are in the device waits for them,
    and everything else goes on"""
    target = bench.target
    with slow_disk(bench) as delay, bench.peer() as one, \
            bench.peer(extension=9) as two:
        one.login()
        one.settle()
        delay(8)
        for n in range(4):
            expect(one.send(peer.cmd(n, peer.write_10(8 * n, 8),
                                     data_out=one.at(4096 * n, 4096))),
                   "command %d is sent" % n)
        one.order("disconnect")
        two.login()
        answer = two.ask(peer.cmd(1, peer.inquiry(), data_in=two.at(0, 36)))
        equal((answer.tag, answer.status), (1, 0), "answer to another")
        until(lambda: len(target.sessions()) == 1, 60,
              "the first session is gone")
        equal(target.queue_pairs(), 1, "queue pairs")
        two.order("disconnect")
        until(lambda: not target.sessions(), 30, "the sessions are gone")


@pytest.mark.timeout(180)
@pytest.mark.stock("each channel is a session there")
def test_login_while_slow(bench):
    """a channel that waits for the disk is in its session still, which the next
    login of its initiator joins, and which goes on when the first has left"""
    target = bench.target
    with slow_disk(bench) as delay, bench.peer() as one, bench.peer() as two:
        one.login()
        one.settle()
        name, = target.sessions()
        delay(8)
        expect(one.send(peer.cmd(1, peer.write_10(0, 8), data_out=one.at(0, 4096))),
               "a command is sent")
        one.order("disconnect")
        two.login()
        for channels in (2, 1):
            until(lambda: target.queue_pairs() == channels, 60, "%d channels" % channels)
            equal(target.sessions(), [name], "sessions")
            answer = two.ask(peer.cmd(channels, peer.inquiry(), data_in=two.at(0, 36)))
            equal((answer.tag, answer.status), (channels, 0), "answer to INQUIRY")
        two.order("disconnect")
        until(lambda: not target.sessions(), 30, "the session is gone")


@pytest.mark.timeout(180)
@pytest.mark.stock("each channel is a session there")
def test_left_behind(bench):
    """a write that waits for another channel's ORDERED one is not executed once its
    channel has gone"""
    with slow_disk(bench) as delay, bench.peer() as one, bench.peer() as two:
        one.login()
        one.settle()
        two.login(flags=peer.LOSOLNT | peer.MULTI)
        delay(6)
        expect(one.send(peer.cmd(1, peer.write_10(0, 8), data_out=one.at(0, 4096),
                                 attr=ORDERED)), "an ORDERED write is sent")
        two.fill(0, b"late" * 128)
        expect(two.send(peer.cmd(1, peer.write_10(64, 1), data_out=two.at(0, 512))),
               "a write behind it is sent")
        time.sleep(1)
        two.order("disconnect")
        answer = peer.Response(one.receive(30))
        equal((answer.tag, answer.status), (1, 0), "answer to the ORDERED write")
        delay(0)
        until(lambda: bench.target.queue_pairs() == 1, 30, "the other channel is gone")
        answer = one.ask(peer.cmd(2, peer.read_10(64, 1), data_in=one.at(0, 512)))
        equal((answer.tag, answer.status), (2, 0), "answer to the read")
        equal(one.dump(0, 512), bytes(512), "what the disk has")
        one.order("disconnect")


@pytest.mark.timeout(180)
def test_abort(bench):
    """ABORT TASK and LUN RESET of commands in a slow disk are answered; what
    was aborted stays silent, and its credit comes back"""
    with slow_disk(bench) as delay, bench.peer() as one:
        one.login()
        one.settle()
        delay(6)
        one.send(peer.cmd(0x101, peer.write_10(0, 8),
                          data_out=one.at(0, 4096)))
        answer = one.ask(peer.tsk_mgmt(6, peer.ABORT_TASK, task_tag=0x101), 60)
        equal((answer.tag, answer.code), (6, 0), "answer to ABORT TASK")
        one.send(peer.cmd(0x102, peer.write_10(0, 8),
                          data_out=one.at(0, 4096)))
        answer = one.ask(peer.tsk_mgmt(7, peer.LUN_RESET), 60)
        equal((answer.tag, answer.code), (7, 0), "answer to LUN RESET")
        delay(0)
        one.settle()
        answer = one.ask(peer.cmd(8, peer.inquiry(), data_in=one.at(0, 36)))
        equal((answer.tag, answer.status), (8, 0), "answer to INQUIRY")
        one.order("disconnect")
