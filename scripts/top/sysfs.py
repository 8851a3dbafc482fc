# SPDX-License-Identifier: GPL-2.0
#
# Reads /sys/class/infiniband_srpt (docs/ABI/sysfs-class-infiniband_srpt) into a
# Sample: plain numbers and names at one moment. What goes away while it is read
# is left out; what cannot be read or makes no sense is None.
#
# Not here: rates, and anything else that needs two samples (rates.py).

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

CLASS = "class/infiniband_srpt"
MODULE = "module/ib_srpt"
# A parameter that no other ib_srpt has, as in srpt-check.
MARK = "parameters/max_channels_per_nexus"

# The stages of a command, in their order, and their histograms' size.
STAGES = ("receive", "engine", "fetch", "send")
BUCKETS = 24


class Gone(Exception):
    """The directory was there a moment ago."""


@dataclass
class Counted:
    """What ports and sessions have in common."""
    name: str
    when: float                     # time.monotonic() when it was read
    counters: dict = field(default_factory=dict)    # name -> number
    latency: dict = field(default_factory=dict)     # stage -> BUCKETS numbers


@dataclass
class Session(Counted):
    """A channel of an initiator."""
    initiator: str = ""             # 32 hex digits
    peer: str = ""
    state: str = ""
    req_lim: int | None = None
    active: int | None = None
    sq_used: int | None = None
    age: int | None = None

    @property
    def channel(self):
        """Its number in the kernel log."""
        return self.name.rpartition("-")[2]


@dataclass
class RefusedLogin:
    """A line of login_refused."""
    age: int                        # seconds
    times: int                      # how often it was refused
    reason: str                     # as in SRP_LOGIN_REJ: "0x10006"
    initiator: str                  # "0x" and 32 hex digits
    peer: str
    names: list                     # that an access control entry could have
    hint: str                       # what else the module says


@dataclass
class Port(Counted):
    hca: str = ""
    number: str = ""
    link_layer: str = ""
    enabled: bool | None = None
    refusals: dict = field(default_factory=dict)    # reason -> number
    # RefusedLogins, the newest first; None if the module keeps none.
    login_refused: list | None = None
    sessions: dict = field(default_factory=dict)    # name -> Session

    @property
    def label(self):
        return "%s/%s" % (self.hca, self.number)


@dataclass
class Sample:
    when: float                     # time.time()
    ports: dict = field(default_factory=dict)       # name -> Port
    present: bool = False           # is there such a class?
    uncounted: list = field(default_factory=list)   # ports without counters


def printable(data):
    """Bytes as text without space around it, in which nothing can control a
    terminal."""
    data = data.decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() else "?" for c in data)


def text(path):
    """A file's contents, or None."""
    try:
        return printable(path.read_bytes())
    except OSError:
        return None


def lines(path):
    """A file's lines, or None."""
    try:
        return [printable(line) for line in path.read_bytes().split(b"\n")]
    except OSError:
        return None


def number(path):
    data = text(path)
    return int(data) if data and re.fullmatch(r"-?[0-9]{1,20}", data) else None


def numbers(folder):
    """A directory of files with a number each. Raises Gone if it, or a file in
    it, goes."""
    found = {}
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise Gone from error
    for name in names:
        value = number(folder / name)
        if value is not None:
            found[name] = value
        elif not (folder / name).exists():
            raise Gone
    return found


def histogram(path):
    """BUCKETS numbers, or None."""
    words = (text(path) or "").split()
    if len(words) != BUCKETS or not all(re.fullmatch("[0-9]{1,20}", w)
                                        for w in words):
        return None
    return [int(w) for w in words]


def histograms(folder):
    found = {stage: histogram(folder / stage) for stage in STAGES}
    return {stage: h for stage, h in found.items() if h is not None}


# An older module has a line for each time.
REFUSED = re.compile("([0-9]{1,20}) (?:([0-9]{1,20}) )?(0x[0-9a-f]{1,8}) "
                     "(0x[0-9a-f]{32}) ([^;]+)(?:; (.*))?")
NAMES = "it may be named "


def refused_login(line):
    """What a line of login_refused says, or None if it has another form."""
    match = REFUSED.fullmatch(line)
    if not match:
        return None
    age, times, reason, initiator, peer, advice = match.groups()
    names, hint = [], advice or ""
    if hint.startswith(NAMES):
        first, _, hint = hint.partition("; ")
        names = first.removeprefix(NAMES).split(" or ")
    return RefusedLogin(int(age), int(times or 1), reason, initiator, peer, names,
                        hint)


def refused_logins(path):
    found = lines(path)
    if found is None:
        return None
    return [login for login in map(refused_login, found) if login]


def still_there(folder):
    """The last thing to ask: what was read before belongs together."""
    if not (folder / "counters").exists():
        raise Gone


def read_session(folder):
    prefix = folder.name.rpartition("-")[0]
    initiator = text(folder / "initiator_port_id") or prefix
    session = Session(
        folder.name, time.monotonic(), numbers(folder / "counters"),
        histograms(folder / "latency"),
        initiator=initiator.removeprefix("0x").lower(),
        peer=text(folder / "peer") or "", state=text(folder / "state") or "",
        req_lim=number(folder / "req_lim"), active=number(folder / "active"),
        sq_used=number(folder / "sq_used"), age=number(folder / "age"))
    still_there(folder)
    return session


def read_port(folder):
    # srpt-<hca>-<port>; an HCA's name may have hyphens.
    hca, _, number_ = folder.name.removeprefix("srpt-").rpartition("-")
    enabled = number(folder / "enabled")
    port = Port(
        folder.name, time.monotonic(), numbers(folder / "counters"),
        histograms(folder / "latency"), hca=text(folder / "device") or hca,
        number=number_, link_layer=text(folder / "link_layer") or "",
        enabled=None if enabled is None else enabled != 0,
        login_refused=refused_logins(folder / "login_refused"))
    try:
        port.refusals = numbers(folder / "refusals")
    except Gone:
        pass
    port.sessions = children(folder / "sessions", read_session, by_login)[0]
    still_there(folder)
    return port


def natural(name):
    """Key for an order in which mlx5_10 comes after mlx5_2."""
    return [int(part) if index % 2 else part
            for index, part in enumerate(re.split("([0-9]+)", name))]


def by_login(name):
    """Key for channels: the initiator, then the number."""
    initiator, _, channel = name.rpartition("-")
    return initiator, natural(channel)


def children(folder, read, key=natural):
    """What read() makes of every directory in a folder, in order of their names,
    and the names of those that it could make nothing of."""
    found, left_out = {}, []
    try:
        names = sorted(os.listdir(folder), key=key)
    except OSError:
        return found, left_out
    for name in names:
        if not (folder / name).is_dir():
            continue
        try:
            found[name] = read(folder / name)
        except Gone:
            left_out.append(name)
    return found, left_out


def read(root="/sys"):
    """A sample of everything."""
    folder = Path(root) / CLASS
    sample = Sample(time.time(), present=folder.is_dir())
    sample.ports, left_out = children(folder, read_port)
    sample.uncounted = [n for n in left_out if (folder / n).is_dir()]
    return sample


def why_nothing(sample, root="/sys"):
    """What to tell somebody whose sample has no ports."""
    folder = Path(root) / CLASS
    if sample.uncounted:
        return ("the ports in %s have no counters: is another ib_srpt loaded?\n"
                "Look with: modinfo -F description ib_srpt" % folder)
    if sample.present:
        return ("no ports in %s: ib_srpt is loaded, but found no HCA.\n"
                "Look with: rdma link; dmesg | grep ib_srpt" % folder)
    module = Path(root) / MODULE
    if module.is_dir() and not (module / MARK).exists():
        version = text(module / "version")
        if version is None:
            loaded = "the C driver of the same name is loaded, and logins are served by it"
        else:
            loaded = ("another module of the same name is loaded, version %s; that of "
                      "an OFED is empty" % version)
        return ("no ports: %s.\n"
                "Look with: modinfo ib_srpt; dkms status ib_srpt" % loaded)
    return ("no ports: there is no %s. Is the module loaded?\n"
            "Load it with: modprobe ib_srpt" % folder)
