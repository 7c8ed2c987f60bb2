"""Habits that follow from a customer's payments, kept up as payments come one after another.

A payment after all others, which most are, changes little: one gap more, one hour's count, the day that is not over. So
what was worked out before is carried on; anything else that happens to the payments has it worked out anew when it is
next asked for. What comes out is a function of the payments alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from engine.engagement.calendar import local_day, local_hour

GAPS: Final = 12
"""Gaps between payments that the typical gap is taken from: half of the weight is in the last four."""
GAP_FADE: Final = 0.84
GAP_MS_MIN: Final = 3_600_000
"""Payments within an hour are one visit."""
HOURS: Final = 24


class Paid(NamedTuple):
    """One payment, ordered by time.

    Attributes:
        time_ms: of settlement, whole seconds: habits need no finer; payment: hash of its id.
        minor: amount in minor units of the base currency; refunded: of it, given back.
        method, category, currency: as in the event, "" where missing.
    """

    time_ms: int
    payment: int
    minor: int
    refunded: int
    method: str
    category: str
    currency: str


class Run(NamedTuple):
    """Days in a row, `day` the last of them, by which zone and from how much a day; `length` 0 for none."""

    zone: str
    minor_min: int
    day: int
    length: int


@dataclass(slots=True)
class Habits:
    """See the module. Each question is asked with the same payments as the changes were told of, in order of time."""

    _gaps: list[int] | None = None
    _since_ms: int = 0  # gaps of before that are not among them
    _gap: int | None = None
    _spread: int = 0  # of the same gaps
    _zone: str = ""
    _hours: list[int] | None = None  # payments by hour, in that zone
    _peak: int | None = None  # the hour, once asked for
    _run: Run | None = None  # up to the day before the last question

    def forget(self) -> None:
        """Something else happened to the payments than `add`."""
        self._gaps = self._gap = self._hours = self._peak = self._run = None

    def refund(self) -> None:
        """Something of a payment was given back: only sums change."""
        self._run = None

    def add(self, some: Sequence[Paid], one: Paid, gone: Paid | None, *, last: bool) -> None:
        """A payment has come, the first may have gone for it; `last`: it stands after all others."""
        self._gap = None
        gaps, run, hours = self._gaps, self._run, self._hours
        if hours is not None:
            self._count(hours, local_hour(one.time_ms, self._zone), gone)
        if not last or (gone is not None and gone.time_ms >= self._since_ms):
            self._gaps = None
        elif gaps is not None and len(some) > 1:
            gap = one.time_ms - some[-2].time_ms
            if gap >= GAP_MS_MIN:
                gaps.append(gap)
                del gaps[:-GAPS]
        if run is not None:
            within = gone is not None and local_day(gone.time_ms, run.zone) > run.day - run.length
            if within or local_day(one.time_ms, run.zone) <= run.day:
                self._run = None

    def _count(self, hours: list[int], hour: int, gone: Paid | None) -> None:
        """A payment at that hour: the peak may have come to the hours that it adds to, and to no other."""
        hours[hour] += 1
        if gone is not None:
            hours[local_hour(gone.time_ms, self._zone)] -= 1
            self._peak = None
        elif self._peak is not None:
            self._peak = _busiest(hours, (self._peak, hour, (hour or HOURS) - 1))

    def gaps(self, some: Sequence[Paid]) -> list[int]:
        """Milliseconds between visits, oldest first, of the last `GAPS`."""
        if self._gaps is None:
            found: list[int] = []
            self._since_ms = some[0].time_ms if some else 0
            for later, before in pairwise(reversed(some)):
                gap = later.time_ms - before.time_ms
                if gap >= GAP_MS_MIN:
                    found.append(gap)
                    if len(found) == GAPS:
                        self._since_ms = before.time_ms
                        break
            self._gaps = found[::-1]
        return self._gaps

    def gap_ms(self, some: Sequence[Paid]) -> int:
        """The typical gap between visits, later ones counting more; 0 where there are fewer than two visits."""
        if self._gap is None:
            self._gap, self._spread = self._rhythm(some)
        return self._gap

    def spread_ms(self, some: Sequence[Paid]) -> int:
        """By how much gaps between visits deviate from the typical one: root of the mean square, weighted as those."""
        self.gap_ms(some)
        return self._spread

    def _rhythm(self, some: Sequence[Paid]) -> tuple[int, int]:
        """The typical gap, and by how much gaps deviate from it."""
        mean = squares = weight = 0.0
        for gap in self.gaps(some):
            mean = GAP_FADE * mean + gap
            squares = GAP_FADE * squares + gap * gap
            weight = GAP_FADE * weight + 1.0
        if not weight:
            return 0, 0
        typical = mean / weight
        # Of even gaps the difference is what the two roundings leave: some milliseconds at most, or a hair below 0.
        return int(typical), int(math.sqrt(max(0.0, squares / weight - typical * typical)))

    def peak(self, some: Sequence[Paid], zone: str) -> tuple[int, float]:
        """The local hour at which the busiest two hours begin and their share of the payments; (-1, NaN) of none."""
        if not some:
            return -1, float("nan")
        if self._hours is None or self._zone != zone:
            self._zone, self._hours, self._peak = zone, [0] * HOURS, None
            for paid in some:
                self._hours[local_hour(paid.time_ms, zone)] += 1
        if self._peak is None:
            self._peak = _busiest(self._hours, range(HOURS))
        return self._peak, _both(self._hours, self._peak) / len(some)

    def streak(self, some: Sequence[Paid], now_ms: int, zone: str, minor_min: int) -> int:
        """Local days in a row, today or yesterday the last of them, each with payments of at least `minor_min` kept."""
        today, run = local_day(now_ms, zone), self._run
        if run is not None and (run.zone != zone or run.minor_min != minor_min or run.day >= today):
            run = None
        day, kept, length, counts, ended = today, 0, 0, False, False
        for paid in reversed(some):
            if paid.time_ms > now_ms:
                continue
            of = local_day(paid.time_ms, zone)
            while of < day and not ended:  # all of that day is known
                enough = kept >= minor_min
                length += enough
                counts = enough if day == today else counts
                ended = not enough and day < today
                day, kept = day - 1, 0
                if run is not None and day == run.day and not ended:
                    length, ended = length + run.length, True
            if ended:
                break
            kept += paid.minor - paid.refunded
        if not ended:
            length += kept >= minor_min
            counts = kept >= minor_min if day == today else counts
        self._run = Run(zone, minor_min, today - 1, length - counts)
        return length


def _both(counts: list[int], hour: int) -> int:
    """Payments of an hour and the next, over midnight."""
    return counts[hour] + counts[hour + 1 - HOURS]


def _busiest(counts: list[int], some: Iterable[int]) -> int:
    """Of some hours the one that begins the busiest two; of equals the one that is busier itself, then the first."""
    return -max([(_both(counts, hour), counts[hour], -hour) for hour in some])[2]
