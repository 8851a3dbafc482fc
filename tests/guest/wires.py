# SPDX-License-Identifier: GPL-2.0
#
# A session over a wire of its own, which is cut, or made bad, while another session goes
# on: how it logs in, is watched and comes back.
#
# Not here: when that is done, and what must be seen (test_wires.py).

import contextlib
import signal
import time

from lab.guest import quick

from .checks import Failed, Late, equal, expect, sit_through, until
from .initiator import UNTIL_STOPPED
from .lio import SRPT
from .test_multipath import ADDRESSES, second_network
from .test_ports import gid_of

HCA = "rxe1"
# A lost connection is noticed with few retries, after some 8 s.
LOGIN = "max_sect=8192,ch_count=1,tl_retry_count=2"
IMMEDIATE = "/sys/module/ib_srp/parameters/use_imm_data"
# Seconds until a session is back after the worst that is done to its wire. An attempt to
# log in that was begun meanwhile is given up after 80 s.
BACK = 150

PORT = """
backstore disk1 %(pages)d
mkdir -p %(tpg)s
lun %(tpg)s 0 disk1
acl %(tpg)s %(name)s
echo 1 > %(tpg)s/enable
"""

LISTED = "ls -d /sys/class/infiniband_srpt/*/sessions/* | wc -l"

# Prints the time and the numbers of requests so far, twice a second.
WATCH = """
while read -r now rest < /proc/uptime && read -r r x x x w x < %s; do
    echo $now $((r + w))
    sleep 0.5
done
"""


class Disturbed:
    """The session, its disk, its portal group, and its wire: netem() of
    second_network()."""

    def __init__(self, bench, netem):
        self.bench, self.netem = bench, netem
        self.target, self.initiator = bench.target, bench.initiator
        self.tpg = "%s/%s/tpgt_1" % (SRPT, gid_of(self.target, HCA))
        self.disk = self.granted = self.job = None
        # The queue pairs of the other session.
        self.others = self.target.queue_pairs()

    def configure(self, megabytes=16):
        name = "0x" + "0" * 16 + gid_of(self.initiator, HCA)[-16:]
        self.target.shell(PORT % {"pages": megabytes * 256, "tpg": self.tpg, "name": name})

    def enable(self, on=True):
        self.target.quick("echo %d > %s/enable" % (on, self.tpg), timeout=30)

    def logs_in(self):
        """A job that logs in and prints the disk."""
        return self.initiator.spawn(quick(self.initiator.login_script(
            LOGIN, dest=ADDRESSES[0], hca=HCA)), timeout=240)

    def logs_out(self):
        """A job that logs out."""
        return self.initiator.spawn(quick(self.initiator.logout_script(
            unload=False, ports="port-%d:*" % self.host())), timeout=240)

    def log_in(self, job=None):
        """Log in, or take what such a job has found, if it has: a login that met a cut
        may fail, or come without its disk; the next one must not."""
        done = (job or self.logs_in()).wait(240, check=False)
        if job and done.rc:
            if self.host() is not None:
                self.logs_out().wait(240)
            done = self.logs_in().wait(240, check=False)
        equal(done.rc, 0, "status of the login, which says %s:" % done.out)
        self.disk, = done.out.split()
        self.initiator.patient()
        # Commands with which the disk is looked at may be under way, even all the time.
        self.granted = max(self.credits() for _ in range(5))

    def credits(self):
        """How many requests its initiator may send."""
        return int(self.initiator.quick(
            "cat /sys/class/scsi_host/host%d/req_lim" % self.host()).out)

    def is_whole(self):
        """With a good wire nothing is left of what happened: no dead queue pair, a reset is
        answered, no credit is missing."""
        until(lambda: self.target.queue_pairs() == self.target.connections(), 60,
              "no dead queue pair is left on the target")
        until(lambda: int(self.target.quick(LISTED).out) == self.target.connections(), 10,
              "sysfs lists the connections that there are")
        # -N: no new login if the reset is not answered.
        equal(self.initiator.run(["sg_reset", "-N", "-d", self.disk], check=False).rc, 0,
              "status of a reset")
        self.has_credits()

    def has_credits(self):
        """With the connection that there is now, the initiator has as many as it was seen to
        have after its login. A load waits meanwhile."""
        loaded = self.job and self.job.poll() is None
        if loaded:
            self.job.signal(signal.SIGSTOP)
        try:
            until(lambda: self.credits() >= self.granted, 10, "credits")
        except Late:
            raise Failed("the initiator has %d credits, not %d as after its login" % (
                self.credits(), self.granted)) from None
        finally:
            if loaded:
                self.job.signal(signal.SIGCONT)

    def log_out(self, job=None):
        (job or self.logs_out()).wait(240)
        self.disk = None
        until(lambda: self.target.queue_pairs() == self.others, 60,
              "nothing of the session is left on the target")

    def host(self):
        """The number of its SCSI host, None without a session."""
        out = self.initiator.quick(
            "for h in /sys/class/scsi_host/host*; do [ \"$(cat $h/local_ib_device 2>/dev/null)\" "
            "= %s ] && echo ${h##*host}; done; true" % HCA).out.split()
        return int(out[-1]) if out else None

    def load(self, more=()):
        """I/O that verifies until stop()."""
        self.job = self.initiator.load(self.disk, UNTIL_STOPPED, "8m", depth=8, more=more)
        return self.job

    def moves(self, before):
        """Has data moved? A load that has ended says why: other data is no matter of time."""
        if self.job.poll() is not None:
            self.initiator.finish(self.job)
        return self.initiator.sectors(self.disk) > before

    def cut(self, moment, seconds, ends):
        """Cut what these ends send, at a moment, for so long."""
        sit_through(moment, "the moment of the cut")
        self.netem("loss 100%", ends)
        sit_through(seconds, "the length of the cut")
        self.netem()

    def back(self):
        """Wait until data moves again; returns the seconds."""
        began, before = time.monotonic(), self.initiator.sectors(self.disk)
        until(lambda: self.moves(before), BACK, "data moves again", 0.1)
        until(lambda: set(self.initiator.port_state()) == {"running"}, BACK,
              "all sessions run")
        return time.monotonic() - began

    @contextlib.contextmanager
    def watched(self):
        """Yields a list that has (time, IOPS) at the end."""
        found = []
        job = self.initiator.spawn(quick(WATCH % self.initiator.stat(self.disk)), timeout=600)
        yield found
        job.kill()
        job.wait(20, check=False)
        points = [tuple(map(float, line.split())) for line in job.output.splitlines()[:-1]]
        found += [(b[0], (b[1] - a[1]) / (b[0] - a[0])) for a, b in zip(points, points[1:])
                  if b[0] > a[0]]

    def now(self):
        """The time on the clock of watched()."""
        return float(self.initiator.run("cat /proc/uptime").out.split()[0])


@contextlib.contextmanager
def beside_a_session(bench):
    """A session that the target must not end, with verified I/O, and a Disturbed that is
    configured; both are as they were and gone at the end."""
    initiator = bench.initiator
    with second_network(bench) as netem, bench.session("ch_count=1", megabytes=16) as disk:
        initiator.patient()
        other = Disturbed(bench, netem)
        other.configure()
        job = initiator.load(disk, UNTIL_STOPPED, "8m", depth=2)
        mark = bench.target.mark()
        yield other
        initiator.moves(disk)
        initiator.stop(job, disk)
        equal(ended_by_target(bench, mark), [], "ends of the other session that are the target's")
        expect(bench.target.queue_pairs() == other.others, "its queue pairs are all there are")


def ended_by_target(bench, mark):
    """What the target said, since a mark, of channels of the initiator's first HCA that it
    ended. One that the initiator ends may be the doing of its rdma_rxe: when a busy host keeps
    acknowledgements back, that repeats what is unacknowledged, with registrations of memory
    among it, which fail the second time (req_retry(), rxe_reg_fast_mr())."""
    return [line for line in bench.target.log_since(mark).splitlines()
            if bench.initiator.port_id + ": closing: " in line
            and not line.endswith("disconnected by initiator")]
