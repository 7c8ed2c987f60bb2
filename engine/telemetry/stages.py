"""The clock that the pure core does not have: times the stages of a partition."""

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from engine.telemetry.metrics import Metrics


class Probed(Protocol):
    """Something that says when each of its stages ends."""

    probe: Callable[[str], None]


M = TypeVar("M", bound=Probed)


class StageClock:
    """A probe that records how long each stage took."""

    def __init__(self, metrics: Metrics, now: Callable[[], float] = time.perf_counter) -> None:
        self._metrics = metrics
        self._now = now
        self._last = now()

    def __call__(self, stage: str) -> None:
        """A stage has ended; "begin" only starts the clock."""
        now = self._now()
        if stage != "begin":
            self._metrics.stage(stage, now - self._last)
        self._last = now


def timed(make: Callable[[int], M], metrics: Metrics) -> Callable[[int], M]:
    """A maker of partitions whose stages are timed."""

    def build(shard: int) -> M:
        machine = make(shard)
        machine.probe = StageClock(metrics)
        return machine

    return build
