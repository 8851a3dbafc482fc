# SPDX-License-Identifier: GPL-2.0
#
# What logs initiators in at boot: srp_daemon's rules, and the script for RoCE,
# both as docs/admin.md has them.
#
# Not here: what srp_daemon asks a target (test_dm.py), and what it does on
# InfiniBand (test_softib.py); it reads its rules before it looks at the port.

import pytest

from . import manual
from .checks import contains, equal, expect, until
from .target import CM_PORT

RULES, LOGINS = "/tmp/srp_daemon.conf", "/etc/srp_login.conf"
SCRIPT = "/usr/local/sbin/srp_login"


# Runs a command and prints what it says to the system's log.
LISTEN = r"""
import socket, subprocess, sys
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
subprocess.run(sys.argv[1:], timeout=20)
log.setblocking(False)
try:
    while True:
        print(log.recv(4096).decode())
except BlockingIOError:
    pass
"""


def daemon(initiator, rules):
    """What srp_daemon says with these rules."""
    initiator.guest.put(RULES, rules)
    out = initiator.run(["python3", "-c", LISTEN, "srp_daemon", "-o", "-c",
                         "-f", RULES, "-i", "rxe0"]).out
    initiator.run("rm /dev/log")
    return out


@pytest.mark.timeout(60)
@pytest.mark.roce("srp_daemon asks device management, which iWARP has not")
def test_srp_daemon_rules(bench):
    """srp_daemon takes the rules of docs/admin.md, and then refuses RoCE; it
    does not take others"""
    initiator = bench.initiator
    rules = manual.block("/etc/srp_daemon.conf",
                         target_guid=bench.target.service_guid)
    said = daemon(initiator, rules)
    contains(said, "Unsupported link layer Ethernet", "srp_daemon")
    expect("Bad syntax" not in said, "it has nothing against the rules")
    contains(daemon(initiator, rules.replace("max_sect", "max_sectors")),
             "Bad syntax in rules file %s line 2" % RULES, "srp_daemon")
    initiator.run("rm " + RULES)


@pytest.mark.timeout(60)
@pytest.mark.roce("it is about srp_daemon, and GUIDs of ports")
@pytest.mark.engine("lio")
def test_unit_line(bench):
    """what the distribution's unit makes srp_daemon write, and the entry that
    docs/admin.md has for it"""
    target, initiator = bench.target, bench.initiator
    unit = initiator.run("cat /usr/lib/systemd/system/srp_daemon_port@.service").out
    command, = [line for line in unit.splitlines()
                if line.startswith("ExecStart=")]
    expect(" -n " in command, "the unit asks for initiator_ext: " + command)
    entry = "0x5054000000000001" + "5054000000000002"
    contains((bench.repo / "docs/admin.md").read_text(), "`%s`" % entry,
             "docs/admin.md")
    entry = entry.replace("5054000000000001", target.guid).replace(
        "5054000000000002", initiator.guid)
    line = "initiator_ext=" + target.guid
    with bench.configured():
        mark = target.mark()
        expect(initiator.refused(line) is not None, "another entry keeps it out")
        if target.variant == "rust":
            contains(target.log_since(mark), "it may be named " + entry,
                     "the target's log")
        target.add_acl(entry)
        initiator.login(line)
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")


@pytest.mark.timeout(120)
def test_login_script(bench):
    """the script of docs/admin.md logs in to what its file names, once, and
    says what it cannot reach"""
    target, initiator = bench.target, bench.initiator
    lines = manual.block(LOGINS, target_guid=target.service_guid,
                         hca=initiator.guest.hca, target_ip=target.guest.ip)
    initiator.guest.put(SCRIPT, manual.block(SCRIPT), 0o755)
    initiator.guest.put(LOGINS, lines)
    initiator.run("modprobe sd_mod")
    with bench.configured():
        for _ in range(2):
            done = initiator.run([SCRIPT], check=False)
            equal((done.rc, done.out), (0, ""), "status and words")
            equal(len(initiator.hosts()), 1, "logins")
        disk, = until(lambda: initiator.run(
            "cd /sys/block; for d in sd*; do [ -e $d ] && [ $(cat $d/size) != "
            "0 ] && echo /dev/$d; done; true").out.split(), 30, "a disk")
        initiator.fio(disk, "256k")
        initiator.logout()
        wrong = lines.replace(":%d" % CM_PORT, ":%d" % (CM_PORT + 1))
        initiator.guest.put(LOGINS, wrong)
        done = initiator.run([SCRIPT], check=False)
        equal(done.rc, 1, "status, when nobody listens")
        contains(done.out, wrong.splitlines()[-1] + ": ", "its words")
        initiator.logout()
        until(lambda: target.queue_pairs() == 0, 30, "the logout")
    initiator.run("rm %s %s" % (SCRIPT, LOGINS))
