"""The command `steward`: parses arguments, runs one command, turns every ending into an exit code.

Exit codes: 0 done; 1 a fault; 2 unusable arguments, configuration or rules, one clear line each; 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from engine.commands import (
    campaigns,
    config,
    customer,
    dead_letters,
    demo,
    evaluate,
    gen,
    ledger,
    models,
    rebuild,
    reconcile,
    repartition,
    replay,
    rules,
    scale,
    serve,
    snapshot,
    train,
    version,
    worker,
)
from engine.commands.common import Unusable

DONE: Final = 0
FAULT: Final = 1
UNUSABLE: Final = 2
INTERRUPTED: Final = 130


COMMANDS: Final = {
    "demo": demo,
    "worker": worker,
    "serve": serve,
    "replay": replay,
    "evaluate": evaluate,
    "train": train,
    "models": models,
    "campaigns": campaigns,
    "rules": rules,
    "customer": customer,
    "ledger": ledger,
    "reconcile": reconcile,
    "gen": gen,
    "dead-letters": dead_letters,
    "scale": scale,
    "snapshot": snapshot,
    "rebuild": rebuild,
    "repartition": repartition,
    "config": config,
    "version": version,
}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is a `--help` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {message} (see {self.prog} --help)\n")


class _Version(argparse.Action):
    """Prints the version as the command does, and ends: it is worked out only where it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        parser.exit(version.run(argparse.Namespace()))


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    root = _Parser(prog="steward", description="Steward judges payments as they happen: risk and reward from one read.")
    root.add_argument("--version", action=_Version, help=version.SUMMARY)
    root.add_argument("--debug", action="store_true", help="show the traceback of a fault")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(name, help=command.SUMMARY, description=command.SUMMARY)
        sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (of this process by default) and return its exit code."""
    try:
        args = parser().parse_args(argv)
    except SystemExit as ending:  # --help, or arguments that do not parse
        return ending.code if isinstance(ending.code, int) else UNUSABLE
    try:
        code: int = args.run(args)
        return code
    except Unusable as error:
        print("\n".join(error.problems), file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if args.debug:
            raise
        _report(args.command, error)
        return FAULT


def _report(command: str, error: Exception) -> None:
    from engine.telemetry.logs import redact

    told = " ".join(str(error).split()) or "no message"
    print(f"steward {command}: {type(error).__name__}: {redact(told)} (--debug shows where)", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
