# SPDX-License-Identifier: GPL-2.0
#
# Runs the exploration of the state machines; each bound and each wrong driver is
# a subtest. MODEL_BOUND=large takes larger bounds.
#
# Not here: the exploration (src/).

import os

import pytest

from harness.tools import CARGO_TARGET, fetch_crates, from_ktap, in_root

MANIFEST = "tests/model/Cargo.toml"


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_model(lab_root, subtests):
    """every order of events, up to a bound"""
    fetch_crates(MANIFEST)
    status, out = in_root(
        ["cargo", "run", "--quiet", "--locked", "--offline", "--manifest-path",
         MANIFEST], 4 * 3600, MODEL_BOUND=os.environ.get("MODEL_BOUND", ""),
        **CARGO_TARGET)
    from_ktap(subtests, status, out)
