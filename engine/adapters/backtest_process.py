"""Backtests in a process of their own: `steward rules backtest`, out of the way of decisions and bounded in time."""

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

from engine.ports.desk import BacktestOrder, Unusable

NICENESS: Final = 10  # decisions come first
COMMAND: Final = (sys.executable, "-m", "engine.cli", "rules", "backtest")
UNUSABLE: Final = 2  # exit code of a command whose arguments or input cannot be used
REPORT_BYTES_MAX: Final = 64 << 20
COMPLAINT_BYTES_MAX: Final = 4_096


class BacktestProcess:
    """Implements `engine.ports.desk.Backtester`.

    Args:
        environment: settings of the child, besides what this process has in its own without `STEWARD_*`.
        directory: where histories are found by name; `None` for nowhere.
        seconds, events_max: bounds of one run.
    """

    def __init__(
        self, environment: Mapping[str, str], directory: Path | None, *, seconds: float, events_max: int
    ) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("STEWARD_")}
        self._environment = {**kept, **environment}
        self._directory = directory.resolve() if directory is not None else None
        self._seconds = seconds
        self._events_max = events_max

    async def run(self, order: BacktestOrder, baseline: Mapping[str, str]) -> bytes:
        """See `Backtester.run`. Raises `Unusable` also where it takes too long."""
        with tempfile.TemporaryDirectory(prefix="steward-backtest-") as made:
            place = Path(made)
            source = await asyncio.to_thread(self._prepare, order, baseline, place)
            report = place / "report.json"
            arguments = [str(source), "--json", str(report), "--quiet", "--max-events", str(self._events_max)]
            for side in ("baseline", "candidate"):
                arguments += [f"--{side}", str(place / side)]
            arguments += [f"--sweep={sweep}" for sweep in order.sweep]
            await self._child(arguments, place)
            if report.stat().st_size > REPORT_BYTES_MAX:
                raise Unusable(f"the report is longer than {REPORT_BYTES_MAX:,} bytes: sweep fewer values")
            return await asyncio.to_thread(report.read_bytes)

    def _prepare(self, order: BacktestOrder, baseline: Mapping[str, str], place: Path) -> Path:
        for side, files in (("baseline", baseline), ("candidate", order.candidate)):
            for name, text in files.items():
                path = place / side / _inside(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        if order.events is None:
            return self._source(order.source)
        if len(order.events) > self._events_max:
            raise Unusable(f"{len(order.events):,} events; at most {self._events_max:,} in one backtest")
        source = place / "events.ndjson"
        # One event a line, whatever the layout of the request: JSON has line ends only between its tokens.
        lines = (event.replace(b"\r", b" ").replace(b"\n", b" ") for event in order.events)
        source.write_bytes(b"".join(line + b"\n" for line in lines))
        return source

    def _source(self, name: str) -> Path:
        if self._directory is None:
            raise Unusable("no directory of histories is set (http.backtest_directory): send the events")
        path = (self._directory / _inside(name)).resolve()
        if self._directory not in path.parents or not path.is_file():
            raise Unusable(f"there is no history {name} in the directory of histories")
        return path

    async def _child(self, arguments: list[str], place: Path) -> None:
        child = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, cwd=place, env=self._environment, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE
        )
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
        try:
            async with asyncio.timeout(self._seconds):
                _, complaint = await child.communicate()
        except TimeoutError:
            raise Unusable(f"the backtest took longer than {self._seconds:g} s: take fewer events") from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        told = complaint[-COMPLAINT_BYTES_MAX:].decode("utf-8", "replace").strip()
        if child.returncode == UNUSABLE:
            raise Unusable(told.replace(f"{place}/", ""))
        if child.returncode != 0:  # a fault of ours: for the log, not for the caller
            raise RuntimeError(f"the backtest ended with {child.returncode}: {told}")


def _inside(name: str) -> PurePosixPath:
    """A relative path that stays where it is put. Raises `Unusable`."""
    path = PurePosixPath(name)
    odd = not name or path.is_absolute() or ".." in path.parts or not name.isprintable() or "\\" in name
    if odd or len(name) > 200:
        raise Unusable(f"{name[:200]!r} is no name of a file inside the directory")
    return path
