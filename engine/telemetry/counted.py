"""What metrics read of the work of a shard, so that they need to know no other room."""

from collections.abc import Sequence
from typing import Protocol

from engine.telemetry.learning import CountedLearning


class CountedOutput(Protocol):
    """What is read of `engine.core.effects.Output`."""

    @property
    def kind(self) -> str:
        """Kind of the output."""

    @property
    def data(self) -> bytes:
        """Its JSON body."""


class CountedEffects(Protocol):
    """What is read of `engine.core.effects.Effects`."""

    duplicates: list[int]
    accepted: int
    late: int
    dead_lettered: int
    outcomes: dict[str, int]
    control: int
    hits: dict[tuple[str, str], int]
    observed: dict[str, int]
    labels: dict[str, int]
    refused: dict[str, int]
    ops: bytes

    @property
    def outputs(self) -> Sequence[CountedOutput]:
        """Everything it made."""

    @property
    def learning(self) -> CountedLearning | None:
        """`engine.core.effects.Learning`."""


class CountedBatch(Protocol):
    """What is read of `engine.service.shard.BatchOutcome`; seconds are wall time."""

    @property
    def shard(self) -> int:
        """The shard the batch belongs to."""

    @property
    def records(self) -> int:
        """Log records it took."""

    @property
    def effects(self) -> CountedEffects:
        """What it did."""

    @property
    def decode_s(self) -> float:
        """Decoding and validation."""

    @property
    def load_s(self) -> float:
        """Loading state that memory did not hold."""

    @property
    def apply_s(self) -> float:
        """Features, scores, rules, decisions, rewards."""

    @property
    def commit_s(self) -> float:
        """From the effects to the stored commit."""
