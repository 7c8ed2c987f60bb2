"""What a test writes in plain Python, to compare with the compiled kernels."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def in_plain_python(module: str, function: str) -> bytes:
    """What a function of a test module returns in a process that compiles nothing, and where a warning is an error."""
    script = f"import sys, {module} as m; sys.stdout.buffer.write(m.{function}())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done.stdout
