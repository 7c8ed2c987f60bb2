"""Event times as text, as they are put out: RFC 3339 in UTC with milliseconds."""

import numpy as np
from numpy.typing import NDArray


def iso_times(time_ms: NDArray[np.int64]) -> list[str]:
    """What `engine.domain.times.rfc3339` gives for each time, a batch at once."""
    texts: list[str] = np.datetime_as_string(time_ms.astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()
    return texts
