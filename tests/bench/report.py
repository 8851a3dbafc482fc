# SPDX-License-Identifier: GPL-2.0
#
# What is printed about measured cells, and the part of docs/performance.md that
# the command writes.
#
# Not here: measuring (machine.py), what a sample is counted as (owners.py).

import statistics
import subprocess

from lab import REPO

from .owners import OWNERS

BEGIN, END = "<!-- begin: make bench%s -->", "<!-- end: make bench%s -->"


def commit():
    """What is measured, as git calls it."""
    return subprocess.run(
        ["git", "-C", REPO, "describe", "--always", "--dirty", "--exclude=*"],
        check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def median(profiles, name):
    return statistics.median(p.costs()[name] for p in profiles)


def spread(ratios):
    """"median (smallest to largest)" of the ratios of each round."""
    text = "%.2f" % statistics.median(ratios)
    if len(ratios) > 1:
        text += " (%.2f to %.2f)" % (min(ratios), max(ratios))
    return text


def paired(found, cell, what):
    """The ratios ours/C of a cell."""
    return spread([what(ours) / what(theirs) for ours, theirs in
                   zip(found["ours", cell], found["C", cell])])


def table(heads, rows):
    lines = ["| %s |" % " | ".join(heads), "|" + "---|" * len(heads)]
    return lines + ["| %s |" % " | ".join(row) for row in rows]


def lines(found, cells, about):
    """Markdown. `found` are lists of profiles by ("ours" or "C", cell); `about`
    says date, kernel, commit and rounds."""
    out = ["Measured on %(date)s, Linux %(kernel)s, commit %(commit)s, "
           "%(rounds)d round(s): medians, ratios of each round with their "
           "spread." % about, "",
           "Instructions per command on the target's side, and commands per 1e9 "
           "instructions of the whole machine:", ""]
    rows = []
    for cell in cells:
        rows.append([str(cell)] + [
            "%.0f" % median(found[name, cell], "target")
            for name in ("C", "ours")] + [
            paired(found, cell, lambda p: p.costs()["target"])] + [
            "%.0f" % statistics.median(p.iops for p in found[name, cell])
            for name in ("C", "ours")] + [
            paired(found, cell, lambda p: p.iops)])
    out += table(["cell", "C", "ours", "ratio", "IOPS C", "IOPS ours", "ratio"],
                 rows)
    out += ["", "By owner; the first four are the target's side:", ""]
    rows = []
    for cell in cells:
        for name in ("C", "ours"):
            rows.append([str(cell), name] + [
                "%.0f" % median(found[name, cell], owner) for owner in OWNERS])
    return out + table(["cell", "module"] + list(OWNERS), rows)


def pictures(found, cells):
    """{file: (title, groups, form)} for plot.bars()."""
    def groups(what):
        return [(str(cell), {name: statistics.median(map(what, found[name, cell]))
                             for name in ("C", "ours")}) for cell in cells]
    return {"performance-cost.svg": (
        "instructions per command on the target's side",
        groups(lambda p: p.costs()["target"]), "%.0f")}


def replace(document, part, name=""):
    """The text of a document with another part between the markers of this name."""
    return between(document, part, *(mark % (name and " CELL=" + name) for mark in (BEGIN, END)))


def between(document, part, begin, end):
    """The text of a document with another part between these lines."""
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError("the document has no place for the figures")
    before, _, rest = document.partition(begin)
    after = rest.partition(end)[2]
    return before + begin + "\n" + "\n".join(part) + "\n" + end + after
