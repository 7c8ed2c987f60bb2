"""Campaigns in the JSON Schema of a rule file, from the tables they are read by."""

from engine.domain.currencies import EXPONENTS
from engine.ruleset.campaigns import abuse, bounds, gives, read, tests_in_files, triggers
from engine.ruleset.campaigns.model import (
    CASHBACK,
    CHOOSERS,
    COUPON,
    DIMENSIONS,
    MODES,
    ORDERED,
    PERIODS,
    POINTS,
    REWARDS,
    TIER,
    TIMERS,
)
from engine.ruleset.campaigns.names import CUSTOMER_KINDS
from engine.ruleset.rules import ID, TESTS_MAX
from engine.ruleset.schema_parts import Schema, choice, closed, duration, moment, text, texts, whole
from engine.ruleset.types import Kind

_CLOCK = {"type": "string", "pattern": whole("([01][0-9]|2[0-3]):[0-5][0-9]")}
_PERCENT = whole(r"[0-9]{1,3}(?:\.[0-9]{1,3})?\s*%")
_EXPRESSION = {"$ref": "#/$defs/expression"}
_AMOUNT = {"anyOf": [_EXPRESSION, {"type": "number", "exclusiveMinimum": 0}]}
_CURRENCY = {"enum": sorted(EXPONENTS)}
_VALUE: Schema = {
    "value": {"type": ["string", "number"], "maxLength": gives.VALUE_CHARS_MAX,
              "description": "What it is worth: an amount, a percentage (with most), or a text that costs nothing."},
    "most": {"type": "number", "exclusiveMinimum": 0, "maximum": gives.AMOUNT_MAX, "description": "At most so much."},
    "currency": _CURRENCY,
}  # fmt: skip
_JSON = {Kind.NUMBER: "number", Kind.STRING: "string", Kind.BOOL: "boolean"}


def campaign() -> Schema:
    """One entry of `campaigns:`."""
    keys: Schema = {
        "id": text("Names the campaign; unique among rules and campaigns.", ID.pattern),
        "version": {"type": "integer", "minimum": 1, "maximum": read.VERSION_MAX,
                    "description": "Part of the business key: a new version may grant again."},
        "description": text("For people."),
        "owner": text("Who answers for it."),
        "tags": texts("For people."),
        "on": _trigger(),
        "when": {"anyOf": [_EXPRESSION, {"type": "boolean"}], "description": "It does something where this holds."},
        "then": {"anyOf": [*_rewards(), _offer(), _choice()]},
        "occasion": choice("What it is granted once for.", read.OCCASIONS),
        "hold": {"anyOf": [{"const": "none"}, duration("How long a reward stays pending.")]},
        "expires": {"type": "string", "pattern": whole(r"[0-9]{1,3}\s*months?"),
                    "description": "Then it lasts so long."},
        "caps": {"type": "array", "maxItems": bounds.CAPS_MAX, "items": _cap()},
        "budget": _budget(),
        "valid_from": moment("Event time from which it runs."),
        "valid_to": moment("Event time from which it does not any more."),
        "consent": text("Purpose that the customer must have agreed to.", ID.pattern),
        "quiet_hours": {"type": "array", "items": _CLOCK, "minItems": 2, "maxItems": 2,
                        "description": "From and to, by the customer's clock: nothing is sent then."},
        "priority": {"type": "integer", "minimum": -1000, "maximum": 1000},
        "group": text("Of several campaigns of a group the one of the highest priority does something.", ID.pattern),
        "holdout": {"type": "string", "pattern": _PERCENT, "description": "Share of customers to compare with."},
        "reversal": choice("What a refund takes back: R1 in proportion, R2 all of it, R3 nothing.", read.REVERSALS),
        "threshold": {"type": "number", "minimum": 0, "description": "With R2: major units that must remain."},
        "score_max": {"type": "number", "minimum": 0, "maximum": 1,
                      "description": "Payments of a higher blended score earn nothing."},
        "abuse": _abuse(),
        "tests": {"type": "array", "maxItems": TESTS_MAX, "items": {"$ref": "#/$defs/campaign_test"}},
        "enabled": {"type": "boolean", "description": "false: checked, never run."},
        "mode": choice("live; or draft: checked, tested and tried on histories, and does nothing.", MODES),
    }  # fmt: skip
    return closed({key: keys[key] for key in read.KEYS}, "id", "on", "when", "then")


def test(rule_test: Schema) -> Schema:
    """An in-file test of a campaign, from that of a rule."""
    values = {name: {"type": [_JSON[kind], "null"]} for name, kind in CUSTOMER_KINDS.items()}
    own: Schema = {
        **rule_test["properties"],
        "customer": {**closed(values), "description": "What is known of the customer."},
        "expect": {"enum": list(tests_in_files.EXPECTS)},
        "amount": {"type": "number", "minimum": 0, "description": "How much is granted."},
    }
    return closed({key: own[key] for key in tests_in_files.CASE_KEYS}, "expect")


def _trigger() -> Schema:
    span = duration("So long.")
    spans = {"anyOf": [span, _some(span, triggers.SPANS_MAX)]}
    places: Schema = {"at": _CLOCK, "after": spans, "before": spans,
                      "gaps": {"type": "number", "minimum": 1, "maximum": 100}}  # fmt: skip
    timers = [
        closed({"timer": {"const": name}, **{key: places[key] for key in keys}}, "timer", *keys)
        for name, keys in TIMERS.items()
    ]
    transitions = [
        closed({"transition": {"const": dimension}, "from": _from(dimension), "to": _words(states)}, "transition", "to")
        for dimension, states in DIMENSIONS.items()
    ]
    return {
        "description": "What sets it off: events, a transition, a timer.",
        "anyOf": [*_words(triggers.EVENTS)["anyOf"], *transitions, *timers],
    }


def _from(dimension: str) -> Schema:
    ways = [{"enum": list(triggers.WAYS)}] if dimension in ORDERED else []
    return {"anyOf": [*_words(DIMENSIONS[dimension])["anyOf"], *ways]}


def _words(known: tuple[str, ...]) -> Schema:
    one = {"enum": list(known)}
    return {"anyOf": [one, _some(one)]}


def _some(items: Schema, most: int | None = None) -> Schema:
    bound = {} if most is None else {"maxItems": most}
    return {"type": "array", "items": items, "minItems": 1, **bound}


def _rewards() -> list[Schema]:
    """One schema for each kind of reward."""
    keys: Schema = {
        "amount": {**_AMOUNT, "description": "How much: points, major units, or how many coupons."},
        **_VALUE,
        "both": {"type": "boolean", "description": "Who referred the customer gets the same."},
    }
    has = {POINTS: ("amount", "most", "both"), CASHBACK: ("amount", "most", "currency", "both"),
           COUPON: ("amount", "value", "most", "currency", "both"), TIER: ("amount", "both")}  # fmt: skip
    needs = {POINTS: ("amount",), CASHBACK: ("amount", "currency"), COUPON: ("value",), TIER: ()}
    return [
        closed({"reward": {"const": kind}, **{key: keys[key] for key in has[kind]}}, "reward", *needs[kind])
        for kind in REWARDS
    ]


def _offer() -> Schema:
    return closed(_offer_keys(gives.OFFER_KEYS), "offer")


def _choice() -> Schema:
    one = closed(_offer_keys(gives.CHOSEN_KEYS), "id", "offer")
    keys: Schema = {
        "offers": _some(one, gives.OFFERS_MAX),
        "choose": {"enum": list(CHOOSERS)},
        "send": _offer_keys(("send",))["send"],
    }
    return closed({key: keys[key] for key in gives.CHOICE_KEYS}, "offers")


def _offer_keys(names: tuple[str, ...]) -> Schema:
    keys: Schema = {
        "id": text("Names the offer within its campaign.", ID.pattern),
        "offer": text("What kind it is, such as coupon, survey or message; `service` needs no consent.", ID.pattern),
        **_VALUE,
        "channel": text("A hint: push, email, sms.", ID.pattern),
        "expires": duration("How long it stands."),
        "send": {"anyOf": [{"enum": ["now", "personal_hour"]}, _CLOCK]},
    }
    return {name: keys[name] for name in names}


def _cap() -> Schema:
    keys: Schema = {
        "by": {"enum": list(bounds.CAP_BY), "default": "customer"},
        "times": {"type": "integer", "minimum": 1, "maximum": bounds.TIMES_MAX},
        "amount": {"type": "number", "exclusiveMinimum": 0, "maximum": gives.AMOUNT_MAX},
        "per": {"anyOf": [{"enum": list(PERIODS)}, duration("Elapsed time.")]},
        "required": {"type": "boolean", "description": "Nothing is given where the event does not name what it is by."},
    }
    found = closed({key: keys[key] for key in bounds.CAP_KEYS})
    return {**found, "oneOf": [{"required": ["times"]}, {"required": ["amount"]}]}


def _abuse() -> Schema:
    accounts: Schema = {
        "anyOf": [{"const": abuse.OFF}, {"type": "integer", "minimum": 1, "maximum": abuse.ACCOUNTS_MAX}]
    }
    keys: Schema = {
        **{key: {**accounts, "description": f"More {one.what} freeze it."} for key, one in abuse.LIMITS.items()},
        abuse.NEW_ACCOUNT: _or_off({"days": {"type": "integer", "minimum": 1, "maximum": abuse.DAYS_MAX},
                                    "accounts_per_device": accounts}, "Fewer, where the account is new."),
        abuse.SELF_REFERRAL: {"anyOf": [{"const": abuse.OFF}, {"type": "boolean"}],
                              "description": "Referrer and customer share a device, card, address, e-mail or account."},
        abuse.REFUND_CYCLING: _or_off({"rate": {"type": "number", "minimum": 0.01, "maximum": 1},
                                       "min": {"type": "integer", "minimum": 1, "maximum": abuse.REFUNDS_MAX}},
                                      "Share of 90 days' payments given back, and how many at least."),
    }  # fmt: skip
    given = closed({key: keys[key] for key in abuse.KEYS})
    return {"description": "What freezes a reward and raises an alert.", "anyOf": [{"const": abuse.OFF}, given]}


def _or_off(keys: Schema, meaning: str) -> Schema:
    return {"anyOf": [{"const": abuse.OFF}, closed(keys)], "description": meaning}


def _budget() -> Schema:
    money = closed({"amount": {"type": ["string", "number"]}, "currency": _CURRENCY}, "amount", "currency")
    points = closed({"points": {"type": "integer", "minimum": 1, "maximum": bounds.POINTS_MAX}}, "points")
    return {"description": "Never over-spent.", "anyOf": [money, points]}
