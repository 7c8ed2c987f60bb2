"""`steward gen`."""

import argparse
import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from engine.commands.common import Unusable, whole

SUMMARY: Final = "write a labelled stream of payments with injected fraud, NDJSON on standard output"
FILES: Final = {
    "labels": ("payment_id,label,pattern of every payment", "payment_id,label,pattern\n"),
    "incidents": ("kind,subject,start,end of outages and silences", "kind,subject,start,end\n"),
    "rates": ("the exchange rates of the amounts, as STEWARD_RATES reads them", ""),
}
"""Files beside the stream: what goes into each, and its first line."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the stream looks like; every default is the generator's own."""
    parser.add_argument("--events", type=whole(0, 2**32 - 1), default=10_000, help="how many events (10000)")
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=0, help="everything follows from it (0)")
    parser.add_argument("--customers", type=whole(10, 2**26), help="accounts that exist at the start")
    parser.add_argument("--rate", type=float, help="about this many events a day")
    parser.add_argument("--fraud-rate", type=float, help="share of payments that are fraud")
    parser.add_argument("--late-share", type=float, help="share of events sent out of order")
    parser.add_argument("--duplicate-share", type=float, help="share of events sent twice")
    parser.add_argument("--incident-rate", type=float, help="acquirer outages and silent sources a day")
    parser.add_argument("--drift-day", type=float, metavar="N", help="fraud changes its habits N days after the start")
    for name, (said, _) in FILES.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {said} here")


def run(args: argparse.Namespace) -> int:
    """Write the stream."""
    from engine.generator.stream import Settings, generate
    from engine.generator.world import rates

    names = ("seed", "customers", "rate", "fraud_rate", "late_share", "duplicate_share", "incident_rate", "drift_day")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        chosen = Settings(**given)
    except ValueError as error:
        raise Unusable(f"steward gen: {error}") from error
    with ExitStack() as stack:
        files = {name: _opened(stack, getattr(args, name), header) for name, (_, header) in FILES.items()}
        if files["rates"] is not None:
            files["rates"](json.dumps(rates()) + "\n")
        stream = generate(args.events, chosen, labels=files["labels"], incidents=files["incidents"])
        sys.stdout.buffer.writelines(stream)
        sys.stdout.buffer.flush()
    return 0


def _opened(stack: ExitStack, path: Path | None, header: str) -> Callable[[str], object] | None:
    """What writes a line to the file, its header written; `None` where no file is asked for."""
    if path is None:
        return None
    try:
        file = stack.enter_context(path.open("w", encoding="ascii"))
    except OSError as error:
        raise Unusable(f"steward gen: cannot write {path}: {error.strerror}") from error
    file.write(header)
    return file.write
