"""An erased customer: their own features begin anew, at the place of the event, whatever the batches and restarts."""

import json
import random
from typing import Any

import numpy as np

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_FEATURE
from tests.core.campaign_world import START, campaigns, run
from tests.core.rig import HOUR, MINUTE
from tests.core.stored import Store, step

RULES = """
features:
  - {name: spent, agg: sum, of: amount, by: customer, window: 30d}
  - {name: known_for, agg: age, by: customer}
  - {name: with_merchant, agg: count, by: [customer, merchant], window: 30d}
  - {name: on_device, agg: count, by: device, window: 30d}
  - {name: frauds, agg: fraud_count, by: customer, window: 30d}
rules:
  - {id: told, when: spent >= 0 or known_for >= 0 or with_merchant >= 0 or on_device >= 0 or frauds >= 0,
     then: {score: 1, reason: TOLD}}
"""


def event(number: int, kind: str, time_ms: int, customer: str, **fields: Any) -> bytes:
    body = {"event_id": f"e{number}", "type": kind, "event_time": time_ms, "customer_id": customer, **fields}
    if kind.startswith("payment."):
        body = {
            "payment_id": f"p{number}",
            "amount": 10,
            "currency": "EUR",
            "merchant_id": "m",
            "device_id": "d",
            **body,
        }
    return json.dumps(body).encode()


def history(seed: int, events: int = 80) -> list[bytes]:
    draw, now, records = random.Random(seed), START, list[bytes]()
    for number in range(events):
        now += draw.choice([MINUTE, 10 * MINUTE, 3 * HOUR])
        kind = draw.choice(["payment.requested"] * 6 + ["account.erased", "account.login", "label.assigned"])
        told = {"payment_id": f"p{draw.randrange(number + 1)}", "label": "fraud"} if kind == "label.assigned" else {}
        records.append(event(number, kind, now, f"c{draw.randrange(3)}", **told))
    return records


def features(records: list[bytes], size: int) -> list[dict[str, Any]]:
    partition = Partition(campaigns(RULES), CoreSettings(), backed=False, features_out=True)
    found: list[dict[str, Any]] = []
    for start in range(0, len(records), size):
        effects = partition.apply(partition.decode(records[start : start + size]), lambda i: {"offset": i})
        found += [json.loads(line)["features"] for line in effects.features]
    return found


def test_features_of_an_erased_customer_are_those_of_one_never_seen() -> None:
    records = history(1)
    seen = features(records, 1000)
    for size in (1, 7):
        assert features(records, size) == seen
    bodies = [json.loads(record) for record in records]
    spent: dict[str, float] = {}
    born: dict[str, int] = {}
    merchant: dict[str, int] = {}
    for body, told in zip(bodies, seen, strict=True):
        who, decides = body["customer_id"], body["type"] == "payment.requested"
        spent[who] = spent.get(who, 0) + 10 * decides
        merchant[who] = merchant.get(who, 0) + decides
        born.setdefault(who, body["event_time"])
        assert told["spent"] == spent[who]
        assert told["known_for"] == (body["event_time"] - born[who]) / 1000
        if decides:
            assert told["with_merchant"] == merchant[who], "under the hash of both"
        if body["type"] == "account.erased":
            del spent[who], born[who]
    assert max(told["on_device"] or 0 for told in seen) == sum(b["type"] == "payment.requested" for b in bodies)


def test_decisions_are_the_same_whatever_the_batches_and_restarts() -> None:
    for seed in range(2, 6):
        records = history(seed)
        expected = run(campaigns(RULES), records, 1000)[0]
        for size, restart_every, customers_max in ((1, 1, 1), (9, 2, 1), (30, 0, 1_000)):
            assert (
                run(campaigns(RULES), records, size, restart_every=restart_every, customers_max=customers_max)[0]
                == expected
            )


def test_the_store_holds_no_log_of_the_customer_alone() -> None:
    store, partition = Store(), Partition(campaigns(RULES), CoreSettings())
    mine = np.uint64(hash64("c1")).tobytes()

    def logs() -> list[bytes]:
        return [key for key in store if key[:1] == KEY_FEATURE and key[3:] == mine]

    step(partition, store, [event(1, "payment.requested", START, "c1"), event(2, "payment.requested", START, "c2")], 0)
    assert len(logs()) == 1
    step(partition, store, [event(3, "account.erased", START + HOUR, "c1")], 2)
    assert logs() == []
    assert [key for key in store if key[:1] == KEY_FEATURE and key[3:] == np.uint64(hash64("c2")).tobytes()]
