"""Letters between shards: referrers elsewhere get what they would here and give back what they would, budgets flow."""

import json
import random
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from engine.core.campaign_state import HEAD_BUDGETS, budgets_of
from engine.core.customers import customer_key
from engine.engagement.customer.codec import load
from engine.ruleset.ruleset import RuleSet
from engine.service.replies import is_control
from tests.core.campaign_world import START, campaigns, rewards
from tests.core.neighbours import Shards
from tests.core.rig import DAY, HOUR, MINUTE
from tests.support.referral import referral

RULES = referral(budget=30_000, by_referrer=3)
NAMES = ["r0", "r1", *(f"f{number}" for number in range(12))]


def stream(seed: int, friends: int = 12) -> list[dict[str, Any]]:
    """Two who refer, whom they refer, payments, and what becomes of them, in order of time."""
    draw, events = random.Random(seed), list[dict[str, Any]]()
    for referrer in ("r0", "r1"):
        events.append({"type": "account.registered", "customer_id": referrer, "event_time": START})
    for friend in range(friends):
        at, who = START + HOUR + friend * 10 * MINUTE, f"f{friend}"
        referrer = draw.choice(["r0", "r1", "r1", "nobody", who])
        events.append({"type": "account.registered", "customer_id": who, "event_time": at, "referrer_id": referrer})
        for number in (1, 2, 3):
            paid = {"customer_id": who, "payment_id": f"p{friend}-{number}", "amount": 30, "currency": "EUR"}
            at += draw.randrange(1, 90) * MINUTE
            events.append({**paid, "type": "payment.settled", "event_time": at})
            for part in range(draw.choice([0, 0, 1, 2, 3])):
                kind = draw.choice(["payment.refunded", "payment.refunded", "payment.chargeback", "label.assigned"])
                more = {"label": "fraud"} if kind == "label.assigned" else {"refund_id": f"x{part}", "amount": 10}
                when = at + draw.randrange(-2, 90) * HOUR
                kept = {k: v for k, v in paid.items() if k != "amount" or kind != "label.assigned"}
                events.append({**kept, **more, "type": kind, "event_time": when})
    events.sort(key=lambda event: event["event_time"])
    return [{"event_id": f"e{place}", **event} for place, event in enumerate(events)]


def end(shards: Shards) -> Shards:
    """All holds are over."""
    for day in (1, 8, 15):
        shards.tell({"type": "control.tick", "event_id": f"t{day}", "event_time": START + day * DAY})
    return shards


def played(seed: int, count: int, size: int = 10_000, ruleset: RuleSet | None = None) -> Shards:
    shards = Shards(ruleset or campaigns(RULES), count, customers_max=3)
    for event in stream(seed):  # letters are read as they come: shards do not run ahead of each other
        shards.write(event)
        shards.run(size)
    return end(shards).run(size)


@pytest.mark.parametrize("seed", range(6))
def test_several_shards_give_what_one_gives_and_take_back_what_it_takes(seed: int) -> None:
    alone, several = played(seed, 1), played(seed, 3)
    assert not alone.letters() and several.letters("reward")
    assert several.sums() == alone.sums()
    assert {name for name, *_ in alone.sums()} & {"r0", "r1"}
    for name in NAMES:
        load(several.stores[several.of(name)].get(customer_key(name), b""))[0].ledger.check()


def test_the_seeds_take_back_in_part_and_all_of_it() -> None:
    """What is compared above covers what it is meant to."""
    left = Counter(
        sum(
            delta
            for (name, _, bucket), delta in played(seed, 1).sums().items()
            if name == referrer and bucket != "debt"
        )
        for seed in range(6)
        for referrer in ("r0", "r1")
    )
    assert any(points % 300 for points in left) and any(points < 300 for points in left)


@pytest.mark.parametrize("size", [1, 3])
def test_batches_and_restarts_make_no_difference(size: int) -> None:
    shards = played(2, 2)
    again = Shards(campaigns(RULES), 2, customers_max=2)
    again.logs = [list(log) for log in shards.logs]  # letters are on the logs already
    for shard in range(2):
        number = 0
        while again.done[shard] < len(again.logs[shard]):
            again.step(shard, size)
            number += 1
            if number % 4 == 0:
                again.restart(shard)
    assert again.outputs == shards.outputs


@pytest.mark.parametrize("seed", range(4))
def test_letters_that_come_twice_late_and_in_any_order_do_what_they_do_in_order(seed: int) -> None:
    """But for caps, where it matters who comes first."""
    ruleset, draw = campaigns(RULES.replace("times: 3", "times: 20")), random.Random(seed)
    late, straight = Shards(ruleset, 2), Shards(ruleset, 2)
    kept = list[Any]()
    for event in stream(seed):
        late.write(event)
        kept += late.step(late.of(event["customer_id"]))
        straight.write(event)
        straight.run()
    order = kept + draw.choices(kept, k=len(kept))
    draw.shuffle(order)
    for letter in order:
        late.post(letter)
    sums = [end(shards).run().sums() for shards in (late, straight)]
    assert any(name in ("r0", "r1") for name, *_ in sums[0])
    for name in NAMES:
        assert _of(sums[0], name) == _of(sums[1], name)


def _of(sums: dict[tuple[str, str, str], int], name: str) -> dict[tuple[str, str, str], int]:
    return {key: delta for key, delta in sums.items() if key[0] == name and delta}


def two_shards(ruleset: RuleSet, referred: int = 1, **settings: Any) -> tuple[Shards, str, list[str]]:
    """Two shards, a referrer in one and whom they referred in the other; all are registered."""
    shards = Shards(ruleset, 2, **settings)
    names = [f"n{number}" for number in range(200)]
    [referrer, *_] = [name for name in names if shards.of(name) == 0]
    friends = [name for name in names if shards.of(name) == 1][:referred]
    for name in (referrer, *friends):
        shards.write({
            "event_id": f"a-{name}", "type": "account.registered", "customer_id": name, "event_time": START,
            **({} if name == referrer else {"referrer_id": referrer}),
        })  # fmt: skip
    return shards.run(), referrer, friends


def pay(shards: Shards, name: str, number: int, at: int, kind: str = "payment.settled", **more: Any) -> None:
    shards.write({
        "event_id": f"{kind}{name}{number}{more.get('refund_id', '')}", "type": kind, "customer_id": name,
        "event_time": START + at, "payment_id": f"p-{name}-{number}", "amount": 30, "currency": "EUR", **more,
    })  # fmt: skip


def test_three_thirds_take_back_all_of_both() -> None:
    shards, referrer, [friend] = two_shards(campaigns(RULES))
    pay(shards, friend, 1, HOUR)
    pay(shards, friend, 2, 2 * HOUR)
    shards.run()
    assert shards.sums()[referrer, "referral", "pending"] == 300
    for part, left in ((1, 200), (2, 100), (3, 0)):
        pay(shards, friend, 2, 3 * HOUR + part, "payment.refunded", refund_id=f"x{part}", amount=10)
        shards.run()
        assert {shards.sums()[name, "referral", "pending"] for name in (referrer, friend)} == {left}
    assert len(shards.letters("reward")) == 4
    assert not any(friend in json.dumps({**letter, "cause_event_id": ""}) for letter in shards.letters())


@pytest.mark.parametrize(("reward", "granted", "left"), [
    ("{reward: cashback, amount: 4.5, currency: EUR, both: true}", "4.50", "1.50"),
    ('{reward: coupon, value: "8.00", currency: EUR, both: true}', "1", "0"),
])  # fmt: skip
def test_money_and_coupons_of_the_referrer_follow_too(reward: str, granted: str, left: str) -> None:
    rules = RULES.replace("{reward: points, amount: 300, both: true}", reward)
    rules = rules.replace("{points: 30000}", "{amount: 90, currency: EUR}")
    shards, referrer, [friend] = two_shards(campaigns(rules))
    pay(shards, friend, 1, HOUR)
    pay(shards, friend, 2, 2 * HOUR)
    shards.run()
    pay(shards, friend, 2, 3 * HOUR, "payment.refunded", refund_id="x", amount=20)
    shards.run()
    for name, shard in ((referrer, 0), (friend, 1)):
        deltas = [Decimal(e.delta) for e in rewards(shards.outputs[shard]) if e.customer_id == name]
        assert (deltas[0], sum(deltas)) == (Decimal(granted), Decimal(left))


def test_the_payment_that_counts_is_the_one_that_set_it_off() -> None:
    shards, referrer, [friend] = two_shards(campaigns(RULES))
    for number in (1, 2, 3):
        pay(shards, friend, number, number * HOUR)
    pay(shards, friend, 1, 5 * HOUR, "payment.refunded", refund_id="x")
    pay(shards, friend, 3, 5 * HOUR, "payment.chargeback", refund_id="y")
    shards.run()
    assert len(shards.letters("reward")) == 1
    assert shards.sums()[referrer, "referral", "pending"] == 300


def test_what_was_spent_before_the_refund_is_owed() -> None:
    shards, referrer, [friend] = two_shards(campaigns(RULES))
    pay(shards, friend, 1, HOUR)
    pay(shards, friend, 2, 2 * HOUR)
    end(shards.run()).run()
    shards.write({"event_id": "r", "type": "points.redeemed", "customer_id": referrer, "points": 250,
                  "event_time": START + 15 * DAY})  # fmt: skip
    pay(shards, friend, 2, 15 * DAY, "payment.chargeback", refund_id="y")
    shards.run()
    assert _of(dict(shards.sums()), referrer) == {(referrer, "referral", "debt"): 250}


def test_fraud_that_never_settled_takes_back_all_of_both() -> None:
    authorised = RULES.replace("payment.settled", "payment.authorised").replace("customer.payments >= 2", "amount > 29")
    shards, referrer, [friend] = two_shards(campaigns(authorised))
    pay(shards, friend, 1, HOUR, "payment.authorised")
    shards.run()
    assert shards.sums()[referrer, "referral", "pending"] == shards.sums()[friend, "referral", "pending"] == 300
    shards.write({"event_id": "l", "type": "label.assigned", "customer_id": friend, "event_time": START + 2 * HOUR,
                  "payment_id": f"p-{friend}-1", "label": "fraud"})  # fmt: skip
    shards.run()
    assert not _of(dict(shards.sums()), referrer) and not _of(dict(shards.sums()), friend)


def test_a_letter_names_the_rule_set_and_that_one_decides() -> None:
    """A shard that is behind grants by a campaign that the referrer's shard has left."""
    after = campaigns("campaigns:\n  - {id: other, on: payment.settled, when: amount > 9000, then: {offer: service, "
                      "value: v, expires: 1d}, caps: [{times: 1}]}\n")  # fmt: skip
    shards, referrer, [friend] = two_shards(campaigns(RULES))
    shards.known[after.hash] = after
    switch = {"type": "control.rules", "event_id": "s", "event_time": START, "ruleset": after.hash}
    shards.logs[0].append(json.dumps(switch).encode())
    pay(shards, friend, 1, HOUR)
    pay(shards, friend, 2, 2 * HOUR)
    shards.run()
    assert shards.sums()[referrer, "referral", "pending"] == 300
    [letter] = shards.letters("reward")
    assert letter["ruleset"] == shards.first.hash
    budget = budgets_of(shards.stores[0]).of["referral:1"]
    assert (budget.lease, budget.reserved) == (15_000, 300)
    pay(shards, friend, 2, 3 * HOUR, "payment.refunded", refund_id="x")
    shards.run()
    assert budgets_of(shards.stores[0]).of["referral:1"].reserved == 0


def test_a_rule_set_that_nobody_has_is_a_dead_letter() -> None:
    shards, referrer, _ = two_shards(campaigns(RULES))
    letter = {"type": "control.reward", "event_id": "l", "event_time": START, "customer_id": referrer, "units": 300,
              "campaign_id": "referral", "version": 1, "referral_id": "a" * 12, "cause_event_id": "c",
              "ruleset": "0" * 16}  # fmt: skip
    machine = shards.machines[0]
    decoded = machine.decode([json.dumps(letter).encode()])
    assert machine.unknown(decoded) == ["0" * 16]
    assert machine.missing(decoded) == []
    effects = machine.apply(decoded, lambda row: {"row": row})
    [dead] = [json.loads(output.data) for output in effects.outputs]
    assert dead["reason"] == "unknown_ruleset"


def test_who_is_not_known_gets_nothing_and_who_is_referred_anew_keeps_the_first() -> None:
    shards, referrer, [friend] = two_shards(campaigns(RULES))
    shards.write({"event_id": "u", "type": "account.updated", "customer_id": friend, "event_time": START,
                  "referrer_id": "somebody"})  # fmt: skip
    pay(shards, friend, 1, HOUR)
    pay(shards, friend, 2, 2 * HOUR)
    shards.run()
    assert {name for name, campaign, _ in shards.sums() if campaign == "referral"} == {referrer, friend}
    shards, referrer, [friend] = two_shards(campaigns(RULES))
    shards.write({"event_id": "b", "type": "account.registered", "customer_id": "z", "event_time": START,
                  "referrer_id": "nobody"})  # fmt: skip
    pay(shards, "z", 1, HOUR)
    pay(shards, "z", 2, 2 * HOUR)
    shards.run()
    assert {name for name, *_ in shards.sums()} == {"z"}


def test_who_was_erased_is_rewarded_for_nothing_more() -> None:
    shards, referrer, friends = two_shards(campaigns(RULES), 2)
    for friend in friends:
        if friend == friends[1]:
            shards.write(
                {"event_id": "g", "type": "account.erased", "customer_id": referrer, "event_time": START + HOUR}
            )
            shards.run()
        pay(shards, friend, 1, HOUR)
        pay(shards, friend, 2, 2 * HOUR)
        shards.run()
    pay(shards, friends[0], 2, 3 * HOUR, "payment.refunded", refund_id="x")
    shards.run()
    assert len(shards.letters("reward")) == 3
    assert not _of(dict(shards.sums()), referrer)
    record = load(shards.stores[0][customer_key(referrer)])[0]
    assert not record.ledger.lots and not record.ledger.payments


FROZEN = RULES.replace("    hold: 2d\n", "    hold: 2d\n    abuse: {refund_cycling: {rate: 0.01, min: 1}}\n")


@pytest.mark.parametrize(("resolution", "granted"), [("legitimate", 300), ("fraud", 0)])
def test_what_is_frozen_is_shared_when_it_is_released(resolution: str, granted: int) -> None:
    shards, referrer, [friend] = two_shards(campaigns(FROZEN))
    pay(shards, friend, 1, HOUR)
    pay(shards, friend, 1, HOUR + MINUTE, "payment.refunded", refund_id="x", amount=10)
    pay(shards, friend, 2, 2 * HOUR)
    shards.run()
    assert not shards.letters("reward")
    [alert] = [json.loads(one.data) for one in shards.outputs[1] if one.kind == "alert"]
    shards.tell({"type": "control.alert_resolved", "event_id": "k", "event_time": START + 3 * HOUR,
                 "alert_id": alert["alert_id"], "resolution": resolution, "customer_id": friend})  # fmt: skip
    shards.run()
    assert shards.sums()[referrer, "referral", "pending"] == granted
    assert len(shards.letters("reward")) == (resolution == "legitimate")


EARN = """
campaigns:
  - id: earn
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: amount}
    hold: none
    caps: [{times: 100, per: day}]
    budget: {points: 900}
"""


@pytest.mark.parametrize(("size", "restart_every"), [(1, 3), (1_000, 0)])
def test_a_budget_flows_to_the_shard_that_needs_it(size: int, restart_every: int) -> None:
    shards, steps = Shards(campaigns(EARN), 3), 0
    names = [name for name in (f"n{number}" for number in range(60)) if shards.of(name) == 1]
    for number in range(60):
        pay(shards, names[number % len(names)], number, number * MINUTE)
        while any(done < len(log) for done, log in zip(shards.done, shards.logs, strict=True)):
            for shard in range(3):
                if shards.done[shard] < len(shards.logs[shard]):
                    for letter in shards.step(shard, size):
                        shards.post(letter)
                    steps += 1
                    if restart_every and steps % restart_every == 0:
                        shards.restart(shard)
            held = [budgets_of(store).of.get("earn:1") for store in shards.stores if HEAD_BUDGETS in store]
            assert all(one is None or one.reserved + one.spent <= one.lease for one in held)
    assert sum(shards.sums().values()) == 900, "30 grants of 30, which one shard's part of 300 would not pay"
    leases = [budgets_of(store).of["earn:1"].lease for store in shards.stores]
    assert leases == [0, 900, 0]


def test_how_budgets_flow_does_not_depend_on_batches() -> None:
    events = [(f"n{number % 17}", number) for number in range(90)]
    logs = None
    found = []
    for size in (1, 7, 1_000):
        shards = Shards(campaigns(EARN), 3)
        if logs is None:
            for name, number in events:
                pay(shards, name, number, number * 5 * MINUTE)
                shards.run()
            logs = shards.logs
        else:
            shards.logs = [list(log) for log in logs]
            for shard in range(3):
                while shards.done[shard] < len(logs[shard]):
                    shards.step(shard, size)
        found.append(shards.outputs)
    assert found[0] == found[1] == found[2]
    assert any(one.kind == "letter" for outputs in found[0] for one in outputs)


def test_letters_are_read_as_they_are_written() -> None:
    shards = played(0, 2)
    for letter in shards.letters():
        [placed] = shards.machines[0].decode([json.dumps(letter).encode()]).controls
        assert msgspec.to_builtins(placed.event) == letter
        assert is_control(json.dumps(letter).encode()), "no call may bring one"
