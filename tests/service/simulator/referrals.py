"""Customers who refer customers of other partitions, a budget that is short in some of them, and letters on the log."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from engine.adapters.fan_out import FanOut
from engine.adapters.memory_log import MemoryRecord
from engine.core.campaign_state import HEAD_BUDGETS, budgets_of
from engine.core.decode import Decoded
from engine.core.effects import Effects
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.outputs import Reward
from engine.ports.log import LogUnavailable
from engine.ports.sink import Sink
from engine.ports.store import Commit
from engine.ruleset import compile
from engine.service.posting import LetterSink
from engine.service.replies import REQUEST_ID
from tests.core.rig import DAY, HOUR, MINUTE
from tests.core.stored import Store as Stored
from tests.service.simulator.faults import Process
from tests.service.simulator.servers import Store
from tests.service.simulator.simulation import Simulation
from tests.service.simulator.world import Oracle, World

START: Final = 1_760_000_000_000
STEP: Final = 20 * MINUTE
BUDGETS: Final = {"earn:1": 900, "referral:1": 6_000}
CUSTOMERS: Final = 5

_CAMPAIGNS: Final = """
rules: [{id: big, when: amount > 80, then: {decision: review, reason: BIG}}]
models: {anomaly: null}
campaigns:
  - id: earn
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: amount}
    hold: 2h
    caps: [{amount: 200, per: day}]
    budget: {points: 900}
    abuse: off
  - id: referral
    on: payment.settled
    when: customer.referred and customer.payments >= LEAST
    then: {reward: points, amount: 300, both: true}
    occasion: customer
    hold: 5h
    caps: [{times: 1}, {by: referrer, times: 3, per: month}]
    budget: {points: 6000}
    abuse: off
"""
SETS: Final = tuple(compile({"c.yaml": _CAMPAIGNS.replace("LEAST", least)}) for least in ("1", "2"))
KINDS: Final = (
    *["payment.settled"] * 7, "payment.refunded", "payment.refunded", "payment.chargeback", "label.assigned",
    "account.registered", "account.registered", "points.redeemed", "payment.requested",
)  # fmt: skip


class Referrals(World):
    """See the module. The first customer of a partition refers the others of the one before it; partition 0 is busier
    than its part of the budget."""

    first, second = SETS
    sets = {one.hash: one for one in SETS}  # noqa: RUF012 - never written
    small = CoreSettings(customers_max=2, entities_max=4)

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        at, kind = START + number * STEP, draw.random()
        if number < CUSTOMERS:
            return self._event(draw, number, partition, at, number, "account.registered")
        if kind < 0.06:
            what = draw.choice(["tick", "rules"])
            body = {"type": f"control.{what}", "event_id": f"k{number}", "event_time": at}
            more = {"ruleset": draw.choice(SETS).hash} if what == "rules" else {}
            return json.dumps({**body, **more}).encode()
        if kind < 0.08:
            return draw.choice([None, b"{"])
        identity = draw.randrange(number + 1) if draw.random() < 0.08 else number
        late = draw.choice([0, 0, 0, HOUR // 2])
        return self._event(draw, identity, partition, at - late, identity % CUSTOMERS, draw.choice(KINDS))

    def _event(
        self, draw: random.Random, identity: int, partition: int, at: int, customer: int, kind: str
    ) -> bytes:  # fmt: skip
        body: dict[str, Any] = {"type": kind, "event_id": f"e{identity}", "event_time": at,
                                "customer_id": f"c{partition}-{customer}"}  # fmt: skip
        if kind.startswith("payment."):
            amount = draw.choice([20, 40]) * (3 if partition == 0 else 1)
            body |= {"payment_id": f"p{draw.randrange(9)}", "amount": amount, "currency": "EUR"}
        if kind in ("payment.refunded", "payment.chargeback"):
            body |= {"refund_id": f"x{draw.randrange(4)}", "amount": draw.choice([7, 20, 60])}
        if kind == "label.assigned":
            body |= {"payment_id": f"p{draw.randrange(9)}", "label": draw.choice(["fraud", "legitimate"])}
        if kind == "points.redeemed":
            body |= {"points": draw.choice([10, 200]), "redemption_id": f"d{draw.randrange(9)}"}
        if kind == "account.registered" and customer:
            body["referrer_id"] = f"c{(partition + 1) % self.partitions}-0"
        return json.dumps(body).encode()

    def probes(self, draw: random.Random, partition: int) -> list[bytes]:
        now = START + 60 * STEP
        kinds = ("payment.settled", "payment.refunded")
        asked = [(customer, kind) for customer in range(CUSTOMERS) for kind in kinds]
        events = [self._event(draw, 500 + i, partition, now, c, kind) for i, (c, kind) in enumerate(asked)]
        tick = {"type": "control.tick", "event_id": "last", "event_time": now + 3 * DAY}
        return [*events, json.dumps(tick).encode()]

    def oracle(self, shard: int) -> Oracle:
        machine = Remembering(self.first, self.whole, shard=shard, features_out=True, rulesets=self.sets.get)
        machine.spread(self.partitions)
        machine.restore({})
        return Oracle(machine, shard)

    def reopened(self, shard: int) -> Partition:
        made = super().reopened(shard)
        made.spread(self.partitions)
        return made


class Remembering(Partition):
    """One of several shards, with a store of its own: they cannot do without."""

    def apply(
        self, decoded: Decoded, source: Callable[[int], dict[str, Any]], explain: frozenset[int] = frozenset()
    ) -> Effects:
        self.held = getattr(self, "held", None) or Stored()
        keys = self.missing(decoded)
        while keys:
            keys = self.load(keys, [self.held.get(key) for key in keys])
        effects = super().apply(decoded, source, explain)
        self.held.take(effects.ops)
        return effects


class Posting(Simulation):
    """A run in which shards write to each other's logs. At the end `records` are those of the logs, letters too.

    Attributes:
        most: by campaign, the most that all leases ever added up to, at any commit.
        goes_back: the store does.
    """

    def __init__(self, seed: int, *, partitions: int, events: int = 40) -> None:
        super().__init__(seed, world=Referrals(partitions), partitions=partitions, events=events)
        self.most: Counter[str] = Counter()
        self.goes_back = self.faults.rollbacks > 0

    async def run(self) -> None:
        await super().run()
        self.records = self.log

    def _append(self, partition: int, records: list[MemoryRecord]) -> None:
        """Records get their offsets as they come."""
        for record in records:
            offset = self.log[partition][-1].offset + 1 if self.log[partition] else record.offset
            headers = [(name, b"%d" % offset if name == REQUEST_ID else value) for name, value in record.headers]
            self.log[partition].append(MemoryRecord(offset, record.value, headers=headers))

    def _sink(self, process: Process) -> Sink:
        return FanOut([LetterSink(_Postbox(self, process)), super()._sink(process)])

    def store_for(self, store: Store) -> None:
        """Look at all leases after each commit."""
        plain = store.commit

        async def commit(one: Commit) -> None:
            await plain(one)
            for key, lease in leases(self).items():
                self.most[key] = max(self.most[key], lease)

        store.commit = commit  # type: ignore[method-assign]

    async def _supervise(self) -> None:
        self.store_for(self.store)
        await super()._supervise()


class _Postbox:
    """The log, as one process writes to it."""

    def __init__(self, run: Posting, process: Process) -> None:
        self._run = run
        self._process = process

    async def write(self, key: bytes, value: bytes, headers: Any) -> int:
        partition = int(key[1 : key.index(b"-")])
        await self.announce(partition, value)
        return partition

    async def announce(self, shard: int, record: bytes) -> None:
        await self._process.request(lambda: self._put(shard, record), LogUnavailable)

    async def _put(self, shard: int, record: bytes) -> None:
        self._run._append(shard, [MemoryRecord(0, record)])


def leases(run: Posting) -> Counter[str]:
    """What all shards may give, by campaign; of a shard that has stored nothing, its part."""
    sums: Counter[str] = Counter()
    for shard in run.records:
        held = run.store._shards.get(shard)
        stored = {HEAD_BUDGETS: bytes(held.state[HEAD_BUDGETS])} if held and HEAD_BUDGETS in held.state else {}
        budgets = budgets_of(stored)
        for key, whole in BUDGETS.items():
            part, rest = divmod(whole, len(run.records))
            sums[key] += budgets.of[key].lease if key in budgets.of else part + (shard < rest)
    return sums


def letters(run: Posting, kind: str) -> list[dict[str, Any]]:
    """Letters of a kind on the logs, repeats too."""
    mark = f'"control.{kind}"'.encode()
    return [json.loads(r.value) for log in run.records.values() for r in log if r.value and mark in r.value]


def check_letters(run: Posting) -> None:
    """Budgets are whole, and each referral was decided once. Raises `AssertionError`."""
    assert leases(run) == BUDGETS
    if not run.goes_back:  # a shard that lost what it gave has it again until it has read on
        assert all(most <= BUDGETS[key] for key, most in run.most.items()), run.most
    entries = {sent.output.id: msgspec.json.decode(sent.output.data, type=Reward)
               for sent in run.broker.sent if sent.output.kind == "reward"}  # fmt: skip
    shared = [one for one in entries.values() if one.available_at and one.occasion.startswith("referred ")]
    assert len({(one.occasion, one.customer_id) for one in shared}) == len(shared), "rewarded twice"
    told = {(f"referred {one['referral_id']}", one["customer_id"]) for one in letters(run, "reward") if "units" in one}
    assert {(one.occasion, one.customer_id) for one in shared} <= told
