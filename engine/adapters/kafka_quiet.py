"""Keeps aiokafka calm while a broker is away: its clients then ask and complain thousands of times a second."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

RETRY_S: Final = 0.2  # between two tries to learn where the brokers are
REPEAT_S: Final = 60.0  # the same complaint is not written again within this time
LOGGERS: Final = (
    "aiokafka",
    "aiokafka.cluster",
    "aiokafka.conn",
    "aiokafka.consumer.consumer",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.producer",
    "aiokafka.producer.sender",
)
CONNECTION: Final = ("Unable connect", "Unable to update metadata")


def be_patient(client: Any) -> None:
    """Make a client wait after a failed metadata update: the producer's sender asks again at once, for ever."""
    update = client._metadata_update

    async def patient(*args: Any) -> Any:
        done = await update(*args)
        if not done:
            await asyncio.sleep(RETRY_S)
        return done

    client._metadata_update = patient


def watched(future: Any) -> Any:
    """`future`, whose error counts as seen: where several fail of one cause, asyncio would complain of all but one."""
    future.add_done_callback(_see)
    return future


def see_failures(producer: Any) -> None:
    """Count as seen what a producer that is cut off leaves failed: its transaction, and batches that were not sent."""
    left = [batch._drain_waiter for batches in producer._message_accumulator._batches.values() for batch in batches]
    if producer._txn_manager is not None:
        left += [producer._txn_manager._transaction_waiter, producer._txn_manager._pid_waiter]
    for future in left:
        if future is not None:
            watched(future)


def _see(future: Any) -> None:
    if not future.cancelled():
        future.exception()


class ComplaintFilter(logging.Filter):
    """Lets the first of equal complaints pass, and turns those about connections into one call.

    Attributes:
        on_connection: called with each complaint about a connection, from any thread; whoever it is says so once, in
            the worker's own words. `None` drops them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_connection: Callable[[str], None] | None = None
        self._said_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is written."""
        template = str(record.msg)
        if template.startswith(CONNECTION):
            if self.on_connection is not None:
                self.on_connection(record.getMessage())
            return False
        now_s = time.monotonic()
        if now_s - self._said_s.get(template, -REPEAT_S) < REPEAT_S:
            return False
        self._said_s[template] = now_s
        return True

    def install(self) -> None:
        """Filter aiokafka's loggers from now on."""
        for name in LOGGERS:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        """Undo `install`."""
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(self)
