# SPDX-License-Identifier: GPL-2.0
#
# The source itself: its format and the rules of the house.
#
# Not here: tests of the style check (tests/build/style.sh).

import pytest

from harness.tools import succeed


@pytest.mark.timeout(600)
def test_style(lab_root):
    """make style"""
    succeed(["make", "style"], 600)
