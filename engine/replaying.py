"""`steward replay`: from arguments and settings to sources, core, store and files."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from engine.adapters.files import DirectorySink, OutputError, Source, SourceError, open_source, read_mapping
from engine.bootstrap import build_store
from engine.commands.common import Unusable
from engine.config import Settings
from engine.core.partition import Partition
from engine.partitions import partition_factory
from engine.ports.store import StateStore, StoreMisconfigured, StoreUnavailable
from engine.service.replay import Report, replay

EVENTS_MAX: Final = 2_000
"""Events of a micro-batch unless told otherwise: larger than a worker's, as nobody waits for an answer."""


def main(args: argparse.Namespace) -> int:
    """Run a replay. Raises `Unusable` for sources, outputs and mappings that cannot be used."""
    settings: Settings = args.settings
    store = build_store(settings, args.redis) if args.redis else None
    partition = partition_factory(settings, backed=store is not None, features_out=args.features)(0)
    batch = args.batch_size or EVENTS_MAX
    with ExitStack() as stack:
        try:
            mapping = read_mapping(args.map) if args.map else None
            sources = [stack.enter_context(open_source(name, mapping, batch)) for name in args.sources]
            sink = DirectorySink(args.out, features=args.features)
            stack.callback(sink.close)
            with _progress(sources, shown=not args.quiet) as moved:
                report = asyncio.run(_run(sources, partition, sink, store, batch, moved))
            sink.close()
        except (SourceError, OutputError, StoreMisconfigured) as error:
            raise Unusable(f"steward replay: {error}") from error
        except StoreUnavailable as error:
            sys.stderr.write(f"steward replay: {error}\n")
            return 1
    if args.out is not None:
        (args.out / "report.json").write_bytes(orjson.dumps(report.as_dict(), option=orjson.OPT_INDENT_2) + b"\n")
    if not args.quiet or args.out is None:
        _summary(report, args.out)
    return 0


async def _run(
    sources: list[Source],
    partition: Partition,
    sink: DirectorySink,
    store: StateStore | None,
    batch: int,
    moved: Callable[[int], None],
) -> Report:
    if store is not None:
        await store.start()
    try:
        chunks = (chunk for source in sources for chunk in source)
        return await replay(chunks, partition, sink, store=store, events_max=batch, progress=moved)
    finally:
        if store is not None:
            await store.close()


@contextmanager
def _progress(sources: list[Source], *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal, a plain line now and then elsewhere."""
    done = 0
    total = sum(source.total or 0 for source in sources) if all(source.total for source in sources) else None
    console = Console(stderr=True)
    if not shown or not console.is_terminal:

        def count(records: int) -> None:
            nonlocal done
            before, done = done, done + records
            if shown and done // 100_000 > before // 100_000:
                sys.stderr.write(f"replay: {done:,} events\n")

        yield count
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=total)

        def move(records: int) -> None:
            nonlocal done
            done += records
            read = sum(source.done for source in sources)
            bar.update(task, completed=read, description=f"replay {done:,} events")

        yield move


def _summary(report: Report, out: Path | None) -> None:
    """What happened, for a person, on standard error."""
    data = report.as_dict()
    decisions = ", ".join(f"{name} {count:,}" for name, count in data["decisions"].items()) or "none"
    counts = ("accepted", "duplicates", "late", "dead_lettered")
    lines = [
        f"{data['events']:,} events in {data['seconds']:.2f} s ({data['events_per_second']:,} a second)",
        ", ".join(f"{name.replace('_', ' ')} {data[name]:,}" for name in counts),
        f"decisions: {decisions}; alerts {data['alerts']:,}, ledger entries {data['rewards']:,}",
        f"rule set {data['ruleset']}, digest {data['digest'][:16]}" + (f", written to {out}" if out else ""),
    ]
    sys.stderr.write("\n".join(lines) + "\n")
