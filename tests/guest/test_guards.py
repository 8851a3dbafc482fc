# SPDX-License-Identifier: GPL-2.0
#
# The guards of guest tests: what is wrong on purpose (planted.py) is noticed, and
# only what was late is tried again.
#
# Not here: the lab's own guards (scripts/lab/selftest.py).

import os
import re
import sys
import xml.etree.ElementTree as xml

import pytest

from harness.tools import execute, tail
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
    environ = {k: v for k, v in os.environ.items()
               if not k.startswith("PYTEST_")}
    if module:
        environ["IB_SRPT_MODULE"] = str(module)
    status, out = execute(
        [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider",
         "--junit-xml", file, "tests/guest/planted.py"], LIMIT, env=environ)
    assert file.exists(), tail(out)
    found = {}
    for case in xml.parse(file).iter("testcase"):
        name = case.get("name").removeprefix("test_")
        for kind in ("failure", "error", "skipped"):
            for element in case.iter(kind):
                text = "%s\n%s" % (element.get("message"), element.text or "")
                found[name] = kind, text
        found.setdefault(name, ("passed", ""))
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
