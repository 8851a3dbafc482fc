# SPDX-License-Identifier: GPL-2.0
#
# The administrator's hand while I/O runs: disabling, removing disks, entries,
# portal groups and the module, resets and aborted commands. Whatever is done
# must return soon, and no data may be wrong.
#
# Not here: trouble from outside, such as a cut wire (test_faults.py).

import time

import pytest

from . import slow
from .checks import contains, equal, expect, until
from .initiator import UNTIL_STOPPED
from .lio import SRPT

# Whatever an administrator does must return within this many seconds.
BOUND = 30


def fails(initiator, job, timeout=60):
    """The load must end with an error, and not hang."""
    done = job.wait(timeout, check=False)
    expect(done.rc != 0, "the load ends with an error:\n" + done.out[-800:])
    initiator.run("true")


def timed(function, *args, **kwargs):
    """Call it; it must return within BOUND seconds."""
    began = time.monotonic()
    function(*args, timeout=BOUND, **kwargs)
    return time.monotonic() - began


@pytest.mark.timeout(240)
def test_disable_enable(bench):
    """disable and enable under load, three times; the data is verified"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        for _ in range(3):
            timed(target.enable, False)
            until(lambda: initiator.port_state() != ["running"], BOUND,
                  "the initiator notices")
            target.wait_for_connections(0)
            equal(job.poll(), None, "status of the load, which must wait")
            timed(target.enable, True)
            until(lambda: initiator.port_state() == ["running"], BOUND,
                  "the initiator is back")
            initiator.moves(disk)
        initiator.stop(job, disk)


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
def test_remove_lun(bench):
    """take a disk away under load; the other one goes on undisturbed"""
    target, initiator = bench.target, bench.initiator
    with bench.session(disks=2, megabytes=32) as disks:
        one, two = disks
        first = initiator.load(one, 60, "16m")
        second = initiator.load(two, 20, "16m")
        acl = "%s/acls/%s" % (target.tpg(), initiator.port_id)
        timed(target.shell, "drop_lun %s/lun_0" % acl)
        fails(initiator, first)
        timed(target.shell, "drop_lun %s/lun/lun_0" % target.tpg())
        initiator.finish(second)
        equal(initiator.port_state(), ["running"], "remote ports")


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
def test_remove_used_lun(bench):
    """take the disk out of a logical unit that entries refer to"""
    target, initiator = bench.target, bench.initiator
    with bench.session(disks=2, megabytes=32) as disks:
        job = initiator.load(disks[0], 60, "16m")
        timed(target.run, "rm %s/lun/lun_0/disk" % target.tpg())
        fails(initiator, job)
        initiator.fio(disks[1], "1m")


@pytest.mark.timeout(150)
@pytest.mark.engine("lio")
def test_remove_acl(bench):
    """remove the access control entry under load; put back, it works again"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.impatient()
        job = initiator.load(disk, 90)
        timed(target.remove_acl, initiator.port_id)
        target.wait_for_connections(0)
        fails(initiator, job)
        expect(initiator.port_state() != ["running"], "the port is not "
               "running")
        target.add_acl(initiator.port_id)
        until(lambda: initiator.port_state() == ["running"], BOUND,
              "the initiator is back")
        initiator.fio(disk, "1m")


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
def test_remove_everything(bench):
    """remove portal group and port under load, then unload the module"""
    target, initiator = bench.target, bench.initiator
    target.configure([initiator.port_id])
    disk, = initiator.login("max_sect=8192,ch_count=2")
    initiator.impatient()
    job = initiator.load(disk, 90)
    timed(target.shell, "drop_tpg %s" % target.tpg())
    target.wait_for_connections(0)
    timed(target.run, "rmdir %s/%s" % (SRPT, target.gid))
    fails(initiator, job)
    timed(target.unconfigure)
    initiator.logout()


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
def test_remove_module(bench):
    """rmmod under load: refused while configured, clean once it is not"""
    target, initiator = bench.target, bench.initiator
    target.configure([initiator.port_id])
    disk, = initiator.login()
    initiator.impatient()
    job = initiator.load(disk, 90)
    done = target.run("rmmod ib_srpt", timeout=BOUND, check=False)
    expect(done.rc != 0, "refused while configured")
    contains(done.out, "in use", "the error")
    initiator.moves(disk)
    timed(target.unconfigure)
    equal(target.queue_pairs(), 0, "queue pairs")
    fails(initiator, job)
    # It comes back as if nothing had been.
    target.configure([initiator.port_id])
    until(lambda: initiator.port_state() == ["running"], BOUND,
          "the initiator is back")
    initiator.fio(disk, "1m")
    initiator.logout()
    target.unconfigure()


@pytest.mark.timeout(150)
def test_listener_gone(bench):
    """without the listener, sessions go on and logins fail"""
    target, initiator = bench.target, bench.initiator
    with bench.session() as disk:
        job = initiator.load(disk, UNTIL_STOPPED)
        equal(target.listen(0), "", "error of switching it off")
        initiator.moves(disk)
        done = initiator.try_login("initiator_ext=1", disks=0)
        expect(done.rc != 0, "a login fails")
        initiator.stop(job, disk)
        equal(target.listen(5555), "", "error of switching it on")


@pytest.mark.timeout(180)
def test_resets(bench):
    """LUN resets and host resets from the initiator under load"""
    target, initiator = bench.target, bench.initiator
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.patient()
        job = initiator.load(disk, UNTIL_STOPPED)
        before = target.resets()
        for _ in range(3):
            initiator.run("sg_reset -d " + disk, timeout=BOUND)
            initiator.moves(disk)
        if before is not None:
            equal(target.resets() - before, 3,
                  "resets that the target counted")
        for _ in range(2):
            initiator.run("sg_reset -H " + disk, timeout=BOUND)
            until(lambda: initiator.port_state() == ["running"], BOUND,
                  "the initiator is back")
            initiator.moves(disk)
        initiator.stop(job, disk)


@pytest.mark.timeout(240)
def test_timeouts(bench):
    """commands that take too long are aborted; what follows is right"""
    target, initiator = bench.target, bench.initiator
    target.slow_disk([initiator.port_id])
    disk, = initiator.login()
    initiator.fio(disk, "1m")
    expect(not target.aborts(), "nothing was aborted at the beginning")
    mark = initiator.mark()
    initiator.run("echo 1 > /sys/block/%s/device/timeout" % disk[5:])
    # Otherwise the initiator gives the disk up after two time-outs.
    initiator.run("for f in /sys/class/scsi_disk/*/max_medium_access_timeouts;"
                  " do echo 100 > $f; done")
    # 4 s for an answer, 1 s of patience.
    slow.delay(target, 4)
    job = initiator.spawn("dd if=/dev/zero of=%s bs=4k count=4 oflag=direct"
                          % disk, timeout=120)
    if target.aborts() is None:
        until(lambda: "abort" in initiator.log_since(mark), 60,
              "the initiator sends an ABORT TASK")
    else:
        until(lambda: target.aborts() > 0, 60,
              "the target gets an ABORT TASK")
    slow.delay(target, 0)
    job.wait(100, check=False)
    initiator.run("echo 30 > /sys/block/%s/device/timeout" % disk[5:])
    until(lambda: initiator.port_state() == ["running"], BOUND,
          "the initiator is back")
    until(lambda: initiator.run("cat /sys/block/%s/device/state"
                                % disk[5:]).out.strip() == "running", BOUND,
          "the disk is running")
    initiator.fio(disk, "1m")
    initiator.logout()
    target.wait_for_connections(0, 60)
    target.unconfigure()
    slow.remove(target)
