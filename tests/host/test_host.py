# SPDX-License-Identifier: GPL-2.0
#
# Runs the host tests; each of them is a subtest. The programs are those that count what
# is executed, so that they are built once.
#
# Not here: the tests (src/tests/).

import pytest

from harness.tools import CARGO_TARGET, fetch_crates, from_libtest, in_root, succeed


@pytest.mark.timeout(1200)
def test_host(lab_root, subtests):
    """the protocol code, without a kernel"""
    fetch_crates("Cargo.toml")
    found = succeed(["tests/coverage", "build"], 900, CARGO_NET_OFFLINE="true",
                    **CARGO_TARGET).split()
    assert found, "there is a test program"
    for program in found:
        # libtest prints JSON only where unstable options are let through.
        status, out = in_root([program, "-Zunstable-options", "--format=json"],
                              900, RUSTC_BOOTSTRAP="1", LLVM_PROFILE_FILE="/dev/null")
        from_libtest(subtests, status, out)
