"""`steward config`."""

import argparse
import json
from typing import Final

from engine.commands.common import settings, settings_arguments

SUMMARY: Final = "print every setting, secrets masked, and where its value comes from"


def arguments(parser: argparse.ArgumentParser) -> None:
    """`--json` besides the settings file."""
    settings_arguments(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, with each setting's type, bounds and variable")


def run(args: argparse.Namespace) -> int:
    """Print the settings in force."""
    from engine.config.show import rows, table

    loaded = settings(args)
    print(json.dumps(rows(loaded), indent=2) if args.json else table(loaded))
    return 0
