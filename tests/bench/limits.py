# SPDX-License-Identifier: GPL-2.0
#
# The comparison of measured costs with limits.toml.
#
# Not here: how they are measured (exact.py).

import tomllib
from pathlib import Path

FILE = Path(__file__).resolve().parent / "limits.toml"

# What is limited: what it is called, and how far a figure may be above its limit, as
# a part of that and as a number. What has no part is a count, which may not be lower,
# either: a limit that nothing reaches would not notice one more.
FIGURES = {"all": ("instructions of the whole machine", 0.01, 0),
           "module": ("instructions of the module", 0.01, 0),
           "locks": ("locks that the module takes", 0, 0.3),
           "allocator": ("calls of the allocator by the module", 0, 0.3)}


def limits(series, text=None):
    """{cell: {figure: limit}} for a kernel series, or None if there are none."""
    return tomllib.loads(FILE.read_text() if text is None else text).get(series)


def verdicts(cell, figures, allowed):
    """What is wrong with the figures of a cell, as texts."""
    wrong = []
    for name, (what, part, number) in FIGURES.items():
        limit = allowed[name]
        if not part and figures[name] < limit - number:
            wrong.append("%s: %.1f %s per command: lower the limit of %g (%s)" % (
                cell, figures[name], what, limit, FILE.name))
        if figures[name] > limit * (1 + part) + number:
            wrong.append("%s: %.1f %s per command, %g are allowed (%s)" % (
                cell, figures[name], what, limit, FILE.name))
    return wrong
