# SPDX-License-Identifier: GPL-2.0
#
# The guards of guest tests: what is wrong on purpose (planted.py) is noticed, and
# only what was late is tried again.
#
# Not here: the lab's own guards (scripts/lab/selftest.py).

import re

import pytest

from harness.tools import junit, pytest_apart, tail
from lab import env

# What becomes of each, and what its report says.
FAILS = {
    "complains": r"complained.*BUG: planted",
    "differs": r"fio ended with status",
    "checks_nothing": r"the test has checked nothing",
    "hangs": r"Timeout .* from pytest-timeout",
    "dies": r"the guest.* gone|does not run",
    "leaves": r"left behind .*the module is loaded",
    "fails": r"not so: this holds",
}
PASSES = {"late"}
SKIPS = {"skips": "a reason"}
TWICE = {"hangs", "late"}

# Seconds for all of them, with five boots.
LIMIT = round(800 * env.pace())


@pytest.mark.guest
@pytest.mark.long
@pytest.mark.timeout(LIMIT + 100)
def test_guards(module, tmp_path):
    """every planted fault is noticed; what was late has a second try"""
    file = tmp_path / "junit.xml"
    status, out = pytest_apart(
        ["--junit-xml", file, "tests/guest/planted.py"], LIMIT,
        IB_SRPT_MODULE=str(module) if module else None)
    assert file.exists(), tail(out)
    found = {name.rpartition(".test_")[2]: what
             for name, what in junit(file).items()}
    wrong = []
    for name, text in FAILS.items():
        if found[name][0] != "failure" or \
                not re.search(text, found[name][1], re.S):
            wrong.append("%s: %s" % (name, found[name]))
    wrong += ["%s: %s" % (n, found[n]) for n in PASSES
              if found[n][0] != "passed"]
    wrong += ["%s: %s" % (n, found[n]) for n, why in SKIPS.items()
              if found[n][0] != "skipped" or why not in found[n][1]]
    again = re.findall(r"^tests/guest/planted\.py::test_(\w+) RERUN", out, re.M)
    if set(again) != TWICE or len(again) != len(TWICE):
        wrong.append("tried again: %s" % again)
    closing = "%d passed, %d failed, %d skipped" % (
        len(PASSES), len(FAILS), len(SKIPS))
    if out.rstrip().splitlines()[-1] != closing or status != 1:
        wrong.append("status %s, %s" % (status, tail(out, 1)))
    second = out.partition("passed at the second try")[2].split()
    if "guest.planted.late" not in second:
        wrong.append("what was late is not named")
    assert not wrong, "\n".join(wrong + [out])
