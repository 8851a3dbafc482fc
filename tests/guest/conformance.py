# SPDX-License-Identifier: GPL-2.0
#
# The target of tests/initiator: its disks and access control entries, the
# administrator whom scenarios ask to change them, and running them.
#
# Not here: the scenarios themselves (tests/initiator/src/scenarios).

import json
import math
import re
import time

from lab import REPO, LabError, env

from . import slow
from .checks import Failed, Late
from .target import CM_PORT, PARAMETERS

# Initiator port identifiers with these extensions are let in.
EXTENSIONS = range(1, 9)

# LUNs 0 and 1 are disks in memory, 2 is scsi_debug behind iblock, whose answers can
# be delayed, 3 is scsi_debug behind pscsi, which takes any CDB, 4 is like 2,
# and what is aborted by another initiator has no response (emulate_tas is 0).
SCSI_DEBUG = r"""
modprobe sd_mod
modprobe scsi_debug dev_size_mb=16 delay=0 max_luns=3 sector_size=512
for i in $(seq 100); do
    set -- /sys/bus/pseudo/drivers/scsi_debug/adapter*/host*/target*/*/block/*
    [ $# = 3 ] && [ -b /dev/${1##*/} ] && [ -b /dev/${2##*/} ] &&
        [ -b /dev/${3##*/} ] && break
    sleep 0.1
done
slow=${1##*/}
silent=${3##*/}
raw=${2##*/}
hctl=${2%%/block/*}
hctl=${hctl##*/}
"""
# Target core keeps registrations in a directory that rtslib makes; where it has
# run, in a test before this one, dbroot is another.
DISKS = SCSI_DEBUG + r"""
modprobe -a target_core_iblock target_core_pscsi
mkdir -p $(cat dbroot)/pr
backstore disk0 8192
backstore disk1 8192
backstore extra 256
mkdir -p core/iblock_0/slow core/iblock_0/silent core/pscsi_0/raw
echo udev_path=/dev/$slow > core/iblock_0/slow/control
echo 1 > core/iblock_0/slow/enable
echo udev_path=/dev/$silent > core/iblock_0/silent/control
echo 1 > core/iblock_0/silent/enable
echo 0 > core/iblock_0/silent/attrib/emulate_tas
IFS=:
set -- $hctl
unset IFS
echo scsi_host_id=$1,scsi_channel_id=$2,scsi_target_id=$3,scsi_lun_id=$4 \
    > core/pscsi_0/raw/control
echo /dev/$raw > core/pscsi_0/raw/udev_path
echo 1 > core/pscsi_0/raw/enable
mkdir -p srpt %(tpg)s
lun %(tpg)s 0 disk0
lun %(tpg)s 1 disk1
mkdir %(tpg)s/lun/lun_2 %(tpg)s/lun/lun_3 %(tpg)s/lun/lun_4
ln -s core/iblock_0/slow %(tpg)s/lun/lun_2/disk
ln -s core/pscsi_0/raw %(tpg)s/lun/lun_3/disk
ln -s core/iblock_0/silent %(tpg)s/lun/lun_4/disk
"""
# With SCST, 2 and 4 are vdisk_blockio, and 3 is dev_disk.
SCST_DISKS = SCSI_DEBUG + r"""
disk disk0 32
disk disk1 32
disk extra 1
put "add_device slow filename=/dev/$slow" handlers/vdisk_blockio/mgmt
put "add_device silent filename=/dev/$silent" handlers/vdisk_blockio/mgmt
put "add_device $hctl" handlers/dev_disk/mgmt
n=0
for d in disk0 disk1 slow $hctl silent; do
    put "add $d $n" %(target)s/luns/mgmt
    n=$((n + 1))
done
"""

# A row that takes longer than this has hung.
ROW_LIMIT = 150

def pace():
    """How many times as long everything may take, as a whole number."""
    return max(1, math.ceil(env.pace()))


def where(target, ip):
    """--dest of the program: this address of the target, or over InfiniBand the
    service of the IB/CM."""
    if target.guest.transport == "ib":
        return target.ib_service()
    return ("[%s]:%d" if ":" in ip else "%s:%d") % (ip, CM_PORT)


def configured(bench):
    """The target of the scenarios, on the machines there are."""
    engines = {"lio": Configured, "scst": ScstConfigured}
    return engines[bench.machines.target.engine](bench)


class Configured:
    """The target of the scenarios, with LIO."""

    arguments = ()              # more for the program
    expected = {}               # what rows must see instead, by name

    def __init__(self, bench):
        machines = bench.machines
        self.target, self.initiator = machines.target, machines.initiator
        self.program = self.initiator.tool(machines.built.initiator)
        self.set_up()

    def set_up(self):
        target = self.target
        target.load()
        target.shell(DISKS % {"tpg": target.tpg()})
        guid = self.initiator.guid
        names = [self.name(n) for n in EXTENSIONS]
        # The same identifier in the layout of revision 10.
        names.append("0x%s%016x" % (guid, EXTENSIONS[0]))
        target.shell("\n".join("acl %s %s" % (target.tpg(), name)
                               for name in names))
        target.shell("echo %d > srpt/discovery_auth/rdma_cm_port\n"
                     "echo 1 > %s/enable" % (CM_PORT, target.tpg()))

    def name(self, extension):
        return "0x%016x%s" % (extension, self.initiator.guid)

    def words(self, *arguments):
        """The command line of the program."""
        target = self.target
        dest6 = ["--dest6", where(target, target.guest.ip6)]
        return [self.program, *arguments, *self.arguments,
                "--dest", where(target, target.guest.ip),
                *(dest6 if target.guest.transport != "ib" else ()),
                "--target-guid", target.service_guid,
                "--guid", self.initiator.guid, "--pace", str(pace())]

    def remove(self):
        self.target.wait_for_connections(0, 60)
        self.target.unconfigure()
        self.target.run("rmmod scsi_debug")

    # --- the administrator ------------------------------------------------

    def obey(self, order):
        """Carry out an order of the program; returns the answer's text."""
        word, _, rest = order.partition(" ")
        target = self.target
        if word == "connections":
            return str(target.queue_pairs())
        if word in ("enable", "disable"):
            target.enable(word == "enable")
        elif word == "attr":
            name, value = rest.split()
            self.attribute(name, value)
        elif word == "delay":
            slow.delay(target, int(rest) / 1000, within=40)
        elif word == "drop-acl":
            target.remove_acl(self.name(int(rest)))
        elif word == "add-acl":
            target.add_acl(self.name(int(rest)))
        elif word == "add-lun":
            self.add_lun()
        elif word == "drop-lun":
            self.drop_lun()
        elif word == "add-other-lun":
            self.add_other_lun()
        elif word == "drop-other-lun":
            self.drop_other_lun()
        else:
            raise Failed("unknown order: " + order)
        return ""

    def attribute(self, name, value):
        self.target.run("echo %s > %s/attrib/%s" % (value, self.target.tpg(),
                                                    name))

    def add_lun(self):
        tpg = self.target.tpg()
        self.target.shell("lun %s 5 extra\n" % tpg + "\n".join(
            "mkdir %s/acls/%s/lun_5\nln -s %s/lun/lun_5 "
            "%s/acls/%s/lun_5/lun" % (tpg, name, tpg, tpg, name)
            for name in (self.name(1), self.name(2))))

    def drop_lun(self):
        tpg = self.target.tpg()
        self.target.shell("\n".join(
            "drop_lun %s/acls/%s/lun_5" % (tpg, self.name(n))
            for n in (1, 2)) + "\ndrop_lun %s/lun/lun_5" % tpg)


    def add_other_lun(self):
        """A LUN of the portal group that no entry has."""
        self.target.shell("lun %s 6 extra" % self.target.tpg())

    def drop_other_lun(self):
        self.target.shell("drop_lun %s/lun/lun_6" % self.target.tpg())


class ScstConfigured(Configured):
    """The same with SCST, where everybody is let in, and every session finds
    unit attentions."""

    arguments = ("--attentions",)
    expected = {
        # Groups decide which disks an initiator sees, not whether it gets in. Of
        # 100 logins, 25 are refused for that alone with LIO.
        "login.no_access": "accepted",
        "login.failures_leave_nothing": "75 refused; 0 connections; works",
        # The number is what is behind the addressing method.
        "commands.lun_flat": "GOOD; works",
        "commands.lun_logical": "GOOD; works",
        "tasks.lun_flat": "code 0; works",
        # SCST counts what was not transferred when a command fails, too.
        "commands.beyond_end":
            "CHECK CONDITION 05/21/00 in under 512; works",
        "commands.cdb_32_unknown":
            "CHECK CONDITION 05/20/00 in under 512; works",
        # It writes as much as was announced and fits; LIO refuses.
        "commands.out_under": "GOOD out under 512; works",
        "commands.out_over": "GOOD out over 512; works",
        "immediate.too_little": "GOOD out over 512; works",
        "immediate.too_much": "GOOD out under 512; works",
        # Data-out for a command that has none is an INVALID MESSAGE ERROR, even
        # if it is no bytes, and so is ACA as there is no such condition.
        "commands.out_useless":
            "CHECK CONDITION 05/49/00 out under 512; works",
        "immediate.empty": "CHECK CONDITION 05/49/00; works",
        "commands.attr_aca": "CHECK CONDITION 05/49/00; works",
        # The adapter refuses what this engine would refuse with harm, before anything
        # else is looked at.
        "commands.naca": "CHECK CONDITION 05/24/00; works",
        "commands.link": "CHECK CONDITION 05/24/00; works",
        "commands.naca_refused": "CHECK CONDITION 05/24/00; works",
        "commands.room_2_31": "CHECK CONDITION 05/24/00; works",
        "commands.blocks_2_31": "CHECK CONDITION 05/24/00; works",
        "commands.ata_length": "CHECK CONDITION 05/24/00; works",
        "commands.sense_short": "CHECK CONDITION 05/24/00; works",
        # It knows READ(32) and WRITE(32), and lets them through to disks with
        # protection information only, as SBC has it.
        "commands.cdb_32": "CHECK CONDITION 05/20/00 out under 512, "
            "CHECK CONDITION 05/20/00 in under 512; other data",
        # It has these functions.
        "tasks.abort_task_set": "code 0; works",
        "tasks.clear_task_set": "code 0; works",
        "tasks.clear_aca": "code 0; works",
        # A reset waits for what the disk works on, and what has come to its end
        # there is answered, although another initiator aborted it. Commands of
        # the initiator that wants them aborted are not.
        "reservations.preempt_own":
            "no answer after GOOD and []; works; cleared GOOD",
        "reservations.preempt_other": "GOOD, 4 GOOD; works; cleared GOOD",
        "credits.request": "no SRP_CRED_REQ; all credits; works",
        "credits.request_unanswered": "no SRP_CRED_REQ; all credits; works",
    }

    def set_up(self):
        target = self.target
        target.need_module("scst/src/dev_handlers/scst_disk.ko")
        target.load("rdma_cm_port=%d" % CM_PORT)
        target.shell(SCST_DISKS % {"target": target.directory})
        target.enable()

    def remove(self):
        super().remove()
        self.target.run("rmmod scst_disk")

    def attribute(self, name, value):
        target = self.target
        target.run("echo %s > %s/%s" % (value, PARAMETERS, name))

    def add_lun(self):
        self.target.must("add extra 5", self.target.directory + "/luns/mgmt")

    def drop_lun(self):
        self.target.must("del 5", self.target.directory + "/luns/mgmt")

    def add_other_lun(self):
        groups = self.target.directory + "/ini_groups"
        self.target.must("create others", groups + "/mgmt")
        self.target.must("add extra 5", groups + "/others/luns/mgmt")

    def drop_other_lun(self):
        self.target.must("del others", self.target.directory + "/ini_groups/mgmt")


def names():
    """The names of all scenarios in the order of the program, from its
    source."""
    source = REPO / "tests/initiator/src/scenarios"
    groups = re.findall(r"^\s+(\w+)::ROWS,", (source / "mod.rs").read_text(), re.M)
    return [name for group in groups for name in
            re.findall(r'\b(?:admin_)?row\(\s*"([^"]+)"',
                       (source / (group + ".rs")).read_text())]


class Rows:
    """The program on the initiator machine, which runs the scenarios that it
    is given, one after the other."""

    def __init__(self, bench):
        self.bench = bench
        self.configured = configured(bench)
        self.done = 0               # lines of output
        self.job = self.configured.initiator.spawn(
            self.configured.words("conformance", "--json", "--admin", "--ask"),
            keep_input=True)
        self._until_next()

    def run(self, name):
        """Run a scenario; returns its row: name, says, expected, seen,
        verdict."""
        self._answer("ok " + name)
        row = self._until_next()
        if row is None or row["name"] != name:
            raise Failed("no result of %s: %s" % (name,
                                                  self.job.output[-500:]))
        other = self.configured.expected.get(name)
        if other:
            row["expected"] = other
            row["verdict"] = "ok" if row["seen"] == other else "DIFFERS"
        return row

    def end(self):
        """No more scenarios: the configuration goes, too."""
        self._answer("ok")
        # Its status is about what it expects, not about what the engine does.
        self.job.wait(30, check=False)
        self.configured.remove()

    def _answer(self, text):
        self.job.write(text + "\n")

    def _until_next(self):
        """Obey the program until it asks for the next scenario; returns the
        row of the last one. Kernels have not complained until then."""
        row, began = None, time.monotonic()
        while time.monotonic() - began < ROW_LIMIT * pace():
            lines = self.job.output.split("\n")
            if self.done == len(lines) - 1:
                self.bench.pair.check_console()
                if self.job.poll() is not None:
                    raise Failed("the initiator ended: "
                                 + self.job.output[-500:])
                time.sleep(0.02)
                continue
            line = lines[self.done]
            self.done += 1
            if line == "admin next":
                # Time for the kernel to say what the scenario did to it.
                if self.bench.target.variant == "stock":
                    time.sleep(0.2)
                self.bench.pair.check_console()
                return row
            if line.startswith("admin "):
                self._administer(line.removeprefix("admin "))
            elif line.startswith('{"name"'):
                row = json.loads(line)
        raise Late("a scenario takes longer than %d s" % ROW_LIMIT)

    def _administer(self, order):
        try:
            self._answer(("ok %s" % self.configured.obey(order)).strip())
        except (Failed, LabError) as error:
            self.bench.pair.check_console()
            text = str(error).replace("\n", " ")[:200]
            self._answer("error %s: %s" % (order, text))
