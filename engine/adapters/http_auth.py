"""Who may call: API keys with roles."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from engine.adapters.http_problem import Problem

GATEWAY: Final = "gateway"
ANALYST: Final = "analyst"
ADMIN: Final = "admin"
PROTECTED: Final = "/v1/"
ROLES: Final = web.AppKey("roles", dict[str, frozenset[str]])
"""Roles allowed, by name of the route; a protected route that is not named is for `admin` only."""


class KeyWithRole(Protocol):
    """What is read of `engine.config.ApiKey`."""

    @property
    def role(self) -> str:
        """`gateway`, `analyst` or `admin`."""

    @property
    def key(self) -> str:
        """The secret."""


class KeyRing:
    """The keys, kept as digests; looking one up takes the same time whichever it is, and whether it is one."""

    def __init__(self, keys: Iterable[KeyWithRole]) -> None:
        self._roles = [(_digest(key.key), key.role) for key in keys]

    def __len__(self) -> int:
        return len(self._roles)

    def role_of(self, key: str) -> str | None:
        """The role of a key, `None` for one that is not ours."""
        given, found = _digest(key), None
        for digest, role in self._roles:
            if hmac.compare_digest(digest, given):
                found = role
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def presented(request: web.Request) -> str | None:
    """The key of a request: `Authorization: Bearer KEY` or `X-API-Key: KEY`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("X-API-Key") or None


def guard(keys: KeyRing) -> Middleware:
    """A middleware that asks for a key with the right role on everything under `/v1`; on nothing without keys."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(keys) and request.path.startswith(PROTECTED):
            _check(request, keys)
        return await handler(request)

    return check


def _check(request: web.Request, keys: KeyRing) -> None:
    key = presented(request)
    role = keys.role_of(key) if key else None
    if role is None:
        told = "the key is not known" if key else "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
        raise Problem(401, "unauthorised", told, headers={"WWW-Authenticate": 'Bearer realm="steward"'})
    allowed = request.app[ROLES].get(request.match_info.route.name or "", frozenset((ADMIN,)))
    found = request.match_info.http_exception is None
    if found and role not in allowed:
        raise Problem(403, "forbidden", f"a key of role {role} may not do this")
