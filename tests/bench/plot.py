# SPDX-License-Identifier: GPL-2.0
#
# Bars: figures of both modules side by side as an SVG, for docs/performance.md.
#
# Not here: flame graphs (flame.py).

from xml.sax.saxutils import escape

COLOURS = {"C": "#b0b8c4", "ours": "#3b76b3"}
ROW, BAR, LEFT, WIDTH = 40, 14, 190, 420


def bars(title, groups, form="%.0f"):
    """The drawing. `groups` are (label, {module: value})."""
    most = max(value for _, values in groups for value in values.values()) or 1
    height = 40 + ROW * len(groups)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'font-family="sans-serif" font-size="12">' % (LEFT + WIDTH + 90, height),
           '<rect width="100%" height="100%" fill="white"/>',
           '<text x="8" y="18" font-weight="bold">%s</text>' % escape(title)]
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
