"""Micro-batch bounds: how much of the log one commit takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from engine.core.controls import any_control, may_be_control
from engine.ports.log import LogRecord
from engine.ports.store import Commit

COMMIT_BYTES_MAX: Final = 16 << 20

R = TypeVar("R", bound=LogRecord)


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Bounds of a micro-batch. They change when outputs appear, never what they say.

    Attributes:
        events_max: records in one commit. 500 spread the cost of a Redis round trip and a kernel call to nothing, and
            hold the server for about 4 ms; where others share that Redis and its latency matters, 100 make it about 1.
        bytes_max: bytes of event JSON in one commit. 1 MiB bounds the memory of a batch and the size of a commit; one
            record is always taken, however big.
        queued_events_max: records fetched and waiting for their turn, per partition. A few batches keep the worker
            busy while the next fetch is on its way; past that the partition is not fetched.
        commit_bytes_max: bytes of one commit. An ordinary batch of 500 makes 0.5 MB; one that rewrites the long logs of
            many busy entities could make a hundred times that, which would hold the store for as much longer. A batch
            past the bound is divided; what one record makes is always taken.
    """

    events_max: int = 500
    bytes_max: int = 1 << 20
    queued_events_max: int = 2_000
    commit_bytes_max: int = COMMIT_BYTES_MAX


class CommitTooBig(Exception):
    """The effects of a batch of several records are too much for one commit: open the shard again, and divide it."""

    def __init__(self, shard: int, records: int, size: int, size_max: int) -> None:
        super().__init__(f"shard {shard}: the effects of {records} records are {size} bytes; at most {size_max}")


def commit_bytes(commit: Commit) -> int:
    """About what a commit sends to the store."""
    answers = sum(len(body) for _, body, _ in commit.answers)
    return len(commit.ops) + len(commit.outbox) + len(commit.journal) + len(commit.touches) + answers


def split(records: Sequence[R], limits: BatchLimits) -> Iterator[Sequence[R]]:
    """Cut `records` into runs that keep to `limits`, in order, none empty; a control event is the first of its run."""
    start = 0
    controls = any_control(record.value for record in records)
    while start < len(records):
        end = _end(records, start, limits, controls)
        yield records[start:end]
        start = end


def _end(records: Sequence[R], start: int, limits: BatchLimits, controls: bool) -> int:
    """Index after the last record of the batch that begins at `start`; `controls` where there may be control events."""
    stop = min(len(records), start + limits.events_max)
    size = 0
    for index in range(start, stop):
        value = records[index].value
        size += len(value or b"")
        if index > start and (size > limits.bytes_max or (controls and may_be_control(value))):
            return index
    return stop
