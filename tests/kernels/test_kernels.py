# SPDX-License-Identifier: GPL-2.0
#
# A few tests on the kernels of the series that a run is not about: build, load,
# login, I/O. The kernel is chosen by the environment, hence in another process;
# what it reports becomes subtests.
#
# Not here: these tests (tests/guest, tests/module).

import os

import pytest

from harness.tools import junit, pytest_apart, tail
from lab import kernel

TESTS = ("tests/module/test_module.py::test_build",
         "tests/guest/test_module.py::test_identity",
         "tests/guest/test_login.py::test_channels",
         "tests/guest/test_load.py::test_disable_enable")


@pytest.mark.kernel
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(bool(os.environ.get("KSERIES")),
                    reason="the run is about one series: KSERIES")
@pytest.mark.parametrize("series", kernel.SERIES)
def test_kernels(series, lab_root, subtests, tmp_path):
    """build, load, login and I/O with the kernel of another series"""
    if series == lab_root.series:
        pytest.skip("all other tests run on this series")
    file = tmp_path / "junit.xml"
    status, out = pytest_apart(["--junit-xml", file, *TESTS], 3600,
                               KSERIES=series, IB_SRPT_MODULE=None)
    if kernel.NOT_OFFERED in out:
        pytest.skip("the archive had no complete kernel of this series when the root was made")
    found = junit(file)
    for name, (outcome, text) in found.items():
        with subtests.test(name):
            if outcome == "skipped":
                pytest.skip(text)
            if outcome != "passed":
                pytest.fail(text, pytrace=False)
    assert len(found) == len(TESTS) and status in (0, 1), tail(out)
