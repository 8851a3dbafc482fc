# SPDX-License-Identifier: GPL-2.0
#
# The sanitized kernel: Debian's kernel source of the lab's root, configured to
# report wrong memory accesses, wrong locking, leaks and undefined behaviour,
# and compiled by clang (Rust and KASAN need it together). Built once, kept in
# the cache with the tree that modules are built against.
#
# Not here: the options (sanitized.config), which reports are looked for
# (console.py), how memory is scanned for leaks (leaks.py).

import hashlib
import json
import os
import re
import shutil
import time
from pathlib import Path

from . import enter, env, kernel, root

# Raise this when the way the kernel is built changes.
VERSION = 1

FRAGMENT = Path(__file__).with_name("sanitized.config")

# Whose versions decide what comes out.
COMPILERS = ("clang", "ld.lld", "rustc", "bindgen")

# Top directories that no module build looks into, as in prepare-kdir.
USELESS = """
    block certs crypto Documentation drivers fs init io_uring ipc mm net
    samples security sound tools/perf tools/testing usr virt
""".split()


class Sanitized:
    """A finished sanitized kernel. `path` holds vmlinuz, lib/modules/<release>,
    tree/ (what KDIR names) and meta.json."""

    def __init__(self, path):
        self.path = Path(path)
        self.meta = json.loads((self.path / "meta.json").read_text())
        self.tree = self.path / "tree"
        self.release = self.meta["release"]

    def kernel(self):
        """What a guest boots (see kernel.Kernel)."""
        found = kernel.custom(self.path)
        found.make_options = ["LLVM=1"]
        found.kind = "sanitized"
        return found


def wanted(variable="KERNEL"):
    """True if KERNEL=sanitized, or another variable, chooses this kernel."""
    return env.kernel_choice(variable) == "sanitized"


def key(the_root):
    """A hash of everything that decides what the kernel is."""
    versions = enter.output(the_root.fs, ["sh", "-c", " && ".join(
        name + " --version" for name in COMPILERS)])
    inputs = json.dumps([VERSION, the_root.version,
                         FRAGMENT.read_text(), versions])
    return hashlib.sha256(inputs.encode()).hexdigest()[:12]


def folder(the_root):
    return env.cache_dir() / ("kernel-sanitized-" + key(the_root))


def existing():
    """The kernel, if it is complete; else None."""
    the_root = root.existing()
    if the_root and (folder(the_root) / "meta.json").is_file():
        return Sanitized(folder(the_root))
    return None


def get():
    """The kernel; built first when it is not there (18 minutes with two
    cores of their own)."""
    env.require_root()
    the_root = root.get()
    place = folder(the_root)
    if (place / "meta.json").is_file():
        return Sanitized(place)
    with env.locked(place.name):
        if (place / "meta.json").is_file():
            return Sanitized(place)
        # Whatever an interrupted build left is never trusted.
        env.remove_tree(place)
        temporary = place.with_name(place.name + ".tmp")
        env.remove_tree(temporary)
        free = shutil.disk_usage(env.cache_dir()).free >> 30
        if free < 8:
            raise env.LabError("%s has %d GB of free space; building the "
                               "sanitized kernel needs 8"
                               % (env.cache_dir(), free))
        (temporary / "tree").mkdir(parents=True)
        _make(the_root, temporary)
        os.rename(temporary, place)
    return Sanitized(place)


def _make(the_root, top):
    logs = env.cache_dir() / "log"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / (top.stem + ".log")
    log.unlink(missing_ok=True)
    tree = top / "tree"
    began = time.time()

    def run(text, *words):
        env.run_logged(enter.command(the_root.fs, words, cwd=tree), log, text)

    def make(text, *words):
        run(text, "make", "LLVM=1", "-j%d" % os.cpu_count(), *words)

    source = the_root.fs / ("usr/src/linux-source-%s.tar.xz" % the_root.series)
    run("unpacking " + source.name, "tar", "--strip-components=1", "-xf",
        "/usr/src/" + source.name)
    make(None, "x86_64_defconfig")
    with open(tree / ".config", "a") as f:
        f.write(FRAGMENT.read_text())
    make(None, "olddefconfig")
    lost = lost_options(FRAGMENT.read_text(), (tree / ".config").read_text())
    if lost:
        raise env.LabError("these options of %s have no effect in this kernel "
                           "source: %s" % (FRAGMENT.name, ", ".join(lost)))
    make("compiling the sanitized kernel (once; its log is %s)" % log,
         "bzImage", "modules")
    release = (tree / "include/config/kernel.release").read_text().strip()
    shutil.copyfile(tree / "arch/x86/boot/bzImage", top / "vmlinuz")
    shutil.copyfile(tree / "System.map", top / "System.map")
    make("installing its modules", "INSTALL_MOD_PATH=%s" % top,
         "modules_install")
    link = top / "lib/modules" / release / "build"
    link.unlink(missing_ok=True)
    link.symlink_to("../../../tree")
    _prune(tree)
    meta = {"release": release, "version": the_root.version,
            "seconds": round(time.time() - began)}
    (top / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")


def lost_options(fragment, config):
    """Options of the fragment that the configuration does not have. One that
    is unset may also be unknown."""
    have = set(config.splitlines())
    names = {re.match(r"(?:# )?(\w+)", x).group(1) for x in have
             if re.match(r"(# )?CONFIG_", x)}
    lost = []
    for line in fragment.splitlines():
        found = re.match(r"(# )?(CONFIG_\w+)( is not set|=)", line)
        if found and line not in have:
            if found.group(3) == "=" or found.group(2) in names:
                lost.append(line)
    return lost


def _prune(tree):
    """Remove what module builds do not need; three quarters of it."""
    for name in USELESS:
        env.remove_tree(tree / name)
    keep = ("scripts", "rust", "tools")
    for folder, _, files in os.walk(tree):
        if Path(folder).relative_to(tree).parts[:1] in [(k,) for k in keep]:
            continue
        for name in files:
            if name.endswith((".c", ".S", ".o", ".a", ".cmd", ".ko")) \
                    or name.startswith("vmlinux"):
                os.unlink(os.path.join(folder, name))
