# SPDX-License-Identifier: GPL-2.0
#
# The machine that the package is installed on: a small Debian with systemd and
# a stock kernel, kept in the cache together with every package that the tests
# install (so that they need no network), copies of it in which package tools
# run at the host's speed, and disk images made of those.
#
# Not here: booting them (machine.py), the tests (run).

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from lab import enter, env, kernel, root

# Raise this when the way the base is made changes.
VERSION = 2

# Besides what Debian calls required. initramfs-tools makes the initrd that the
# machine boots with; e2fsprogs checks its disk; targetcli-fb restores LIO's
# configuration when it boots.
PACKAGES = """
    systemd-sysv udev dbus initramfs-tools e2fsprogs kmod iproute2 rdma-core
    python3 ca-certificates man-db targetcli-fb
""".split()

CONTROL = env.REPO / "scripts/deb/debian/control"
QUIET = {"DEBIAN_FRONTEND": "noninteractive"}


def dependencies():
    """What the package depends on, without versions and the kernel's source."""
    text = re.search(r"^Depends:(.*?)^\S", CONTROL.read_text(), re.M | re.S)
    names = [n.partition("(")[0].strip() for n in text.group(1).split(",")]
    return [n for n in names if n and "$" not in n and "linux-source" not in n]


def key():
    inputs = json.dumps([VERSION, root.SUITES, PACKAGES, dependencies(),
                         kernel.SERIES])
    return hashlib.sha256(inputs.encode()).hexdigest()[:12]


class Base:
    """fs/ is the machine as it was before, archives/ the packages."""

    def __init__(self, path):
        self.path = Path(path)
        self.fs = self.path / "fs"
        self.archives = self.path / "archives"
        meta = json.loads((self.path / "meta.json").read_text())
        # Kernels: (release, version of its packages, series)
        self.old, self.new = meta["old"], meta["new"]


def base():
    """The base; made first when it is not there."""
    env.require_root()
    folder = env.cache_dir() / ("install-" + key())
    if (folder / "meta.json").is_file():
        return Base(folder)
    with env.locked(folder.name):
        if not (folder / "meta.json").is_file():
            temporary = folder.with_name(folder.name + ".tmp")
            env.remove_tree(temporary)
            temporary.mkdir(parents=True)
            _make(temporary)
            os.rename(temporary, folder)
    return Base(folder)


def _make(temporary):
    env.host_tools("mmdebstrap", "unshare")
    logs = env.cache_dir() / "log"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "install.log"
    log.unlink(missing_ok=True)
    fs = temporary / "fs"
    mirror = env.debian_mirror()
    cmd = enter.unshare(contained=True) + [
        "--mount-proc", env.find_tool("mmdebstrap"), "--variant=minbase",
        "--mode=root", "--architectures=amd64", "--skip=cleanup/apt",
        "--include=" + ",".join(PACKAGES)]
    for line in env.apt_network_options():
        cmd.append("--aptopt=" + line)
    cmd += [root.SUITE, str(fs)]
    cmd += ["deb %s %s main" % (mirror, suite) for suite in root.SUITES]
    env.run_logged(cmd, log, "making a %s with systemd" % root.SUITE)

    def inside(text, *words):
        env.run_logged(enter.command(fs, words, writable=True, environ=QUIET),
                       log, text)

    install = ("apt-get", "install", "-y", "--no-install-recommends")
    old, new = _choose(fs)
    # What a user of the older kernel has.
    inside("installing Linux " + old[0], *install, *packages(old))
    inside("downloading Linux " + new[0], *install, "--download-only",
           *packages(new))
    inside("downloading the package's dependencies", *install,
           "--download-only", "dkms", *dependencies())
    archives = temporary / "archives"
    archives.mkdir()
    for deb in (fs / "var/cache/apt/archives").glob("*.deb"):
        os.rename(deb, archives / deb.name)
    (temporary / "meta.json").write_text(json.dumps(
        {"old": old, "new": new}, indent=1) + "\n")


def packages(kern):
    """What apt-get install is told for a kernel of backports. With -t instead,
    other packages would come from there, too: a rustc that is not the kernel's,
    libraries that do not fit the -dev packages of trixie."""
    release, version, series = kern
    return ["linux-base/" + root.SUITES[-1],
            "linux-image-%s=%s" % (release, version),
            "linux-headers-%s=%s" % (release, version),
            "linux-source-%s=%s" % (series, version)]


def _choose(fs):
    """The two newest patch levels of one series of which image, headers and
    source are there; if no series has two, the newest of two series."""
    def ask(*words):
        return enter.output(fs, ["apt-cache"] + list(words))

    def versions(name):
        return re.findall(r"^\s*\S+ \| (\S+) \|", ask("madison", name), re.M)

    names = set(ask("pkgnames", "linux-").split())
    newest = []
    for series in kernel.SERIES:
        sources = versions("linux-source-" + series)
        pattern = re.compile(r"linux-headers-(%s\.(\d+)\+[a-z0-9]+-%s)$"
                             % (re.escape(series), kernel.FLAVOUR))
        found = []
        for match in filter(None, map(pattern.match, names)):
            if "linux-image-" + match.group(1) in names:
                for version in versions(match.group(0)):
                    if version in sources:
                        found.append((int(match.group(2)), match.group(1),
                                      version, series))
        found = [entry[1:] for entry in sorted(found)]
        if len(found) > 1:
            return found[-2], found[-1]
        newest += found[-1:]
    if len(newest) > 1:
        return newest[1], newest[0]
    raise env.LabError("the mirror does not offer two kernels to upgrade "
                       "between")


class Tree:
    """A machine's files, as a directory in which its own programs can run."""

    def __init__(self, base_, folder):
        self.base = base_
        self.fs = Path(folder) / "fs"
        self.folder = Path(folder)
        env.remove_tree(self.fs)
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", "--reflink=auto", str(base_.fs),
                        str(self.fs)], check=True)

    def run(self, *words):
        """A command in the machine, without a network; returns (status,
        output)."""
        done = subprocess.run(
            [env.find_tool("unshare"), "--net"] + enter.command(self.fs, words, writable=True, environ=QUIET),
            stdin=subprocess.DEVNULL, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def apt(self, *words):
        """apt-get with the packages of the base."""
        place = self.fs / "var/cache/apt/archives"
        place.mkdir(exist_ok=True)
        for deb in self.base.archives.glob("*.deb"):
            try:
                os.link(deb, place / deb.name)
            except OSError:             # another file system
                shutil.copyfile(deb, place / deb.name)
        try:
            return self.run("apt-get", "-y", "--no-install-recommends", *words)
        finally:
            for deb in place.glob("*.deb"):
                deb.unlink()

    def boot_files(self):
        """(release, image, initrd) of the newest kernel, as a boot loader
        would choose it; Debian's postinst scripts put them into /boot."""
        status, out = self.run("sh", "-c", "linux-version list | "
                               "linux-version sort | tail -n 1")
        release = out.strip()
        boot = self.fs / "boot"
        return (release, boot / ("vmlinuz-" + release),
                boot / ("initrd.img-" + release))

    def disk(self, name, size="8G"):
        """An ext4 image of all of it; also copies the boot files beside."""
        image = self.folder / (name + ".img")
        image.unlink(missing_ok=True)
        release, *files = self.boot_files()
        kept = [self.folder / ("%s.%s" % (name, n)) for n in ("vmlinuz", "initrd")]
        for source, to in zip(files, kept):
            shutil.copyfile(source, to)
        enter.run(root.get().fs, ["mke2fs", "-q", "-t", "ext4", "-E",
                                  "lazy_itable_init=1,nodiscard", "-d",
                                  str(self.fs), str(image), size],
                  binds=[self.folder])
        return release, kept[0], kept[1], image
