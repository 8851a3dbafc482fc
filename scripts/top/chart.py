# SPDX-License-Identifier: GPL-2.0
#
# Line charts of a recorded run as SVG: IOPS, MB/s and latency percentiles over
# time, one below the other. Drawn by hand: there is no library to install.
#
# Not here: recording (record.py).

import json
import math
from datetime import datetime
from html import escape

from .rates import BUCKETS, QUANTILES, percentile
from .table import count, duration

# Told apart also by those who see colours differently (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, GREY, GRID, PAPER = "#222222", "#666666", "#dddddd", "#ffffff"

# Pixels: from the left edge to the axis, of the lines' area, of a panel; of a
# letter in the legend, generously.
LEFT, AREA, PANEL, TOP, BOTTOM = 80, 690, 250, 40, 42
LETTER = 6.8
MOST_POINTS = 1000                  # per line; more are put together


class Series:
    """A line: its values are numbers or None, one for each point in time."""

    def __init__(self, name, values, colour, dashed=False):
        self.name, self.values = name, values
        self.colour, self.dashed = colour, dashed


# --- what was recorded ---------------------------------------------------------

def load(path):
    """The objects of a record. The last line may be incomplete: whoever wrote
    it was ended. Raises ValueError if there is nothing to draw."""
    records = []
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry["seconds"] = datetime.fromisoformat(entry["time"]).timestamp()
            entry["ports"] = {p["name"]: p for p in entry["ports"]}
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines) and records:
                break
            raise ValueError("%s:%d is no line of a record" % (path, number)) \
                from error
        records.append(entry)
    if not records:
        raise ValueError("%s is empty" % path)
    return records


def mean(values):
    values = [v for v in values if v is not None]
    return sum(values) / len(values) if values else None


class Run:
    """A recorded run as values over time. Neighbouring records are put together
    when there are very many: rates are averaged, histograms added up."""

    def __init__(self, records, stage):
        step = math.ceil(len(records) / MOST_POINTS)
        self.groups = [records[i:i + step] for i in range(0, len(records), step)]
        self.began, self.ended = records[0]["seconds"], records[-1]["seconds"]
        self.start = records[0]["time"]
        self.times = [g[-1]["seconds"] - self.began for g in self.groups]
        labels = {}
        for record in records:
            for name, port in record["ports"].items():
                labels[name] = "%s/%s" % (port["hca"], port["port"])
        self.labels, self.stage = labels, stage

    def rates(self, names, key):
        """A value of ports added up; None while none of them is known."""
        def at(record):
            values = [record["ports"][n].get(key) for n in names
                      if n in record["ports"]]
            values = [v for v in values if v is not None]
            return sum(values) if values else None
        return [mean(map(at, group)) for group in self.groups]

    def by_port(self):
        """(label, names of ports): one each, as long as there are colours."""
        names = list(self.labels)
        alone = names if len(names) <= len(COLOURS) else names[:len(COLOURS) - 1]
        groups = [(self.labels[n], [n]) for n in alone]
        rest = names[len(alone):]
        return groups + ([("%d others" % len(rest), rest)] if rest else [])

    def iops(self):
        return [Series(label, self.rates(names, "iops"), colour)
                for (label, names), colour in zip(self.by_port(), COLOURS)]

    def throughput(self):
        found = []
        for (label, names), colour in zip(self.by_port(), COLOURS):
            for what, dashed in (("read", False), ("write", True)):
                values = self.rates(names, what + "_bytes_per_second")
                found.append(Series(
                    "%s %s" % (label, what),
                    [None if v is None else v / 1e6 for v in values], colour,
                    dashed))
        return found

    def latency(self):
        """Percentiles of all ports together."""
        sums = []
        for group in self.groups:
            total = [0] * BUCKETS
            for record in group:
                for port in record["ports"].values():
                    more = port["latency"].get(self.stage, {}).get("buckets", [])
                    total = [a + b for a, b in zip(total, more)] if more else total
            sums.append(total)
        return [Series(name, [percentile(t, q) for t in sums], colour)
                for (name, q), colour in zip(QUANTILES, COLOURS)]


# --- drawing -------------------------------------------------------------------

def nice_step(span, most):
    """The smallest of 1, 2, 5, 10, 20 ... that divides `span` into at most
    `most` parts."""
    raw = span / most
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


def time_step(span):
    """The same for seconds, minutes and hours."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
                 14400, 21600, 43200, 86400):
        if span / step <= 10:
            return step
    return 86400 * math.ceil(span / 864000)


def time_text(seconds, step):
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if step >= 60 and not left:
        return "%d:%02d h" % (hours, minutes) if hours else "%d min" % minutes
    if hours:
        return "%d:%02d:%02d" % (hours, minutes, left)
    return "%d:%02d" % (minutes, left) if minutes else "%d s" % left


class Linear:
    """An axis from 0 up."""

    def __init__(self, values):
        highest = max(values, default=0)
        step = nice_step(highest, 5) if highest > 0 else 1
        self.high = step * max(1, math.ceil(highest / step - 1e-9))
        self.ticks = [(step * i, count(step * i))
                      for i in range(round(self.high / step) + 1)]

    def part(self, value):
        return value / self.high


class Decades:
    """A logarithmic axis for seconds: 100 us is as far from 10 us as 1 ms is."""

    def __init__(self, values):
        values = [v for v in values if v > 0] or [1e-6]
        self.low = math.floor(math.log10(min(values)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(values)) - 1e-9), self.low + 1)
        # Rounded: a power of ten must not be written as 999 of a smaller unit.
        self.ticks = [(10.0 ** e, {0: "1 s", 1: "10 s"}.get(
            e, "%d %s" % (10 ** (e % 3), {-1: "ms", -2: "us", -3: "ns"}.get(
                e // 3, "s")))) for e in range(self.low, self.high + 1)]

    def part(self, value):
        return (math.log10(max(value, 10.0 ** self.low)) - self.low) \
            / (self.high - self.low)


def words(x, y, string, colour=INK, anchor="start", size=12, more=""):
    return '<text x="%.1f" y="%.1f" fill="%s" font-size="%d" text-anchor="%s"%s>' \
        '%s</text>' % (x, y, colour, size, anchor, more, escape(string))


def stroke(x1, y1, x2, y2, colour, more=""):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"%s/>' \
        % (x1, y1, x2, y2, colour, more)


class Panel:
    """A chart with its axes, lines and legend, `top` pixels from above."""

    def __init__(self, top, title, unit, axis, times, series, text):
        self.above, self.title, self.unit = top, title, unit
        self.times, self.series, self.text = times, series, text
        self.axis = axis([v for s in series for v in s.values if v is not None])
        self.right = LEFT + AREA
        self.top, self.bottom = top + TOP, top + PANEL - BOTTOM
        self.span = max(times[-1], 1)

    def x(self, seconds):
        return LEFT + (self.right - LEFT) * seconds / self.span

    def y(self, value):
        return self.bottom - (self.bottom - self.top) * self.axis.part(value)

    def axes(self):
        yield words(LEFT, self.above + 24, self.title, size=15,
                    more=' font-weight="bold"')
        for value, label in self.axis.ticks:
            y = self.y(value)
            yield stroke(LEFT, y, self.right, y, GRID)
            yield words(LEFT - 8, y + 4, label, GREY, "end")
        middle = (self.top + self.bottom) / 2
        yield words(18, middle, self.unit, GREY, "middle",
                    more=' transform="rotate(-90 18 %.1f)"' % middle)
        step = time_step(self.span)
        for i in range(int(self.span / step) + 1):
            x = self.x(i * step)
            yield stroke(x, self.bottom, x, self.bottom + 5, GREY)
            yield words(x, self.bottom + 18, time_text(i * step, step), GREY,
                        "middle")
        yield words((LEFT + self.right) / 2, self.bottom + 35,
                    "time since the start", GREY, "middle")
        yield stroke(LEFT, self.bottom, self.right, self.bottom, GREY)
        yield stroke(LEFT, self.top, LEFT, self.bottom, GREY)

    def line(self, series):
        """The pieces between gaps; a value that stands alone is a dot."""
        pieces, piece = [], []
        for seconds, value in zip(self.times, series.values):
            if value is not None:
                piece.append((self.x(seconds), self.y(value)))
            elif piece:
                pieces.append(piece)
                piece = []
        pieces += [piece] if piece else []
        dash = ' stroke-dasharray="6 4"' if series.dashed else ""
        yield '<g class="series"><title>%s</title>' % escape(series.name)
        for piece in pieces:
            if len(piece) == 1:
                yield '<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' \
                    % (*piece[0], series.colour)
            else:
                yield '<polyline fill="none" stroke="%s" stroke-width="1.8" ' \
                    'stroke-linejoin="round"%s points="%s"/>' % (
                        series.colour, dash,
                        " ".join("%.1f,%.1f" % point for point in piece))
        yield "</g>"

    def label(self, series):
        """A name, with the highest value that was seen."""
        values = [v for v in series.values if v is not None]
        return "%s, %s" % (series.name, "max " + self.text(max(values))
                           if values else "no data")

    def legend(self):
        x = self.right + 14
        for number, series in enumerate(self.series):
            y = self.top + 8 + 17 * number
            dash = ' stroke-dasharray="6 4"' if series.dashed else ""
            yield stroke(x, y - 4, x + 24, y - 4, series.colour,
                         ' stroke-width="2.5"' + dash)
            yield words(x + 30, y, self.label(series), size=11)

    def width(self):
        """How wide the drawing must be for the legend."""
        longest = max([len(self.label(s)) for s in self.series], default=0)
        return self.right + 14 + 30 + max(100, math.ceil(LETTER * longest)) + 10

    def draw(self):
        yield from self.axes()
        for series in self.series:
            yield from self.line(series)
        yield from self.legend()


def svg(records, stage="engine"):
    """The chart of a recorded run."""
    run = Run(records, stage)
    panels = (
        ("IOPS", "commands per second", Linear, run.iops(), count),
        ("Throughput", "MB/s", Linear, run.throughput(), count),
        ("Latency, stage: %s, all ports" % stage, "time (log scale)", Decades,
         run.latency(), duration),
    )
    head, height = 40, PANEL * len(panels) + 50
    panels = [Panel(head + PANEL * number, title, unit, axis, run.times, series, say)
              for number, (title, unit, axis, series, say) in enumerate(panels)]
    width = max(panel.width() for panel in panels)
    text = "%s, %s, %d samples" % (
        run.start[:19].replace("T", " ") + " UTC",
        time_text(run.ended - run.began, 1), len(records))
    out = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<!-- drawn by srpt-top -->',
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
        'viewBox="0 0 %d %d" font-family="DejaVu Sans, Helvetica, Arial, '
        'sans-serif">' % (width, height, width, height),
        '<title>SRP target, %s</title>' % escape(text),
        '<rect width="%d" height="%d" fill="%s"/>' % (width, height, PAPER),
        words(LEFT, 28, "SRP target: " + text, GREY, size=13),
    ]
    for panel in panels:
        out += panel.draw()
    return "\n".join(out) + "\n</svg>\n"
