# SPDX-License-Identifier: GPL-2.0
#
# A flame graph: the stacks of a profile as an SVG, outermost functions at the
# bottom, widths by samples, colours by module.
#
# Not here: where stacks come from (owners.py).

import zlib
from xml.sax.saxutils import escape

WIDTH, LINE = 1200, 16
# Narrower than this, in pixels, nothing is drawn.
NARROW = 0.4


def tree(stacks):
    """Nested [samples, {frame: node}] of (samples, frames from inside out)."""
    root = [0, {}]
    for count, frames in stacks:
        root[0] += count
        node = root
        for frame in reversed(frames or ["user space[]"]):
            node = node[1].setdefault(frame, [0, {}])
            node[0] += count
    return root


def colour(frame):
    """The same for all functions of a module."""
    module = frame.rpartition("[")[2]
    hue = zlib.crc32(module.encode()) % 360 if module != "]" else 40
    return "hsl(%d,%d%%,70%%)" % (hue, 70 if module != "]" else 25)


def svg(stacks, title):
    """The drawing, as text."""
    root = tree(stacks)
    boxes, deepest = [], 0
    todo = [("all", root, 0.0, 0)]
    while todo:
        name, (count, inner), x, depth = todo.pop()
        width = WIDTH * count / root[0]
        if width < NARROW:
            continue
        deepest = max(deepest, depth)
        boxes.append((name, count, x, depth, width))
        for frame in sorted(inner):
            todo.append((frame, inner[frame], x, depth + 1))
            x += WIDTH * inner[frame][0] / root[0]
    height = (deepest + 3) * LINE
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'font-family="monospace" font-size="11">' % (WIDTH, height),
           '<text x="4" y="12">%s</text>' % escape(title)]
    for name, count, x, depth, width in boxes:
        y = height - (depth + 1) * LINE
        label = name.removesuffix("[]")
        out.append(
            '<g><title>%s: %.2f %%</title><rect x="%.1f" y="%d" width="%.1f" '
            'height="%d" fill="%s" stroke="white" stroke-width="0.3"/>' % (
                escape(label), 100 * count / root[0], x, y, width, LINE - 1,
                colour(name)))
        letters = int(width / 7)
        if letters > 3:
            out.append('<text x="%.1f" y="%d">%s</text>'
                       % (x + 2, y + 11, escape(label[:letters])))
        out.append("</g>")
    return "\n".join(out + ["</svg>", ""])
