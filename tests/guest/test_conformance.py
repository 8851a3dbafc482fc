# SPDX-License-Identifier: GPL-2.0
#
# The conformance table: every scenario of tests/initiator against the target, a
# test each. What a scenario does to the target does not concern the others: when
# a kernel complains or something hangs, the rest goes on with new machines.
#
# With TARGET=stock it is a comparison, and what differs is no failure.
#
# Not here: the scenarios (tests/initiator/src/scenarios), the printed table
# (tests/harness/report.py).

import pytest

from lab import LabError

from . import conformance
from .bench import Bench
from .checks import Checks, Failed, equal, expect, until


@pytest.fixture(scope="module")
def rows(machines):
    """Runs scenarios, in a program that goes on until another file's tests
    begin; started when there is none."""
    class Running:
        program = None
        bench = Bench(machines)

        def get(self):
            if self.program is None or \
                    self.program.configured.target is not machines.target:
                machines.get()
                self.program = conformance.Rows(self.bench)
            return self.program

    running = Running()
    yield running
    if running.program and \
            running.program.configured.target is machines.target:
        running.program.end()
        until(lambda: not machines.left_behind(), 10, "clean machines")


@pytest.fixture
def bench(rows):
    """For conftest.py: these machines are looked at when the file ends."""
    rows.get()
    Checks.count = 0
    return rows.bench


@pytest.mark.keeps
def test_names(bench, rows):
    """the tests of this file are the scenarios of the program"""
    program = rows.get().configured.program
    out = bench.initiator.run([program, "conformance", "--list"]).out
    equal([line.split("\t")[0] for line in out.splitlines()],
          conformance.names(), "scenarios")


@pytest.mark.timeout(conformance.ROW_LIMIT)
@pytest.mark.keeps
@pytest.mark.parametrize("name", conformance.names())
def test_conformance(name, rows, bench, record_property):
    """one scenario of the scripted initiator"""
    stock = bench.target.variant == "stock"
    try:
        row = rows.get().run(name)
    except (Failed, LabError) as error:
        if not stock:
            raise
        row = {"name": name, "seen": str(error).splitlines()[0],
               "expected": "", "verdict": "DIFFERS"}
        bench.machines.discard()
    record_property("row", row)
    if row["verdict"] == "SKIP":
        pytest.skip(row["seen"])
    if stock and row["verdict"] == "DIFFERS":
        pytest.xfail("the C driver: %s" % row["seen"])
    expect(row["verdict"] == "ok", "seen: %s; expected: %s" % (
        row["seen"], row["expected"]))
