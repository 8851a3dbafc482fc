# SPDX-License-Identifier: GPL-2.0
#
# The one root file system of the lab: Debian trixie with updates and
# backports, made by mmdebstrap in the cache. It is both the build root (gcc,
# rustc, bindgen, kernel headers and source) and what guests boot from, and it
# brings the QEMU that runs them. It has a kernel of each series.
#
# Not here: running commands in it (enter.py), which release of a series gets
# installed (kernel.py), the initramfs (kernel.py).

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from . import enter, env, kernel

# Raise this when the way the root is made changes.
VERSION = 3

SUITE = "trixie"
SUITES = (SUITE, SUITE + "-updates", SUITE + "-backports")

# Compilers and everything Kbuild wants.
BUILD_PACKAGES = """
    ca-certificates make gcc-14 gcc g++ libc6-dev rustc rust-src rustfmt cargo
    rust-clippy bindgen clang libclang-dev lld llvm flex bison bc libelf-dev
    libssl-dev python3 kmod cpio xz-utils zstd patch rsync git pahole pkgconf
    file less debhelper dh-dkms lintian mandoc
""".split()

# What guests use.
GUEST_PACKAGES = """
    busybox-static iproute2 rdma-core ibverbs-providers ibverbs-utils
    libibverbs-dev librdmacm-dev libibumad-dev rdmacm-utils srptools perftest
    python3-pyverbs targetcli-fb python3-rtslib-fb dbus fio lsscsi sg3-utils
    multipath-tools e2fsprogs util-linux procps udev iputils-ping ethtool
    pciutils strace opensm infiniband-diags
""".split()

# And what runs them (see qemu.program() for why it is not the host's QEMU).
PACKAGES = BUILD_PACKAGES + GUEST_PACKAGES + ["qemu-system-x86", "seabios"]


def series_kept():
    """The kernel series of which the root has a kernel each, best first. KSERIES may
    ask for one more."""
    kept, asked = list(kernel.SERIES), os.environ.get("KSERIES")
    if asked and asked not in kept:
        kept.append(asked)
    return kept


def key():
    """A hash of everything that decides what the root contains."""
    inputs = json.dumps([VERSION, SUITES, sorted(PACKAGES), series_kept(),
                         kernel.FLAVOUR])
    return hashlib.sha256(inputs.encode()).hexdigest()[:12]


def folder():
    """root-<key>/ holds fs/ (the tree) and kernels.json (which kernels are in it)."""
    return env.cache_dir() / ("root-" + key())


class Without(env.LabError):
    """There is a root, without a kernel of the series that a run is to be about."""


class Root:
    """A finished root file system, and the stock kernel in it that a run is about: of
    series KSERIES, or of the best there is."""

    def __init__(self, path):
        self.path = Path(path)
        self.fs = self.path / "fs"
        kernels = json.loads((self.path / "kernels.json").read_text())
        self.series = os.environ.get("KSERIES") or next(iter(kernels))
        if self.series not in kernels:
            raise Without("%s when %s was made; `lab clean --all` has it made anew" % (
                kernel.not_offered(kernel.FLAVOUR, self.series), self.path))
        self.release, self.version = kernels[self.series]

    def kernel(self):
        """This kernel (see kernel.Kernel)."""
        modules = self.fs / "usr/lib/modules" / self.release
        return kernel.Kernel(self.release, modules / "vmlinuz", modules,
                             "/lib/modules/%s/build" % self.release)


def existing():
    """The root, if it is complete and has what a run is about; else None."""
    try:
        return Root(folder()) if (folder() / "meta.json").is_file() else None
    except Without:
        return None


def get():
    """The root; made first when it is not there. A complete root needs no
    network and no package tool."""
    env.cached(folder(), _make)
    return Root(folder())


def mmdebstrap(fs, architecture, packages, *options):
    """The words that make a root file system; what they need is installed."""
    env.host_tools("mmdebstrap", "unshare")
    words = [env.find_tool("mmdebstrap"), "--variant=minbase", "--mode=root",
             "--architectures=" + architecture, "--dpkgopt=force-unsafe-io", *options,
             "--include=" + ",".join(packages)]
    words += ["--aptopt=" + line for line in env.apt_network_options()]
    words += [SUITE, str(fs)]
    return words + ["deb %s %s main" % (env.debian_mirror(), suite) for suite in SUITES]


def _make(temporary, log):
    fs = temporary / "fs"
    cmd = mmdebstrap(fs, "amd64", PACKAGES, "--skip=cleanup/apt")
    cmd = enter.unshare(contained=True) + ["--mount-proc", *cmd]
    env.run_logged(cmd, log, "making the %s root file system (%d packages and "
                   "what they need) from %s" % (SUITE, len(PACKAGES), env.debian_mirror()))

    _certificates(fs)
    choices = choose_kernels(fs, series_kept())
    names = ["%s=%s" % (name, choice.version)
             for choice in choices for name in choice.packages]
    env.run_logged(
        enter.command(fs, ["apt-get", "install", "-y",
                           "--no-install-recommends"] + names,
                       writable=True, environ={
                           "DEBIAN_FRONTEND": "noninteractive"}),
        log, "installing Linux %s with headers and source"
        % " and ".join(choice.release for choice in choices))
    env.run_logged(enter.command(fs, ["apt-get", "clean"], writable=True), log)
    forget_lists(fs)
    # Cargo and friends resolve names through the host's resolver file, which
    # enter.py binds over this one.
    (fs / "etc/resolv.conf").unlink(missing_ok=True)
    (fs / "etc/resolv.conf").write_text("")

    for choice in choices:
        stock = fs / "usr/lib/modules" / choice.release
        if not (stock / "vmlinuz").is_file():
            raise env.LabError("the package of %s has no %s/vmlinuz"
                               % (choice.release, stock))
    (temporary / "kernels.json").write_text(json.dumps(
        {c.series: (c.release, c.version) for c in choices}, indent=1) + "\n")


def forget_lists(fs):
    """Remove the lists of packages."""
    lists = fs / "var/lib/apt/lists"
    shutil.rmtree(lists)
    (lists / "partial").mkdir(parents=True)


def _certificates(fs):
    """Let cargo and apt inside trust what the host trusts."""
    bundle = env.ca_bundle()
    if bundle:
        inside = fs / "etc/ssl/certs/ca-certificates.crt"
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle, inside)


def _apt_cache(fs, *args):
    return enter.output(fs, ["apt-cache"] + list(args))


def choose_kernels(fs, wanted, flavour=kernel.FLAVOUR):
    """Ask the package lists in the root for the newest stock kernel of each series, best
    first; a series of which they have none is left out, unless a run is to be about it."""
    names = _apt_cache(fs, "pkgnames", "linux-").split()

    def versions(name):
        """All versions of a package that the lists offer, newest first."""
        out = _apt_cache(fs, "madison", name)
        return re.findall(r"^\s*\S+ \| (\S+) \|", out, re.M)

    found = {series: kernel.choose(names, versions, series, flavour) for series in wanted}
    asked = os.environ.get("KSERIES")
    if not any(found.values()) or (asked in found and not found[asked]):
        raise env.LabError(kernel.not_offered(flavour, *([asked] if asked else wanted)))
    return [choice for choice in found.values() if choice]
