"""Faults inside a worker process: it ends at a named step, its sink is slow or stands still, a record makes it raise.

Only a forked worker of the campaign is ever armed (`nursery`); the engine knows nothing of this.
"""

import asyncio
import functools
import inspect
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from engine.adapters.kafka_batches import OutputBatches
from engine.adapters.kafka_outputs import KafkaOutputs
from engine.adapters.redis_client import RedisClient
from engine.adapters.redis_store import RedisStore
from engine.core.partition import Partition
from engine.service.relay import Relay
from engine.service.shard import Shard

BEFORE: Final = "before"
AFTER: Final = "after"
DURING: Final = "during"
STALL_LOOK_S: Final = 0.05
COMMIT_S_MAX: Final = 0.004  # a commit that was sent takes about so long; the end comes somewhere within

STEPS: Final[dict[str, tuple[type, str, str]]] = {
    "1 waiting for room": (Relay, "room", BEFORE),
    "2 decoded": (Partition, "decode", AFTER),
    "3 control events adopted": (Partition, "missing", AFTER),
    "3 state loaded": (RedisStore, "load", AFTER),
    "4 applied": (Partition, "apply", AFTER),
    "5 commit built": (Shard, "_build", AFTER),
    "6 commit not yet sent": (RedisStore, "commit", BEFORE),
    "6 commit on its way": (RedisClient, "run", DURING),
    "6 commit stored": (RedisStore, "commit", AFTER),
    "7 handed to the relay": (Relay, "offer", AFTER),
    "relay: before the transaction": (KafkaOutputs, "send", BEFORE),
    "relay: records sent, transaction open": (OutputBatches, "send", AFTER),
    "relay: transaction committed": (KafkaOutputs, "send", AFTER),
    "relay: acknowledged in memory": (Relay, "_sent", AFTER),
}
"""Where a worker can be made to end: the steps of `Shard`'s commit by their numbers, then those of the relay."""

_open = False  # whether a shard of this process is open: what ran before was the warm-up


def arm(faults: dict[str, Any]) -> None:
    """Build faults into this process: any of

    `{"step": name, "count": n}`, `{"slow_sink_s": s, "stalled_while": file}`, `{"poison": text}`.
    """
    if "step" in faults:
        _note_opening()
        owner, name, when = STEPS[faults["step"]]
        setattr(owner, name, _ending(getattr(owner, name), when, int(faults["count"])))
    if "slow_sink_s" in faults:
        stalled = Path(faults.get("stalled_while", os.devnull + "/never"))
        KafkaOutputs.send = _slow(KafkaOutputs.send, float(faults["slow_sink_s"]), stalled)  # type: ignore[method-assign]
    if "poison" in faults:
        Partition.decode = _poisoned(Partition.decode, faults["poison"].encode())  # type: ignore[method-assign]


def _note_opening() -> None:
    start = Relay.start

    def started(self: Relay) -> None:
        global _open
        _open = True
        start(self)

    Relay.start = started  # type: ignore[method-assign]


def _ending(function: Callable[..., Any], when: str, count: int) -> Callable[..., Any]:
    """`function`, which ends the process at its call number `count`."""
    left = count

    def due() -> bool:
        nonlocal left
        left -= _open
        return left <= 0

    @functools.wraps(function)
    async def during(*args: Any) -> Any:
        if not due():
            return await function(*args)
        call = asyncio.ensure_future(function(*args))
        await asyncio.sleep(random.random() * COMMIT_S_MAX)
        end()
        return await call

    @functools.wraps(function)
    async def awaited(*args: Any) -> Any:
        now = due()
        if now and when == BEFORE:
            end()
        result = await function(*args)
        if now:
            end()
        return result

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        now = due()
        if now and when == BEFORE:
            end()
        result = function(*args)
        if now:
            end()
        return result

    if when == DURING:
        return during
    return awaited if inspect.iscoroutinefunction(function) else called


def end() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _slow(send: Callable[..., Any], seconds: float, stalled: Path) -> Callable[..., Any]:
    async def slowed(*args: Any) -> None:
        await asyncio.sleep(seconds)
        while stalled.exists():  # noqa: ASYNC110, ASYNC240 - another process says when
            await asyncio.sleep(STALL_LOOK_S)
        await send(*args)

    return slowed


def _poisoned(decode: Callable[..., Any], poison: bytes) -> Callable[..., Any]:
    def decoded(self: Partition, records: Any, *offsets: Any) -> Any:
        if any(poison in (value or b"") for value in records):
            raise RuntimeError("a record that the core cannot take")
        return decode(self, records, *offsets)

    return decoded
