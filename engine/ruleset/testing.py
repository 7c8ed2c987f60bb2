"""Running in-file tests: the event of each through the scalar evaluator, as the engine would see it."""

import math
from dataclasses import dataclass

from engine.domain.currencies import EXPONENTS
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.hashing import hash64
from engine.ruleset import build
from engine.ruleset.campaigns.conditions import units
from engine.ruleset.campaigns.model import CASHBACK, Campaign, CampaignCase
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


@dataclass(frozen=True, slots=True)
class Granted:
    """The result of one in-file test of a campaign: how much was granted, 0 for nothing (1 of an offer); and the codes
    of what makes that suspicious, for which it is held."""

    campaign: Campaign
    case: CampaignCase
    amount: float
    steps: Step
    frozen: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the campaign did what the test expects."""
        wanted = self.case.amount
        same = (self.amount > 0) == self.case.granted and bool(self.frozen) == self.case.frozen
        return same and (wanted is None or math.isclose(self.amount, wanted))


def run_campaigns(ruleset: RuleSet) -> list[Granted]:
    """Run every in-file test of campaigns, in order: as if no cap, budget or holdout stood in the way.

    Of a cap by amount that much is granted at once.
    """
    scalar = Scalar(ruleset.rows, ruleset.lists)
    outcomes = []
    for place, campaign in enumerate(ruleset.campaigns):
        for case in campaign.tests:
            row = row_of(ruleset, case.event)
            row.customer = case.customer.get
            holds = campaign.runs_at(case.event.time_ms) and ruleset.conditions.holds(place, row)
            amount = _amount(ruleset, place, row) if holds else 0.0
            codes = tuple(one.code for one in ruleset.conditions.suspected(place, row)) if amount else ()
            outcomes.append(Granted(campaign, case, amount, explain(campaign.when, row, scalar), codes))
    return outcomes


def _amount(ruleset: RuleSet, place: int, row: Row) -> float:
    """What is granted, in points, coupons or major units; 1 for an offer."""
    campaign = ruleset.campaigns[place]
    if campaign.reward is None:
        return 1.0
    most = min((cap.amount for cap in campaign.caps if cap.amount), default=math.inf)
    exponent = EXPONENTS[campaign.reward.currency] if campaign.reward.kind == CASHBACK else 0
    whole = units(campaign.reward, min(ruleset.conditions.amount(place, row), most), exponent)
    return whole / 10.0**exponent
