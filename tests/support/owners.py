"""A shard without a log and who owns it, over a store and a sink that a test holds."""

from collections.abc import Callable, Mapping
from typing import Any

from engine.ports.clock import Clock
from engine.ports.sink import Sink
from engine.ports.store import StateStore
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits
from engine.service.machine import PartitionMachine
from engine.service.marks import NO_LOG
from engine.service.outage import Outage
from engine.service.relay import Relay
from engine.service.shard import BatchOutcome, Shard
from engine.service.sole import SoleOwner


def at_once() -> Backoff:
    """Waits for nothing."""
    return Backoff(lambda: 0.0)


def _ignore(outcome: BatchOutcome) -> None:
    """Whoever is told of batches does not care."""


def sole_owner(
    machine: PartitionMachine,
    store: StateStore,
    sink: Sink,
    fatal: list[BaseException],
    *,
    clock: Clock,
    limits: BatchLimits,
    on_batch: Callable[[BatchOutcome], None] = _ignore,
    backoff: Callable[[], Backoff] = at_once,
    source: Callable[[int], Mapping[str, Any]] = lambda offset: {"offset": offset},
    shard: Mapping[str, Any] | None = None,
    **owner: Any,
) -> SoleOwner:
    """The owner of shard 0, not started. What is fatal to it goes into `fatal`; `shard` and `owner` hold further
    arguments of `Shard` and `SoleOwner`."""
    outage = Outage("the state store", clock)
    relay = Relay(0, sink, clock=clock, backoff=backoff(), outage=Outage("the sink", clock), on_fatal=fatal.append)
    return SoleOwner(
        Shard(
            0, machine, store, relay, clock=clock, backoff=backoff(), outage=outage, source=source, partitions=NO_LOG,
            **(shard or {}),
        ),
        lambda: store.answer(0, b"probe"),
        limits=limits,
        clock=clock,
        store_outage=outage,
        on_batch=on_batch,
        on_fatal=fatal.append,
        **owner,
    )  # fmt: skip
