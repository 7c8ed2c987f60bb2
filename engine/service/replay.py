"""Replay: history through the same core, offline."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from engine.core.controls import stretches
from engine.core.decode import Decoded
from engine.core.effects import OUTPUT_KINDS, Effects, Output
from engine.core.partition import Partition
from engine.ports.store import Commit, StateStore
from engine.service.ahead import ahead
from engine.service.machine import ModelShelf, RuleSets
from engine.service.pace import Chunk, Paced, paced

Batch = tuple[Paced, int, Decoded, Callable[[int], dict[str, Any]]]


class ReplaySink(Protocol):
    """Where a replay writes what it puts out."""

    def write(self, outputs: Sequence[Output]) -> None:
        """Take outputs, in order."""

    def write_features(self, lines: Sequence[bytes]) -> None:
        """Take the feature lines of accepted events, in order."""

    def digest(self) -> str:
        """SHA-256 over every output in order."""


@dataclass(slots=True)
class Report:
    """What a replay did; `as_dict` is `report.json`. `ruleset` is the one in force at the end."""

    events: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    dead_lettered: int = 0
    decisions: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTPUT_KINDS, 0))
    seconds: float = 0.0
    ruleset: str = ""
    digest: str = ""

    def add(self, records: int, effects: Effects) -> None:
        """Count one batch."""
        self.events += records
        self.accepted += effects.accepted
        self.duplicates += len(effects.duplicates)
        self.late += effects.late
        self.dead_lettered += effects.dead_lettered
        for outcome, count in effects.outcomes.items():
            self.decisions[outcome] = self.decisions.get(outcome, 0) + count
        self.put_out(effects)

    def put_out(self, effects: Effects) -> None:
        """Count what a batch put out: all there is to count of a tick that the history lacked."""
        for output in effects.outputs:
            self.outputs[output.kind] += 1

    def as_dict(self) -> dict[str, Any]:
        """The report as written; counts of `events` = `accepted` + `duplicates` + `dead_lettered`."""
        return {
            "events": self.events,
            "accepted": self.accepted,
            "duplicates": self.duplicates,
            "late": self.late,
            "dead_lettered": self.dead_lettered,
            "decisions": dict(sorted(self.decisions.items())),
            "alerts": self.outputs["alert"],
            "rewards": self.outputs["reward"],
            "offers": self.outputs["offer"],
            "lifecycle": self.outputs["lifecycle"],
            "seconds": round(self.seconds, 3),
            "events_per_second": round(self.events / self.seconds) if self.seconds > 0 else 0,
            "ruleset": self.ruleset,
            "digest": self.digest,
        }


async def replay(
    chunks: Iterable[Chunk],
    partition: Partition,
    sink: ReplaySink,
    *,
    store: StateStore | None = None,
    rule_sets: RuleSets | None = None,
    models: ModelShelf | None = None,
    events_max: int = 1_000,
    progress: Callable[[int], None] = lambda records: None,
) -> Report:
    """Run every record of `chunks` through `partition` and into `sink`.

    Args:
        chunks: the history, in log order. Ticks that it lacks are put in (`engine.service.pace`).
        partition: backed exactly where `store` is given.
        sink: takes the outputs.
        store: keeps the state; the replay goes on from what it holds. In memory without one.
        rule_sets: where the rule sets come from that the history puts in force; None where it changes none.
        models: where the snapshots of fraud models come from that it names, and where those go that are published.
        events_max: events of a micro-batch.
        progress: told how many more records are done.
    """
    report = Report()
    began = time.perf_counter()
    offset = 0
    if store is not None:
        head = await store.open(partition.shard)
        needed = partition.in_force(head.state)
        await _fetch(rule_sets, [] if needed is None else [needed])
        partition.restore(head.state)
        offset = head.offset
    batches = _batches(chunks, partition, events_max, None if store is None else max(offset, 0))
    # Decoding runs ahead in memory only: with a store, the rates in force are stored with the batch they belong to.
    for chunk, records, decoded, source in ahead(batches) if store is None else batches:
        await _fetch(rule_sets, partition.unknown(decoded))
        await _fetch(models, partition.unknown_models(decoded))
        if store is not None:
            keys = partition.missing(decoded)
            while keys:
                keys = partition.load(keys, await store.load(partition.shard, keys))
        effects = partition.apply(decoded, source)
        if models is not None:
            await models.add(partition.shard, effects.models)
        if store is not None:
            following = max(offset, 0) + records
            await store.commit(Commit(partition.shard, offset, following, effects.ops))
            partition.evict()
            offset = following
        sink.write(effects.outputs)
        sink.write_features(effects.features)
        if chunk.added:
            report.put_out(effects)
            continue
        report.add(records, effects)
        progress(records)
    report.seconds = time.perf_counter() - began
    report.digest = sink.digest()
    report.ruleset = partition.ruleset_hash
    return report


async def _fetch(source: RuleSets | ModelShelf | None, named: Iterable[str]) -> None:
    """Have the rule sets or models at hand that are named, where they are known."""
    if source is not None:
        for name in named:
            await source.fetch(name)


def _batches(chunks: Iterable[Chunk], partition: Partition, events_max: int, offset: int | None) -> Iterator[Batch]:
    """Every batch of the history: the chunk it is of, how many records it holds, decoded, and where they came from.

    `offset` is what the store gives the first record; None where there is no store.
    """
    for chunk in paced(chunks, partition.clock):
        for start, end in stretches(chunk.records, events_max):
            count = end - start
            offsets = () if offset is None else range(offset, offset + count)
            yield chunk, count, partition.decode(chunk.records[start:end], offsets), partial(_source, chunk, start)
            offset = None if offset is None else offset + count


def _source(chunk: Paced, start: int, index: int) -> dict[str, Any]:
    return chunk.source(start + index)
