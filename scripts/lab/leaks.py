# SPDX-License-Identifier: GPL-2.0
#
# Memory that nothing points to any more: asks a guest's kernel (kmemleak, in
# the sanitized kernel only) to look for it, and judges what it found.
#
# A pointer to a lost object that happens to be left somewhere hides it. Where the
# allocator itself would leave some, guest.py switches that off.
#
# Not here: when to look (tests/guest/machines.py); the console's reports
# (console.py); counting objects of slab caches (tests/guest/usage.py).

import re
from dataclasses import dataclass

KMEMLEAK = "/sys/kernel/debug/kmemleak"

# What the stock kernel and SCST leak by themselves: (expression for the whole
# report, reason). Exact functions, never a class.
ALLOWED = [
    (r"kvasprintf\+\S+\s+config_item_set_name\+\S+\s+"
     r"config_group_init_type_name\+\S+\s+target_fabric_make_nodeacl\+",
     "when a fabric refuses an access control entry, "
     "target_fabric_make_nodeacl() frees the entry, but not its name if that "
     "has 20 characters or more"),
    (r"kobject_create_and_add\+\S+\s+scst_sess_sysfs_create\+",
     "SCST never puts the kobject of a session's directory `latency`; how "
     "many there are, is counted by guest.leaks"),
    (r"kobject_init_and_add\+\S+\s+scst_sess_sysfs_create\+",
     "where adding a session to sysfs fails, as guest.memory lets it, SCST "
     "does not put the kobject, which has a name by then"),
]

# Objects count when they are 5 s old and two scans in a row found no pointer
# to them; what waits for a grace period gets a second chance.
SCAN = r"""
[ -w {file} ] || exit 77
sync
for again in 1 2 3; do sleep 6; echo scan > {file} || exit; done
cat {file}
""".format(file=KMEMLEAK)

# A scan looks at all memory of the guest.
SCAN_TIMEOUT = 120


@dataclass
class Leak:
    """One object without an owner, as the kernel reports it."""
    text: str

    @property
    def size(self):
        """Bytes."""
        found = re.search(r"\(size (\d+)\)", self.text)
        return int(found.group(1)) if found else 0

    def excuse(self):
        """Why it does not count, or None."""
        for expression, reason in ALLOWED:
            if re.search(expression, self.text):
                return reason
        return None


def supported(guest):
    """True if the guest's kernel can look for leaks."""
    return guest.run(["test", "-w", KMEMLEAK], check=False).rc == 0


def scan(guest):
    """Look for leaks; returns the list of those that count. Takes half a
    minute. The guest must have a kernel that supports it."""
    # The kernel also counts them on the console; the report is judged here.
    guest.console.allow(r"kmemleak: \d+ new suspected memory leaks",
                        "each of them is judged by leaks.py")
    out = guest.run(SCAN, timeout=SCAN_TIMEOUT).out
    return [leak for leak in parse(out) if not leak.excuse()]


def parse(text):
    """The reports in the contents of the kernel's file."""
    parts = re.split(r"^(?=unreferenced object )", text, flags=re.M)
    return [Leak(p.rstrip()) for p in parts if p.startswith("unreferenced")]
