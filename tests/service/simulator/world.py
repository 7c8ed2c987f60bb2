"""What is simulated: the records that come, the partition they go through, and the oracle beside it."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from engine.adapters.memory_log import MemoryRecord
from engine.core.controls import stretches
from engine.core.decode import Decoded
from engine.core.effects import Effects, Output
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset import RuleSet


class Crashing(Partition):
    """Calls `crash` between its stages."""

    crash: Callable[[], None]

    def missing(self, decoded: Decoded) -> list[bytes]:
        keys = super().missing(decoded)
        self.crash()
        return keys

    def apply(
        self, decoded: Decoded, source: Callable[[int], dict[str, Any]], explain: frozenset[int] = frozenset()
    ) -> Effects:
        effects = super().apply(decoded, source, explain)
        self.crash()
        return effects


class World:
    """Records of one kind. A world inherits this and says what they are.

    Attributes:
        first: the rule set that shards begin with; sets: all there are, by hash.
        small, whole: settings of partitions that hold almost nothing in memory, and of one that holds all.
    """

    first: RuleSet
    sets: Mapping[str, RuleSet]
    small: CoreSettings
    whole = CoreSettings()

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        """Record `number` of a partition."""
        raise NotImplementedError

    def probes(self, draw: random.Random, partition: int) -> list[bytes]:
        """Events after all others that find out what the state holds."""
        return []

    def machine(
        self, number: int, crash: Callable[[], None], rulesets: Callable[[str], RuleSet | None] | None = None
    ) -> "Crashing":
        """The empty partition of a shard, which calls `crash` between its stages."""
        machine = Crashing(self.first, self.small, shard=number, rulesets=rulesets or self.sets.get)
        machine.crash = crash
        return machine

    def oracle(self, shard: int) -> "Oracle":
        """One thread, one memory, nothing that goes wrong."""
        whole = {"shard": shard, "backed": False, "features_out": True, "rulesets": self.sets.get}
        return Oracle(Partition(self.first, self.whole, **whole), shard)  # type: ignore[arg-type]

    def reopened(self, shard: int) -> Partition:
        """A partition to be put over stored state, which shows every feature."""
        return Partition(self.first, self.whole, shard=shard, features_out=True, rulesets=self.sets.get)


class Told(NamedTuple):
    """What the oracle says of one record: its status for a caller, and the body where there is a decision."""

    status: str
    body: bytes


class Oracle:
    """An undisturbed run over records, in as few batches as control events allow."""

    def __init__(self, partition: Partition, shard: int) -> None:
        self.partition = partition
        self.shard = shard
        self.outputs: list[Output] = []
        self.features: list[bytes] = []
        self.told: dict[int, Told] = {}

    def take(self, records: Sequence[MemoryRecord]) -> "Oracle":
        for start, end in stretches([record.value for record in records], 500):
            part = records[start:end]
            decoded = self.partition.decode([record.value for record in part])
            effects = self.partition.apply(decoded, lambda row, part=part: source(self.shard, part[row].offset))  # type: ignore[misc]
            self.outputs += effects.outputs
            self.features += effects.features
            self._tell(part, effects)
        return self

    def _tell(self, part: Sequence[MemoryRecord], effects: Effects) -> None:
        refused = {json.loads(o.data)["source"]["offset"] for o in effects.outputs if o.kind == "dead_letter"}
        for row, record in enumerate(part):
            status = "rejected" if record.offset in refused else "accepted"
            self.told[record.offset] = Told("duplicate" if row in effects.duplicates else status, b"null")
        for row, body in effects.decisions:
            self.told[part[row].offset] = Told("decision", body)


def source(shard: int, offset: int) -> dict[str, Any]:
    return {"topic": "payments.events", "partition": shard, "offset": offset}
