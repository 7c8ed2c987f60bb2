"""The results of campaigns as text for a terminal."""

from typing import Any, Final

from engine.service.backtest.text import section_text
from engine.service.backtest.view import Section

HEADERS: Final = [
    "campaign", "granted", "taken back", "offers", "customers", "held out", "budget left", "cost", "pending", "lift",
    "95 % interval", "ROI",
]  # fmt: skip
NOTE: Final = (
    "pending: of the cost, what customers were given whose four weeks are not over; lift: what those treated kept "
    "spending in the four weeks after, against those held out, '-' until 100 of each were measured; ROI: of these alone"
)


def render(report: dict[str, Any]) -> str:
    """The whole report."""
    base = report["base_currency"]
    title = f"Campaigns of rule set {report['ruleset'][:12]}, a point at {report['point_value']:g} {base}"
    rows = [_row(one, base) for one in report["campaigns"]]
    return section_text(Section(title, NOTE, HEADERS, rows)) if rows else f"{title}: none"


def _row(one: dict[str, Any], base: str) -> list[str]:
    budget, relative = one["budget"], (one["effect"] or {}).get("relative")
    unit = one["currency"] if one["kind"] == "cashback" else one["kind"]
    roi = (one["effect"] or {}).get("roi")
    return [
        f"{one['campaign_id']}:{one['version']}" + ("" if one["in_force"] else " (not in force)"),
        f"{one['granted']} {unit}" if one["grants"] else "-",
        one["taken_back"] if one["grants"] else "-",
        str(one["offers"]),
        str(one["customers"]),
        str(one["held_out"]),
        "-" if budget is None else f"{budget['left']} {budget['currency'] or 'points'}",
        _money(one["cost"], base),
        "-"
        if not one["pending"]["customers"]
        else f"{_money(one['pending']['cost'], base)} ({one['pending']['customers']})",
        "-" if relative is None else f"{relative['estimate']:+.1%}",
        "-" if relative is None else f"{relative['low']:+.1%} to {relative['high']:+.1%}",
        "-" if roi is None else f"{roi:+.2f}",
    ]


def _money(cost: float | None, base: str) -> str:
    return "no rate" if cost is None else f"{cost:.2f} {base}"
