# SPDX-License-Identifier: GPL-2.0
#
# What two samples say together: rates over the time that really passed between
# them, latency percentiles of what was done in it, and the channels of an
# initiator added up.
#
# Not here: reading (sysfs.py), text (table.py, record.py).

from collections import Counter
from dataclasses import dataclass, field

from .sysfs import BUCKETS, Port

QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))

# What counts as an error, each of which may say something different.
ERRORS = ("failed", "aborted", "malformed", "logins_refused")


def bounds(index):
    """Bucket `index` has commands of at least the first and less than the
    second number of nanoseconds; the last one has no end."""
    low = 0 if index == 0 else 1 << (9 + index)
    return low, None if index == BUCKETS - 1 else 1 << (10 + index)


# Seconds from which on the histograms tell nothing apart.
LONGEST = bounds(BUCKETS - 1)[0] / 1e9


def percentile(buckets, quantile):
    """Seconds that this part of the commands took at most, or None without
    commands. Commands are taken to be spread evenly within a bucket, as
    Prometheus does; it is LONGEST for what is in the last one."""
    total, below = sum(buckets), 0
    rank = quantile * total
    for index, count in enumerate(buckets):
        if count and below + count >= rank:
            low, high = bounds(index)
            if high is None:
                return LONGEST
            return (low + (high - low) * (rank - below) / count) / 1e9
        below += count
    return None


@dataclass
class Figures:
    """What was done in an interval."""
    seconds: float
    rates: dict = field(default_factory=dict)       # counter -> per second
    latency: dict = field(default_factory=dict)     # stage -> buckets

    @property
    def iops(self):
        """Commands that moved data."""
        return self.rates.get("reads", 0.0) + self.rates.get("writes", 0.0)

    @property
    def read(self):
        return self.rates.get("read_bytes", 0.0)

    @property
    def written(self):
        return self.rates.get("write_bytes", 0.0)

    @property
    def errors(self):
        return sum(self.rates.get(name, 0.0) for name in ERRORS)

    def percentile(self, stage, quantile):
        return percentile(self.latency.get(stage, ()), quantile)

    def percentiles(self, stage):
        return {name: self.percentile(stage, q) for name, q in QUANTILES}


def added(parts):
    """Figures of several added up; None if there are none of any."""
    parts = [p for p in parts if p is not None]
    if not parts:
        return None
    total = Figures(max(p.seconds for p in parts))
    for part in parts:
        for name, rate in part.rates.items():
            total.rates[name] = total.rates.get(name, 0.0) + rate
        for stage, buckets in part.latency.items():
            have = total.latency.get(stage, [0] * BUCKETS)
            total.latency[stage] = [a + b for a, b in zip(have, buckets)]
    return total


def between(old, new, seconds=None):
    """Figures of a port or session; None if they are not known: there was no
    sample before, or the counters have begun anew. With `seconds` there is no
    `old`, and everything was counted in that time."""
    if seconds is None:
        if old is None or new.when <= old.when or restarted(old, new):
            return None
        seconds = new.when - old.when
    counters = old.counters if old else {}
    latency = old.latency if old else {}
    # What the sample before did not have is not known either.
    return Figures(
        seconds,
        {name: (value - counters.get(name, 0)) / seconds
         for name, value in new.counters.items()
         if old is None or name in counters},
        {stage: [a - b for a, b in zip(buckets, latency.get(stage,
                                                            [0] * BUCKETS))]
         for stage, buckets in new.latency.items()
         if old is None or stage in latency})


def restarted(old, new):
    """Is `new` something else of the same name? An HCA that came back counts
    from zero, a module that was loaded again numbers its channels anew."""
    before, now = getattr(old, "age", None), getattr(new, "age", None)
    if before is not None and now is not None and now < before:
        return True
    if any(new.counters.get(name, value) < value
           for name, value in old.counters.items()):
        return True
    return any(b < a for stage, buckets in old.latency.items()
               for a, b in zip(buckets, new.latency.get(stage, buckets)))


@dataclass
class Line:
    """An initiator at a port: its channels, or one of them."""
    initiator: str
    channels: list
    figures: Figures | None

    @property
    def peer(self):
        peers = list(dict.fromkeys(c.peer for c in self.channels))
        return peers[0] if len(peers) == 1 else "%d addresses" % len(peers)

    @property
    def states(self):
        """State -> number of channels, the most frequent first."""
        return dict(Counter(c.state for c in self.channels).most_common())

    def total(self, what):
        """Sum of an attribute; None if no channel has it."""
        values = [v for v in (getattr(c, what) for c in self.channels)
                  if v is not None]
        return sum(values) if values else None


@dataclass
class PortView:
    port: Port
    figures: Figures | None
    lines: list

    @property
    def initiators(self):
        return len({line.initiator for line in self.lines})


def session_figures(before, session):
    """Figures of a channel, from the port's sample before; a channel that was
    not in there has counted from its login on."""
    old = before.sessions.get(session.name) if before else None
    if old is None and before and session.age is not None:
        passed = session.when - before.when
        if 0 <= session.age <= passed + 1:
            return between(None, session, passed)
    return between(old, session)


def view(old, new, each_channel=False):
    """PortViews for a sample, from the one before (None if there is none)."""
    views = []
    for name, port in new.ports.items():
        before = old.ports.get(name) if old else None
        figures = between(before, port)
        lines = {}
        for session in port.sessions.values():
            key = session.name if each_channel else session.initiator
            line = lines.setdefault(key, (session.initiator, [], []))
            line[1].append(session)
            line[2].append(session_figures(before, session))
        views.append(PortView(port, figures, [
            Line(initiator, channels, added(parts))
            for initiator, channels, parts in lines.values()]))
    return views
