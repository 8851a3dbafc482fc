# SPDX-License-Identifier: GPL-2.0
#
# SCST's configuration tool, from the tree that SCST_DIR names, with the SCST
# engine: an /etc/scst.conf that was made for SCST's own driver is applied, saved,
# cleared, and applied again from what was saved.
#
# Not here: the attributes themselves (test_scst.py).

import re

import pytest

from .checks import contains, equal, expect, skip, until
from .scst import SYSFS
from .target import CM_PORT

pytestmark = pytest.mark.engine("scst")

TOOL = "scstadmin/scstadmin.sysfs/scstadmin"
LIBRARY = "scstadmin/scstadmin.sysfs/scst-*/lib/SCST/SCST.pm"

# As an administrator writes it. What has a line [key] in sysfs is in it, so that
# it is set, and must be saved.
CONFIGURATION = """\
HANDLER vdisk_fileio {
	DEVICE disk0 {
		filename /tmp/scst-disk0
	}

	DEVICE small {
		filename /tmp/scst-small
	}
}

TARGET_DRIVER ib_srpt {
	TARGET %(target)s {
		comp_v_mask 1
		port_id "storage 7"
		rel_tgt_id 7
		enabled 1

		LUN 0 disk0

		GROUP some {
			LUN 0 small

			INITIATOR %(initiator)s
		}
	}
}
"""


class Tool:
    """scstadmin in the target machine."""

    def __init__(self, target):
        self.target = target
        tree = target.tree.path
        library = sorted(tree.glob(LIBRARY))
        if not (tree / TOOL).is_file() or not library:
            skip("SCST_DIR has no scstadmin (%s, %s)" % (TOOL, LIBRARY))
        target.guest.put("/lab/scstadmin/scstadmin", tree / TOOL)
        target.guest.put("/lab/scstadmin/SCST/SCST.pm", library[-1])

    def run(self, *words):
        """One order, which must succeed; returns what it says."""
        done = self.target.run(["perl", "-I", "/lab/scstadmin",
                                "/lab/scstadmin/scstadmin", "-noprompt",
                                *words], timeout=60, check=False)
        expect(done.rc == 0, "scstadmin %s succeeds (%d):\n%s"
               % (" ".join(words), done.rc, done.out))
        return done.out

    def save(self):
        """The configuration as the tool writes it, line by line."""
        self.run("-write_config", "/tmp/saved.conf")
        text = self.target.guest.get("/tmp/saved.conf").decode()
        return [line.strip() for line in text.splitlines() if line.strip()
                and not line.startswith("#")]


def section(lines, head):
    """The lines of a section, by its first words, without the ends."""
    begin = lines.index(head + " {")
    depth, found = 0, []
    for line in lines[begin:]:
        depth += line.endswith("{") - (line == "}")
        if not depth:
            return found[1:]
        found.append(line)
    return found


@pytest.mark.timeout(240)
def test_round_trip(bench):
    """a configuration file is applied, saved, cleared, and what was saved is
    applied: the target is the same again; initiators get what it says"""
    target, initiator = bench.target, bench.initiator
    tool = Tool(target)
    target.load("rdma_cm_port=%d" % CM_PORT)
    target.run("truncate -s 64M /tmp/scst-disk0; "
               "truncate -s 32M /tmp/scst-small")
    # What stands for this initiator: its address, or the C driver's idea.
    name = initiator.guest.ip if target.variant == "rust" \
        else target.guest.ip
    target.guest.put("/etc/scst.conf", CONFIGURATION % {
        "target": target.name, "initiator": name})

    def is_configured():
        equal([target.attribute(a).split("\n")[0] for a in
               ("enabled", "comp_v_mask", "port_id", "rel_tgt_id")],
              ["1", "1", "storage 7", "7"], "attributes")
        disk, = initiator.login()
        equal(initiator.megabytes(disk), 32, "the disk of the group")
        initiator.fio(disk, "1m")
        initiator.logout()
        target.wait_for_connections(0)

    tool.run("-config", "/etc/scst.conf")
    is_configured()
    # SCST's own copy_manager numbers whatever disks there are.
    saved = section(tool.save(), "TARGET_DRIVER ib_srpt")
    target.run("mv /tmp/saved.conf /tmp/first.conf")
    mine = section(saved, "TARGET " + target.name)
    for line in ("comp_v_mask 1", 'port_id "storage 7"', "rel_tgt_id 7",
                 "enabled 1", "LUN 0 disk0", "GROUP some {", "LUN 0 small",
                 "INITIATOR " + name):
        contains(mine, line, "the target, as it was saved,")
    # Attributes that only tell something are not saved.
    for word in ("login_info", "device", "link_layer"):
        expect(not any(re.match(word + r"\b", line) for line in mine),
               word + " is not saved")

    tool.run("-clear_config", "-force")
    equal(target.attribute("enabled"), "0", "enabled, when all was cleared")
    equal(target.run("ls %s/devices" % SYSFS).out.split(), [],
          "devices, when all was cleared")
    expect(initiator.try_login(disks=0).rc != 0, "a login fails then")

    # After this one, everything the target has comes from what was saved.
    target.unload()
    target.load("rdma_cm_port=%d" % CM_PORT)
    tool.run("-config", "/tmp/first.conf")
    is_configured()
    equal(section(tool.save(), "TARGET_DRIVER ib_srpt"), saved,
          "what is saved now")

    initiator.login()
    contains(tool.run("-list_sessions"), name, "the list of sessions")
    initiator.logout()
    until(lambda: not target.sessions(), 30, "the sessions are gone")
    target.unconfigure()
    target.run("rm -f /etc/scst.conf /tmp/first.conf /tmp/saved.conf")
