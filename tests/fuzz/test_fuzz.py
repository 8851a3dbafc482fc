# SPDX-License-Identifier: GPL-2.0
#
# Runs each fuzz target for FUZZ_SECONDS, and says how much of src/srp the host
# tests and the fuzzer reach.
#
# Not here: the targets (src/lib.rs), how they are built and run (run).

import os
from pathlib import Path

import pytest

from harness.tools import CARGO_TARGET, fetch_crates, succeed

SECONDS = int(os.environ.get("FUZZ_SECONDS") or 10)
MANIFEST = "tests/fuzz/Cargo.toml"
TARGETS = sorted(p.stem for p in
                 Path(__file__).with_name("fuzz_targets").glob("*.rs"))

pytestmark = pytest.mark.fuzz


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 900)
@pytest.mark.parametrize("target", TARGETS)
def test_fuzz(target, lab_root):
    """random input for one of the parsers or machines"""
    fetch_crates(MANIFEST)
    print(succeed(["tests/fuzz/run", target], SECONDS + 900,
                  FUZZ_SECONDS=SECONDS, CARGO_NET_OFFLINE="true",
                  **CARGO_TARGET))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_coverage(lab_root):
    """every file of src/srp is reached"""
    for manifest in ("Cargo.toml", MANIFEST):
        fetch_crates(manifest)
    print(succeed(["tests/coverage"], 900, CARGO_NET_OFFLINE="true",
                  **CARGO_TARGET))
