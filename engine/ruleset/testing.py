"""Running in-file tests: the event of each through the scalar evaluator, as the engine would see it."""

import math
from dataclasses import dataclass

from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.hashing import hash64
from engine.ruleset import build
from engine.ruleset.explain import Step, explain
from engine.ruleset.hits import hit_of
from engine.ruleset.model import Case, Rule
from engine.ruleset.row import Row
from engine.ruleset.ruleset import RuleSet
from engine.ruleset.scalar import Scalar
from engine.ruleset.types import SCORES


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one in-file test; `steps` explains a failed one."""

    rule: Rule
    case: Case
    hit: bool
    steps: Step

    @property
    def ok(self) -> bool:
        """Whether the rule did what the test expects."""
        return self.hit == self.case.hit


def row_of(ruleset: RuleSet, case: Case) -> Row:
    """The event of a test, its derived features worked out unless they are given."""
    features = [math.nan] * len(ruleset.rows)
    row = Row(
        [hash64(case.texts[name]) if name in case.texts else 0 for name in STRING_FIELDS],
        [case.numbers.get(name, math.nan) for name in NUMBER_FIELDS],
        [int(case.flags[name]) if name in case.flags else -1 for name in BOOL_FIELDS],
        features,
        float(case.time_ms),
        case.texts.get,
        [case.scores.get(name, math.nan) for name in SCORES],
        case.lists,
        case.rates,
    )
    for name, given in case.features.items():
        features[ruleset.rows[name]] = math.nan if given is None else given
    scalar = Scalar(ruleset.rows, ruleset.lists)
    for entry in ruleset.derived:
        if entry.name not in case.features:
            features[ruleset.rows[entry.name]] = scalar.number(build.as_number(entry.expr))(row)
    return row


def run(ruleset: RuleSet) -> list[Outcome]:
    """Run every in-file test, in order."""
    scalar = Scalar(ruleset.rows, ruleset.lists)
    outcomes = []
    for rule in (*ruleset.rules, *ruleset.observers):
        node = hit_of(rule)
        holds = scalar.condition(node)
        for case in rule.tests:
            row = row_of(ruleset, case)
            outcomes.append(Outcome(rule, case, holds(row), explain(node, row, scalar)))
    return outcomes
