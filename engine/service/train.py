"""A fraud model out of a history: what a shard would have learned that had lived through it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from engine.core.controls import stretches
from engine.core.partition import Partition
from engine.scoring.snapshot import Snapshot
from engine.service.pace import Chunk, Paced, paced

EVENTS_MAX: Final = 1_000  # of a batch; no outcome depends on it


class NothingLearned(Exception):
    """The history is not enough for a model; the text says what is missing."""


def train(chunks: Iterable[Chunk], partition: Partition, progress: Callable[[int], None]) -> Snapshot:
    """Run a history through a partition without a store, and conclude. Raises `NothingLearned`.

    Control events of the history count: rates and lists as they changed. Rule sets do only as far as the partition
    finds them. `progress` is told how many more records are done.
    """
    labels: dict[str, int] = {}
    for chunk in paced(chunks, partition.clock):
        for start, end in stretches(chunk.records, EVENTS_MAX):
            effects = partition.apply(partition.decode(chunk.records[start:end]), partial(_source, chunk, start))
            for kind, count in effects.labels.items():
                labels[kind] = labels.get(kind, 0) + count
            progress(end - start)
    fraud = partition.models.fraud
    if fraud is None:
        raise NothingLearned(f"rule set {partition.ruleset_hash} has no fraud model (models.fraud)")
    snapshot = fraud.conclude()
    if snapshot is None:
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(labels.items())) or "none"
        raise NothingLearned(f"too few labels came to make a model; labels by kind: {told}")
    return snapshot


def _source(chunk: Paced, start: int, index: int) -> dict[str, Any]:
    return chunk.source(start + index)
