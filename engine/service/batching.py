"""Micro-batch bounds: how much of the log one commit takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from engine.core.controls import any_control, may_be_control
from engine.ports.log import LogRecord

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
    """

    events_max: int = 500
    bytes_max: int = 1 << 20
    queued_events_max: int = 2_000


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
