"""What decisions on payments mean for campaigns: `score_max` of approved ones, from the decision to the reward."""

import json
from itertools import permutations
from typing import Any

import pytest

from engine.core.customers import is_customer
from engine.domain.ops import KEY_CUSTOMER
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.payments import APPROVED, REFUSED
from tests.core.campaign_world import START, campaigns, rewards, run
from tests.core.rig import DAY, HOUR

RULES = """
rules:
  - {id: odd, when: amount >= 50, then: {score: 50}}
  - {id: odder, when: amount >= 51, then: {score: 0.5}}
  - {id: strange, when: amount >= 90, then: {decision: review, score: 24.5}}
campaigns:
"""
EACH = """
  - id: {}
    on: payment.settled
    when: amount > 0
    then: {{reward: points, amount: 1}}
    caps: [{{times: 1000}}]
    score_max: {}
"""
MOST = {"any": 1, "half": 0.5, "most": 0.7}
SOME = RULES + "".join(EACH.format(*one) for one in MOST.items())


def log(*amounts: int) -> list[bytes]:
    """A request and a settlement of each amount, in a day of its own."""
    records: list[dict[str, Any]] = []
    for number, amount in enumerate(amounts):
        body = {"customer_id": "c1", "payment_id": f"p{amount}", "amount": amount, "currency": "EUR"}
        for kind, time_ms in (("requested", START + number * DAY), ("settled", START + number * DAY + HOUR)):
            records.append({**body, "event_id": f"{kind}{number}", "type": f"payment.{kind}", "event_time": time_ms})
    return [json.dumps(record).encode() for record in records]


def test_an_approved_payment_with_a_higher_score_than_asked_for_earns_nothing_and_is_not_held_longer() -> None:
    """0.5 is not higher than 0.5, 0.505 is; neither was doubted, 0.75 in review was."""
    for size, restart_every in ((50, 0), (1, 1), (3, 1)):
        outputs, _, _ = run(campaigns(SOME), log(10, 50, 51, 90), size, restart_every=restart_every)
        decisions = [json.loads(one.data) for one in outputs if one.kind == "decision"]
        assert [(one["decision"], one["score"]) for one in decisions] == [
            ("approve", 0.0), ("approve", 0.5), ("approve", 0.505), ("review", 0.75)]  # fmt: skip
        granted = [(e.occasion, e.campaign_id, e.available_at[:10]) for e in rewards(outputs) if e.available_at]
        assert granted == [
            ("p10", "any", "2026-01-19"), ("p10", "half", "2026-01-19"), ("p10", "most", "2026-01-19"),
            ("p50", "any", "2026-01-20"), ("p50", "half", "2026-01-20"), ("p50", "most", "2026-01-20"),
            ("p51", "any", "2026-01-21"), ("p51", "most", "2026-01-21"),
            ("p90", "any", "2026-02-05"),
        ]  # fmt: skip


def test_nothing_is_noted_of_approved_payments_where_no_campaign_in_force_asks_for_their_score() -> None:
    ruleset = campaigns(SOME.replace("score_max: 0.", "mode: draft\n    score_max: 0."))
    assert ruleset.score_max == 1.0
    for drafts in (True, False):
        _, store, _ = run(ruleset if drafts else campaigns(SOME), log(51)[:1], 1, restart_every=1)
        noted = [key for key in store or () if key[:1] == KEY_CUSTOMER and is_customer(key)]
        assert len(noted) == (not drafts)
    assert ruleset.launch().score_max == 0.5


ATTEMPTS = {
    "declined, then settled": (["bad", "settled"], 0),
    "declined, then approved under the same id": (["bad", "good", "settled"], 0),
    "settled, then declined": (["good", "settled", "bad"], 3),
    "settled before its request, which is declined": (["settled", "bad"], 3),
    "declined by the issuer, then settled": (["good", "payment.declined", "settled"], 3),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_only_a_payment_that_was_declined_before_it_settled_counts_for_nothing(name: str) -> None:
    steps, earned = ATTEMPTS[name]
    ruleset = campaigns(
        SOME.replace("campaigns:", "  - {id: no, when: amount == 7, then: {decision: decline}}\ncampaigns:")
    )
    body = {"customer_id": "c1", "payment_id": "p1", "currency": "EUR"}
    kinds = {"bad": "payment.requested", "good": "payment.requested", "settled": "payment.settled"}
    records = [
        {**body, "event_id": f"e{number}", "type": kinds.get(step, step), "amount": 7 if step == "bad" else 20,
         "event_time": START + number * HOUR}
        for number, step in enumerate(steps)
    ]  # fmt: skip
    records.append({**body, "event_id": "next", "type": "account.login", "event_time": START + DAY})
    later = {**body, "payment_id": "p2", "amount": 20, "event_time": START + 2 * DAY}
    records += [
        {**later, "event_id": "r2", "type": "payment.requested"},
        {**later, "event_id": "s2", "type": "payment.settled"},
    ]
    for size, restart_every in ((50, 0), (1, 1), (2, 1)):
        outputs, _, _ = run(
            ruleset, [json.dumps(record).encode() for record in records], size, restart_every=restart_every
        )
        found = [(entry.occasion, entry.delta) for entry in rewards(outputs)]
        assert found == [("p1", "1")] * earned + [("p2", "1")] * 3


@pytest.mark.parametrize("told", list(permutations((30, 70 + APPROVED, 20 + APPROVED))))
def test_of_several_decisions_on_a_payment_the_worst_counts_in_any_order(told: tuple[int, ...]) -> None:
    ledger = Ledger()
    for risk in told:
        ledger.learn(judged(5, risk, START))
    assert (ledger.payments[5].score, ledger.payments[5].doubted) == (70, True)
    ledger.block(5, START)
    assert ledger.payments[5].blocked and REFUSED > 2 * APPROVED
