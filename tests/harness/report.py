# SPDX-License-Identifier: GPL-2.0
#
# A plugin of pytest: short names for -k, the table of times, and what a run
# prints at its end. The last line is "N passed, N failed, N skipped".
#
# Not here: what makes a guest test fail (tests/guest/conftest.py).

import json

import pytest
from _pytest.subtests import SubtestReport

from lab import REPO, env

from .clock import KINDS, clock
from .names import name_of, run_name

NUMBERS = ("seconds", *KINDS, "machines")
HEAD = ["test", "worker", *NUMBERS]
LONGEST = 15

# What pytest calls what is counted as one thing here.
PASSED = ("passed", "subtests passed", "xpassed")
FAILED = ("failed", "error")
SKIPPED = ("skipped", "subtests skipped", "xfailed")


def pytest_itemcollected(item):
    item.extra_keyword_matches.add(name_of(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    report.spent = clock.take()
    return report


def pytest_configure(config):
    # Workers leave reporting to the process that started them.
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Summary(config), "srpt-summary")


def shown(path):
    """A path as people are told it."""
    return path.relative_to(REPO) if REPO in path.parents else path


class Summary:
    """What a run prints at its end."""

    def __init__(self, config):
        self.config = config
        self.times = {}
        self.conformance = {}
        self.faults = []
        self.closing = None
        self.folder = env.out_dir() / run_name(config)
        self.table = self.folder / "times.tsv"

    def pytest_runtest_logreport(self, report):
        row = self.times.setdefault(report.nodeid, dict.fromkeys(NUMBERS, 0.0))
        row["worker"] = getattr(report, "worker_id", "-")
        # A subtest is a part of its test, which has its time.
        if not isinstance(report, SubtestReport):
            row["seconds"] += report.duration
        row_of = dict(report.user_properties).get("row")
        if row_of:
            self.conformance[row_of["name"]] = row_of
        if report.when == "call" and report.outcome == "passed":
            self.faults += [dict(value, test=name_of(report.nodeid))
                            for name, value in report.user_properties if name == "fault"]
        for kind, seconds in getattr(report, "spent", {}).items():
            row[kind] += seconds

        # A run that is ended early leaves what it has got.
        if report.when == "teardown":
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.table, "a") as table:
                table.write("\t".join(self.row(report.nodeid)) + "\n")
            if self.faults:
                env.write_whole(self.folder / "faults.json",
                                json.dumps(self.faults, indent=1) + "\n")

    def row(self, nodeid):
        row = self.times[nodeid]
        return [name_of(nodeid), row["worker"]] + [
            "%.1f" % row[n] for n in NUMBERS]

    def rows(self):
        """The table of times as texts, the longest test first."""
        yield HEAD
        yield from map(self.row, sorted(
            self.times, key=lambda x: -self.times[x]["seconds"]))
        yield ["all", "-"] + ["%.1f" % sum(row[n] for row in
                                           self.times.values())
                              for n in NUMBERS]

    def print_conformance(self, terminal):
        """The conformance table, as far as it ran."""
        table = list(self.conformance.values())
        file = self.folder / "conformance.json"
        file.write_text(json.dumps(table, indent=1) + "\n")
        terminal.section("conformance (also in %s)" % shown(file))
        width = max(len(row["name"]) for row in table)
        seen = min(64, max(len(row["seen"]) for row in table))
        for row in table:
            differs = row["verdict"] == "DIFFERS"
            terminal.write_line(("%-*s  %-*s  %-7s  %s" % (
                width, row["name"], seen, row["seen"], row["verdict"],
                row["expected"] if differs else "")).rstrip())
        count = [sum(row["verdict"] == word for row in table)
                 for word in ("DIFFERS", "SKIP")]
        terminal.write_line("%d scenarios, %d differ, %d skipped"
                            % (len(table), *count))

    def count(self, stats, names):
        return sum(len(stats.get(name, ())) for name in names)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session, exitstatus):
        stats = self.config.pluginmanager.get_plugin("terminalreporter").stats
        # A run in which nothing passed shows nothing.
        if exitstatus == 0 and not self.count(stats, PASSED) and \
                not self.config.option.collectonly:
            session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED

    def pytest_terminal_summary(self, terminalreporter):
        if self.config.option.collectonly:
            return
        stats = terminalreporter.stats
        self.closing = "%d passed, %d failed, %d skipped" % tuple(
            self.count(stats, names) for names in (PASSED, FAILED, SKIPPED))
        if not self.times:
            return
        rows = list(self.rows())
        self.folder.mkdir(parents=True, exist_ok=True)
        self.table.write_text("".join("\t".join(row) + "\n" for row in rows))
        terminalreporter.section("where the time went (all of it: %s)"
                                 % shown(self.table))
        width = max(len(row[0]) for row in rows[:LONGEST + 1])
        for row in rows[:-1][:LONGEST + 1] + rows[-1:]:
            terminalreporter.write_line("%-*s %6s" % (width, row[0], row[1])
                                        + "".join("%10s" % x for x in row[2:]))
        if self.conformance:
            self.print_conformance(terminalreporter)
        passed = {report.nodeid for report in stats.get("passed", ())}
        second = sorted({name_of(report.nodeid) for report in
                         stats.get("rerun", ()) if report.nodeid in passed})
        if second:
            terminalreporter.section("late at first, passed at the second try")
            for name in second:
                terminalreporter.write_line(name)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self):
        if self.closing:
            print(self.closing, flush=True)
