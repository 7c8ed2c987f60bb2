"""The part of the schema of rule files that is about `models`."""

from engine.ruleset import declarations
from engine.ruleset.schema_parts import Schema, closed, texts, whole


def _inputs() -> Schema:
    names = texts("Names of features.", pattern=whole(declarations.NAME.pattern))
    names["anyOf"][1] |= {"maxItems": declarations.INPUTS_MAX, "uniqueItems": True}
    return names


def anomaly() -> Schema:
    """The schema of `models.anomaly`."""
    keys: Schema = {"detector": {"enum": list(declarations.DETECTORS)}, "inputs": _inputs()}
    for name, (default, low, high) in declarations.ANOMALY_BOUNDS.items():
        keys[name] = {"type": "integer", "minimum": low, "maximum": high, "default": default}
    first = next(iter(declarations.DETECTORS))
    others = []
    for name, own in declarations.DETECTORS.items():
        named: Schema = {"properties": {"detector": {"const": name}}}
        if name != first:  # the one that is meant where none is named
            named["required"] = ["detector"]
        not_own = [key for key in declarations.ANOMALY_BOUNDS if key not in own]
        others.append({"if": named, "then": {"properties": dict.fromkeys(not_own, False)}})
    return {**closed({key: keys[key] for key in declarations.ANOMALY_KEYS}, "inputs"), "allOf": others}


def fraud() -> Schema:
    """The schema of `models.fraud`."""
    default, low, high = declarations.SEED_BOUNDS
    keys: Schema = {
        "learner": {"enum": list(declarations.LEARNERS), "default": declarations.LEARNERS[0]},
        "seed": {"type": "integer", "minimum": low, "maximum": high, "default": default},
        "plain": {**_inputs(), "description": "Inputs of the label-free detector beside it; greater is less ordinary."},
        "inputs": _inputs(),
    }
    return closed({key: keys[key] for key in declarations.FRAUD_KEYS}, "inputs")
