# SPDX-License-Identifier: GPL-2.0
#
# Kernels: which stock kernel gets chosen from the package lists, what a guest
# needs to boot one, and the small initramfs that hands over to the root file
# system shared over 9p.
#
# Not here: installing packages (root.py) and starting QEMU (qemu.py).

import hashlib
import lzma
import os
import re
import struct
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from . import env

# Best first. The patch level is always the newest there is.
SERIES = ("7.3", "7.2")
FLAVOUR = "amd64"

# How the message begins when the package lists have no kernel to choose.
NOT_OFFERED = "the mirror offers no complete kernel"

# Loaded by the initramfs, in this order; what is built in is skipped.
BOOT_MODULES = """
    netfs 9pnet 9pnet_virtio 9p overlay failover net_failover virtio_net
    virtio-rng virtio_console
""".split()


@dataclass
class Choice:
    """A kernel release with the packages that bring it."""
    release: str
    series: str
    version: str
    packages: list


@dataclass
class Foreign:
    """What a kernel of another architecture needs: the root file system that its
    guests boot from, the layer over the lab's root with compilers and QEMU for it,
    and how the names of these compilers begin."""
    fs: Path
    layer: Path
    cross: str


@dataclass
class Kernel:
    """What a guest boots: the image, and the modules of the same release.

    `modules` is a directory such as /usr/lib/modules/<release>; when it is
    not part of the root, guests get it as a share of its own. `kdir` is where
    `lab exec` sees the tree that modules are built against, with these options
    of make. `kind` is one of env.PACE."""
    release: str
    image: Path
    modules: Path
    kdir: str
    make_options: list = field(default_factory=list)
    kind: str = "stock"
    foreign: Foreign = None


def custom(folder):
    """A kernel of one's own: <folder>/vmlinuz (or bzImage) and
    <folder>/lib/modules/<release>, as `make modules_install` leaves it."""
    folder = Path(folder).resolve()
    releases = sorted((folder / "lib/modules").glob("*"))
    images = [folder / n for n in ("vmlinuz", "bzImage")
              if (folder / n).is_file()]
    if len(releases) != 1 or not images:
        raise env.LabError("%s must hold vmlinuz (or bzImage) and exactly one "
                           "lib/modules/<release>" % folder)
    return Kernel(releases[0].name, images[0], releases[0],
                  str(releases[0] / "build"))


def not_offered(flavour, *series):
    """Says that the package lists have no kernel of these series."""
    return "%s (headers, image, modules and source of one version, flavour %s) of series %s" % (
        NOT_OFFERED, flavour, " or ".join(series))


def choose(names, versions, series, flavour=FLAVOUR):
    """The newest plain kernel of a series that is complete; None if there is none.

    `names` are all package names; `versions(name)` lists what a package is
    offered in. A release counts only if its headers, image, modules and the
    source package of its series exist in one and the same version."""
    names = set(names)
    pattern = re.compile(r"linux-headers-(%s(?:\.(\d+))?\+[a-z0-9.~]+-%s)$"
                         % (re.escape(series), flavour))
    found = []
    for name in names:
        match = pattern.match(name)
        if match:
            found.append((int(match.group(2) or 0), match.group(1)))
    for _, release in sorted(found, reverse=True):
        packages = _packages(names, release, series)
        if not packages:
            continue
        offered = [set(versions(p)) for p in packages]
        common = [v for v in versions(packages[0])
                  if all(v in o for o in offered)]
        if common:
            return Choice(release, series, common[0], packages)
    return None


def _packages(names, release, series):
    source = "linux-source-" + series
    split = ["linux-binary-" + release, "linux-modules-" + release]
    whole = ["linux-image-" + release]
    for image in (split, whole):
        packages = ["linux-headers-" + release] + image + [source]
        if all(p in names for p in packages):
            return packages
    return None


# --- the image -------------------------------------------------------------

ELF, PT_NOTE, XEN_PVH = b"\x7fELF", 4, 18


def bootable(kern):
    """What QEMU loads for a kernel: its image without the compression, made once
    and kept in the cache, so that no guest spends time with it (1.2 s of 2.7 with
    emulation). The image as it is, if QEMU could not enter it otherwise."""
    stat = kern.image.stat()
    digest = hashlib.sha256(("%s %d %d" % (kern.image, stat.st_size,
                                           stat.st_mtime_ns)).encode())
    folder = env.cache_dir() / "vmlinux"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("%s-%s" % (kern.release, digest.hexdigest()[:12]))
    if not path.is_file():
        with env.locked("vmlinux"):
            if not path.is_file():
                _unpack(kern.image, path)
    return path if path.stat().st_size else kern.image


def _unpack(image, path):
    # Whatever was interrupted, and what has not been made for long, goes.
    old = sorted(path.parent.glob("*"), key=lambda p: p.stat().st_mtime)
    for stale in old[:-20] + [p for p in old if p.suffix == ".tmp"]:
        stale.unlink(missing_ok=True)
    data = payload(image.read_bytes())
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data if has_pvh_entry(data) else b"")
    os.rename(temporary, path)


def payload(image):
    """The kernel in a bzImage, uncompressed; b"" if there is none that is known
    (Documentation/arch/x86/boot.rst: setup_sects, payload_offset)."""
    if image[0x202:0x206] != b"HdrS":
        return b""
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (image[0x1f1] + 1) * 512 + offset
    data = image[start:start + length]
    for magic, suffix in ((b"\x28\xb5\x2f\xfd", ".zst"), (b"\xfd7zXZ", ".xz")):
        if data.startswith(magic):
            # Their size follows, in four bytes.
            return decompressed(data[:-4], suffix)
    return b""


def has_pvh_entry(elf):
    """Has a kernel the note with the address at which QEMU can enter it?"""
    if elf[:5] != ELF + b"\x02":
        return False
    at, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for number in range(count):
        kind, _, offset, _, _, length = struct.unpack_from(
            "<IIQQQQ", elf, at + number * size)
        end = offset + length
        while kind == PT_NOTE and offset + 12 <= end:
            names, content, what = struct.unpack_from("<III", elf, offset)
            if what == XEN_PVH and elf[offset + 12:offset + 15] == b"Xen":
                return True
            offset += 12 + -(-names // 4) * 4 + -(-content // 4) * 4
    return False


# --- the initramfs ---------------------------------------------------------

INIT = r"""#!/bin/sh
# Mount the shares, put a writable layer over the root, hand over to it.
# The last word of each lab.* parameter comes from the host (guest.py).
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /lower /layer /new
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 60 > /proc/sys/kernel/hung_task_timeout_secs 2>/dev/null
echo -1 > /proc/sys/kernel/hung_task_warnings 2>/dev/null
die() { echo "lab-init: $*" > /dev/console; echo o > /proc/sysrq-trigger; sleep 9; }
for m in $(cat /modules/order); do
    insmod /modules/$m || die "insmod $m failed"
done
opt=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o $opt,ro,cache=loose root /lower || die "no root share"
mount -t tmpfs -o mode=0755,size=80% layer /layer
mkdir /layer/up /layer/work
mount -t overlay -o lowerdir=/lower,upperdir=/layer/up,workdir=/layer/work \
    top /new || die "no overlay"
mount -t tmpfs -o mode=0755 run /new/run
mount -t tmpfs -o mode=1777 tmp /new/tmp
mkdir -p /new/run/lab /new/run/lock
cp /agent.py /pid1 /new/run/lab/
# lab.share=<tag>:<ro|rw>:<path>, any number of them
for word in $(cat /proc/cmdline); do
    case $word in lab.share=*)
        word=${word#lab.share=}
        tag=${word%%:*}; word=${word#*:}
        mode=${word%%:*}; path=${word#*:}
        mkdir -p "/new$path"
        mount -t 9p -o $opt,$mode,cache=none,access=any $tag "/new$path" ||
            die "no share $tag"
        ;;
    esac
done
for d in proc sys dev; do mount -o move /$d /new/$d; done
exec switch_root /new /usr/bin/busybox sh /run/lab/pid1
"""

PID1 = r"""#!/bin/sh
# Process 1 of the guest: the remaining mounts, then the agent. The shell's
# wait also reaps whatever orphans come its way. With lab.systemd, systemd is
# process 1, and starts the agent among its services.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TERM=linux
case " $(cat /proc/cmdline) " in *" lab.systemd "*)
    units=/run/systemd/system
    mkdir -p $units/multi-user.target.wants
    cat > $units/lab-agent.service <<'END'
[Unit]
Description=Agent of the lab
[Service]
ExecStart=/usr/bin/python3 -I -S /run/lab/agent.py
Environment=HOME=/root LANG=C.UTF-8
StandardInput=null
END
    ln -s ../lab-agent.service $units/multi-user.target.wants/
    exec /usr/lib/systemd/systemd
esac
mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t debugfs debug /sys/kernel/debug 2>/dev/null
mount -t tracefs trace /sys/kernel/tracing 2>/dev/null
ln -sf /proc/self/fd /dev/fd
ulimit -c 0
# From here on informational kernel messages reach the console, too.
echo "7 4 1 7" > /proc/sys/kernel/printk
/usr/bin/python3 -I -S /run/lab/agent.py < /dev/null
echo "lab-pid1: the agent ended with status $?" > /dev/console
echo o > /proc/sysrq-trigger
while :; do sleep 1; done
"""


def initramfs(kern, fs):
    """The initramfs for a kernel; made once and kept in the cache."""
    agent = (Path(__file__).parent / "agent.py").read_bytes()
    digest = hashlib.sha256()
    for part in (INIT, PID1, " ".join(BOOT_MODULES), kern.release,
                 str(kern.modules), str(kern.image.stat().st_mtime)):
        digest.update(part.encode() + b"\0")
    digest.update(agent)
    folder = env.cache_dir() / "initramfs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("%s-%s.cpio" % (kern.release, digest.hexdigest()[:12]))
    if path.is_file():
        return path

    order, files = [], []
    for name, data in _boot_modules(kern):
        order.append(name)
        files.append(("modules/" + name, 0o100644, data))
    files.append(("modules/order", 0o100644, "\n".join(order).encode()))
    busybox = Path(fs) / "usr/bin/busybox"
    entries = [(d, 0o040755, b"") for d in ("bin", "modules", "dev")]
    entries += [("bin/busybox", 0o100755, busybox.read_bytes()),
                ("bin/sh", 0o120777, b"busybox"),
                ("init", 0o100755, INIT.encode()),
                ("pid1", 0o100755, PID1.encode()),
                ("agent.py", 0o100755, agent)] + files
    temporary = path.with_suffix(".tmp%d" % os.getpid())
    temporary.write_bytes(cpio(entries))
    os.rename(temporary, path)
    # Keep the cache small: older images of the same release are useless soon.
    old = sorted(folder.glob(kern.release + "-*.cpio"),
                 key=lambda p: p.stat().st_mtime)
    for stale in old[:-8]:
        stale.unlink(missing_ok=True)
    return path


def _boot_modules(kern):
    """(file name, plain contents) of each boot module that is not built in."""
    def norm(name):
        return name.replace("-", "_")

    files = {}
    for path in kern.modules.rglob("*.ko*"):
        files[norm(path.name.split(".ko")[0])] = path
    builtin = kern.modules / "modules.builtin"
    inside = {norm(Path(line).stem)
              for line in builtin.read_text().split()} \
        if builtin.is_file() else set()
    for name in BOOT_MODULES:
        path = files.get(norm(name))
        if path:
            yield norm(name) + ".ko", plain(path)
        elif norm(name) not in inside:
            raise env.LabError("kernel %s has no module %s, which a guest "
                               "needs to boot" % (kern.release, name))


def plain(path):
    """A module's contents, decompressed."""
    return decompressed(Path(path).read_bytes(), path.suffix)


def decompressed(data, suffix):
    """What a file with this end of its name contains."""
    if suffix == ".xz":
        return lzma.decompress(data)
    if suffix == ".zst":
        env.host_tools("zstd")
        return subprocess.run(["zstd", "-dc"], input=data, check=True,
                              stdout=subprocess.PIPE).stdout
    return data


def cpio(entries):
    """A newc archive of (name, mode, data); links carry their target."""
    out = []

    def add(number, name, mode, data):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        out.append(head + b"\0" * (-len(head) % 4))
        out.append(data + b"\0" * (-len(data) % 4))

    for number, (name, mode, data) in enumerate(entries, 1):
        add(number, name, mode, data)
    add(0, "TRAILER!!!", 0, b"")
    return b"".join(out)
