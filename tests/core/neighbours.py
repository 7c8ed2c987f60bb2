"""Shards beside each other, over the simplest stores there can be: letters go from one log to another."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from engine.core.controls import stretches
from engine.core.effects import Output
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset.ruleset import RuleSet
from engine.service.partitioners import murmur2
from tests.core.campaign_world import rewards
from tests.core.stored import Store


class Shards:
    """So many shards of one deployment.

    Attributes:
        logs: of each, the records; done: how many of them it has taken.
        outputs: of each, letters too; stores: what each has stored.
    """

    def __init__(self, ruleset: RuleSet, count: int, *, others: Sequence[RuleSet] = (), **settings: Any) -> None:
        self.known = {one.hash: one for one in (ruleset, *others)}
        self.first, self.settings = ruleset, CoreSettings(**settings)
        self.logs: list[list[bytes]] = [[] for _ in range(count)]
        self.done = [0] * count
        self.outputs: list[list[Output]] = [[] for _ in range(count)]
        self.stores = [Store() for _ in range(count)]
        self.machines = [self._machine(shard) for shard in range(count)]

    def _machine(self, shard: int) -> Partition:
        machine = Partition(self.first, self.settings, shard=shard, rulesets=self.known.get)
        if len(self.logs) > 1:
            machine.spread(len(self.logs))
        machine.restore(self.stores[shard].head())
        return machine

    def restart(self, shard: int) -> None:
        """Forget what is in memory."""
        self.machines[shard] = self._machine(shard)

    def of(self, customer: str) -> int:
        """The shard of a customer."""
        return murmur2(customer.encode()) % len(self.logs)

    def write(self, *events: dict[str, Any]) -> None:
        """Events come to the logs of their customers."""
        for event in events:
            self.logs[self.of(event["customer_id"])].append(json.dumps(event).encode())

    def tell(self, event: dict[str, Any]) -> None:
        """A control event comes to every log."""
        for log in self.logs:
            log.append(json.dumps(event).encode())

    def post(self, letter: Output) -> None:
        """A letter comes to the log that it is for."""
        shard = self.of(letter.key.decode()) if letter.key else json.loads(letter.data)["receiver"]
        self.logs[shard].append(letter.data)

    def step(self, shard: int, size: int = 10_000) -> list[Output]:
        """A shard takes its next batch. Returns the letters that it wrote, which nobody has posted."""
        machine, store, first = self.machines[shard], self.stores[shard], self.done[shard]
        start, end = next(stretches(self.logs[shard][first:], size))
        records = self.logs[shard][first + start : first + end]
        decoded = machine.decode(records)
        assert not machine.unknown(decoded) or not self.known
        keys = machine.missing(decoded)
        while keys:
            keys = machine.load(keys, [self._home(machine, shard, key).get(key) for key in keys])
        effects = machine.apply(decoded, lambda row: {"shard": shard, "offset": first + row})
        store.take(effects.ops)
        for home, touches in effects.touches.items():
            self.stores[home].take(b"".join(touches.ops))
        machine.evict()
        self.done[shard] += len(records)
        self.outputs[shard] += effects.outputs
        return [output for output in effects.outputs if output.kind == "letter"]

    def _home(self, machine: Partition, shard: int, key: bytes) -> Store:
        home = machine.home(key)
        return self.stores[shard if home is None else home]

    def run(self, size: int = 10_000) -> "Shards":
        """Until every record is taken and every letter read."""
        while behind := [shard for shard, log in enumerate(self.logs) if self.done[shard] < len(log)]:
            for shard in behind:
                for letter in self.step(shard, size):
                    self.post(letter)
        return self

    def letters(self, kind: str = "") -> list[dict[str, Any]]:
        """What was written to other shards."""
        found = [json.loads(one.data) for outputs in self.outputs for one in outputs if one.kind == "letter"]
        return [letter for letter in found if letter["type"].endswith(kind)]

    def sums(self) -> Counter[tuple[str, str, str]]:
        """By customer, campaign and bucket, what the entries add up to."""
        found: Counter[tuple[str, str, str]] = Counter()
        for outputs in self.outputs:
            for entry in rewards(outputs):
                found[entry.customer_id, entry.campaign_id, entry.bucket] += int(entry.delta)
        return found
