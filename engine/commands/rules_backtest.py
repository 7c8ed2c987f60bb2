"""`steward rules backtest`."""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, directory, settings, settings_arguments, usable_rules, whole

if TYPE_CHECKING:
    from engine.commands.progress import Progress
    from engine.config import Settings
    from engine.ruleset.ruleset import RuleSet
    from engine.service.backtest import Labels, Options
    from engine.service.pace import Chunk

NAME: Final = "steward rules backtest"
SUMMARY: Final = "what a change of rules would have done: one history through two rules directories"
BATCH_EVENTS: Final = 2_000
GATE_FAILED: Final = 1
_SHARE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(%?)")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The history, the two rules directories, where labels come from, what to write, and the gates."""
    settings_arguments(parser)
    kinds = ".ndjson or .jsonl, plain, .gz or .zst; .parquet; .csv; - is standard input"
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=kinds)
    parser.add_argument("--baseline", type=directory, required=True, metavar="DIR", help="rules as they are")
    parser.add_argument("--candidate", type=directory, required=True, metavar="DIR", help="rules as they might be")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="payment_id,label CSV; goes before other labels")
    parser.add_argument(
        "--fraud-reason", action="append", default=[], metavar="CODE", help="another chargeback reason that is fraud"
    )
    parser.add_argument("--maturity", metavar="DURATION", help="a payment without a label by then is legitimate (8d)")
    parser.add_argument("--as-of", metavar="TIME", help="the present (the end of the history)")
    parser.add_argument(
        "--sweep", action="append", default=[], metavar="RULE:WHICH=FROM..TO[:STEP]",
        help="vary a number of a rule's when: WHICH is #POSITION, its value, or what it is compared with",
    )  # fmt: skip
    parser.add_argument("--examples", type=whole(0, 1000), default=5, metavar="N", help="of each changed outcome (5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as a page that opens offline")
    parser.add_argument("--max-insult-rate", type=share, metavar="X", help="fail above this share of honest payments")
    parser.add_argument("--min-recall", type=share, metavar="X", help="fail below this share of fraud caught")
    parser.add_argument(
        "--max-events", type=whole(1, 10**9), metavar="N", help="fail where the history is longer than N events"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, and no report on standard output")
    parser.add_argument("--map", metavar="FILE|NAME", help="columns of Parquet and CSV")
    parser.add_argument("--base-currency", metavar="CODE", help="currency of amount_base")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="exchange rates")


def share(text: str) -> float:
    """An argument type: a share such as 0.05 or 5%."""
    match = _SHARE.fullmatch(text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share such as 0.05 or 5%")
    return value


def run(args: argparse.Namespace) -> int:
    """Compare, write, print; 1 where a gate fails."""
    overrides = {
        "STEWARD_BASE_CURRENCY": args.base_currency,
        "STEWARD_RATES": args.rates,
        "STEWARD_LABEL_MATURITY": args.maturity,
    }
    loaded = settings(args, overrides)
    for path in (args.json, args.html):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise Unusable(f"{NAME}: cannot write {path}: no such directory, or it is one")
    from engine.commands.progress import Progress

    with _usable(), usable_rules(), Progress(quiet=args.quiet) as progress:
        report = _report(args, loaded, progress)
    _write(args, report)
    failed = list(gates(report["candidate"]["totals"], args.max_insult_rate, args.min_recall))
    for line in failed:
        print(f"{NAME}: gate failed: {line}", file=sys.stderr)
    return GATE_FAILED if failed else 0


def gates(totals: dict[str, Any], max_insult_rate: float | None, min_recall: float | None) -> Iterator[str]:
    """What the candidate fails, a line each. What cannot be measured has not passed."""
    insults, recall = totals["insult_rate"], totals["recall"]
    if max_insult_rate is not None:
        if insults is None:
            yield f"no payment is known to be legitimate, so --max-insult-rate {max_insult_rate:g} is not shown"
        elif totals["false_positives"] > max_insult_rate * totals["legitimate"]:
            yield f"insult rate {insults:g} is above --max-insult-rate {max_insult_rate:g}"
    if min_recall is not None:
        if recall is None:
            yield f"no payment is known to be fraud, so --min-recall {min_recall:g} is not shown"
        elif totals["true_positives"] < min_recall * totals["fraud"]:
            yield f"recall {recall:g} is below --min-recall {min_recall:g}"


def _report(args: argparse.Namespace, loaded: "Settings", progress: "Progress") -> dict[str, Any]:
    from engine.adapters.files import read_mapping
    from engine.commands.replay import chunks_of
    from engine.partitions import core_settings
    from engine.service.backtest import Backtest, backtest

    core = core_settings(loaded)
    baseline, candidate = _load(args.baseline), _load(args.candidate)
    options = _options(args, candidate, loaded.risk.label_maturity_ms)
    test = Backtest(baseline, candidate, core, _labels(args), options)
    mapping = read_mapping(args.map) if args.map else None
    chunks = _bounded(chunks_of(args.sources, mapping, BATCH_EVENTS, progress), args.max_events)
    report = backtest(chunks, test, progress.events)
    report["sources"] = args.sources
    for side, where in (("baseline", args.baseline), ("candidate", args.candidate)):
        report[side]["directory"] = str(where)
    return report


def _bounded(chunks: "Iterable[Chunk]", events_max: int | None) -> "Iterator[Chunk]":
    """The chunks as they are; raises `Unusable` where there are more events than allowed."""
    events = 0
    for chunk in chunks:
        events += len(chunk.records)
        if events_max is not None and events > events_max:
            raise Unusable(f"{NAME}: the history is longer than --max-events {events_max}")
        yield chunk


def _load(where: Path) -> "RuleSet":
    """A rule set; its faults name the directory too, for there are two."""
    from engine.ruleset import report
    from engine.ruleset.errors import RuleErrors

    try:
        return report.load(where)
    except RuleErrors as errors:
        raise Unusable(*(f"{where}/{line}" for line in errors.lines())) from errors


def _options(args: argparse.Namespace, candidate: "RuleSet", maturity_ms: int) -> "Options":
    from engine.core.instants import TimeError, parse_time
    from engine.service.backtest import Options, parse

    try:
        as_of_ms = parse_time(int(args.as_of) if args.as_of.isdecimal() else args.as_of) if args.as_of else None
    except TimeError as error:
        raise Unusable(f"{NAME}: --as-of {args.as_of}: {error}") from error
    sweeps = tuple(parse(text, candidate) for text in args.sweep)
    return Options(maturity_ms, as_of_ms, args.examples, sweeps)


def _labels(args: argparse.Namespace) -> "Labels":
    from engine.service.backtest import Labels, LabelsError

    labels = Labels(args.fraud_reason)
    if args.labels is not None:
        try:
            with args.labels.open(encoding="utf-8-sig", newline="") as lines:
                labels.read(lines)
        except OSError as error:
            raise Unusable(f"{NAME}: --labels {args.labels}: {error.strerror}") from error
        except LabelsError as error:
            raise Unusable(f"{NAME}: --labels {args.labels}: {error}") from error
    return labels


@contextmanager
def _usable() -> Iterator[None]:
    """Turn what is wrong with a sweep or a source into `Unusable`."""
    from engine.adapters.files import SourceError
    from engine.service.backtest import SweepError

    try:
        yield
    except SweepError as error:
        raise Unusable(f"{NAME}: --sweep {error}") from error
    except SourceError as error:
        raise Unusable(f"{NAME}: {error}") from error


def _write(args: argparse.Namespace, report: dict[str, Any]) -> None:
    """The report, wherever it is wanted."""
    from engine.service.backtest import page, text

    try:
        if args.json is not None:
            args.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if args.html is not None:
            args.html.write_text(page.render(report), encoding="utf-8")
    except OSError as error:
        raise Unusable(f"{NAME}: cannot write {error.filename}: {error.strerror}") from error
    if not args.quiet:
        print(text.render(report))
