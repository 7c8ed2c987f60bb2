"""`steward evaluate`."""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, directory, settings, settings_arguments, usable_rules, whole

if TYPE_CHECKING:
    from engine.commands.progress import Progress
    from engine.config import Settings
    from engine.core.partition import Partition
    from engine.service.backtest import Labels
    from engine.service.evaluate.run import Options

NAME: Final = "steward evaluate"
SUMMARY: Final = "how good the scores of a history are, judged by the labels that arrive later in it"
BATCH_EVENTS: Final = 1_000
REPORT: Final = "report.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The history, what judges it, what of it is judged, and what to write."""
    settings_arguments(parser)
    kinds = ".ndjson or .jsonl, plain, .gz or .zst; .parquet; .csv; - is standard input"
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help=kinds)
    parser.add_argument("--rules", type=directory, metavar="DIR", help="rules directory (the shipped one)")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"write {REPORT} and plots here")
    parser.add_argument(
        "--from", dest="since", metavar="TIME", help="judge decisions from then on (once all are scored)"
    )
    parser.add_argument("--until", metavar="TIME", help="judge decisions before then (the end)")
    parser.add_argument("--as-of", metavar="TIME", help="the present (the end of the day of the last event)")
    parser.add_argument("--budget", type=whole(1, 1_000_000), metavar="N", help="cards looked at a day (100)")
    parser.add_argument("--segment", metavar="FIELD", help="also by the values of a field of events, such as channel")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="payment_id,label CSV; goes before other labels")
    parser.add_argument("--maturity", metavar="DURATION", help="a payment without a label by then is legitimate (8d)")
    parser.add_argument("--challengers", action="store_true", help="also every other learner, beside the one in force")
    parser.add_argument(
        "--challenger",
        action="append",
        default=[],
        type=directory,
        metavar="DIR",
        help="also the models of these rules",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, and no report on standard output")
    parser.add_argument("--map", metavar="FILE|NAME", help="columns of Parquet and CSV")
    parser.add_argument("--base-currency", metavar="CODE", help="currency of amount_base")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="exchange rates")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write, print."""
    overrides = {
        "STEWARD_RULES": args.rules,
        "STEWARD_BASE_CURRENCY": args.base_currency,
        "STEWARD_RATES": args.rates,
        "STEWARD_LABEL_MATURITY": args.maturity,
    }
    loaded = settings(args, overrides)
    options = _options(args, loaded)
    from engine.adapters.files import SourceError
    from engine.commands.progress import Progress

    try:
        with usable_rules(), Progress(quiet=args.quiet) as progress:
            report = _report(args, loaded, options, progress)
    except SourceError as error:
        raise Unusable(f"{NAME}: {error}") from error
    _write(args, report)
    return 0


def _report(args: argparse.Namespace, loaded: "Settings", options: "Options", progress: "Progress") -> dict[str, Any]:
    from engine.adapters.files import read_mapping
    from engine.commands.replay import chunks_of
    from engine.service.evaluate.run import Evaluation, evaluate
    from engine.warm_up import warm_up

    champion, challengers = _sides(args, loaded)
    warm_up(_sides(args, loaded)[0])  # so that the report's seconds are those of the history
    evaluation = Evaluation(champion, challengers, _labels(args), options)
    mapping = read_mapping(args.map) if args.map else None
    chunks = chunks_of(args.sources, mapping, BATCH_EVENTS, progress, all_labels=True)
    report = evaluate(chunks, evaluation, progress.events)
    report["sources"] = args.sources
    return report


def _sides(args: argparse.Namespace, loaded: "Settings") -> "tuple[Partition, dict[str, Partition]]":
    """The champion and its challengers, at their beginning."""
    from engine.core.partition import Partition
    from engine.partitions import core_settings, load_ruleset
    from engine.ruleset import report
    from engine.ruleset.errors import RuleErrors
    from engine.service.evaluate.challengers import other_learners

    core = core_settings(loaded)
    ruleset = load_ruleset(loaded)
    others = other_learners(ruleset) if args.challengers else {}
    challengers = {name: Partition(other, core, backed=False) for name, other in others.items()}
    for where in args.challenger:
        try:
            challengers[str(where)] = Partition(report.load(where), core, backed=False)
        except RuleErrors as errors:
            raise Unusable(*(f"{where}/{line}" for line in errors.lines())) from errors
    return Partition(ruleset, core, backed=False), challengers


def _options(args: argparse.Namespace, loaded: "Settings") -> "Options":
    from engine.domain.fields import STRING_FIELDS
    from engine.service.evaluate.cards import CARDS_A_DAY
    from engine.service.evaluate.run import Options

    if args.segment and args.segment not in STRING_FIELDS:
        raise Unusable(f"{NAME}: --segment {args.segment}: not a text field of events, such as channel or method")
    since, until, as_of = _time("--from", args.since), _time("--until", args.until), _time("--as-of", args.as_of)
    if since is not None and until is not None and since >= until:
        raise Unusable(f"{NAME}: --from {args.since} is not before --until {args.until}")
    maturity = loaded.risk.label_maturity_ms
    return Options(maturity, as_of, since, until, args.budget or CARDS_A_DAY, args.segment or "")


def _time(option: str, text: str | None) -> int | None:
    """A time, or a date for its 00:00 UTC, as milliseconds since 1970."""
    from engine.core.instants import TimeError, parse_time

    if text is None:
        return None
    try:
        return parse_time(int(text) if text.isdecimal() else text if "T" in text else f"{text}T00:00:00Z")
    except TimeError as error:
        raise Unusable(f"{NAME}: {option} {text}: {error}") from error


def _labels(args: argparse.Namespace) -> "Labels":
    from engine.service.backtest import Labels

    labels = Labels()
    if args.labels is not None:
        with _readable(args.labels), args.labels.open(encoding="utf-8-sig", newline="") as lines:
            labels.read(lines)
    return labels


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    from engine.service.backtest import LabelsError

    try:
        yield
    except OSError as error:
        raise Unusable(f"{NAME}: --labels {path}: {error.strerror}") from error
    except LabelsError as error:
        raise Unusable(f"{NAME}: --labels {path}: {error}") from error


def _write(args: argparse.Namespace, report: dict[str, Any]) -> None:
    """The report, wherever it is wanted."""
    from engine.service.evaluate import view

    if args.out is not None:
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=2, ensure_ascii=False)
            (args.out / REPORT).write_text(text + "\n", encoding="utf-8")
            for name, plot in view.plots(report).items():
                (args.out / name).write_text(plot, encoding="utf-8")
        except OSError as error:
            raise Unusable(f"{NAME}: cannot write {error.filename}: {error.strerror}") from error
    if not args.quiet:
        print(view.render(report))
