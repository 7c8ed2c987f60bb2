"""`steward serve`."""

import argparse
from typing import Final

from engine.commands.common import settings, settings_arguments, usable_rules

SUMMARY: Final = "the HTTP API with the engine in the same process"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The addresses, besides the settings file."""
    settings_arguments(parser)
    parser.add_argument("--http", metavar="HOST:PORT", help="where to listen")
    parser.add_argument(
        "--kafka", metavar="URL", help="kafka://host:port: route through the log; none: own every customer"
    )
    parser.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port, or embedded")
    parser.add_argument("--rules", metavar="DIR", help="rules directory")


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop."""
    overrides = {
        "STEWARD_HTTP": args.http,
        "STEWARD_KAFKA": args.kafka,
        "STEWARD_REDIS": args.redis,
        "STEWARD_RULES": args.rules,
    }
    loaded = settings(args, overrides)
    from engine.adapters.trainer_thread import ThreadTrainer
    from engine.partitions import partition_factory, rule_library
    from engine.serving import run_serve
    from engine.telemetry.logs import configure

    configure(loaded.log.level, loaded.log.format)
    with usable_rules():
        library = rule_library(loaded)
        return run_serve(loaded, partition_factory(loaded, library, trainer=ThreadTrainer()), library)
