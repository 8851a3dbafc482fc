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
from .checks import Checks, Failed, equal, expect
from .conftest import aftermath


class Running:
    """The program that runs scenarios; it goes on until another file's tests
    begin, and is started when there is none."""

    def __init__(self, machines):
        self.bench, self.program = Bench(machines), None

    def on(self, machines):
        """Does it run on these machines?"""
        return self.program and machines.target and \
            self.program.configured.target is machines.target

    def get(self):
        machines = self.bench.machines
        if not self.on(machines):
            machines.get()
            try:
                self.program = conformance.Rows(self.bench)
            except BaseException:
                machines.discard()
                raise
        return self.program

    def end(self):
        """The target is configured no more, and the machines are as before."""
        machines = self.bench.machines
        if not self.on(machines):
            return
        try:
            self.program.end()
            aftermath(machines)
        except BaseException:
            machines.discard()
            raise


@pytest.fixture(scope="module")
def rows(machines):
    """Runs scenarios."""
    running = Running(machines)
    yield running
    running.end()


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
        record_property("row", {
            "name": name, "seen": str(error).splitlines()[0],
            "expected": "an end", "verdict": "DIFFERS"})
        if not stock:
            raise
        bench.machines.discard()
        pytest.xfail("the C driver: %s" % error)
    record_property("row", row)
    if row["verdict"] == "SKIP":
        pytest.skip(row["seen"])
    if stock and row["verdict"] == "DIFFERS":
        pytest.xfail("the C driver: %s" % row["seen"])
    expect(row["verdict"] == "ok", "seen: %s; expected: %s" % (
        row["seen"], row["expected"]))
