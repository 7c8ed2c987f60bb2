"""What the demo shows: a live page on a terminal, a line now and then elsewhere, a table at the end."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine.demo.tally import OUTCOMES, STATES, TIERS, Tally, percentile

COLOURS: Final = {"approve": "green", "review": "yellow", "step_up": "dark_orange", "decline": "red"}
BUCKETS: Final = ("pending", "active", "debt")
CAMPAIGNS_SHOWN: Final = 8
SEVERITIES: Final = {"low": "yellow", "medium": "dark_orange", "high": "red", "critical": "bold red"}


def milliseconds(value: float | None) -> str:
    """A time for people; a dash where there is none."""
    return "–" if value is None else f"{value:.1f} ms"


def caught(tally: Tally) -> str:
    """Planted fraud among the decided payments, and how much of it was not approved."""
    decided = tally.caught + tally.missed
    return f"{tally.caught} of {decided}" if decided else "none decided yet"


def line(tally: Tally) -> str:
    """The state of the run in one line."""
    outcomes = " ".join(f"{name} {tally.outcomes[name]}" for name in OUTCOMES)
    return (
        f"events {tally.sent}  decisions {tally.decisions} ({outcomes})  alerts {tally.alerts}  "
        f"rewards {tally.rewards}  offers {tally.responses.issued}  fraud caught {caught(tally)}  "
        f"{tally.rate():.0f}/s  p50 {milliseconds(tally.latency_ms(0.5))}  p99 {milliseconds(tally.latency_ms(0.99))}"
    )


def page(url: str, tally: Tally, note: str) -> RenderableType:
    """The live page."""
    head = Text.assemble(("Steward ", "bold"), "judges a live stream of payments   API ", (url, "cyan underline"))
    parts: list[RenderableType] = [head, Text(note, style="dim"), _figures(tally), _alerts(tally)]
    if busy(tally):
        parts.append(campaigns(tally))
    return Panel(Group(*parts), padding=(0, 1))


def campaigns(tally: Tally) -> Table:
    """What campaigns did, as `GET /v1/campaigns` has it: the busiest."""
    table = Table(title="campaigns", title_justify="left", title_style="dim", box=None, padding=(0, 2, 0, 0))
    for name in ("campaign", "grants", "granted", "offers", "customers", "held out", "cost", "lift"):
        table.add_column(name, justify="left" if name == "campaign" else "right")
    for one in busy(tally)[:CAMPAIGNS_SHOWN]:
        granted = f"{one['granted']} {one['currency'] if one['kind'] == 'cashback' else one['kind']}"
        relative = (one["effect"] or {}).get("relative")
        table.add_row(
            one["campaign_id"],
            f"{one['grants']:,}",
            granted if one["grants"] else "–",
            f"{one['offers']:,}",
            f"{one['customers']:,}",
            f"{one['held_out']:,}",
            "–" if one["cost"] is None else f"{one['cost']:,.2f}",
            "–" if relative is None else f"{relative['low']:+.1%} to {relative['high']:+.1%}",
        )
    return table


def summary(tally: Tally, seconds: float) -> Table:
    """The table at the end."""
    table = Table(title=f"Steward demo, {seconds:.1f} s", show_header=False, title_justify="left")
    for name, value in _rows(tally, tally.decisions / max(0.001, time.monotonic() - tally.began)):
        table.add_row(name, value)
    return table


def _figures(tally: Tally) -> Table:
    table = Table.grid(padding=(0, 3))
    for name, value in _rows(tally, tally.rate()):
        table.add_row(Text(name, style="dim"), value)
    return table


def _rows(tally: Tally, decisions_per_s: float) -> list[tuple[str, str]]:
    outcomes = "  ".join(f"[{COLOURS[name]}]{name} {tally.outcomes[name]:,}[/]" for name in OUTCOMES)
    calls = [milliseconds(percentile(tally.calls_ms, share)) for share in (0.5, 0.99)]
    return [
        ("events sent", f"{tally.sent:,}"),
        ("decisions", f"{tally.decisions:,}   {outcomes}"),
        ("alerts", f"{tally.alerts:,}"),
        ("rewards", f"{tally.rewards:,} ledger entries   points {_counts(tally.points, BUCKETS)}"),
        ("offers", _offers(tally)),
        ("lifecycle", _counts(tally.states.get("lifecycle", {}), STATES)),
        ("membership", _counts(tally.states.get("membership", {}), TIERS)),
        ("dead letters", f"{tally.dead_letters:,}"),
        ("planted fraud caught", f"{caught(tally)}   ({tally.false_alarms:,} false alarms)"),
        ("throughput", f"{decisions_per_s:,.0f} decisions/s"),
        ("event to decision", _latency(tally)),
        ("POST /v1/decisions", f"p50 {calls[0]}   p99 {calls[1]}   ({len(tally.calls_ms)} calls)"),
        ("event time", tally.event_time[:19].replace("T", " ")),
    ]


def _counts(counts: Mapping[str, int], names: Sequence[str]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {counts[name]:,}" for name in names if counts.get(name)) or "none yet"


def _offers(tally: Tally) -> str:
    of = tally.responses
    told = {"withdrawn": of.withdrawn, "held out": of.held_out, "viewed": of.viewed, "redeemed": of.redeemed}
    return f"{of.issued:,} issued   " + "  ".join(f"{name} {count:,}" for name, count in told.items())


def busy(tally: Tally) -> list[dict[str, Any]]:
    """Campaigns that have done something, those that did most first."""
    return [one for one in tally.campaigns if one["grants"] or one["offers"] or one["held_out"]]


def _latency(tally: Tally) -> str:
    p50, p99 = milliseconds(tally.latency_ms(0.5)), milliseconds(tally.latency_ms(0.99))
    return f"p50 {p50}   p99 {p99}   (embedded broker)"


def _alerts(tally: Tally) -> Table:
    table = Table(title="last alerts", title_justify="left", title_style="dim", box=None, padding=(0, 2, 0, 0))
    for name in ("decision", "customer", "reasons"):
        table.add_column(name, style="dim" if name == "customer" else "")
    for alert in reversed(tally.shown):
        style = COLOURS.get(alert.decision, SEVERITIES.get(alert.severity, ""))
        table.add_row(Text(alert.decision, style=style), alert.customer, alert.codes)
    return table
