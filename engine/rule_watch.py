"""The rule sets and models of one process, put together: archives, library, watch of the directory, sign of life."""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from engine import __version__
from engine.adapters.redis_models import RedisModels
from engine.adapters.redis_rules import RedisRules
from engine.adapters.redis_workers import RedisWorkers
from engine.bootstrap import build_redis_options
from engine.config import Settings
from engine.ports.announce import Announcer
from engine.ports.clock import Clock
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.ports.workers import Worker
from engine.resources import rules_directory
from engine.ruleset import files
from engine.service.model_orders import Orders
from engine.service.outage import Outage
from engine.service.reload import Reloader
from engine.service.rule_sets import RuleLibrary
from engine.telemetry.metrics import Metrics

SIGN_S: Final = 2.0  # between two signs of life; a few may be missed
InForce = Callable[[], Mapping[int, str]]

logger = logging.getLogger("steward.rules")


class RuleWatch:
    """Made before the event loop runs; everything else within it.

    Attributes:
        library: the rule sets of this process.
        registry: where this process and the others sign in.
    """

    def __init__(
        self, settings: Settings, redis_url: str, library: RuleLibrary, metrics: Metrics, clock: Clock
    ) -> None:
        """The archives and the registry are in the Redis of `redis_url`; `library` uses those archives from now on."""
        options, prefix = build_redis_options(settings), settings.redis.prefix
        self._archive = RedisRules(redis_url, prefix=prefix, options=options)
        library.archive = self._archive
        self._models = RedisModels(redis_url, prefix=prefix, options=options)
        library.models.archive = self._models
        self.registry = RedisWorkers(redis_url, prefix=prefix, options=options)
        self.library = library
        self._settings = settings.rules
        self._metrics = metrics
        self._clock = clock
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._started_ms = _now_ms()
        self._reloader: Reloader | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, in_force: InForce, announcer: Announcer) -> None:
        """Begin to watch and to sign in; `in_force` gives the hash of each shard that is owned and open."""
        loop = asyncio.get_running_loop()
        if self._settings.reload_ms:
            directory = self._settings.directory or rules_directory()
            self._reloader = Reloader(
                lambda: files.read(directory),
                self.library,
                in_force,
                announcer,
                clock=self._clock,
                outage=Outage("what a change of rules needs", self._clock),
                every_s=self._settings.reload_ms / 1000,
                now_ms=_now_ms,
                on_result=self._metrics.reload,
            )
            self._tasks.append(loop.create_task(self._reloader.run()))
        self._tasks.append(loop.create_task(self._sign(in_force)))

    def take_orders(self, announcer: Announcer) -> None:
        """Also put what commands about models ask for among the events of the sole owner."""
        outage = Outage("the orders about models", self._clock)
        orders = Orders(self._models, announcer, clock=self._clock, outage=outage)
        self._tasks.append(asyncio.get_running_loop().create_task(orders.run()))

    async def stop(self) -> None:
        """Stop watching, sign out, let go of every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            with suppress(StoreUnavailable, StoreMisconfigured):
                await self.registry.sign_out(self._name)
        await self.registry.close()
        await self._archive.close()
        await self._models.close()

    async def _sign(self, in_force: InForce) -> None:
        while True:
            shards = dict(in_force())
            self._metrics.rulesets(shards)
            # A registry that is away keeps nobody from deciding; the state store's own outage is reported elsewhere.
            with suppress(StoreUnavailable, StoreMisconfigured):
                await self.registry.sign_in(self._worker(shards))
            await self._clock.sleep(SIGN_S)

    def _worker(self, shards: Mapping[int, str]) -> Worker:
        status = self._reloader.status if self._reloader else None
        return Worker(
            worker=self._name,
            version=__version__,
            started_ms=self._started_ms,
            shards=shards,
            directory=status.ruleset if status else "",
            errors=status.errors if status else (),
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
