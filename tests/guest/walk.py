# SPDX-License-Identifier: GPL-2.0
#
# A model of what an administrator can do to a target with LIO: what is there, which
# actions there are, and what must become of each. It knows no machine: an action is a
# script and the error that it must end with.
#
# Not here: carrying them out (test_walk.py).

import errno
import os
import random

SRPT = "/sys/kernel/config/target/srpt"
CORE = "/sys/kernel/config/target/core/rd_mcp_0"
PARAMETERS = "/sys/module/ib_srpt/parameters"

# The portal group of the session that is under load, which keeps its LUN 0, and others.
MAIN, OTHERS = "tpgt_1", ("walk_1", "walk_2")
STRANGERS = tuple("0x" + digit * 32 for digit in "5678")
NO_NAMES = ("initiator", "0xzz", "10.9.0.256")
DISKS = ("disk1", "disk2")
LUNS, MAPPED = (1, 2, 3), (0, 7)
ATTRIBUTES = {
    "srp_max_rdma_size": (65536, (65536, 1 << 20, 1 << 24), (0, 65535, "x")),
    "srp_max_rsp_size": (256, (256, 512, 1024), (39, 1025, "x")),
    "srp_sq_size": (256, (256, 128, 1024), (3, 65536, "x")),
    "use_srq": (0, (0, 1), (2, "-1")),
}
PORT = 5555
HCAS = ("rxe0", "mlx5_0")
ADDRESS = "10.9.0.101/24"


class Action:
    """`error` is an errno that the script must fail with, 0 for none; it ends within
    `seconds`."""

    def __init__(self, kind, script, error=0, seconds=30):
        self.kind, self.script, self.error, self.seconds = kind, script, error, seconds

    @property
    def said(self):
        """What the script must say last."""
        return os.strerror(self.error) if self.error else ""

    def __repr__(self):
        return "%s: %s" % (self.script, self.said or "done")


class Group:
    """A portal group: logical units with their disk or None, entries with what they
    map."""

    def __init__(self):
        self.enabled = 0
        self.luns, self.acls = {}, {}

    def uses(self, lun):
        """Does an entry map this logical unit?"""
        return any(lun in maps.values() for maps in self.acls.values())


class Model:
    """The state. `port` is the name of the port, `initiator` of the entry under load, `up`
    a script that puts up the interface."""

    def __init__(self, port, initiator, up, seed):
        self.random = random.Random(seed)
        self.port, self.initiator, self.up = port, initiator, up
        self.groups = {MAIN: Group()}
        main = self.groups[MAIN]
        main.luns[0], main.acls[initiator], main.enabled = "disk0", {0: 0}, 1
        self.attributes = {name: value[0] for name, value in ATTRIBUTES.items()}
        self.listener = PORT
        self.hca = HCAS[0]
        self.address = False

    # --- names ------------------------------------------------------------

    def group(self, name, *more):
        return "/".join((SRPT, self.port, name) + more)

    def lun(self, group, lun):
        return self.group(group, "lun", "lun_%d" % lun)

    def acl(self, group, name, *mapped):
        return self.group(group, "acls", name, *("lun_%d" % m for m in mapped))

    def sysfs(self, *more):
        return "/".join(("/sys/class/infiniband_srpt/srpt-%s-1" % self.hca,) + more)

    # --- what is there ----------------------------------------------------

    def listing(self):
        """What must be found below SRPT: paths of directories, "path -> disk" for links, and
        "path = value"."""
        found = ["rdma_cm_port = %d" % self.listener]
        for name, group in self.groups.items():
            found += [name, "%s/enable = %d" % (name, group.enabled)]
            found += ["%s/%s = %d" % (name, attribute, value)
                      for attribute, value in self.attributes.items()]
            for lun, disk in group.luns.items():
                found += ["%s/lun_%d" % (name, lun)]
                found += ["%s/lun_%d -> %s" % (name, lun, disk)] if disk else []
            for acl, maps in group.acls.items():
                found.append("%s/%s" % (name, acl))
                for mapped, lun in maps.items():
                    found += ["%s/%s/lun_%d" % (name, acl, mapped),
                              "%s/%s/lun_%d -> lun_%d" % (name, acl, mapped, lun)]
        return sorted(found)

    def making(self):
        """A script that makes all of it; disks are there, and the module is loaded."""
        lines = ["set -e", "mkdir -p " + self.group(MAIN)]
        for name, group in self.groups.items():
            lines.append("mkdir -p " + self.group(name))
            for lun, disk in group.luns.items():
                lines += ["mkdir " + self.lun(name, lun), "ln -s %s/%s %s/disk" % (
                    CORE, disk or DISKS[0], self.lun(name, lun))]
            for acl in group.acls:
                lines += self._make_acl(name, acl)
            # What is mapped may have lost its disk; without one it cannot be mapped.
            lines += ["rm %s/disk" % self.lun(name, lun)
                      for lun, disk in group.luns.items() if not disk]
            lines.append("echo %d > %s" % (group.enabled, self.group(name, "enable")))
        lines += ["echo %d > %s" % (value, self.group(MAIN, "attrib", name))
                  for name, value in self.attributes.items()]
        lines.append("echo %d > %s/discovery_auth/rdma_cm_port" % (self.listener, SRPT))
        return "\n".join(lines)

    def removing(self):
        """A script that removes all of it, but the disks."""
        lines = ["set -e", "echo 0 > %s/discovery_auth/rdma_cm_port" % SRPT]
        for name, group in self.groups.items():
            lines.append("echo 0 > " + self.group(name, "enable"))
            for acl in group.acls:
                lines += self._drop_acl(name, acl)
            for lun, disk in group.luns.items():
                lines += ["rm %s/disk" % self.lun(name, lun)] if disk else []
                lines.append("rmdir " + self.lun(name, lun))
            lines.append("rmdir " + self.group(name))
        return "\n".join(lines + ["rmdir %s/%s %s" % (SRPT, self.port, SRPT)])

    def _make_acl(self, name, acl):
        lines = ["mkdir " + self.acl(name, acl)]
        for mapped, lun in self.groups[name].acls[acl].items():
            lines.append("mkdir {0}; ln -s {1} {0}/lun".format(
                self.acl(name, acl, mapped), self.lun(name, lun)))
        return lines

    def _drop_acl(self, name, acl):
        lines = []
        for mapped in self.groups[name].acls[acl]:
            lines += ["rm %s/lun" % self.acl(name, acl, mapped),
                      "rmdir " + self.acl(name, acl, mapped)]
        return lines + ["rmdir " + self.acl(name, acl)]

    # --- actions ----------------------------------------------------------

    def next(self):
        """The next action, by chance; the state is that after it."""
        kinds, weights = zip(*KINDS.items())
        while True:
            kind, = self.random.choices(kinds, weights)
            action = getattr(self, "_" + kind)()
            if action:
                action.kind = kind
                return action

    def last(self):
        """Actions after which the session has all it needs."""
        if self.hca is None:
            yield self._hca_add(HCAS[0])
        elif self.hca != HCAS[0]:
            yield self._rename()
        if self.address:
            yield self._address()
        if self.initiator not in self.groups[MAIN].acls:
            yield self._session_entry()
        self.listener = PORT
        yield Action("listener", "echo %d > %s/discovery_auth/rdma_cm_port" % (PORT, SRPT))
        self.groups[MAIN].enabled = 1
        yield Action("enable", "echo 1 > " + self.group(MAIN, "enable"))

    def _choose(self, *words):
        return self.random.choice(words)

    def _any_group(self):
        return self._choose(MAIN, *OTHERS)

    def _group_made(self):
        name = self._choose(*OTHERS)
        there = name in self.groups
        if not there:
            self.groups[name] = Group()
        return Action("", "mkdir " + self.group(name), errno.EEXIST if there else 0)

    def _group_removed(self):
        name = self._any_group()
        group = self.groups.get(name)
        if group is None:
            error = errno.ENOENT
        elif group.luns or group.acls:
            error = errno.ENOTEMPTY
        else:
            error = 0
            del self.groups[name]
        return Action("", "rmdir " + self.group(name), error)

    def _enable(self):
        name, value = self._any_group(), self._choose(0, 1, 1, "x")
        group = self.groups.get(name)
        error = errno.ENOENT if group is None else errno.EINVAL if value == "x" else 0
        if not error:
            group.enabled = value
        return Action("", "echo %s > %s" % (value, self.group(name, "enable")), error)

    def _entry_made(self):
        name, acl = self._any_group(), self._choose(*STRANGERS, *NO_NAMES)
        group = self.groups.get(name)
        if group is None:
            error = errno.ENOENT
        elif acl in group.acls:
            error = errno.EEXIST
        elif acl in NO_NAMES:
            error = errno.EINVAL
        else:
            error = 0
            group.acls[acl] = {}
        return Action("", "mkdir " + self.acl(name, acl), error)

    def _entry_removed(self):
        name, acl = self._any_group(), self._choose(*STRANGERS)
        group = self.groups.get(name)
        if group is None or acl not in group.acls:
            error = errno.ENOENT
        elif group.acls[acl]:
            error = errno.ENOTEMPTY
        else:
            error = 0
            del group.acls[acl]
        return Action("", "rmdir " + self.acl(name, acl), error)

    def _session_entry(self):
        """The entry that the session came through goes, or comes again; disabled meanwhile,
        so that no session sees an entry without its logical unit."""
        main = self.groups[MAIN]
        if self.initiator in main.acls:
            lines = self._drop_acl(MAIN, self.initiator)
            del main.acls[self.initiator]
        else:
            main.acls[self.initiator] = {0: 0}
            lines = self._make_acl(MAIN, self.initiator)
        enable = self.group(MAIN, "enable")
        return Action("", "\n".join(["set -e", "echo 0 > " + enable, *lines,
                                     "echo %d > %s" % (main.enabled, enable)]))

    def _lun_made(self):
        name, lun = self._any_group(), self._choose(*LUNS)
        group = self.groups.get(name)
        error = errno.ENOENT if group is None else errno.EEXIST if lun in group.luns else 0
        if not error:
            group.luns[lun] = None
        return Action("", "mkdir " + self.lun(name, lun), error)

    def _lun_removed(self):
        name, lun = self._any_group(), self._choose(*LUNS)
        group = self.groups.get(name)
        if group is None or lun not in group.luns:
            error = errno.ENOENT
        elif group.uses(lun):
            error = errno.EBUSY
        elif group.luns[lun]:
            error = errno.ENOTEMPTY
        else:
            error = 0
            del group.luns[lun]
        return Action("", "rmdir " + self.lun(name, lun), error)

    def _disk(self):
        """A disk is put into a logical unit, or taken out, mapped or not."""
        name, lun, disk = self._any_group(), self._choose(*LUNS), self._choose(*DISKS)
        group = self.groups.get(name)
        link = self.lun(name, lun) + "/disk"
        if self._choose(True, True, False):
            there = group is not None and lun in group.luns
            error = errno.ENOENT if not there else errno.EEXIST if group.luns[lun] else 0
            if not error:
                group.luns[lun] = disk
            # -n: not into the directory that a link leads to.
            return Action("", "ln -sn %s/%s %s" % (CORE, disk, link), error)
        error = 0 if group and group.luns.get(lun) else errno.ENOENT
        if not error:
            group.luns[lun] = None
        return Action("", "rm " + link, error)

    def _map(self):
        """A logical unit is shown to an entry."""
        name, acl = self._any_group(), self._choose(*STRANGERS)
        lun, mapped = self._choose(*LUNS), self._choose(*MAPPED)
        group = self.groups.get(name)
        if group is None or lun not in group.luns or acl not in group.acls:
            return None
        place = self.acl(name, acl, mapped)
        if mapped in group.acls[acl]:
            return Action("", "mkdir " + place, errno.EEXIST)
        script = "mkdir {0} && ln -s {1} {0}/lun".format(place, self.lun(name, lun))
        if not group.luns[lun]:
            # There is no disk in it.
            return Action("", script + " || { rmdir %s; false; }" % place, errno.EINVAL)
        group.acls[acl][mapped] = lun
        return Action("", script)

    def _unmap(self):
        name, acl = self._any_group(), self._choose(*STRANGERS)
        group = self.groups.get(name)
        if group is None or not group.acls.get(acl):
            return None
        mapped = self._choose(*sorted(group.acls[acl]))
        del group.acls[acl][mapped]
        return Action("", "rm {0}/lun && rmdir {0}".format(self.acl(name, acl, mapped)))

    def _attribute(self):
        name, attribute = self._any_group(), self._choose(*ATTRIBUTES)
        _, good, bad = ATTRIBUTES[attribute]
        value = self._choose(*good, *bad)
        if self.hca and self._choose(True, False, False):
            path, error = self.sysfs(attribute), 0
        else:
            path = self.group(name, "attrib", attribute)
            error = 0 if name in self.groups else errno.ENOENT
        error = error or (errno.EINVAL if value in bad else 0)
        if not error:
            self.attributes[attribute] = value
        return Action("", "echo %s > %s" % (value, path), error)

    def _listener(self):
        path = self._choose(SRPT + "/discovery_auth/rdma_cm_port", PARAMETERS + "/rdma_cm_port")
        value, error = self._choose(
            (PORT, 0), (PORT, 0), (PORT, 0), (0, 0), (PORT + 1, 0), ("x", errno.EINVAL),
            (70000, errno.ERANGE))
        if not error:
            self.listener = value
        return Action("", "echo %s > %s" % (value, path), error)

    def _parameter(self):
        """Those that cannot be changed while the module is loaded."""
        name = self._choose("srp_max_req_size", "srpt_service_guid", "max_channels_per_nexus",
                            "target_requests", "max_inline_data", "ib_cm_on_roce")
        return Action("", "echo 1 > %s/%s" % (PARAMETERS, name), errno.EACCES)

    def _sysfs(self):
        if self.hca is None:
            return None
        file, value, error = self._choose(
            ("port_id", "walk", 0), ("port_id", "x" * 64, errno.EINVAL),
            ("comp_v_mask", "1", 0), ("comp_v_mask", "0", errno.EINVAL),
            ("enabled", "1", errno.EACCES))
        return Action("", "echo %s > %s" % (value, self.sysfs(file)), error)

    def _read(self):
        """Every file there is."""
        return Action("", "find %s /sys/class/infiniband_srpt/*/ %s -type f -exec cat {} + "
                      ">/dev/null 2>&1; true" % (SRPT, PARAMETERS))

    def _disconnect(self):
        """Every session is ended; initiators may log in again."""
        if self.hca is None:
            return None
        return Action("", "for s in %s/*; do [ ! -d $s ] || echo 1 > $s/disconnect; done "
                      "2>/dev/null; true" % self.sysfs("sessions"))

    def _hca_add(self, name):
        self.hca = name
        return Action("", "rdma link add %s type rxe netdev eth0" % name)

    def _hca(self):
        """The HCA goes, or one comes."""
        if self.hca is None:
            return self._hca_add(self._choose(*HCAS))
        name, self.hca = self.hca, None
        return Action("", "rdma link delete " + name, seconds=60)

    def _rename(self):
        if self.hca is None:
            return None
        old = self.hca
        self.hca, = set(HCAS) - {old}
        return Action("", "rdma dev set %s name %s" % (old, self.hca))

    def _address(self):
        self.address = not self.address
        return Action("", "ip addr %s %s dev eth0" % (
            "add" if self.address else "del", ADDRESS))

    def _link(self):
        """The interface goes down and up, with another HCA, as rdma_rxe does not send
        management datagrams any more once that has failed."""
        if self.hca is None:
            return None
        return Action("", "set -e\nip link set eth0 down\nsleep 0.2\nrdma link delete {0}\n"
                      "{1}\nrdma link add {0} type rxe netdev eth0".format(self.hca, self.up),
                      seconds=60)

    def _unload(self):
        """Not while there is a configuration."""
        return Action("", "rmmod ib_srpt 2>&1 | grep -q 'in use'")

    def _reload(self):
        """All of it goes, the module too, and comes again; a name of a port is taken while
        its HCA is there."""
        if self.hca is None:
            return None
        return Action("", "%s\nrmmod ib_srpt\nmodprobe ib_srpt\n%s" % (
            self.removing(), self.making()), seconds=90)

    def _targetcli(self):
        """It enables whatever it finds."""
        if self.hca is None:
            return None
        self.groups[MAIN].enabled = 1
        return Action("", "targetcli ls /srpt >/dev/null", seconds=120)


# Methods of Model without their underscore, and how often each comes.
KINDS = {
    "group_made": 20, "group_removed": 5, "enable": 8, "entry_made": 12, "entry_removed": 8,
    "session_entry": 3, "lun_made": 10, "lun_removed": 8, "disk": 14, "map": 12, "unmap": 8,
    "attribute": 10, "listener": 4, "parameter": 3, "sysfs": 6, "read": 3, "disconnect": 3,
    "hca": 3, "rename": 2, "address": 3, "link": 1, "unload": 3, "reload": 0.5,
    "targetcli": 0.3,
}
