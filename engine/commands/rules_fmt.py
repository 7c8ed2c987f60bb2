"""`steward rules fmt`: rule files in their canonical layout."""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from engine.commands.common import Unusable, usable_rules

SUMMARY: Final = "bring rule files into their canonical layout, comments kept"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What to format, and whether only to look."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="rule files, or directories of them")
    parser.add_argument("--check", action="store_true", help="change nothing; list what would change and exit with 1")


def run(args: argparse.Namespace) -> int:
    """Format every file, or none where one cannot be read; 1 with `--check` where a file would change."""
    from engine.ruleset.formatter import reformat

    changed: dict[Path, str] = {}
    with usable_rules():
        for path, text in _texts(args.paths).items():
            wanted = reformat(str(path), text)
            if wanted.encode() != path.read_bytes():
                changed[path] = wanted
    for path, text in changed.items():
        print(f"would change {path}" if args.check else f"formatted {path}")
        if not args.check:
            _replace(path, text)
    if not changed:
        print("nothing to change", file=sys.stderr)
    return 1 if args.check and changed else 0


def _texts(paths: list[Path]) -> dict[Path, str]:
    """The rule files below the paths, in order."""
    from engine.ruleset import files

    found: dict[Path, str] = {}
    for path in paths:
        if not path.exists():
            raise Unusable(f"steward rules fmt: {path}: no such file or directory")
        texts = files.read(path)
        rules = {name: text for name, text in texts.items() if not name.endswith(files.LIST_SUFFIX)}
        found |= {(path / name if path.is_dir() else path): text for name, text in rules.items()}
    return found


def _replace(path: Path, text: str) -> None:
    """Write a file beside its place and move it there, so that a reader sees the old or the new, never a part."""
    target = path.resolve()  # a link stays a link
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(target.stat().st_mode & 0o7777)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unusable(f"steward rules fmt: {path}: cannot be written: {error.strerror}") from error
