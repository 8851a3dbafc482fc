# SPDX-License-Identifier: GPL-2.0
#
# Runs the tests of what surrounds the compiler, which are shell scripts; what
# they report as KTAP becomes subtests.
#
# Not here: the tests (*.sh).

from pathlib import Path

import pytest

from harness.tools import from_ktap, in_root

HERE = Path(__file__).resolve().parent
# These build for the lab's kernel, the others for made-up ones.
REAL = ("headers-build", "patches", "series")
SCRIPTS = sorted(p.stem for p in HERE.glob("*.sh") if p.stem != "lib")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("script", [
    pytest.param(s, marks=[pytest.mark.long] if s in REAL else [])
    for s in SCRIPTS])
def test_build(script, lab_root, subtests):
    """one script"""
    status, out = in_root(["sh", "-c", "cd tests/build && exec sh ./%s.sh"
                           % script], 1800,
                          REAL_KDIR=lab_root.kernel().kdir)
    from_ktap(subtests, status, out)
