"""Errors over HTTP as `application/problem+json` (RFC 9457), whoever raises them."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:steward:problem:"

logger = logging.getLogger("steward.http")


class Problem(Exception):
    """An answer that is an error.

    Attributes:
        status: the HTTP status.
        name: the last part of the problem's `type`; `about:blank` is used where it is empty.
        detail: what is wrong with this request, for a person; never holds any of its body.
        members: further members of the problem, such as `reason`.
        headers: further headers, such as `Retry-After`.
    """

    def __init__(
        self,
        status: int,
        name: str = "",
        detail: str = "",
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail or name)
        self.status = status
        self.name = name
        self.detail = detail
        self.members = members or {}
        self.headers = headers or {}

    def document(self) -> dict[str, Any]:
        """The problem as a JSON object."""
        found: dict[str, Any] = {
            "type": TYPE_PREFIX + self.name if self.name else "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
        }
        if self.detail:
            found["detail"] = self.detail
        return {**found, **self.members}

    def response(self) -> web.Response:
        """The problem as an answer."""
        body = orjson.dumps(self.document())
        return web.Response(body=body, status=self.status, headers=self.headers, content_type=CONTENT_TYPE)


def from_http(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses: no such path, no such method, a body too large."""
    kept = {name: value for name, value in error.headers.items() if name in ("Allow", "Location", "Retry-After")}
    if isinstance(error, web.HTTPMethodNotAllowed):
        return Problem(error.status, detail=f"{error.method} is not allowed here", headers=kept)
    if isinstance(error, web.HTTPNotFound):
        return Problem(error.status, detail="there is nothing here", headers=kept)
    return Problem(error.status, headers=kept)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem. Faults of ours are logged; the answer says nothing about them."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return from_http(error).response()
    except Exception:
        logger.exception("%s %s failed", request.method, request.match_info.route.resource or "an unknown path")
        return Problem(500, "internal", "an error of the server; its log has more").response()
