# SPDX-License-Identifier: GPL-2.0
#
# Machines of the other architecture, arm64, with Debian's kernels of 4 and of 16
# KiB pages: a layer over the lab's root with the compilers for them, their headers
# and their QEMU, and a second root file system, from which they boot. Made when
# first asked for, kept in the cache.
#
# Not here: how QEMU is told (qemu.py), which kernel a run is about (chosen.py).

import hashlib
import json
import os
import subprocess
from pathlib import Path

from . import enter, env, kernel, root

# Raise this when the way they are made changes.
VERSION = 1

# The flavours of the kernel; each is a kind of env.PACE.
FLAVOURS = ("arm64", "arm64-16k")

# In the layer, besides the headers of the kernels.
CROSS_PACKAGES = """
    gcc-14-aarch64-linux-gnu gcc-aarch64-linux-gnu libc6-dev-arm64-cross
    libstd-rust-dev:arm64 qemu-system-arm
""".split()

# In the other root; modules and programs are compiled in the lab's.
GUEST_PACKAGES = root.GUEST_PACKAGES + """
    libc6-dev python3 kmod less file
""".split()

# The QEMU that runs programs of arm64 on this machine while the root is made.
USER_QEMU = "usr/bin/qemu-aarch64"

# Begins the layer, in its own root.
LAYER = r"""
set -e
dpkg --add-architecture arm64
apt-get update
cd /tmp
apt-get download qemu-user
dpkg-deb --fsys-tarfile qemu-user_*.deb | tar -x -C / ./%s
""" % USER_QEMU
INSTALL = "apt-get install -y --no-install-recommends".split()

# The disk of tests that takes its time, which Debian's kernel has only where it is
# amd64. Arguments: series, headers, where it goes.
SCSI_DEBUG = r"""
set -e
mkdir "$3"
tar -C "$3" --strip-components=3 -xf "/usr/src/linux-source-$1.tar.xz" \
    "linux-source-$1/drivers/scsi/scsi_debug.c" "linux-source-$1/drivers/scsi/sd.h" \
    "linux-source-$1/drivers/scsi/scsi_logging.h"
echo "obj-m := scsi_debug.o" >"$3/Kbuild"
make -C "$2" M="$3" modules
"""

# Runs as the first program in namespaces of its own, one for users among them, in
# which whoever is root remains root: so the kernel lets it say how programs of
# arm64 are run, for itself and nothing else on this machine.
FOREIGN = r"""
echo ready
read go
set -e
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
echo "$1" >/proc/sys/fs/binfmt_misc/register
shift
exec "$@"
"""
# What the first bytes of such a program are, and which of them count
# (Documentation/admin-guide/binfmt-misc.rst). F: it is opened now, and need not
# be found in the new root.
BINFMT = (r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00"
          r"\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff"
          r"\xff\xff\xff\xff\xfe\xff\xff\xff:%s:OCF")


class Arm64:
    """What was made."""

    def __init__(self, path):
        self.path = path
        self.foreign = kernel.Foreign(path / "fs", path / "up", "aarch64-linux-gnu-")
        self.releases = json.loads((path / "kernels.json").read_text())

    def scsi_debug(self, release):
        """The module scsi_debug for the kernel of this release."""
        return self.path / release / "scsi_debug.ko"

    def kernel(self, flavour):
        """The kernel.Kernel of this flavour."""
        release = self.releases[flavour]
        modules = self.foreign.fs / "usr/lib/modules" / release
        return kernel.Kernel(release, modules / "vmlinuz", modules,
                             "/usr/src/linux-headers-" + release,
                             ["ARCH=arm64", "CROSS_COMPILE=" + self.foreign.cross],
                             flavour, self.foreign)


def key():
    """A hash of everything that decides what they contain."""
    there = root.existing()
    inputs = json.dumps([VERSION, there and there.version, root.key(), LAYER,
                         FLAVOURS, CROSS_PACKAGES, GUEST_PACKAGES, SCSI_DEBUG, FOREIGN,
                         BINFMT])
    return hashlib.sha256(inputs.encode()).hexdigest()[:12]


def folder():
    return env.cache_dir() / ("arm64-" + key())


def existing():
    """What was made, if it is complete; else None."""
    if (folder() / "meta.json").is_file():
        return Arm64(folder())
    return None


def get():
    """The layer and the root; made first when they are not there (7 minutes of a
    processor's time)."""
    root.get()
    env.cached(folder(), _make)
    return Arm64(folder())


def build_fs():
    """The lab's root with the layer over it, for enter.command()."""
    return "%s:%s" % (get().foreign.layer, root.get().fs)


def _make(temporary, log):
    the_root = root.get()
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7):
        raise env.LabError("the kernel of this machine, %s, lets nothing but itself say how "
                           "programs of arm64 are run: 6.7 and later do" % os.uname().release)

    def in_layer(text, *words):
        env.run_logged(enter.command(
            the_root.fs, words, layer=temporary,
            environ={"DEBIAN_FRONTEND": "noninteractive"}), log, text)

    in_layer("reading the lists of packages for arm64", "sh", "-c", LAYER)
    found = {}
    for flavour in FLAVOURS:
        choice, = root.choose_kernels(
            "%s:%s" % (temporary / "up", the_root.fs), [the_root.series], flavour)
        found[flavour] = choice
        if choice.version != the_root.version:
            raise env.LabError(
                "the kernel of the lab's root is version %s, and that for %s is %s: "
                "`lab clean --all`, and make the root again"
                % (the_root.version, flavour, choice.version))
    names = ["%s:arm64=%s" % (name, choice.version) for choice in found.values()
             for name in choice.packages if name.startswith("linux-headers-")]
    in_layer("installing compilers, headers and QEMU for arm64",
             *INSTALL, *CROSS_PACKAGES, *names)
    in_layer(None, "apt-get", "clean")
    root.forget_lists(temporary / "up")
    for name in ("work", "top"):
        env.remove_tree(temporary / name)

    for choice in found.values():
        env.run_logged(enter.command(
            "%s:%s" % (temporary / "up", the_root.fs),
            ["sh", "-c", SCSI_DEBUG, "scsi_debug", choice.series,
             "/usr/src/linux-headers-" + choice.release, temporary / choice.release],
            cwd="/"), log, "building scsi_debug for " + choice.release)

    names = ["%s=%s" % (name, choice.version) for choice in found.values()
             for name in choice.packages
             if not name.startswith(("linux-headers-", "linux-source-"))]
    command = root.mmdebstrap(temporary / "fs", "arm64", GUEST_PACKAGES + names,
                              "--skip=check/qemu")
    with env.Step("making the root file system for arm64 (its log is %s)" % log):
        _foreign(temporary / "up" / USER_QEMU, command, log)
    (temporary / "up" / USER_QEMU).unlink()
    (temporary / "kernels.json").write_text(json.dumps(
        {flavour: choice.release for flavour, choice in found.items()}))


def _foreign(interpreter, command, log):
    """Run a command that runs programs of arm64."""
    with open(log, "ab") as out:
        process = subprocess.Popen(
            enter.unshare(contained=True) + ["--user", "sh", "-c", FOREIGN, "lab",
                                             BINFMT % interpreter, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out,
            start_new_session=True, preexec_fn=env.die_with_parent)
        try:
            process.stdout.readline()
            # Every user is the same outside; only root may say so.
            for name in ("uid_map", "gid_map"):
                Path("/proc/%d/%s" % (process.pid, name)).write_text("0 0 4294967295")
            process.communicate(b"go\n")
        except BaseException:
            env.end_group(process)
            raise
    if process.returncode:
        raise env.LabError("'%s' ended with status %d: see %s"
                           % (command[0], process.returncode, log))
