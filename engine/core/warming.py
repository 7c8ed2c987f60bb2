"""Which features have not yet seen their whole window.

A feature is *warming* for an event whose window reaches back before the feature was declared. Features declared
together share a cohort, dated by the first accepted event after the declaration that is neither later than the median
of the first `COHORT_EVENTS` nor `AGES_MS` before it (running, until there are that many): one first event from the far
future does not keep every feature warming for ever, nor does one from 1970 pass them all for warm.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

COHORT_EVENTS: Final = 31
AGES_MS: Final = 400 * 86_400_000


class _State(msgspec.Struct):
    cohorts: list[list[int]] = []
    features: dict[str, int] = {}


class Warming:
    """Declaration dates of the features of one shard.

    Args:
        features: `(identity, window in ms or None)` of every feature, in the order of the rule set; the identity is
            the canonical text of the definition. A feature without a window never warms: it says what it has seen so
            far.
        stored: what `dump` gave earlier, empty for a new shard.
    """

    def __init__(self, features: Sequence[tuple[str, int | None]], stored: bytes = b"") -> None:
        self._state = msgspec.msgpack.decode(stored, type=_State) if stored else _State()
        # A feature that was dropped has missed events: declared again, it starts over.
        kept = {name: cohort for name, _ in features if (cohort := self._state.features.get(name)) is not None}
        dropped = len(kept) < len(self._state.features)
        self._state.features = kept
        fresh = [name for name, _ in features if name not in kept]
        if fresh:
            self._state.features.update(dict.fromkeys(fresh, len(self._state.cohorts)))
            self._state.cohorts.append([])
        self._cohort = np.array([self._state.features[name] for name, _ in features], np.int64)
        self._window = np.array([-1 if window is None else window for _, window in features], np.int64)
        self.changed = bool(fresh) or dropped
        self._since = np.zeros((len(self._state.cohorts), 0), np.int64)
        self.over = False  # nothing was warming at any event of the observed batch

    def observe(self, time_ms: NDArray[np.int64]) -> None:
        """Take in the accepted events of a batch, in order, before asking about any of them."""
        self._since = np.empty((len(self._state.cohorts), len(time_ms)), np.int64)
        for cohort, seen in enumerate(self._state.cohorts):
            fresh = [int(t) for t in time_ms[: COHORT_EVENTS - len(seen)]]
            for row, time in enumerate(fresh):
                seen.append(time)
                self._since[cohort, row] = _declared(seen)
                self.changed = True
            if len(fresh) < len(time_ms):
                self._since[cohort, len(fresh) :] = _declared(seen)
        longest = int(self._window.max(initial=0))
        self.over = not time_ms.size or int(time_ms.min()) - longest >= int(self._since.max(initial=-(2**62)))

    def is_warming(self, feature: int, row: int, time_ms: int) -> bool:
        """Whether a feature's window at an event of the observed batch starts before the feature was declared."""
        window = self._window[feature]
        return bool(window >= 0 and time_ms - window < self._since[self._cohort[feature], row])

    def dump(self) -> bytes:
        """The dates, to be stored; clears `changed`."""
        self.changed = False
        return msgspec.msgpack.encode(self._state)


def _declared(seen: Sequence[int]) -> int:
    """The date of a cohort, out of the times of its first events in order of arrival."""
    median = sorted(seen)[(len(seen) - 1) // 2]
    return next(time for time in seen if median - AGES_MS <= time <= median)
