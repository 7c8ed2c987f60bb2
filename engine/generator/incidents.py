"""What goes wrong with machines rather than with people: acquirers that fail and sources that fall silent."""

from bisect import bisect_right
from typing import Final, NamedTuple

from engine.domain.times import DAY_MS, rfc3339
from engine.generator.draw import Draw
from engine.generator.world import ACQUIRERS

HOUR_MS: Final = 3_600_000
QUIET_DAYS: Final = 3.0
"""No incident before so many days: a rule can only miss what it has seen for a while."""
SILENT: Final = ("terminals", "checkout")
OUTAGE: Final = "acquirer_outage"
SILENCE: Final = "source_silence"


class Incident(NamedTuple):
    """`subject` is the acquirer or the source; times are milliseconds since 1970, the end is not part of it."""

    kind: str
    subject: str
    start_ms: int
    end_ms: int

    def line(self) -> str:
        """Its line of the file of incidents: `kind,subject,start,end` and a newline."""
        return f"{self.kind},{self.subject},{rfc3339(self.start_ms)},{rfc3339(self.end_ms)}\n"


class Incidents:
    """Incidents in order of time, one after the other, from a draw of their own and made up as far as anyone looks.

    `a_day` is how many begin a day on average; 0 for none.
    """

    def __init__(self, draw: Draw, start_ms: int, a_day: float) -> None:
        self._draw = draw
        self._gap_ms = DAY_MS / a_day if a_day else 0.0
        self._made: list[Incident] = []
        self._starts: list[int] = []
        self._next_ms = 1 << 63
        if a_day:
            self._next_ms = start_ms + int(QUIET_DAYS * DAY_MS + draw.exponential(self._gap_ms))

    def _extend(self, time_ms: int) -> None:
        """Make up every incident that begins until `time_ms`."""
        draw = self._draw
        while self._next_ms <= time_ms:
            start_ms = self._next_ms
            kind = OUTAGE if draw.chance(0.6) else SILENCE
            subject = draw.pick(ACQUIRERS if kind == OUTAGE else SILENT)
            end_ms = start_ms + int(draw.between(2.0, 6.0) * HOUR_MS)
            self._made.append(Incident(kind, subject, start_ms, end_ms))
            self._starts.append(start_ms)
            self._next_ms = end_ms + int(draw.exponential(self._gap_ms))

    def at(self, time_ms: int) -> Incident | None:
        """The incident under way then."""
        self._extend(time_ms)
        found = bisect_right(self._starts, time_ms) - 1
        return self._made[found] if found >= 0 and time_ms < self._made[found].end_ms else None

    def hits(self, kind: str, subject: str, time_ms: int) -> bool:
        """Whether an incident of that kind concerns the subject then."""
        under_way = self.at(time_ms)
        return under_way is not None and under_way.kind == kind and under_way.subject == subject

    def begun(self, time_ms: int) -> list[Incident]:
        """Every incident that has begun until `time_ms`."""
        self._extend(time_ms)
        return self._made[: bisect_right(self._starts, time_ms)]
