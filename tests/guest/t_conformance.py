# SPDX-License-Identifier: GPL-2.0
#
# The conformance table: every scenario of tests/initiator against the target.
# With TARGET=stock it is a comparison, and what differs is no failure.
#
# Environment: CONFORMANCE_ONLY=<names or groups, separated by commas>.
#
# Not here: the scenarios (tests/initiator/src/scenarios).

import json
import os

from .conformance import Table
from .registry import Failed, Wrong, expect, test

STOCK = os.environ.get("TARGET") == "stock"


# The C driver makes many waits run out, and its machines are often replaced.
@test(timeout=5400 if STOCK else 600)
def table(bench):
    """all scenarios of the scripted initiator, as a table"""
    only = os.environ.get("CONFORMANCE_ONLY", "")
    rows = Table(bench, filter(None, only.split(",")))
    rows.run()
    saved = bench.machines.run_dir / "conformance.json"
    saved.write_text(json.dumps(list(rows.rows.values()), indent=1) + "\n")
    for line in rows.lines():
        bench.say(line)
    differing = rows.differing()
    skipped = sum(row["verdict"] == "SKIP" for row in rows.rows.values())
    bench.say("%d scenarios, %d differ, %d skipped; saved in %s" % (
        len(rows.rows), len(differing), skipped, saved))
    expect(rows.rows, "there are scenarios")
    if differing and not STOCK:
        spoiled = any("kernel" in row["seen"] for row in differing)
        raise (Wrong if spoiled else Failed)("%d rows differ: %s" % (
            len(differing), ", ".join(row["name"] for row in differing)))
