# SPDX-License-Identifier: GPL-2.0
#
# Guest tests: the fixture `bench`, and what becomes of a test that ends. Beside
# its own checks, a test fails if it has checked nothing, if a kernel complained,
# or if it left something behind.
#
# Tests depend on how fast two emulated machines get on. What did not happen in
# time is therefore tried a second time, a few times per run (--max-suite-reruns),
# on new machines if it left these as they should not be; what is wrong is not.
#
# Not here: what is compiled (tests/harness/built.py), the machines (machines.py),
# short names and the end of a run (tests/harness/report.py).

import os
import re

import pytest

from conftest import ENGINE, NO_SCST, TARGET, TRANSPORT
from harness.clock import clock
from harness.names import run_name
from lab import ConsoleError, LabError, env, sanitized

from .bench import Bench
from .checks import TOO_LONG, Checks, Failed, Late, Wrong, until
from .machines import Machines

# What the stock kernel of the initiator, where no code of ours runs, was seen to
# do by itself: (expression over its console, what it is). A test that meets it
# is tried a second time like one that is late.
STOCK_FAULTS = (
    (r"RIP: \S+:rxe_req_notify_cq\+(?s:.*)ib_poll_handler\+",
     "ib_poll_handler() asks for events of a completion queue after it has "
     "called irq_poll_complete(), which is all that ib_free_cq() waits for"),
)


class StockFault(Late):
    """A fault of the initiator's kernel."""


# How pytest-timeout says that a test had too long.
TIMEOUT = "from pytest-timeout"

# Seconds that a test takes by default, and what the looks after it may take.
LIMIT, AFTERMATH = 60, 60
CONSOLE_LINES = 12


# --- which tests ----------------------------------------------------------

def is_late(error):
    """Was a test only late? What was found to be wrong before something took too
    long, in what is done at the end, is not forgotten."""
    if error is None or isinstance(error, StockFault):
        return error is not None
    while error is not None:
        if not isinstance(error, TOO_LONG) and not (isinstance(
                error, pytest.fail.Exception) and TIMEOUT in str(error)):
            return False
        error = error.__cause__ or error.__context__
    return True


def why_not(item):
    """Why a test cannot run here, if so."""
    engine = item.get_closest_marker("engine")
    if engine and engine.args[0] != ENGINE:
        return "it is for the other engine: ENGINE=%s%s" % (
            engine.args[0], " SCST_DIR=<built SCST tree>"
            if engine.args[0] == "scst" else "")
    if ENGINE == "scst" and not os.environ.get("SCST_DIR"):
        return NO_SCST
    stock = item.get_closest_marker("stock")
    if stock and TARGET == "stock":
        return "the C driver: " + stock.args[0]
    roce = item.get_closest_marker("roce")
    if roce and TRANSPORT != "rxe":
        return "TRANSPORT=%s: %s" % (TRANSPORT, roce.args[0])
    no_iwarp = item.get_closest_marker("no_iwarp")
    if no_iwarp and TRANSPORT == "siw":
        return "TRANSPORT=siw: " + no_iwarp.args[0]
    ip = item.get_closest_marker("ip")
    if ip and TRANSPORT == "ib":
        return "TRANSPORT=%s: %s" % (TRANSPORT, ip.args[0])
    if item.get_closest_marker("sanitized") and not sanitized.wanted():
        return "the kernel must be able to let things fail: KERNEL=sanitized"
    unsanitized = item.get_closest_marker("unsanitized")
    if unsanitized and sanitized.wanted():
        return unsanitized.args[0]
    return None


def pytest_collection_modifyitems(config, items):
    pace = env.pace()
    for item in items:
        if "bench" not in getattr(item, "fixturenames", ()):
            continue
        item.add_marker("guest")
        why = why_not(item)
        if why:
            item.add_marker(pytest.mark.skip(reason=why))
        limit = item.get_closest_marker("timeout")
        item.add_marker(pytest.mark.timeout(round(
            pace * ((limit.args[0] if limit else LIMIT) + AFTERMATH))),
            append=False)
        # A debugger shows the first try.
        if not config.option.usepdb:
            item.add_marker(pytest.mark.flaky(reruns=1, condition=is_late))


# --- fixtures -------------------------------------------------------------

@pytest.fixture(scope="session")
def machines(built, scst, pytestconfig, worker_id):
    """The machines of this worker."""
    folder = env.out_dir() / run_name(pytestconfig)
    if worker_id != "master":
        folder /= worker_id
    found = Machines(TARGET, built, folder, print, scst)
    clock.machines = found.processes
    yield found
    found.retire()


@pytest.fixture
def bench(machines, request):
    """The machines, and the usual ways to prepare them."""
    machines.get()
    Checks.count = 0
    return Bench(machines, request.node.user_properties)


# --- the end of a test ----------------------------------------------------

@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    """Look at the machines after a test, and say what kind of failure one is."""
    bench = pyfuncitem.funcargs.get("bench")
    if bench is None:
        return (yield)
    machines = bench.machines
    try:
        result = yield
        if not Checks.count:
            raise Wrong("the test has checked nothing")
        aftermath(machines, pyfuncitem.get_closest_marker("keeps"))
        return result
    except (pytest.skip.Exception, pytest.xfail.Exception) as why:
        # A test skips before it touches anything, or it fails.
        left = "" if pyfuncitem.get_closest_marker("keeps") else \
            machines.left_behind()
        if left:
            pyfuncitem.srpt_spoiled = True
            raise Wrong("skipped (%s), but left %s" % (why, left)) from None
        raise
    except (KeyboardInterrupt, pytest.exit.Exception):
        raise
    except BaseException as error:
        # What follows is not the test's time any more.
        pyfuncitem.config.hook.pytest_timeout_cancel_timer(item=pyfuncitem)
        pyfuncitem.srpt_spoiled = spoiled(pyfuncitem, machines)
        for guest in machines.guests():
            pyfuncitem.add_report_section(
                "call", "end of the console of the %s (%s)" % (
                    guest.name, guest.console_path),
                guest.console.tail(CONSOLE_LINES))
        fault = stock_fault(machines)
        if fault:
            raise StockFault("a fault of the initiator's kernel: " + fault) \
                from error
        bad = machines.complaints()
        if bad and not isinstance(error, (Wrong, ConsoleError)):
            raise Wrong("the kernel complained:\n  " + "\n  ".join(bad)) \
                from error
        raise


def spoiled(item, machines):
    """Has a test that failed left machines that are of no more use?"""
    try:
        return bool(machines.complaints() or item.get_closest_marker("keeps")
                    or machines.left_behind())
    except (LabError, TimeoutError):
        return True


def aftermath(machines, keeps=False):
    """Has the test left the machines as they should be?"""
    bad = machines.complaints()
    if bad:
        raise Wrong("the kernel complained:\n  " + "\n  ".join(bad))
    if keeps:
        return
    left = ""

    def clean():
        nonlocal left
        left = machines.left_behind()
        return not left
    try:
        until(clean, 10, "clean machines")
    except Late:
        raise Failed("left behind " + left) from None


def stock_fault(machines):
    """What the initiator's kernel has done by itself, if anything; the target's
    must be well."""
    if not machines.initiator or machines.target.guest.console.bad_lines():
        return None
    console = machines.initiator.guest.console.text()
    return next((what for expression, what in STOCK_FAULTS
                 if re.search(expression, console)), None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item):
    """Replace machines that are spoiled, before fixtures look at them."""
    bench = getattr(item, "funcargs", {}).get("bench")
    if bench and getattr(item, "srpt_spoiled", False):
        bench.machines.discard()
        item.srpt_spoiled = False
