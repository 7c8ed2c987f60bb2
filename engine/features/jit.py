"""The one place that compiles kernels: a typed `njit`.

`NUMBA_DISABLE_JIT=1` turns every kernel into the plain Python it is written in, which is the oracle of the tests. No
fast-math: results must be the same bits on every worker.

Machine code is cached on disk, so that only the first ever start pays for compilation. A cached kernel has the kernels
it calls and the constants it uses compiled in, and Numba looks at the time of the kernel's own file only. So the cache
lives in a directory named by a digest of every source file a kernel could depend on: changed code never meets old
machine code.
"""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numba
import numba.core.config

P = ParamSpec("P")
R = TypeVar("R")

_config: Any = numba.core.config  # untyped: its attributes are made when it reads the environment

_ENGINE: Final = Path(__file__).parents[1]
_ROOMS: Final = ("domain", "features", "scoring", "engagement", "core")
_GENERATIONS_MAX: Final = 4  # caches of older sources that are kept, for other checkouts of the same environment


def sources_digest(engine: Path) -> str:
    """Digest of every source file that a kernel could depend on, as hexadecimal."""
    digest = blake2b(digest_size=8)
    for room in _ROOMS:
        for source in sorted((engine / room).rglob("*.py")):
            content = source.read_bytes()
            digest.update(f"{source.relative_to(engine).as_posix()}:{len(content)}:".encode())
            digest.update(content)
    return digest.hexdigest()


def _cache_directory() -> Path:
    """Where these sources' machine code is kept: in `NUMBA_CACHE_DIR`, beside them, or in the user's cache."""
    name = f"kernels-{sources_digest(_ENGINE)}"
    given = [Path(_config.CACHE_DIR)] if _config.CACHE_DIR else []
    parents = given or [_ENGINE / "__pycache__", Path("~/.cache/steward").expanduser()]
    for parent in parents:
        directory = parent / name
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True, exist_ok=True)
                _prune(parent)
            probe = directory / ".writable"
            probe.touch()
        except OSError:
            continue
        return directory
    return parents[-1] / name  # Numba says what is wrong with it


def _prune(parent: Path) -> None:
    """Drop the oldest caches of other sources; best effort, as another process may be at it too."""
    caches = sorted(parent.glob("kernels-*"), key=lambda path: path.stat().st_mtime)
    for old in caches[:-_GENERATIONS_MAX]:
        for path in sorted(old.rglob("*"), reverse=True):
            path.unlink(missing_ok=True) if path.is_file() else path.rmdir()
        old.rmdir()


_config.CACHE_DIR = str(_cache_directory())


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` in nopython mode, cached, GIL released."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into its callers: each array passed to a call costs two atomic reference counts.

    For small functions on the hot path; `njit` for all others, as inlining costs compile time.
    """
    compiled: Callable[P, R] = numba.njit(inline="always", nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled
