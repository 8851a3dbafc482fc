# SPDX-License-Identifier: GPL-2.0
#
# make bench CELL=realtime: what only two machines and the clock show, with our module
# and the kernel's C module in turn: latency, channels, memory, logins, the way back
# after a cut. perftest over the same HCAs is the floor. Nothing else may run on the
# host.
#
# Not here: what commands cost (machine.py), which the clock of an emulated machine
# does not show; pictures (plot.py).

import json
import re
import statistics
import time
from pathlib import Path

from guest.initiator import Initiator
from guest.lio import LioTarget
from guest.usage import free_kib
from harness.clock import clock
from lab import LabError, Pair

from . import logins, report
from .machine import DISK, PORT

CHANNELS = (1, 4, 16, 64, 256)
LOGINS = 100
# Seconds of a load, and of a cut.
SPAN, CUT = 6, 8

# Operation: (what fio does, does ib_srp send data at once).
LATENCIES = {"read": ("randread", True), "write": ("randwrite", True),
             "write-rdma": ("randwrite", False)}

# The port of perftest.
PERFTEST = 18515

# perftest's names of what is most of a 4k read and of a write.
FLOOR = {"RDMA READ of 4k": "ib_read_lat -s 4096",
         "RDMA WRITE of 4k": "ib_write_lat -s 4096",
         "send of 4k": "ib_send_lat -s 4096"}

# What is measured: (name, unit).
FIGURES = {
    "latency": ("latency at depth 1", "us"),
    "iops": ("IOPS, 4k reads, depth 64, channels:", ""),
    "idle": ("memory per idle channel, channels:", "KiB"),
    "busy": ("memory of a channel with 64 commands of 64k", "KiB"),
    "logins": ("logins and logouts per second", ""),
    "back": ("time from the end of a cut until data moves", "s"),
}


def fio_words(disk, rw, size="4k", depth=1, seconds=SPAN):
    return ["fio", "--name=b", "--filename=" + disk, "--rw=" + rw, "--bs=" + size,
            "--iodepth=%d" % depth, "--ioengine=libaio", "--direct=1", "--thread",
            "--time_based", "--runtime=%d" % seconds, "--ramp_time=1",
            "--norandommap", "--output-format=json"]


def fio(initiator, disk, rw, **more):
    """fio's results of one job."""
    out = initiator.run(fio_words(disk, rw, **more), timeout=SPAN + 90).out
    job, = json.loads(out[out.index("{"):])["jobs"]
    return job["write" if "write" in rw else "read"]


class Realtime:
    """Two machines and the modules that alternate in the target."""

    def __init__(self, modules, run_dir):
        self.modules = dict(modules)
        self.pair = Pair(run_dir=run_dir, smp=1, limit=4 * 3600,
                         append="slab_nomerge", target={"mem": 6144})
        self.program = logins.build(run_dir)

    def __enter__(self):
        with clock.booting():
            self.pair.start()
        return self

    def __exit__(self, kind, value, trace):
        self.pair.kill()
        if kind is None:
            self.pair.check_console()

    def floor(self):
        """{what: (typical, 99 %)} of perftest, in microseconds."""
        found = {}
        target, initiator = self.pair.target, self.pair.initiator
        for what, words in FLOOR.items():
            words += " -d rxe0 -R -F -n 1000"
            job = target.spawn(words, timeout=120)
            target.run("for i in $(seq 300); do rdma resource show cm_id | grep -q "
                       "':%d.*LISTEN\\|LISTEN.*:%d' && exit; sleep 0.1; done; exit 1"
                       % (PERFTEST, PERFTEST))
            # A listener that can be seen may still be that of the last one.
            out = initiator.run("for i in $(seq 10); do out=$(%s %s 2>&1) && break; "
                                "sleep 1; done; echo \"$out\"" % (words, target.ip),
                                timeout=120).out
            job.wait(60)
            # bytes, iterations, min, max, typical, avg, stdev, 99 %, 99.9 %
            line, = re.findall(r"^ *4096 +1000 +(.*)$", out, re.M)
            numbers = [float(word) for word in line.split()]
            found[what] = numbers[2], numbers[5]
        return found

    def measure(self, name):
        """{figure: value} with the module of this name."""
        module = self.modules[name]
        target = LioTarget(self.pair.target, "rust" if module else "stock", module)
        initiator = Initiator(self.pair.initiator, target)
        target.prepare()
        target.shell(DISK)
        target.configure([initiator.port_id], port=PORT)
        found = {}

        def login(more, params=""):
            disk, = initiator.login("max_sect=8192," + more, params)
            return disk

        for what, (rw, immediate) in LATENCIES.items():
            disk = login("ch_count=1", "use_imm_data=%s" % "NY"[immediate])
            seen = fio(initiator, disk, rw)["clat_ns"]["percentile"]
            for part, key in (("p50", "50.000000"), ("p99", "99.000000")):
                found["latency", "%s, %s" % (what, part)] = seen[key] / 1000
            initiator.logout()
        target.wait_for_connections(0)
        for count in CHANNELS:
            before = free_kib(target)
            disk = login("ch_count=%d" % count)
            found["idle", str(count)] = (before - free_kib(target)) / count
            found["iops", str(count)] = fio(initiator, disk, "randread",
                                            depth=64)["iops"]
            if count == 1:
                job = initiator.spawn(fio_words(disk, "randread", "64k", 64, 60),
                                      timeout=120)
                initiator.moves(disk)
                time.sleep(3)
                found["busy", ""] = before - free_kib(target)
                job.kill()
                job.wait(20, check=False)
            initiator.logout()
            target.wait_for_connections(0)
        words = [initiator.tool(self.program), target.guest.ip, str(PORT),
                 str(LOGINS), logins.request(target, initiator)]
        began = time.monotonic()
        out = initiator.run(words, timeout=300).out
        found["logins", ""] = LOGINS / (time.monotonic() - began)
        logins.check(out, [LOGINS])
        found["back", ""] = self.back(initiator, login("ch_count=1,tl_retry_count=2"))
        initiator.logout()
        target.unconfigure()
        return found

    def back(self, initiator, disk):
        """Seconds from the end of a cut that cost the connection until data moves."""
        initiator.patient()
        job = initiator.spawn(fio_words(disk, "randread", depth=8, seconds=300),
                              timeout=400)
        initiator.moves(disk)
        self.pair.cut()
        time.sleep(CUT)
        before = initiator.sectors(disk)
        self.pair.mend()
        began = time.monotonic()
        while initiator.sectors(disk) == before:
            if time.monotonic() - began > 100:
                raise LabError("no data moves after the cut")
            time.sleep(0.1)
        spent = time.monotonic() - began
        job.kill()
        job.wait(30, check=False)
        return spent


def lines(floor, found, about):
    """Markdown. `found` are lists of {figure: value} by module."""
    out = ["Measured on %(date)s, Linux %(kernel)s, commit %(commit)s, %(rounds)d "
           "round(s): medians; ratios ours to C of each round, with their spread. "
           "Two emulated machines of one CPU each on one host; fio, a RAM disk "
           "without memory." % about, ""]
    rows = []
    for figure, what in found["ours"][0]:
        name, unit = FIGURES[figure]
        values = {module: [one[figure, what] for one in rounds]
                  for module, rounds in found.items()}
        ratios = [ours / theirs for ours, theirs in
                  zip(values["ours"], values["C"]) if theirs]
        label = name
        if what:
            label += " " + what if what.isdigit() else ", " + what
        rows.append([label] + [
            "%.1f %s" % (statistics.median(values[m]), unit) for m in ("C", "ours")] + [
            report.spread(ratios) if ratios else "-"])
    out += report.table(["what", "C", "ours", "ratio"], rows)
    out += ["", "perftest over the same HCAs, in microseconds:", ""]
    return out + report.table(["what", "typical", "99 %"], [
        [what] + ["%.0f" % number for number in numbers]
        for what, numbers in floor.items()])


def pictures(found):
    """{file: (title, groups, form)} for plot.bars()."""
    def groups(figure, form="%s"):
        return [(form % what, {name: statistics.median(
            one[figure, what] for one in rounds) for name, rounds in found.items()})
            for kind, what in found["ours"][0] if kind == figure]
    return {
        "performance-latency.svg": ("latency at depth 1, us", groups("latency"), "%.0f"),
        "performance-memory.svg": ("KiB per idle channel",
                                   groups("idle", "%s channels"), "%.0f"),
        "performance-channels.svg": ("IOPS, 4k reads, with so many channels",
                                     groups("iops", "%s channels"), "%.0f")}


def run(modules, folder, rounds):
    """Measure in turn; returns (floor, results by module)."""
    found = {name: [] for name in modules}
    with Realtime(modules, Path(folder)) as machines:
        floor = machines.floor()
        for number in range(rounds):
            for name in sorted(modules, reverse=bool(number % 2)):
                found[name].append(machines.measure(name))
                print("round %d, %s: %s" % (number + 1, name, ", ".join(
                    "%s %s %.1f" % (*key, value)
                    for key, value in found[name][-1].items())), flush=True)
    return floor, found
