"""`steward reconcile`: our payments against settlement files."""

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engine.commands.common import Unusable, whole

if TYPE_CHECKING:
    from engine.domain.settlements import SettlementLine, Unreadable
    from engine.service.reconcile.payments import Movement

NAME: Final = "steward reconcile"
SUMMARY: Final = "compare our payments with settlement files; exit code 0 all matched, 1 differences, 2 unusable input"
MATCHED, DIFFERENT = 0, 1
BATCH_EVENTS: Final = 1_000
LINES_MAX: Final = 2_000_000
"""Lines held in memory at once, as many as payments."""
ENDINGS: Final = (".json", ".csv")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Both sides, what counts as the same, and what to write."""
    parser.add_argument(
        "--settlements", nargs="+", required=True, metavar="FILE", help=".csv, .parquet, or camt.053 .xml; .gz too"
    )
    parser.add_argument(
        "--payments", nargs="+", required=True, metavar="SOURCE", help="our events, as steward replay reads them"
    )
    parser.add_argument("--map", metavar="FILE", help="which columns of the settlement tables mean what (YAML)")
    parser.add_argument("--payments-map", metavar="FILE|NAME", help="columns of payments in Parquet and CSV")
    parser.add_argument("--from", dest="since", metavar="TIME", help="expect payments from then on (all)")
    parser.add_argument("--until", metavar="TIME", help="expect payments before then (all)")
    parser.add_argument(
        "--tolerance", type=whole(0, 1_000_000), default=0, metavar="N", help="minor units by which amounts may differ"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all differences there: .json or .csv")
    parser.add_argument("--matched", action="store_true", help="write what matched, too")
    parser.add_argument("--quiet", action="store_true", help="no progress, and no report on standard output")


def run(args: argparse.Namespace) -> int:
    """Read both sides, match, report."""
    if args.out is not None and args.out.suffix not in ENDINGS:
        raise Unusable(f"{NAME}: --out {args.out}: name a file ending in {' or '.join(ENDINGS)}")
    from engine.adapters.files import SourceError
    from engine.service.reconcile import view
    from engine.service.reconcile.matching import reconcile
    from engine.service.reconcile.payments import TooMany

    try:
        lines, unreadable, passed = _settlements(args)
        movements, side = _payments(args)
    except (SourceError, TooMany) as error:
        raise Unusable(f"{NAME}: {error}") from error
    found = reconcile(movements, lines, args.tolerance)
    report = {**view.summary(found, unreadable, passed), "payments": side, "settlement_files": args.settlements}
    if args.out is not None:
        _write(args.out, report, view.rows(found, unreadable, matched=args.matched))
    if not args.quiet:
        from itertools import islice

        from rich.console import Console

        shown = list(islice(view.rows(found, unreadable, matched=False), view.SHOWN_MAX))
        Console(width=None if sys.stdout.isatty() else 160).print(view.render(report, shown))
    return DIFFERENT if report["differences"] else MATCHED


def _settlements(args: argparse.Namespace) -> "tuple[list[SettlementLine], list[Unreadable], int]":
    """Lines, those that make no sense, and how many were passed over."""
    from engine.adapters.settlements import read_settlement_mapping, read_settlements
    from engine.domain.settlements import SettlementLine, Unreadable
    from engine.service.reconcile.payments import TooMany

    mapping = read_settlement_mapping(args.map) if args.map else None
    lines: list[SettlementLine] = []
    unreadable: list[Unreadable] = []
    passed = 0
    for path in args.settlements:
        for line in read_settlements(path, mapping):
            if isinstance(line, SettlementLine):
                lines.append(line)
            elif isinstance(line, Unreadable):
                unreadable.append(line)
            else:
                passed += 1
            if len(lines) + len(unreadable) > LINES_MAX:
                raise TooMany(f"over {LINES_MAX:,} settlement lines; reconcile fewer files at once")
    return lines, unreadable, passed


def _payments(args: argparse.Namespace) -> "tuple[list[Movement], dict[str, int]]":
    from engine.adapters.files import read_mapping
    from engine.commands.progress import Progress
    from engine.commands.replay import chunks_of
    from engine.service.reconcile.payments import Payments, collect

    since, until = _time("--from", args.since, 0), _time("--until", args.until, 1 << 62)
    if since >= until:
        raise Unusable(f"{NAME}: --from {args.since} is not before --until {args.until}")
    payments = Payments(since, until)
    mapping = read_mapping(args.payments_map) if args.payments_map else None
    with Progress(quiet=args.quiet) as progress:
        chunks = chunks_of(args.payments, mapping, BATCH_EVENTS, progress)
        movements = collect((chunk.records for chunk in chunks), payments)
    side = {"events": payments.events, "refused": payments.refused, "repeats": payments.repeats}
    return movements, {**side, "movements": len(movements)}


def _time(option: str, text: str | None, default: int) -> int:
    """A time, or a date for its 00:00 UTC, as milliseconds since 1970."""
    from engine.core.instants import TimeError, parse_time

    if text is None:
        return default
    try:
        return parse_time(int(text) if text.isdecimal() else text if "T" in text else f"{text}T00:00:00Z")
    except TimeError as error:
        raise Unusable(f"{NAME}: {option} {text}: {error}") from error


def _write(path: Path, report: dict[str, Any], rows: Iterator[dict[str, str]]) -> None:
    from engine.service.reconcile.view import COLUMNS

    try:
        with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
            if path.suffix == ".csv":
                table = csv.DictWriter(file, COLUMNS)
                table.writeheader()
                table.writerows({name: _harmless(text) for name, text in row.items()} for row in rows)
                return
            told: Sequence[dict[str, str]] = [{k: v for k, v in row.items() if v} for row in rows]
            file.write(json.dumps({**report, "findings": told}, indent=2) + "\n")
    except OSError as error:
        raise Unusable(f"{NAME}: --out {path}: {error.strerror}") from error


def _harmless(text: str) -> str:
    """Text that a spreadsheet would take for a formula, with a quote before it; numbers stay as they are."""
    formula = text[:1] in ("=", "+", "@", "\t", "\r") or (text[:1] == "-" and not text[1:2].isdigit())
    return f"'{text}" if formula else text
