"""Event times as text, as they are put out: RFC 3339 in UTC with milliseconds."""

from datetime import datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  # naive on purpose: the text gets its Z below


def iso_time(time_ms: int) -> str:
    """One time, from milliseconds since 1970."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds") + "Z"


def iso_times(time_ms: NDArray[np.int64]) -> list[str]:
    """Many times."""
    texts: list[str] = np.datetime_as_string(time_ms.astype("datetime64[ms]"), unit="ms", timezone="UTC").tolist()
    return texts
