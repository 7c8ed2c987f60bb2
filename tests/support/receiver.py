"""A webhook receiver that checks what it gets, as Standard Webhooks tells receivers to, and answers as it is told."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

import msgspec
from aiohttp import web

TOLERANCE_S = 300


class Delivery(NamedTuple):
    """One request: the id and body it came with, and by which secrets it was signed."""

    id: str
    event: dict
    signed: list[bool]


def verify(secret: str, headers: dict[str, str], body: bytes, now_s: float) -> bool:
    """Whether one of the signatures is by `secret` and fresh: the receiver's half of the specification."""
    timestamp = headers["webhook-timestamp"]
    if abs(now_s - int(timestamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{timestamp}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(wanted, found) for found in headers["webhook-signature"].split(" "))


class Receiver:
    """An HTTP server on loopback.

    Attributes:
        answer: status of the answer to the n-th request; a negative one answers nothing for that many seconds.
        got: every request, in order.
    """

    def __init__(self, *secrets: str, answer: Callable[[int], int] = lambda _: 204, **headers: str) -> None:
        self.secrets = secrets
        self.answer = answer
        self.headers = headers
        self.got: list[Delivery] = []
        self.accepted: list[str] = []
        self.paths: list[str] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.paths.append(request.path)
        signed = [verify(secret, dict(request.headers), body, time.time()) for secret in self.secrets]
        self.got.append(Delivery(request.headers["webhook-id"], msgspec.json.decode(body), signed))
        status = self.answer(len(self.got))
        if status < 0:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(-status)
            return web.Response(status=204)
        if status < 300:
            self.accepted.append(request.headers["webhook-id"])
        return web.Response(status=status, headers=self.headers)

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until `condition`."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"never: {[delivery.id for delivery in self.got]}"
            await asyncio.sleep(0.01)
