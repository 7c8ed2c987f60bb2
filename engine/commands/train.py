"""`steward train`: a fraud model out of a history, for a cold start."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.commands.common import (
    Unusable,
    directory,
    rule_sets_argument,
    settings,
    settings_arguments,
    usable_rules,
)

if TYPE_CHECKING:
    from engine.commands.progress import Progress
    from engine.config import Settings
    from engine.scoring.snapshot import Snapshot
    from engine.service.model_desk import ModelDesk

NAME: Final = "steward train"
SUMMARY: Final = "learn a fraud model from a history, and put it to work where there is none yet"
BATCH_EVENTS: Final = 1_000


def arguments(parser: argparse.ArgumentParser) -> None:
    """The history, and what becomes of the model."""
    settings_arguments(parser)
    kinds = ".ndjson or .jsonl, plain, .gz or .zst; .parquet; .csv; - is standard input"
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=kinds)
    parser.add_argument("--rules", type=directory, metavar="DIR", help="rules directory (the shipped one)")
    rule_sets_argument(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the model here; ends in .model")
    parser.add_argument("--publish", action="store_true", help="archive it and start every shard with it")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("--map", metavar="FILE|NAME", help="columns of Parquet and CSV")
    parser.add_argument("--base-currency", metavar="CODE", help="currency of amount_base")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="exchange rates")
    parser.add_argument("--redis", metavar="URL", help="of the deployment, to publish")
    parser.add_argument("--kafka", metavar="URL", help="of the deployment, to publish")


def run(args: argparse.Namespace) -> int:
    """Train, write, publish; 1 where a shard has not followed yet."""
    overrides = {
        "STEWARD_RULES": args.rules,
        "STEWARD_BASE_CURRENCY": args.base_currency,
        "STEWARD_RATES": args.rates,
        "STEWARD_REDIS": args.redis,
        "STEWARD_KAFKA": args.kafka,
    }
    loaded = settings(args, overrides)
    if args.out is None and not args.publish:
        raise Unusable(f"{NAME}: name a file (--out), or --publish, or both")
    if args.publish and loaded.redis.url == "embedded":
        raise Unusable(f"{NAME}: --publish needs the Redis of the deployment (STEWARD_REDIS or --redis)")
    from engine.adapters.files import SourceError
    from engine.commands.models import at_desk, tell, write_model
    from engine.commands.progress import Progress
    from engine.domain.times import rfc3339
    from engine.service.model_desk import START
    from engine.service.train import NothingLearned

    try:
        with usable_rules(), Progress(quiet=args.quiet) as progress:
            made = _trained(args, loaded, progress)
        if args.out is not None:
            write_model(args.out, made.data)
    except (SourceError, NothingLearned, OSError) as error:
        raise Unusable(f"{NAME}: {error}") from error
    until = rfc3339(made.boundary_ms)
    print(f"{made.version}: {made.known:,.0f} payments known, {made.frauds:,} of the rows frauds, labels until {until}")
    if not args.publish:
        return 0

    async def publish(desk: "ModelDesk") -> int:
        note = await desk.bring(made.data)
        return await tell(desk, START, dict.fromkeys(range(desk.shards), note.model))

    return at_desk(NAME, loaded, publish)


def _trained(args: argparse.Namespace, loaded: "Settings", progress: "Progress") -> "Snapshot":
    from engine.adapters.files import read_mapping
    from engine.adapters.trainer_thread import ThreadTrainer
    from engine.commands.replay import chunks_of
    from engine.core.partition import Partition
    from engine.partitions import core_settings, load_ruleset
    from engine.service.rule_directories import RuleDirectories
    from engine.service.train import train

    rule_sets = RuleDirectories(args.rule_sets)
    partition = Partition(
        load_ruleset(loaded),
        core_settings(loaded),
        backed=False,
        rulesets=rule_sets.compiled,
        trainer=ThreadTrainer(),
    )
    mapping = read_mapping(args.map) if args.map else None
    return train(chunks_of(args.sources, mapping, BATCH_EVENTS, progress), partition, progress.events)
