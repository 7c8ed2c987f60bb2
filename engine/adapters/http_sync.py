"""`POST /v1/decisions` and `POST /v1/events`: events in, what became of them out."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from aiohttp import web

from engine.adapters.http_bodies import cut, read
from engine.adapters.http_problem import Problem
from engine.ports.sync import ACCEPTED, DECISION, DEGRADED, DUPLICATE, REJECTED, Busy, Decider, SyncResult, Undecided

EVENT_BYTES_MAX: Final = 64 * 1024  # of the contract
EVENTS_MAX: Final = 1_000  # of one bulk call: a couple of commits
BULK_SECONDS_MAX: Final = 10.0  # nobody's payment waits for a bulk call
ALWAYS_DECIDED: Final = ("payment.requested", "transfer.sent")


class SyncMetrics(Protocol):
    """What is used of `engine.telemetry.metrics.Metrics`."""

    def sync(self, result: str, seconds: float) -> None:
        """A call was answered; `result` is one of a few words."""

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""


@dataclass(frozen=True, slots=True)
class SyncLimits:
    """Bounds of a call.

    Attributes:
        seconds: how long a decision may take before the caller is told that it did.
        bulk_bytes_max: largest body of a bulk call.
    """

    seconds: float = 0.5
    bulk_bytes_max: int = 8 << 20


class _Identity(msgspec.Struct):
    event_id: str = ""
    type: str = ""


_IDENTITY: Final = msgspec.json.Decoder(_Identity)


class SyncHandlers:
    """The handlers, over whatever decides."""

    def __init__(self, decider: Decider, metrics: SyncMetrics, limits: SyncLimits) -> None:
        self._decider = decider
        self._metrics = metrics
        self._limits = limits

    async def decision(self, request: web.Request) -> web.Response:
        """`POST /v1/decisions`: one event; its decision, 202 where it carries none, 422 where it is refused.

        With `?explain=true` the decision has a member more, `explanation`; null in the answer to a repeat, and in one
        that was made without the state.
        """
        explain = _switch(request, "explain")
        event = await read(request, EVENT_BYTES_MAX)
        began = time.perf_counter()
        (result,) = await self._decide([event], self._limits.seconds, began, explain)
        self._metrics.sync(_label(result), time.perf_counter() - began)
        if result.status == REJECTED:
            reason = msgspec.json.decode(result.body)
            raise Problem(422, "event-rejected", reason["detail"], members={"reason": reason["reason"]})
        if result.status in (DECISION, DEGRADED) or result.body != b"null":
            body = _explained(result) if explain else result.body
            return web.Response(body=body, content_type="application/json")
        return web.Response(body=_acknowledgement(event, result), status=202, content_type="application/json")

    async def events(self, request: web.Request) -> web.Response:
        """`POST /v1/events`: NDJSON or a JSON array; one result an event, in order."""
        events = cut(await read(request, self._limits.bulk_bytes_max), EVENTS_MAX)
        seconds = max(self._limits.seconds, BULK_SECONDS_MAX)
        results = await self._decide(events, seconds, time.perf_counter())
        counts = dict.fromkeys((DECISION, ACCEPTED, DUPLICATE, REJECTED), 0)
        for result in results:
            counts[result.status] += 1
        lines = b",".join(_line(event, result) for event, result in zip(events, results))
        body = b'{"events":%d,"counts":%b,"results":[%b]}' % (len(events), msgspec.json.encode(counts), lines)
        return web.Response(body=body, content_type="application/json")

    async def _decide(
        self, events: Sequence[bytes], seconds: float, began: float, explain: bool = False
    ) -> list[SyncResult]:
        try:
            return await self._decider.decide(events, seconds, explain=explain)
        except Busy as busy:
            self._metrics.sync("failed", time.perf_counter() - began)
            raise Problem(503, "busy", str(busy), headers={"Retry-After": str(busy.retry_after_s)}) from busy
        except Undecided as undecided:
            self._metrics.sync("timeout", time.perf_counter() - began)
            detail = f"{undecided}; the event may have been taken, and sending it again gets its answer"
            raise Problem(504, "no-decision-in-time", detail, headers={"Retry-After": "1"}) from undecided


_LABELS: Final = {
    DECISION: "decided",
    DEGRADED: "degraded",
    DUPLICATE: "repeated",
    ACCEPTED: "accepted",
    REJECTED: "rejected",
}


def _label(result: SyncResult) -> str:
    return _LABELS[result.status]


def _switch(request: web.Request, name: str) -> bool:
    """A yes or no in the query; no where it is not there."""
    value = request.query.get(name, "false")
    if value not in ("true", "false"):
        raise Problem(422, "unusable", f"{name}: true or false")
    return value == "true"


def _explained(result: SyncResult) -> bytes:
    """The decision with its explanation; both are JSON objects already."""
    return b'%b,"explanation":%b}' % (result.body[:-1], result.explanation or b"null")


def _identity(event: bytes) -> _Identity:
    try:
        return _IDENTITY.decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Identity()


def _acknowledgement(event: bytes, result: SyncResult) -> bytes:
    """The answer to an event without a decision. A repeat of it gets the same bytes.

    Only where a decision was certainly made and is not kept any more does a repeat say `duplicate`.
    """
    identity = _identity(event)
    lost = result.status == DUPLICATE and identity.type in ALWAYS_DECIDED
    return msgspec.json.encode({"event_id": identity.event_id, "status": DUPLICATE if lost else ACCEPTED})


def _line(event: bytes, result: SyncResult) -> bytes:
    """One result of a bulk call."""
    members = b'{"event_id":%b,"status":"%b"' % (msgspec.json.encode(_identity(event).event_id), result.status.encode())
    if result.body == b"null":
        return members + b"}"
    name = b"rejection" if result.status == REJECTED else b"decision"
    return b'%b,"%b":%b}' % (members, name, result.body)
