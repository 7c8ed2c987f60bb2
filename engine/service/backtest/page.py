"""A report as one HTML page that opens offline: no script, nothing fetched, plots as inline SVG."""

from html import escape
from typing import Any, Final

from engine.ruleset.model import OUTCOMES
from engine.service.backtest.plot import Series, bars, lines
from engine.service.backtest.record import SIDES
from engine.service.backtest.view import Section, sections, summary, sweep_section

STYLE: Final = """
:root{color-scheme:light dark;font:15px/1.45 system-ui,sans-serif}
body{max-width:90rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid #8884;text-align:right;vertical-align:top}
th{position:sticky;top:0}td.text,th:first-child{text-align:left}
tr:hover{background:#8882}.note{color:#888}svg{max-width:100%;height:auto}
svg text{fill:currentColor;font:12px system-ui,sans-serif}
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def render(report: dict[str, Any]) -> str:
    """The whole page."""
    body = ["<h1>Backtest</h1>", *(f"<p>{_text(line)}</p>" for line in summary(report)), _overview(report)]
    for sweep in report["sweeps"]:
        body += [_section(sweep_section(sweep, report["history"]["base_currency"])), _sweep_plots(sweep)]
    body += [_section(section) for section in sections(report)]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Backtest</title><style>{STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def _text(text: str) -> str:
    """Escaped, and without characters that do not print."""
    return escape("".join(char if char.isprintable() else "?" for char in text))


def _section(section: Section) -> str:
    title = f"<h2>{_text(section.title)}</h2>"
    note = f'<p class="note">{_text(section.note)}</p>' if section.note else ""
    if not section.rows:
        return f'{title}<p class="note">none</p>{note}'
    head = "".join(f'<th scope="col">{_text(header)}</th>' for header in section.headers)
    rows = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
    return (
        f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table></div>{note}'
    )


def _cell(cell: str) -> str:
    kind = ' class="text"' if cell[:1].isalpha() else ""
    return f"<td{kind}>{_text(cell)}</td>"


def _overview(report: dict[str, Any]) -> str:
    """What each set caught, and whom it insulted."""
    rows = []
    for name in ("fraud caught", *(f"honest, {outcome}" for outcome in reversed(OUTCOMES[1:]))):
        for side in SIDES:
            totals = report[side]["totals"]
            outcome = name.removeprefix("honest, ")
            value = totals["true_positives"] if name == "fraud caught" else totals["insulted"][outcome]["count"]
            rows.append((f"{name}: {side}", value, side))
    return f"<h2>Payments not approved</h2>{bars('Payments not approved, by what they were', rows)}"


def _sweep_plots(sweep: dict[str, Any]) -> str:
    """The rule's precision and recall and the set's recall; the set's insult rate on a scale of its own."""
    points = sweep["points"]
    values = [float(point["value"]) for point in points]

    def series(name: str, key: str) -> Series:
        return Series(name, [point[key] for point in points])

    quality = [series("precision", "precision"), series("recall", "recall"), series("recall of the set", "set_recall")]
    current = next((value for value, point in zip(values, points, strict=True) if point["current"]), None)
    insults = [series("insult rate of the set", "set_insult_rate")]
    title = f"{sweep['rule']} by {sweep['within']}"
    return lines(title, values, quality, current, top=1.0) + lines(f"{title}: insults", values, insults, current)
