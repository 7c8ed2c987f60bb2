"""What names a decision wherever it is kept: a hash of its customer and its event, which are unique together."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.features.columns import Columns

_ODD: Final = np.uint64(0x9E3779B97F4A7C15)  # mixes the customer in: two hashes that are equal must not give nothing


def identities(columns: Columns) -> NDArray[np.uint64]:
    """A hash for each event, uint64 `(n,)`."""
    named: NDArray[np.uint64] = columns.string("customer_id") * _ODD ^ columns.string("event_id")
    return named
