"""What observer rules see of a batch, and the alerts they raise."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.effects import Effects, Output
from engine.core.watches import Armed
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason
from engine.features.columns import Columns
from engine.ruleset.model import Rule
from engine.ruleset.ruleset import Frame, RuleSet
from engine.ruleset.templates import fill

TEXT_CHARS_MAX: Final = 512
"""Of a title or an action, filled in: what a person reads at a glance, and what a watch keeps for days."""

Snoozed = Callable[[str, Columns, Iterable[int]], NDArray[np.bool_] | None]
"""Which of some rows a rule is snoozed for, by its id: `engine.core.snoozes.Snoozes.of`."""

_encode = msgspec.json.Encoder().encode


class Seen:
    """What the observers see of a batch, worked out when it is asked for."""

    def __init__(
        self,
        ruleset: RuleSet,
        columns: Columns,
        frame: Callable[[NDArray[np.intp]], Frame],
        snoozed: Snoozed,
    ) -> None:
        self.columns = columns
        self._ruleset = ruleset
        self._snoozed = snoozed
        looked_at = ruleset.observed(columns) if ruleset.observers else np.zeros(columns.n, np.bool_)
        self._rows = np.flatnonzero(looked_at)
        if len(self._rows) * 2 > columns.n and not np.array_equal(looked_at, columns.decides):
            self._rows = np.arange(columns.n)  # to look at some rows in vain costs less than to pick the others
        self._hits = np.zeros((len(ruleset.observers), columns.n), np.bool_)
        self._live: NDArray[np.bool_] | None = None
        if len(self._rows):
            seen = frame(self._rows)
            hits = ruleset.observe(seen)
            if len(self._rows) == columns.n:
                self._hits = hits
            else:
                self._hits[:, self._rows] = hits
            self._batch = seen.batch()

    def hits(self, place: int) -> NDArray[np.bool_]:
        """Hits of an observer, bool `(n,)`."""
        found: NDArray[np.bool_] = self._hits[place]
        return found

    def hitting(self, places: list[int]) -> list[int]:
        """Those of some observers that hit at all."""
        return [place for place in places if np.count_nonzero(self._hits[place])]

    def live(self, place: int, row: int) -> bool:
        """Whether a hit counts: neither in shadow nor snoozed."""
        if self._live is None:
            self._live = self._ruleset.observers_live(self.columns)
            for index in np.flatnonzero(self._hits.any(axis=1)).tolist():
                rows = np.flatnonzero(self._hits[index]).tolist()
                away = self._snoozed(self._ruleset.observers[index].id, self.columns, rows)
                if away is not None:
                    self._live[index] &= ~away
        live: bool = self._live.item(place, row)
        return live

    def armed(self, place: int, row: int, due_ms: int) -> Armed:
        """A hit with all that its alert will say."""
        event: Any = self.columns.events[row]
        alert = self._ruleset.observers[place].alert
        assert alert is not None
        at = row if len(self._rows) == self.columns.n else bisect_left(self._rows, row)
        title = fill(self._ruleset, self._batch, at, alert.title)[:TEXT_CHARS_MAX]
        action = fill(self._ruleset, self._batch, at, alert.action)[:TEXT_CHARS_MAX]
        time_ms: int = self.columns.time_ms.item(row)
        return Armed(time_ms, due_ms, self.live(place, row), event.event_id, event.customer_id, title, action)


def raised(rule: Rule, hit: Armed, time_ms: int, effects: Effects) -> list[Output]:
    """Count an alert, and put it out where it is live."""
    assert rule.alert is not None
    effects.observed[rule.id] = effects.observed.get(rule.id, 0) + 1
    if not hit.live:
        return []
    identity = output_id("alert", "observer", rule.id, hit.customer_id, hit.event_id)
    alert = Alert(
        identity,
        rule.alert.kind,  # type: ignore[arg-type]
        rule.alert.severity,  # type: ignore[arg-type]
        hit.event_id,
        hit.customer_id,
        hit.title,
        [Reason(rule.reason, rule.id, hit.title)],
        hit.action,
    )
    return [Output("alert", hit.customer_id.encode(), identity, time_ms, _encode(alert))]
