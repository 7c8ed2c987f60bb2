"""The label desk: keeps every decision until it is known whether the payment was fraud, and says so when it is.

A label arrives with an event, or a payment matures: nothing was told of it for so long that it counts as legitimate.
Either gives a label row, which goes into the features just before the event at which it is known, and a labelled row
for the fraud model. Of one payment there can be several decisions; a label is one of each that came before it.

Everything follows from the log: a payment matures before the first event at which the clock has come to its time.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core import cases as c
from engine.core.casebook import Casebook, Place, place_of, places
from engine.core.cases import Case, Cases, Form, Notice
from engine.core.clock import UNSET
from engine.core.identities import identities
from engine.core.known import Known, Told, known
from engine.core.maturing import Due, Maturing
from engine.core.models import Scored
from engine.core.stretches import STRETCH_MS
from engine.core.tidings import tidings
from engine.domain import chargebacks
from engine.domain.fields import STRING_INDEX
from engine.domain.labels import BECAME_FRAUD, BECAME_LEGITIMATE, FRAUD, LEGITIMATE
from engine.domain.ops import KEY_HEAD, KEY_LABEL, KEY_MATURING, SET, Op, pack
from engine.domain.times import DAY_MS
from engine.features.columns import Columns

HEAD_LABELS: Final = KEY_HEAD + b"labels"  # up to when payments have matured, i64 LE
HEAD_MATURING: Final = KEY_HEAD + b"maturing"  # the hours of which something waits

_CUSTOMER, _PAYMENT = STRING_INDEX["customer_id"], STRING_INDEX["payment_id"]
_KINDS: Final = {
    (None, c.LEGITIMATE): LEGITIMATE,
    (None, c.FRAUD): FRAUD,
    (c.LEGITIMATE, c.FRAUD): BECAME_FRAUD,
    (c.FRAUD, c.LEGITIMATE): BECAME_LEGITIMATE,
}
"""Kind of label row, by what was known before and what is told."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """Times in milliseconds of event time.

    Attributes:
        maturity_ms: a payment of which nothing is told until so long after it counts as legitimate.
        horizon_ms: a label that comes later than that has no effect.
        fraud_codes: reasons of a chargeback that mean fraud (`engine.domain.chargebacks`).
    """

    maturity_ms: int = 8 * DAY_MS
    horizon_ms: int = 35 * DAY_MS
    fraud_codes: frozenset[str] = chargebacks.DEFAULT


class Decided(NamedTuple):
    """Decisions on events of a stretch.

    Attributes:
        columns: the events decided on, `n` of them.
        rows: of the stretch that they are, intp `(n,)`.
        declined: by the decision, bool `(n,)`.
        scored: what the models said of them.
    """

    columns: Columns
    rows: NDArray[np.intp]
    declined: NDArray[np.bool_]
    scored: Scored


class LabelDesk:
    """The desk of one shard.

    Args:
        settings: see `LabelSettings`.
        head: the small state of the shard.
        backed: a state store stands behind.
        lateness_ms: the allowed lateness.
        customers_max: bounds what is remembered of customers in memory.

    Attributes:
        counts: what became of labels in this batch (`engine.core.effects.Effects.labels`).
    """

    def __init__(
        self,
        settings: LabelSettings,
        head: dict[bytes, bytes],
        *,
        backed: bool,
        lateness_ms: int,
        customers_max: int,
    ) -> None:
        self._settings = settings
        self._backed = backed
        self._late = lateness_ms
        self._longest_ms = max(settings.horizon_ms, settings.maturity_ms + DAY_MS)
        self._book = Casebook(self._longest_ms, backed=backed, customers_max=customers_max)
        self._maturing = Maturing(backed=backed, stored=head.get(HEAD_MATURING, b""))
        self._done = int.from_bytes(head[HEAD_LABELS], "little", signed=True) if HEAD_LABELS in head else UNSET
        self._saved = self._done
        self._form = Form(0, 0, 0)
        self._asked: Columns | None = None  # of the batch that is being loaded: the events that tell something
        self.counts: Counter[str] = Counter()

    def adopt(self, fields: frozenset[int], inputs: int, model: int) -> None:
        """Keep cases for label aggregates by these rows of `Columns.strings`, and for a model of so many inputs."""
        self._form = Form(c.mask_of(fields), inputs, model)

    @property
    def busy(self) -> bool:
        """Whether there is anybody who learns from labels."""
        return self._form != Form(0, 0, 0)

    def missing(self, columns: Columns, reach_ms: int) -> list[bytes]:
        """State keys that a batch needs, if the clock comes as far as `reach_ms` with it."""
        rows, values = tidings(columns, self._settings.fraud_codes)
        self._asked = columns.take(np.array(rows, np.intp)) if rows else None
        wanted: list[Place] = []
        for row, value in zip(rows, values.tolist(), strict=True):
            wanted += places(int(columns.strings[_CUSTOMER, row]), *self._window(int(columns.time_ms[row]), value))
        return [*self._book.missing(wanted), *self._maturing.missing(reach_ms)]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> bool:
        """Take stored state into memory; other keys are passed over. Returns whether there was any."""
        taken = False
        for key, value in zip(keys, values, strict=True):
            if key[:1] == KEY_LABEL:
                self._book.load(key, value)
            elif key[:1] == KEY_MATURING:
                self._maturing.load(key, value, self._done)
            else:
                continue
            taken = True
        return taken

    def possible(self) -> Columns | None:
        """Label rows that the batch may come to make, once all is loaded; None for none."""
        parts = self._maturing.possible()
        if self._asked is not None:
            found = self._told(self._asked)
            parts += [(case.form, case.cases) for *_, told in found for _, case in told]
        n = sum(len(cases) for _, cases in parts)
        return c.as_rows(parts, np.zeros(n, np.int64), np.full(n, LEGITIMATE, np.int8), np.arange(n)) if n else None

    def _window(self, time_ms: int, value: int, now: int = UNSET) -> tuple[int, int]:
        """Times of the decisions of which something told at a time can be, when the clock stands at `now`."""
        back = self._settings.maturity_ms + DAY_MS if value == c.VOID else self._settings.horizon_ms
        return max(time_ms - back, now - self._longest_ms), time_ms + self._late

    def _told(
        self, columns: Columns, clock: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[int, int, list[tuple[Place, Case]]]]:
        """Row, value and cases of the events that tell something. A case is as it was left by the one before."""
        rows, values = tidings(columns, self._settings.fraud_codes)
        for row, value in zip(rows, values.tolist(), strict=True):
            window = self._window(int(columns.time_ms[row]), value, int(clock[row]) if clock is not None else UNSET)
            customer, payment = int(columns.strings[_CUSTOMER, row]), int(columns.strings[_PAYMENT, row])
            yield row, value, self._book.find(customer, payment, *window)

    def cuts(self, columns: Columns) -> list[int]:
        """Rows of a stretch before which the decisions have to be made: labels of payments decided on in it."""
        rows, values = tidings(columns, self._settings.fraud_codes)
        found: list[int] = []
        for row in (row for row, value in zip(rows, values.tolist(), strict=True) if value != c.VOID):
            low = found[-1] if found else 0
            same = (
                columns.strings[[_CUSTOMER, _PAYMENT], low:row] == columns.strings[[_CUSTOMER, _PAYMENT], row][:, None]
            )
            if (same.all(axis=0) & columns.decides[low:row]).any():
                found.append(row)
        return found

    def matured(self, up_to_ms: int) -> Known | None:
        """What has matured when the clock comes to an hour, before the first row of a stretch; None for nothing."""
        due = self._maturing.take(up_to_ms)
        return None if due is None else self._known([], due, np.zeros(len(due.order), np.intp))

    def arrive(self, columns: Columns, clock: NDArray[np.int64]) -> Known | None:
        """What becomes known in a stretch: by its events, and by the clock, which is given after each row."""
        told: list[Told] = []
        for row, value, found in self._told(columns, clock):
            now = int(clock[row])
            time_ms = int(columns.time_ms[row])
            if now != UNSET:
                time_ms = min(max(time_ms, now), now + self._late)
            kinds = [self._tell(place, case, value, now, time_ms) for place, case in found]
            if value != c.VOID:
                self._count(value, kinds)
            for kind, (_, case) in zip(kinds, found, strict=True):
                if kind:
                    told.append(Told(case, row, time_ms, kind))
        self._done = max(self._done, int(clock[-1]))
        due = self._maturing.take(int(clock[-1]))
        before = np.zeros(0, np.intp) if due is None else np.searchsorted(clock, due.due_ms)
        return self._known(told, due, before) if told or due is not None else None

    def _known(self, told: list[Told], due: Due | None, before: NDArray[np.intp]) -> Known:
        self.counts["matured"] += len(before)
        return known(told, due, before, self._form)

    def _count(self, value: int, kinds: list[int]) -> None:
        """Count a label by what came of it."""
        if not kinds:
            self.counts["unknown"] += 1
        elif not any(kinds):
            self.counts["repeated"] += 1
        else:
            self.counts["fraud" if value == c.FRAUD else "legitimate"] += 1

    def _tell(self, place: Place, case: Case, value: int, now: int, time_ms: int) -> int:
        """Something is told of a case. Returns the kind of the label row that comes of it, 0 for none."""
        matured = case.told is None and not case.void and case.due_ms <= now
        before = c.LEGITIMATE if matured else case.told
        kind = _KINDS.get((before, value), 0)
        news = not (case.void or matured or case.told is not None) if value == c.VOID else bool(kind)
        if news:
            notice = Notice(case.identity, value, time_ms)
            self._book.note(place, notice)
            if case.told is None and not case.void and not matured:
                self._maturing.kill(case.identity, case.due_ms, notice)
        return kind

    def keep(self, decided: Decided, stretch: Columns, clock: NDArray[np.int64]) -> None:
        """Keep the decisions of a stretch, in order; `clock` is after each of its rows."""
        if not self.busy:
            return
        form, columns, scored = self._form, decided.columns, decided.scored
        customers = columns.strings[_CUSTOMER]
        cases = np.zeros(columns.n, form.dtype)
        cases["payment"] = columns.strings[_PAYMENT]
        cases["identity"] = identities(columns)
        cases["decided_ms"] = columns.time_ms
        cases["due_ms"] = self._due(columns.time_ms, clock[decided.rows])
        for name in ("ordinary", "plain", "labelled", "margin", "share"):
            cases[name] = getattr(scored, name)
        cases["declined"] = decided.declined
        cases["entities"] = columns.strings[form.rows].T
        cases["inputs"] = scored.inputs
        self._book.add(customers, form, cases)
        waiting = ~decided.declined
        for at, notice in self._voided(cases, customers, decided.rows, stretch, clock):
            waiting[at] = False
            self._book.note(place_of(int(customers[at]), int(cases["decided_ms"][at])), notice)
        if waiting.any():
            self._maturing.add(form, cases if waiting.all() else cases[waiting])

    def _voided(
        self,
        cases: Cases,
        customers: NDArray[np.uint64],
        rows: NDArray[np.intp],
        stretch: Columns,
        clock: NDArray[np.int64],
    ) -> list[tuple[int, Notice]]:
        """Decisions of a stretch that came to nothing in it, after they were made: which, and what is noted."""
        found: dict[int, Notice] = {}
        told, values = tidings(stretch, self._settings.fraud_codes)
        for row in (row for row, value in zip(told, values.tolist(), strict=True) if value == c.VOID):
            time_ms = int(stretch.time_ms[row])
            low, high = self._window(time_ms, c.VOID, int(clock[row]))
            same = (customers == stretch.strings[_CUSTOMER, row]) & (cases["payment"] == stretch.strings[_PAYMENT, row])
            same &= (
                (rows < row) & (cases["decided_ms"] >= low) & (cases["decided_ms"] <= high) & (cases["declined"] == 0)
            )
            for at in np.flatnonzero(same).tolist():
                found.setdefault(at, Notice(int(cases["identity"][at]), c.VOID, time_ms))
        return list(found.items())

    def _due(self, time_ms: NDArray[np.int64], clock: NDArray[np.int64]) -> NDArray[np.int64]:
        """When decisions mature: the maturity after the payment, whose time is believed as far as the clock goes; not
        within the hour in which they are made, for a late one."""
        counts = clock != UNSET
        latest = np.where(counts, clock + self._late, time_ms)
        earliest = np.where(counts, clock - clock % STRETCH_MS + STRETCH_MS, time_ms)
        due: NDArray[np.int64] = np.maximum(np.minimum(time_ms, latest) + self._settings.maturity_ms, earliest)
        return due

    def flush(self) -> list[bytes]:
        """Packed operations that store what a batch changed; the counts begin anew with the next."""
        if self._done != UNSET:
            self._book.forget(self._done)
        ops = [*self._book.flush(), *self._maturing.flush()]
        if not self._backed:
            return []
        waiting = self._maturing.changed()
        if waiting is not None:
            ops.append(pack(Op(SET, HEAD_MATURING, waiting)))
        if self._done != self._saved:
            self._saved = self._done
            ops.append(pack(Op(SET, HEAD_LABELS, self._done.to_bytes(8, "little", signed=True))))
        return ops
