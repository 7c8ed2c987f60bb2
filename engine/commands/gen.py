"""`steward gen`."""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from engine.commands.common import Unusable, whole

SUMMARY: Final = "write a labelled stream of payments with injected fraud, NDJSON on standard output"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the stream looks like; every default is the generator's own."""
    parser.add_argument("--events", type=whole(0, 2**32 - 1), default=10_000, help="how many events (10000)")
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="everything follows from it (0)")
    parser.add_argument("--customers", type=whole(10, 2**26), help="accounts that exist at the start")
    parser.add_argument("--rate", type=float, help="about this many events a day")
    parser.add_argument("--fraud-rate", type=float, help="share of payments that are fraud")
    parser.add_argument("--late-share", type=float, help="share of events sent out of order")
    parser.add_argument("--duplicate-share", type=float, help="share of events sent twice")
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="write payment_id,label,pattern of every payment here"
    )


def run(args: argparse.Namespace) -> int:
    """Write the stream."""
    from engine.generator.stream import Settings, generate

    names = ("seed", "customers", "rate", "fraud_rate", "late_share", "duplicate_share")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        chosen = Settings(**given)
    except ValueError as error:
        raise Unusable(f"steward gen: {error}") from error
    with ExitStack() as stack:
        labels = None
        if args.labels is not None:
            try:
                file = stack.enter_context(args.labels.open("w", encoding="ascii"))
            except OSError as error:
                raise Unusable(f"steward gen: cannot write {args.labels}: {error.strerror}") from error
            file.write("payment_id,label,pattern\n")
            labels = file.write
        sys.stdout.buffer.writelines(generate(args.events, chosen, labels=labels))
        sys.stdout.buffer.flush()
    return 0
