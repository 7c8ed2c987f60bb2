"""`steward demo`: a live stream of payments through everything, on embedded servers."""

import argparse

from engine.config import Settings


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run the demo to its end; returns the exit code."""
    from engine.demo.show import run as run_demo

    return run_demo(settings, args)
