"""The parts of a campaign as declared in YAML: what sets it off, what it gives, how much at most, to whom and when."""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from engine.domain.currencies import EXPONENTS
from engine.domain.durations import parse_duration
from engine.domain.fields import ENTITY_FIELDS
from engine.ruleset.campaigns.model import (
    BANDIT,
    CHOOSERS,
    DIMENSIONS,
    FIRST,
    PERIODS,
    REWARDS,
    TIMERS,
    Cap,
    Money,
    OfferSpec,
    Reward,
    Trigger,
)
from engine.ruleset.check import Scope, value
from engine.ruleset.errors import suggest
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.types import EVENT_TYPES, NUMERIC
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

DAY_MS: Final = 86_400_000
DURATION_MS_MAX: Final = 3_660 * DAY_MS  # ten years
CAPS_MAX: Final = 8
OFFERS_MAX: Final = 15  # with "none" the arms a bandit has at most
AMOUNT_MAX: Final = 1e9
EXPIRES_MS_DEFAULT: Final = 14 * DAY_MS
EVENTS: Final = (*EVENT_TYPES, "alert.resolved")

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")
_MONTHS: Final = re.compile(r"([0-9]{1,3})\s*months?")
_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def word(reader: Reader, key: str, known: tuple[str, ...], default: str | None = None) -> str:
    """One of some words. Raises `RuleError`."""
    found = reader.text(key, default)
    if found not in known:
        raise fail(
            reader.need(key), f"unknown '{key}' '{found}'", suggest(found, known) or f"one of {', '.join(known)}"
        )
    return found


def duration(node: Node, key: str) -> int:
    """A length of time in milliseconds. Raises `RuleError`."""
    if not isinstance(node, Scalar):
        raise fail(node, f"'{key}' must be a single value")
    try:
        found = parse_duration(node.raw)
    except ValueError as fault:
        raise fail(node, str(fault)) from None
    if not 0 < found <= DURATION_MS_MAX:
        raise fail(node, f"'{key}' must be above 0 and at most ten years")
    return found


def clock(node: Node, key: str) -> int:
    """A local time of day as minutes after midnight. Raises `RuleError`."""
    found = _CLOCK.fullmatch(node.raw) if isinstance(node, Scalar) else None
    if found is None:
        raise fail(node, f"'{key}' must be a time of day", 'write it in quotes, as in "09:00"')
    return int(found[1]) * 60 + int(found[2])


def share(reader: Reader, key: str, most: float) -> float:
    """A percentage as a share, 0 where there is none. Raises `RuleError`."""
    if not reader.has(key):
        return 0.0
    node = reader.scalar(key)
    found = _PERCENT.fullmatch(node.raw)
    if found is None or not 0 <= float(found[1]) <= 100 * most:
        raise fail(node, f"'{key}' must be from 0 % to {100 * most:g} %", "10%")
    return float(found[1]) / 100.0


ON_KEYS: Final = ("transition", "to", "timer", "at", "after", "before", "gaps")
_PLACES: Final = ON_KEYS[3:]
"""Keys of timers that say when."""


def trigger(node: Node) -> Trigger:
    """`on`. Raises `RuleError`."""
    if isinstance(node, Scalar):
        if node.raw not in EVENTS:
            raise fail(node, f"there is no event type '{node.raw}'", suggest(node.raw, EVENTS))
        return Trigger(event=node.raw)
    found = mapping(node, "'on'")
    if "transition" in found.items:
        reader = Reader(found, "a transition", ON_KEYS[:2])
        dimension = word(reader, "transition", tuple(DIMENSIONS))
        return Trigger(dimension=dimension, to=word(reader, "to", DIMENSIONS[dimension]))
    reader = Reader(found, "'on'", ON_KEYS[2:])
    timer = word(reader, "timer", tuple(TIMERS))
    for key in _PLACES:
        if reader.has(key) != (key in TIMERS[timer]):
            needs = "needs" if key in TIMERS[timer] else "has no"
            raise fail(found, f"the timer {timer} {needs} '{key}'")
    spans = [item for key in ("after", "before") if reader.has(key) for item in _items(reader.need(key))]
    return Trigger(
        timer=timer,
        after_ms=tuple(sorted((duration(item, "after") for item in spans), reverse=True)),
        gaps=reader.number("gaps", 0.0, 1.0, 100.0),
        minute=clock(reader.need("at"), "at") if reader.has("at") else 0,
    )


def _items(node: Node) -> list[Node]:
    return [node] if isinstance(node, Scalar) else sequence(node, "'before'")


REWARD_KEYS: Final = ("reward", "amount", "most", "currency", "value", "both")


def reward(found: Mapping, scope: Scope) -> Reward:
    """`then` with a reward. Raises `RuleError`."""
    reader = Reader(found, "'then'", REWARD_KEYS)
    kind = word(reader, "reward", REWARDS)
    if kind in ("coupon", "tier") and not reader.has("amount"):
        amount = value(Text(_one(reader)), scope)
    else:
        node = reader.scalar("amount")
        amount = value(Text(node), scope)
        if amount.kind not in NUMERIC:
            raise fail(node, f"'amount' must be a number, but this is {amount.kind.value}")
    if kind == "coupon":
        reader.need("value")
    currency = _currency(reader) if reader.has("currency") else ""
    if kind == "cashback" and not currency:
        raise fail(found, "cashback needs 'currency'", "EUR, or the base currency")
    most = reader.number("most", 0.0, 0.0, AMOUNT_MAX) if reader.has("most") else None
    return Reward(kind, amount, most, currency, reader.text("value", ""), reader.flag("both", False))


def _one(reader: Reader) -> Scalar:
    """The amount of what is counted by the piece."""
    key = reader.node.items["reward"][0]
    return Scalar(key.source, key.line, key.column, (0, 1), "1", "1", None, 0, 1)


def _currency(reader: Reader) -> str:
    found = reader.text("currency")
    if found not in EXPONENTS:
        raise fail(reader.need("currency"), f"unknown currency '{found}'", suggest(found, list(EXPONENTS)))
    return found


OFFER_KEYS: Final = ("offer", "value", "channel", "expires", "send")
CHOICE_KEYS: Final = ("offers", "choose", "send")
CHOSEN_KEYS: Final = ("id", "offer", "value", "channel", "expires")
"""Keys of one of several offers."""


def offers(found: Mapping) -> tuple[tuple[OfferSpec, ...], str, str]:
    """`then` with offers: what may be offered, how one is chosen, when it is sent. Raises `RuleError`."""
    if "offers" in found.items:
        reader = Reader(found, "'then'", CHOICE_KEYS)
        items = sequence(reader.need("offers"), "'offers'")
        if not 0 < len(items) <= OFFERS_MAX:
            raise fail(reader.need("offers"), f"1 to {OFFERS_MAX} offers are needed")
        specs = tuple(_offer(mapping(item, "an offer"), CHOSEN_KEYS) for item in items)
        for place, spec in enumerate(specs):
            if not _ID.fullmatch(spec.id) or spec.id == "none" or spec.id in [other.id for other in specs[:place]]:
                raise fail(items[place], f"'{spec.id}' is no id of its own", "lower-case letters, digits and _")
        chosen = word(reader, "choose", CHOOSERS, BANDIT if len(specs) > 1 else FIRST)
        return specs, chosen, _send(reader)
    reader = Reader(found, "'then'", OFFER_KEYS)
    return (_offer(found, OFFER_KEYS),), FIRST, _send(reader)


def _offer(found: Mapping, keys: tuple[str, ...]) -> OfferSpec:
    reader = Reader(found, "an offer", keys)
    kind = reader.text("offer")
    return OfferSpec(
        id=reader.text("id", kind),
        kind=kind,
        value=reader.text("value", ""),
        channel=reader.text("channel", ""),
        expires_ms=duration(reader.need("expires"), "expires") if reader.has("expires") else EXPIRES_MS_DEFAULT,
    )


def _send(reader: Reader) -> str:
    if not reader.has("send"):
        return "now"
    found = reader.text("send")
    if found not in ("now", "personal_hour") and not _CLOCK.fullmatch(found):
        raise fail(
            reader.need("send"), f"'{found}' is no time to send", 'now, personal_hour, or a time such as "09:00"'
        )
    return found


CAP_KEYS: Final = ("by", "times", "amount", "per")


def caps(reader: Reader) -> tuple[Cap, ...]:
    """`caps`. Raises `RuleError`."""
    items = sequence(reader.need("caps"), "'caps'") if reader.has("caps") else []
    if len(items) > CAPS_MAX:
        raise fail(reader.need("caps"), f"more than {CAPS_MAX} caps")
    return tuple(_cap(mapping(item, "a cap")) for item in items)


def _cap(found: Mapping) -> Cap:
    reader = Reader(found, "a cap", CAP_KEYS)
    by = word(reader, "by", tuple(ENTITY_FIELDS), "customer")
    if reader.has("times") == reader.has("amount"):
        raise fail(found, "a cap has either 'times' or 'amount'")
    period, per_ms = "", 0
    if reader.has("per"):
        node = reader.scalar("per")
        if node.raw in PERIODS:
            period = node.raw
        else:
            per_ms = duration(node, "per")
    times = reader.whole("times", 0, 1, 10_000_000) if reader.has("times") else 0
    amount = reader.number("amount", 0.0, 0.01, AMOUNT_MAX) if reader.has("amount") else 0.0
    return Cap(by, times, amount, period, per_ms)


BUDGET_KEYS: Final = ("points", "amount", "currency")


def budget(reader: Reader, kind: str) -> Money | None:
    """`budget`, of points or of money in a currency. Raises `RuleError`."""
    if not reader.has("budget"):
        return None
    found = Reader(mapping(reader.need("budget"), "'budget'"), "'budget'", BUDGET_KEYS)
    if found.has("points"):
        if kind != "points" or found.has("amount"):
            raise fail(found.node, f"a budget of points does not go with a reward of {kind or 'nothing'}")
        return Money(found.whole("points", 0, 1, 10**12), "")
    amount = found.scalar("amount")
    if not found.has("currency"):
        raise fail(found.node, "a budget of money needs 'currency'")
    if kind == "points":
        raise fail(found.node, "a reward of points has a budget of points", "budget: {points: 1000000}")
    currency = _currency(found)
    try:
        minor = Decimal(amount.raw).scaleb(EXPONENTS[currency])
    except InvalidOperation:
        raise fail(amount, f"'{amount.raw}' is no amount") from None
    if not minor.is_finite() or minor <= 0 or minor != minor.to_integral_value() or minor >= 10**15:
        raise fail(amount, f"'{amount.raw}' is no amount of {currency} above 0")
    return Money(int(minor), currency)


def quiet(reader: Reader) -> tuple[int, int] | None:
    """`quiet_hours`: from and to. Raises `RuleError`."""
    if not reader.has("quiet_hours"):
        return None
    items = sequence(reader.need("quiet_hours"), "'quiet_hours'")
    if len(items) != 2:
        raise fail(reader.need("quiet_hours"), "'quiet_hours' are two times of day", '["21:00", "08:00"]')
    begins, ends = (clock(item, "quiet_hours") for item in items)
    if begins == ends:
        raise fail(reader.need("quiet_hours"), "'quiet_hours' leave no hour of the day")
    return begins, ends


def months(reader: Reader) -> int:
    """`expires`, in whole months; 0 for never. Raises `RuleError`."""
    if not reader.has("expires"):
        return 0
    node = reader.scalar("expires")
    found = _MONTHS.fullmatch(node.raw)
    if found is None or not 0 < int(found[1]) <= 120:
        raise fail(node, "'expires' is counted in whole months, at most 120", "12 months")
    return int(found[1])
