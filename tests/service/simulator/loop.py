"""An event loop in which time passes only while everybody waits, and a clock that reads it."""

import asyncio
import heapq
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Every task waits for something that nothing will bring about."""


class _Selector(selectors.BaseSelector):
    """Waits for nothing but time, and takes none."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("every task waits, and nothing is under way")
        self.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise NotImplementedError("the simulation has no files")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise NotImplementedError("the simulation has no files")

    def get_map(self) -> dict[Any, selectors.SelectorKey]:
        return {}


class SimulatedLoop(asyncio.BaseEventLoop):
    """One thread, no I/O, virtual time: the same draws give the same run, in whatever process."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._selector.now_s

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _run_once(self) -> None:
        """Jump to the next timer exactly: the loop's own arithmetic may stop a hair before it."""
        if not self._ready and self._scheduled:
            while self._scheduled and self._scheduled[0]._cancelled:
                self._timer_cancelled_count -= 1
                heapq.heappop(self._scheduled)._scheduled = False
            if self._scheduled:
                self._selector.now_s = max(self._selector.now_s, self._scheduled[0]._when)
        super()._run_once()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in a loop of its own to its end; what it leaves behind is cancelled."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)


class SimulatedClock:
    """`engine.ports.clock.Clock` over the running loop."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
