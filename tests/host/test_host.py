# SPDX-License-Identifier: GPL-2.0
#
# Runs the host tests; each of them is a subtest.
#
# Not here: the tests (src/tests/).

import json

import pytest

from harness.tools import CARGO_TARGET, fetch_crates, from_libtest, in_root, succeed


def programs():
    """Builds the test programs of the workspace."""
    fetch_crates("Cargo.toml")
    out = succeed(["cargo", "test", "--quiet", "--workspace", "--locked",
                   "--offline", "--no-run", "--message-format=json"], 900,
                  **CARGO_TARGET)
    made = [json.loads(line) for line in out.splitlines()
            if line.startswith("{")]
    return [m["executable"] for m in made if m.get("executable")]


@pytest.mark.timeout(1200)
def test_host(lab_root, subtests):
    """the protocol code, without a kernel"""
    found = programs()
    assert found, "there is a test program"
    for program in found:
        # libtest prints JSON only where unstable options are let through.
        status, out = in_root([program, "-Zunstable-options", "--format=json"],
                              900, RUSTC_BOOTSTRAP="1")
        from_libtest(subtests, status, out)
