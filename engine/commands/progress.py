"""How far a replay is: a bar on a terminal, a line now and then elsewhere, nothing when told to be quiet."""

import sys
import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_INTERVAL_S: Final = 10.0


class Progress:
    """Counts events and shows the position in the current source, on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._quiet = quiet
        self._bar: Bar | None = None
        if not quiet and console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            counts = TextColumn("{task.fields[events]:,} events, {task.fields[rate]:,}/s")
            self._bar = Bar(*columns, counts, console=console, transient=True)
        self._task = self._bar.add_task("", events=0, rate=0) if self._bar else None
        self._events = 0
        self._began_s = self._told_s = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def source(self, name: str, total: int | None) -> None:
        """A source begins; `total` is its size in its own unit, `None` where that is not known."""
        if self._bar is not None and self._task is not None:
            self._bar.reset(self._task, description=name, total=total, events=self._events, rate=self._rate())

    def position(self, done: int) -> None:
        """How much of the current source has been read, in its own unit."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def events(self, count: int) -> None:
        """`count` more events are done."""
        self._events += count
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, events=self._events, rate=self._rate())
        elif not self._quiet and time.monotonic() - self._told_s >= LINE_INTERVAL_S:
            self._told_s = time.monotonic()
            print(f"{self._events:,} events, {self._rate():,}/s", file=sys.stderr)

    def _rate(self) -> int:
        return round(self._events / max(time.monotonic() - self._began_s, 1e-9))
