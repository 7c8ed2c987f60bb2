"""Which processes own shards now, and under which rule sets: told by each of them, forgotten soon after it ends."""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """What one owner of shards says about itself.

    Attributes:
        worker: its name: host and process.
        version: of the engine.
        started_ms: when it started, wall time.
        shards: hash of the rule set in force, by shard.
        directory: hash of the last content of its rules directory that could be used; empty where none is watched.
        errors: what is wrong with that directory now, a line each.
    """

    worker: str
    version: str
    started_ms: int
    shards: Mapping[int, str]
    directory: str = ""
    errors: tuple[str, ...] = ()


class WorkerRegistry(Protocol):
    """Where owners of shards sign in."""

    async def sign_in(self, worker: Worker) -> None:
        """Say that this worker lives; to be repeated, for it is soon forgotten. Raises `StoreUnavailable`."""

    async def sign_out(self, name: str) -> None:
        """Say that it ends. Raises `StoreUnavailable`."""

    async def workers(self) -> list[Worker]:
        """Those that signed in lately, by name. Raises `StoreUnavailable`."""
