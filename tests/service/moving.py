"""A stream of payments over customers, played through shards one record at a time, that can be moved in its middle."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from engine.adapters.clocks import ManualClock
from engine.adapters.memory_log import MemoryLog, MemoryRecord
from engine.adapters.memory_sink import MemorySink
from engine.core.label_desk import LabelSettings
from engine.core.partition import Partition
from engine.core.rewards import account_key
from engine.core.settings import CoreSettings
from engine.ports.generation import Generation, MovableStore
from engine.ports.log import LogBounds, LogRecord
from engine.ruleset import RuleSet
from engine.ruleset.compiler import compile as compile_rules
from engine.service.crew import Crew
from engine.service.deadline import Deadline
from engine.service.move_note import Note
from engine.service.partitioners import murmur2
from engine.service.repartition import Move, Report
from engine.service.shard import Shard

T0: Final = 1_767_225_600_000
MINUTE: Final = 60_000
HOUR: Final = 60 * MINUTE
CUSTOMERS: Final = 12
MATURITY: Final = 3 * 24 * HOUR
GAP: Final = 2 * MATURITY
LIMITS: Final = CoreSettings(entities_max=5, customers_max=3, labels=LabelSettings(maturity_ms=MATURITY))

_RULES: Final = """
features:
  - {name: own_7d, agg: count, by: customer, window: 7d, where: "type == 'payment.requested'"}
  - {name: own_sum_7d, agg: sum, of: amount, by: customer, window: 7d}
  - {name: own_age, agg: age, by: customer}
  - {name: pair_7d, agg: count, by: [customer, merchant], window: 7d}
  - {name: new_card, agg: is_new, of: card_id, by: customer, window: 7d}
  - {name: payment_7d, agg: count, by: payment, window: 7d, where: "amount > 0"}
  - {name: own_frauds, agg: fraud_count, by: customer, window: 60d}
  - {name: own_labels, agg: label_count, by: customer, window: 60d}
  - {name: ip_labels, agg: label_count, by: ip, window: 60d}
  - {name: ip_7d, agg: count, by: ip, window: 7d}
  - {name: ip_cards_7d, agg: distinct, of: card_id, by: ip, window: 7d}
  - {name: merchant_7d, agg: sum, of: amount, by: merchant, window: 7d}
  - {name: device_gap, agg: since_last, by: device, window: 7d}
rules:
  - {id: busy, when: own_7d >= 4 and ip_7d >= 3, then: {decision: decline, score: 5, reason: BUSY}}
  - id: settlement_missing
    on: [payment.requested]
    when: not missing(payment_id)
    unless_followed_by: {types: [payment.settled], same: payment_id, within: 3h}
    then: {alert: operations, severity: medium, title: "{payment_id} of {customer_id}"}
  - id: spends
    on: [payment.requested]
    when: amount > 40
    then: {alert: fraud, title: "{customer_id}", by: [customer], every: 2h}
"""

RULES: Final = compile_rules({"rules.yaml": _RULES + "models: {anomaly: null}\n"})
_DETECTOR: Final = "detector: half_space_trees, trees: 3, height: 4, window: 8, seed: 1, inputs: [own_7d, own_sum_7d]"
CAMPAIGNS: Final = compile_rules(
    {
        "rules.yaml": f"""{_RULES}models: {{anomaly: null}}
campaigns:
  - id: earn
    on: payment.settled
    when: amount > 0
    then: {{reward: points, amount: amount}}
    hold: 2d
    expires: 1 month
    caps: [{{times: 1000}}]
    budget: {{points: 100000}}
  - id: again
    on: {{timer: since_last_payment, after: 3d}}
    when: customer.payments >= 1
    then: {{offer: service, value: come back, expires: 3d}}
    caps: [{{times: 1000}}]
"""
    }
)
CLAIMING: Final = compile_rules(
    {
        "rules.yaml": f"""{_RULES}models: {{anomaly: null}}
campaigns:
  - id: gift
    on: payment.settled
    when: amount > 0
    then: {{reward: points, amount: 10}}
    caps: [{{times: 1000}}, {{by: merchant, times: 1}}]
    abuse: off
"""
    }
)
LEARNING: Final = compile_rules({"rules.yaml": f"{_RULES}models: {{anomaly: {{{_DETECTOR}}}}}\n"})


def stream(seed: int, count: int, border: int | None = None) -> list[dict[str, Any]]:
    """Requests, settlements, refunds and labels of some customers, out of order by up to 50 minutes, repeats among
    them. Before the event at `border`, by default the middle one, nothing happens for some days: what was decided
    before matures in between, in every shard before its first event after that."""
    border = count // 2 if border is None else border
    draw = random.Random(seed)
    events: list[dict[str, Any]] = []
    for number in range(count):
        if events and draw.random() < 0.1:
            events.append(draw.choice(events))
            continue
        now = T0 + number * 5 * MINUTE + (GAP if number >= border else 0)
        asked = [event for event in events[-60:] if event["type"] == "payment.requested"]
        body = {"event_id": f"e{number}", "event_time": now - draw.choice([0, 0, 0, 7, 50]) * MINUTE, "currency": "EUR"}
        if asked and draw.random() < 0.45:
            request = draw.choice(asked)
            kind = draw.choice(["payment.settled", "payment.settled", "payment.refunded"])
            own = {name: request[name] for name in ("payment_id", "customer_id", "amount", "merchant_id")}
            if draw.random() < 0.2:
                told = {"payment_id": request["payment_id"], "customer_id": request["customer_id"]}
                label = draw.choice(["fraud", "fraud", "legitimate"])
                told |= {"event_id": body["event_id"], "event_time": body["event_time"]}
                events.append({**told, "type": "label.assigned", "label": label})
                continue
            events.append({**body, **own, "type": kind, "refund_id": f"r{number}"})
            continue
        events.append(
            {
                **body, "type": "payment.requested", "payment_id": f"p{number}", "amount": draw.randint(1, 60),
                "customer_id": f"customer-{draw.randrange(CUSTOMERS)}", "card_id": f"card{draw.randrange(5)}",
                "ip": f"192.0.2.{draw.randrange(4)}", "device_id": f"d{draw.randrange(4)}",
                "merchant_id": f"m{draw.randrange(3)}",
            }
        )  # fmt: skip
    return events


class Deployment:
    """Some shards over one store.

    Attributes:
        records: by partition, the values of its log.
        features: by event id, what each accepted event saw; decisions: by event id.
        sent: how often each output went out, by id.
    """

    def __init__(self, store: MovableStore, partitions: int, ruleset: RuleSet = RULES) -> None:
        self.store, self.partitions = store, partitions
        self.sink, self.fatal = MemorySink(), []
        self.records: dict[int, list[bytes]] = {number: [] for number in range(partitions)}
        self.features: dict[str, Any] = {}
        self.decisions: dict[str, Any] = {}
        self.duplicates = 0
        self.shards: dict[int, Shard] = {}
        self._clock = ManualClock()
        self._crew = Crew(
            new_partition=lambda number: Partition(ruleset, LIMITS, shard=number, features_out=True),
            store=store,
            log=MemoryLog(),
            sink=self.sink,
            clock=self._clock,
            random=lambda: 0.5,
            on_fatal=self.fatal.append,
            partitions=partitions,
        )

    async def play(self, events: Sequence[dict[str, Any]]) -> None:
        """Events in order, each in its customer's partition; then every shard is at rest."""
        for event in events:
            await self._take(murmur2(event["customer_id"].encode()) % self.partitions, event)
        await self.rest()

    async def play_copies(self, copies: Sequence[tuple[int, bytes]]) -> None:
        """Records that were copied to this log."""
        for partition, value in copies:
            await self._take(partition, json.loads(value))
        await self.rest()

    async def tick(self, time_ms: int) -> None:
        """Time has come so far, for every shard."""
        for number in range(self.partitions):
            await self._take(number, {"event_id": f"t{number}", "type": "control.tick", "event_time": time_ms})
        await self.rest()

    async def rest(self) -> None:
        """Owners end as they do when they are told to."""
        for shard in self.shards.values():
            await shard.relay.flush(Deadline(self._clock, 5.0))
            await shard.acknowledge()
            await shard.relay.close()
        self.shards.clear()
        assert not self.fatal

    async def _take(self, number: int, event: Mapping[str, Any]) -> None:
        shard = self.shards.get(number)
        if shard is None:
            shard = self.shards[number] = self._crew.shard(number)
            await shard.open()
        log = self.records[number]
        log.append(json.dumps(event).encode())
        outcome = await shard.process([MemoryRecord(len(log) - 1, log[-1])])
        self.duplicates += len(outcome.effects.duplicates)
        for line in outcome.effects.features:
            told = json.loads(line)
            self.features[told["event_id"]] = told["features"]
        for _, body in outcome.effects.decisions:
            decision = json.loads(body)
            self.decisions[decision["event_id"]] = decision

    @property
    def sent(self) -> Counter[str]:
        return Counter(output.id for _, _, output in self.sink.sent)

    async def accounts(self) -> dict[str, bytes | None]:
        """What is stored of each customer's ledger, in the shard of its customer."""
        found = {}
        for number in range(CUSTOMERS):
            customer = f"customer-{number}"
            shard = murmur2(customer.encode()) % self.partitions
            (found[customer],) = await self.store.load(shard, [account_key(customer)])
        return found


class Past:
    """`engine.ports.generation.PastLog` over a deployment; `kept`: how many of the last records of each partition."""

    def __init__(self, deployment: Deployment, kept: int | None = None, customers: Sequence[str] = ()) -> None:
        self._records, self._kept, self._customers = deployment.records, kept, customers
        self.copied: list[tuple[int, bytes]] = []
        self._places: set[str] = set()

    async def bounds(self) -> dict[int, LogBounds]:
        return {n: LogBounds(0, len(values)) for n, values in self._records.items()}

    async def left(self, partition: int, offset: int) -> int:
        return max(0, len(self._records[partition]) - offset)

    async def records(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, Sequence[bytes | None]]]:
        for partition, values in self._records.items():
            first = len(values) - self._kept if self._kept is not None else 0
            yield partition, values[max(first, since.get(partition, 0)) :]

    async def rest(self, since: Mapping[int, int]) -> AsyncIterator[tuple[int, MemoryRecord]]:
        for partition, values in self._records.items():
            for offset in range(since.get(partition, 0), len(values)):
                customer = json.loads(values[offset]).get("customer_id")
                yield partition, MemoryRecord(offset, values[offset], customer.encode() if customer else None)

    async def carried(self) -> set[str]:
        return set(self._places)

    async def carry(self, partition: int, record: LogRecord, place: str) -> None:
        assert place not in self._places
        assert record.value is not None
        self._places.add(place)
        self.copied.append((partition, record.value))

    async def settle(self) -> None:
        """It is there at once."""

    async def customers(self) -> AsyncIterator[str]:
        for customer in self._customers:
            yield customer


def note(partitions: int, before: str = "old", after: str = "new") -> Note:
    return Note("from", before, after, "events.v2", partitions)


async def move(
    old: Generation, new: Generation, past: Past, partitions: int, before: str = "old", after: str = "new"
) -> Report:
    return await Move(old, new, past, note(partitions, before, after)).run()
