"""One attempt to deliver a webhook: signed as Standard Webhooks says, to a checked address, without redirects.

Specification: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import ssl
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from engine.adapters.cloudevents import CONTENT_TYPE
from engine.domain.webhooks import Endpoint, address_refused, secret_key

GONE: Final = 410
RETRY_AFTER_MAX_S: Final = 86_400.0
ANSWER_BYTES_MAX: Final = 65_536  # read, so that the connection can be used again; more closes it
DETAIL_LETTERS_MAX: Final = 200


class Attempt(NamedTuple):
    """What became of one attempt.

    Attributes:
        ok: the receiver answered with a status of 200 to 299.
        detail: a line for people.
        gone: the receiver says that it wants no more (410).
        retry_after_s: the receiver asks to be left alone for so long; 0 where it does not.
    """

    ok: bool
    detail: str
    gone: bool = False
    retry_after_s: float = 0.0


class AddressRefused(OSError):
    """The endpoint's name stands for an address that is no target."""


class CheckedResolver(AbstractResolver):
    """Resolves a name and refuses it if any of its addresses is refused: the connection goes to the address checked."""

    def __init__(self, private: bool, inner: AbstractResolver | None = None) -> None:
        self._private = private
        self._inner = inner or aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """See `AbstractResolver.resolve`. Raises `AddressRefused`."""
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]
        for result in found:
            refused = address_refused(result["host"], self._private)
            if refused:
                raise AddressRefused(f"{host}: {refused}")
        return found

    async def close(self) -> None:
        """Let go of what the inner one holds."""
        await self._inner.close()


def signature(secrets: Sequence[str], identity: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: a signature by each secret, with blanks between."""
    signed = f"{identity}.{timestamp_s}.".encode() + body
    digests = [hmac.new(secret_key(secret), signed, hashlib.sha256).digest() for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


class Poster:
    """Posts to one endpoint, over connections of its own."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        timeout_s: float,
        connections: int,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`timeout_s` bounds an attempt from the look-up of the name to the end of the answer."""
        self._endpoint = endpoint
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._resolver = CheckedResolver(endpoint.private, resolver)
        self._connections = connections
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def post(self, identity: str, body: bytes, now_s: float) -> Attempt:
        """Try once; whatever goes wrong is in the result."""
        timestamp_s = int(now_s)
        headers = {
            "content-type": CONTENT_TYPE.decode(),
            "user-agent": "steward",
            "webhook-id": identity,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(self._endpoint.secrets, identity, timestamp_s, body),
        }
        try:
            self._check_literal()
            async with self._open().post(
                self._endpoint.url, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, asked = response.status, response.headers.get("retry-after", "")
                await response.content.read(ANSWER_BYTES_MAX)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            return Attempt(False, _detail(error))
        if 300 <= status < 400:
            return Attempt(False, f"HTTP {status}: redirects are not followed")
        return Attempt(200 <= status < 300, f"HTTP {status}", status == GONE, _seconds(asked))

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        await self._resolver.close()

    def _check_literal(self) -> None:
        """An address in the place of a name is not looked up, so it is checked here."""
        host = urlsplit(self._endpoint.url).hostname or ""
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        refused = address_refused(host, self._endpoint.private)
        if refused:
            raise AddressRefused(refused)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, limit=self._connections, ssl=self._tls or True
            )
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session


def _detail(error: BaseException) -> str:
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return "no answer in time"
    if isinstance(error.__cause__, AddressRefused):  # which aiohttp wraps into an error that does not say so
        error = error.__cause__
    return (f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)[:DETAIL_LETTERS_MAX]


def _seconds(asked: str) -> float:
    """`Retry-After` in seconds; the form with a date is left out, as is nonsense."""
    return min(float(asked), RETRY_AFTER_MAX_S) if asked.isascii() and asked.isdigit() else 0.0
