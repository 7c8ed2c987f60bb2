"""An open-loop HTTP client: requests leave on a schedule, whether or not earlier ones have been answered."""

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

REQUEST = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) >= length:
            self._buffer = b""
            self._answer.set_result((int(head[9:12]), rest[:length]))

    async def call(self, request: bytes) -> tuple[int, bytes]:
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


WITHOUT_STATE = 0
"""Stands for the status of an answer that was made without the state: no figure of an engine at work."""


@dataclass
class Load:
    """What a run found: seconds of each answered request, statuses, how late the schedule ran at worst."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    slip_max_s: float = 0.0

    def percentile_ms(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


async def run(port: int, events: Sequence[bytes], rate: float, path: str = "/v1/decisions") -> Load:
    """Send `events`, `rate` a second. Latency counts from the moment a request is sent."""
    load = Load()
    loop = asyncio.get_running_loop()
    free: deque[_Connection] = deque()
    opened: list[_Connection] = []

    async def connect() -> _Connection:
        _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
        opened.append(connection)
        return connection

    async def one(event: bytes) -> None:
        request = REQUEST.format(path=path, size=len(event)).encode() + event
        connection = free.popleft() if free else await connect()
        began = time.perf_counter()
        status, body = await connection.call(request)
        load.seconds.append(time.perf_counter() - began)
        load.statuses[WITHOUT_STATE if b'"state_unavailable"' in body else status] += 1
        free.append(connection)

    for _ in range(8):
        free.append(await connect())
    tasks = []
    start = time.perf_counter()
    for number, event in enumerate(events):
        due = start + number / rate
        while (wait := due - time.perf_counter()) > 0:  # noqa: ASYNC110 - a schedule has no event to wait for
            await asyncio.sleep(wait)
        load.slip_max_s = max(load.slip_max_s, time.perf_counter() - due)
        tasks.append(asyncio.create_task(one(event)))
    await asyncio.gather(*tasks)
    for connection in opened:
        connection.close()
    return load


def payments(count: int, seed: int) -> list[bytes]:
    """`count` events that carry a decision, out of the generator."""
    from engine.generator.stream import Settings, generate

    found: list[bytes] = []
    for line in generate(12 * count, Settings(seed=seed)):
        if json.loads(line)["type"] in ("payment.requested", "transfer.sent"):
            found.append(line.rstrip())
            if len(found) == count:
                break
    return found
