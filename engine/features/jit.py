"""The one place that compiles kernels: a typed `njit`.

`NUMBA_DISABLE_JIT=1` turns every kernel into the plain Python it is written in, which is the oracle of the tests.
Machine code is cached on disk beside the source (or in `NUMBA_CACHE_DIR`), so that only the first ever start pays for
compilation. No fast-math: results must be the same bits on every worker.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def njit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` in nopython mode, cached, GIL released."""
    compiled: Callable[P, R] = numba.njit(cache=True, nogil=True, fastmath=False, error_model="numpy")(function)
    return compiled
