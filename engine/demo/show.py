"""`steward demo`: start everything, let it run, show it, end it."""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn

from rich.console import Console
from rich.live import Live

from engine.adapters.kafka_topics import ensure_topics
from engine.adapters.processes import ServerFailed
from engine.bootstrap import build_kafka_options
from engine.config import Settings
from engine.demo import screen
from engine.demo.calls import Gateway, results
from engine.demo.stage import COMPILING, COMPILING_AFTER_S, Stage
from engine.demo.tally import Tally
from engine.demo.traffic import begins_ms, feed, stream, watch
from engine.domain.times import rfc3339

DONE: Final = 0
FAULT: Final = 1
LIVE_RATE: Final = 200  # events a second: enough to see things happen, little enough to leave the machine usable
BOUNDED_RATE: Final = 1_000  # what a small machine carries besides everything else that runs here
FIRST_ANSWER_S: Final = 180.0
LAST_DECISIONS_S: Final = 60.0  # without any new decision for so long, the rest is not coming
SETTLE_S: Final = 1.0  # for the alerts and rewards of the last decisions, which come on topics of their own
REFRESH_S: Final = 0.25
LINE_S: Final = 2.0


class Stopped(BaseException):
    """Somebody asked the demo to end."""


class Failed(Exception):
    """The demo cannot go on; the message says why."""


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run the demo to its end; returns the exit code: 0 done or stopped, 1 a fault."""
    console = Console(highlight=False)
    tally = Tally()
    began = time.monotonic()
    code = DONE
    try:
        with stopping(), Stage(settings, os.environ, args.config, lambda text: console.print(f"… {text}")) as stage:
            try:
                _play(stage, settings, args, tally, console)
            except Stopped:
                pass
            finally:
                _deaf()  # a second Ctrl-C must not leave half of it behind
    except Stopped:
        pass
    except (Failed, ServerFailed, FileNotFoundError) as error:
        print(f"steward demo: {error}", file=sys.stderr)
        code = FAULT
    if tally.sent:
        console.print(screen.summary(tally, time.monotonic() - began))
        if screen.busy(tally):
            console.print(screen.campaigns(tally))
    return code


@contextmanager
def stopping() -> Iterator[None]:
    """SIGINT and SIGTERM raise `Stopped` in here; afterwards they do what they did before."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _play(stage: Stage, settings: Settings, args: argparse.Namespace, tally: Tally, console: Console) -> None:
    stage.start_servers()
    options = build_kafka_options(settings, stage.bootstrap)
    asyncio.run(ensure_topics(options))  # before anybody looks for them
    stage.start_engine()
    console.print(f"API  {stage.url}   (POST /v1/decisions, /healthz, /readyz, /metrics)")
    asyncio.run(_Show(stage, settings, args, tally, console).run())


class _Show:
    """The part of the demo that runs in an event loop."""

    def __init__(
        self, stage: Stage, settings: Settings, args: argparse.Namespace, tally: Tally, console: Console
    ) -> None:
        self._stage = stage
        self._args = args
        self._tally = tally
        self._console = console
        self._options = build_kafka_options(settings, stage.bootstrap)
        self._rate = float(args.rate or (BOUNDED_RATE if args.events else LIVE_RATE))
        keys = [key.key for key in settings.http.api_keys if key.role in ("gateway", "admin")]
        reads = [key.key for key in settings.http.api_keys if key.role in ("analyst", "admin")]
        self._reader = reads[0] if reads else None
        self._gateway = Gateway(stage.url, keys[0] if keys else None, tally)
        self._start_ms = begins_ms(args.events)
        tally.event_time = rfc3339(self._start_ms)  # the clock that all of the demo goes by
        self._stop = asyncio.Event()
        self._fed = False

    async def run(self) -> None:
        """Play until the end, a fault (`Failed`) or a signal."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        watching = asyncio.Event()
        outputs = dict(self._options.outputs)
        tasks = [asyncio.create_task(watch(self._stage.bootstrap, outputs, self._tally, watching))]
        try:
            if not await self._until_working(watching, tasks):
                return
            self._tally.began = time.monotonic()
            asking = results(self._stage.url, self._reader, self._tally)
            tasks += [asyncio.create_task(work) for work in (self._feed(), self._gateway.run(), asking)]
            await self._show(tasks)
        finally:
            await _cancel(tasks)

    async def _until_working(self, watching: asyncio.Event, tasks: Sequence["asyncio.Task[Any]"]) -> bool:
        """Whether a first payment was decided; false where a signal came first."""
        first = asyncio.create_task(self._gateway.until_answered(FIRST_ANSWER_S))
        began, told = time.monotonic(), False
        try:
            while not (first.done() and watching.is_set()):
                if self._stop.is_set():
                    return False
                self._check(tasks)
                if not told and time.monotonic() - began > COMPILING_AFTER_S:
                    told = True
                    self._console.print(f"… {COMPILING}")
                await asyncio.sleep(REFRESH_S)
        finally:
            await _cancel([first])
        if not first.result():
            raise Failed(f"no decision came back within {FIRST_ANSWER_S:.0f} s")
        return True

    async def _feed(self) -> None:
        events = stream(self._args.events, self._args.seed, self._start_ms, self._tally)
        await feed(self._stage.bootstrap, self._options.events, events, self._rate, self._tally)
        self._fed = True

    async def _show(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        """Refresh the page, or print a line now and then, until the end."""
        if not self._console.is_terminal:
            await self._watch_over(tasks, LINE_S, lambda: self._console.print(screen.line(self._tally), soft_wrap=True))
            return
        note = f"{self._rate:.0f} events a second, seed {self._args.seed}; Ctrl-C ends it"
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            await self._watch_over(
                tasks,
                REFRESH_S,
                lambda: live.update(screen.page(self._stage.url, self._tally, note), refresh=True),
            )

    async def _watch_over(self, tasks: Sequence["asyncio.Task[Any]"], every_s: float, draw: Any) -> None:
        last, moved = -1, time.monotonic()
        drawn = 0.0
        while not self._stop.is_set():
            self._check(tasks)
            now = time.monotonic()
            if self._tally.decisions != last:
                last, moved = self._tally.decisions, now
            if now - drawn >= every_s:
                drawn = now
                draw()
            if self._fed:
                if not self._tally.waiting:
                    await asyncio.sleep(SETTLE_S)
                    draw()
                    return
                if now - moved > LAST_DECISIONS_S:
                    raise Failed(
                        f"{len(self._tally.waiting)} of the events sent have no decision, and none has come for "
                        f"{LAST_DECISIONS_S:.0f} s"
                    )
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), REFRESH_S)

    def _check(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        """Raise `Failed` where a process has ended or a task has failed."""
        ended = self._stage.failed()
        if ended:
            raise Failed(ended)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise Failed(f"{type(task.exception()).__name__}: {task.exception()}") from task.exception()


async def _cancel(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
