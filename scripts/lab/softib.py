# SPDX-License-Identifier: GPL-2.0
#
# Software InfiniBand, the third kind of HCA of the lab: a port with LIDs that a
# subnet manager brings up. It is rdma_rxe of Debian's kernel source, which is in
# the lab's root, with the changes and files of tests/softib, and is loaded in the
# place of the kernel's own. The module is kept in the cache.
#
# Not here: making an HCA with it, and the subnet manager (guest.py).

import hashlib
import json
import os
import re

from . import enter, env, root, sanitized

# Raise this when the way it is built changes.
VERSION = 1

SOURCES = env.REPO / "tests/softib"
PATCH = SOURCES / "rxe.patch"

# Arguments: series, where the source goes, tests/softib.
SOURCE = r"""
set -e
tar -C "$2" --strip-components=5 -xf "/usr/src/linux-source-$1.tar.xz" \
    "linux-source-$1/drivers/infiniband/sw/rxe"
cp "$3"/softib*.[ch] "$2"
"""
# No context line may differ; where a hunk is, may.
APPLY = ["patch", "-p1", "--batch", "--forward", "--fuzz=0"]


class Missing(env.LabError):
    """There is no software InfiniBand for a kernel."""


def module(kernel):
    """rdma_rxe.ko for a kernel.Kernel, built first when it is not there (20 s)."""
    the_root = root.get()
    releases = {the_root.release}
    if sanitized.existing():
        releases.add(sanitized.existing().release)
    if kernel.release not in releases:
        raise Missing("the source of kernel %s is not here, from which software "
                      "InfiniBand is built" % kernel.release)
    place = folder(the_root, kernel)
    env.cached(place, lambda temporary, log: _make(the_root, kernel, temporary, log),
               release=kernel.release, version=the_root.meta["version"])
    return place / "rdma_rxe.ko"


def folder(the_root, kernel):
    """softib-<release>-<key>/ in the cache; the key is a hash of all that
    decides what the module is."""
    compiler = "clang" if kernel.make_options else "gcc"
    inputs = json.dumps([
        VERSION, SOURCE, APPLY, the_root.meta["version"], kernel.kdir,
        kernel.make_options, enter.output(the_root.fs, [compiler, "--version"]),
        [(path.name, path.read_text()) for path in sorted(SOURCES.iterdir())
         if path.suffix in (".c", ".h", ".patch")]])
    return env.cache_dir() / ("softib-%s-%s" % (
        kernel.release, hashlib.sha256(inputs.encode()).hexdigest()[:12]))


def _make(the_root, kernel, temporary, log):
    source = temporary / "source"
    source.mkdir()

    def run(text, *words):
        env.run_logged(enter.command(the_root.fs, words, cwd=source), log, text)

    run(None, "sh", "-c", SOURCE, "softib", the_root.series, source, SOURCES)
    try:
        run(None, *APPLY, "-i", PATCH)
    except env.LabError:
        files = re.findall(r"rejects to file (\S+)\.rej", log.read_text())
        raise env.LabError(
            "%s does not apply to rdma_rxe of linux-source-%s, version %s, and has "
            "to be changed (%s; see %s)" % (
                PATCH.relative_to(env.REPO), the_root.series,
                the_root.meta["version"], ", ".join(files), log)) from None
    run("building software InfiniBand for kernel %s" % kernel.release,
        "make", "-C", kernel.kdir, *kernel.make_options, "M=%s" % source,
        "CONFIG_RDMA_RXE=m", "-j%d" % os.cpu_count(), "modules")
    run(None, "strip", "--strip-debug", "-o", temporary / "rdma_rxe.ko",
        source / "rdma_rxe.ko")
    env.remove_tree(source)
