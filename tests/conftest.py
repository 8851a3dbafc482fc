# SPDX-License-Identifier: GPL-2.0
#
# What pytest loads first, for the tests of all folders: plugins, markers that
# follow from where a test is, and what a run is about.
#
# Not here: fixtures of one folder (its conftest.py); options (pytest.ini).

import os
import random
import signal
import time

import pytest

from lab import env, root

from harness.built import Built
from harness.names import run_name

pytest_plugins = ["harness.report"]

# What make exports for a build; tests build for the lab's kernel.
for name in ("KDIR", "OFED", "OFED_DIR", "LLVM", "INSTALL_MOD_PATH",
             "INSTALL_MOD_STRIP", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)

ENGINE = os.environ.get("ENGINE") or "lio"
TARGET = os.environ.get("TARGET") or "rust"
KERNEL = os.environ.get("KERNEL") or "stock"
PEER_KERNEL = os.environ.get("PEER_KERNEL") or "stock"
TRANSPORT = os.environ.get("TRANSPORT") or "rxe"
ENGINES, TARGETS = ("lio", "scst"), ("rust", "stock")

# Folders whose tests depend on nothing that a run can be about: the engine, the
# target, the kernel, the transport.
HERE = ("bench", "build", "docs", "fuzz", "host", "kernels", "model", "softib", "source", "top")

# Of these, what takes a while and needs neither a kernel nor its headers.
WITHOUT_KERNEL = ("host", "model")

# A soak: tests in random order, of which none begins after this moment (seconds since the
# epoch). tests/bench/faults sets it.
UNTIL = float(os.environ.get("SOAK_UNTIL") or 0)

# What part of the guest tests the others are mixed into.
SPREAD = 0.6

NO_SCST = "ENGINE=scst needs SCST_DIR=<built SCST tree>: SCST is in no package " \
    "registry"


def interrupted(number, frame):
    """Machines and programs are ended, and what is known is reported."""
    raise KeyboardInterrupt


def pytest_configure():
    signal.signal(signal.SIGTERM, interrupted)
    for name, value, known in (("ENGINE", ENGINE, ENGINES),
                               ("TARGET", TARGET, TARGETS),
                               ("KERNEL", KERNEL, env.PACE),
                               ("PEER_KERNEL", PEER_KERNEL, env.PACE),
                               ("TRANSPORT", TRANSPORT, env.TRANSPORTS)):
        if value not in known:
            raise pytest.UsageError("%s may be %s, not '%s'" % (
                name, " or ".join(known), value))


def pytest_configure_node(node):
    """All workers save what they leave in the folder of one run."""
    node.workerinput["srpt_run"] = run_name(node.config)


@pytest.hookimpl(trylast=True, optionalhook=True)
def pytest_handlecrashitem(report):
    """A worker that dies is no matter of time, whatever comes after."""
    report.outcome = "failed"


def folder(item):
    """The folder of tests/ that a test is in."""
    return item.path.relative_to(item.config.rootpath / "tests").parts[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what does not depend on what a run is about; choose an order."""
    about_none = ENGINE == "lio" and TARGET == "rust" and \
        TRANSPORT == "rxe" and KERNEL == PEER_KERNEL == "stock" and \
        not os.environ.get("LAB_KERNEL")
    left_out = [item for item in items if folder(item) in HERE]
    if left_out and not about_none:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if UNTIL:
        random.Random(os.environ["SEED"]).shuffle(items)
    else:
        items[:] = mixed(items)


def pytest_runtest_teardown(item):
    if UNTIL and time.time() > UNTIL:
        item.session.shouldstop = "the time of the soak is over"


def mixed(items):
    """The order in which workers take tests, one at a time: what needs no kernel
    beside the first that makes what all need; what takes long and
    keeps processors busy spread over tests in machines, which mostly wait;
    what is short last, so that workers end at the same time."""
    short = [i for i in items if i.get_closest_marker("keeps")]
    short += [i for i in items if folder(i) in ("docs", "top")]
    taken = set(short)
    guests = [i for i in items if folder(i) == "guest" and i not in taken]
    early = [i for i in items if folder(i) in WITHOUT_KERNEL and i not in taken]
    # Each worker gets two at first.
    order, guests = guests[:2], guests[2:]
    for item in early:
        order += [item, *guests[:1]]
        guests = guests[1:]
    taken.update(order)
    others = sorted((i for i in items if folder(i) != "guest"
                     and i not in taken),
                    key=lambda i: i.get_closest_marker("long") is None)
    begun, step = 0, SPREAD * len(guests) / max(len(others), 1)
    for number, item in enumerate(others):
        end = round((number + 1) * step)
        order += [item, *guests[begun:end]]
        begun = end
    return order + guests[begun:] + short


@pytest.fixture(scope="session")
def lab_root():
    """The lab's root file system."""
    env.require_root()
    return root.get()


@pytest.fixture(scope="session")
def scst():
    """SCST_DIR, if the engine is SCST."""
    if ENGINE != "scst":
        return None
    if not os.environ.get("SCST_DIR"):
        pytest.skip(NO_SCST)
    from guest.scst import Tree
    return Tree(os.environ["SCST_DIR"])


@pytest.fixture(scope="session")
def built(lab_root, scst, pytestconfig):
    """What is compiled for guests."""
    return Built(run_name(pytestconfig), ENGINE, TARGET, scst)


@pytest.fixture(scope="session")
def module(built):
    """The module under test; None for the kernel's own."""
    return built.module
