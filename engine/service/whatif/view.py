"""The report as text for a terminal."""

from typing import Any, Final

from engine.service.backtest.text import section_text
from engine.service.backtest.view import Section

HEADERS: Final = ["campaign", "grants", "granted", "taken back", "offers", "reach", "on fraud", "budget", "exhausted"]
CHOICES_HEADERS: Final = ["campaign", "policy", "choices", "mean", "matched", "IPS", "SNIPS", "doubly robust"]
CHOICES_NOTE: Final = (
    "what a choice brought on average, and would have under another policy, with its standard error: true of a history "
    "that the same campaigns made, as a replay of the log is"
)
NOTE: Final = "offers: issued/withdrawn/held out; on fraud: granted on payments that turned out to be fraud"


def render(report: dict[str, Any]) -> str:
    """The whole report."""
    parts = [f"{report['events']:,} events of {report['customers']:,} customers"]
    for name, side in report["sides"].items():
        cost = ", ".join(f"{amount} {kind}" for kind, amount in side["cost"].items()) or "nothing"
        back = ", ".join(f"{amount} {kind}" for kind, amount in side["taken_back"].items()) or "nothing"
        frozen = ", ".join(f"{amount} {kind}" for kind, amount in side["frozen"].items()) or "nothing"
        parts.append(
            f"{name}: {cost} granted, {back} taken back, {side['customers_reached']:,} customers reached, "
            f"{frozen} frozen, {side['abuse_alerts']:,} abuse alerts"
        )
        parts.append(section_text(_campaigns(name, side)))
        choices = _choices(side.get("choices", {}))
        if choices:
            parts.append(section_text(Section(f"Choices of {name}", CHOICES_NOTE, CHOICES_HEADERS, choices)))
        if side["overlap"]:
            parts.append(section_text(_overlap(name, side)))
    return "\n\n".join(parts)


def _campaigns(name: str, side: dict[str, Any]) -> Section:
    rows = []
    for campaign, one in side["campaigns"].items():
        budget = one["budget"]
        granted = ", ".join(f"{amount} {kind}" for kind, amount in one["granted"].items())
        rows.append([
            campaign, str(one["grants"]), granted or "-", ", ".join(one["taken_back"].values()) or "-",
            f"{one['offers']}/{one['withdrawn']}/{one['held_out']}", f"{100 * (one['reach'] or 0):.1f} %",
            one["granted_on_fraud"], "-" if budget is None else f"{budget['used']} of {budget['amount']}",
            "-" if budget is None else budget["exhausted_on"] or "never",
        ])  # fmt: skip
    return Section(f"Campaigns of {name}", NOTE, HEADERS, rows)


def _choices(campaigns: dict[str, Any]) -> list[list[str]]:
    rows = []
    for key, one in campaigns.items():
        for policy, told in one.get("policies", {}).items():
            ways = [told[way] for way in ("ips", "snips", "doubly_robust")]
            cells = [f"{way['value']:.2f} ± {way['error']:.2f}" if way["value"] is not None else "-" for way in ways]
            rows.append([key, policy, str(one["choices"]), f"{one['mean']:.2f}", str(told["matched"]), *cells])
    return rows


def _overlap(name: str, side: dict[str, Any]) -> Section:
    rows = [[" + ".join(one["campaigns"]), f"{one['customers']:,}"] for one in side["overlap"]]
    return Section(f"Overlap of {name}", "", ["campaigns", "customers of both"], rows)
