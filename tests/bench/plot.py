# SPDX-License-Identifier: GPL-2.0
#
# Figures of both modules side by side as bars (docs/performance.md), and what happened in
# the course of time as curves (docs/faults.md), as SVG.
#
# Not here: flame graphs (flame.py).

from xml.sax.saxutils import escape

COLOURS = {"C": "#b0b8c4", "ours": "#3b76b3"}
ROW, BAR, LEFT, WIDTH = 40, 14, 190, 420
# Of a curve.
HIGH, COLUMNS = 90, 2


def drawing(title, width, height):
    """How one begins: a list of lines."""
    return ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
            'font-family="sans-serif" font-size="12">' % (width, height),
            '<rect width="100%" height="100%" fill="white"/>',
            '<text x="8" y="18" font-weight="bold">%s</text>' % escape(title)]


def bars(title, groups, form="%.0f"):
    """The drawing. `groups` are (label, {module: value})."""
    most = max(value for _, values in groups for value in values.values()) or 1
    height = 40 + ROW * len(groups)
    out = drawing(title, LEFT + WIDTH + 90, height)
    x = LEFT + WIDTH - 60
    for name, colour in COLOURS.items():
        out.append('<rect x="%d" y="8" width="12" height="12" fill="%s"/>'
                   '<text x="%d" y="18">%s</text>' % (x, colour, x + 16, name))
        x += 60
    for number, (label, values) in enumerate(groups):
        y = 34 + ROW * number
        out.append('<text x="%d" y="%d" text-anchor="end">%s</text>'
                   % (LEFT - 8, y + BAR + 4, escape(label)))
        for place, name in enumerate(COLOURS):
            width = max(1, WIDTH * values[name] / most)
            top = y + place * (BAR + 2)
            out.append('<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>'
                       '<text x="%.1f" y="%d">%s</text>' % (
                           LEFT, top, width, BAR, COLOURS[name],
                           LEFT + width + 4, top + BAR - 3, form % values[name]))
    return "\n".join(out + ["</svg>", ""])


def curves(title, found):
    """The drawing. `found` are (label, {"points": [(seconds, value)], "begin", "end"}): each
    has a frame of its own, with the time from begin to end in grey."""
    across, down = WIDTH, HIGH + 40
    out = drawing(title, COLUMNS * across, 30 + down * -(-len(found) // COLUMNS))
    for number, (label, curve) in enumerate(found):
        left, top = number % COLUMNS * across + 40, 46 + number // COLUMNS * down
        first, last = curve["points"][0][0], curve["points"][-1][0]
        most = max(value for _, value in curve["points"]) or 1

        def x(time):
            return left + (across - 60) * (time - first) / (last - first)
        line = " ".join("%.1f,%.1f" % (x(time), top + HIGH * (1 - value / most))
                        for time, value in curve["points"])
        out += ['<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#e4e7ec"/>' % (
                    x(curve["begin"]), top, x(curve["end"]) - x(curve["begin"]), HIGH),
                '<polyline points="%s" fill="none" stroke="%s"/>' % (line, COLOURS["ours"]),
                '<text x="%d" y="%d">%s</text>' % (left, top - 5, escape(label)),
                '<text x="%d" y="%d" text-anchor="end">%.0f</text>' % (left - 4, top + 10, most),
                '<text x="%d" y="%d" text-anchor="end">0</text>' % (left - 4, top + HIGH),
                '<text x="%d" y="%d" text-anchor="end">%.0f s</text>' % (
                    left + across - 60, top + HIGH + 14, last - first)]
    return "\n".join(out + ["</svg>", ""])
