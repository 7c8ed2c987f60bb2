"""What rules and features mean, as canonical text: equal texts compute the same, whatever the names and the files."""

from dataclasses import fields
from typing import Any, Final

from engine.ruleset import ir
from engine.ruleset.model import OUTCOMES, Rule
from engine.ruleset.ruleset import RuleSet

ASIDE: Final = frozenset(["id", "description", "owner", "uses", "features", "scores", "tests", "tags", "file", "line"])
"""Parts of a rule that decide nothing, or that follow from the others."""


def of_feature(ruleset: RuleSet, name: str) -> str:
    """What a feature computes, through the features that it is derived from."""
    row = ruleset.rows[name]
    if row < len(ruleset.features):
        return ruleset.features[row].identity
    entry = ruleset.derived[row - len(ruleset.features)]
    parts = [entry.expr.text, *(f"{key}={value}" for key, value in reads(ruleset, entry.expr).items())]
    return " | ".join(parts)


def reads(ruleset: RuleSet, *nodes: ir.Node | None) -> dict[str, str]:
    """The features and lists that expressions read, by name, each with its meaning."""
    found: dict[str, str] = {}
    for node in nodes:
        for part in ir.walk(node) if node is not None else ():
            if isinstance(part, ir.Feature):
                found[part.name] = of_feature(ruleset, part.name)
            elif isinstance(part, ir.InList):
                values = ruleset.lists[part.name]
                found[f"lists.{part.name}"] = ", ".join(map(str, values.numbers or sorted(values.texts)))
    return dict(sorted(found.items()))


def of_model(ruleset: RuleSet) -> tuple[object, ...] | None:
    """What the anomaly detector of a rule set learns from and how; None without one."""
    model = ruleset.models.anomaly
    if model is None:
        return None
    inputs = tuple(of_feature(ruleset, name) for name in model.inputs)
    return model.detector, model.trees, model.height, model.window, model.seed, model.memory, inputs


def of_plain(ruleset: RuleSet) -> tuple[object, ...] | None:
    """What the label-free detector beside the fraud model learns from; None without one."""
    model = ruleset.models.fraud
    return tuple(of_feature(ruleset, name) for name in model.plain) if model is not None and model.plain else None


def of_fraud(ruleset: RuleSet) -> tuple[object, ...] | None:
    """What the fraud model of a rule set learns from and how; None without one. Names count: reasons give them."""
    model = ruleset.models.fraud
    if model is None:
        return None
    return model.learner, model.seed, tuple((name, of_feature(ruleset, name)) for name in model.inputs)


def of_rule(ruleset: RuleSet, rule: Rule) -> dict[str, Any]:
    """What a rule does, part by part: what two versions of it are compared by."""
    parts: dict[str, Any] = {}
    for name in (entry.name for entry in fields(rule) if entry.name not in ASIDE):
        value = getattr(rule, name)
        known = value is None or isinstance(value, str | int | float)
        parts[name] = value.text if isinstance(value, ir.Node) else value if known else str(value)
    parts["decision"] = None if rule.decision is None else OUTCOMES[rule.decision]
    parts["detail"] = rule.detail or rule.description
    parts.update(reads(ruleset, rule.when, rule.unless))
    for name in rule.scores:
        parts[f"score.{name}"] = str((of_model if name.startswith("anomaly") else of_fraud)(ruleset))
    return parts


def changes(baseline: RuleSet, candidate: RuleSet) -> dict[str, Any]:
    """New, removed and changed rules; of a changed one, each part that differs, before and after."""
    before = {rule.id: of_rule(baseline, rule) for rule in baseline.rules}
    after = {rule.id: of_rule(candidate, rule) for rule in candidate.rules}
    changed = []
    for rule in (rule for rule in after if rule in before):
        old, new = before[rule], after[rule]
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        if names:
            differ = [{"what": name, "baseline": old.get(name), "candidate": new.get(name)} for name in names]
            changed.append({"rule": rule, "differences": differ})
    return {
        "new": [rule for rule in after if rule not in before],
        "removed": [rule for rule in before if rule not in after],
        "changed": changed,
        "model_changed": of_model(baseline) != of_model(candidate),
    }
