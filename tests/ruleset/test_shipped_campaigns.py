"""The starter campaigns: all there, tested in their files, bounded; base earn pays what is built in."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.decode import Decoder
from engine.domain.rates import Rates
from engine.engagement.base_earn import CASH_LIKE, PEER_TO_PEER, Account, BaseEarnSettings, settle
from engine.features.columns import Columns
from engine.ruleset import RuleSet, ir, report, testing
from engine.ruleset.campaigns.conditions import units
from engine.ruleset.campaigns.model import CASHBACK, COUPON, POINTS, Campaign
from engine.ruleset.ruleset import Frame

RULES = Path(__file__).resolve().parents[2] / "rules"
STARTERS = (
    "welcome", "second_payment", "base_earn", "spend_100_save_8", "streak", "personal_hour", "lapsing", "win_back",
    "spend_decline", "tier_nudge", "tier_granted", "points_expiring", "birthday", "referral", "method_adoption",
    "new_category", "cross_border", "failure_recovery", "refund_goodwill", "post_refund_nps", "apology_bonus",
)  # fmt: skip
PROMISED = ("base_earn", "tier_granted", "tier_gift", "referral")
"""What everybody was promised: nobody is held out."""


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return report.load(RULES)


@pytest.fixture(scope="module")
def engagement() -> RuleSet:
    """The directory of campaigns by itself."""
    return report.load(RULES / "engagement")


def by_id(ruleset: RuleSet, name: str) -> Campaign:
    return next(campaign for campaign in ruleset.campaigns if campaign.id == name)


def test_all_starters_are_there_and_their_tests_hold(shipped: RuleSet, engagement: RuleSet) -> None:
    for ruleset in (shipped, engagement):
        assert {campaign.id for campaign in ruleset.campaigns} == {*STARTERS, "tier_gift", "apology_waiver"}
        failed = [(one.campaign.id, one.case.line) for one in testing.run_campaigns(ruleset) if not one.ok]
        assert failed == []
    assert report.check(RULES / "engagement").text.count("warning") == 0


def test_every_campaign_is_described_owned_and_tested_for_both_outcomes(shipped: RuleSet) -> None:
    for campaign in shipped.campaigns:
        assert campaign.description, campaign.id
        assert campaign.owner, campaign.id
        assert {case.granted for case in campaign.tests} == {True, False}, campaign.id


def test_what_costs_money_is_bounded(shipped: RuleSet) -> None:
    """By a cap in every case, by a budget but for what the programme promises to all."""
    for campaign in shipped.campaigns:
        reward = campaign.reward
        costs = (
            reward.kind in (POINTS, CASHBACK, COUPON) if reward is not None else any(o.worth for o in campaign.offers)
        )
        assert campaign.caps or campaign.id == "tier_granted", campaign.id
        if costs and campaign.id != "base_earn":
            assert campaign.budget is not None, campaign.id


def test_marketing_has_a_holdout_and_asks_for_consent_and_sleeps_at_night(shipped: RuleSet) -> None:
    for campaign in shipped.campaigns:
        if campaign.id in PROMISED:
            assert campaign.holdout == 0.0, campaign.id
        elif campaign.owner in ("marketing", "retention"):
            assert 0.05 <= campaign.holdout <= 0.1, campaign.id
        markets = any(offer.kind != "service" for offer in campaign.offers)
        assert bool(campaign.consent) == markets, campaign.id
        if markets:
            assert campaign.quiet == (21 * 60, 8 * 60) or campaign.id == "personal_hour", campaign.id


def test_they_show_every_kind(shipped: RuleSet) -> None:
    campaigns = shipped.campaigns
    assert {c.reward.kind for c in campaigns if c.reward} == {"points", "cashback", "coupon", "tier"}
    assert {c.reversal for c in campaigns} == {"R1", "R2", "R3"}
    assert {c.occasion for c in campaigns} == {"event", "period", "customer"}
    assert {c.choose for c in campaigns if c.offers} == {"first", "bandit"}
    assert any(c.trigger.dimension for c in campaigns)
    assert len({c.trigger.timer for c in campaigns if c.trigger.timer}) >= 7


def test_they_add_two_aggregates_to_those_of_the_rules(shipped: RuleSet) -> None:
    """Each is kept for every customer; what the rules count already is shared."""
    uses = {name for campaign in shipped.campaigns for name in campaign.uses}
    rules = {name for rule in (*shipped.rules, *shipped.observers) for name in rule.uses}
    derived = {node.name for entry in shipped.derived for node in ir.walk(entry.expr) if isinstance(node, ir.Feature)}
    assert len(uses - rules - derived - set(shipped.declared)) == 2


def test_base_earn_leaves_out_the_same_categories_and_methods(engagement: RuleSet) -> None:
    assert set(engagement.lists["cash_like"].texts) == CASH_LIKE
    assert set(engagement.lists["peer_to_peer"].texts) == PEER_TO_PEER


EVENT = {"type": "payment.settled", "event_id": "e", "customer_id": "c", "payment_id": "p",
         "event_time": "2026-03-01T12:00:00Z"}  # fmt: skip


def decoded(event: dict[str, Any]) -> Columns:
    rates = Rates("EUR", {"USD": "1.0837", "JPY": "161.33", "BHD": "0.4085"})
    return Decoder(rates).decode([json.dumps(event).encode()]).columns


def granted(ruleset: RuleSet, event: dict[str, Any], customer: dict[str, Any]) -> int:
    """Points of base earn for an event as it is decoded."""
    columns = decoded(event)
    place = next(place for place, campaign in enumerate(ruleset.campaigns) if campaign.id == "base_earn")
    row = Frame(columns, np.full((len(ruleset.rows), columns.n), np.nan)).batch().row(0)
    row.customer = customer.get
    campaign = ruleset.campaigns[place]
    assert campaign.reward is not None
    if not ruleset.conditions.holds(place, row):
        return 0
    cap = min(cap.amount for cap in campaign.caps if cap.amount)
    return units(campaign.reward, min(ruleset.conditions.amount(place, row), cap), 2)


def built_in(event: dict[str, Any]) -> int:
    """The points of `engine.engagement.base_earn` for it."""
    columns = decoded(event)
    exponent, amount = columns.base_exponent.item(0), columns.base_minor.item(0)
    if exponent < 0:
        exponent, amount = columns.exponent.item(0), columns.minor.item(0)
    earns = event.get("merchant_category") not in CASH_LIKE and event.get("method") not in PEER_TO_PEER
    limit = BaseEarnSettings().daily_points_max
    _, points = settle(Account(), 1, minor=columns.minor.item(0), units=amount // 10**exponent, day=1, earns=earns,
                       limit=limit)  # fmt: skip
    return points


@settings(deadline=None, max_examples=300)
@given(
    st.integers(1, 900_000),
    st.sampled_from([("EUR", 2), ("USD", 2), ("JPY", 0), ("BHD", 3), ("XAF", 0), ("GBP", 2)]),
    st.sampled_from([None, "5411", "6011", "7995", "4829"]),
    st.sampled_from([None, "card", "p2p"]),
)
def test_base_earn_gives_the_points_that_are_built_in(
    engagement: RuleSet, minor: int, currency: tuple[str, int], category: str | None, method: str | None
) -> None:
    name, exponent = currency
    digits = str(minor).rjust(exponent + 1, "0")
    amount = f"{digits[: len(digits) - exponent]}.{digits[len(digits) - exponent :]}" if exponent else digits
    event = {**EVENT, "amount": amount, "currency": name}
    if category is not None:
        event["merchant_category"] = category
    if method is not None:
        event["method"] = method
    assert granted(engagement, event, {"tier_level": 0.0}) == built_in(event)
    assert granted(engagement, event, {}) == built_in(event)


@pytest.mark.parametrize(("level", "points"), [(0, 99), (1, 123), (2, 148), (3, 173)])
def test_base_earn_gives_a_quarter_more_for_each_tier(engagement: RuleSet, level: int, points: int) -> None:
    event = {**EVENT, "amount": "99.99", "currency": "EUR"}
    assert granted(engagement, event, {"tier_level": float(level)}) == points


def test_what_the_notes_of_the_starters_ask_for(shipped: RuleSet) -> None:
    """The threshold of spend 100, save 8 is the one a partial refund is tested against again."""
    campaign = by_id(shipped, "spend_100_save_8")
    assert (campaign.threshold, campaign.reversal) == (100.0, "R2")
    assert campaign.reward is not None
    assert campaign.reward.worth == 8.0
    assert campaign.budget is not None
    assert campaign.budget.minor == 5_000_000
    birthday = by_id(shipped, "birthday")
    assert (birthday.occasion, birthday.trigger.minute) == ("period", 540)
    referral = by_id(shipped, "referral")
    assert referral.reward is not None
    assert referral.reward.both
    assert [(cap.by, cap.times, cap.period) for cap in referral.caps][1] == ("referrer", 10, "month")
