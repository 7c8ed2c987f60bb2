"""How the sole owner of all customers is told about models: another process leaves control events where it looks."""

import logging
from typing import Final

from engine.ports.announce import Announcer
from engine.ports.clock import Clock
from engine.ports.log import LogUnavailable
from engine.ports.models import ModelOrders
from engine.ports.store import StoreMisconfigured, StoreUnavailable
from engine.service.outage import Outage

EVERY_S: Final = 1.0
SHARD: Final = 0  # the only one there is

logger = logging.getLogger("steward.models")


class Orders:
    """Takes control events from `orders` and announces them. One that is announced and not yet taken off when the
    process ends is announced again: `control.model` said twice means the same."""

    def __init__(self, orders: ModelOrders, announcer: Announcer, *, clock: Clock, outage: Outage) -> None:
        self._orders = orders
        self._announcer = announcer
        self._clock = clock
        self._outage = outage

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.poll()
            except (LogUnavailable, StoreUnavailable, StoreMisconfigured) as error:
                self._outage.failed(error)
            except Exception:
                # A fault of ours must not end the payments' process: the order waits, and the log says why.
                logger.exception("an order about models could not be taken")
            else:
                self._outage.worked()
            await self._clock.sleep(EVERY_S)

    async def poll(self) -> None:
        """One look. Raises `LogUnavailable`, `StoreUnavailable`."""
        for record in await self._orders.orders():
            await self._announcer.announce(SHARD, record)
            await self._orders.done(record)
