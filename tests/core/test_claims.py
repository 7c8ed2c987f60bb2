"""Caps by device and card: claims that are stored with the identity, at its home shard, against a naive oracle."""

import json
import random
from typing import Any

import pytest

from engine.core.claims import KEY, OVER_MAX, RECORD, Claims
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.hashing import hash64
from engine.domain.ops import APPEND, KEY_CLAIM, REWRITE, unpack
from engine.engagement.marketing.identities import CLAIMS_MAX
from tests.core.campaign_world import START, campaigns, rewards, run
from tests.core.neighbours import Shards
from tests.core.rig import DAY, HOUR, MINUTE
from tests.core.stored import Store, step

RULES = """
campaigns:
  - id: gift
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: floor(amount)}
    hold: none
    caps: [{times: 400, per: year}, {by: device, times: 2, per: day}, {by: card, amount: 60, per: 3d}]
    abuse: off
  - id: welcome
    on: payment.settled
    when: amount > 5
    then: {reward: points, amount: 200}
    occasion: customer
    hold: none
    caps: [{times: 1}, {by: device, times: 1}, {by: ip, times: 1, required: true}]
    abuse: off
"""


def paid(number: int, at: int, who: str, amount: int = 10, **seen: str) -> dict[str, Any]:
    return {"event_id": f"e{number}", "type": "payment.settled", "event_time": at, "customer_id": who,
            "payment_id": f"p{number}", "amount": amount, "currency": "EUR", **seen}  # fmt: skip


def stream(seed: int, count: int = 120, customers: int = 9) -> list[dict[str, Any]]:
    """Payments of customers who share what they pay with; some events name none of it, some come twice."""
    draw, now, events = random.Random(seed), START, list[dict[str, Any]]()
    for number in range(count):
        now += draw.randrange(1, 5 * HOUR)
        seen = {
            "device_id": f"d{draw.randrange(3)}",
            "card_id": f"k{draw.randrange(3)}",
            "ip": f"10.0.0.{draw.randrange(5)}",
        }
        named = {name: value for name, value in seen.items() if draw.random() < 0.8}
        events.append(paid(number, now, f"c{draw.randrange(customers)}", draw.randrange(1, 30), **named))
        if draw.random() < 0.1:
            events.append(draw.choice(events))
    return events


def oracle(events: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """By payment and campaign what is granted: everything is looked through, every time."""
    gifts: list[tuple[dict[str, Any], int]] = []
    welcomed: list[dict[str, Any]] = []
    found: dict[tuple[str, str], int] = {}
    seen: set[str] = set()
    for event in events:
        if event["event_id"] in seen:
            continue
        seen.add(event["event_id"])
        at, device, card, ip = event["event_time"], event.get("device_id"), event.get("card_id"), event.get("ip")
        today = [
            one
            for one, _ in gifts
            if device and one.get("device_id") == device and one["event_time"] // DAY == at // DAY
        ]
        lately = [
            given for one, given in gifts if card and one.get("card_id") == card and one["event_time"] > at - 3 * DAY
        ]
        given = min(event["amount"], 60 - sum(lately))
        if len(today) < 2 and given > 0:
            gifts.append((event, given))
            found[event["payment_id"], "gift"] = given
        mine = [one for one in welcomed if one["customer_id"] == event["customer_id"]
                or (device and one.get("device_id") == device) or one.get("ip") == ip]  # fmt: skip
        if event["amount"] > 5 and ip and not mine:
            welcomed.append(event)
            found[event["payment_id"], "welcome"] = 200
    return found


def granted(outputs: Any) -> dict[tuple[str, str], int]:
    return {(one.occasion, one.campaign_id): int(one.delta) for one in rewards(outputs) if one.bucket == "pending"
            and one.available_at}  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_one_shard_is_exact_at_any_cut_and_with_memory_dropped(seed: int) -> None:
    events = stream(seed)
    records = [json.dumps(event).encode() for event in events]
    wanted = oracle(events)
    assert {name for _, name in wanted} == {"gift", "welcome"}
    assert len(wanted) < len(events)
    plain, _, _ = run(campaigns(RULES), records, 30)
    assert granted(plain) == wanted
    for size, restart_every in ((1, 3), (7, 1), (120, 2)):
        again, _, _ = run(campaigns(RULES), records, size, restart_every=restart_every, customers_max=4)
        assert [one.data for one in again] == [one.data for one in plain]


@pytest.mark.parametrize(("seed", "count"), [(10, 2), (11, 3)])
def test_shards_that_have_committed_are_seen_by_the_others(seed: int, count: int) -> None:
    """One event at a time, each after what came before was committed: exact, whoever's the identity is."""
    events, draw = stream(seed), random.Random(seed)
    shards = Shards(campaigns(RULES), count)
    for event in events:
        shards.write(event)
        shards.run()
        if draw.random() < 0.1:
            shards.restart(draw.randrange(count))
    assert granted([one for outputs in shards.outputs for one in outputs]) == oracle(events)
    for shard, store in enumerate(shards.stores):
        assert {KEY.unpack(key)[1] % count for key in store if key[:1] == KEY_CLAIM} <= {shard}


def test_shards_at_the_same_moment_give_once_each_at_most() -> None:
    events = [paid(n, START + n * MINUTE, f"c{n}", device_id="d", ip=f"10.0.1.{n}") for n in range(12)]
    shards = Shards(campaigns(RULES), 2)
    assert {shards.of(event["customer_id"]) for event in events} == {0, 1}
    shards.write(*events)
    loaded = []
    for shard in (0, 1):  # both look before either has committed
        machine = shards.machines[shard]
        decoded = machine.decode(shards.logs[shard])
        keys = machine.missing(decoded)
        while keys:
            keys = machine.load(keys, [None for _ in keys])
        loaded.append(machine.apply(decoded, lambda row: {}))
    welcomes = [granted(effects.outputs) for effects in loaded]
    assert [sum(name == "welcome" for _, name in found) for found in welcomes] == [1, 1]
    homes = {home for effects in loaded for home in effects.touches} | {0, 1}
    assert homes == {0, 1}


def test_a_shard_that_starts_over_gives_the_same_to_the_same() -> None:
    """What it claimed before is at home already: each lot is known, so nobody is refused for their own claim."""
    records = [json.dumps(event).encode() for event in stream(20)]
    ruleset, store = campaigns(RULES), Store()
    plain, before, _ = run(ruleset, records, 11, restart_every=1)
    assert before is not None
    store.update({key: value for key, value in before.items() if key[:1] == KEY_CLAIM})
    partition, outputs = Partition(ruleset, CoreSettings()), list[Any]()
    for first in range(0, len(records), 11):
        outputs += step(partition, store, records[first : first + 11], first).outputs
    assert granted(outputs) == granted(plain)


def test_a_refund_gives_no_claim_back_and_who_names_nothing_is_not_bound() -> None:
    events = [
        paid(0, START, "a", device_id="d", ip="10.0.0.1"),
        {**paid(0, START + HOUR, "a", device_id="d"), "event_id": "back", "type": "payment.refunded", "refund_id": "f"},
        paid(1, START + 2 * HOUR, "b", device_id="d", ip="10.0.0.2"),
        paid(2, START + 3 * HOUR, "c", ip="10.0.0.3"),
        paid(3, START + 4 * HOUR, "e", device_id="other"),
    ]
    outputs, _, _ = run(campaigns(RULES), [json.dumps(event).encode() for event in events], 2)
    assert {name for name, campaign in granted(outputs) if campaign == "welcome"} == {"p0", "p2"}


def test_held_out_customers_claim_as_the_others_do() -> None:
    ruleset = campaigns(RULES.replace("occasion: customer", "occasion: customer\n    holdout: 50%"))
    events = [paid(n, START + n * MINUTE, f"c{n}", device_id=f"d{n // 2}", ip=f"10.0.1.{n}") for n in range(60)]
    outputs, _, _ = run(ruleset, [json.dumps(event).encode() for event in events], 9)
    welcomes = [int(name[1:]) for name, campaign in granted(outputs) if campaign == "welcome"]
    assert 5 < len(welcomes) < 25
    assert all(number % 2 == 0 for number in welcomes), "the first of each device, or nobody"


def test_a_log_that_is_mostly_over_is_written_anew() -> None:
    claims = Claims(backed=True)
    claims.adopt(campaigns(RULES).live, 0, 1)
    [bound] = [one for one in claims.identities.bounds[0] if one.lasts_ms == 3 * DAY]
    key, now = KEY.pack(KEY_CLAIM, hash64("k0"), bound.code), START
    old = [RECORD.pack(n, now - 5 * DAY, 1.0) for n in range(OVER_MAX)]
    live = [RECORD.pack(100 + n, now - DAY + n, 2.0) for n in range(3)]
    claims.load([key], [b"".join([*live, *old, live[0]])], now)
    [op] = unpack(b"".join(claims.flush()))
    assert (op.kind, op.key, op.ttl_hours) == (REWRITE, key, 72)
    assert op.value.endswith(b"".join(live))
    assert len(op.value) - 44 == len(b"".join(live))
    assert sum(one.amount for one in claims.identities.held[hash64("k0"), bound.code].values()) == 6.0 + OVER_MAX
    claims.load([key], [b"".join([*live, *old[1:]])], now)
    assert claims.flush() == []


def test_a_log_that_is_cut_off_is_refused() -> None:
    claims = Claims(backed=True)
    claims.adopt(campaigns(RULES).live, 0, 1)
    key = KEY.pack(KEY_CLAIM, 7, claims.identities.bounds[0][0].code)
    with pytest.raises(ValueError, match=f"{key.hex()}: not a readable log of claims"):
        claims.load([key], [bytes(RECORD.size + 1)], START)


def test_claims_for_ever_stay_and_others_pass() -> None:
    records = [json.dumps(paid(0, START, "a", device_id="d", card_id="k", ip="10.0.0.1")).encode()]
    ruleset = campaigns(RULES)
    store, partition = Store(), Partition(ruleset, CoreSettings())
    effects = step(partition, store, records, 0)
    hours = {(op.kind, op.ttl_hours) for op in unpack(effects.ops) if op.key[:1] == KEY_CLAIM}
    assert hours == {(APPEND, 48), (APPEND, 72), (APPEND, 0)}
    assert sum(key[:1] == KEY_CLAIM for key in store) == 4


def test_what_a_customer_has_had_for_ever_asks_for_no_logs() -> None:
    ruleset, store = campaigns(RULES[: RULES.index("  - id: gift")] + RULES[RULES.index("  - id: welcome") :]), Store()
    partition = Partition(ruleset, CoreSettings())
    for number in range(3):
        record = json.dumps(paid(number, START + number * HOUR, "a", device_id="d", ip="10.0.0.1")).encode()
        decoded = partition.decode([record])
        keys = partition.missing(decoded)
        assert any(key[:1] == KEY_CLAIM for key in keys) == (number == 0)
        while keys:
            keys = partition.load(keys, [store.get(key) for key in keys])
        store.take(partition.apply(decoded, lambda row: {}).ops)


def test_memory_without_a_store_holds_no_more_than_it_needs() -> None:
    events = [paid(n, START + n * HOUR, f"c{n}", 1, card_id="k") for n in range(3 * CLAIMS_MAX)]
    _, _, partition = run(campaigns(RULES), [json.dumps(event).encode() for event in events], 100)
    held = partition._engagement._campaigning.claims.identities.held
    assert max(map(len, held.values())) <= 2 * CLAIMS_MAX
