# SPDX-License-Identifier: GPL-2.0
#
# How much of the kernel's memory is in use, counted in objects per slab cache
# and areas of vmalloc, to compare before and after something that should leave
# nothing behind.
#
# Not here: memory without an owner (scripts/lab/leaks.py).

import re

# How the names begin of what is looked at. Caches of files and processes follow
# what the shell and the test do.
NAMES = ("kmalloc", "vmalloc", "ib_", "srp", "rxe", "rdma", "configfs",
         "workqueue", "pool_workq", "se_", "lio_", "sgpool", "radix")

# The allocator counts what it keeps ready per CPU (batches of up to 60
# objects) as used, and KASAN what it holds back for a while. Emptying that and
# looking several times, the smallest number is the true one. Areas of vmalloc that
# are freed stay in its list, unpurged, until there are many.
SCRIPT = r"""
sync; echo 2 > /proc/sys/vm/drop_caches
for i in $(seq 8); do
    for s in CACHES; do echo 1 > $s; done 2>/dev/null
    echo vmalloc $(grep -vc unpurged /proc/vmallocinfo)
    echo modules $(wc -l < /proc/modules)
    awk 'NR > 2 { print $1, $2 }' /proc/slabinfo
done
""".replace("CACHES", " ".join("/sys/kernel/slab/%s*/shrink" % n for n in NAMES))


def usage(end):
    """Objects in use per slab cache, areas of vmalloc, and modules, on a
    Target or an Initiator."""
    found = {}
    for line in end.run(SCRIPT, timeout=120).out.splitlines():
        name, count = line.split()
        found[name] = min(int(count), found.get(name, 1 << 60))
    return found


def relevant(found):
    """The names that a leak of this module could show in."""
    return [n for n in found if n.startswith(NAMES)]


def growing(usages, tolerance):
    """Names of what grows by more than this every time, with the numbers:
    what leaks does, what is kept ready for later does not."""
    return {n: [u.get(n, 0) for u in usages] for n in relevant(usages[-1])
            if all(b.get(n, 0) - a.get(n, 0) > tolerance
                   for a, b in zip(usages, usages[1:]))}


def free_kib(end):
    """KiB of free memory, with the pages that each CPU keeps for itself."""
    end.run("echo 3 > /proc/sys/vm/drop_caches; sleep 1")
    zones = end.run("cat /proc/zoneinfo").out
    pages = re.findall(r"^ +(?:nr_free_pages|count:) +(\d+)$", zones, re.M)
    return 4 * sum(map(int, pages))
