"""Stage times: each stage gets the time since the one before it."""

from engine.core.partition import STAGES as CORE_STAGES
from engine.telemetry.metrics import STAGES, Metrics
from engine.telemetry.stages import timed


class Machine:
    """Says three stages."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.probe = print

    def run(self) -> None:
        for stage in ("begin", "admit", "features"):
            self.probe(stage)


def test_every_stage_of_the_core_has_a_series() -> None:
    assert set(CORE_STAGES) < set(STAGES)


def test_a_timed_partition_fills_the_histogram() -> None:
    metrics = Metrics()
    machine = timed(Machine, metrics)(3)
    machine.run()
    machine.run()
    text = metrics.render().decode()
    counted = {line for line in text.splitlines() if "_count{" in line and "stage" in line}
    assert sum(line.endswith(" 2.0") for line in counted) == 2
    assert machine.shard == 3
