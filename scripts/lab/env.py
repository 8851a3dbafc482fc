# SPDX-License-Identifier: GPL-2.0
#
# Where the lab keeps things on the host, and how it treats the host: the
# checkout and cache paths, locks, progress lines, logged sub-processes and the
# packages it installs when they are missing.
#
# Not here: what goes into the root file system (root.py), anything about
# kernels (kernel.py) or virtual machines (qemu.py, guest.py).

import contextlib
import ctypes
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

# The only place that names a public mirror; used when the host's own apt
# sources name none.
DEFAULT_MIRROR_HOST = "deb.debian.org"

# A program the lab needs on the host -> the Debian package that has it.
HOST_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "zstd": "zstd",
}


# How much longer everything takes with the kernel chosen by KERNEL=.
PACE = {"stock": 1.0, "sanitized": 5.0, "arm64": 2.0, "arm64-16k": 2.0}


# What HCA guests have, by TRANSPORT=: software RoCE, iWARP or InfiniBand; and
# its name.
TRANSPORTS = {"rxe": "rxe0", "siw": "siw0", "ib": "rxe0"}


class LabError(Exception):
    """Something the user can act on; printed without a traceback."""


def kernel_choice(variable="KERNEL"):
    """Which kernel guests boot, one of PACE; with PEER_KERNEL, those that only talk
    to the one that is tested."""
    choice = os.environ.get(variable) or "stock"
    if choice not in PACE:
        raise LabError("%s may be %s, not '%s'"
                       % (variable, " or ".join(PACE), choice))
    return choice


def transport():
    """Which kind of HCA guests have, one of TRANSPORTS."""
    choice = os.environ.get("TRANSPORT") or "rxe"
    if choice not in TRANSPORTS:
        raise LabError("TRANSPORT may be %s, not '%s'"
                       % (" or ".join(TRANSPORTS), choice))
    return choice


def core_parameters():
    """Parameters of ib_core in guests, such as force_mr=1."""
    return os.environ.get("IB_CORE") or ""


def pace():
    """What time limits in guests are multiplied with; LAB_PACE overrides."""
    return float(os.environ.get("LAB_PACE") or
                 max(PACE[kernel_choice()], PACE[kernel_choice("PEER_KERNEL")]))


def cache_dir():
    """The directory outside the checkout that holds all downloads."""
    return Path(os.environ.get("IB_SRPT_CACHE") or "/var/cache/ib_srpt")


def out_dir():
    """Where consoles and results of runs are saved."""
    return Path(os.environ.get("LAB_OUT") or REPO / "build" / "lab")


def new_run_dir(label="run"):
    """Make and return a fresh directory for the output of one run."""
    base = out_dir()
    base.mkdir(parents=True, exist_ok=True)
    name = os.environ.get("LAB_RUN") or "%s-%s-%d" % (
        label, time.strftime("%Y%m%d-%H%M%S"), os.getpid())
    path = base / name
    number = 1
    while True:
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1
            path = base / ("%s.%d" % (name, number))


def note(text):
    """One line for the person who watches; never on standard output."""
    print("lab: " + text, file=sys.stderr, flush=True)


def require_root():
    if os.geteuid() != 0:
        raise LabError("this needs root (mounts, device nodes, chroot): "
                       "run it as root or with sudo")


class Step:
    """Progress of one long step: a single line with the elapsed seconds.

    On a terminal the line is rewritten every second; elsewhere (a log file, a
    CI system) a line is printed when it starts, every 20 seconds, and at its
    end."""

    def __init__(self, text):
        self.text = text
        self.tty = sys.stderr.isatty()
        self.stop = threading.Event()

    def _tick(self):
        while not self.stop.wait(1 if self.tty else 20):
            spent = time.monotonic() - self.start
            if self.tty:
                print("\rlab: %s ... %d s " % (self.text, spent), end="",
                      file=sys.stderr, flush=True)
            else:
                note("%s ... %d s" % (self.text, spent))

    def __enter__(self):
        self.start = time.monotonic()
        if not self.tty:
            note(self.text + " ...")
        self.thread = threading.Thread(target=self._tick, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop.set()
        self.thread.join()
        spent = time.monotonic() - self.start
        word = "failed after" if kind else "done in"
        line = "%s: %s %.1f s" % (self.text, word, spent)
        if self.tty:
            print("\r", end="", file=sys.stderr)
        note(line)


def write_whole(file, text):
    """Write a file in one step: a reader finds all of a text, the former or this."""
    new = file.with_name(file.name + ".new")
    new.write_text(text)
    new.replace(file)


def cached(place, make, **meta):
    """A folder of the cache, made first when it is not there: `make` is called with
    a new folder and the file of its log. `meta` goes into its meta.json."""
    def there():
        return (place / "meta.json").is_file()
    if there():
        return
    require_root()
    with locked(place.name):
        if there():
            return
        # Whatever an interrupted build left is never trusted.
        remove_tree(place)
        temporary = place.with_name(place.name + ".tmp")
        remove_tree(temporary)
        temporary.mkdir()
        logs = cache_dir() / "log"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / (place.name + ".log")
        log.unlink(missing_ok=True)
        began = time.time()
        try:
            make(temporary, log)
        except LabError:
            remove_tree(temporary)
            raise
        (temporary / "meta.json").write_text(json.dumps(
            dict(meta, seconds=round(time.time() - began)), indent=1) + "\n")
        os.rename(temporary, place)


@contextlib.contextmanager
def locked(name):
    """Hold a lock that all runs of the lab on this machine share."""
    folder = cache_dir() / "lock"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            f.seek(0)
            with Step("waiting for '%s', held by process %s"
                      % (name, f.read().strip() or "?")):
                fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        f.truncate()
        f.write("%d\n" % os.getpid())
        f.flush()
        yield


def run_logged(cmd, log, text=None, env=None):
    """Run a command with its output in the file `log`; on failure show the
    end of that file. The command gets its own process group, which is ended
    when we are interrupted."""
    with contextlib.ExitStack() as stack:
        out = stack.enter_context(open(log, "ab"))
        if text:
            stack.enter_context(Step(text))
        out.write(("+ %s\n" % " ".join(map(str, cmd))).encode())
        out.flush()
        proc = subprocess.Popen(list(map(str, cmd)), stdout=out, stderr=out,
                                stdin=subprocess.DEVNULL, env=env,
                                start_new_session=True,
                                preexec_fn=die_with_parent)
        try:
            rc = proc.wait()
        except BaseException:
            end_group(proc)
            raise
        if rc:
            tail = Path(log).read_text(errors="replace").splitlines()[-25:]
            raise LabError("'%s' ended with status %d; the end of %s:\n  %s"
                           % (Path(str(cmd[0])).name, rc, log,
                              "\n  ".join(tail)))


def die_with_parent():
    """In a child: get killed when the process that started it is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)          # PR_SET_PDEATHSIG


def end_group(proc, grace=5):
    """End the process group of a process that we started."""
    for sig, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, grace)):
        if proc.poll() is not None:
            return
        try:
            os.killpg(proc.pid, sig)
        except ProcessLookupError:
            pass
        try:
            proc.wait(wait)
        except subprocess.TimeoutExpired:
            pass


def remove_tree(path):
    """Remove a tree, unless something is mounted below it."""
    path = Path(path)
    if not os.path.lexists(path):
        return
    real = os.path.realpath(path)
    with open("/proc/self/mountinfo") as f:
        for line in f:
            point = line.split()[4]
            if point == real or point.startswith(real + "/"):
                raise LabError("%s is mounted; unmount it before %s can be "
                               "removed" % (point, path))
    subprocess.run(["rm", "-rf", "--one-file-system", str(path)], check=True)


def host_tools(*names):
    """Make sure that programs exist on the host; install what is missing."""
    missing = [n for n in names if not find_tool(n)]
    if not missing:
        return
    host_packages(", ".join(missing), *sorted({HOST_TOOLS[n] for n in missing}))
    missing = [n for n in names if not find_tool(n)]
    if missing:
        raise LabError("still missing after the installation: "
                       + ", ".join(missing))


def host_packages(what, *packages):
    """Install packages on the host, as `what` is missing."""
    hint = "missing on this machine: %s. " % what
    if not shutil.which("apt-get"):
        raise LabError(hint + "This is not a Debian system, so install them "
                       "yourself (Debian calls them: %s)" % " ".join(packages))
    if os.geteuid() != 0:
        raise LabError(hint + "Run as root, or first: sudo apt-get install "
                       + " ".join(packages))
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    folder = cache_dir() / "log"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "host-packages.log"
    with locked("host-packages"):
        run_logged(["apt-get", "update"], log, "apt-get update", env)
        run_logged(["apt-get", "install", "-y", "--no-install-recommends",
                    *packages], log, "installing " + " ".join(packages), env)


def find_tool(name):
    return shutil.which(name) or shutil.which(
        name, path="/usr/sbin:/sbin:/usr/bin:/bin")


def debian_mirror():
    """The mirror the host itself uses; IB_SRPT_MIRROR overrides it."""
    if os.environ.get("IB_SRPT_MIRROR"):
        return os.environ["IB_SRPT_MIRROR"].rstrip("/")
    files = ["/etc/apt/sources.list"]
    files += sorted(glob.glob("/etc/apt/sources.list.d/*.list"))
    files += sorted(glob.glob("/etc/apt/sources.list.d/*.sources"))
    for name in files:
        try:
            text = Path(name).read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if not re.match(r"\s*(deb\s|URIs:)", line):
                continue
            found = re.search(r"https?://\S+/debian/?(?=\s|$)", line)
            if found:
                return found.group(0).rstrip("/")
    return "http://%s/debian" % DEFAULT_MIRROR_HOST


def apt_network_options():
    """The host's own proxy and certificate settings for apt, as they are."""
    if not find_tool("apt-config"):
        return []
    dump = subprocess.run([find_tool("apt-config"), "dump"], text=True,
                          stdout=subprocess.PIPE, check=True).stdout
    return [line for line in dump.splitlines() if re.match(
        r"Acquire::https?::(Proxy|CaInfo|Verify|CaPath|[^\"]*::Proxy)\b.* "
        r"\"[^\"]+\";$", line, re.I)]


def ca_bundle():
    """The host's certificate bundle (it may hold a proxy's certificate)."""
    for name in (os.environ.get("SSL_CERT_FILE"),
                 "/etc/ssl/certs/ca-certificates.crt"):
        if name and os.path.isfile(name):
            return Path(name)
    return None
