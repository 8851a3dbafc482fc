# SPDX-License-Identifier: GPL-2.0
#
# The build of the module under test.
#
# Not here: builds for other headers and kernels (tests/build, tests/kernels),
# what the module does (tests/guest).

import pytest

from conftest import TARGET


@pytest.mark.timeout(1200)
@pytest.mark.skipif(TARGET != "rust", reason="it is about this module only")
def test_build(built):
    """it builds for the kernel of the lab"""
    assert built.module.is_file(), "no %s" % built.module
