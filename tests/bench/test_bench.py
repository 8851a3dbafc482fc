# SPDX-License-Identifier: GPL-2.0
#
# The main cells cost no more than limits.toml says, and what this comparison is
# made of.
#
# Not here: all cells, and the C module beside ours (run).

import pytest

from harness.names import run_name
from lab import env

from . import exact, flame, limits, owners, plot, realtime, report
from .machine import MAIN, Machine, chosen


@pytest.mark.guest
@pytest.mark.timeout(900)
def test_limits(built, lab_root, pytestconfig, worker_id, subtests):
    """instructions, locks and calls of the allocator of the main cells are within limits"""
    allowed = limits.limits(lab_root.series)
    if allowed is None:
        pytest.skip("no limits for kernels of series " + lab_root.series)
    folder = env.out_dir() / run_name(pytestconfig) / worker_id / "bench"
    folder.mkdir(parents=True)
    figures = {}
    with Machine({"ours": built.small_module}, folder, True,
                 exact.options(folder)) as machine:
        def measure(disk, cell):
            return exact.count(machine, folder, disk, cell).figures()
        for number in range(2):
            # What is above a limit twice is above it.
            cells = [cell for cell in MAIN if cell not in figures
                     or limits.verdicts(cell, figures[cell], allowed[cell])]
            for _, cell, found in machine.round(chosen(" ".join(cells)), number,
                                                measure=measure):
                least = figures.setdefault(str(cell), found)
                figures[str(cell)] = {name: min(least[name], found[name])
                                      for name in found}
    assert set(figures) == set(MAIN)
    for cell, found in figures.items():
        print("%s: %s" % (cell, ", ".join(
            "%.1f %s" % (found[name], what)
            for name, (what, *_) in limits.FIGURES.items())))
        with subtests.test(cell):
            wrong = limits.verdicts(cell, found, allowed[cell])
            assert not wrong, "\n".join(wrong)


def test_comparison():
    """one lock, one allocation, or 1 % more instructions are too much"""
    text = '["9.9".read-4k-32]\nall = 80000\nmodule = 2000\nlocks = 8\n' \
        'allocator = 0\n'
    allowed = limits.limits("9.9", text)["read-4k-32"]
    assert limits.limits("9.8", text) is None
    good = {"all": 80700, "module": 2010, "locks": 8.1, "allocator": 0.02}
    assert not limits.verdicts("cell", good, allowed)
    for name, value in (("all", 81000), ("module", 2030), ("locks", 9),
                        ("locks", 7), ("allocator", 2)):
        wrong, = limits.verdicts("cell", {**good, name: value}, allowed)
        assert limits.FIGURES[name][0] in wrong
    for series in ("7.3",):
        for cell, found in limits.limits(series).items():
            assert set(found) == set(limits.FIGURES), cell
        assert set(limits.limits(series)) == set(MAIN)


def test_owners():
    """the nearest function that is the target's, rxe's or the initiator's decides"""
    for stack, owner in (
            ("a[ib_srpt];b[ib_core];c[]", "module"),
            ("memcpy[];a[ib_srpt];c[]", "module"),
            ("clear_page[];sgl_alloc_order[];a[target_core_mod];b[ib_srpt]",
             "memory management"),
            ("rdma_rw_ctx_init[ib_core];a[ib_srpt]", "RDMA core"),
            ("rd_execute_rw[target_core_mod];a[ib_srpt]", "target core"),
            ("memset[];__alloc_skb[];a[rdma_rxe];b[ib_srpt]", "rxe"),
            ("a[ib_srp];b[scsi_mod]", "initiator"),
            ("kmem_cache_free[];b[]", "rest"),
            ("default_idle[];do_idle[];cpu_startup_entry[]", "idle")):
        assert owners.owner(stack.split(";")) == owner, stack


def sampled(lost=0, commands=10):
    return ("plain 100000 %d\nsampled 100000 10\nlost %d\nstack 3 1 2\n"
            "stack 1 2\n" % (commands, lost))


def test_profile():
    """shares of the samples become instructions per command"""
    name = {1: "x[ib_srpt]", 2: "y[]"}.get
    profile = owners.Profile(sampled(), name)
    assert profile.costs()["module"] == profile.costs()["target"] == 7500
    assert profile.costs()["rest"] == 2500 and profile.iops == 1e5
    for text in (sampled(lost=1), sampled(commands=0), "plain 1 1\n"):
        with pytest.raises(ValueError):
            owners.Profile(text, name)


def test_report():
    """the figures take the place between the markers, and nothing else"""
    name = {1: "x[ib_srpt]", 2: "y[]"}.get
    cells = chosen("read-4k-32")
    found = {(who, cells[0]): [owners.Profile(sampled(), name)] * 2
             for who in ("ours", "C")}
    part = report.lines(found, cells, {"date": "today", "kernel": "9.9",
                                       "commit": "abc", "rounds": 2})
    assert "| read-4k-32 | 7500 | 7500 | 1.00 (1.00 to 1.00) |" in \
        "\n".join(part)
    document = "a\n%s\nold\n%s\nb\n" % (report.BEGIN % "", report.END % "")
    other = document.replace("bench", "bench CELL=x").replace("old", "other")
    text = report.replace(document + other, part)
    assert text.startswith("a\n" + report.BEGIN % "") and "old" not in text
    assert text.endswith(report.END % "" + "\nb\n" + other)
    assert "other" not in report.replace(document + other, part, "x")
    (title, groups, form), = report.pictures(found, cells).values()
    assert groups == [("read-4k-32", {"C": 7500, "ours": 7500})]
    assert plot.bars(title, groups, form).count(">7500</text>") == 2


def test_realtime_report():
    """figures with medians, ratios by round, and what perftest says"""
    def one(iops):
        return {("latency", "read, p50"): 200.0, ("iops", "4"): iops}
    found = {"C": [one(100), one(200)], "ours": [one(110), one(180)]}
    part = "\n".join(realtime.lines({"send of 4k": (90.0, 120.0)}, found, {
        "date": "today", "kernel": "9.9", "commit": "abc", "rounds": 2}))
    assert "| latency at depth 1, read, p50 | 200.0 us | 200.0 us | 1.00 (1.00 " \
        "to 1.00) |" in part
    assert "depth 64, channels: 4 | 150.0  | 145.0  | 1.00 (0.90 to 1.10) |" in part
    assert "| send of 4k | 90 | 120 |" in part
    drawn = realtime.pictures(found)["performance-channels.svg"][1]
    assert drawn == [("4 channels", {"C": 150, "ours": 145})]


def test_flame():
    """a flame graph has a box for each function"""
    drawing = flame.svg([(3, ["x[ib_srpt]", "y[]"]), (1, ["y[]"])], "a < b")
    assert "<title>x[ib_srpt]: 75.00 %</title>" in drawing
    assert "<title>y: 100.00 %</title>" in drawing and "a &lt; b" in drawing
