"""`steward replay`."""

import argparse
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.commands.common import (
    Unusable,
    directory,
    models_argument,
    rule_sets_argument,
    settings,
    settings_arguments,
    usable_rules,
    whole,
)

if TYPE_CHECKING:
    from engine.adapters.files import Chunk, Mapping
    from engine.commands.progress import Progress
    from engine.config import Settings
    from engine.ports.models import ModelArchive
    from engine.ports.rules import RuleArchive
    from engine.ports.store import StateStore
    from engine.service.replay import Report

SUMMARY: Final = "run history through the engine, offline and deterministic"
BATCH_EVENTS: Final = 1_000  # larger than a live batch: nobody waits for its first event
REPORT: Final = "report.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Sources and where the outputs go; what is not given comes from the settings."""
    settings_arguments(parser)
    kinds = ".ndjson or .jsonl, plain, .gz or .zst; .parquet; .csv; - is standard input"
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=kinds)
    parser.add_argument("--rules", type=directory, metavar="DIR", help="rules directory (the shipped one)")
    rule_sets_argument(parser)
    models_argument(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"write the outputs and {REPORT} here")
    parser.add_argument("--features", action="store_true", help="also write features.ndjson, a line an accepted event")
    parser.add_argument(
        "--batch-size", type=whole(1, 20_000), metavar="N", help="events a batch; no outcome depends on it"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, and no report on standard output")
    parser.add_argument("--redis", metavar="URL", help="keep the state there instead of in memory, and go on from it")
    parser.add_argument(
        "--map", metavar="FILE|NAME", help="columns of Parquet and CSV: a YAML file, or a shipped one's name"
    )
    parser.add_argument("--base-currency", metavar="CODE", help="currency of amount_base")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="exchange rates")


def run(args: argparse.Namespace) -> int:
    """Replay the sources one after the other and report."""
    overrides = {
        "STEWARD_RULES": args.rules,
        "STEWARD_REDIS": args.redis,
        "STEWARD_BASE_CURRENCY": args.base_currency,
        "STEWARD_RATES": args.rates,
    }
    loaded = settings(args, overrides)
    if args.features and args.out is None:
        raise Unusable("steward replay: --features needs --out")
    if args.redis == "embedded":
        raise Unusable("steward replay: --redis needs the address of a server; without it the state is in memory")
    import asyncio

    from engine.adapters.files import OutputError, SourceError
    from engine.commands.progress import Progress
    from engine.core.adoption import UnknownRuleSet
    from engine.service.model_files import ModelFilesError

    try:
        with usable_rules(), Progress(quiet=args.quiet) as progress:
            report = asyncio.run(_replay(args, loaded, progress))
    except (SourceError, OutputError, UnknownRuleSet, ModelFilesError) as error:
        raise Unusable(f"steward replay: {error}") from error
    text = json.dumps(report.as_dict(), indent=2)
    if args.out is not None:
        (args.out / REPORT).write_text(text + "\n", encoding="utf-8")
    if not args.quiet:
        print(text)
    return 0


async def _replay(args: argparse.Namespace, loaded: "Settings", progress: "Progress") -> "Report":
    from engine.adapters.files import DirectorySink, read_mapping
    from engine.adapters.trainer_thread import ThreadTrainer
    from engine.partitions import partition_factory, rule_library
    from engine.service.model_files import ModelFiles
    from engine.service.replay import replay
    from engine.service.rule_directories import RuleDirectories
    from engine.warm_up import warm_up

    mapping = read_mapping(args.map) if args.map else None
    batch = args.batch_size or BATCH_EVENTS
    library = rule_library(loaded)
    new_partition = partition_factory(
        loaded, library, backed=args.redis is not None, features_out=args.features, trainer=ThreadTrainer()
    )
    warm_up(new_partition(0))  # so that the report's seconds are those of the history
    async with AsyncExitStack() as stack:
        store, archive, models = await _backing(loaded, stack) if args.redis is not None else (None, None, None)
        library.archive = RuleDirectories(args.rule_sets, archive)
        library.models.archive = ModelFiles(args.models, models)
        await library.start()  # before a shard in that store begins under it
        sink = DirectorySink(args.out, args.features)
        stack.callback(sink.close)
        return await replay(
            chunks_of(args.sources, mapping, batch, progress),
            new_partition(0),
            sink,
            store=store,
            rule_sets=library,
            models=library.models,
            events_max=batch,
            progress=progress.events,
        )


async def _backing(loaded: "Settings", stack: AsyncExitStack) -> "tuple[StateStore, RuleArchive, ModelArchive]":
    """The state store and the archives of rule sets and models in the Redis of the settings."""
    from engine.adapters.redis_models import RedisModels
    from engine.adapters.redis_rules import RedisRules
    from engine.bootstrap import build_redis_options, build_store

    store = build_store(loaded)
    stack.push_async_callback(store.close)
    await store.start()
    archive = RedisRules(loaded.redis.url, prefix=loaded.redis.prefix, options=build_redis_options(loaded))
    stack.push_async_callback(archive.close)
    models = RedisModels(loaded.redis.url, prefix=loaded.redis.prefix, options=build_redis_options(loaded))
    stack.push_async_callback(models.close)
    return store, archive, models


def chunks_of(
    names: list[str], mapping: "Mapping | None", batch: int, progress: "Progress", *, all_labels: bool = False
) -> "Iterator[Chunk]":
    """The records of every source, one after the other; `all_labels` as in `open_source`."""
    from engine.adapters.files import open_source

    with ExitStack() as stack:
        # All are opened before the first is read, so that a wrong name costs nothing.
        sources = [stack.enter_context(open_source(name, mapping, batch, all_labels=all_labels)) for name in names]
        for source in sources:
            progress.source(source.name, source.total)
            for chunk in source:
                yield chunk
                progress.position(source.done)
