# SPDX-License-Identifier: GPL-2.0
#
# Drivers of HCAs that the lab builds: siw, software iWARP, which Debian's kernel
# does not have, and software InfiniBand, whose ports have LIDs and which is loaded
# in the place of the kernel's rdma_rxe. Each is the driver of Debian's kernel
# source, which is in the lab's root, with the changes and files of a folder of
# tests/. The modules are kept in the cache.
#
# Not here: making an HCA with one, and the subnet manager (guest.py), which one
# guests have (env.py).

import hashlib
import json
import os
import re
from dataclasses import dataclass

from . import arm64, enter, env, root, sanitized

# Raise this when the way they are built changes.
VERSION = 1

# Arguments: series, name of the driver's folder, where the source goes, files to
# be added.
SOURCE = r"""
set -e
tar -C "$3" --strip-components=5 -xf "/usr/src/linux-source-$1.tar.xz" \
    "linux-source-$1/drivers/infiniband/sw/$2"
to=$3
shift 3
for file; do cp "$file" "$to"; done
"""
# No context line may differ; where a hunk is, may.
APPLY = ["patch", "-p1", "--batch", "--forward", "--fuzz=0"]


class Missing(env.LabError):
    """There is no such driver for a kernel."""


@dataclass(frozen=True)
class Driver:
    """A driver: the name of its module in the cache and of its folder in tests/,
    which of env.TRANSPORTS it is for, what people call it, its folder in
    drivers/infiniband/sw, the module, and the option of the kernel's configuration
    that is for it."""
    name: str
    transport: str
    called: str
    source: str
    ko: str
    option: str

    @property
    def changes(self):
        """The folder with the patch and the files to be added."""
        return env.REPO / "tests" / self.name

    @property
    def patch(self):
        return self.changes / (self.source + ".patch")

    def module(self, kernel):
        """The module for a kernel.Kernel, built first when it is not there (10
        to 20 s)."""
        the_root = root.get()
        releases = {the_root.release}
        if sanitized.existing():
            releases.add(sanitized.existing().release)
        # That of the other architecture is of the same source.
        if not kernel.foreign and kernel.release not in releases:
            raise Missing("the source of kernel %s is not here, from which %s is "
                          "built" % (kernel.release, self.called))
        place = self.folder(the_root, kernel)
        env.cached(place,
                   lambda temporary, log: self._make(the_root, kernel, temporary, log),
                   release=kernel.release, version=the_root.version)
        return place / self.ko

    def folder(self, the_root, kernel):
        """<name>-<release>-<key>/ in the cache; the key is a hash of all that
        decides what the module is."""
        compiler = _cross(kernel) + ("clang" if kernel.kind == "sanitized" else "gcc")
        inputs = json.dumps([
            VERSION, SOURCE, APPLY, self.option, the_root.version,
            kernel.kdir, kernel.make_options,
            enter.output(_build_fs(the_root, kernel), [compiler, "--version"]),
            [(path.name, path.read_text()) for path in [self.patch, *self._files()]]])
        return env.cache_dir() / ("%s-%s-%s" % (
            self.name, kernel.release,
            hashlib.sha256(inputs.encode()).hexdigest()[:12]))

    def _files(self):
        return sorted(path for path in self.changes.iterdir()
                      if path.suffix in (".c", ".h"))

    def _make(self, the_root, kernel, temporary, log):
        source = temporary / "source"
        source.mkdir()

        fs = _build_fs(the_root, kernel)

        def run(text, *words):
            env.run_logged(enter.command(fs, words, cwd=source), log, text)

        run(None, "sh", "-c", SOURCE, self.name, the_root.series, self.source,
            source, *self._files())
        try:
            run(None, *APPLY, "-i", self.patch)
        except env.LabError:
            files = re.findall(r"rejects to file (\S+)\.rej", log.read_text())
            raise env.LabError(
                "%s does not apply to %s of linux-source-%s, version %s, and has "
                "to be changed (%s; see %s)" % (
                    self.patch.relative_to(env.REPO), self.source, the_root.series,
                    the_root.version, ", ".join(files), log)) from None
        run("building %s for kernel %s" % (self.called, kernel.release),
            "make", "-C", kernel.kdir, *kernel.make_options, "M=%s" % source,
            self.option + "=m", "-j%d" % os.cpu_count(), "modules")
        run(None, _cross(kernel) + "strip", "--strip-debug", "-o", temporary / self.ko,
            source / self.ko)
        env.remove_tree(source)


def _build_fs(the_root, kernel):
    return arm64.build_fs() if kernel.foreign else the_root.fs


def _cross(kernel):
    return kernel.foreign.cross if kernel.foreign else ""


SIW = Driver("siw", "siw", "software iWARP", "siw", "siw.ko", "CONFIG_RDMA_SIW")
SOFTIB = Driver("softib", "ib", "software InfiniBand", "rxe", "rdma_rxe.ko",
                "CONFIG_RDMA_RXE")
DRIVERS = (SIW, SOFTIB)
