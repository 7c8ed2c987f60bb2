"""Where a batch is cut, so that what goes by the hour happens at places that follow from the log alone.

What happens by the hour of event time (a fraud model that has learned is put to work) happens before the first accepted
event at which the clock of the shard has come to that hour. A batch is processed in stretches that begin there: so the
same log gives the same, however it is cut into batches.
"""

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

STRETCH_MS: Final = 3_600_000
"""An hour of event time, UTC."""


def hours(clock: NDArray[np.int64]) -> NDArray[np.int64]:
    """The beginning of the hour the clock stands in, for each row: milliseconds since 1970, int64 `(n,)`."""
    return clock - clock % STRETCH_MS


def cut(hour: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Rows `[start, end)` of the stretches of a batch, given the hour of each of its rows, at least one."""
    edges = (np.flatnonzero(hour[1:] != hour[:-1]) + 1).tolist()
    return list(pairwise([0, *edges, len(hour)]))
