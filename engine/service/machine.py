"""What the service asks of the core: a partition as a machine that is fed batches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from engine.core.effects import Effects

Source = dict[str, Any]


class PartitionMachine(Protocol):
    """The deterministic state machine of one shard (`engine.core.partition.Partition`); no I/O, no clock.

    `probe` is told the name of each stage of `apply` as it ends.
    """

    probe: Callable[[str], None]

    def restore(self, head_state: dict[bytes, bytes]) -> None:
        """Start over from the small state of the shard, as the store holds it; `{}` for a new one."""

    def decode(self, records: Sequence[bytes | None]) -> Any:
        """Turn raw events into columns and rejects. Changes nothing."""

    def missing(self, decoded: Any) -> list[bytes]:
        """State keys that must be loaded before `apply`."""

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take the values of `missing`, in the same order."""

    def apply(self, decoded: Any, source: Callable[[int], Source]) -> Effects:
        """Process a batch; `source(index)` is where the record came from, for dead letters."""

    def evict(self) -> None:
        """Bound what is held in memory; only between a commit and the next batch."""
