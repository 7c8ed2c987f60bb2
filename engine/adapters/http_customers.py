"""The routes about one customer: `/v1/customers/{id}`, features, ledger, payments, export, erasure."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import orjson
from aiohttp import web

from engine.adapters.http_problem import Problem
from engine.domain.limits import ID_CHARS_MAX
from engine.ports.customers import Customers, UnknownCustomer
from engine.ports.log import LogUnavailable
from engine.ports.store import StoreUnavailable

AT_MAX_MS: Final = 4_133_980_800_000  # 2101: events are of 1970 to 2100
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
T = TypeVar("T")


class CustomerHandlers:
    """The handlers over whatever answers about customers."""

    def __init__(self, customers: Customers) -> None:
        self._customers = customers

    async def profile(self, request: web.Request) -> web.Response:
        """`GET /v1/customers/{id}`."""
        return await _asked(request, self._customers.profile)

    async def features(self, request: web.Request) -> web.Response:
        """`GET /v1/customers/{id}/features?at=MS`."""
        at = request.query.get("at")
        if at is not None and (not at.isdecimal() or not at.isascii() or int(at[:15]) > AT_MAX_MS):
            raise Problem(422, "unusable", "at: milliseconds since 1970")
        at_ms = None if at is None else int(at)
        return await _asked(request, lambda customer_id: self._customers.features(customer_id, at_ms))

    async def ledger(self, request: web.Request) -> web.Response:
        """`GET /v1/customers/{id}/ledger`."""
        return await _asked(request, self._customers.ledger)

    async def payments(self, request: web.Request) -> web.Response:
        """`GET /v1/customers/{id}/payments`."""
        return await _asked(request, self._customers.payments)

    async def export(self, request: web.Request) -> web.Response:
        """`GET /v1/customers/{id}/export`."""
        response = await _asked(request, self._customers.export)
        response.headers["Content-Disposition"] = 'attachment; filename="customer.json"'
        return response

    async def erase(self, request: web.Request) -> web.Response:
        """`DELETE /v1/customers/{id}`: 202 once the log holds the erasure."""
        told = await _answered(self._customers.erase(_customer(request)))
        return web.Response(body=orjson.dumps(told), status=202, content_type="application/json")


async def _asked(request: web.Request, ask: Callable[[str], Awaitable[dict[str, Any]]]) -> web.Response:
    body = orjson.dumps(await _answered(ask(_customer(request))))
    # What is told of a person is for the asker alone, not for caches between.
    return web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})


async def _answered(call: Awaitable[T]) -> T:
    """The answer; what it raises as problems."""
    try:
        return await call
    except UnknownCustomer as error:
        raise Problem(404, "not-there", str(error)) from None
    except (StoreUnavailable, LogUnavailable) as error:
        raise Problem(503, "away", str(error), headers={"Retry-After": "1"}) from None


def _customer(request: web.Request) -> str:
    customer_id = request.match_info["customer"]
    if len(customer_id) > ID_CHARS_MAX or _CONTROL.search(customer_id) or not _encodable(customer_id):
        raise Problem(404, "not-there", f"no customer can have that id: 1 to {ID_CHARS_MAX} printable characters")
    return customer_id


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
