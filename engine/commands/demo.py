"""`steward demo`."""

import argparse
from typing import Final

from engine.commands.common import settings, settings_arguments, usable_rules, whole

SUMMARY: Final = "a live stream of payments, the worker and the API on embedded servers, with a summary"


def arguments(parser: argparse.ArgumentParser) -> None:
    """How much, how fast, and from which seed."""
    settings_arguments(parser)
    parser.add_argument(
        "--events", type=whole(1, 2**32 - 1), metavar="N", help="end after so many events (Ctrl-C ends it otherwise)"
    )
    parser.add_argument("--rate", type=whole(1, 1_000_000), metavar="N", help="events a second")
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), default=7, help="of the stream (7)")


def run(args: argparse.Namespace) -> int:
    """Run the demo to its end."""
    loaded = settings(args)
    from engine.demo import run as run_demo

    with usable_rules():
        return run_demo(loaded, args)
