"""The one place that compiles kernels: a typed `njit`.

`NUMBA_DISABLE_JIT=1` turns every kernel into the plain Python it is written in, which is the oracle of the tests. No
fast-math: results must be the same bits on every worker.

Machine code is cached on disk, so that only the first ever start pays for compilation. A cached kernel has the kernels
it calls and the constants it uses compiled in, and Numba looks at the time of the kernel's own file only. So each
module's kernels are cached in a directory named by a digest of that module and of everything of ours it imports,
directly or not: changed code never meets old machine code, and other code changes nothing.
"""

import re
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numba
import numba.core.config

P = ParamSpec("P")
R = TypeVar("R")

_config: Any = numba.core.config  # untyped: its attributes are made when it reads the environment
_GIVEN: Final = Path(_config.CACHE_DIR) if _config.CACHE_DIR else None

_ENGINE: Final = Path(__file__).parents[1]
_GENERATIONS_MAX: Final = 4  # caches of older sources of a module that are kept, for other checkouts
_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+(engine[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+(engine[\w.]*))", re.M
)


def sources(module: Path, engine: Path) -> list[Path]:
    """The source files of `engine` that a module depends on: itself and what it imports, directly or not, sorted."""
    found: set[Path] = set()
    left = [module]
    while left:
        source = left.pop()
        if source not in found and source.is_file():
            found.add(source)
            for package, names, plain in _IMPORT.findall(source.read_text(encoding="utf-8")):
                base = engine.parent.joinpath(*(package or plain).split("."))
                inner = [base / name for name in re.findall(r"\w+", names)]  # a name may be a module
                left += [path for place in (base, *inner) for path in (place.with_suffix(".py"), place / "__init__.py")]
    return sorted(found)


@cache
def sources_digest(module: Path, engine: Path = _ENGINE) -> str:
    """Digest of every source file that the kernels of a module could depend on, as hexadecimal."""
    digest = blake2b(digest_size=8)
    for source in sources(module, engine):
        content = source.read_bytes()
        digest.update(f"{source.relative_to(engine).as_posix()}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


@cache
def _cache_directory(module: Path) -> str:
    """Where the machine code of a module is kept: in `NUMBA_CACHE_DIR`, beside it, or in the user's cache."""
    place = ".".join(module.relative_to(_ENGINE).with_suffix("").parts) if _ENGINE in module.parents else module.stem
    name = f"kernels-{place}-{sources_digest(module)}"
    parents = [_GIVEN] if _GIVEN else [_ENGINE / "__pycache__", Path("~/.cache/steward").expanduser()]
    for parent in parents:
        directory = parent / name
        try:
            if not directory.is_dir():
                directory.mkdir(parents=True, exist_ok=True)
                _prune(parent, place)
            probe = directory / ".writable"
            probe.touch()
        except OSError:
            continue
        return str(directory)
    return str(parents[-1] / name)  # Numba says what is wrong with it


def _prune(parent: Path, place: str) -> None:
    """Drop the oldest caches of other sources; best effort, as another process may be at it too."""
    caches = sorted(parent.glob(f"kernels-{place}-*"), key=lambda path: path.stat().st_mtime)
    for old in caches[:-_GENERATIONS_MAX]:
        for path in sorted(old.rglob("*"), reverse=True):
            path.unlink(missing_ok=True) if path.is_file() else path.rmdir()
        old.rmdir()


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` in nopython mode, cached, GIL released."""
    _config.CACHE_DIR = _cache_directory(Path(function.__code__.co_filename))
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` into its callers: each array passed to a call costs two atomic reference counts.

    For small functions on the hot path; `njit` for all others, as inlining costs compile time.
    """
    compiled: Callable[P, R] = numba.njit(inline="always", nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled
