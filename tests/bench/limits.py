# SPDX-License-Identifier: GPL-2.0
#
# The comparison of measured costs with limits.toml.
#
# Not here: how they are measured (machine.py).

import tomllib
from pathlib import Path

FILE = Path(__file__).resolve().parent / "limits.toml"

# Part of a limit by which a figure may be above it.
TOLERANCE = 0.01


def limits(series, text=None):
    """{cell: instructions} for a kernel series, or None if there are none."""
    return tomllib.loads(FILE.read_text() if text is None else text).get(series)


def exceeds(cost, limit):
    """Is a cost more than TOLERANCE above its limit?"""
    return cost > limit * (1 + TOLERANCE)


def verdict(cell, cost, limit):
    """"" or what is wrong, as text."""
    if not exceeds(cost, limit):
        return ""
    return "%s costs %.0f instructions on the whole machine, %.1f %% more than " \
        "the %d of %s" % (cell, cost, 100 * (cost / limit - 1), limit, FILE.name)
