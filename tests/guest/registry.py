# SPDX-License-Identifier: GPL-2.0
#
# What a guest test is, the list of all of them, and what test code uses to
# say that something is wrong. Every test must check something: one that
# finishes without a single check fails.
#
# Not here: the machines (machines.py) and running the tests (runner.py).

import time
from dataclasses import dataclass
from typing import Callable, Optional

from lab import env

TESTS = []


class Failed(Exception):
    """A check of a test did not hold."""


class Wrong(Failed):
    """Something that must not happen even once: wrong data, a kernel that
    complains. Such a test is not tried again."""


class Skip(Exception):
    """The test cannot run here; the text says why."""


@dataclass
class Test:
    name: str               # <file>.<function>
    function: Callable
    timeout: int            # seconds, boots not included
    needs: str              # "single" or "pair"
    spoils: bool            # the machines are not used again
    stock: Optional[str]    # why it cannot pass with the C driver, if so
    engine: Optional[str]   # the only storage engine it is for, if so
    says: str               # first line of its documentation


def test(timeout=60, needs="pair", spoils=False, stock=None, engine=None):
    """Register a function as a test; it gets a runner.Bench. ENGINE in its
    file is the engine of all tests there."""
    def register(function):
        module = function.__module__.rsplit(".", 1)[-1]
        name = "%s.%s" % (module[len("t_"):], function.__name__)
        says = (function.__doc__ or "").strip().splitlines()
        if not says:
            raise ValueError("test %s has no documentation" % name)
        TESTS.append(Test(name, function, timeout, needs, spoils, stock,
                          engine or function.__globals__.get("ENGINE"),
                          says[0]))
        return function
    return register


class Checks:
    """Counts the checks of the test that runs."""
    count = 0


def expect(condition, text):
    """Fail with this text unless the condition holds; returns it."""
    Checks.count += 1
    if not condition:
        raise Failed("not so: " + text)
    return condition


def equal(found, wanted, what):
    Checks.count += 1
    if found != wanted:
        raise Failed("%s is %r, not %r" % (what, found, wanted))


def contains(text, part, what):
    Checks.count += 1
    if part not in text:
        raise Failed("%s has no %r; it says:\n%s" % (what, part, text))


def until(condition, timeout, what, pause=0.3):
    """Wait until the function returns something true, and return that; fail
    if it does not happen in this time, or longer on a slow kernel."""
    Checks.count += 1
    timeout *= env.pace()
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed("not within %g s: %s" % (timeout, what))
        time.sleep(pause)
