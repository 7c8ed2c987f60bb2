"""Letters between two shards of real workers, one of which is killed, over real Kafka and Redis."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.core.campaign_state import budgets_of
from engine.service.partitioners import murmur2
from tests.core.campaign_world import START
from tests.core.rig import HOUR, MINUTE
from tests.support.deployment import STEWARD, Deployment
from tests.support.referral import referral

RULES = referral(budget=9_600)
FRIENDS = 12


def _shard(name: str) -> int:
    return murmur2(name.encode()) % 2


async def test_referrers_of_the_other_partition_are_rewarded_once_by_a_budget_that_follows_them(
    deploy: Callable[..., Deployment], tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "campaigns.yaml").write_text(RULES, encoding="utf-8")
    deployment = deploy(STEWARD_BATCH_EVENTS_MAX="4", STEWARD_RULES=str(rules), STEWARD_STATE_TICK="0ms")
    await deployment.create_topics()
    names = [f"n{number}" for number in range(100)]
    referrer = next(name for name in names if _shard(name) == 0)
    friends = [name for name in names if _shard(name) == 1][:FRIENDS]
    events: list[dict[str, Any]] = [{"type": "account.registered", "customer_id": referrer, "event_time": START}]
    for friend in friends:
        events.append(
            {"type": "account.registered", "customer_id": friend, "referrer_id": referrer, "event_time": START}
        )
    for number in (1, 2):
        for place, friend in enumerate(friends):
            paid = {"customer_id": friend, "payment_id": f"{friend}-{number}", "amount": 30, "currency": "EUR"}
            events.append({**paid, "type": "payment.settled", "event_time": START + number * HOUR + place * MINUTE})
    for friend in friends[:6]:
        back = {"customer_id": friend, "payment_id": f"{friend}-2", "amount": 10, "currency": "EUR", "refund_id": "x"}
        events.append({**back, "type": "payment.refunded", "event_time": START + 4 * HOUR})
    await deployment.produce(
        json.dumps({"event_id": f"e{place}", **event}).encode() for place, event in enumerate(events)
    )
    worker = deployment.start(STEWARD)
    await deployment.until(lambda heads: sum(max(0, head.offset) for head in heads.values()) > 12)
    worker.kill()
    deployment.start(STEWARD)
    sums: Counter[tuple[bool, str]] = Counter()
    for _ in range(200):
        outputs = await deployment.outputs(ids=1)
        rewards = [sent.event["data"] for sent in outputs if sent.topic.endswith("rewards")]
        assert len({entry["entry_id"] for entry in rewards}) == len(rewards), (
            "each once, for a reader of committed records"
        )
        sums = Counter()
        for entry in rewards:
            sums[entry["customer_id"] == referrer, entry["bucket"]] += int(entry["delta"])
        if sums[True, "pending"] == sums[False, "pending"] == 300 * FRIENDS - 600 and len(rewards) == 2 * (FRIENDS + 6):
            break
        await asyncio.sleep(0.3)
    assert sums == {(True, "pending"): 300 * FRIENDS - 600, (False, "pending"): 300 * FRIENDS - 600}
    logged = await deployment.events()
    heads = await deployment.until(
        lambda heads: all(heads[s].offset == len(logged[s]) and not heads[s].outbox for s in heads)
    )
    budgets = [budgets_of(heads[shard].state).of["referral:1"] for shard in (0, 1)]
    assert sum(budget.lease for budget in budgets) == 9600
    assert [budget.reserved for budget in budgets] == [300 * FRIENDS - 600] * 2
    letters = [json.loads(value) for log in logged.values() for value in log if value and b'"control.' in value]
    assert {letter["type"] for letter in letters} >= {"control.reward", "control.budget"}
    assert not any(letter.get("customer_id") not in (None, referrer) for letter in letters)
