"""One entry of `campaigns:`, read and checked: what it says, and that it is possible."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from engine.ruleset import ir
from engine.ruleset.build import FALSE
from engine.ruleset.campaigns import parts
from engine.ruleset.campaigns.model import (
    MONEY,
    Campaign,
    CampaignCase,
    Cap,
    OfferSpec,
    Reward,
    Trigger,
)
from engine.ruleset.campaigns.names import CUSTOMER_KINDS
from engine.ruleset.check import Scope, condition
from engine.ruleset.errors import Faults, suggest
from engine.ruleset.model import Case
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.rules import TESTS_MAX, UsesOf, validity
from engine.ruleset.types import Kind
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

KEYS: Final = (
    "id", "version", "description", "owner", "tags", "on", "when", "then", "occasion", "hold", "expires", "caps",
    "budget", "valid_from", "valid_to", "consent", "quiet_hours", "priority", "group", "holdout", "reversal",
    "threshold", "score_max", "tests", "enabled",
)  # fmt: skip
OCCASIONS: Final = ("event", "period", "customer")
REVERSALS: Final = ("R1", "R2", "R3")
HOLD_MS_DEFAULT: Final = 14 * parts.DAY_MS
HOLDOUT_MAX: Final = 0.5
VERSION_MAX: Final = 10_000
MESSAGES_WITHOUT_CONSENT: Final = ("service",)
"""Kinds of offers that are service, not marketing: they need no consent."""

CASE_KEYS: Final = ("given", "with", "customer", "lists", "rates", "expect", "amount", "description")
EXPECTS: Final = ("granted", "nothing")

CaseReader = Callable[[Mapping, str], Case]


def read_campaign(
    name: str, reader: Reader, scope: Scope, uses_of: UsesOf, case: CaseReader, faults: Faults
) -> tuple[Campaign, bool]:
    """A campaign and whether it is enabled. What is wrong with it goes to `faults`, all of it."""
    take, known = faults.take, len(faults.found)
    scope = replace(scope, place="a campaign", customer=CUSTOMER_KINDS)
    trigger = take(lambda: parts.trigger(reader.need("on")), Trigger())
    when = take(lambda: _when(reader, scope), FALSE)
    reward, offers, choose, send = take(lambda: _then(reader, scope), (None, (), "", ""))
    sound = len(faults.found) == known
    kind = reward.kind if reward is not None else ""
    trees = [when, reward.amount] if reward is not None else [when]
    uses = {name: place for tree in trees for name, place in uses_of(tree).items()}
    first, last = take(lambda: validity(reader), (None, None))
    campaign = Campaign(
        id=name,
        version=take(lambda: reader.whole("version", 1, 1, VERSION_MAX), 1),
        description=take(lambda: reader.text("description", ""), ""),
        owner=take(lambda: reader.text("owner", ""), ""),
        tags=tuple(text for text, _ in take(lambda: reader.texts("tags"), [])),
        trigger=trigger,
        when=when,
        reward=reward,
        offers=offers,
        choose=choose,
        send=send,
        occasion=take(lambda: parts.word(reader, "occasion", OCCASIONS, "event"), "event"),
        hold_ms=take(lambda: _hold(reader), HOLD_MS_DEFAULT),
        expires_months=take(lambda: parts.months(reader), 0),
        caps=take(lambda: parts.caps(reader), ()),
        budget=take(lambda: parts.budget(reader, kind), None),
        valid_from_ms=first,
        valid_to_ms=last,
        consent=take(lambda: reader.text("consent", ""), ""),
        quiet=take(lambda: parts.quiet(reader), None),
        priority=take(lambda: reader.whole("priority", 0, -1000, 1000), 0),
        group=take(lambda: reader.text("group", ""), ""),
        holdout=take(lambda: parts.share(reader, "holdout", HOLDOUT_MAX), 0.0),
        reversal=take(lambda: parts.word(reader, "reversal", REVERSALS, "R1" if reward else "R3"), "R1"),
        threshold=take(lambda: reader.number("threshold", 0.0, 0.0, parts.AMOUNT_MAX), 0.0),
        score_max=take(lambda: reader.number("score_max", 1.0, 0.0, 1.0), 1.0),
        uses=tuple(uses),
        features=tuple(uses.values()),
        tests=(),
        file=reader.node.source.name,
        line=reader.node.line + 1,
    )
    if sound:
        found = [take(lambda test=test: _case(test, trigger, case), None) for test in take(lambda: _tests(reader), [])]  # type: ignore[misc]
        campaign = replace(campaign, tests=tuple(test for test in found if test is not None))
        take(lambda: _possible(campaign, reader), None)
    return campaign, take(lambda: reader.flag("enabled", True), True)


def _when(reader: Reader, scope: Scope) -> ir.Node:
    node = reader.scalar("when")
    return condition(Text(node), scope)


def _then(reader: Reader, scope: Scope) -> tuple[Reward | None, tuple[OfferSpec, ...], str, str]:
    found = mapping(reader.need("then"), "'then'")
    if "reward" in found.items:
        return parts.reward(found, scope), (), "", "now"
    if "offer" in found.items or "offers" in found.items:
        return None, *parts.offers(found)
    raise fail(found, "'then' gives nothing", "a reward, an offer or offers")


def _hold(reader: Reader) -> int:
    if not reader.has("hold"):
        return HOLD_MS_DEFAULT
    node = reader.scalar("hold")
    return 0 if node.raw in ("0", "0d", "none") else parts.duration(node, "hold")


def _possible(campaign: Campaign, reader: Reader) -> None:
    """Refuse a campaign that cannot be meant: one that may cost without bound, or reach nobody. Raises `RuleError`."""
    reward, then = campaign.reward, reader.need("then")
    if reward is not None and reward.kind in MONEY and not _bounded(campaign.caps):
        raise fail(then, f"a reward of {reward.kind} without a cap may be granted without end", "caps: [{times: 1}]")
    if reward is not None and reward.kind == "tier" and campaign.trigger.dimension != "membership":
        raise fail(then, "a gift of a tier goes with a transition of the membership", "on: {transition: membership, …}")
    if campaign.occasion == "period" and not any(cap.by == "customer" and cap.period for cap in campaign.caps):
        raise fail(
            reader.need("occasion"), "the occasion is a period, but no cap of the customer has one", "per: month"
        )
    markets = [spec for spec in campaign.offers if spec.kind not in MESSAGES_WITHOUT_CONSENT]
    if markets and not campaign.consent:
        raise fail(then, f"an offer of {markets[0].kind} is a message and needs 'consent'", "consent: marketing")
    if campaign.threshold and campaign.reversal != "R2":
        raise fail(reader.need("threshold"), "only a reversal of R2 has a threshold")
    if isinstance(campaign.when, ir.Const) and not campaign.when.value:
        raise fail(reader.need("when"), "this never holds")


def _bounded(caps: tuple[Cap, ...]) -> bool:
    return any(cap.by == "customer" for cap in caps)


def _tests(reader: Reader) -> list[Node]:
    tests = sequence(reader.need("tests"), "'tests'") if reader.has("tests") else []
    if len(tests) > TESTS_MAX:
        raise fail(reader.need("tests"), f"more than {TESTS_MAX} tests of one campaign")
    return tests


def _case(node: Node, trigger: Trigger, case: CaseReader) -> CampaignCase:
    """A test: what a rule's test says of the event, and what is known of the customer."""
    found = mapping(node, "a test")
    reader = Reader(found, "a test", CASE_KEYS)
    expect = parts.word(reader, "expect", EXPECTS)
    event = trigger.event if trigger.event and trigger.event != "alert.resolved" else "payment.settled"
    kept = {key: pair for key, pair in found.items.items() if key not in ("customer", "amount", "expect")}
    word = found.items["expect"]
    hit = Scalar(word[1].source, word[1].line, word[1].column, (0, 3), "hit", "hit", None, 0, 3)
    read = case(replace(found, items={**kept, "expect": (word[0], hit)}), event)
    return CampaignCase(
        texts=read.texts,
        numbers=read.numbers,
        flags=read.flags,
        features=read.features,
        scores=dict(read.scores),
        time_ms=read.time_ms,
        customer=_customer(reader),
        expect=expect,
        amount=reader.number("amount", math.nan, 0.0, parts.AMOUNT_MAX) if reader.has("amount") else None,
        line=read.line,
    )


def _customer(reader: Reader) -> dict[str, float | str | bool | None]:
    given: dict[str, float | str | bool | None] = {}
    items = mapping(reader.need("customer"), "'customer'").items if reader.has("customer") else {}
    for name, (key, node) in items.items():
        kind = CUSTOMER_KINDS.get(name)
        if kind is None:
            raise fail(key, f"unknown name 'customer.{name}'", suggest(name, list(CUSTOMER_KINDS)))
        content = node.value if isinstance(node, Scalar) else node
        fits = {
            Kind.STRING: isinstance(content, str),
            Kind.BOOL: isinstance(content, bool),
            Kind.NUMBER: isinstance(content, int | float) and not isinstance(content, bool),
        }
        if content is not None and not fits[kind]:
            raise fail(node, f"customer.{name} is {kind.value}")
        given[name] = float(content) if kind is Kind.NUMBER and content is not None else content  # type: ignore[arg-type,assignment]
    return given
