# SPDX-License-Identifier: GPL-2.0
#
# Made-up sysfs trees, with the files of docs/ABI/sysfs-class-infiniband_srpt
# that srpt-top reads, and what all tests need.
#
# Not here: tests.

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PROGRAM = REPO / "scripts/srpt-top"
sys.dont_write_bytecode = True
if str(REPO / "scripts") not in sys.path:
    sys.path.insert(0, str(REPO / "scripts"))

# What starts the tests in the background may ignore these, and programs inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

STAGES = ("receive", "engine", "fetch", "send")
COUNTERS = ("commands", "reads", "writes", "read_bytes", "write_bytes", "failed",
            "aborted", "task_management", "malformed", "credits_starved",
            "sq_full")
PORT_COUNTERS = COUNTERS + ("logins", "logins_refused")
REFUSALS = ("unable_establish", "no_resources", "iu_too_large",
            "unable_associate", "unsupported_format", "multichannel",
            "channel_limit")


# Lines of login_refused, with everything and with nothing that may follow.
INITIATOR = "0x0000000000000000505400fffe090002"
REFUSED = ("4 8 0x10006 %s 10.9.0.2; it may be named %s or 5054:00ff:fe09:0002 or "
           "10.9.0.2; ACL 10.9.0.1 is the target's own address, not the "
           "initiator's" % (INITIATOR, INITIATOR))
# As an older module has it.
PLAINLY_REFUSED = "700 0x10003 0x%s GID fe80::5054:0:2" % ("ab" * 16)


def put(path, value):
    """Replace a file at once, so that nobody reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.parent.parent / (".%s.new" % path.name)
    fresh.write_text("%s\n" % value)
    os.rename(fresh, path)


class Folder:
    """What ports and sessions have in common."""
    names = COUNTERS

    def __init__(self, path):
        self.path = path
        self.values = dict.fromkeys(self.names, 0)
        self.buckets = {stage: [0] * 24 for stage in STAGES}
        self.count()

    def count(self, **more):
        """Add to counters."""
        for name, value in more.items():
            self.values[name] += value
        for name, value in self.values.items():
            put(self.path / "counters" / name, value)
        for stage, buckets in self.buckets.items():
            put(self.path / "latency" / stage, " ".join(map(str, buckets)))

    def took(self, stage, bucket, commands=1):
        self.buckets[stage][bucket] += commands
        self.count()

    def restart(self):
        self.values = dict.fromkeys(self.names, 0)
        self.buckets = {stage: [0] * 24 for stage in STAGES}
        self.count()

    def set(self, name, value):
        put(self.path / name, value)

    def remove(self):
        shutil.rmtree(self.path)


class Port(Folder):
    names = PORT_COUNTERS

    def __init__(self, root, name="srpt-mlx5_0-1", device="mlx5_0",
                 link_layer="InfiniBand", enabled=1):
        super().__init__(root / "class/infiniband_srpt" / name)
        self.set("device", device)
        self.set("link_layer", link_layer)
        self.set("enabled", enabled)
        for reason in REFUSALS:
            put(self.path / "refusals" / reason, 0)
        (self.path / "sessions").mkdir(exist_ok=True)
        self.refuse()

    def refuse(self, *lines):
        """The last refused logins, the newest first."""
        self.set("login_refused", "\n".join(lines))

    def login(self, channel, initiator="00000000000000005054000000000002",
              peer="10.0.0.2", state="live", age=100, req_lim=62, active=2):
        session = Folder(self.path / "sessions" / ("%s-%d" % (initiator, channel)))
        for name, value in (("initiator_port_id", "0x" + initiator),
                            ("peer", peer), ("channels", 1), ("state", state),
                            ("req_lim", req_lim), ("active", active),
                            ("sq_used", 1), ("comp_vector", 0), ("age", age)):
            session.set(name, value)
        return session


class Case(unittest.TestCase):
    """A test with a root of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.root = self.folder / "sys"
        (self.root / "class").mkdir(parents=True)

    def port(self, *args, **kwargs):
        return Port(self.root, *args, **kwargs)

    def start(self, *options, **kwargs):
        environ = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
        environ.update(kwargs.pop("environ", {}))
        return subprocess.Popen(
            [sys.executable, PROGRAM, "--root", self.root,
             *map(str, options)], env=environ, **kwargs)

    def run_program(self, *options, environ=()):
        """(status, standard output, standard error)."""
        process = self.start(*options, environ=dict(environ), text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        out, error = process.communicate(timeout=60)
        self.assertNotIn("Traceback", error)
        return process.returncode, out, error
