"""Plots as SVG text, to stand inside a page."""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

WIDTH: Final = 720
HEIGHT: Final = 300
LEFT: Final = 64
RIGHT: Final = 190
TOP: Final = 16
BOTTOM: Final = 36
TICKS: Final = 5
COLOURS: Final = ("#2a6fb0", "#c2571a", "#3a8f4f", "#8b4fb0")
BAR_HEIGHT: Final = 22
BAR_LEFT: Final = 210
_LOOK: Final = "font:12px system-ui,sans-serif;background:#fff"


class Series(NamedTuple):
    """A line of a plot; None leaves a gap."""

    name: str
    values: Sequence[float | None]


def lines(
    title: str, xs: Sequence[float], series: Sequence[Series], current: float | None = None, top: float | None = None
) -> str:
    """Shares (0 to 1) over numbers; `current` is marked, `top` is the end of the scale."""
    highest = top or max((v for one in series for v in one.values if v is not None), default=0.0) or 1.0
    low, high = min(xs), max(xs)

    def place_x(value: float) -> float:
        return LEFT + (value - low) / ((high - low) or 1.0) * (WIDTH - LEFT - RIGHT)

    def place_y(value: float) -> float:
        return TOP + (1 - value / highest) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for tick in range(TICKS + 1):
        share, x = highest * tick / TICKS, low + (high - low) * tick / TICKS
        y = place_y(share)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.3g}%</text>')
        parts.append(f'<text x="{place_x(x):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{x:.4g}</text>')
    if current is not None:
        x = place_x(current)
        span = f'y1="{TOP}" y2="{HEIGHT - BOTTOM}"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {span} stroke="#888" stroke-dasharray="4 4"/>')
    for number, one in enumerate(series):
        points = [(place_x(x), place_y(v)) for x, v in zip(xs, one.values, strict=True) if v is not None]
        parts.append(_line(one.name, points, number))
    return _svg(title, HEIGHT, parts)


def _line(name: str, points: Sequence[tuple[float, float]], number: int) -> str:
    """A line with its points and its entry in the legend."""
    colour = COLOURS[number % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
    legend_x, legend_y = WIDTH - RIGHT + 16, TOP + 12 + 20 * number
    legend = f'<rect x="{legend_x}" y="{legend_y - 9}" width="10" height="10" fill="{colour}"/>'
    legend += f'<text x="{legend_x + 16}" y="{legend_y}">{escape(name)}</text>'
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}{legend}'


def bars(title: str, rows: Sequence[tuple[str, int, str]]) -> str:
    """Counts as horizontal bars: name, count, and the group that gives the colour."""
    groups = list(dict.fromkeys(group for _, _, group in rows))
    longest = max((value for _, value, _ in rows), default=0) or 1
    parts = []
    for place, (name, value, group) in enumerate(rows):
        y = TOP + place * BAR_HEIGHT
        width = value / longest * (WIDTH - BAR_LEFT - 90)
        colour = COLOURS[groups.index(group) % len(COLOURS)]
        parts.append(f'<text x="{BAR_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{BAR_LEFT}" y="{y + 3}" width="{width:.1f}" height="15" fill="{colour}"/>')
        parts.append(f'<text x="{BAR_LEFT + width + 6:.1f}" y="{y + 15}">{value:,}</text>')
    return _svg(title, TOP * 2 + len(rows) * BAR_HEIGHT, parts)


def standalone(plot: str) -> str:
    """A plot as a file of its own: with the name of its language, and the look that a page would give it."""
    look = f'xmlns="http://www.w3.org/2000/svg" style="{_LOOK}"'
    return plot.replace("<svg ", f"<svg {look} ", 1) + "\n"


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    name = escape(title)
    head = f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{name}">'
    return f"{head}<title>{name}</title>{''.join(parts)}</svg>"
