"""An API over a shard without a log, for tests: a store, a sink and a client that can be looked into."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from engine.adapters.clocks import SystemClock
from engine.adapters.http_api import application
from engine.adapters.http_sync import SyncLimits
from engine.adapters.memory_sink import MemorySink
from engine.adapters.memory_store import MemoryStore
from engine.config import ApiKey
from engine.ports.store import Commit, Head, Place, StoreUnavailable
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits
from engine.service.sole import SoleOwner
from engine.telemetry.metrics import Metrics
from tests.support.judging import JudgingPartition
from tests.support.owners import sole_owner


class FlakyStore(MemoryStore):
    """A memory store that can be taken away (`down`) or held (`gate`, cleared)."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.commits: list[Commit] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = 0

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("the test took the store away")

    async def open(self, shard: int) -> Head:
        self._check()
        return await super().open(shard)

    async def answer(self, shard: int, key: bytes) -> bytes | None:
        self._check()
        return await super().answer(shard, key)

    async def load(self, shard: int, keys: Sequence[bytes], at: Place | None = None) -> list[bytes | None]:
        self._check()
        return await super().load(shard, keys, at)

    async def give(self, shard: int, key: bytes, body: bytes, ttl_s: int, age_s: float) -> tuple[bool, bytes | None]:
        self._check()
        return await super().give(shard, key, body, ttl_s, age_s)

    async def commit(self, commit: Commit) -> None:
        self._check()
        self.held += 1
        await self.gate.wait()
        self.held -= 1
        await super().commit(commit)
        self.commits.append(commit)


@dataclass
class Api:
    """What a test holds."""

    client: TestClient[Any, Any]
    owner: SoleOwner
    store: FlakyStore
    sink: MemorySink
    fatal: list[BaseException] = field(default_factory=list)

    async def post(self, body: Any, **headers: str) -> tuple[int, bytes, str]:
        """POST one event; status, body and content type of the answer."""
        given = {"data": body} if isinstance(body, bytes) else {"json": body}
        kind = {"Content-Type": "application/json"} if isinstance(body, bytes) else {}
        async with self.client.post("/v1/decisions", headers={**kind, **headers}, **given) as response:
            return response.status, await response.read(), response.content_type


def make_owner(store: FlakyStore, sink: MemorySink, queued_max: int, fatal: list[BaseException]) -> SoleOwner:
    clock = SystemClock()

    def backoff() -> Backoff:
        return Backoff(lambda: 0.0, first_s=0.01, max_s=0.02)

    return sole_owner(
        JudgingPartition(), store, sink, fatal, clock=clock, backoff=backoff,
        limits=BatchLimits(events_max=8, queued_events_max=queued_max),
        source=lambda offset: {"journal": "test", "offset": offset},
    )  # fmt: skip


@asynccontextmanager
async def api(
    *,
    seconds: float = 5.0,
    queued_max: int = 100,
    keys: tuple[ApiKey, ...] = (),
    store: FlakyStore | None = None,
    bulk_bytes_max: int = 1 << 20,
) -> AsyncIterator[Api]:
    """A running API; stopped at the end."""
    store, sink, fatal = store or FlakyStore(), MemorySink(), []
    owner = make_owner(store, sink, queued_max, fatal)
    app = application(owner, Metrics(), keys=keys, limits=SyncLimits(seconds, bulk_bytes_max))
    async with TestClient(TestServer(app)) as client:
        owner.start()
        yield Api(client, owner, store, sink, fatal)
        store.down = False
        store.gate.set()
        await owner.drain(5.0)


def payment(number: int, customer: str = "c1") -> dict[str, str]:
    return {"event_id": f"e{number}", "customer_id": customer, "type": "payment.requested"}


def login(number: int, customer: str = "c1") -> dict[str, str]:
    return {"event_id": f"l{number}", "customer_id": customer, "type": "account.login"}


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    """Wait until `condition()` holds; fails the test where it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
