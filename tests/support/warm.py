"""Compile the kernels once, before several test processes start together and each would do it for itself.

    python -m tests.support.warm

A generated stream through `steward replay`: what it calls is compiled and cached. Kernels that only tests call are
compiled where they are first called.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

EVENTS: Final = 2_000


def main() -> None:
    """Run it; what goes wrong here is for the tests to find."""
    with tempfile.TemporaryDirectory() as scratch:
        stream = Path(scratch) / "events.ndjson"
        with stream.open("wb") as out:
            subprocess.run([*_STEWARD, "gen", "--events", str(EVENTS), "--seed", "1"], stdout=out, check=False)
        subprocess.run([*_STEWARD, "replay", str(stream), "--out", scratch, "--quiet"], check=False)


_STEWARD: Final = (sys.executable, "-m", "engine.cli")

if __name__ == "__main__":
    main()
