# SPDX-License-Identifier: GPL-2.0
#
# Running a command inside the lab's root file system on the host: the build
# environment. Every command gets a mount namespace of its own, so nothing
# stays mounted, and a scratch layer over the root, so the root never changes.
#
# Not here: making the root (root.py) and virtual machines (guest.py).

import os
import subprocess
from pathlib import Path

from . import env

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Variables that pass from the caller into the root; nothing else does.
PASS = ("TERM", "LANG", "LC_ALL", "TZ", "MAKEFLAGS", "MFLAGS", "MAKELEVEL",
        "V", "W", "KDIR", "KSERIES", "KBUILD_VERBOSE", "KCFLAGS",
        "KRUSTFLAGS", "SOURCE_DATE_EPOCH", "http_proxy", "https_proxy",
        "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "CI")
PASS_PREFIXES = ("IB_SRPT_", "LAB_", "CARGO_NET_", "CARGO_HTTP_", "RUST_",
                 "RUSTFLAGS", "KBUILD_BUILD_")

# Runs as the first program in the new namespace. Arguments: the root, or several,
# the upper ones first, with colons between them; "w" to write to it, "-" for a
# scratch layer, or a directory in which a layer is kept; the directory to start in,
# then the directories to bind (same path inside), "--", and the command.
SETUP = r"""
set -e
fs=$1 mode=$2 cwd=$3
shift 3
top=$fs
if [ "$mode" != w ]; then
    layer=$mode
    if [ "$mode" = - ]; then
        # A tmpfs over a directory every system has; seen only in this namespace.
        layer=/mnt
        mount -t tmpfs -o mode=0755,size=75% lab /mnt
    fi
    mkdir -p "$layer/up" "$layer/work" "$layer/top"
    if mount -t overlay -o "lowerdir=$fs,upperdir=$layer/up,workdir=$layer/work" \
        lab "$layer/top" 2>/dev/null; then
        top=$layer/top
    else
        [ "$mode" = - ] && [ -d "$fs" ] || {
            echo "lab: no overlay on this file system" >&2
            exit 1
        }
        echo "lab: no overlay on this file system; using the root itself" >&2
        mount --bind "$fs" "$fs"
    fi
fi
mount -t proc proc "$top/proc"
mount --rbind /dev "$top/dev"
mount --rbind /sys "$top/sys"
if [ "$mode" != w ]; then
    mount -t tmpfs -o mode=1777 tmp "$top/tmp"
fi
if [ -e /etc/resolv.conf ]; then
    [ -e "$top/etc/resolv.conf" ] || : > "$top/etc/resolv.conf"
    mount --bind "$(readlink -f /etc/resolv.conf)" "$top/etc/resolv.conf"
fi
while [ "$1" != -- ]; do
    mkdir -p "$top$1"
    mount --rbind "$1" "$top$1"
    shift
done
shift
exec chroot "$top" /bin/sh -c 'cd "$1" && shift && exec "$@"' sh "$cwd" "$@"
"""


def environment(extra=None):
    """The environment inside: a short fixed part and the allowed names."""
    cache = env.cache_dir()
    inside = {
        "PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "USER": "root",
        # What cargo downloads stays outside the checkout and the root.
        "CARGO_HOME": str(cache / "cargo"),
        "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
        "CARGO_HTTP_CAINFO": "/etc/ssl/certs/ca-certificates.crt",
        # The checkout may belong to another user than root.
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "LAB_INSIDE": "1",
    }
    for name, value in os.environ.items():
        if name in PASS or name.startswith(PASS_PREFIXES):
            inside.setdefault(name, value)
    inside["IB_SRPT_CACHE"] = str(cache)
    inside.update(extra or {})
    return inside


def unshare(contained=False):
    """The words that give a command a mount namespace of its own. With
    `contained` all it starts ends with it, and it ends with unshare: nothing
    may go on writing to a root that an interrupted run left behind."""
    words = [env.find_tool("unshare"), "--mount", "--propagation", "private"]
    if contained:
        words += ["--pid", "--fork", "--kill-child"]
    return words


def command(fs, cmd, writable=False, cwd=None, environ=None, binds=(), layer=None):
    """The command line that runs `cmd` (a list) in the root `fs`. What it writes
    is lost, unless it is `writable`, or goes to <layer>/up."""
    inside = environment(environ)
    if writable or layer:
        binds, cwd = (), "/"
    else:
        env.cache_dir().mkdir(parents=True, exist_ok=True)
        binds = [str(env.REPO), str(env.cache_dir().resolve())] + \
            [str(Path(b).resolve()) for b in binds]
        cwd = str(cwd or default_cwd())
    return (unshare(contained=writable or layer) +
            ["/bin/sh", "-c", SETUP, "lab-exec", str(fs),
             "w" if writable else str(layer or "-"), cwd] + list(binds) +
            ["--", "/usr/bin/env", "-i"] +
            ["%s=%s" % pair for pair in inside.items()] + list(map(str, cmd)))


def default_cwd():
    """Where the command starts: here, if this place exists inside."""
    here = Path.cwd()
    for top in (env.REPO, env.cache_dir().resolve()):
        if here == top or top in here.parents:
            return here
    return env.REPO


def output(fs, cmd):
    """Standard output of a command in the root, as text."""
    return subprocess.run(command(fs, cmd), check=True, text=True,
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE).stdout


def run(fs, cmd, check=True, **kwargs):
    """Run a command in the root; returns its exit status."""
    env.require_root()
    env.host_tools("unshare")
    rc = subprocess.run(command(fs, cmd, **kwargs)).returncode
    if check and rc:
        raise env.LabError("'%s' ended with status %d" % (cmd[0], rc))
    return rc


def replace_process(fs, cmd, **kwargs):
    """Become the command: signals, status, and open files are its own."""
    env.require_root()
    env.host_tools("unshare")
    line = command(fs, cmd, **kwargs)
    os.execv(line[0], line)
