"""The catalogue of the shipped campaigns: `python -m load_tests.campaigns_catalogue` writes docs/campaigns-catalogue/.

It also writes the table of names in docs/campaigns.md.

Made from the campaign files and the tables that the engine reads by; tests/ruleset/test_campaign_docs.py compares.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from engine.domain.currencies import EXPONENTS
from engine.domain.durations import format_duration
from engine.engagement.customer.names import NAMES
from engine.ruleset import ir, report
from engine.ruleset.campaigns.model import (
    DIMENSIONS,
    ORDERED,
    Campaign,
    Cap,
    Money,
    OfferSpec,
    Reward,
    Trigger,
)

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "rules"
PLACE = ROOT / "docs" / "campaigns-catalogue"
PAGE = ROOT / "docs" / "campaigns.md"
START = "<!-- names: written by make catalogue, checked by tests/ruleset/test_campaign_docs.py -->\n"
END = "<!-- end of names -->"
_TIMES = {1: "once", 2: "twice"}
_BACK = {"R1": "in proportion", "R2": "all of it", "R3": "nothing"}


def pages() -> dict[str, str]:
    """Every page of the catalogue by its name."""
    campaigns = report.load(RULES).campaigns
    files = sorted({campaign.file for campaign in campaigns})
    found = {f"{Path(file).stem}.md": "\n".join(_page(campaigns, file)) + "\n" for file in files}
    return {"README.md": "\n".join(_overview(campaigns, files)) + "\n", **found}


def with_names(text: str) -> str:
    """The page of the language with its table of names brought up to date. Raises `ValueError` without the marks."""
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not start or not end:
        raise ValueError("the page has no marks around a table of names")
    rows = "".join(f"| `customer.{name}` | {row.kind} | {row.meaning} |\n" for name, row in NAMES.items())
    return f"{head}{START}| name | is | meaning |\n|---|---|---|\n{rows}{END}{tail}"


def _overview(campaigns: list[Campaign], files: list[str]) -> Iterator[str]:
    yield "# The shipped campaigns"
    yield ""
    yield "Written by `make catalogue` from the files in `rules/engagement/`; edit those. The language has a page of"
    yield "its own: [campaigns](../campaigns.md). Amounts, caps and budgets are examples to start from; set them to"
    yield "your margins."
    yield ""
    yield "| campaign | set off by | gives | at most | held out | refund takes back |"
    yield "|---|---|---|---|---|---|"
    for file in files:
        for campaign in (one for one in campaigns if one.file == file):
            place = f"[{campaign.id}]({Path(file).stem}.md#{campaign.id})"
            held = f"{100 * campaign.holdout:g} %" if campaign.holdout else "–"
            cells = [place, _trigger(campaign.trigger), _gives(campaign), _caps(campaign.caps), held]
            yield f"| {' | '.join([*cells, _BACK[campaign.reversal]])} |"


def _page(campaigns: list[Campaign], file: str) -> Iterator[str]:
    lines = [line[2:] for line in (RULES / file).read_text("utf-8").splitlines() if line.startswith("# ")]
    yield f"# {Path(file).stem}"
    yield ""
    yield " ".join(line for line in lines if not line.startswith("yaml-language-server"))
    yield f"From [`rules/{file}`](../../rules/{file}), by `make catalogue`."
    for campaign in campaigns:
        if campaign.file == file:
            yield ""
            yield from _campaign(campaign)


def _campaign(campaign: Campaign) -> Iterator[str]:
    yield f"## {campaign.id}"
    yield ""
    yield f"{campaign.description[0].upper()}{campaign.description[1:]}."
    yield ""
    yield "```"
    yield f"on {_trigger(campaign.trigger)}"
    yield f"when {campaign.when.text}"
    if campaign.reward is not None:
        yield f"amount {campaign.reward.amount.text}"
    yield "```"
    yield ""
    yield from (f"- {name}: {text}" for name, text in _facts(campaign) if text)


def _facts(campaign: Campaign) -> Iterator[tuple[str, str]]:
    yield "gives", _gives(campaign)
    yield "at most", _caps(campaign.caps)
    yield "budget", _money(campaign.budget) if campaign.budget is not None else ""
    if campaign.reward is not None:
        yield "pending for", format_duration(campaign.hold_ms) if campaign.hold_ms else "no time"
        yield "lasts", f"{campaign.expires_months} months" if campaign.expires_months else "for ever"
    else:
        yield "sent", campaign.send.replace("_", " ")
    yield "refund takes back", _back(campaign)
    yield "needs consent to", campaign.consent
    if campaign.quiet is not None:
        yield "quiet hours", " to ".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in campaign.quiet)
    yield "held out", f"{100 * campaign.holdout:g} % of customers" if campaign.holdout else ""
    yield "highest score", f"{campaign.score_max:g}" if campaign.score_max < 1 else ""
    yield "frozen for", _suspected(campaign)
    yield "group", f"{campaign.group}, priority {campaign.priority}" if campaign.group else ""
    yield "owner", campaign.owner
    yield "reads", ", ".join(f"`{name}`" for name in sorted(campaign.uses))


def _suspected(campaign: Campaign) -> str:
    """Codes of what freezes its rewards."""
    codes = [one.code for one in campaign.abuse] + ["SELF_REFERRAL"] * campaign.self_referral
    return ", ".join(f"`{code}`" for code in codes)


def _back(campaign: Campaign) -> str:
    left = f" once less than {campaign.threshold:g} of the payment is left" if campaign.threshold else ""
    return f"{_BACK[campaign.reversal]}{left} ({campaign.reversal})"


def _trigger(trigger: Trigger) -> str:
    if trigger.events:
        return " or ".join(trigger.events)
    if trigger.dimension:
        ends = " or ".join(dict.fromkeys(end for _, end in trigger.steps))
        states = DIMENSIONS[trigger.dimension]
        ways = {states.index(end) > states.index(start) for start, end in trigger.steps}
        ordered = trigger.dimension in ORDERED and len(ways) == 1
        verb = ("rises to" if True in ways else "falls to") if ordered else "becomes"
        starts = " or ".join(dict.fromkeys(start for start, _ in trigger.steps))
        return f"{trigger.dimension} {verb} {ends}" + ("" if ordered else f" from {starts}")
    spans = ", ".join(format_duration(span) for span in trigger.after_ms)
    at = f"{trigger.minute // 60:02d}:{trigger.minute % 60:02d}" if trigger.timer == "birthday" else ""
    gaps = f"{trigger.gaps:g} gaps" if trigger.gaps else ""
    return " ".join(part for part in ("timer", trigger.timer, spans, at, gaps) if part)


def _gives(campaign: Campaign) -> str:
    if campaign.reward is not None:
        return _reward(campaign.reward)
    if len(campaign.offers) == 1:
        return _offer(campaign.offers[0])
    return f"{'one, by bandit: ' if campaign.choose == 'bandit' else ''}{'; '.join(map(_offer, campaign.offers))}"


def _reward(reward: Reward) -> str:
    both = ", to the referrer too" if reward.both else ""
    if reward.kind == "coupon":
        return f"coupon of {reward.value}{both}"
    most = f", at most {reward.most:g}" if reward.most is not None else ""
    fixed = isinstance(reward.amount, ir.Const) and reward.kind != "tier"
    amount = f"{reward.amount.text} " if fixed else ""
    return f"{amount}{reward.kind}{f' in {reward.currency}' if reward.currency else ''}{most}{both}"


def _offer(offer: OfferSpec) -> str:
    return f"{offer.kind} “{offer.value}”" + (f" by {offer.channel}" if offer.channel else "")


def _caps(caps: tuple[Cap, ...]) -> str:
    return "; ".join(_cap(cap) for cap in caps)


def _cap(cap: Cap) -> str:
    much = _TIMES.get(cap.times, f"{cap.times} times") if cap.times else f"{cap.amount:,g}"
    span = f" a {cap.period}" if cap.period else f" in {format_duration(cap.per_ms)}" if cap.per_ms else " ever"
    return f"{much}{span}" + ("" if cap.by == "customer" else f" a {cap.by}")


def _money(budget: Money) -> str:
    if not budget.currency:
        return f"{budget.minor:,} points"
    exponent = EXPONENTS[budget.currency]
    return f"{budget.minor / 10.0**exponent:,.{exponent}f} {budget.currency}"


def main() -> int:
    """Write every page."""
    PLACE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (PLACE / name).write_text(text, "utf-8")
    PAGE.write_text(with_names(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
