# SPDX-License-Identifier: GPL-2.0
#
# Tests that are wrong on purpose, one per guard that has to notice. They are run
# by test_guards.py, which says what must become of each, and never by themselves.
#
# Not here: the guards (conftest.py, scripts/lab/console.py).

import time

import pytest

from .checks import expect, until

SEEN = []


def test_complains(bench):
    """a kernel complains while all checks hold"""
    bench.target.run("echo 'BUG: planted' > /dev/kmsg; sleep 0.5")
    expect(True, "all is well")


def test_differs(bench):
    """what is read is not what was written"""
    with bench.session() as disk:
        bench.initiator.fio(disk, "1m")
        bench.initiator.run("dd if=/dev/zero of=%s bs=4k count=1 seek=7 "
                            "oflag=direct" % disk)
        bench.initiator.fio(disk, "1m", more=["--verify_only"])


def test_checks_nothing(bench):
    """there is no check"""


@pytest.mark.timeout(-50)               # and AFTERMATH
def test_hangs(bench):
    """it never ends"""
    expect(True, "it begins")
    time.sleep(1000)


def test_dies(bench):
    """a machine dies"""
    expect(True, "it begins")
    bench.target.guest.kill()
    bench.target.run("true")


def test_leaves(bench):
    """the module stays loaded"""
    bench.target.load()
    expect(True, "it is loaded")


def test_fails(bench):
    """a check does not hold"""
    expect(False, "this holds")


def test_late(bench):
    """something does not happen in time, and does the next time"""
    SEEN.append(1)
    until(lambda: len(SEEN) > 1, 1, "a second try")


def test_skips(bench):
    """it cannot run here"""
    bench.skip("a reason")
