"""The JSON Schema of a rule file, for completion and checks in editors: `python -m engine.ruleset.schema schemas/`.

Made from the tables the loader itself reads by; a test fails when the file and the tables drift apart. It says what the
shape of a file is. What an expression means, and whether the names in it exist, only `steward rules check` knows.
"""

import json
import sys
from pathlib import Path
from typing import Final

from engine.domain.fields import BOOL_FIELDS, ENTITY_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.schema import BASE_URI, DIALECT
from engine.features.definition import AGGREGATES, LABEL_AGGREGATES, OF_FIELDS
from engine.ruleset import declarations, observers, rules, schema_models, templates
from engine.ruleset.campaigns import schema as campaigns
from engine.ruleset.cases import CASE_KEYS, EXPECTS
from engine.ruleset.compiler import SECTIONS
from engine.ruleset.functions import BUILTINS, REGISTRY
from engine.ruleset.limits import CAMPAIGNS_MAX, RULES_MAX
from engine.ruleset.lists import VALUES_MAX
from engine.ruleset.model import ALERT_KINDS, ANY, CANARY, MODES, ON_DEGRADED, OUTCOMES, SEVERITIES
from engine.ruleset.parser import EXPRESSION_CHARS_MAX
from engine.ruleset.schema_parts import Schema, choice, closed, duration, moment, text, texts, whole
from engine.ruleset.types import EVENT_TIME, EVENT_TYPES, FIELD_KINDS, SCORE_NAMES, Kind

NAME: Final = "rules.schema.json"

_SINGLE: Final = ["number", "boolean", "null"]


def document() -> Schema:
    """The schema of one rule file."""
    sections = {
        "features": {"type": "array", "items": {"$ref": "#/$defs/feature"}},
        "lists": {
            "type": "object",
            "propertyNames": {"pattern": whole(declarations.NAME.pattern)},
            "additionalProperties": {"$ref": "#/$defs/list"},
        },
        "tables": _tables(),
        "rules": {"type": "array", "maxItems": RULES_MAX, "items": {"$ref": "#/$defs/rule"}},
        "models": closed({key: {"$ref": f"#/$defs/{key}"} for key in declarations.MODEL_KEYS}),
        "campaigns": {"type": "array", "maxItems": CAMPAIGNS_MAX, "items": {"$ref": "#/$defs/campaign"}},
    }
    return {
        "$schema": DIALECT,
        "$id": BASE_URI + NAME,
        "title": "A rule file of Steward",
        "description": "Features, lists, models, rules and campaigns; docs/rules.md is the whole language.",
        **closed({name: sections[name] for name in SECTIONS}),
        "$defs": {
            "expression": _expression(),
            "rule": _rule(),
            "test": _test(),
            "campaign": campaigns.campaign(),
            "campaign_test": campaigns.test(_test()),
            "feature": _feature(),
            "list": _list(),
            "anomaly": schema_models.anomaly(),
            "fraud": schema_models.fraud(),
        },
    }


def render() -> str:
    """The schema as the text of its file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _expression() -> Schema:
    calls = [signature for signature, _, _ in BUILTINS.values()] + [f.signature for f in REGISTRY.values()]
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": EXPRESSION_CHARS_MAX,
        "description": f"A condition or a number over event fields, features, scores ({', '.join(SCORE_NAMES)}) and "
        "lists.NAME. "
        f"Functions: {', '.join(calls)}. Aggregates: {', '.join(AGGREGATES)}, with by=, of=, window=, where=.",
        "examples": ["amount_base > 100 and not three_ds", *(function.example for function in REGISTRY.values())],
    }


def _described(description: str, *constant: str) -> Schema:
    expression = {"$ref": "#/$defs/expression"}
    return {**({"anyOf": [expression, {"type": [*constant]}]} if constant else expression), "description": description}


def _rule() -> Schema:
    share = r"(?!0+(?:\.0+)?\s*%)(?:0?[0-9]{1,2}(?:\.[0-9]{1,3})?|100(?:\.0{1,3})?)\s*%"
    plain = [mode for mode in MODES if mode != CANARY]
    modes = [
        {"enum": plain},
        {"type": "string", "pattern": whole(rf"{CANARY}\s*:\s*{share}"), "examples": [f"{CANARY}: 10%"]},
        closed({CANARY: {"type": "string", "pattern": whole(share)}}, CANARY),
    ]
    keys: Schema = {
        "id": text("Names the rule in decisions; unique in the directory.", rules.ID.pattern),
        "description": text("For people, and in the reasons of decisions where `detail` is left out."),
        "owner": text("Who answers for the rule."),
        "tags": texts("For people."),
        "when": _described("The rule hits where this condition holds.", "boolean"),
        "unless": _described("But not where this one holds.", "boolean"),
        "then": _then(),
        "hard": {"type": "boolean", "description": "Not set aside by a rule that allows."},
        "mode": {"description": "live; shadow; or live for a stable share of customers.", "anyOf": modes},
        "enabled": {"type": "boolean", "description": "false: checked, never evaluated."},
        "valid_from": moment("Event time from which the rule is evaluated."),
        "valid_to": moment("Event time from which it is no longer."),
        "on": _types("Of a rule that raises an alert: the events it looks at; those that carry a decision by default."),
        "unless_followed_by": _follow(),
        "on_degraded": choice("What the rule comes to where only the state could tell, and is away.", ON_DEGRADED),
        "tests": {"type": "array", "maxItems": rules.TESTS_MAX, "items": {"$ref": "#/$defs/test"}},
    }
    observing = {"properties": {"then": {"required": ["alert"]}}}
    deciding = {"properties": {"then": {"properties": {"alert": False}}}}
    return {
        **closed({key: keys[key] for key in rules.RULE_KEYS}, "id", "when", "then"),
        "dependentSchemas": {**dict.fromkeys(observers.ONLY_OBSERVERS, observing), "on_degraded": deciding},
    }


def _types(description: str) -> Schema:
    return texts(description, enum=[ANY, *EVENT_TYPES])


def _follow() -> Schema:
    texts = [name for name, kind in FIELD_KINDS.items() if kind is Kind.STRING]
    keys: Schema = {
        "types": _types("The events that call the alert off; those of `on` by default."),
        "same": {"enum": texts, "description": "The field in which both events are the same."},
        "within": duration("Event time within which one of them has to come."),
        "usual": {
            "type": "number",
            "minimum": observers.USUAL_MIN,
            "maximum": observers.USUAL_MAX,
            "description": "It has longer than `within` where the value is usually silent for longer: so many times "
            "its usual longest silence, learned from its events.",
        },
    }
    found = closed({key: keys[key] for key in observers.FOLLOW_KEYS}, "same", "within")
    return {**found, "description": "The alert is raised where no such event follows a hit in time."}


def _then() -> Schema:
    bound = rules.SCORE_MAX
    reason = text("Reason code; the id in upper case where it is left out.", templates.REASON.pattern)
    keys: Schema = {
        "decision": {"enum": list(OUTCOMES), "description": "The strongest hit wins."},
        "score": {"type": "number", "minimum": -bound, "maximum": bound, "description": "Points a hit adds."},
        "reason": reason,
        "allow": {"type": "boolean", "description": "Sets aside every hit of a rule that is not hard."},
        "detail": text("Text for the decision; {name} is replaced by the value."),
    }
    alert: Schema = {
        "alert": {
            "enum": list(ALERT_KINDS),
            "description": "The rule decides nothing, it raises an alert of this kind.",
        },
        "severity": {"enum": list(SEVERITIES), "default": "medium"},
        "reason": reason,
        "title": text("Of the alert; {name} is replaced by the value, {table[name]} by what a table has for it."),
        "action": text("What to do, in the same way."),
        "by": texts("Entities: each combination of their values has its own alerts.", enum=list(ENTITY_FIELDS)),
        "every": duration("Event time after an alert without another of the same `by`; 15m by default."),
    }
    allows = {"properties": {"allow": {"const": True}}, "required": ["allow"]}
    doing = [{"required": ["decision"]}, {"required": ["score"]}, allows]
    # One list of keys, so that an editor completes all of them; which go together depends on `alert`.
    return {
        **closed({**{key: keys[key] for key in rules.THEN_KEYS}, **{key: alert[key] for key in observers.ALERT_KEYS}}),
        "if": {"required": ["alert"]},
        "then": {"properties": dict.fromkeys((k for k in rules.THEN_KEYS if k not in alert), False)},
        "else": {
            "properties": dict.fromkeys((k for k in observers.ALERT_KEYS if k not in keys), False),
            "anyOf": doing,
        },
    }


def _test() -> Schema:
    given: Schema = {
        **{name: {"type": ["string", "number", "null"]} for name in STRING_FIELDS},
        "type": {"enum": [*EVENT_TYPES, None]},
        **{name: {"type": ["number", "null"]} for name in (*NUMBER_FIELDS, *SCORE_NAMES)},
        **{name: {"type": ["boolean", "null"]} for name in BOOL_FIELDS},
        "metadata": {"type": "object", "additionalProperties": {"type": ["string", *_SINGLE]}},
        EVENT_TIME: {"type": ["string", "integer"], "examples": ["2026-01-31T23:00:00Z"]},
    }
    aggregate = {"pattern": rf"^\s*(?:{'|'.join(AGGREGATES)})\s*\("}
    single = {"type": _SINGLE}
    keys: Schema = {
        "given": {
            "type": "object",
            "description": "Event fields, features and scores; what is left out is missing.",
            "properties": given,
            "propertyNames": {"anyOf": [{"enum": [*given]}, {"pattern": whole(declarations.NAME.pattern)}]},
            "additionalProperties": single,
        },
        "with": {
            "type": "object",
            "description": "Values of aggregates written inside expressions, by their text.",
            "propertyNames": aggregate,
            "additionalProperties": single,
        },
        "lists": {
            "type": "object",
            "description": "What is on a list in this test, in place of what is declared.",
            "additionalProperties": {"type": "array", "items": {"type": ["string", "number"]}},
        },
        "rates": {
            "type": "object",
            "description": "Exchange rates in force: the base currency, and how much of each other one of it buys.",
            "required": ["base"],
            "additionalProperties": {"type": ["string", "number"]},
        },
        "expect": {"enum": list(EXPECTS)},
        "description": {"description": "For people."},
    }
    return closed({key: keys[key] for key in CASE_KEYS}, "expect")


def _feature() -> Schema:
    fields = [*STRING_FIELDS, *NUMBER_FIELDS]
    keys: Schema = {
        "name": text("What expressions call it.", declarations.NAME.pattern),
        "agg": {"enum": list(AGGREGATES)},
        "of": {"enum": fields, "description": "The field that is aggregated."},
        "by": texts("Whose events count: one entity, or a combination.", enum=list(ENTITY_FIELDS)),
        "window": {**duration("How much event time counts."), "examples": ["90s", "10m", "24h", "30d"]},
        "where": _described("Which events count, by event fields; those that carry a decision where it is left out."),
        "expr": _described("A derived feature: over event fields and other features."),
        "description": {"description": "For people."},
        "owner": {"description": "For people."},
        "tags": {"description": "For people."},
    }
    aggregated = ("agg", "of", "by", "window", "where")
    derived = {"properties": dict.fromkeys(aggregated, False)}
    return {
        **closed({key: keys[key] for key in declarations.FEATURE_KEYS}, "name"),
        "if": {"required": ["expr"]},
        "then": derived,
        "else": {"required": ["agg", "by"], "allOf": _of_aggregates()},
    }


def _of_aggregates() -> list[Schema]:
    """What each aggregate needs beside its entities."""
    found: list[Schema] = []
    for of in dict.fromkeys(row.of for row in AGGREGATES.values()):
        names = [name for name, row in AGGREGATES.items() if row.of == of]
        then: Schema = {"properties": {"of": False}}
        if of:
            then = {"required": ["of"], "properties": {"of": {"enum": list(OF_FIELDS[of])}}}
        found.append({"if": {"properties": {"agg": {"enum": names}}}, "then": then})
    unfiltered: Schema = {"properties": {"where": False}}
    found.append({"if": {"properties": {"agg": {"enum": list(LABEL_AGGREGATES)}}}, "then": unfiltered})
    windowed = [name for name, row in AGGREGATES.items() if row.window]
    found.append({"if": {"properties": {"agg": {"enum": windowed}}}, "then": {"required": ["window"]}})
    return found


def _list() -> Schema:
    kinds = [{"type": "array", "maxItems": VALUES_MAX, "items": {"type": kind}} for kind in ("string", "number")]
    keys: Schema = {
        "values": {"description": "Text, networks among it, or numbers; not both.", "anyOf": kinds},
        "file": text("A file of the rules directory, relative to it: a value a line, # for comments.", r".+\.txt"),
        "description": {"description": "For people."},
        "owner": {"description": "For people."},
    }
    either = [{"required": ["values"]}, {"required": ["file"]}]
    return {**closed({key: keys[key] for key in declarations.LIST_KEYS}), "oneOf": either}


def _tables() -> Schema:
    entry = {"type": ["string", "number", "boolean"], "maxLength": declarations.ENTRY_CHARS_MAX}
    return {
        "type": "object",
        "description": "What lookup('table', key) and templates with {table[field]} read.",
        "propertyNames": {"pattern": whole(declarations.NAME.pattern)},
        "maxProperties": declarations.TABLES_MAX,
        "additionalProperties": {
            "type": "object",
            "maxProperties": declarations.ENTRIES_MAX,
            "additionalProperties": entry,
        },
    }


def main(arguments: list[str]) -> int:
    """Write the schema into a directory (schemas/ unless told)."""
    directory = Path(arguments[0] if arguments else "schemas")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / NAME).write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
