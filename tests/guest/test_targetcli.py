# SPDX-License-Identifier: GPL-2.0
#
# targetcli and rtslib, Debian's unmodified packages: the commands of
# docs/admin.md, what is saved and restored, also by the service at boot, and
# that nothing is left.
#
# Not here: the files in configfs as such (test_configfs.py), systemd: what its
# unit runs is run by hand.

import contextlib
import json
import os
import re
import time

import pytest

from . import manual
from .checks import contains, equal, expect, until
from .lio import SRPT
from .target import CM_PORT

pytestmark = pytest.mark.engine("lio")

SAVED = "/etc/rtslib-fb-target/saveconfig.json"
OPTIONS = "/etc/modprobe.d/local-ib_srpt.conf"
UNIT = "/usr/lib/systemd/system/rtslib-fb-targetctl.service"

# What a disk has of its own; machines have none, so it goes through the host.
KEEP = "cp --sparse=always /srv/srp/disk1.img /results/"
BRING_BACK = "mkdir -p /srv/srp; mv /results/disk1.img /srv/srp/"
FORGET = "rm -rf /srv/srp %s /root/.targetcli /etc/rtslib-fb-target/*" \
    % OPTIONS

# Typed into one targetcli: something of everything that can be saved. The RAM
# disk is LUN 7 for the initiator, read-only.
SOMETHING = """\
/backstores/ramdisk create name=ram1 size=16M
/backstores/ramdisk/ram1 set attribute emulate_tas=0
cd /srpt/ib.{gid}
set attribute srp_max_rdma_size=262144 srp_max_rsp_size=512
set attribute srp_sq_size=1024 use_srq=1
luns/ create /backstores/ramdisk/ram1 lun=1 add_mapped_luns=false
acls/ib.{name} create 7 1 1
acls/ create ib.{stranger}
"""
STRANGER = "5" * 32


def names(bench):
    return {"target_gid": bench.target.gid[2:],
            "target_guid": bench.target.service_guid,
            "initiator": bench.initiator.port_id[2:],
            "target_ip": bench.target.guest.ip, "hca": bench.target.guest.hca}


def documented(bench):
    """The lines for the target in docs/admin.md."""
    lines = manual.commands("On the target", **names(bench))
    equal(lines.pop(0), "apt install targetcli-fb", "first command")
    return lines


def targetcli(target, lines):
    """An interactive targetcli that gets these lines; saves at its end. It
    would begin where the last one ended."""
    return target.run(["targetcli"], input=("cd /\n%sexit\n" % lines).encode(),
                      timeout=120).out


@contextlib.contextmanager
def prepared(bench):
    """A target machine without any configuration, where modprobe finds the
    module under test, and the module's removal."""
    target = bench.target
    target.install()
    target.guest.system_bus()
    yield target
    target.run("targetcli clearconfig confirm=True", timeout=120)
    nothing_left(target)
    target.run(FORGET)


def nothing_left(target):
    """Only the fabric's own directory is, which the module waits for."""
    equal(target.run("ls %s; ls -d %s/../core/*_[0-9]* 2>/dev/null; true"
                     % (SRPT, SRPT)).out.split(),
          ["discovery_auth", "version"], "what is left in configfs")
    target.run("rmdir %s && rmmod ib_srpt" % SRPT)


def configured(bench):
    """The documented commands, and SOMETHING, in one targetcli."""
    target, lines = bench.target, documented(bench)
    target.run("\n".join(x for x in lines if not x.startswith("targetcli")))
    out = targetcli(target, "".join(
        x[len("targetcli "):] + "\n" for x in lines
        if x.startswith("targetcli")) + SOMETHING.format(
            gid=target.gid[2:], name=bench.initiator.port_id[2:],
            stranger=STRANGER))
    contains(out, "Global pref auto_save_on_exit=true", "the end of targetcli")
    saved = configuration(target, SAVED)
    group, = saved["targets"][0]["tpgs"]
    equal(group["attributes"], {"srp_max_rdma_size": 262144, "use_srq": 1,
                                "srp_max_rsp_size": 512, "srp_sq_size": 1024},
          "attributes, as saved")
    equal({a["node_wwn"]: {m["index"]: m["write_protect"]
                           for m in a["mapped_luns"]}
           for a in group["node_acls"]},
          {"ib." + bench.initiator.port_id[2:]: {0: False, 7: True},
           "ib." + STRANGER: {0: False, 1: False}}, "entries, as saved")
    return saved


def configuration(target, path):
    """A saved configuration. Lists are in the order of directories."""
    def sort(value):
        if isinstance(value, dict):
            return {k: sort(v) for k, v in value.items()}
        if isinstance(value, list):
            return sorted(map(sort, value), key=repr)
        return value
    return sort(json.loads(target.guest.get(path)))


def listens(target):
    """It does, because modprobe.d says so; the C driver has to be told."""
    if target.variant == "stock":
        target.listen(CM_PORT)
    equal(target.read(SRPT + "/discovery_auth/rdma_cm_port"), str(CM_PORT),
          "rdma_cm_port")


def session(bench, data=None):
    """Log in; both disks are as configured, and the first has the data that
    was written the last time, if any was. Returns what is there then."""
    initiator = bench.initiator
    disks = initiator.login(disks=2)
    found = {}
    for disk in disks:
        name = disk.split("/")[-1]
        path, readonly = initiator.run(
            "cd /sys/block/%s; basename $(readlink -f device); cat ro" % name
        ).out.split()
        found[path.split(":")[-1]] = (disk, readonly)
    equal({lun: readonly for lun, (_, readonly) in found.items()},
          {"0": "0", "7": "1"}, "LUNs, and whether they are read-only")
    disk = found["0"][0]

    def digest():
        return initiator.run("dd if=%s bs=1M count=4 iflag=direct status=none "
                             "| sha256sum" % disk).out
    if data:
        equal(digest(), data, "the data")
    initiator.fio(disk, "4m", bs="64k")
    data = digest()
    initiator.logout()
    until(lambda: bench.target.queue_pairs() == 0, 30, "the logout")
    return data


@pytest.mark.timeout(480)
def test_quick_start(bench):
    """the commands that docs/admin.md names, one after the other; the initiator
    logs in as it says"""
    target, initiator = bench.target, bench.initiator
    with prepared(bench):
        for line in documented(bench):
            target.run(line, timeout=120)
        listens(target)
        line = manual.commands("On the initiator, RoCE", **names(bench))[-1]
        equal(line.split('"')[1], initiator.string(), "what is written")
        equal(line.split("> ")[1], "/sys/class/infiniband_srp/srp-%s-1/"
              "add_target" % initiator.guest.hca, "... and where")
        disk, = initiator.login("")
        initiator.fio(disk, "1m")
        if target.variant == "rust":
            listed = target.run("targetcli sessions", timeout=120).out
            contains(listed, "alias: " + initiator.port_id, "targetcli sessions")
            contains(listed, "LOGGED_IN", "targetcli sessions")
        initiator.logout()
        saved = configuration(target, SAVED)
        equal([t["wwn"] for t in saved["targets"]], ["ib." + target.gid[2:]],
              "saved targets")
        # targetcli itself enables whatever it finds.
        target.enable(False)
        target.run("targetcli ls", timeout=120)
        equal(target.read(target.tpg() + "/enable"), "1",
              "enable, after targetcli was started")


@pytest.mark.timeout(480)
@pytest.mark.stock("it warns in srpt_cache_put() when a channel with such "
                   "attributes ends")
def test_saved_and_restored(bench):
    """what is saved is restored, by targetcli and by rtslib's own program: the
    same attributes, LUNs and entries, the same data"""
    target = bench.target
    with prepared(bench):
        saved = configured(bench)
        listens(target)
        data = session(bench)
        out = targetcli(target, "clearconfig confirm=True\nrestoreconfig\n"
                        "saveconfig /tmp/saved.json\n")
        contains(out, "All configuration cleared", "targetcli")
        contains(out, "Configuration restored from " + SAVED, "targetcli")
        equal(configuration(target, "/tmp/saved.json"), saved,
              "what targetcli has restored")
        data = session(bench, data)
        # rtslib cannot read the name of such an entry.
        target.add_acl("10.9.0.2")
        done = target.run("targetctl save /tmp/other.json", check=False)
        expect(done.rc != 0, "targetctl fails with an entry by address")
        contains(done.out, "WWN not valid as: ib", "targetctl")
        target.remove_acl("10.9.0.2")
        target.run("targetctl clear")
        nothing_left(target)
        equal(target.run("targetctl restore").out, "", "its complaints")
        target.run("targetctl save /tmp/saved.json")
        equal(configuration(target, "/tmp/saved.json"), saved,
              "what targetctl has restored")
        listens(target)
        session(bench, data)


@pytest.mark.timeout(480)
@pytest.mark.stock("its port for RDMA/CM logins is no module parameter")
def test_reboot(bench):
    """the target machine is switched off and on: what the service at boot runs
    brings back configuration and data, modprobe.d the port of the listener;
    without an HCA the target is left out, and comes with the HCA"""
    target = bench.target
    target.install()
    target.guest.system_bus()
    saved = configured(bench)
    data = session(bench)
    service(target, "ExecStop")
    target.run(KEEP)
    kept = {path: target.guest.get(path) for path in (SAVED, OPTIONS)}
    target.guest.restart(graceful=True)
    target.run(BRING_BACK)
    target.remove_hca()
    for path, text in kept.items():
        target.guest.put(path, text)
    target.install()
    contains(service(target, "ExecStart"), "Could not create Target object",
             "the service, without an HCA,")
    target.add_hca()
    # What the package's unit runs when an HCA appears; once more does nothing.
    for said in "restoring ib.%s\n" % target.gid[2:], "":
        equal(target.run("/repo/scripts/srpt-restore", timeout=60).out, said,
              "what srpt-restore says")
    target.run("targetctl save /tmp/saved.json")
    equal(configuration(target, "/tmp/saved.json"), saved,
          "what the service has restored")
    listens(target)
    session(bench, data)
    target.run("targetctl clear")
    nothing_left(target)
    target.run(FORGET)


# Each in a directory of its own, as rtslib makes them: it cannot remove others.
RAM_DISKS = """
for n in $(seq 0 %(last)d); do
    d=core/rd_mcp_$n/disk$n
    mkdir -p $d
    echo rd_pages=256 > $d/control
    echo 1 > $d/enable
    mkdir %(tpg)s/lun/lun_$n
    ln -s $d %(tpg)s/lun/lun_$n/disk
done
"""


def limit(luns):
    """Seconds within which rtslib saves, restores or removes so many: for each logical unit
    it looks at every disk."""
    return 240 + luns ** 2 // 12


# Two sessions of the initiator, by different identifiers, and how long they may take to
# come back once the target is configured: an attempt to log in that was begun before is
# given up after 80 s.
EXTENSIONS, BACK = (0, 2), 120


@pytest.mark.skipif(os.environ.get("LUNS") != "all", reason="it takes minutes: LUNS=all")
@pytest.mark.stock("its port for RDMA/CM logins is no module parameter")
@pytest.mark.parametrize("luns", [pytest.param(luns, marks=pytest.mark.timeout(
    600 + 3 * limit(luns))) for luns in (1, 16, 128)])
def test_sessions_return(bench, luns):
    """the target machine is switched off and on under sessions with this many LUNs each:
    with what the service at boot restores, all come back by themselves, and each disk
    answers"""
    target, initiator = bench.target, bench.initiator
    target.guest.system_bus()
    target.guest.put(OPTIONS, "options ib_srpt rdma_cm_port=%d\n" % CM_PORT)
    target.install()
    names = ["0x%016x%s" % (extension, initiator.guid) for extension in EXTENSIONS]
    target.configure([], disks=0)
    target.shell(RAM_DISKS % {"last": luns - 1, "tpg": target.tpg()}
                 + "\n".join("acl %s %s" % (target.tpg(), name) for name in names))
    for extension in EXTENSIONS:
        initiator.login("max_sect=8192,ch_count=1,initiator_ext=%016x" % extension,
                        disks=luns, timeout=limit(luns))
    initiator.patient()
    target.run("mkdir -p $(dirname {0}); targetctl save {0}".format(SAVED),
               timeout=limit(luns))
    service(target, "ExecStop", limit(luns))
    kept = {path: target.guest.get(path) for path in (SAVED, OPTIONS)}
    began = time.monotonic()
    target.guest.restart()
    target.prepare()
    for path, text in kept.items():
        target.guest.put(path, text)
    target.install()
    target.guest.system_bus()
    booted = time.monotonic()
    service(target, "ExecStart", limit(luns))
    restored = time.monotonic()
    until(lambda: initiator.port_state() == ["running"] * len(EXTENSIONS), BACK,
          "all sessions are back")
    back = time.monotonic()
    bench.fault("reboot of the target, LUNs: %d" % luns,
                "up after %.0f s, restored in %.0f s, all sessions back, all disks answer" % (
                    booted - began, restored - booted), back - restored)
    out = initiator.run(
        "for d in /dev/sd*; do dd if=$d of=/dev/null bs=4k count=1 iflag=direct status=none "
        "&& echo answers; done", timeout=limit(luns)).out
    equal(out.count("answers"), luns * len(EXTENSIONS), "disks that answer")
    initiator.logout()
    until(lambda: target.queue_pairs() == 0, 30, "the logout")
    target.run("targetctl clear", timeout=limit(luns))
    nothing_left(target)
    target.run(FORGET)


@pytest.mark.timeout(180)
@pytest.mark.stock("its port for RDMA/CM logins is no module parameter")
def test_restored_in_part(bench):
    """of a target whose HCA comes late, what can be restored is: a LUN whose disk is
    missing is not, and is named"""
    target = bench.target
    with prepared(bench):
        configured(bench)
        data = session(bench)
        saved = json.loads(target.read(SAVED))
        tpg, = [one["tpgs"][0] for one in saved["targets"] if one["fabric"] == "srpt"]
        tpg["luns"].append({"index": 9, "storage_object": "/backstores/block/gone"})
        target.guest.put("/tmp/saved.json", json.dumps(saved))
        targetcli(target, "/srpt delete ib.%s\n" % target.gid[2:])
        done = target.run("/repo/scripts/srpt-restore /tmp/saved.json", check=False)
        equal(done.rc, 1, "status")
        contains(done.out, "Could not find matching StorageObject for LUN 9",
                 "srpt-restore")
        listens(target)
        session(bench, data)


def service(target, what, timeout=240):
    """Run what the unit of this name runs; returns what it says."""
    lines = re.findall(r"^%s=(.*)$" % what, target.read(UNIT), re.M)
    expect(any("targetctl" in line for line in lines), "the unit has " + what)
    return target.run("set -e\n" + "\n".join(lines), timeout=timeout).out
