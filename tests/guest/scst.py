# SPDX-License-Identifier: GPL-2.0
#
# The target machine with the SCST engine: SCST's modules, taken from a tree
# that is built already, and their sysfs tree, with files in memory as disks.
#
# Not here: what does not depend on the engine (target.py), building SCST.

import ipaddress
import shlex
from pathlib import Path

from lab import LabError

from . import slow
from .checks import Failed, skip
from .target import CM_PORT, PARAMETERS, Target

SYSFS = "/sys/kernel/scst_tgt"
DRIVER = SYSFS + "/targets/ib_srpt"

# The modules of a built tree, in the order in which they are loaded, and what
# the engine is built from.
MODULES = ("scst/src/scst.ko", "scst/src/dev_handlers/scst_vdisk.ko")
HEADERS = ("scst/include/scst.h", "scst/include/scst_itf_ver.h",
           "scst/include/build_mode.h", "scst/src/Module.symvers")
C_DRIVER = "srpt/src/ib_srpt.ko"

# Module parameters that stand for what are attributes with LIO.
ATTRIBUTES = {"srp_max_rsp_size": "srp_max_rsp_size",
              "srp_sq_size": "srpt_sq_size", "use_srq": "use_srq"}

# Where SCST keeps registrations. Overlayfs, of which a guest's root is, warns when SCST
# removes a file.
STATE = r"""
mkdir -p /var/lib/scst
mountpoint -q /var/lib/scst || mount -t tmpfs scst /var/lib/scst
mkdir -p /var/lib/scst/pr /var/lib/scst/vdev_mode_pages
"""

# Writing to SCST's sysfs: what takes longer ends with EAGAIN, and its result
# is read from another file.
FUNCTIONS = r"""
cd /sys/kernel/scst_tgt
put() {                     # put <value> <file>
    said=$({ echo "$1" > "$2"; } 2>&1) && return
    case $said in
    *"temporarily unavailable"*)
        while ! said=$(cat last_sysfs_mgmt_res 2>&1); do
            case $said in *"temporarily unavailable"*) sleep 0.1 ;; *) break ;; esac
        done
        [ "$said" = 0 ] && return ;;
    esac
    echo "$1 > $2: $said"
    return 1
}
disk() {                    # disk <name> <megabytes>: a file in memory
    [ -d devices/$1 ] && return
    rm -f /tmp/scst-$1
    truncate -s $2M /tmp/scst-$1
    put "add_device $1 filename=/tmp/scst-$1" handlers/vdisk_fileio/mgmt
}
drop_disk() {               # SCSI devices of the kernel have no handler
    [ -e devices/$1/handler ] || return 0
    handler=$(readlink -f devices/$1/handler)
    put "del_device $1" $handler/mgmt
    rm -f /tmp/scst-$1
}
drop_target() {             # drop_target <directory>
    put 0 $1/enabled
    for g in $1/ini_groups/*/; do
        [ -d "$g" ] || continue
        g=${g%/}
        put clear $g/luns/mgmt
        put clear $g/initiators/mgmt
        put "del ${g##*/}" $1/ini_groups/mgmt
    done
    put clear $1/luns/mgmt
}
drop_all() {
    for t in targets/ib_srpt/*/; do
        [ -e "${t}enabled" ] && drop_target ${t%/}
    done
    if [ -d /sys/module/ib_srpt ]; then rmmod ib_srpt; fi
    for d in devices/*/; do
        [ -d "$d" ] || continue
        d=${d%/}
        drop_disk ${d##*/}
    done
}
"""

# Exports the disk $d.
SLOW_DISK = r"""
put "add_device slow filename=$d" handlers/vdisk_blockio/mgmt
put "add slow 0" %(target)s/luns/mgmt
put 1 %(target)s/enabled
"""

# Objects per slab cache that SCST leaves with every session it has ended:
# scst_remove_latency_attrs() in scst_sysfs.c takes the directory `latency` out
# of sysfs, but does not give the kobject back: 64 bytes, and the 8 of its name.
LEAVES = {"kmalloc-64": 1, "kmalloc-8": 1}

PRIVATE = r"""
g=%(target)s/ini_groups/private
put 'create private' %(target)s/ini_groups/mgmt
for n in 1 2; do
    disk private$n 8
    put "add private$n $((n - 1))" $g/luns/mgmt
done
put "add %(name)s" $g/initiators/mgmt
"""

TRACES = r"""
ls -d /sys/kernel/scst_tgt/devices/* /sys/kernel/scst_tgt/targets/ib_srpt \
    2>/dev/null
"""


def session_name(address):
    """Name of the sessions of an address: IPv6 has all its digits."""
    return ipaddress.ip_address(address).exploded


class Tree:
    """A built SCST tree, as SCST_DIR names it."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        missing = [name for name in MODULES + HEADERS
                   if not (self.path / name).is_file()]
        if missing:
            raise LabError("SCST_DIR=%s is no built SCST tree: it has no %s"
                           % (path, ", ".join(missing)))

    def module(self, name):
        return self.path / name

    def c_driver(self):
        """SCST's own ib_srpt.ko, for comparison."""
        if not self.module(C_DRIVER).is_file():
            raise LabError("%s has no %s" % (self.path, C_DRIVER))
        return self.module(C_DRIVER)


class ScstTarget(Target):
    """A target with the SCST engine, or with SCST's own C driver."""

    engine = "scst"
    identification = "SCST SRP target"
    vendor = b"SCST_FI"
    admits_all = True
    largest_lun = 16383
    resets_silently = False     # what the disk completes meanwhile is answered
    leaves = LEAVES
    functions = FUNCTIONS
    traces = TRACES

    def __init__(self, guest, variant, module, tree):
        super().__init__(guest, variant, module)
        self.tree = tree

    @property
    def service_guid(self):
        """While the module is loaded, what it says."""
        shown = self.run("cat %s/srpt_service_guid" % PARAMETERS, check=False)
        return shown.out.strip()[2:] if shown.rc == 0 else self.guid

    @property
    def name(self):
        """Name of the target: the port's default GID."""
        return self.name_of(self.gid)

    @staticmethod
    def name_of(gid):
        return ":".join(gid[2:][i:i + 4] for i in range(0, 32, 4))

    @property
    def directory(self):
        return self.port(self.gid)

    def port(self, gid):
        """The directory of the port with this GID."""
        return "%s/%s" % (DRIVER, self.name_of(gid))

    # --- configuration ----------------------------------------------------

    def prepare(self):
        for name in MODULES:
            self.guest.install_module(self.tree.module(name), load=False)
        self.run(STATE + "modprobe scst && modprobe scst_vdisk")

    def need_module(self, name):
        """Load another module of the tree."""
        module = self.tree.module(name)
        if not module.is_file():
            skip("SCST_DIR has no " + name)
        self.guest.install_module(module)

    def put(self, value, path, timeout=60):
        """Write to a file below SYSFS and wait for the result; returns "" or
        what the error is."""
        done = self.shell("put %s %s" % (shlex.quote(str(value)), path),
                          timeout, check=False)
        return "" if done.rc == 0 else done.out.rsplit(": ", 1)[-1].strip()

    def must(self, value, path, timeout=60):
        """put(), which must succeed."""
        error = self.put(value, path, timeout)
        if error:
            raise Failed("%s > %s: %s" % (value, path, error))

    def attribute(self, name):
        """A file of the target, without the end of the line."""
        return self.read("%s/%s" % (self.directory, name))

    def configure(self, acls=(), disks=1, megabytes=64, enable=True,
                  port=CM_PORT, params="", attributes=None, luns=None):
        """Load the module and export files; everybody is let in."""
        if not self.loaded():
            words = [params]
            if "rdma_cm_port" not in params:
                words.append("rdma_cm_port=%d" % port)
            words += ["%s=%s" % (ATTRIBUTES[name], value)
                      for name, value in (attributes or {}).items()]
            self.load(" ".join(words))
        elif self.variant == "rust" and \
                self.parameter("rdma_cm_port") != str(port):
            error = self.listen(port)
            if error:
                raise Failed("port %d: %s" % (port, error))
        here = self.directory
        lines = []
        for n, lun in enumerate(luns or range(disks)):
            lines.append("disk disk%d %d" % (n, megabytes))
            lines.append("put 'add disk%d %d' %s/luns/mgmt" % (n, lun, here))
        if enable:
            lines.append("put 1 %s/enabled" % here)
        self.shell("\n".join(lines))

    def unconfigure(self, timeout=60):
        self.shell("drop_all", timeout)

    def enable(self, on=True, timeout=60):
        self.open(self.gid, on, timeout)

    def listen(self, port):
        return self.write(PARAMETERS + "/rdma_cm_port", port)

    def add_acl(self, name):
        """Nothing to do: a target without security groups serves everybody."""

    def remove_acl(self, name, timeout=60):
        """Close all sessions; names of initiators are addresses here."""
        self.shell("for f in %s/sessions/*/force_close; do "
                   "if [ -e $f ]; then put 1 $f; fi; done" % self.directory,
                   timeout)

    def slow_disk(self, acls=(), tas=0):
        if tas:
            skip("with SCST, TAS is in a mode page")
        self.load("rdma_cm_port=%d" % CM_PORT)
        self.shell(slow.SCSI_DEBUG + SLOW_DISK % {"target": self.directory})

    def share(self, gid, *names):
        self.shell("disk disk0 64\nput 'add disk0 0' %s/luns/mgmt" % self.port(gid))
        self.open(gid)

    def open(self, gid, on=True, timeout=60):
        self.must(int(on), self.port(gid) + "/enabled", timeout)

    def private_disks(self, names, address):
        self.shell(PRIVATE % {"target": self.directory,
                              "name": session_name(address)})

    # --- what there is ----------------------------------------------------

    def sessions_counted(self):
        return self.calls("scst_register_session")

    def sessions(self):
        """Names of the sessions."""
        return self.run("ls %s/sessions" % self.directory).out.split()

    def session(self, name, attribute):
        return self.read("%s/sessions/%s/%s" % (self.directory, name,
                                                attribute))
