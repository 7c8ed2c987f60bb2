"""`steward replay`."""

import argparse
from pathlib import Path
from typing import Final

from engine.commands.common import directory, settings, settings_arguments, usable_rules, whole

SUMMARY: Final = "run history through the engine, offline and deterministic"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Sources and where the outputs go; what is not given comes from the settings."""
    settings_arguments(parser)
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help=".ndjson, .jsonl, either as .gz or .zst, .parquet, .csv, or - (standard input)",
    )
    parser.add_argument("--rules", type=directory, metavar="DIR", help="rules directory (the shipped one)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write outputs and report.json here")
    parser.add_argument(
        "--features", action="store_true", help="also write features.ndjson, every declared feature of every event"
    )
    parser.add_argument(
        "--batch-size", type=whole(1, 20_000), metavar="N", help="events of a micro-batch; no outcome depends on it"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--redis", metavar="URL", help="keep the state there instead of in memory")
    parser.add_argument(
        "--map", metavar="FILE|NAME", help="column mapping for Parquet and CSV: a YAML file, or a shipped one's name"
    )
    parser.add_argument("--base-currency", metavar="CODE", help="currency of amount_base")
    parser.add_argument("--rates", type=Path, metavar="FILE", help="exchange rates")


def run(args: argparse.Namespace) -> int:
    """Hand over to the replay, with every argument either given or from the settings."""
    overrides = {
        "STEWARD_RULES": args.rules,
        "STEWARD_REDIS": args.redis,
        "STEWARD_BASE_CURRENCY": args.base_currency,
        "STEWARD_RATES": args.rates,
        "STEWARD_BATCH_EVENTS_MAX": args.batch_size,
    }
    args.settings = settings(args, overrides)
    from engine.service.replay import main

    with usable_rules():
        return main(args)
