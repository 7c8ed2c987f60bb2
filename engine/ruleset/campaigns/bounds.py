"""The bounds of a campaign as declared in YAML: caps, budget, quiet hours, how long it lasts, who is held out."""

import re
from decimal import Decimal
from typing import Final

from engine.domain.currencies import EXPONENTS
from engine.domain.fields import ENTITY_FIELDS
from engine.ruleset.campaigns.gives import AMOUNT_MAX, currency_of
from engine.ruleset.campaigns.model import PERIODS, REFERRER, Cap, Money
from engine.ruleset.campaigns.triggers import clock, duration, word
from engine.ruleset.reader import Reader, fail, mapping, sequence
from engine.ruleset.yaml_loader import Mapping

CAPS_MAX: Final = 8
TIMES_MAX: Final = 10_000_000
TIMES_ELAPSED_MAX: Final = 200
"""`times` in an elapsed time, or of an identity such as a device: each of them is remembered by itself."""
POINTS_MAX: Final = 10**12
MONTHS_MAX: Final = 120

_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")
_MONTHS: Final = re.compile(r"([0-9]{1,3})\s*months?")
_MONEY: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,4})?")


def share(reader: Reader, key: str, most: float) -> float:
    """A percentage as a share, 0 where there is none. Raises `RuleError`."""
    if not reader.has(key):
        return 0.0
    node = reader.scalar(key)
    found = _PERCENT.fullmatch(node.raw)
    if found is None or not 0 <= float(found[1]) <= 100 * most:
        raise fail(node, f"'{key}' must be from 0 % to {100 * most:g} %", "10%")
    return float(found[1]) / 100.0


CAP_KEYS: Final = ("by", "times", "amount", "per", "required")
CAP_BY: Final = (*ENTITY_FIELDS, REFERRER)


def caps(reader: Reader) -> tuple[Cap, ...]:
    """`caps`. Raises `RuleError`."""
    items = sequence(reader.need("caps"), "'caps'") if reader.has("caps") else []
    if len(items) > CAPS_MAX:
        raise fail(reader.need("caps"), f"more than {CAPS_MAX} caps")
    return tuple(_cap(mapping(item, "a cap")) for item in items)


def _cap(found: Mapping) -> Cap:
    reader = Reader(found, "a cap", CAP_KEYS)
    by = word(reader, "by", CAP_BY, "customer")
    if reader.has("times") == reader.has("amount"):
        raise fail(found, "a cap has either 'times' or 'amount'")
    period, per_ms = "", 0
    if reader.has("per"):
        node = reader.scalar("per")
        if node.raw in PERIODS:
            period = node.raw
        else:
            per_ms = duration(node, "per")
    times = reader.whole("times", 0, 1, TIMES_MAX) if reader.has("times") else 0
    if per_ms and times > TIMES_ELAPSED_MAX:
        hint = "a calendar period counts any number"
        raise fail(reader.need("times"), f"at most {TIMES_ELAPSED_MAX} times in an elapsed time", hint)
    if by not in ("customer", REFERRER) and times > TIMES_ELAPSED_MAX:
        raise fail(reader.need("times"), f"at most {TIMES_ELAPSED_MAX} times by {by}", "each is remembered by itself")
    amount = reader.number("amount", 0.0, 0.01, AMOUNT_MAX) if reader.has("amount") else 0.0
    if reader.has("required") and by in ("customer", REFERRER):
        raise fail(
            reader.need("required"), f"'required' is of what an event may not name, not of the {by}", "by: device"
        )
    return Cap(by, times, amount, period, per_ms, reader.flag("required", False))


BUDGET_KEYS: Final = ("points", "amount", "currency")


def budget(reader: Reader) -> Money | None:
    """`budget`, of points or of money in a currency. Raises `RuleError`."""
    if not reader.has("budget"):
        return None
    found = Reader(mapping(reader.need("budget"), "'budget'"), "'budget'", BUDGET_KEYS)
    if found.has("points"):
        if found.has("amount") or found.has("currency"):
            raise fail(found.node, "a budget is of points or of money")
        return Money(found.whole("points", 0, 1, POINTS_MAX), "")
    amount = found.scalar("amount")
    if not found.has("currency"):
        raise fail(found.node, "a budget of money needs 'currency'")
    currency = currency_of(found)
    minor = Decimal(amount.raw).scaleb(EXPONENTS[currency]) if _MONEY.fullmatch(amount.raw) else Decimal(0)
    if minor <= 0 or minor != minor.to_integral_value():
        raise fail(amount, f"'{amount.raw[:40]}' is no amount of {currency} above 0", "50000.00")
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
    if found is None or not 0 < int(found[1]) <= MONTHS_MAX:
        raise fail(node, f"'expires' is counted in whole months, at most {MONTHS_MAX}", "12 months")
    return int(found[1])
