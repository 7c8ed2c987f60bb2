"""`steward campaigns`."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, directory, settings, settings_arguments, usable_rules

if TYPE_CHECKING:
    from engine.commands.progress import Progress

NAME: Final = "steward campaigns"
SUMMARY: Final = "campaigns: what they would have done on a history"
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


def run(args: argparse.Namespace) -> int:
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
            sides[name] = Partition(report.load(where), core, backed=False)
        except RuleErrors as errors:
            raise Unusable(*(f"{where}/{line}" for line in errors.lines())) from errors
    if not sides["candidate"].ruleset.campaigns:
        raise Unusable(f"{NAME}: {args.candidate} has no campaigns")
    mapping = read_mapping(args.map) if args.map else None
    chunks = chunks_of(args.sources, mapping, BATCH_EVENTS, progress, all_labels=True)
    return {"sources": args.sources, **backtest(chunks, sides, progress.events)}
