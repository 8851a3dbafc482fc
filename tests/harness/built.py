# SPDX-License-Identifier: GPL-2.0
#
# What is compiled for guests: the module under test, kernel modules and programs
# of the tests. Each is made once in a run, when the first worker asks for it;
# the others wait and take the same.
#
# Not here: the compilers' rules (Kbuild, tests/initiator/build), the machines
# (tests/guest/machines.py).

import functools
import os
from pathlib import Path

import pytest

from lab import REPO, chosen, env
from lab.guest import default_kernel

from .clock import clock
from .tools import succeed

TOOLS = REPO / "tests/guest/tools"
MODULES = REPO / "tests/guest/modules"


class Built:
    """`run` names this run, and is the same for all its workers."""

    def __init__(self, run, engine, variant, scst=None):
        self.stamps = env.out_dir() / run / "built"
        self.engine, self.variant, self.scst = engine, variant, scst

    def _once(self, what, make):
        """Call make() if no worker of this run has done so; one at a time, as
        each of them uses all processors. What failed fails for all."""
        stamp = self.stamps / what
        if not stamp.exists():
            with clock.preparing(), env.locked("build"):
                self.stamps.mkdir(parents=True, exist_ok=True)
                if not stamp.exists():
                    try:
                        make()
                        text = ""
                    except pytest.fail.Exception as error:
                        text = str(error)
                    # In one step: others look without the lock.
                    fresh = stamp.with_name(what + ".new")
                    fresh.write_text(text)
                    fresh.rename(stamp)
        if stamp.read_text():
            pytest.fail(stamp.read_text(), pytrace=False)

    def all(self):
        """Make everything that a guest test may ask for; setting up has no
        time limit, tests have."""
        self.small_module, self.initiator
        self.program("srp_peer")
        self.test_module("ibcm_peer")
        return self

    @functools.cached_property
    def module(self):
        """The module under test: ours, the one that IB_SRPT_MODULE names, or a
        C driver (None: the one of the kernel)."""
        if self.variant == "stock":
            return self.scst.c_driver() if self.scst else None
        if os.environ.get("IB_SRPT_MODULE"):
            return Path(os.environ["IB_SRPT_MODULE"]).resolve()
        kernel = chosen.chosen_kernel()
        words = ["make", "KDIR=" + kernel.kdir, "ENGINE=" + self.engine, "-j2"]
        binds = []
        if self.scst:
            words += ["SCST_DIR=%s" % self.scst.path]
            binds = [self.scst.path]

        def make():
            warnings = [line for line in succeed(words, 1200, binds=binds).splitlines()
                        if "warning:" in line]
            # Neither SCST's headers nor what the sanitizers make of the code are ours.
            if warnings and self.engine == "lio" and kernel.kind == "stock":
                pytest.fail("the build warns:\n" + "\n".join(warnings), pytrace=False)
        self._once("ib_srpt", make)
        return REPO / "build" / kernel.release / self.engine / "ib_srpt.ko"

    @functools.cached_property
    def small_module(self):
        """The same without debugging information, as packages install it; a
        tenth of the size, and machines read it each time they load it."""
        if self.module is None:
            return None
        small = self.stamps.parent / "ib_srpt.ko"
        foreign = default_kernel().foreign
        self._once("small", lambda: succeed(
            [(foreign.cross if foreign else "") + "strip", "--strip-debug", "-o", small, self.module], 60,
            binds=[small.parent, self.module.parent]))
        return small

    def program(self, name):
        """One of the programs of tools/, for initiators."""
        folder = self.stamps.parent / "programs"
        foreign = default_kernel("PEER_KERNEL").foreign
        compiler = ["gcc"]
        if foreign:
            compiler = [foreign.cross + "gcc", "--sysroot=%s" % foreign.fs]

        def make():
            folder.mkdir(exist_ok=True)
            for source in sorted(TOOLS.glob("*.c")):
                succeed([*compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-o",
                         folder / source.stem, source, "-lrdmacm",
                         "-libverbs"], 120, binds=[folder])
        self._once("programs", make)
        return folder / name

    @functools.cached_property
    def initiator(self):
        """The scripted initiator, tests/initiator."""
        folder = REPO / "build/initiator"
        foreign = default_kernel("PEER_KERNEL").foreign
        variables = cross_cargo(foreign) if foreign else {}
        self._once("initiator", lambda: succeed(
            [REPO / "tests/initiator/build", folder], 900, **variables))
        return folder / variables.get("CARGO_BUILD_TARGET", "") / "release/initiator"

    def test_module(self, name, kernel=None):
        """One of the modules of modules/, for a kernel.Kernel, by default that of the
        initiators."""
        kernel = kernel or default_kernel("PEER_KERNEL")
        folder = REPO / "build" / kernel.release / "tests"

        def make():
            folder.mkdir(parents=True, exist_ok=True)
            succeed(["make", "-C", kernel.kdir, *kernel.make_options,
                     "M=%s" % MODULES, "MO=%s" % folder, "KCFLAGS=-Werror",
                     "modules"], 300)
        self._once("modules-" + kernel.release, make)
        return folder / (name + ".ko")


def cross_cargo(foreign):
    """What tells cargo and bindgen that a program is for a kernel.Foreign."""
    target = "aarch64-unknown-linux-gnu"
    prefix = "CARGO_TARGET_%s_" % target.upper().replace("-", "_")
    sysroot = "--sysroot=%s" % foreign.fs
    return {"CARGO_BUILD_TARGET": target,
            prefix + "LINKER": foreign.cross + "gcc",
            prefix + "RUSTFLAGS": "-Clink-arg=" + sysroot,
            "BINDGEN_EXTRA_CLANG_ARGS": "--target=aarch64-linux-gnu " + sysroot}
