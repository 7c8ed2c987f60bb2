"""A sink in memory: the shipped fake of `engine.ports.sink.Sink`."""

from collections.abc import Sequence

from engine.ports.sink import Sink, SinkOutput, SinkUnavailable


class MemorySink(Sink):
    """Keeps what it is sent.

    Attributes:
        sent: `(shard, ordinal, output)` in order of arrival, repeats included.
        failures: how many of the next calls fail; each failing call first takes half of what it was sent, as a
            broker that dies half-way would.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, SinkOutput]] = []
        self.failures = 0

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """Keep `outputs`; fails where the test asked for it."""
        failing = self.failures > 0
        taken = outputs[: len(outputs) // 2] if failing else outputs
        self.sent.extend((shard, first + i, output) for i, output in enumerate(taken))
        if failing:
            self.failures -= 1
            raise SinkUnavailable("the test asked for a failure")

    def ids(self, shard: int | None = None) -> list[str]:
        """Ids in order of first arrival, repeats dropped."""
        return list(dict.fromkeys(o.id for s, _, o in self.sent if shard is None or s == shard))
