# SPDX-License-Identifier: GPL-2.0
#
# srp_daemon and its units as Debian ships them, with the file of docs/admin.md for
# them, on a machine of its own with systemd and udev: who comes first, and what happens
# when an end comes late, goes or boots again. With TRANSPORT=ib only, as it takes long.
#
# Not here: srp_daemon started by hand (test_softib.py), the package of the target
# (tests/install).

import contextlib

import pytest

from conftest import TRANSPORT
from lab import hcas

from . import manual
from .checks import Late, equal, sit_through, until
from .lio import guid_name
from .subnet import TARGET, Subnet
from .test_softib import disk_of

pytestmark = pytest.mark.skipif(TRANSPORT != "ib", reason="it takes long: with TRANSPORT=ib")

# Network cards keep the names that the lab knows.
SYSTEMD = "lab.systemd net.ifnames=0"
SERVICE = "srp_daemon_port@rxe0:1.service"
FOLDER = "/etc/systemd/system/srp_daemon_port@.service.d"
FILE = "network.conf"


def is_started(end):
    """Wait until systemd has started what watches the port of a machine."""
    until(lambda: end.run(["systemctl", "is-active", SERVICE], check=False).out.strip() == "active",
          90, SERVICE + " is active")
    equal(end.run(["systemctl", "is-enabled", "srp_daemon.service"]).out.strip(), "enabled",
          "srp_daemon.service, by Debian's package,")


def works(end):
    """The disk is there, and data is right. A busy host may lose the notice of a trap;
    the unit's srp_daemon looks each minute."""
    try:
        disk = disk_of(end, 120)
    except Late as late:
        raise Late("%s; the journal:\n%s" % (late, end.run(
            "journalctl -b -u %s | tail -n 30" % SERVICE).out)) from None
    end.fio(disk, "1m", "16k", 8)


@contextlib.contextmanager
def machine(bench, tmp_path):
    """Yields the second subnet and the machine with systemd on it, which has booted."""
    hcas.SOFTIB.module(bench.pair.target.kernel)
    (tmp_path / FILE).write_text(manual.block("%s/%s" % (FOLDER, FILE)))
    second = Subnet(bench)
    with second, second.third(SYSTEMD, shares=[(tmp_path, FOLDER, "ro")]) as other:
        is_started(other)
        yield second, other


def leave(bench, other):
    """Nothing logs in again, and the session ends."""
    other.run(["systemctl", "stop", "srp_daemon.service", SERVICE])
    other.logout(unload=False)
    bench.target.wait_for_connections(0)


@pytest.mark.timeout(720)
@pytest.mark.stock("it announces itself before it lets anybody in")
def test_orders(bench, tmp_path):
    """the initiator's machine boots first, the target's module is loaded late, and lets
    it in later still: the disk comes; the module goes and comes: it is back; the
    initiator's machine boots again: it is there"""
    target = bench.target
    with machine(bench, tmp_path) as (_, other):
        equal(other.run(["systemctl", "show", "-p", "PrivateNetwork", SERVICE]).out.strip(),
              "PrivateNetwork=no", "what the unit has of the file")
        names = [guid_name(other.guid)]
        with bench.configured(acls=[], disks=0, enable=False):
            sit_through(5, "it looks at a target that is not enabled")
            equal(other.hosts(), [], "sessions before it is enabled")
            target.share(other.target_gid, *names)
            works(other)
        with bench.configured(acls=[], disks=0, enable=False):
            target.share(other.target_gid, *names)
            until(lambda: target.connections() > 0, 90, "the session is made again")
            works(other)
            other.guest.poweroff()
            other.restart()
            other.wait_active()
            is_started(other)
            works(other)
            leave(bench, other)


@pytest.mark.timeout(480)
def test_together(bench, tmp_path):
    """both machines boot at the same time: the disk comes"""
    target = bench.target
    with machine(bench, tmp_path) as (second, other):
        both = target.guest, other.guest
        for guest in both:
            guest.kill()
        for guest in both:
            guest.launch()
        target.guest.ready()
        target.prepare()
        second.plug(target, TARGET)
        with bench.configured(acls=[], disks=0, enable=False):
            target.share(other.target_gid, guid_name(other.guid))
            other.guest.ready()
            is_started(other)
            works(other)
            leave(bench, other)
