"""How long a value is usually silent, learned from its own events: for watches of silence with `usual`.

Days on which something came are kept, the last `DAYS`, each with the longest silence that ended on it. Usual is a
silence as long as the longest of one such day in seven: one that comes every week, a closed shop on Sundays, is usual,
an outage or two in four weeks are not. Silences shorter than the time at which a watch looks count as none. A silence
counts once the clock has passed its end, so that it depends neither on batches nor on the order of events.
"""

from bisect import bisect_left, bisect_right
from typing import Final

import msgspec

DAYS: Final = 28
"""Days with events that are remembered: four times each day of the week."""

ONE_IN: Final = 7
"""Usual is what the longest silence of one day in so many is."""

OUTLIERS_MIN: Final = 1
"""However few days are known, the longest of so many do not count: an outage in the first week is not usual."""

KNOWN_DAYS: Final = 3
"""Nothing is said of a value before so many days with events, and the one of the hit, are known."""

KEEP_MS: Final = 90 * 86_400_000
"""A value of which nothing was heard for so long is forgotten."""

DAY_MS: Final = 86_400_000
NEVER: Final = 2**62


class Usual(msgspec.Struct, array_like=True, gc=False):
    """What is known of the silences of one value.

    Attributes:
        days: `(start, longest)` of those with events, in order; of a rule that looks only after more than a day, of
            stretches of so long instead.
        since_ms, until_ms: the last silence a watch has looked at; `NEVER` until something comes.
    """

    days: list[tuple[int, int]] = []
    since_ms: int = NEVER
    until_ms: int = NEVER

    def heard(self, first_ms: int, last_ms: int, look_ms: int) -> None:
        """Events have come, from `first_ms` to `last_ms`, no two of them further apart than `look_ms`."""
        if self.since_ms < first_ms < self.until_ms:
            self.until_ms = first_ms
        day_ms = max(DAY_MS, look_ms)
        low, high = first_ms // day_ms * day_ms, last_ms // day_ms * day_ms
        if self.days and self.days[-1][0] == low == high:  # as it mostly is
            return
        known = {start for start, _ in self.days}
        starts = range(max(low, high - 2 * DAYS * day_ms), high + 1, day_ms)
        fresh = [(start, 0) for start in starts if start not in known]
        if fresh:
            self.days = sorted([*self.days, *fresh])

    def look(self, hit_ms: int, next_ms: int, look_ms: int) -> int | None:
        """Nothing came for `look_ms` after a hit, which the clock has passed; `next_ms` is what came then, `NEVER` if
        that is not known yet. Returns the usual longest silence, 0 for one that is shorter than that; None where too
        little is known."""
        day_ms = max(DAY_MS, look_ms)
        if self.until_ms <= hit_ms:
            self._learn(self.until_ms - self.since_ms, self.until_ms // day_ms * day_ms)
        self.since_ms, self.until_ms = hit_ms, next_ms
        end = bisect_right(self.days, (hit_ms // day_ms * day_ms, NEVER))
        del self.days[: max(0, end - DAYS)]
        known = sorted((longest for _, longest in self.days[: min(end, DAYS)]), reverse=True)
        if len(known) <= KNOWN_DAYS:
            return None
        return known[max(OUTLIERS_MIN, -(-len(known) // ONE_IN) - 1)]

    def _learn(self, silence_ms: int, day: int) -> None:
        place = bisect_left(self.days, (day, 0))
        if place < len(self.days) and self.days[place][0] == day:
            self.days[place] = day, max(self.days[place][1], silence_ms)
