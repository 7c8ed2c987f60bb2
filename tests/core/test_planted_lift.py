"""A planted effect is found end to end: customers pay, after four weeks a campaign reaches them, and those who were
treated spend 5 % more from then on."""

import json
import random
from collections.abc import Iterator
from typing import Any

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.engagement.marketing.granting import Granting
from engine.ruleset.ruleset import RuleSet
from tests.core.campaign_world import START, campaigns, run
from tests.core.rig import DAY

RULES = """
campaigns:
  - id: push
    on: account.updated
    when: customer.payments >= 1
    then: {reward: points, amount: 50}
    occasion: customer
    caps: [{times: 1}]
    holdout: 50%
"""
LIFT = 0.05
CUSTOMERS = 900
STEP = 4


def events(ruleset: RuleSet) -> Iterator[dict[str, Any]]:
    draw, granting = random.Random(11), Granting(list(ruleset.campaigns), ruleset.conditions)
    usual = [draw.gammavariate(3.0, 1_500.0) for _ in range(CUSTOMERS)]
    lifts = [1.0 if granting.held(ruleset.campaigns[0], f"c{n}") else 1.0 + LIFT for n in range(CUSTOMERS)]
    for day in range(1, 58, STEP):
        at = START + day * DAY
        if day == 29:
            for number in range(CUSTOMERS):
                yield {"type": "account.updated", "customer_id": f"c{number}", "event_time": at - DAY + number}
        for number in range(CUSTOMERS):
            lift = lifts[number] if day >= 29 else 1.0
            minor = usual[number] * lift * draw.uniform(0.9, 1.1)
            yield {"type": "payment.settled", "customer_id": f"c{number}", "payment_id": f"p{day}-{number}",
                   "amount": f"{minor / 100:.2f}", "currency": "EUR", "event_time": at + number}  # fmt: skip
    for number in range(CUSTOMERS):
        yield {"type": "account.updated", "customer_id": f"c{number}", "event_time": START + 60 * DAY + number}


def measured(ruleset: RuleSet, records: list[bytes], customers: int) -> tuple[float, float]:
    names = {f"c{number}" for number in range(customers)}
    some = [record for record in records if json.loads(record)["customer_id"] in names]
    partition: Partition = run(ruleset, some, 2_000, settings=CoreSettings())[2]
    lift = partition._engagement._campaigning._effects.of["push:1"].lift()
    assert lift is not None
    assert lift.treated + lift.held == customers
    return lift.relative.low, lift.relative.high


def test_the_interval_covers_what_was_planted_and_narrows() -> None:
    ruleset = campaigns(RULES)
    records = [json.dumps({"event_id": f"e{n}", **event}).encode() for n, event in enumerate(events(ruleset))]
    few, many = (measured(ruleset, records, customers) for customers in (300, CUSTOMERS))
    assert few[0] <= LIFT <= few[1]
    assert many[0] <= LIFT <= many[1]
    assert many[1] - many[0] < few[1] - few[0]
    assert many[0] > 0.0, "the effect is told from none"
