"""What a campaign gives, as declared in YAML: a reward, an offer, several offers to choose from."""

import re
from typing import Final

from engine.domain.currencies import EXPONENTS
from engine.ruleset import ir
from engine.ruleset.campaigns.model import (
    BANDIT,
    CASHBACK,
    CHOOSERS,
    COUPON,
    FIRST,
    REWARDS,
    TIER,
    OfferSpec,
    Reward,
)
from engine.ruleset.campaigns.triggers import CLOCK, DAY_MS, duration, word
from engine.ruleset.check import value
from engine.ruleset.errors import suggest
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.rules import ID
from engine.ruleset.scope import Scope
from engine.ruleset.types import NUMERIC
from engine.ruleset.yaml_loader import Mapping, Scalar

OFFERS_MAX: Final = 15  # with "none" the arms a bandit has at most
AMOUNT_MAX: Final = 1e9
EXPIRES_MS_DEFAULT: Final = 14 * DAY_MS
VALUE_CHARS_MAX: Final = 200
"""Of the value of an offer or coupon: it stands in every one that is put out."""

_PERCENT: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?\s*%")
_AMOUNT: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,4})?")
_NAME_HINT: Final = "lower-case letters, digits and _, at most 64"


REWARD_KEYS: Final = ("reward", "amount", "value", "most", "currency", "both")


def reward(found: Mapping, scope: Scope) -> Reward:
    """`then` with a reward. Raises `RuleError`."""
    reader = Reader(found, "'then'", REWARD_KEYS)
    kind = word(reader, "reward", REWARDS)
    if kind in (COUPON, TIER) and not reader.has("amount"):
        amount = value(Text(_one(reader)), scope)
    else:
        node = reader.scalar("amount")
        amount = value(Text(node), scope)
        if amount.kind not in NUMERIC:
            raise fail(node, f"'amount' must be a number, but this is {amount.kind.value}")
        if isinstance(amount, ir.Const) and not 0 < float(amount.value) <= AMOUNT_MAX:
            raise fail(node, f"'amount' must be above 0 and at most {AMOUNT_MAX:g}")
    both = reader.flag("both", False)
    if kind == COUPON:
        reader.need("value")
        text, worth, currency = _value(reader)
        return Reward(kind, amount, None, currency, text, worth, both)
    if reader.has("value"):
        raise fail(reader.need("value"), f"a reward of {kind} has no 'value'", "it has an amount")
    currency = currency_of(reader) if reader.has("currency") else ""
    if (kind == CASHBACK) != bool(currency):
        message = "cashback needs 'currency'" if kind == CASHBACK else f"a reward of {kind} has no 'currency'"
        raise fail(found, message, "EUR, or the base currency" if kind == CASHBACK else "")
    most = _most(reader) if reader.has("most") else None
    return Reward(kind, amount, most, currency, both=both)


def _one(reader: Reader) -> Scalar:
    """The amount of what is counted by the piece."""
    key = reader.node.items["reward"][0]
    return Scalar(key.source, key.line, key.column, (0, 1), "1", "1", None, 0, 1)


def currency_of(reader: Reader) -> str:
    """`currency`. Raises `RuleError`."""
    found = reader.text("currency")
    if found not in EXPONENTS:
        raise fail(reader.need("currency"), f"unknown currency '{found}'", suggest(found, list(EXPONENTS)))
    return found


def _most(reader: Reader) -> float:
    return reader.number("most", 0.0, 0.01, AMOUNT_MAX)


def _value(reader: Reader) -> tuple[str, float, str]:
    """`value` for people, what it costs at most in major units of a currency, and that currency.

    An amount costs itself, a percentage `most`; a text costs nothing.
    """
    node = reader.scalar("value") if reader.has("value") else None
    raw = node.raw if node is not None else ""
    if len(raw) > VALUE_CHARS_MAX:
        raise fail(reader.need("value"), f"'value' is longer than {VALUE_CHARS_MAX} characters")
    currency = currency_of(reader) if reader.has("currency") else ""
    percent = _PERCENT.fullmatch(raw) is not None
    if reader.has("most") and not percent:
        raise fail(reader.need("most"), "'most' bounds a value in per cent", 'value: "10%"')
    if percent or _AMOUNT.fullmatch(raw):
        if percent and not reader.has("most"):
            raise fail(reader.need("value"), "a percentage has no bound of its own", "give 'most' and 'currency'")
        if not currency:
            raise fail(reader.need("value"), "an amount of money needs 'currency'")
        if percent and not 0 < float(raw.strip().removesuffix("%")) <= 100:
            raise fail(reader.need("value"), "a share of a price is above 0 % and at most 100 %", 'value: "10%"')
        if not percent and len(raw.partition(".")[2].rstrip("0")) > EXPONENTS[currency]:
            raise fail(reader.need("value"), f"{raw} is more precise than {currency}")
        worth = _most(reader) if percent else float(raw)
        if not 0 < worth <= AMOUNT_MAX:
            raise fail(reader.need("value"), f"'value' must be above 0 and at most {AMOUNT_MAX:g}")
        text = f"{raw.strip()}, at most {worth:.{EXPONENTS[currency]}f}" if percent else raw
        return f"{text} {currency}", worth, currency
    if currency:
        raise fail(reader.need("currency"), "'currency' is of an amount or a percentage")
    return raw, 0.0, ""


OFFER_KEYS: Final = ("offer", "value", "most", "currency", "channel", "expires", "send")
CHOICE_KEYS: Final = ("offers", "choose", "send")
CHOSEN_KEYS: Final = ("id", *OFFER_KEYS[:-1])
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
            if spec.id == "none" or spec.id in [other.id for other in specs[:place]]:
                raise fail(items[place], f"'{spec.id}' is no id of its own", "'none' stands for no offer")
        chosen = word(reader, "choose", CHOOSERS, BANDIT if len(specs) > 1 else FIRST)
        return specs, chosen, _send(reader)
    reader = Reader(found, "'then'", OFFER_KEYS)
    return (_offer(found, OFFER_KEYS),), FIRST, _send(reader)


def _offer(found: Mapping, keys: tuple[str, ...]) -> OfferSpec:
    reader = Reader(found, "an offer", keys)
    kind = name(reader, "offer")
    text, worth, currency = _value(reader)
    return OfferSpec(
        id=name(reader, "id") if "id" in keys else kind,
        kind=kind,
        value=text,
        channel=name(reader, "channel", ""),
        expires_ms=duration(reader.need("expires"), "expires") if reader.has("expires") else EXPIRES_MS_DEFAULT,
        worth=worth,
        currency=currency,
    )


def name(reader: Reader, key: str, default: str | None = None) -> str:
    """A word that names something, as ids do. Raises `RuleError`."""
    found = reader.text(key, default)
    if found and not ID.fullmatch(found):
        raise fail(reader.need(key), f"'{found}' is no name", _NAME_HINT)
    return found


def _send(reader: Reader) -> str:
    if not reader.has("send"):
        return "now"
    found = reader.text("send")
    if found not in ("now", "personal_hour") and not CLOCK.fullmatch(found):
        hint = 'now, personal_hour, or a time such as "09:00"'
        raise fail(reader.need("send"), f"'{found}' is no time to send", hint)
    return found
