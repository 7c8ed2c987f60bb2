"""`steward worker`."""

import argparse
from typing import Final

from engine.commands.common import settings, settings_arguments, usable_rules

SUMMARY: Final = "the Faust worker: Kafka in, Redis state, Kafka out"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The addresses, besides the settings file."""
    settings_arguments(parser)
    parser.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port], or embedded")
    parser.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port, or embedded")
    parser.add_argument("--rules", metavar="DIR", help="rules directory")


def run(args: argparse.Namespace) -> int:
    """Run until told to stop."""
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka, "STEWARD_REDIS": args.redis, "STEWARD_RULES": args.rules})
    from engine.adapters.trainer_thread import ThreadTrainer
    from engine.partitions import partition_factory, rule_library
    from engine.telemetry.logs import configure
    from engine.working import run_worker

    configure(loaded.log.level, loaded.log.format)
    with usable_rules():
        library = rule_library(loaded)
        return run_worker(loaded, partition_factory(loaded, library, trainer=ThreadTrainer()), library)
