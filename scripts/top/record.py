# SPDX-License-Identifier: GPL-2.0
#
# Views as JSON: one object for each interval, on a line of its own. What
# `srpt-top --json` prints and `--record` writes; docs/admin.md has the fields.
#
# Not here: charts of what was recorded (chart.py).

import json
from dataclasses import asdict
from datetime import datetime, timezone

from .rates import QUANTILES, percentile


def figures_object(figures):
    """Numbers of an interval; without `seconds` nothing is known."""
    if figures is None:
        return {"seconds": None, "iops": None, "read_bytes_per_second": None,
                "write_bytes_per_second": None, "errors_per_second": None,
                "per_second": {}, "latency": {}}
    return {
        "seconds": round(figures.seconds, 6),
        "iops": round(figures.iops, 3),
        "read_bytes_per_second": round(figures.read, 3),
        "write_bytes_per_second": round(figures.written, 3),
        "errors_per_second": round(figures.errors, 3),
        "per_second": {k: round(v, 3) for k, v in figures.rates.items()},
        "latency": {
            stage: {"count": sum(buckets), "buckets": buckets,
                    **{name: percentile(buckets, q) for name, q in QUANTILES}}
            for stage, buckets in figures.latency.items()},
    }


def line_object(line):
    return {
        "initiator": line.initiator,
        "peers": list(dict.fromkeys(c.peer for c in line.channels)),
        "channels": [c.channel for c in line.channels],
        "states": line.states,
        "req_lim": line.total("req_lim"),
        "active": line.total("active"),
        "sq_used": line.total("sq_used"),
        **figures_object(line.figures),
    }


def refused_objects(logins):
    return None if logins is None else [asdict(login) for login in logins]


def record(sample, views):
    """The object for an interval that ended with `sample`."""
    moment = datetime.fromtimestamp(sample.when, timezone.utc)
    return {
        "time": moment.isoformat(timespec="milliseconds"),
        "ports": [{
            "name": v.port.name,
            "hca": v.port.hca,
            "port": v.port.number,
            "link_layer": v.port.link_layer,
            "enabled": v.port.enabled,
            "counters": v.port.counters,
            "refusals": v.port.refusals,
            "login_refused": refused_objects(v.port.login_refused),
            **figures_object(v.figures),
            "sessions": [line_object(line) for line in v.lines],
        } for v in views],
    }


def line(sample, views):
    return json.dumps(record(sample, views), separators=(",", ":"))
