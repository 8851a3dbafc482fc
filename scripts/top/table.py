# SPDX-License-Identifier: GPL-2.0
#
# Views as text: a table of ports, one of initiators and one of logins that were
# refused, for a terminal of any width from 80 columns on, or without a limit.
#
# Not here: the terminal itself (live.py).

import textwrap

from .rates import LONGEST

LEAST_WIDTH = 80
UNKNOWN = "-"
# For what was cut off; a character that every terminal has.
CUT = "~"

# States as they are written where there is no room.
SHORT_STATES = {"connecting": "conn", "live": "live", "disconnecting": "disco",
                "draining": "drain", "disconnected": "gone"}


def count(value):
    """A number or rate in at most 5 characters."""
    if value is None:
        return UNKNOWN
    if 0 < value < 9.95 and value != int(value):
        return "%.1f" % value
    if value < 99999.5:
        return "%.0f" % value
    for unit in "kMGT":
        value /= 1000
        if value < 99.95:
            return "%.1f%s" % (value, unit)
        if value < 999.5:
            return "%.0f%s" % (value, unit)
    return "huge"


def small(value):
    """A number that hardly ever has more than 4 digits, in 4 characters."""
    if value is None:
        return UNKNOWN
    return "%d" % value if value < 10000 else "%dk" % min(value // 1000, 999)


def megabytes(value):
    """Bytes per second as MB/s, in at most 5 characters."""
    return UNKNOWN if value is None else count(value / 1e6)


def duration(seconds):
    """Seconds in at most 5 characters."""
    if seconds is None:
        return UNKNOWN
    if seconds >= LONGEST:
        return ">%.1fs" % LONGEST
    for unit, size in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        value = seconds / size
        if value < 999.5:
            return ("%.1f%s" if value < 9.95 and unit != "ns"
                    else "%.0f%s") % (value, unit)
    return "%.1fs" % seconds


def ago(seconds):
    """Whole seconds in at most 4 characters."""
    for unit, size in (("s", 1), ("m", 60), ("h", 3600)):
        if seconds < 100 * size:
            return "%d%s" % (seconds // size, unit)
    return "%dd" % min(seconds // 86400, 999)


def front_cut(cell, width):
    """The end of a text: what tells identifiers and addresses apart."""
    return cell if len(cell) <= width else CUT + cell[len(cell) - width + 1:]


def back_cut(cell, width):
    return cell if len(cell) <= width else cell[:width - 1] + CUT


def shorter_state(cell, width):
    if len(cell) <= width:
        return cell
    return back_cut(SHORT_STATES.get(cell, cell.replace(" of ", "/")
                                     .removesuffix(" live")), width)


class Column:
    """A title, and how narrow a column may be. One with `cut` gets wider, up to
    its longest cell, if there is room; others have a width for good, so that
    nothing jumps about."""

    def __init__(self, title, width, cut=None):
        self.title, self.width, self.cut = title, width, cut

    def format(self, cell, width):
        if self.cut:
            return self.cut(cell, width).ljust(width)
        return cell.rjust(width)


def grid(columns, rows, width=None):
    """The title and the rows as lines of at most `width` characters, all of one
    layout. Columns with `cut` share what is left over, the first ones first."""
    widths = [c.width for c in columns]
    left = None if width is None else width - sum(widths) - len(columns) + 1
    for index, column in enumerate(columns):
        if column.cut:
            longest = max([len(column.title)] + [len(r[index]) for r in rows])
            more = max(longest - widths[index], 0)
            if left is not None:
                more = min(more, max(left, 0))
                left -= more
            widths[index] += more
    titles = [c.title[:w].ljust(w) if c.cut else c.title.rjust(w)
              for c, w in zip(columns, widths)]
    lines = [" ".join(titles)] + [
        " ".join(c.format(cell, w) for c, cell, w in zip(columns, row, widths))
        for row in rows]
    return [line.rstrip()[:width] for line in lines]


RATES = [Column("IOPS", 5), Column("rMB/s", 5), Column("wMB/s", 5)]
LATENCY = [Column(name, 5) for name in ("p50", "p95", "p99")]
PORT_COLUMNS = [Column("port", 14, back_cut), Column("link", 10, back_cut),
                Column("on", 3), Column("init", 4), *RATES,
                Column("err/s", 5), *LATENCY]
LINE_REST = [Column("state", 5, shorter_state), Column("lim", 4),
             Column("act", 4), *RATES, *LATENCY]
# "ch" is how many channels an initiator has, "chan" the number of one.
LINE_COLUMNS = [Column("peer", 15, front_cut), Column("initiator", 9, front_cut),
                Column("ch", 2), *LINE_REST]
CHANNEL_COLUMNS = [Column("peer", 15, front_cut),
                   Column("initiator", 7, front_cut),
                   Column("chan", 4, front_cut), *LINE_REST]


def rate_cells(figures):
    if figures is None:
        return [UNKNOWN] * 3
    return [count(figures.iops), megabytes(figures.read),
            megabytes(figures.written)]


def latency_cells(figures, stage):
    if figures is None:
        return [UNKNOWN] * 3
    return [duration(v) for v in figures.percentiles(stage).values()]


def port_row(view, stage):
    port = view.port
    enabled = {True: "yes", False: "no", None: "?"}[port.enabled]
    return [port.label, port.link_layer or "?", enabled,
            small(view.initiators), *rate_cells(view.figures),
            count(view.figures.errors) if view.figures else UNKNOWN,
            *latency_cells(view.figures, stage)]


def state_cell(line):
    states = line.states
    if len(states) == 1:
        return next(iter(states)) or "?"
    return "%d of %d live" % (states.get("live", 0), len(line.channels))


def line_row(line, stage, each_channel):
    channels = line.channels[0].channel if each_channel \
        else str(min(len(line.channels), 99))
    return [line.peer.removeprefix("GID ") or "?", line.initiator, channels,
            state_cell(line), small(line.total("req_lim")),
            small(line.total("active")), *rate_cells(line.figures),
            *latency_cells(line.figures, stage)]


def busiest_first(lines):
    return sorted(lines, key=lambda l: l.figures.iops if l.figures else 0.0,
                  reverse=True)


def tables(views, stage="engine", width=None, by_load=False, each_channel=False):
    """The lines of both tables: (ports with their title, initiators below a
    heading for each port with their title)."""
    ports = grid(PORT_COLUMNS, [port_row(v, stage) for v in views], width)
    rows, headings = [], {}
    for view in views:
        if view.lines:
            headings[len(rows)] = view.port.label + ":"
        lines = busiest_first(view.lines) if by_load else view.lines
        rows += [line_row(line, stage, each_channel) for line in lines]
    title, *lines = grid(CHANNEL_COLUMNS if each_channel else LINE_COLUMNS, rows,
                         width)
    below = [title]
    for index, line in enumerate(lines):
        if index in headings:
            below.append(headings[index][:width])
        below.append(line)
    return ports, below


# Names are to be copied: there is room for the longest one, an IPv6 address.
REFUSED_COLUMNS = [Column("ago", 4), Column("times", 5), Column("reason", 7),
                   Column("peer", 15, front_cut),
                   Column("initiator, other names for its entry", 39, back_cut)]


def repeated(logins):
    """(login, times): the newest of those that differ in nothing but their
    age. Initiators try again and again."""
    found = {}
    for login in logins:
        key = (login.reason, login.initiator, login.peer, tuple(login.names),
               login.hint)
        newest, times = found.get(key, (login, 0))
        found[key] = newest, times + login.times
    return list(found.values())


def refused_rows(login, times):
    """Cells for a login and for its other names."""
    names = [login.initiator] + [n for n in login.names if n != login.initiator]
    first = [ago(login.age), small(times), login.reason,
             login.peer.removeprefix("GID "), names[0]]
    return [first] + [[""] * 4 + [name] for name in names[1:]]


def refused(views, width=None):
    """The lines of the table of refused logins, below a heading for each port,
    with their title; what the module says about an entry that was perhaps
    meant is below the login, as a whole."""
    rows, headings, hints = [], {}, {}
    for view in views:
        for index, login in enumerate(repeated(view.port.login_refused or ())):
            if index == 0:
                headings[len(rows)] = view.port.label + ":"
            rows += refused_rows(*login)
            hints[len(rows) - 1] = login[0].hint
    title, *lines = grid(REFUSED_COLUMNS, rows, width)
    below = [title]
    indent = " " * (sum(c.width + 1 for c in REFUSED_COLUMNS[:2]))
    for index, line in enumerate(lines):
        if index in headings:
            below.append(headings[index][:width])
        below.append(line)
        below += [piece[:width] for piece in textwrap.wrap(
            hints.get(index, ""), max(width or 1000, LEAST_WIDTH),
            initial_indent=indent, subsequent_indent=indent,
            break_long_words=False, break_on_hyphens=False)]
    return below


def no_refused(views):
    """What to write where the table has no rows."""
    if any(view.port.login_refused is not None for view in views):
        return "no refused logins"
    return "not known: this ib_srpt does not keep refused logins"


def newest_refused(views):
    """Seconds since the last login that was refused, or None if there is none."""
    return min([login.age for view in views
                for login in view.port.login_refused or ()], default=None)
