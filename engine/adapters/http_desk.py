"""The routes of analysts: `/v1/rules`, `/v1/lists`, snoozes and backtests."""

import re
from collections.abc import Awaitable
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import orjson
from aiohttp import web
from msgspec import Meta

from engine.adapters.http_bodies import read
from engine.adapters.http_problem import Problem
from engine.domain.durations import parse_duration
from engine.domain.events import LIST_NAME
from engine.domain.fields import ENTITY_FIELDS
from engine.domain.limits import ID_CHARS_MAX, LIST_CHANGES_MAX, LIST_VALUE_CHARS_MAX, STRING_CHARS_MAX
from engine.ports.desk import BacktestOrder, Desk, ListChange, NotThere, Unusable
from engine.ports.log import LogUnavailable
from engine.ports.store import StoreUnavailable
from engine.ports.sync import Busy

PAGE: Final = 1_000
PAGE_MAX: Final = 10_000
CHANGE_BYTES_MAX: Final = 4 << 20  # 10,000 values of any length that occurs, thrice

Listed = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=LIST_VALUE_CHARS_MAX)]], Meta(max_length=LIST_CHANGES_MAX)
]
Files = Annotated[dict[str, str], Meta(min_length=1, max_length=1_000)]
T = TypeVar("T")


class ListBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/lists/{name}`: `values` replaces all of the list, then `remove`, then `add`."""

    values: Listed | None = None
    add: Listed = []
    remove: Listed = []
    ttl: str | None = None
    expires_at: str | None = None


class SnoozeBody(msgspec.Struct, forbid_unknown_fields=True, rename={"duration": "for"}):
    """Body of `POST /v1/rules/{id}/snooze`: for whom, and for how long."""

    entity: str
    value: Annotated[str, Meta(min_length=1, max_length=STRING_CHARS_MAX)]
    duration: str | None = None
    until: str | None = None


class ResolveBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/alerts/{id}/resolve`: what the alert turned out to be, and whose it is, as it says."""

    resolution: Literal["fraud", "legitimate", "dismissed"]
    customer_id: Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
    payment_id: Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)] | None = None


class BacktestBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /v1/rules/backtest`: a history, and the rules as they might be."""

    candidate: Files
    events: list[msgspec.Raw] | None = None
    source: str | None = None
    baseline: Files | None = None
    sweep: Annotated[list[str], Meta(max_length=4)] = []


class DeskHandlers:
    """The handlers over a desk; `backtest_bytes_max` bounds the body of a backtest."""

    def __init__(self, desk: Desk, backtest_bytes_max: int) -> None:
        self._desk = desk
        self._backtest_bytes_max = backtest_bytes_max

    async def rules(self, request: web.Request) -> web.Response:
        """`GET /v1/rules`."""
        return _json(await _answered(self._desk.rules()))

    async def lists(self, request: web.Request) -> web.Response:
        """`GET /v1/lists`."""
        return _json({"lists": await _answered(self._desk.lists())})

    async def list_values(self, request: web.Request) -> web.Response:
        """`GET /v1/lists/{name}?after=VALUE&limit=N`: values in order, a page at a time."""
        limit = request.query.get("limit", str(PAGE))
        if not limit.isdecimal() or not 1 <= int(limit[:9]) <= PAGE_MAX:
            raise Problem(422, "unusable", f"limit: a whole number from 1 to {PAGE_MAX}")
        after = request.query.get("after", "")
        return _json(await _answered(self._desk.list_values(_name(request), after, int(limit))))

    async def change_list(self, request: web.Request) -> web.Response:
        """`POST /v1/lists/{name}`: 202 once every shard's log holds the change."""
        name, body = _name(request), _decoded(ListBody, await read(request, CHANGE_BYTES_MAX))
        if body.values is None and not body.add and not body.remove:
            raise Problem(422, "unusable", "nothing to change: give values, add or remove")
        expires = self._until(body.ttl, body.expires_at, "ttl", "expires_at")
        change = ListChange(body.values, body.add, body.remove, expires)
        return _accepted(await _answered(self._desk.change_list(name, change)))

    async def snooze(self, request: web.Request) -> web.Response:
        """`POST /v1/rules/{id}/snooze`."""
        body = _decoded(SnoozeBody, await read(request, CHANGE_BYTES_MAX))
        until = self._until(body.duration, body.until, "for", "until")
        if until is None:
            raise Problem(422, "unusable", 'for how long: give "for" or "until"')
        entity = _entity(body.entity)
        return _accepted(await _answered(self._desk.snooze(_rule(request), entity, body.value, until)))

    async def wake(self, request: web.Request) -> web.Response:
        """`DELETE /v1/rules/{id}/snooze?entity=E&value=V`."""
        value = request.query.get("value", "")
        if not value:
            raise Problem(422, "unusable", "whom it was snoozed for: give entity and value")
        entity = _entity(request.query.get("entity", ""))
        return _accepted(await _answered(self._desk.snooze(_rule(request), entity, value, None)))

    async def resolve(self, request: web.Request) -> web.Response:
        """`POST /v1/alerts/{id}/resolve`."""
        body = _decoded(ResolveBody, await read(request, CHANGE_BYTES_MAX))
        if not (body.customer_id + (body.payment_id or "")).isprintable():
            raise Problem(422, "unusable", "customer_id, payment_id: no control characters")
        call = self._desk.resolve(_alert(request), body.resolution, body.customer_id, body.payment_id)
        return _accepted(await _answered(call))

    async def backtest(self, request: web.Request) -> web.Response:
        """`POST /v1/rules/backtest`: the report of `steward rules backtest --json`."""
        body = _decoded(BacktestBody, await read(request, self._backtest_bytes_max))
        if (body.events is None) == (body.source is None):
            raise Problem(422, "unusable", "a history is needed: either events or source")
        events = None if body.events is None else [bytes(raw) for raw in body.events]
        order = BacktestOrder(events, body.source or "", body.candidate, body.baseline, body.sweep)
        report = await _answered(self._desk.backtest(order))
        return web.Response(body=report, content_type="application/json")

    def _until(self, duration: str | None, instant: str | None, one: str, other: str) -> int | str | None:
        """The instant, or wall time that a duration from now means; `None` where neither is given."""
        if duration is None:
            return instant
        if instant is not None:
            raise Problem(422, "unusable", f"{one} and {other} say the same thing: give one of them")
        try:
            return self._desk.now_ms() + parse_duration(duration)
        except ValueError as error:
            raise Problem(422, "unusable", f"{one}: {error}") from None


async def _answered(call: Awaitable[T]) -> T:
    """The desk's answer; what it raises as problems."""
    try:
        return await call
    except NotThere as error:
        raise Problem(404, "not-there", str(error)) from None
    except Unusable as error:
        members = {"errors": error.errors} if error.errors else {}
        raise Problem(422, "unusable", str(error), members=members) from None
    except Busy as busy:
        raise Problem(429, "busy", str(busy), headers={"Retry-After": str(busy.retry_after_s)}) from None
    except (StoreUnavailable, LogUnavailable) as error:
        detail = f"{error}; where this was to change something, some shards may know already: say it again"
        raise Problem(503, "away", detail, headers={"Retry-After": "1"}) from None


def _decoded(kind: type[T], body: bytes) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(422 if isinstance(error, msgspec.ValidationError) else 400, "unusable", str(error)) from None


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    if re.match(LIST_NAME, name) is None:
        raise Problem(404, "not-there", "no list can have that name: letters, digits and underscores")
    return name


def _rule(request: web.Request) -> str:
    return request.match_info["rule"]


def _alert(request: web.Request) -> str:
    alert = request.match_info["alert"]
    if re.fullmatch(r"[\w.:-]{1,128}", alert) is None:
        raise Problem(404, "not-there", "no alert can have that id")
    return alert


def _entity(entity: str) -> str:
    if entity not in ENTITY_FIELDS:
        raise Problem(422, "unusable", f"entity: one of {', '.join(ENTITY_FIELDS)}")
    return entity


def _json(found: Any) -> web.Response:
    return web.Response(body=orjson.dumps(found), content_type="application/json")


def _accepted(ids: list[str]) -> web.Response:
    return web.Response(body=orjson.dumps({"event_ids": ids}), status=202, content_type="application/json")
