"""The route about campaigns: `GET /v1/campaigns`."""

import math
from typing import Final

import orjson
from aiohttp import web

from engine.adapters.http_problem import Problem
from engine.ports.campaigns import CampaignResults
from engine.ports.store import StoreUnavailable

POINT_VALUE: Final = 0.01
POINT_VALUE_MAX: Final = 1e6


class CampaignHandlers:
    """The handler over whatever answers about campaigns."""

    def __init__(self, campaigns: CampaignResults) -> None:
        self._campaigns = campaigns

    async def results(self, request: web.Request) -> web.Response:
        """`GET /v1/campaigns?point_value=N`."""
        value = _value(request.query.get("point_value"))
        try:
            found = await self._campaigns.results(value)
        except StoreUnavailable as error:
            raise Problem(503, "away", str(error), headers={"Retry-After": "1"}) from None
        return web.Response(body=orjson.dumps(found), content_type="application/json")


def _value(text: str | None) -> float:
    try:
        value = POINT_VALUE if text is None else float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= POINT_VALUE_MAX:
        raise Problem(422, "unusable", f"point_value: what a point costs, 0 to {POINT_VALUE_MAX:g}")
    return value
