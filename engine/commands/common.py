"""What the commands share: their settings, and how unusable input is reported."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.config import Settings


class Unusable(Exception):
    """Arguments, configuration or rules that cannot be used: exit code 2. One clear line each in `problems`."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def settings_arguments(parser: argparse.ArgumentParser) -> None:
    """`--config`, for every command that has settings."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file instead of ./steward.toml")


def settings(args: argparse.Namespace, overrides: Mapping[str, object] | None = None) -> "Settings":
    """The settings in force; their warnings go to standard error.

    Args:
        args: parsed arguments with `config`.
        overrides: variables to set over the environment, from arguments that were given; `None` values were not.

    Raises:
        Unusable: where the settings cannot be used.
    """
    from engine.config import ConfigError, load

    given = {name: str(value) for name, value in (overrides or {}).items() if value is not None}
    try:
        loaded = load({**os.environ, **given}, args.config)
    except ConfigError as error:
        raise Unusable(*error.problems) from error
    for warning in loaded.warnings:
        print(f"steward: warning: {warning}", file=sys.stderr)
    return loaded


@contextmanager
def usable_rules() -> Iterator[None]:
    """Turn faults of a rules directory, and of files the settings name, into `Unusable`: one line each."""
    from engine.config import ConfigError
    from engine.ruleset.errors import RuleError, RuleErrors

    try:
        yield
    except RuleErrors as errors:
        raise Unusable(*errors.lines()) from errors
    except RuleError as error:
        raise Unusable(error.headline()) from error
    except ConfigError as error:
        raise Unusable(*error.problems) from error


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argument type: a whole number within bounds."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def rule_sets_argument(parser: argparse.ArgumentParser) -> None:
    """`--rule-sets`, for every command that replays a history which may change its rules."""
    parser.add_argument(
        "--rule-sets",
        type=directory,
        action="append",
        default=[],
        metavar="DIR",
        help="where the rule sets are that the history puts in force: a rules directory, or one that contains such",
    )


def models_argument(parser: argparse.ArgumentParser) -> None:
    """`--models`, for every command that replays a history which may say which fraud model serves."""
    parser.add_argument(
        "--models",
        type=directory,
        action="append",
        default=[],
        metavar="DIR",
        help="where the fraud models are that the history names: files *.model, as `steward models export` writes them",
    )


def directory(text: str) -> Path:
    """An argument type: a directory that exists."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a directory")
    return path


def lines_of(source: str, file: str, command: str) -> Iterator[tuple[str, bytes]]:
    """The lines of a file, or of `file` in a directory, each with its place. Raises `Unusable`."""
    from engine.adapters.files import SourceError, open_source

    name = str(Path(source) / file) if Path(source).is_dir() else source
    try:
        with open_source(name) as opened:
            for chunk in opened:
                for index, line in enumerate(chunk.records):
                    yield f"{name}:{chunk.lines[index]}", line
    except SourceError as error:
        raise Unusable(f"{command}: {error}") from error
