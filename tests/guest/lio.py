# SPDX-License-Identifier: GPL-2.0
#
# The target machine with the LIO engine: configfs, in the form that targetcli
# gives it, with RAM disks.
#
# Not here: what does not depend on the engine (target.py).

from . import slow
from .target import CM_PORT, Target

CONFIGFS = "/sys/kernel/config/target"
SRPT = CONFIGFS + "/srpt"

# A configured target, in a few shell functions. Everything is idempotent.
FUNCTIONS = r"""
cd /sys/kernel/config/target
backstore() {               # backstore <name> <pages>
    [ -d core/rd_mcp_0/$1 ] && return
    mkdir -p core/rd_mcp_0/$1
    echo rd_pages=$2 > core/rd_mcp_0/$1/control
    echo 1 > core/rd_mcp_0/$1/enable
}
lun() {                     # lun <tpg> <number> <backstore>
    mkdir -p $1/lun/lun_$2
    ln -s core/rd_mcp_0/$3 $1/lun/lun_$2/disk
}
acl() {                     # acl <tpg> <name>: with every LUN of the group
    mkdir $1/acls/$2
    for l in $1/lun/lun_*; do
        n=${l##*/}
        [ -d $l ] || continue
        mkdir $1/acls/$2/$n
        ln -s $l $1/acls/$2/$n/lun
    done
}
drop_acl() {
    for l in $1/lun_*; do
        [ -d $l ] && drop_lun $l
    done
    rmdir $1
}
drop_lun() {
    for k in $1/*; do
        [ -L $k ] && rm $k
    done
    rmdir $1
}
drop_tpg() {
    for a in $1/acls/*/; do [ -d "$a" ] && drop_acl ${a%/}; done
    for l in $1/lun/lun_*; do [ -d "$l" ] && drop_lun $l; done
    rmdir $1
}
drop_all() {
    if [ -d srpt ]; then
        [ -e srpt/discovery_auth/rdma_cm_port ] &&
            echo 0 > srpt/discovery_auth/rdma_cm_port
        for e in srpt/*/*/enable; do [ -e $e ] && echo 0 > $e; done
        for p in srpt/*/; do
            case $p in */discovery_auth/) continue ;; esac
            for t in $p*/; do
                case $t in */param/|*/fabric_statistics/) continue ;; esac
                drop_tpg ${t%/}
            done
            rmdir $p
        done
        rmdir srpt
    fi
    for d in core/*_[0-9]*/*/; do [ -d $d ] && rmdir $d; done
    for d in core/*_[0-9]*/; do [ -d $d ] && rmdir $d; done
    return 0
}
"""

# LUN 0 of the portal group is for others; these entries show LUNs 1 and 2 as 0
# and 1.
PRIVATE = r"""
for n in 1 2; do
    backstore private$n 2048
    lun %(tpg)s $n private$n
done
for a in %(names)s; do
    mkdir %(tpg)s/acls/$a
    for n in 0 1; do
        mkdir %(tpg)s/acls/$a/lun_$n
        ln -s %(tpg)s/lun/lun_$((n + 1)) %(tpg)s/acls/$a/lun_$n/lun
    done
done
"""

# Exports the disk $d through a backstore, with what its `control` takes. The
# attribute says whether commands that another initiator aborts get an answer.
EXPORT = r"""
modprobe -a target_core_iblock target_core_pscsi
b=core/%(kind)s_0/%(name)s
mkdir -p srpt %(tpg)s $b
echo %(control)s > $b/control
echo $d > $b/udev_path
echo 1 > $b/enable
[ -z "%(tas)s" ] || echo %(tas)s > $b/attrib/emulate_tas
mkdir %(tpg)s/lun/lun_0
ln -s $b %(tpg)s/lun/lun_0/disk
echo %(port)d > srpt/discovery_auth/rdma_cm_port
echo 1 > %(tpg)s/enable
"""

# The port is there by its GID, by its GUID, or by both.
OPEN = """
cd %s || exit
for port in %s %s; do
    [ -d $port ] || continue
    echo %d > $port/tpgt_1/enable || exit
    opened=1
done
[ -n "$opened" ]
"""

# Without a serial number, which targetcli gives it, a disk that is behind several
# ports could not be told to be the same.
SHARED = r"""
if [ ! -d core/rd_mcp_0/disk0 ]; then
    backstore disk0 16384
    echo 5a1c0e0a-27d5-4f0b-9a53-1b6a33d0c001 > core/rd_mcp_0/disk0/wwn/vpd_unit_serial
    mkdir -p $(cat dbroot)/pr
fi
mkdir -p %(tpg)s
lun %(tpg)s 0 disk0
for a in %(names)s; do acl %(tpg)s $a; done
echo 1 > %(tpg)s/enable
"""

TRACES = r"""
ls -d /sys/kernel/config/target/srpt /sys/kernel/config/target/core/*_[0-9]* \
    2>/dev/null
"""


def guid_name(guid):
    """The name of a port with this GUID, given without colons, in configfs."""
    return ":".join(guid[i:i + 4] for i in range(0, 16, 4))


class LioTarget(Target):
    """A target with the LIO engine, or with the kernel's own C driver."""

    engine = "lio"
    identification = "Linux SRP target"
    vendor = b"LIO-ORG"
    functions = FUNCTIONS
    traces = TRACES

    @property
    def keeps_configuration(self):
        return self.variant == "rust"

    def tpg(self, name=None):
        """Path of the usual portal group, as targetcli would name it."""
        return "%s/%s/%s" % (SRPT, self.gid, name or "tpgt_1")

    def install(self):
        if self.variant != "stock":
            super().install()

    def load(self, params="", check=True):
        if self.variant == "stock":
            return self.run("modprobe --ignore-install ib_srpt " + params,
                            check=check)
        return super().load(params, check)

    # --- configuration ----------------------------------------------------

    def prepare(self):
        self.run("modprobe -a configfs target_core_mod && { mountpoint -q "
                 "/sys/kernel/config || mount -t configfs configfs "
                 "/sys/kernel/config; }")

    def configure(self, acls, disks=1, megabytes=64, tpg=None, enable=True,
                  port=CM_PORT, params="", attributes=None, luns=None):
        """Load the module and export RAM disks to these ACL names."""
        tpg = tpg or self.tpg()
        if not self.loaded():
            self.load(params)
        lines = ["mkdir -p srpt " + tpg]
        for name, value in (attributes or {}).items():
            lines.append("echo %d > %s/attrib/%s" % (value, tpg, name))
        for n, lun in enumerate(luns or range(disks)):
            lines.append("backstore disk%d %d" % (n, megabytes * 256))
            lines.append("lun %s %d disk%d" % (tpg, lun, n))
        lines += ["acl %s %s" % (tpg, name) for name in acls]
        lines.append("echo %d > srpt/discovery_auth/rdma_cm_port" % port)
        if enable:
            lines.append("echo 1 > %s/enable" % tpg)
        self.shell("\n".join(lines))

    def unconfigure(self, timeout=60):
        self.shell("drop_all", timeout)
        if self.loaded():
            self.unload(timeout)

    def enable(self, on=True, timeout=60):
        self.quick("echo %d > %s/enable" % (on, self.tpg()), timeout=timeout)

    def listen(self, port):
        return self.write(SRPT + "/discovery_auth/rdma_cm_port", port)

    def add_acl(self, name):
        self.shell("acl %s %s" % (self.tpg(), name))

    def remove_acl(self, name, timeout=60):
        self.shell("drop_acl %s/acls/%s" % (self.tpg(), name), timeout)

    def open(self, gid, on=True, timeout=60):
        self.quick(OPEN % (SRPT, gid, guid_name(gid[-16:]), on), timeout=timeout)

    def share(self, gid, *names):
        # The C driver knows GUIDs below a port's GUID only, and identifiers below its GID.
        port = guid_name(gid[-16:]) if ":" in names[0] else gid
        self.shell(SHARED % {"tpg": "%s/%s/tpgt_1" % (SRPT, port), "names": " ".join(names)})

    def private_disks(self, names, address):
        self.shell(PRIVATE % {"tpg": self.tpg(), "names": " ".join(names)})

    def slow_disk(self, acls, tas=0):
        self.export(slow.SCSI_DEBUG, "iblock", "udev_path=$d", acls, "slow",
                    "%d" % tas)

    def export(self, make, kind, control, acls, name="disk", tas=""):
        """Load the module and export the disk that `make` leaves in $d."""
        self.load()
        self.shell(make + EXPORT % {
            "tpg": self.tpg(), "kind": kind, "control": control, "name": name,
            "tas": tas, "port": CM_PORT} + "\n".join(
                "acl %s %s" % (self.tpg(), acl) for acl in acls))

    def aborts(self, *names):
        return sum(self.statistic("iblock_0/slow", name) for name in
                   names or ("aborts_complete", "aborts_no_task"))

    def statistic(self, disk, name):
        """A counter that target core keeps for a backstore."""
        return int(self.read("%s/core/%s/statistics/scsi_tgt_dev/%s"
                             % (CONFIGFS, disk, name)))

    def resets(self, disk=0):
        return self.statistic("rd_mcp_0/disk%d" % disk, "resets")
