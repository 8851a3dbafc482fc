# SPDX-License-Identifier: GPL-2.0
#
# What guest tests use to say that something is wrong, and to wait for things.
# Every test must check something: one that ends without a single check fails.
#
# Not here: what becomes of a failure (conftest.py), the machines (machines.py).

import time

from pytest import skip     # noqa: F401  says why a test cannot run here

from harness.clock import clock
from lab import env
from lab.channel import CommandTimeout


class Failed(Exception):
    """A check of a test did not hold."""


class Wrong(Failed):
    """Something that must not happen even once: wrong data, a kernel that
    complains."""


class Late(Failed):
    """Something did not happen in time. Only such a test is tried again."""


# What else says that something took too long.
TOO_LONG = (Late, CommandTimeout, TimeoutError)


class Checks:
    """Counts the checks of the test that runs."""
    count = 0


def expect(condition, text):
    """Fail with this text unless the condition holds; returns it."""
    __tracebackhide__ = True
    Checks.count += 1
    if not condition:
        raise Failed("not so: " + text)
    return condition


def equal(found, wanted, what):
    __tracebackhide__ = True
    Checks.count += 1
    if found != wanted:
        raise Failed("%s is %r, not %r" % (what, found, wanted))


def contains(text, part, what):
    __tracebackhide__ = True
    Checks.count += 1
    if part not in text:
        raise Failed("%s has no %r; it says:\n%s" % (what, part, text))


def until(condition, timeout, what, pause=0.3):
    """Wait until the function returns something true, and return that; fail
    if it does not happen in this time, or longer on a slow kernel."""
    __tracebackhide__ = True
    Checks.count += 1
    timeout *= env.pace()
    with clock.waiting():
        end = time.monotonic() + timeout
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                raise Late("not within %g s: %s" % (timeout, what))
            time.sleep(pause)


def sit_through(seconds, why):
    """Let time pass that nothing else can stand for; the reason is for the
    reader."""
    assert why
    with clock.waiting():
        time.sleep(seconds)
