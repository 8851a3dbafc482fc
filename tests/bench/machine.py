# SPDX-License-Identifier: GPL-2.0
#
# The machine in which commands are measured: one CPU whose time is a count of
# instructions, with target and initiator both on it, joined by rxe. Also the cells,
# that is what kinds of load there are.
#
# Not here: to whom samples belong (owners.py), what is made of them (report.py).

import contextlib
import fnmatch
import functools
from dataclasses import dataclass
from pathlib import Path

from guest.initiator import Initiator
from guest.lio import LioTarget
from guest.scst import ScstTarget
from harness.clock import clock
from lab import Guest, LabError, enter, root

from . import symbols
from .owners import Profile

HERE = Path(__file__).resolve().parent

# Operation: (what fio does, does ib_srp send data at once).
OPERATIONS = {"read": ("randread", True), "write": ("randwrite", True),
              "write-rdma": ("randwrite", False), "mixed": ("randrw", True)}
SIZES = ("512", "4k", "64k", "1m")
DEPTHS = (1, 8, 32, 128)

# Samples per second of the guest. Two of them are about 20000 instructions apart,
# to which one sample adds some thousands.
FREQUENCY = 50021

# Milliseconds without and with samples. Large commands take long.
SPANS = {"512": (250, 600), "4k": (250, 600), "64k": (400, 600),
         "1m": (1500, 600)}

PORT = 5555

# fio in the background. What measures it has precedence: with write-512-1 the kernel's
# tasks take turns such that another one of fio's rank never has one. (With a real-time
# scheduler it would disturb them, and the shares of the owners would be others.)
LOAD = r"""
renice -n -20 -p $$ >/tmp/renice.out
nice -n 20 fio --name=b --filename=/dev/{disk} --rw={rw} --bs={size} --iodepth={depth} \
    --iodepth_batch_submit={depth} --iodepth_batch_complete_max={depth} \
    --ioengine=libaio --direct=1 --thread --time_based --runtime=1000 \
    --gtod_reduce=1 --norandommap --randrepeat=1 >/tmp/fio.out 2>&1 &
fio=$!
"""

# The sampler as soon as the disk has done some commands.
MEASURE = r"""
sysctl -qw kernel.perf_event_max_sample_rate=200000
sysctl -qw kernel.perf_cpu_time_max_percent=0
""" + LOAD + r"""
for i in $(seq 200); do
    read r1 a b c w1 rest < /sys/block/{disk}/stat
    [ $i = 1 ] && first=$((r1 + w1))
    [ $((r1 + w1 - first)) -ge {warm} ] && break
    sleep 0.05
done
/lab/sampler {disk} {plain} {sampled} {frequency}
status=$?
kill $fio
wait $fio
[ $status = 0 ] || cat /tmp/fio.out
exit $status
"""

# Without sg_tablesize ib_srp takes 12 segments, 48 KiB of pages that are not adjacent:
# larger requests would be several commands each, how many is chance.
LOGIN = "max_sect=8192,ch_count=1,sg_tablesize=256"

# A disk without memory behind it: what is read is what was in the buffer.
DISK = {"lio": "backstore disk0 16384,rd_nullio=1",
        "scst": "put 'add_device disk0 size_mb=64' handlers/vdisk_nullio/mgmt"}


@dataclass(frozen=True)
class Cell:
    """One kind of load: operation, size and how many commands at a time."""

    operation: str
    size: str
    depth: int

    def __str__(self):
        return "%s-%s-%d" % (self.operation, self.size, self.depth)

    @property
    def immediate(self):
        return OPERATIONS[self.operation][1]


CELLS = tuple(Cell(operation, size, depth) for operation in OPERATIONS
              for size in SIZES for depth in DEPTHS)
MAIN = ("read-4k-32", "write-4k-32", "write-rdma-4k-32", "read-64k-32")


def chosen(words):
    """The cells with these names, in which * stands for anything."""
    found = []
    for word in words.split():
        more = [c for c in CELLS if fnmatch.fnmatchcase(str(c), word)]
        if not more:
            raise LabError("no cell '%s'; cells are <operation>-<size>-<depth>: "
                           "%s; %s; %s" % (
                               word, ", ".join(OPERATIONS), ", ".join(SIZES),
                               ", ".join(map(str, DEPTHS))))
        found += [c for c in more if c not in found]
    return found


class Machine:
    """A machine and the modules that alternate in it: "ours" or "C" and the file, with
    None for the kernel's own. With `full`, functions of modules have names, too; `more`
    are options of QEMU, `scst` is the tree (guest.scst.Tree) that both are built with."""

    def __init__(self, modules, run_dir, full=False, more=(), scst=None):
        self.full, self.names, self.scst = full, None, scst
        self.guest = Guest("bench", run_dir=run_dir, number=1, icount=True,
                           append="slab_nomerge", limit=4 * 3600, more=more)
        self.modules = dict(modules)
        self.sampler = run_dir / "sampler"
        enter.run(root.get().fs,
                  ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o",
                   self.sampler, HERE / "sampler.c"],
                  binds=[run_dir])

    def __enter__(self):
        with clock.booting():
            self.guest.start()
        self.guest.put("/lab/sampler", self.sampler, 0o755)
        return self

    def __exit__(self, kind, value, trace):
        self.guest.kill()
        if kind is None:
            self.guest.check_console()

    @contextlib.contextmanager
    def exported(self, name):
        """A disk that the target with that module exports; yields target and
        initiator."""
        end = (self.guest, "stock" if name == "C" else "rust", self.modules[name])
        target = ScstTarget(*end, self.scst) if self.scst else LioTarget(*end)
        initiator = Initiator(self.guest, target)
        with clock.preparing():
            target.prepare()
            target.shell(DISK[target.engine])
            target.configure([initiator.port_id], port=PORT)
        try:
            yield target, initiator
        finally:
            with clock.preparing():
                target.unconfigure()

    @contextlib.contextmanager
    def session(self, name, immediate):
        """A session with one channel to the target with that module; yields the
        disk's name."""
        with self.exported(name) as (_, initiator):
            with clock.preparing():
                disk, = initiator.login(
                    LOGIN, "use_imm_data=%s" % "NY"[immediate])
            self.names = symbols.Names(self.guest, self.full)
            try:
                yield disk.rpartition("/")[2]
            finally:
                with clock.preparing():
                    initiator.logout()

    def measure(self, disk, cell, spans=None):
        """The profile of a cell on a disk that is there."""
        plain, sampled = spans or SPANS[cell.size]
        out = self.guest.run(["bash", "-c", MEASURE.format(
            disk=disk, rw=OPERATIONS[cell.operation][0], size=cell.size,
            depth=cell.depth, plain=plain, sampled=sampled,
            warm=2 * cell.depth + 20, frequency=FREQUENCY)], timeout=600).out
        return Profile(out, self.names)

    def round(self, cells, number, spans=None, measure=None):
        """Measure the cells once with each module, in turn; yields (name, cell, result
        of `measure`). Every other round begins with another module."""
        names = list(self.modules)
        if number % 2:
            names.reverse()
        for name in names:
            for immediate in (True, False):
                some = [c for c in cells if c.immediate == immediate]
                if not some:
                    continue
                with self.session(name, immediate) as disk:
                    for cell in some:
                        done = measure or functools.partial(self.measure, spans=spans)
                        yield name, cell, done(disk, cell)
