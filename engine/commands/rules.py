"""`steward rules`: check, test, format, explain and backtest rule files."""

import argparse
import sys
from pathlib import Path
from typing import Final

from engine.commands import rules_backtest, rules_explain, rules_fmt
from engine.commands.common import Unusable, usable_rules

SUMMARY: Final = "check, test, format, explain or backtest a rules directory"
VERBS: Final = {"fmt": rules_fmt, "explain": rules_explain, "backtest": rules_backtest}
"""Verbs with a module of their own, like a command."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """A verb, and a directory or what the verb takes."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, text in (("check", "parse and check every file"), ("test", "run the tests beside the rules")):
        verb = verbs.add_parser(name, help=text, description=text)
        verb.add_argument("directory", nargs="?", type=Path, metavar="DIR", help="rules directory (the shipped one)")
    for name, module in VERBS.items():
        verb = verbs.add_parser(name, help=module.SUMMARY, description=module.SUMMARY)
        module.arguments(verb)


def run(args: argparse.Namespace) -> int:
    """Print the report; 2 where the rules cannot be used or a test of theirs fails."""
    if args.verb in VERBS:
        code: int = VERBS[args.verb].run(args)
        return code
    from engine.resources import rules_directory

    directory = args.directory or rules_directory()
    if not directory.is_dir():
        raise Unusable(f"steward rules {args.verb}: {directory} is not a directory")
    from engine.ruleset import report

    with usable_rules():
        outcome = report.check(directory) if args.verb == "check" else report.run_tests(directory)
    print(outcome, file=sys.stdout if outcome.ok else sys.stderr)
    return 0 if outcome.ok else 2
