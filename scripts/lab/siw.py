# SPDX-License-Identifier: GPL-2.0
#
# Software iWARP, the second kind of HCA of the lab: RDMA over TCP. Debian's
# kernel does not have it. It is built as a module from Debian's kernel source,
# which is in the lab's root, and kept in the cache.
#
# Not here: making an HCA with it (guest.py), which one guests have (env.py).

import hashlib
import json

from . import enter, env, root

# Raise this when the way it is built changes.
VERSION = 1

# Arguments: series, tree to build against, where the module goes.
BUILD = r"""
set -e
work=$(mktemp -d)
cd "$work"
tar --strip-components=5 -xf "/usr/src/linux-source-$1.tar.xz" \
    "linux-source-$1/drivers/infiniband/sw/siw"
make -C "$2" M="$work" CONFIG_RDMA_SIW=m -j"$(nproc)" modules
strip --strip-debug -o "$3" siw.ko
"""


class Missing(env.LabError):
    """There is no siw for a kernel."""


def module(kernel):
    """siw.ko for a kernel.Kernel, built first when it is not there (10 s).
    None if the kernel has one itself."""
    if any(kernel.modules.glob("kernel/drivers/infiniband/sw/siw/siw.ko*")):
        return None
    the_root = root.get()
    if kernel.release != the_root.release:
        raise Missing("kernel %s has no siw, and its source is not here"
                      % kernel.release)
    place = folder(the_root)
    env.cached(place, lambda temporary, log: _make(the_root, kernel, temporary, log),
               release=kernel.release, version=the_root.meta["version"])
    return place / "siw.ko"


def folder(the_root):
    """siw-<release>-<key>/ in the cache; the key is a hash of all that decides
    what the module is."""
    compiler = enter.output(the_root.fs, ["gcc", "--version"])
    inputs = json.dumps([VERSION, BUILD, the_root.meta["version"], compiler])
    return env.cache_dir() / ("siw-%s-%s" % (
        the_root.release, hashlib.sha256(inputs.encode()).hexdigest()[:12]))


def _make(the_root, kernel, temporary, log):
    env.run_logged(
        enter.command(the_root.fs, ["sh", "-c", BUILD, "siw", the_root.series,
                                    kernel.kdir, temporary / "siw.ko"]),
        log, "building siw for kernel %s" % kernel.release)
