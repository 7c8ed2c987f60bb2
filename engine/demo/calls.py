"""A gateway in small: a payment now and then over HTTP, timed."""

import asyncio
import time
import uuid
from typing import Any, Final

import aiohttp

from engine.demo.tally import Tally

EVERY_S: Final = 1.0
RESULTS_EVERY_S: Final = 1.0
TRY_AGAIN_S: Final = 0.25


def payment(number: int, run: str, event_time: str) -> dict[str, Any]:
    """A payment of a customer of the demo's own, at the time of the stream: the clock of a shard goes by its events."""
    return {
        "event_id": f"demo-{run}-{number}",
        "type": "payment.requested",
        "event_time": event_time,
        "customer_id": f"demo-gateway-{number % 5}",
        "payment_id": f"demo-pay-{run}-{number}",
        "amount": f"{10 + number % 40}.90",
        "currency": "EUR",
        "method": "card",
        "channel": "ecom",
        "merchant_id": "demo-shop",
        "merchant_category": "5411",
    }


async def results(url: str, key: str | None, tally: Tally) -> None:
    """Ask `GET /v1/campaigns` again and again, until cancelled; those that did most come first."""
    headers = {"X-API-Key": key} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            try:
                async with session.get(url + "/v1/campaigns") as response:
                    found = (await response.json())["campaigns"] if response.status == 200 else []
            except aiohttp.ClientError:
                found = []
            if found:
                tally.campaigns = sorted(found, key=lambda one: -(one["grants"] + one["offers"]))
            await asyncio.sleep(RESULTS_EVERY_S)


class Gateway:
    """Calls `POST /v1/decisions` until it is stopped.

    Attributes:
        calls: how many were answered with a decision; their decisions arrive on the topic, too.
    """

    def __init__(self, url: str, key: str | None, tally: Tally) -> None:
        self._url = url + "/v1/decisions"
        self._headers = {"X-API-Key": key} if key else {}
        self._tally = tally
        self._run = uuid.uuid4().hex[:8]
        self._number = 0
        self.calls = 0

    async def until_answered(self, seconds: float) -> bool:
        """Call until a decision comes back: then worker, log, store and API work together. False if none does."""
        deadline = time.monotonic() + seconds
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while time.monotonic() < deadline:
                status, decided = await self._call(session)
                if decided:
                    return True
                self._number += status == 200  # told without the state, and so is every repeat of it
                await asyncio.sleep(TRY_AGAIN_S)
        return False

    async def run(self) -> None:
        """A call a second, timed, until cancelled."""
        async with aiohttp.ClientSession(headers=self._headers) as session:
            while True:
                self._number += 1
                began = time.perf_counter()
                if (await self._call(session))[1]:
                    self._tally.calls_ms.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(EVERY_S)

    async def _call(self, session: aiohttp.ClientSession) -> tuple[int, bool]:
        """The status, and whether it is a decision that was made with the state."""
        try:
            async with session.post(
                self._url, json=payment(self._number, self._run, self._tally.event_time)
            ) as response:
                body = await response.read()
                self.calls += response.status == 200
                return response.status, response.status == 200 and b'"state_unavailable"' not in body
        except aiohttp.ClientError:
            return 0, False
