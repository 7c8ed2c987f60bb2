"""Where outputs go: a Kafka cluster, a file, a webhook."""

from collections.abc import Sequence
from typing import Protocol


class SinkUnavailable(Exception):
    """The sink did not take the outputs: wait, back off, send the same again. Some may have arrived."""


class SinkOutput(Protocol):
    """One output, as `engine.core.effects.Output` holds it."""

    @property
    def kind(self) -> str:
        """One of `engine.core.effects.OUTPUT_KINDS`."""

    @property
    def key(self) -> bytes:
        """The customer id as UTF-8; empty where there is none."""

    @property
    def id(self) -> str:
        """Deterministic id: consumers drop what they have already seen by it."""

    @property
    def time_ms(self) -> int:
        """Event time of the cause, milliseconds since 1970."""

    @property
    def data(self) -> bytes:
        """The JSON body, one line."""


class Sink(Protocol):
    """Takes outputs, at least once each and in order per shard. See docs/howto/add-a-sink.md.

    A sink inherits this class; only `send` has to be written.
    """

    @property
    def every_s(self) -> float:
        """Seconds between the beginnings of two calls for a shard, where a call costs the receiver much whatever it
        carries: what is committed meanwhile goes out with the next. 0: each as soon as it can. A first call, one after
        a pause and one that is full are not held up."""
        return 0.0

    async def send(self, shard: int, first: int, outputs: Sequence[SinkOutput]) -> None:
        """Return once every output is safely with the receiver. Raises `SinkUnavailable` to be called again.

        `first` is the ordinal of the first of `outputs` among all outputs the shard ever made (0, 1, 2 ...), the same
        after any crash and whatever the batches: a sink that can store a position beside its outputs uses it to skip
        what it already holds.
        """

    def take(self, shard: int) -> None:
        """This process owns `shard` from now on and may send. Returns at once. Idempotent."""
        del shard  # most sinks hold nothing for a shard

    async def release(self, shard: int) -> None:
        """This process sends nothing more of `shard` until it takes it again: let go of what was held for it."""
        del shard
