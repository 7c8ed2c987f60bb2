"""Request bodies: read within bounds of size and time, and cut into events.

What a body calls itself is not looked at: it is JSON or it is refused for not being JSON, and many clients name no type
or a wrong one.
"""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from engine.adapters.http_problem import Problem

READ_SECONDS_MAX: Final = 10.0  # a body that trickles in must not hold a connection for ever
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])


async def read(request: web.Request, bytes_max: int) -> bytes:
    """The whole body. Raises `Problem` where it is longer than `bytes_max` or takes too long."""
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_SECONDS_MAX):
            async for part in request.content.iter_any():
                size += len(part)
                if size > bytes_max:
                    raise _too_large(bytes_max)
                parts.append(part)
    except TimeoutError:
        raise Problem(408, "slow-body", f"the body did not arrive within {READ_SECONDS_MAX:g} s") from None
    return b"".join(parts)


def _too_large(bytes_max: int) -> Problem:
    return Problem(413, "too-large", f"the body is longer than {bytes_max} bytes", members={"bytes_max": bytes_max})


def cut(body: bytes, events_max: int) -> list[bytes]:
    """The events of a body: the elements of a JSON array, or its lines that are not blank.

    Raises `Problem` where it is an array that is not JSON, is empty, or holds more than `events_max` events.
    """
    if body.lstrip()[:1] == b"[":
        try:
            events = [bytes(raw) for raw in _ARRAY.decode(body)]
        except msgspec.MsgspecError:
            raise Problem(400, "not-json", "the body begins as a JSON array and is not one") from None
    else:
        events = [line for line in body.split(b"\n") if line.strip()]
    if not events:
        raise Problem(400, "empty", "the body holds no event")
    if len(events) > events_max:
        detail = f"{len(events)} events in one call; {events_max} are allowed"
        raise Problem(413, "too-many", detail, members={"events_max": events_max})
    return events
