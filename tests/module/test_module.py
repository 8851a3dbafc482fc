# SPDX-License-Identifier: GPL-2.0
#
# The build of the module under test.
#
# Not here: builds for other headers and kernels (tests/build, tests/kernels),
# what the module does (tests/guest).

import os

import pytest

from conftest import TARGET


@pytest.mark.skipif(TARGET != "rust", reason="it is about this module only")
@pytest.mark.skipif("IB_SRPT_MODULE" in os.environ,
                    reason="IB_SRPT_MODULE names a module that is built already")
def test_build(module):
    """it builds for the kernel of the lab"""
    assert module.is_file(), "no %s" % module
