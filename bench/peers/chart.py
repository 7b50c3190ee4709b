# SPDX-License-Identifier: Apache-2.0
"""A line plot with two logarithmic axes, as SVG that needs nothing else."""

import html
import math

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 36, 34, 64
LETTER = 6.6  # The width of one in the legend, about.
COLOURS = ("#1f5fa8", "#c4511d", "#3a8a3a", "#7a3fa0", "#a08a00", "#666666")


def ticks(low, high):
    """1, 2, 5, 10, ... around all values."""
    steps = [
        factor * 10**power
        for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for factor in (1, 2, 5)
    ]
    first = max(step for step in steps if step <= low)
    last = min(step for step in steps if step >= high)
    return [step for step in steps if first <= step <= last]


def text(x, y, words, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'


class Chart:
    """`series`: a name for each list of (x, y)."""

    def __init__(self, title, x_label, y_label, series):
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.series = {name: points for name, points in series.items() if points}
        points = [point for one in self.series.values() for point in one]
        self.xs = sorted({x for x, _ in points})
        self.ys = ticks(min(y for _, y in points), max(y for _, y in points))

    def place(self, x, y):
        low, high = math.log10(self.xs[0]), math.log10(self.xs[-1])
        bottom, top = math.log10(self.ys[0]), math.log10(self.ys[-1])
        across = (math.log10(x) - low) / ((high - low) or 1)
        up = (math.log10(y) - bottom) / ((top - bottom) or 1)
        return (
            LEFT + across * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM),
        )

    def axes(self):
        for value in self.ys:
            _, y = self.place(self.xs[0], value)
            yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield text(LEFT - 6, y + 4, f"{value:,g}", "end")
        for value in self.xs:
            x, _ = self.place(value, self.ys[0])
            yield text(x, HEIGHT - BOTTOM + 16, f"{value:,}")
        yield text(WIDTH / 2, 16, self.title, more=' class="title"')
        yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 32, self.x_label)
        yield text(LEFT - 50, TOP - 8, self.y_label, "start")

    def lines(self, colours):
        """A name has the same colour on every chart of a page."""
        left = LEFT - 40
        for name, points in self.series.items():
            colour = colours[name]
            places = [self.place(*point) for point in points]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
            for x, y in places:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            yield f'<rect x="{left:.1f}" y="{HEIGHT - 18}" width="10" height="10" fill="{colour}"/>'
            yield text(left + 14, HEIGHT - 9, name, "start")
            left += 14 + LETTER * len(name) + 20

    def parts(self, colours):
        return [*self.axes(), *self.lines(colours)]


def page(charts):
    """All of them, one beside the other."""
    width = WIDTH * len(charts)
    names = dict.fromkeys(name for one in charts for name in one.series)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" '
        f'width="{width}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
        "<style>.grid{stroke:#ddd}.title{font-weight:bold}</style>",
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>',
    ]
    for index, chart in enumerate(charts):
        lines += [f'<g transform="translate({index * WIDTH} 0)">', *chart.parts(colours), "</g>"]
    return "\n".join(lines + ["</svg>"]) + "\n"
