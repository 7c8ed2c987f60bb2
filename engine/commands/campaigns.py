"""`steward campaigns`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, directory, settings, settings_arguments, usable_rules

if TYPE_CHECKING:
    from engine.commands.progress import Progress
    from engine.config import Settings

NAME: Final = "steward campaigns"
SUMMARY: Final = "campaigns: what they would have done on a history, and what they have done"
POINT_VALUE: Final = 0.01
BATCH_EVENTS: Final = 1_000
REPORT: Final = "report.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """One action, its history and its campaigns."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "cost, reach, day the budget is gone, abuse exposure and overlap, before launch"
    backtest = actions.add_parser("backtest", help=summary, description=summary)
    settings_arguments(backtest)
    kinds = ".ndjson or .jsonl, plain, .gz or .zst; .parquet; .csv; - is standard input"
    backtest.add_argument("sources", nargs="+", metavar="SOURCE", help=kinds)
    backtest.add_argument("--candidate", type=directory, required=True, metavar="DIR", help="rules directory to try")
    backtest.add_argument("--baseline", type=directory, metavar="DIR", help="another, to compare with")
    backtest.add_argument("--out", type=Path, metavar="DIR", help=f"write {REPORT} here")
    backtest.add_argument("--quiet", action="store_true", help="no progress, and no report on standard output")
    backtest.add_argument("--map", metavar="FILE|NAME", help="columns of Parquet and CSV")
    backtest.add_argument("--base-currency", metavar="CODE", help="currency of amount_base")
    backtest.add_argument("--rates", type=Path, metavar="FILE", help="exchange rates")
    summary = "what campaigns gave, what is left of their budgets, and what came of them, beside those held out"
    report = actions.add_parser("report", help=summary, description=summary)
    settings_arguments(report)
    report.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port")
    report.add_argument(
        "--point-value", type=_value, default=POINT_VALUE, metavar="N", help="what a point costs, in the base currency"
    )
    report.add_argument("--json", action="store_true", help="the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Do what was asked."""
    return {"backtest": _backtest, "report": _results}[args.action](args)


def _value(text: str) -> float:
    """An argument type: a number that is not negative."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1000000")
    return value


def _backtest(args: argparse.Namespace) -> int:
    """Run, write, print."""
    from engine.adapters.files import SourceError
    from engine.commands.progress import Progress
    from engine.service.whatif.view import render

    try:
        with usable_rules(), Progress(quiet=args.quiet) as progress:
            report = _report(args, progress)
    except SourceError as error:
        raise Unusable(f"{NAME}: {error}") from error
    if args.out is not None:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=2, ensure_ascii=False)
            (args.out / REPORT).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise Unusable(f"{NAME}: cannot write {error.filename}: {error.strerror}") from error
    if not args.quiet:
        print(render(report))
    return 0


def _report(args: argparse.Namespace, progress: "Progress") -> dict[str, Any]:
    from engine.adapters.files import read_mapping
    from engine.commands.replay import chunks_of
    from engine.core.partition import Partition
    from engine.partitions import core_settings
    from engine.ruleset import report
    from engine.ruleset.errors import RuleErrors
    from engine.service.whatif.run import backtest

    loaded = settings(args, {"STEWARD_BASE_CURRENCY": args.base_currency, "STEWARD_RATES": args.rates})
    core = core_settings(loaded)
    sides = {}
    for name, where in (("candidate", args.candidate), ("baseline", args.baseline)):
        if where is None:
            continue
        try:
            sides[name] = Partition(report.load(where).launch(), core, backed=False)
        except RuleErrors as errors:
            raise Unusable(*(f"{where}/{line}" for line in errors.lines())) from errors
    if not sides["candidate"].ruleset.campaigns:
        raise Unusable(f"{NAME}: {args.candidate} has no campaigns")
    mapping = read_mapping(args.map) if args.map else None
    chunks = chunks_of(args.sources, mapping, BATCH_EVENTS, progress, all_labels=True)
    return {"sources": args.sources, **backtest(chunks, sides, progress.events)}


def _results(args: argparse.Namespace) -> int:
    """What the state says."""
    import asyncio

    from engine.ports.store import StoreMisconfigured, StoreUnavailable
    from engine.service.campaigns.view import render

    loaded = settings(args, {"STEWARD_REDIS": args.redis})
    if loaded.redis.url == "embedded":
        raise Unusable(f"{NAME}: name the Redis (STEWARD_REDIS or --redis); that of `serve` is asked over HTTP")
    try:
        with usable_rules():
            report = asyncio.run(_asked(loaded, args.point_value))
    except (StoreMisconfigured, StoreUnavailable) as error:
        raise Unusable(f"{NAME}: {error}") from error
    print(json.dumps(report, indent=2, ensure_ascii=False) if args.json else render(report))
    return 0


async def _asked(loaded: "Settings", point_value: float) -> dict[str, Any]:
    from engine.adapters.redis_rules import RedisRules
    from engine.bootstrap import build_asked, build_redis_options, build_store
    from engine.partitions import rule_library
    from engine.service.customers.places import shards_of

    store, library = build_store(loaded), rule_library(loaded)
    archive = RedisRules(loaded.redis.url, prefix=loaded.redis.prefix, options=build_redis_options(loaded))
    library.archive = archive
    try:
        await store.start()
        shards = await shards_of(store)
        if not shards:
            raise Unusable(f"{NAME}: the store at {loaded.redis.url} holds no state")
        return await build_asked(loaded, store, library, None, lambda: shards).campaigns.results(point_value)
    finally:
        await archive.close()
        await store.close()
