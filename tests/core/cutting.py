"""A history cut into batches by a partition that is started again and again, neither of which may make a difference."""

import json
from collections.abc import Sequence

from engine.core.controls import stretches
from engine.core.effects import Effects
from engine.core.partition import Partition
from engine.ruleset import RuleSet
from tests.core.stored import Store, step


def cut(partition: Partition, store: Store, records: Sequence[bytes], batch: int, drop: int) -> list[Effects]:
    """What comes of batches of `batch` records, the memory dropped after the first and every `drop` more of them."""
    found = []
    for number, (start, end) in enumerate(stretches(records, batch)):
        found.append(step(partition, store, records[start:end], start))
        if number % drop == 0:
            partition.restore(store.head())
    return found


def bodies(effects: Sequence[Effects], kind: str) -> list[bytes]:
    """The outputs of a kind."""
    return [output.data for one in effects for output in one.outputs if output.kind == kind]


def switched(records: Sequence[bytes], switches: Sequence[tuple[int, RuleSet]]) -> list[bytes]:
    """Records with rule sets that come into force before some of them, named by their place."""
    found = list(records)
    for place, ruleset in sorted(switches, key=lambda one: -one[0]):
        at = json.loads(found[place])["event_time"]
        switch = {"type": "control.rules", "event_id": f"s{place}", "event_time": at, "ruleset": ruleset.hash}
        found.insert(place, json.dumps(switch).encode())
    return found
