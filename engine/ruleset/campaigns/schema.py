"""Campaigns in the JSON Schema of a rule file, from the tables they are read by."""

from engine.domain.currencies import EXPONENTS
from engine.domain.fields import ENTITY_FIELDS
from engine.ruleset.campaigns import parts, read
from engine.ruleset.campaigns.model import CHOOSERS, DIMENSIONS, PERIODS, REWARDS, TIMERS
from engine.ruleset.campaigns.names import CUSTOMER_KINDS
from engine.ruleset.rules import ID, TESTS_MAX
from engine.ruleset.schema_parts import Schema, choice, closed, duration, moment, text, texts, whole
from engine.ruleset.types import Kind

_CLOCK = {"type": "string", "pattern": whole("([01][0-9]|2[0-3]):[0-5][0-9]")}
_PERCENT = whole(r"[0-9]{1,3}(?:\.[0-9]{1,3})?\s*%")
_EXPRESSION = {"$ref": "#/$defs/expression"}
_AMOUNT = {"anyOf": [_EXPRESSION, {"type": "number", "exclusiveMinimum": 0}]}
_CURRENCY = {"enum": sorted(EXPONENTS)}
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
        "then": {"anyOf": [_reward(), _offer(), _choice()]},
        "occasion": choice("What it is granted once for.", read.OCCASIONS),
        "hold": duration("How long a reward stays pending; `none` for not at all."),
        "expires": {"type": "string", "pattern": whole(r"[0-9]{1,3}\s*months?"),
                    "description": "Then it lasts so long."},
        "caps": {"type": "array", "maxItems": parts.CAPS_MAX, "items": _cap()},
        "budget": _budget(),
        "valid_from": moment("Event time from which it runs."),
        "valid_to": moment("Event time from which it does not any more."),
        "consent": text("Purpose that the customer must have agreed to."),
        "quiet_hours": {"type": "array", "items": _CLOCK, "minItems": 2, "maxItems": 2,
                        "description": "From and to, by the customer's clock: nothing is sent then."},
        "priority": {"type": "integer", "minimum": -1000, "maximum": 1000},
        "group": text("Of several campaigns of a group the one of the highest priority does something."),
        "holdout": {"type": "string", "pattern": _PERCENT, "description": "Share of customers to compare with."},
        "reversal": choice("What a refund takes back: R1 in proportion, R2 all of it, R3 nothing.", read.REVERSALS),
        "threshold": {"type": "number", "minimum": 0, "description": "With R2: major units that must remain."},
        "score_max": {"type": "number", "minimum": 0, "maximum": 1,
                      "description": "Payments of a higher blended score earn nothing."},
        "tests": {"type": "array", "maxItems": TESTS_MAX, "items": {"$ref": "#/$defs/campaign_test"}},
        "enabled": {"type": "boolean", "description": "false: checked, never run."},
    }  # fmt: skip
    return closed({key: keys[key] for key in read.KEYS}, "id", "on", "when", "then")


def test(rule_test: Schema) -> Schema:
    """An in-file test of a campaign, from that of a rule."""
    values = {name: {"type": [_JSON[kind], "null"]} for name, kind in CUSTOMER_KINDS.items()}
    own: Schema = {
        **rule_test["properties"],
        "customer": {**closed(values), "description": "What is known of the customer."},
        "expect": {"enum": list(read.EXPECTS)},
        "amount": {"type": "number", "minimum": 0, "description": "How much is granted."},
    }
    return closed({key: own[key] for key in read.CASE_KEYS}, "expect")


def _trigger() -> Schema:
    spans = {"anyOf": [duration("So long."), {"type": "array", "items": duration("So long.")}]}
    places: Schema = {"at": _CLOCK, "after": spans, "before": spans,
                      "gaps": {"type": "number", "minimum": 1, "maximum": 100}}  # fmt: skip
    timers = [
        closed({"timer": {"const": name}, **{key: places[key] for key in keys}}, "timer", *keys)
        for name, keys in TIMERS.items()
    ]
    transitions = [
        closed({"transition": {"const": dimension}, "to": {"enum": list(states)}}, "transition", "to")
        for dimension, states in DIMENSIONS.items()
    ]
    event = {"enum": list(parts.EVENTS)}
    return {
        "description": "What sets it off: an event, a transition, a timer.",
        "anyOf": [event, *transitions, *timers],
    }


def _reward() -> Schema:
    keys: Schema = {
        "reward": {"enum": list(REWARDS)},
        "amount": _AMOUNT,
        "most": {"type": "number", "minimum": 0},
        "currency": _CURRENCY,
        "value": text("Of a coupon: what it is worth."),
        "both": {"type": "boolean", "description": "Who referred the customer gets the same."},
    }
    return closed({key: keys[key] for key in parts.REWARD_KEYS}, "reward")


def _offer() -> Schema:
    return closed(_offer_keys(parts.OFFER_KEYS), "offer")


def _choice() -> Schema:
    one = closed(_offer_keys(parts.CHOSEN_KEYS), "id", "offer")
    keys: Schema = {
        "offers": {"type": "array", "minItems": 1, "maxItems": parts.OFFERS_MAX, "items": one},
        "choose": {"enum": list(CHOOSERS)},
        "send": _offer_keys(("send",))["send"],
    }
    return closed(keys, "offers")


def _offer_keys(names: tuple[str, ...]) -> Schema:
    keys: Schema = {
        "id": text("Names the offer within its campaign.", ID.pattern),
        "offer": text("What kind it is, such as coupon, survey or message; `service` needs no consent."),
        "value": text("What it is worth, for whoever sends it."),
        "channel": text("A hint: push, email, sms."),
        "expires": duration("How long it stands."),
        "send": {"anyOf": [{"enum": ["now", "personal_hour"]}, _CLOCK]},
    }
    return {name: keys[name] for name in names}


def _cap() -> Schema:
    keys: Schema = {
        "by": {"enum": list(ENTITY_FIELDS), "default": "customer"},
        "times": {"type": "integer", "minimum": 1},
        "amount": {"type": "number", "exclusiveMinimum": 0},
        "per": {"anyOf": [{"enum": list(PERIODS)}, duration("Elapsed time.")]},
    }
    found = closed({key: keys[key] for key in parts.CAP_KEYS})
    return {**found, "oneOf": [{"required": ["times"]}, {"required": ["amount"]}]}


def _budget() -> Schema:
    money = closed({"amount": {"type": ["string", "number"]}, "currency": _CURRENCY}, "amount", "currency")
    points = closed({"points": {"type": "integer", "minimum": 1}}, "points")
    return {"description": "Never over-spent.", "anyOf": [money, points]}
