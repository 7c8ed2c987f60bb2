"""Models of how long customers stay and what they spend, refitted once a month on a sample of the shard's customers.

The sample is those whose keys have the lowest hashes, so it depends on nobody's order. What is known of them is noted
as it changes: rows are appended, and written anew where they have become many. At the first full hour in a new stretch
of 30 days of event time the sample as it is goes to the trainer; what comes of it is taken into use `LAG_MS` later,
however long the work took. Until then it is asked for again after a restart: so what is in force follows from the log.
"""

import struct
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from engine.core.stretches import STRETCH_MS
from engine.domain.ops import APPEND, DELETE, KEY_HEAD, SET, Op, pack
from engine.domain.trainer import Handle, Trainer
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.customer import Population
from engine.engagement.customer.history import History
from engine.engagement.models import bgnbd, first_gap, gamma_gamma
from engine.engagement.models.bgnbd import BgNbd
from engine.engagement.models.first_gap import FirstGap
from engine.engagement.models.gamma_gamma import GammaGamma

HEAD_LIFETIMES: Final = KEY_HEAD + b"lifetimes"  # models in force, when the next are due: checksum, then msgpack
HEAD_SAMPLE: Final = KEY_HEAD + b"lifetime_sample"  # rows of the sample, the last of a customer counts
HEAD_ASKED: Final = KEY_HEAD + b"lifetime_asked"  # when a fit was asked for, i64, and the rows it is made on

SAMPLE_MAX: Final = 2_000
"""Customers: four parameters are within some per cent then, and a fit takes some tenths of a second."""
PERIOD_MS: Final = 30 * DAY_MS
LAG_MS: Final = 6 * STRETCH_MS
HORIZON_DAYS: Final = 180
"""Whoever has not come again for so long counts as gone after one payment."""
_ROW: Final = struct.Struct("<QqqqqI")  # number, first, last and second payment (ms, 0 for none), kept, payments
_AT: Final = struct.Struct("<q")
_SUM_BYTES: Final = 16


class DamagedLifetimes(ValueError):
    """Stored bytes that are no models of lifetimes."""


class Seen(NamedTuple):
    """What the sample has of a customer: times of payments, minor units kept in all, payments."""

    first_ms: int
    last_ms: int
    second_ms: int
    minor: int
    payments: int


class Fitted(NamedTuple):
    """What came of a fit; None for what these customers do not carry."""

    alive: BgNbd | None
    amount: GammaGamma | None
    gap: FirstGap | None


class Sample:
    """The customers of the lowest numbers, at most `size` of them."""

    def __init__(self, rows: bytes = b"", size: int = SAMPLE_MAX) -> None:
        self._size = size
        self.of: dict[int, Seen] = {}
        self._last = 0
        for number, *values in _ROW.iter_unpack(rows):
            self.put(number, Seen(*values))

    def wants(self, number: int) -> bool:
        """Whether a customer of that number belongs to it."""
        return number in self.of or len(self.of) < self._size or number < self._last

    def put(self, number: int, seen: Seen) -> None:
        """Note a customer it wants; one without payments leaves."""
        if not seen.payments:
            self.of.pop(number, None)
            self._last = max(self.of, default=0)
            return
        self.of[number] = seen
        self._last = max(self._last, number)
        if len(self.of) > self._size:
            del self.of[self._last]
            self._last = max(self.of)

    def rows(self) -> bytes:
        """As stored, in the order of numbers."""
        return b"".join(_ROW.pack(number, *seen) for number, seen in sorted(self.of.items()))


class Lifetimes:
    """Of one shard. Sets the models of `population`.

    Args:
        head: the small state of the shard.
        population: what the shard knows of all customers.
        trainer: where models are fitted.
        backed: a state store stands behind.

    Raises:
        DamagedLifetimes: stored bytes that are none.
    """

    def __init__(self, head: Mapping[bytes, bytes], population: Population, trainer: Trainer, *, backed: bool) -> None:
        self._population, self._trainer, self._backed = population, trainer, backed
        stored = head.get(HEAD_SAMPLE, b"")
        asked = head.get(HEAD_ASKED, b"")
        if len(stored) % _ROW.size or (asked and len(asked) % _ROW.size != _AT.size):
            raise DamagedLifetimes("the sample of customers is cut off")
        self._sample, self._stored_rows = Sample(stored), len(stored) // _ROW.size
        self._added: list[bytes] = []
        self._next_ms = models_of(head, population)
        self._asked_ms = 0
        self._handle: Handle[Fitted] | None = None
        self._ops: list[Op] = []
        if asked:
            self._ask(_AT.unpack_from(asked)[0], asked[_AT.size :])

    def note(self, key: bytes, history: History) -> None:
        """Something happened to a customer, of whom this is what they paid."""
        number = int.from_bytes(key[1:9], "little")
        if not self._sample.wants(number):
            return
        before = self._sample.of.get(number)
        second = before.second_ms if before is not None else 0
        if 2 <= history.payments == len(history.paid):
            second = history.paid[1].time_ms
        seen = Seen(history.first_ms, history.last_ms, second, history.minor, history.payments)
        if seen != before and (before is not None or seen.payments):
            self._sample.put(number, seen)
            if self._backed:
                self._added.append(_ROW.pack(number, *seen))

    def begin(self, hour_ms: int) -> None:
        """The shard's clock has come to a full hour: ask for a fit, or take one into use."""
        if self._handle is not None and hour_ms >= self._asked_ms + LAG_MS:
            self._adopt(self._handle.result())
            self._asked_ms, self._handle = 0, None
            self._ops += [Op(SET, HEAD_LIFETIMES, _dump(self._population, self._next_ms)), Op(DELETE, HEAD_ASKED, b"")]
        if hour_ms < self._next_ms or self._handle is not None:
            return
        begun = bool(self._next_ms)
        self._next_ms = (hour_ms // PERIOD_MS + 1) * PERIOD_MS
        self._ops.append(Op(SET, HEAD_LIFETIMES, _dump(self._population, self._next_ms)))
        if begun:
            rows = self._sample.rows()
            self._ops.append(Op(SET, HEAD_ASKED, _AT.pack(hour_ms) + rows))
            self._ask(hour_ms, rows)

    def ops(self) -> list[bytes]:
        """Packed operations that store what has changed since the last call."""
        ops, self._ops = self._ops, []
        added, self._added = self._added, []
        if not self._backed:
            return []
        if added and self._stored_rows + len(added) > 2 * max(len(self._sample.of), 100):
            rows = self._sample.rows()
            self._stored_rows = len(rows) // _ROW.size
            ops.append(Op(SET, HEAD_SAMPLE, rows))
        elif added:
            self._stored_rows += len(added)
            ops.append(Op(APPEND, HEAD_SAMPLE, b"".join(added)))
        return [pack(op) for op in ops]

    def _ask(self, at_ms: int, rows: bytes) -> None:
        self._asked_ms = at_ms
        self._handle = self._trainer.submit(partial(fit, rows, at_ms))

    def _adopt(self, fitted: Fitted) -> None:
        """What could be fitted is in force; what could not stays as it was."""
        population = self._population
        population.alive = fitted.alive or population.alive
        population.amount = fitted.amount or population.amount
        population.gap = fitted.gap or population.gap


def fit(rows: bytes, at_ms: int) -> Fitted:
    """Fit all three models on rows of a sample, as of an instant. Amounts are in minor units, times in days."""
    found = [Seen(*values) for _, *values in _ROW.iter_unpack(rows)]
    table = np.array(found, np.float64).reshape(len(found), len(Seen._fields))
    first, last, second, minor, payments = table.T
    repeats = payments - 1.0
    tx = np.where(repeats > 0, np.maximum(last - first, 0.0) / DAY_MS, 0.0)
    age = np.maximum(np.maximum(at_ms - first, 0.0) / DAY_MS, tx)
    some = minor > 0
    returned = second > 0
    waited = np.where(returned, np.maximum(second - first, 0.0) / DAY_MS, age)
    return Fitted(
        _fitted(lambda: bgnbd.fit(repeats, tx, age)),
        _fitted(lambda: gamma_gamma.fit(payments[some], minor[some] / payments[some])),
        first_gap.fit(waited, returned, HORIZON_DAYS) if len(found) >= bgnbd.CUSTOMERS_MIN else None,
    )


def _fitted(make: Callable[[], Any]) -> Any:
    """A model with finite parameters, or None: too few customers, or none who came again."""
    try:
        model = make()
    except ValueError:
        return None
    return model if np.isfinite(model).all() else None


def _dump(population: Population, next_ms: int) -> bytes:
    models = population.alive, population.amount, population.gap
    alive, amount, gap = models
    curve = None if gap is None else gap.survival.astype("<f8").tobytes()
    body = msgspec.msgpack.encode((next_ms, alive, amount, curve))
    return blake2b(body, digest_size=_SUM_BYTES).digest() + body


def models_of(head: Mapping[bytes, bytes], population: Population) -> int:
    """Give `population` the models in force. Returns when the next are due, 0 where there are none yet. Raises
    `DamagedLifetimes`."""
    stored = head.get(HEAD_LIFETIMES)
    if stored is None:
        return 0
    digest, body = stored[:_SUM_BYTES], stored[_SUM_BYTES:]
    if blake2b(body, digest_size=_SUM_BYTES).digest() != digest:
        raise DamagedLifetimes("models of lifetimes do not have their checksum")
    next_ms, alive, amount, curve = msgspec.msgpack.decode(body)
    population.alive = BgNbd(*alive) if alive else None
    population.amount = GammaGamma(*amount) if amount else None
    population.gap = FirstGap(np.frombuffer(curve, "<f8").astype(np.float64)) if curve else None
    return int(next_ms)
