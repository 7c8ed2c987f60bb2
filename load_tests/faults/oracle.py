"""The oracle: a single-threaded pure replay of a partition's records, and how what is there differs from it."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from engine.config import Settings
from engine.core.partition import Partition
from engine.domain.ops import APPEND, DELETE, KEY_HEAD, unpack
from engine.partitions import partition_factory
from engine.service import marks
from engine.service.batching import BatchLimits, split
from load_tests.faults.meaning import meaning, unattended

BATCH: Final = BatchLimits(events_max=777)  # a size that no worker of the campaign uses
DIGEST_BYTES: Final = 12


class Record(NamedTuple):
    """An input record."""

    offset: int
    value: bytes | None


class OutputKey(NamedTuple):
    """What names an output: two topics may not share an id, but nothing is lost by looking."""

    kind: str
    id: str


def digest(data: bytes) -> bytes:
    """Stands for the content of an output."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


@dataclass(slots=True)
class Shard:
    """What a shard comes to: the next offset, its state, its outputs by key with the digest of their content."""

    offset: int = -1
    state: dict[bytes, bytes] = field(default_factory=dict)
    outputs: dict[OutputKey, bytes] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    late: int = 0
    dead_lettered: int = 0


def replay(
    settings: Settings, shard: int, records: Sequence[Record], limits: BatchLimits = BATCH, restart_every: int = 0
) -> Shard:
    """Run records through the real partition, over the simplest store there can be.

    `restart_every`: drop the memory and restore it from the state after so many batches; 0 for never.
    """
    factory = partition_factory(settings)
    partition, found = factory(shard), Shard()
    apply_ops(found.state, marks.birth(settings.kafka.partitions))
    topic = settings.topics.events
    for number, batch in enumerate(split(list(records), limits)):
        if restart_every and number and number % restart_every == 0:
            partition = factory(shard)
            head = {key: value for key, value in found.state.items() if key.startswith(KEY_HEAD)}
            marks.take(head, settings.kafka.partitions)
            partition.restore(head)
        _step(partition, shard, topic, batch, found)
    return found


def _step(partition: Partition, shard: int, topic: str, batch: Sequence[Record], found: Shard) -> None:
    decoded = partition.decode([record.value for record in batch], [record.offset for record in batch])
    missing = partition.missing(decoded)
    while missing:
        missing = partition.load(missing, [found.state.get(key) for key in missing])
    effects = partition.apply(
        decoded, lambda row: {"topic": topic, "partition": shard, "offset": batch[row].offset}, frozenset()
    )
    apply_ops(found.state, effects.ops)
    for output in effects.outputs:
        found.outputs[OutputKey(output.kind, output.id)] = digest(output.data)
        found.order.append(output.id)
    if effects.outputs:
        apply_ops(found.state, marks.outputs(len(found.order)))
    found.offset = batch[-1].offset + 1
    found.late += effects.late
    found.dead_lettered += effects.dead_lettered


def apply_ops(state: dict[bytes, bytes], ops: bytes) -> None:
    """Apply packed operations to a dictionary; expiries are left out."""
    for op in unpack(ops):
        if op.kind == DELETE:
            state.pop(op.key, None)
        elif op.kind == APPEND:
            state[op.key] = state.get(op.key, b"") + op.value
        else:
            state[op.key] = op.value


@dataclass(slots=True)
class Found:
    """What there is: per shard the stored offset and state; every output a reader of committed records sees."""

    offsets: Mapping[int, int]
    state: Mapping[int, Mapping[bytes, bytes]]
    outputs: Sequence[tuple[OutputKey, bytes]]


@dataclass(slots=True)
class Verdict:
    """How what there is differs from the oracle."""

    lost: int
    doubled: int
    wrong: list[str]
    outputs: int


def judge(expected: Mapping[int, Shard], found: Found, *, state: bool = True) -> Verdict:
    """Compare; `state` False leaves the state out, where the store holds nothing to compare."""
    wanted: dict[OutputKey, bytes] = {}
    for shard in expected.values():
        wanted.update(shard.outputs)
    counts = Counter(key for key, _ in found.outputs)
    contents = dict(found.outputs)
    wrong = _examples("is an output the oracle does not make", [key for key in counts if key not in wanted])
    changed = [key for key, content in wanted.items() if key in contents and contents[key] != content]
    wrong += _examples("differs in content", changed)
    if state:
        for number, shard in expected.items():
            wrong += _differences(number, shard, found)
    return Verdict(
        lost=sum(key not in counts for key in wanted),
        doubled=sum(count - 1 for count in counts.values()),
        wrong=wrong,
        outputs=len(wanted),
    )


def _differences(number: int, expected: Shard, found: Found) -> list[str]:
    wrong = []
    if found.offsets.get(number, -1) != expected.offset:
        wrong.append(f"shard {number}: offset {found.offsets.get(number)} instead of {expected.offset}")
    held = found.state.get(number, {})
    there, wanted = meaning(held), meaning(expected.state)
    keys = [key for key in {*there, *wanted} if there.get(key) != wanted.get(key)]
    wrong += _examples(f"of shard {number} differs", keys)
    return wrong + _examples(f"of shard {number} waits for a timer that is not there", unattended(held))


def _examples(what: str, things: Iterable[object]) -> list[str]:
    some = sorted(map(repr, things))
    return [f"{len(some)} times: {', '.join(some[:3])} {what}"] if some else []
