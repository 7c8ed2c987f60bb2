"""Campaigns that choose: propensities that are the probabilities they claim, outcomes learned once and corrected by
refunds, nobody explored on who must not be; the same however the log is cut."""

import re
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from engine.core.campaign_state import bandits_of
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.outputs import Offer
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.customer import Customer
from engine.engagement.customer.habits import Paid
from engine.engagement.customer.history import History
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.payments import REFUSED
from engine.engagement.marketing.choosing import (
    CONTEXT,
    INPUTS,
    NONE,
    OUTCOME_MAX,
    Bandits,
    Choices,
    Chosen,
    context_of,
    vector,
)
from engine.engagement.marketing.effects import WINDOW_MS
from engine.engagement.marketing.offering import _risky
from engine.engagement.models.bandit import LinUcb
from engine.ruleset.ruleset import RuleSet
from tests.core.campaign_world import CAMPAIGNS, campaigns, history, run

CHOOSING = """
  - id: next
    on: payment.settled
    when: amount >= 5
    then:
      offers:
        - {id: small, offer: coupon, value: "1.00", currency: EUR, expires: 7d}
        - {id: large, offer: coupon, value: "5.00", currency: EUR, expires: 7d}
      choose: bandit
    consent: marketing
    caps: [{times: 200}]
    holdout: 10%
"""
KEY = "next:1"
SETTINGS = CoreSettings(customers_max=5)


def choosing() -> RuleSet:
    return campaigns(CAMPAIGNS + CHOOSING)


def bandits(partition: Partition) -> Bandits:
    return partition._engagement._campaigning._bandits


@pytest.mark.parametrize("seed", [1, 6])
def test_what_is_learned_follows_from_the_log_alone(seed: int) -> None:
    records, ruleset = history(seed, 900, customers=40), choosing()
    outputs, _, plain = run(ruleset, records, 100, settings=SETTINGS)
    told = bandits(plain).dump()
    assert len(bandits(plain).logged) > 10, "windows have closed"
    assert told[KEY][0] == ["small", "large", NONE]
    again, store, started = run(ruleset, records, 17, restart_every=3, settings=SETTINGS)
    assert store is not None
    assert [one.data for one in again] == [one.data for one in outputs]
    assert bandits(started).dump() == told
    assert {key: list(value) for key, value in bandits_of(store.head(), 2).dump().items()} == {
        key: list(value) for key, value in told.items()
    }
    offers = [msgspec.json.decode(one.data, type=Offer) for one in outputs if one.kind == "offer"]
    chosen = [one for one in offers if one.campaign_id == "next" and one.status == "issued"]
    assert chosen
    assert all(one.propensity is not None and 0 < one.propensity <= 1 for one in chosen)


def test_choices_in_memory_teach_what_a_plain_regression_would() -> None:
    _, _, partition = run(choosing(), history(2, 900, customers=40), 100, settings=SETTINGS)
    plain = LinUcb(3, INPUTS)
    for one in bandits(partition).logged:
        plain.learn(one.arm, vector(one.context), min(max(one.outcome / 100, -OUTCOME_MAX), OUTCOME_MAX))
    assert bandits(partition).dump()[KEY][1] == plain.dump()


def test_an_outcome_is_net_of_refunds_and_of_what_the_offer_cost() -> None:
    start = 1_767_225_600_000
    kept, choices = History(), Choices()
    choices.open(KEY, Chosen(start, 1, 0.5, bytes(INPUTS), 0))
    choices.open(KEY, Chosen(start + 1, 0, 0.5, bytes(INPUTS), 0))
    for number, day in enumerate((-1, 3, 20, 40)):
        kept.pay(Paid(start + day * DAY_MS, number + 1, 1_000, 0, "", "", "EUR"), "")
    kept.refund(2, 400, start + 5 * DAY_MS, "")
    choices.cost(KEY, 150)
    assert choices.next_due() == start + WINDOW_MS
    assert choices.close(start + WINDOW_MS - 1, kept) == []
    ((key, one, minor),) = choices.close(start + WINDOW_MS, kept)
    assert (key, one.arm, minor) == (KEY, 1, 1_000 + 600 - 150)
    assert not choices.of


def test_propensities_are_frequencies_and_no_exploration_means_none() -> None:
    made = Bandits()
    campaign = next(one for one in choosing().campaigns if one.id == "next")
    made.adopt(KEY, campaign)
    context = context_of(lambda name: 3.0)
    made.learn([(KEY, Chosen(0, 1, 0.5, context, 0), 90_000)] * 5)
    draws = (np.arange(3_000) + 0.5) / 3_000
    choices = [made.choose(KEY, context, draw, explore=True) for draw in draws]
    counted = Counter(choice.arm for choice in choices)
    for choice in choices:
        assert counted[choice.arm] / 3_000 == pytest.approx(choice.propensity, abs=1e-3)
    assert {made.choose(KEY, context, draw, explore=False)[:2] for draw in draws} == {(1, 1.0)}
    before = made.dump()
    made.adopt(KEY, campaign)
    assert made.dump() == before, "the same arms: what is known stays"


def test_a_context_is_from_0_to_1_whatever_is_asked() -> None:
    for value in (None, -1e300, 0.0, 0.5, 1.0, 1e9, 1e300, float("inf")):
        found = vector(context_of(lambda name, value=value: value))  # type: ignore[misc]
        assert found.shape == (1 + len(CONTEXT),)
        assert found.min() >= 0.0
        assert found.max() <= 1.0
        assert found[0] == 1.0


@pytest.mark.parametrize(
    ("risk", "age_ms", "disputed", "risky"),
    [(30, DAY_MS, False, True), (REFUSED, DAY_MS, False, True), (30, 31 * DAY_MS, False, False),
     (0, 0, True, True), (0, 0, False, False)],
)  # fmt: skip
def test_who_was_doubted_within_a_month_is_not_explored_on(risk: int, age_ms: int, disputed: bool, risky: bool) -> None:
    now, customer = 1_767_225_600_000, Customer()
    if risk:
        customer.ledger.learn(judged(5, risk, now - age_ms))
    customer.disputed_ms = now - DAY_MS if disputed else 0
    assert _risky(customer, now) is risky


def test_the_documents_have_the_context_as_it_is() -> None:
    text = (Path(__file__).parents[2] / "docs" / "engagement-learning.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.MULTILINE)
    assert rows == [(name, told) for name, (_, _, told) in CONTEXT.items()]
