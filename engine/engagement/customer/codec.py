"""A customer as stored: a snapshot, then a frame for each batch that changed them.

Each begins with its length and a checksum (`_HEADER`). The first is the snapshot, but for who is only known from what
was stored unread; each of the others holds what has changed: facts of history and ledger, values, entries of tables.
Where the frames have grown longer than the snapshot, the next write is a snapshot again, so that a customer costs
about twice their size at most. A snapshot is its version, what is no number deflated, and rows of numbers.
"""

import struct
import zlib
from collections.abc import Callable
from itertools import compress
from operator import attrgetter, ne
from typing import Any, Final

import msgspec

from engine.engagement.customer import past
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger import codec as ledgers
from engine.engagement.ledger.facts import JUDGED, Fact
from engine.engagement.ledger.lots import LedgerError
from engine.engagement.ledger.payments import HORIZON_MS
from engine.engagement.marketing.abuse import Suspected
from engine.engagement.marketing.choosing import Chosen
from engine.engagement.marketing.counting import Counter
from engine.engagement.marketing.effects import Exposure
from engine.engagement.marketing.offers import Open
from engine.engagement.packing import Source, pack_number

VERSION: Final = 3
FRAMES_BYTES_MIN: Final = 1_024
"""Shorter tails are never worth a snapshot."""

VALUES: Final = (
    "clock_ms", "timer_ms", "ranked", "declined_ms", "cycle_ends_ms", "disputed_ms", "registered_ms", "zone", "locale",
    "country", "birth", "referrer", "consent", "feedback.nps", "feedback.csat", "feedback.muted_until_ms",
    "consented_ms", "told_ms",
)  # fmt: skip
"""What is stored as it is, by its place here: new ones are added at the end."""
_VALUES, _PAID, _FACTS, _COUNTS, _SUSPECTED, _STATES, _OFFERS, _EXPOSURES, _CHOICES, _CROWDS = range(10)
"""What a frame holds, each where it has changed, in the order in which it is taken in. They are stored: a number is
never used for something else."""
_TABLES: Final[dict[int, tuple[Callable[[Customer], dict[str, Any]], Callable[..., Any]]]] = {
    _STATES: (attrgetter("states.now"), lambda *state: state),
    _OFFERS: (attrgetter("offers.of"), Open),
    _EXPOSURES: (attrgetter("exposures.of"), Exposure),
    _CHOICES: (attrgetter("choices.of"), Chosen),
}
"""Mappings of a customer to what never changes but is replaced: the mapping, and how such a value is made again."""

_FRAME: Final = 0x80  # how frames begin, at least: a snapshot begins with its version
_HEADER: Final = struct.Struct("<II")  # bytes of the frame, and its CRC-32
_WORDS: Final = (
    b"spend_100_save_8personal_hourstreaknew_categorycross_bordertier_nudgetier_giftpoints_expiringbirthdaylapsing"
    b"win_backspend_declinepost_refund_npssecond_paymentreferralwelcome:1tier_granted:1base_earn:1lifecycleprospect"
    b"new\x00active\x00loyal\x00at_risk\x00lost\x00won_backvalue_tierlow\x00mid\x00high\x00activitypotentialchurned"
    b"membershipbasicsilvergoldplatinum\xa2R1\xa2R2\xa2R3\xa6points\xa8cashback\xa6coupon\xa4tier\xa45411\xa45812"
    b"\xa6wallet\xa4card\xa3EUR\xadEurope/Berlin\xa2DE\xa5de-DE\xa9profiling\xa9marketing\xc3\xcf@\x00\x00\x00\x00\x00"
)
"""What records often hold, for deflate to point at. Part of the format: another one is another `VERSION`."""
_values: Final = attrgetter(*VALUES)
_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.decode


class DamagedCustomer(ValueError):
    """Stored bytes that are no customer."""


class Stored:
    """How a customer's stored value stands: what has been written of whom, and how long its parts are."""

    __slots__ = ("_suspected", "_tables", "_values", "snapshot_bytes", "tail_bytes")

    def __init__(self, snapshot_bytes: int = 0, tail_bytes: int = 0, customer: Customer | None = None) -> None:
        self.snapshot_bytes, self.tail_bytes = snapshot_bytes, tail_bytes
        self._written(Customer() if customer is None else customer)

    def write(self, customer: Customer, now_ms: int) -> tuple[bytes, bool]:
        """What to store of the changes since the last call: bytes, and whether they replace what is there or follow it.

        Nothing has changed where the bytes are empty.
        """
        changed = self._changed(customer)
        if not changed and self.snapshot_bytes:
            return b"", False
        body = _encode(changed)
        customer.counts.changed.clear()
        if self.snapshot_bytes and self.tail_bytes + len(body) <= max(FRAMES_BYTES_MIN, self.snapshot_bytes):
            customer.history.journal.clear()
            customer.ledger.journal.clear()
            self.tail_bytes += len(body) + _HEADER.size
            return _framed(body), False
        whole = snapshot(customer, now_ms)
        self.snapshot_bytes, self.tail_bytes = len(whole), 0
        return _framed(whole), True

    def _written(self, customer: Customer) -> None:
        """All of a customer is stored."""
        self._values = _values(customer)
        self._tables = {part: dict(of(customer)) for part, (of, _) in _TABLES.items()}
        self._suspected = _encode(customer.suspected.dump())
        customer.counts.changed.clear()

    def _changed(self, customer: Customer) -> dict[int, Any]:
        """What differs from what was written."""
        found: dict[int, Any] = {}
        now, before = _values(customer), self._values
        if now != before:
            found[_VALUES] = dict(compress(enumerate(now), map(ne, now, before)))
            self._values = now
        if customer.history.journal:
            found[_PAID] = past.folded(customer.history.journal, customer.zone)
        if customer.ledger.journal:
            found[_FACTS] = ledgers.folded(customer.ledger.journal, past.keys(found.get(_PAID, ())))
        if customer.counts.changed:
            counters = customer.counts.of
            found[_COUNTS] = {name: _counters(counters[name]) for name in sorted(customer.counts.changed)}
        suspected = _encode(customer.suspected.dump())
        if suspected != self._suspected:
            self._suspected = suspected
            found[_SUSPECTED] = msgspec.Raw(suspected)
        for part, (of, _) in _TABLES.items():
            table, known = of(customer), self._tables[part]
            if table != known:
                new = {name: value for name, value in table.items() if known.get(name) != value}
                found[part] = new, [name for name in known if name not in table]
                self._tables[part] = dict(table)
        return found


def snapshot(customer: Customer, now_ms: int) -> bytes:
    """All of a customer. What is over is forgotten (`Ledger.forget`); journals are empty after it."""
    parts = weighed(customer, now_ms)
    body = b"".join(pack_number(len(part)) + part for part in parts.values())
    return bytes((VERSION,)) + body


def weighed(customer: Customer, now_ms: int) -> dict[str, bytes]:
    """The parts of a snapshot: what is no number, rows of the history, rows of the ledger."""
    customer.ledger.forget(now_ms)
    history, paid, told = past.dump(customer.history, customer.ledger.payments, now_ms - HORIZON_MS)
    ledger, moved = ledgers.dump(customer.ledger, told)
    tables = {part: of(customer) for part, (of, _) in _TABLES.items()}
    counts = {name: _counters(counters) for name, counters in customer.counts.of.items()}
    loose = (_values(customer), counts, customer.suspected.dump(), tables, history, ledger)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=_WORDS)
    return {"loose": deflate.compress(_encode(loose)) + deflate.flush(), "history": paid, "ledger": moved}


def load(value: bytes) -> tuple[Customer, Stored]:
    """The customer of a stored value, empty for a new one. Raises `DamagedCustomer`."""
    if not value:
        return Customer(), Stored()
    try:
        frames = _frames(value)
        whole = frames[0][0] < _FRAME
        if whole and frames[0][0] != VERSION:
            raise DamagedCustomer(f"a customer of version {frames[0][0]}; this build reads version {VERSION}")
        customer = _loaded(frames[0] if whole else None, [_decode(frame) for frame in frames[whole:]])
    except DamagedCustomer:
        raise
    except (msgspec.MsgspecError, zlib.error, LedgerError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise DamagedCustomer(f"stored customer is damaged, or not of version {VERSION}: {error!r}") from error
    snapshot_bytes = len(frames[0]) if whole else 0
    return customer, Stored(snapshot_bytes, len(value) - snapshot_bytes - _HEADER.size * whole, customer)


def unread(fact: Fact) -> bytes:
    """A frame with one fact of the ledger, to be appended without the customer at hand: to a new customer, too."""
    return _framed(_encode({_FACTS: (fact,)}))


def unread_crowd(payment: int, day: int, crowd: tuple[int, ...]) -> bytes:
    """Likewise, a frame with what the request of a payment showed (`Suspected.ask`)."""
    return _framed(_encode({_CROWDS: (payment, day, crowd)}))


def _framed(body: bytes) -> bytes:
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def _frames(value: bytes) -> list[bytes]:
    found, place = [], 0
    while place < len(value):
        if place + _HEADER.size > len(value):
            raise ValueError("a header is cut off")
        length, checksum = _HEADER.unpack_from(value, place)
        place += _HEADER.size + length
        frame = value[place - length : place]
        if place > len(value) or zlib.crc32(frame) != checksum:
            raise ValueError(f"{length} bytes that end at {place} of {len(value)} are not what was written")
        found.append(frame)
    return found


def _loaded(whole: bytes | None, frames: list[dict[int, Any]]) -> Customer:
    customer, ledger, source, told = Customer(), None, None, ledgers.Told()
    if whole is None and not all(map(_unread, frames)):
        raise ValueError("a customer without a snapshot")
    if whole is not None:
        source = Source(whole, 1)
        loose = zlib.decompressobj(-zlib.MAX_WBITS, zdict=_WORDS).decompress(source.take(source.number()))
        values, counts, suspected, tables, history, ledger = _decode(loose)
        customer.history, told = past.load(history, Source(source.take(source.number())))
        source = Source(source.take(source.number()))
        _take(customer, {_VALUES: dict(enumerate(values)), _COUNTS: counts, _SUSPECTED: suspected})
        _take(customer, {part: (table, ()) for part, table in tables.items()})
    for frame in frames:
        _take(customer, frame)
    facts = (
        fact for frame in frames for fact in ledgers.unfolded(frame.get(_FACTS, ()), past.keys(frame.get(_PAID, ())))
    )
    customer.ledger = ledgers.load(ledger, source, facts, told)
    return customer


def _unread(frame: dict[int, Any]) -> bool:
    """Whether a frame may have been appended without the customer at hand."""
    return set(frame) == {_CROWDS} or (set(frame) == {_FACTS} and frame[_FACTS][0][0] == JUDGED)


def _take(customer: Customer, frame: dict[int, Any]) -> None:
    """Take in what a frame holds, but for facts of the ledger; values first, among them the zone."""
    for part in sorted(frame):
        _PARTS[part](customer, frame[part])


def _take_paid(customer: Customer, facts: list[tuple[Any, ...]]) -> None:
    for fact in past.unfolded(facts, customer.zone):
        customer.history.learn(fact)


def _take_values(customer: Customer, values: dict[int, Any]) -> None:
    for place, value in values.items():
        *outer, name = VALUES[place].split(".")
        of = getattr(customer, outer[0]) if outer else customer
        setattr(of, name, tuple(value) if isinstance(value, list) else value)


def _take_counts(customer: Customer, counts: dict[str, dict[int, Any]]) -> None:
    for name, counters in counts.items():
        customer.counts.of[name] = {
            place: Counter(token, times, float(amount), [(at, float(much)) for at, much in recent])
            for place, (token, times, amount, recent) in counters.items()
        }


def _take_suspected(customer: Customer, suspected: Any) -> None:
    customer.suspected = Suspected.load(suspected)


def _take_crowd(customer: Customer, told: tuple[int, int, list[int]]) -> None:
    payment, day, crowd = told
    customer.suspected.ask(payment, day, tuple(crowd))


def _take_table(part: int) -> Callable[[Customer, Any], None]:
    of, make = _TABLES[part]

    def take(customer: Customer, held: tuple[dict[str, Any], list[str]]) -> None:
        table, (new, gone) = of(customer), held
        for name in gone:
            del table[name]
        table.update((name, make(*value)) for name, value in new.items())

    return take


_PARTS: Final[dict[int, Callable[[Customer, Any], None]]] = {
    _PAID: _take_paid,
    _FACTS: lambda customer, facts: None,
    _VALUES: _take_values,
    _COUNTS: _take_counts,
    _SUSPECTED: _take_suspected,
    _CROWDS: _take_crowd,
    **{part: _take_table(part) for part in _TABLES},
}


def _counters(counters: dict[int, Counter]) -> dict[int, Any]:
    return {
        place: (one.token, one.times, _whole(one.amount), [(at, _whole(much)) for at, much in one.recent])
        for place, one in counters.items()
    }


def _whole(number: float) -> float:
    """A whole number as such, which is shorter."""
    return int(number) if number.is_integer() else number
