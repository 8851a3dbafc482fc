# SPDX-License-Identifier: GPL-2.0
#
# Runs the exploration of the driver; each bound and each wrong driver is a subtest.
# MODEL_BOUND=large takes larger bounds.
#
# Not here: the exploration (src/).

import os

import pytest

from harness.tools import CARGO_TARGET, fetch_crates, from_ktap, in_root

MANIFEST = "tests/model/Cargo.toml"


@pytest.mark.long
@pytest.mark.timeout(4 * 3600)
def test_model(lab_root, subtests):
    """the driver in many orders of events"""
    fetch_crates(MANIFEST)
    # As the kernel's build, the model uses a feature of the language that its files need.
    status, out = in_root(
        ["cargo", "run", "--quiet", "--locked", "--offline", "--manifest-path",
         MANIFEST], 4 * 3600, MODEL_BOUND=os.environ.get("MODEL_BOUND", ""),
        RUSTC_BOOTSTRAP="srpt_model", **CARGO_TARGET)
    from_ktap(subtests, status, out)
