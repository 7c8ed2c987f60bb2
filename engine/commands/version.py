"""`steward version`."""

import argparse
from typing import Final

SUMMARY: Final = "print the version"


def arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def run(args: argparse.Namespace) -> int:
    """Print the version of Steward and of Python."""
    import platform

    from engine import __version__

    print(f"steward {__version__} (Python {platform.python_version()}, {platform.machine()})")
    return 0
