"""The HTTP API: routes, health, metrics, and the server that carries them. docs/http.md describes it."""

import errno
import logging
from collections.abc import Iterable
from typing import Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from engine.adapters.http_auth import ADMIN, ANALYST, GATEWAY, ROLES, KeyRing, KeyWithRole, guard
from engine.adapters.http_campaigns import CampaignHandlers
from engine.adapters.http_customers import CustomerHandlers
from engine.adapters.http_desk import DeskHandlers
from engine.adapters.http_openapi import openapi
from engine.adapters.http_problem import Problem, problems
from engine.adapters.http_sync import SyncHandlers, SyncLimits, SyncMetrics
from engine.ports.campaigns import CampaignResults
from engine.ports.customers import Customers
from engine.ports.desk import Desk
from engine.ports.sync import Decider

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
DECISIONS: Final = "decisions"
EVENTS: Final = "events"
KEEPALIVE_SECONDS: Final = 75.0
CLOSE_SECONDS: Final = 3.0  # for calls under way when the server stops; each has a deadline of its own

logger = logging.getLogger("steward.http")


class AddressUnusable(Exception):
    """The address cannot be listened on: it is taken, or not this machine's."""


def application(
    decider: Decider,
    metrics: SyncMetrics,
    *,
    keys: Iterable[KeyWithRole] = (),
    limits: SyncLimits | None = None,
    desk: Desk | None = None,
    customers: Customers | None = None,
    campaigns: CampaignResults | None = None,
) -> web.Application:
    """The web application over whatever decides.

    Args:
        decider: owns the shard or knows the way to its owner.
        metrics: counts the calls and is shown at `/metrics`.
        keys: API keys and their roles; without any, none is asked for.
        limits: bounds of a call.
        desk: answers analysts; without one, their routes are not there.
        customers: answers about customers; likewise.
        campaigns: answers about campaigns; likewise.
    """
    limits = limits or SyncLimits()
    sync = SyncHandlers(decider, metrics, limits)
    app = web.Application(middlewares=[problems, guard(KeyRing(keys))], client_max_size=limits.bulk_bytes_max)
    app[ROLES] = {DECISIONS: frozenset((GATEWAY, ADMIN)), EVENTS: frozenset((GATEWAY, ADMIN))}
    app.router.add_post("/v1/decisions", sync.decision, name=DECISIONS)
    app.router.add_post("/v1/events", sync.events, name=EVENTS)
    if desk is not None:
        _add_desk(app, DeskHandlers(desk, limits.bulk_bytes_max))
    if customers is not None:
        _add_customers(app, CustomerHandlers(customers))
    if campaigns is not None:
        app.router.add_get("/v1/campaigns", CampaignHandlers(campaigns).results, name="campaigns")
        app[ROLES]["campaigns"] = frozenset((ANALYST, ADMIN))
    app.on_response_prepare.append(_unnamed)
    health = _Health(decider, metrics)
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/readyz", health.ready)
    app.router.add_get("/metrics", health.metrics)
    app.router.add_get("/openapi.json", health.openapi)
    return app


def _add_desk(app: web.Application, desk: DeskHandlers) -> None:
    routes: tuple[tuple[str, str, str, Handler], ...] = (
        ("GET", "/v1/rules", "rules", desk.rules),
        ("POST", "/v1/rules/backtest", "backtest", desk.backtest),
        ("POST", "/v1/rules/{rule}/snooze", "snooze", desk.snooze),
        ("POST", "/v1/alerts/{alert}/resolve", "resolve", desk.resolve),
        ("DELETE", "/v1/rules/{rule}/snooze", "wake", desk.wake),
        ("GET", "/v1/lists", "lists", desk.lists),
        ("GET", "/v1/lists/{name}", "list", desk.list_values),
        ("POST", "/v1/lists/{name}", "change_list", desk.change_list),
    )
    for method, path, name, handler in routes:
        app.router.add_route(method, path, handler, name=name)
        app[ROLES][name] = frozenset((ANALYST, ADMIN))


def _add_customers(app: web.Application, customers: CustomerHandlers) -> None:
    path = "/v1/customers/{customer}"
    routes: tuple[tuple[str, str, Handler], ...] = (
        ("", "customer", customers.profile),
        ("/features", "customer_features", customers.features),
        ("/ledger", "customer_ledger", customers.ledger),
        ("/payments", "customer_payments", customers.payments),
        ("/export", "customer_export", customers.export),
    )
    for tail, name, handler in routes:
        app.router.add_get(path + tail, handler, name=name)
        app[ROLES][name] = frozenset((ANALYST, ADMIN))
    app.router.add_delete(path, customers.erase, name="erase_customer")
    app[ROLES]["erase_customer"] = frozenset((ADMIN,))


async def _unnamed(request: web.Request, response: web.StreamResponse) -> None:
    """Nobody needs to know which versions of what answer."""
    response.headers["Server"] = "steward"


class _Health:
    def __init__(self, decider: Decider, metrics: SyncMetrics) -> None:
        self._decider = decider
        self._metrics = metrics

    async def alive(self, request: web.Request) -> web.Response:
        """`GET /healthz`: the process runs and its event loop turns."""
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    async def ready(self, request: web.Request) -> web.Response:
        """`GET /readyz`: decisions can be had now; 503 with the reasons where they cannot.

        200 and `degraded` where they can be had without the state only: nobody would be answered if nobody were ready.
        """
        reasons = await self._decider.not_ready()
        if reasons and self._decider.degraded_ready:
            body = msgspec.json.encode({"status": "degraded", "reasons": reasons})
            return web.Response(body=body, content_type="application/json")
        if reasons:
            raise Problem(503, "not-ready", "; ".join(reasons), members={"reasons": reasons})
        return web.Response(body=b'{"status":"ready"}', content_type="application/json")

    async def metrics(self, request: web.Request) -> web.Response:
        """`GET /metrics`: for Prometheus."""
        return web.Response(body=self._metrics.render(), headers={"Content-Type": METRICS_TYPE})

    async def openapi(self, request: web.Request) -> web.Response:
        """`GET /openapi.json`."""
        return web.Response(body=openapi(), content_type="application/json")


class HttpServer:
    """An application on an address. Access is not logged: the metrics count, and a list of payments helps nobody."""

    def __init__(self, app: web.Application, address: str) -> None:
        """`address` is `host:port`; port 0 takes a free one."""
        host, _, port = address.rpartition(":")
        self.host = host.strip("[]")
        self.port = int(port)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS, shutdown_timeout=CLOSE_SECONDS
        )

    @property
    def url(self) -> str:
        """Where the API is."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def start(self) -> None:
        """Listen. Raises `AddressUnusable`."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port, backlog=1024).start()
        except OSError as error:
            await self._runner.cleanup()
            told = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise AddressUnusable(f"{self.host}:{self.port} {told}; set STEWARD_HTTP") from error
        self.port = self._runner.addresses[0][1]
        logger.info("listening on %s", self.url)

    async def close_doors(self) -> None:
        """Accept no further connection; calls under way go on."""
        for site in list(self._runner.sites):
            await site.stop()

    async def close(self) -> None:
        """Answer what is under way, then close every connection."""
        await self._runner.cleanup()
