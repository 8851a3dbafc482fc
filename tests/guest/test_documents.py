# SPDX-License-Identifier: GPL-2.0
#
# The commands in the documents, taken from there and run one after the other in
# machines: each must succeed, and print something if it is one that does.
#
# Not here: which command is tested where (tests/docs/commands.txt), those that
# are for the host (tests/docs/run).

import re

import pytest

from docs import documents
from lab import env

from . import test_scstadmin
from .checks import Failed, contains, equal, expect, until
from .initiator import UNTIL_STOPPED
from .target import CM_PORT

MIGRATION, MANUAL = "docs/migration.md", "scripts/deb/debian/ib_srpt.4"
HCA = env.TRANSPORTS[env.transport()]
SYSFS = "/sys/class/infiniband_srpt/srpt-%s-1" % HCA
DESCRIPTION = "SCSI RDMA Protocol target driver"

# What prints nothing when it succeeds.
SILENT = r"(echo|modprobe|rmmod|rmdir|cd|sleep|targetcli /\S+ create|" \
    r"scstadmin -config)\b|.*[^2]> ?/?\w"

# For the initiator.
THERE = r"modprobe ib_srp$|.*add_target$"


class Reader:
    """Does what a document says."""

    def __init__(self, bench, **names):
        self.bench, self.ran, self.folder = bench, set(), ""
        target, initiator = bench.target, bench.initiator
        # What is different here: names, and where the lab has put things. In
        # its root nobody has copied the kernel's configuration to /boot.
        self.changes = {
            "fe800000000000005054000000000001": target.gid[2:],
            "fe80…0001": target.gid[2:],
            "size=1G": "size=64M",
            "srp-mlx5_0-1": "srp-%s-1" % HCA,
            "rxe0-1": HCA + "-1",
            "10.0.0.1": target.guest.ip,
            "$GUID": target.guid,
            "/boot/config-$(uname -r)": "/lib/modules/$(uname -r)/config",
            "/usr/share/ib-srpt/trace-timeline": "/repo/scripts/trace-timeline",
            "scripts/trace-timeline trace.txt":
                "/repo/scripts/trace-timeline trace.txt",
            "cat /sys/kernel/tracing/trace_pipe > trace.txt":
                "timeout 3 cat /sys/kernel/tracing/trace_pipe > trace.txt; "
                "[ $? = 124 ]",
            **names}
        if initiator:
            self.changes["00000000000000005054000000000002"] = initiator.port_id[2:]

    def obey(self, text):
        """One command; returns what it printed."""
        words = text
        for old, new in self.changes.items():
            if old in words and new not in words:
                words = words.replace(old, new)
        end = self.bench.initiator if re.match(THERE, text) else self.bench.target
        done = end.run(self.folder * (end is self.bench.target) + words,
                       timeout=180, check=False)
        if words.startswith("cd "):
            self.folder += words + " && "
        if done.rc:
            raise Failed("%s\n(as %s) ends with status %d:\n%s"
                         % (text, words, done.rc, done.out))
        expect(re.match(SILENT, text) or done.out.strip(),
               "'%s' prints something" % text)
        self.ran.add(text)
        return done.out

    def section(self, path, heading, leave=()):
        """All commands below a heading; returns what each printed."""
        found = documents.section(path, heading)
        expect(found, "there are commands in %s, %s" % (path, heading))
        return {text: self.obey(text) for text in found if text not in leave}

    def all_of(self, name):
        """Nothing that is listed as tested by this test was left out."""
        equal(sorted(set(documents.tested_by("guest.documents." + name)) - self.ran),
              [], "what was not run")


def forget(target):
    """Remove the files that the documents make."""
    target.run("rm -f /etc/modprobe.d/ib_srpt.conf /etc/modprobe.d/local-ib_srpt.conf "
               "/etc/modules-load.d/ib_srpt.conf /root/*.json /root/*.conf trace.txt "
               "/tmp/trace.txt /etc/scst.conf")


def mount(target):
    target.run("for f in debug:debugfs tracing:tracefs; do mountpoint -q "
               "/sys/kernel/${f%:*} || mount -t ${f#*:} none /sys/kernel/${f%:*}; done")


# --- LIO ------------------------------------------------------------------

@pytest.mark.timeout(240)
@pytest.mark.engine("lio")
@pytest.mark.stock("it has no such files")
def test_look(bench):
    """docs/admin.md: every look at a session under load, and its end"""
    target, initiator = bench.target, bench.initiator
    mount(target)
    with bench.session("max_sect=8192,ch_count=2") as disk:
        initiator.patient()
        names = target.run("ls %s/sessions" % SYSFS).out.split()
        reader = Reader(bench, **{"<name>": names[0]})
        job = initiator.load(disk, UNTIL_STOPPED, depth=1)
        said = reader.section("docs/admin.md", "Look at it")
        until(lambda: not set(names) & set(
            target.run("ls %s/sessions" % SYSFS).out.split()), 60, "the session ends")
        initiator.moves(disk, 90)
        initiator.stop(job, disk)
    reader.all_of("look")
    text = "\n".join(said.values())
    for part in ("of %s from " % initiator.port_id, "counters/commands:", "peer:" + initiator.guest.ip,
                 "state:live", "refusals/channel_limit:0", "us  submit", "latency/engine:",
                 "lun_0/statistics/scsi_tgt_port/write_mbytes:"):
        contains(text, part, "what is seen")
    forget(target)


@pytest.mark.timeout(240)
@pytest.mark.engine("lio")
@pytest.mark.stock("it has no tracepoints")
def test_debug(bench):
    """CONTRIBUTING.md: trace and debug messages, with a session"""
    target, initiator = bench.target, bench.initiator
    mount(target)
    levels = target.read("/proc/sys/kernel/printk")
    with bench.session("max_sect=8192") as disk:
        job = initiator.load(disk, UNTIL_STOPPED, depth=1)
        reader, said = Reader(bench), {}
        for text in documents.section("CONTRIBUTING.md", "More messages"):
            if "dynamic_debug" in text and job:
                initiator.stop(job, disk)
                job = None
            said[text] = reader.obey(text)
        target.run("""
for e in srpt rdma_cma ib_cma; do echo 0 > /sys/kernel/tracing/events/$e/enable; done
for m in target_core_mod ib_srp; do
    echo "module $m -p" > /sys/kernel/debug/dynamic_debug/control
done
echo %s > /proc/sys/kernel/printk""" % levels)
    reader.all_of("debug")
    contains(said["scripts/trace-timeline trace.txt"], "us  submit", "the timeline")
    forget(target)


@pytest.mark.timeout(120)
@pytest.mark.engine("lio")
@pytest.mark.stock("it is installed otherwise")
def test_install(bench):
    """docs/install.md: look at the kernel and the module, load and unload it"""
    target = bench.target
    if target.guest.kernel.kind != "stock":
        bench.skip("it is about kernels of distributions")
    target.load()
    target.unload()
    reader = Reader(bench, **{"-F description ib_srpt":
                              "-F description /lab/modules/ib_srpt.ko"})
    for heading in ("Check the kernel", "Ubuntu", "Choose the RDMA stack",
                    "Debian: from source", "Load", "Verify", "Uninstall"):
        said = reader.section("docs/install.md", heading)
        if heading == "Verify":
            equal(said["modinfo -F description ib_srpt"].strip(),
                  DESCRIPTION + " written in Rust", "description")
            contains(said["dmesg | grep ib_srpt:"], target.gid, "the log")
    reader.obey('echo "options ib_srpt rdma_cm_port=5555" > /etc/modprobe.d/ib_srpt.conf')
    reader.obey('echo "options ib_srpt rdma_cm_port=5555" > '
                '/etc/modprobe.d/local-ib_srpt.conf')
    contains(target.run("modprobe -c").out, "options ib_srpt rdma_cm_port=5555",
             "what modprobe knows")
    target.unload()
    reader.all_of("install")
    forget(target)


def back(bench, disk):
    """The initiator has come back by itself, and data is right."""
    bench.initiator.run("dd if=%s of=/dev/null bs=4k count=1 iflag=direct" % disk,
                        timeout=120)
    bench.initiator.fio(disk, "1m")


@pytest.mark.timeout(900)
@pytest.mark.engine("lio")
@pytest.mark.roce("the C driver takes no logins over IPv4 there")
@pytest.mark.stock("it is where one comes from")
def test_migration(bench):
    """docs/migration.md: a configuration of the kernel's driver, made with
    targetcli, is saved there, restored here and the same; and the way back"""
    target, initiator = bench.target, bench.initiator
    target.guest.system_bus()
    # From here on, modprobe finds ours.
    target.load()
    target.unload()
    stock = {"modprobe ib_srpt": "modprobe --ignore-install ib_srpt"}
    reader = Reader(bench, **stock)
    reader.obey("modprobe ib_srpt")
    for text in documents.section("README.md", "Configure"):
        if text.startswith("targetcli"):
            reader.obey(text)
    reader.section(MIGRATION, "Back")           # rdma_cm_port
    disk, = initiator.login()
    initiator.patient()
    initiator.fio(disk, "1m")

    said = reader.section(MIGRATION, "Before")
    equal(said["modinfo -F description ib_srpt"].strip(), DESCRIPTION, "description")
    contains(said["ls -d /sys/kernel/config/target/srpt/*/*/acls/*"],
             initiator.port_id, "the entries")
    contains(said["cat /sys/kernel/config/target/srpt/discovery_auth/rdma_cm_port"],
             str(CM_PORT), "rdma_cm_port")
    reader.changes.pop("modprobe ib_srpt")
    reader.section(MIGRATION, "The change")
    expect(target.run("[ -e /sys/module/ib_srpt/version ]", check=False).rc == 0,
           "ours is loaded")
    back(bench, disk)
    said = reader.section(MIGRATION, "After")
    contains("\n".join(said.values()), "nothing has changed", "the comparison")
    contains("\n".join(said.values()), "peer:" + initiator.guest.ip, "the sessions")

    reader.changes.update(stock)
    reader.section(MIGRATION, "The change", leave=[
        "echo 5555 > /sys/module/ib_srpt/parameters/rdma_cm_port"])
    reader.section(MIGRATION, "Back")
    expect(target.run("[ -e /sys/class/infiniband_srpt ]", check=False).rc,
           "the kernel's is loaded")
    back(bench, disk)
    reader.all_of("migration")
    initiator.logout()
    target.wait_for_connections(0)
    target.unconfigure()
    forget(target)


def configured_by(bench, path, *headings):
    """An example: a target, and the login of an initiator; data is right."""
    target, initiator = bench.target, bench.initiator
    target.guest.system_bus()
    target.load()
    reader = Reader(bench, **{"-F description ib_srpt":
                              "-F description /lab/modules/ib_srpt.ko"})
    initiator.run("modprobe sd_mod")
    for heading in headings:
        reader.section(path, heading)
    until(lambda: initiator.run("ls /sys/block").out.count("sd") == 1, 60,
          "a disk appears")
    disk = "/dev/" + re.search(r"\bsd\w+", initiator.run("ls /sys/block").out)[0]
    until(lambda: initiator.megabytes(disk), 30, "its size")
    initiator.fio(disk, "1m")
    initiator.logout()
    target.wait_for_connections(0)
    target.unconfigure()
    forget(target)
    return reader


@pytest.mark.timeout(420)
@pytest.mark.engine("lio")
@pytest.mark.stock("it has no parameter rdma_cm_port")
def test_readme(bench):
    """README.md: what is configured there lets an initiator in, which logs in as
    it is written there"""
    configured_by(bench, "README.md", "Install on a real machine", "Configure",
                  "Log in").all_of("readme")


@pytest.mark.timeout(420)
@pytest.mark.engine("lio")
@pytest.mark.stock("it has no parameter rdma_cm_port")
def test_manual(bench):
    """ib_srpt(4): the same for the examples in the manual page"""
    configured_by(bench, MANUAL, "DESCRIPTION", "EXAMPLES").all_of("manual")


# --- SCST -----------------------------------------------------------------

@pytest.mark.timeout(240)
@pytest.mark.engine("scst")
@pytest.mark.stock("its names are its own")
def test_scst(bench):
    """docs/engines.md: a target is configured by hand, and lets an initiator in"""
    target, initiator = bench.target, bench.initiator
    target.load("rdma_cm_port=%d" % CM_PORT)
    target.run("truncate -s 64M /disk1.img")
    reader = Reader(bench, **{"fe80:0000:0000:0000:0002:c903:0005:f34f": target.name})
    said = reader.section("docs/engines.md", "Configuring, with SCST")
    contains(said["cat login_info"], "tid_ext=", "login_info")
    reader.all_of("scst")
    disk, = initiator.login()
    initiator.fio(disk, "1m")
    initiator.logout()
    target.wait_for_connections(0)
    target.unconfigure()
    target.run("rm /disk1.img")


def saved(target, name):
    """Lines of a file that scstadmin has written, without its date."""
    return [line.strip() for line in target.read(name).splitlines()
            if line.strip() and not line.startswith("#")]


@pytest.mark.timeout(600)
@pytest.mark.engine("scst")
@pytest.mark.stock("it is where one comes from")
def test_migration_scst(bench):
    """docs/migration.md: a configuration of SCST's own driver is applied to this
    module, but for the address of an initiator, and is the same"""
    target, initiator = bench.target, bench.initiator
    test_scstadmin.Tool(target)
    guest = target.guest
    guest.put("/usr/local/bin/scstadmin", "#!/bin/sh\nexec perl -I /lab/scstadmin "
              "/lab/scstadmin/scstadmin -noprompt \"$@\"\n", 0o755)
    target.load()
    target.unload()
    guest.put("/lab/scst/ib_srpt.ko", target.tree.c_driver())
    options = " rdma_cm_port=%d" % CM_PORT
    theirs = {"modprobe ib_srpt": "modprobe -a ib_cm rdma_cm && "
              "insmod /lab/scst/ib_srpt.ko" + options,
              "-F description ib_srpt": "-F description /lab/scst/ib_srpt.ko"}
    ours = {"modprobe ib_srpt": "modprobe ib_srpt" + options,
            "-F description ib_srpt": "-F description /lab/modules/ib_srpt.ko"}
    target.run("truncate -s 64M /tmp/scst-disk0; truncate -s 32M /tmp/scst-small")
    guest.put("/etc/scst.conf", test_scstadmin.CONFIGURATION % {
        "target": target.name, "initiator": guest.ip})

    reader = Reader(bench, **theirs)
    reader.obey("modprobe ib_srpt")
    reader.obey("scstadmin -config /etc/scst.conf")
    disk, = initiator.login()
    equal(initiator.megabytes(disk), 32, "the disk of the group")
    initiator.patient()
    said = reader.section(MIGRATION, "Before, with SCST")
    contains(said["ls -d /sys/kernel/scst_tgt/targets/ib_srpt/*/sessions/*"],
             "/" + guest.ip, "the sessions")
    contains(said["modinfo -F description ib_srpt"], DESCRIPTION + " v", "description")

    # What has to be looked at first.
    target.run("sed -i 's/INITIATOR %s/INITIATOR %s/' /etc/scst.conf"
               % (guest.ip, initiator.guest.ip))
    reader.changes.update(ours)
    reader.section(MIGRATION, "The change, with SCST")
    back(bench, disk)
    equal(initiator.megabytes(disk), 32, "the disk of the group")
    said = reader.section(MIGRATION, "After, with SCST")
    contains(said["scstadmin -list_sessions"], initiator.guest.ip, "the sessions")
    reader.all_of("migration_scst")
    equal(saved(target, "/root/after.conf"),
          [line.replace(guest.ip, initiator.guest.ip)
           for line in saved(target, "/root/before.conf")], "the configuration")
    initiator.logout()
    until(lambda: not target.sessions(), 30, "the sessions are gone")
    target.unconfigure()
    forget(target)
