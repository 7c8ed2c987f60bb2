"""A history through one or two sets of campaigns, side by side."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from engine.core.controls import stretches
from engine.core.dead_letters import nowhere
from engine.core.partition import Partition
from engine.service.backtest.labels import Labels
from engine.service.pace import Chunk, paced
from engine.service.whatif.policies import judged
from engine.service.whatif.tally import Tally

BATCH_EVENTS = 1_000


def backtest(
    chunks: Iterable[Chunk], sides: dict[str, Partition], progress: Callable[[int], None] = lambda records: None
) -> dict[str, Any]:
    """What each side's campaigns would have done. Partitions have no store and are at their beginning."""
    labels, customers = Labels(), set[int]()
    tallies = {name: Tally(partition.ruleset.campaigns) for name, partition in sides.items()}
    events = 0
    for chunk in paced(chunks, next(iter(sides.values())).clock):
        for start, end in stretches(chunk.records, BATCH_EVENTS):
            records = chunk.records[start:end]
            for place, (name, partition) in enumerate(sides.items()):
                decoded = partition.decode(records)
                effects = partition.apply(decoded, nowhere)
                tallies[name].add(effects.outputs)
                if place == 0:
                    events += 0 if chunk.added else effects.accepted
                    customers.update(np.unique(decoded.columns.string("customer_id")).tolist())
                    labels.observe(decoded.columns)
        progress(len(chunk.records))
    frauds = [payment for payment, _ in labels.frauds]
    return {
        "events": events,
        "customers": len(customers),
        "sides": {
            name: {**tally.report(len(customers), frauds), "choices": judged(sides[name].choices)}
            for name, tally in tallies.items()
        },
    }
