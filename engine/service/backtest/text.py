"""A report as text for a terminal."""

from typing import Any, Final

from engine.service.backtest.view import Section, sections, summary, sweep_section

BAR: Final = 24
CELL_MAX: Final = 90


def render(report: dict[str, Any]) -> str:
    """The whole report."""
    parts = ["\n".join(summary(report))]
    parts += [section_text(section) for section in sections(report) if section.rows]
    base = report["history"]["base_currency"]
    for sweep in report["sweeps"]:
        section = sweep_section(sweep, base)
        bars = [_bar(point["set_recall"]) for point in sweep["points"]]
        rows = [[*row, bar] for row, bar in zip(section.rows, bars, strict=True)]
        parts.append(section_text(section._replace(headers=[*section.headers, "set recall"], rows=rows)))
    return "\n\n".join(parts)


def section_text(section: Section) -> str:
    """A table: the first column and long texts to the left, all else to the right."""
    rows = [[_plain(cell) for cell in row] for row in section.rows]
    widths = [max(len(cell) for cell in column) for column in zip(section.headers, *rows, strict=True)]
    left = [any(cell[:1].isalpha() or cell[:1] == "█" for cell in column) for column in zip(*rows, strict=True)]
    lines = [section.title, "-" * len(section.title)]
    for row in (section.headers, *rows):
        cells = [
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(row, widths, left, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([*lines, *([section.note] if section.note else [])])


def _plain(cell: str) -> str:
    """Text of an event can hold anything: nothing of it reaches the terminal but characters that print."""
    shown = "".join(char if char.isprintable() else "?" for char in cell)
    return shown if len(shown) <= CELL_MAX else f"{shown[: CELL_MAX - 1]}…"


def _bar(value: float | None) -> str:
    return "" if value is None else "█" * round(value * BAR)
