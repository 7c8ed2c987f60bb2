"""A customer as stored: a snapshot, then a frame for each batch that changed them.

A frame is `length u32 LE` and that many bytes. The first is the snapshot, deflated, but for who is only known from what
was stored unread; each of the others holds facts: what was added to history and ledger, and the rest where it differs
from before. Where the frames have grown longer than
the snapshot, the next write is a snapshot again, so that a customer costs about twice their size at most.
"""

import struct
import zlib
from typing import Any, Final

import msgspec

from engine.engagement.customer.customer import Customer, Feedback
from engine.engagement.customer.history import History, Month, Paid
from engine.engagement.customer.states import States
from engine.engagement.ledger import codec as ledgers
from engine.engagement.ledger.ledger import HORIZON_MS, JUDGED, Fact
from engine.engagement.ledger.lots import LedgerError
from engine.engagement.marketing.abuse import Suspected
from engine.engagement.marketing.choosing import Choices
from engine.engagement.marketing.counting import Counts
from engine.engagement.marketing.effects import Exposures
from engine.engagement.marketing.offers import Offers
from engine.engagement.packing import pack_rows, unpack_rows

VERSION: Final = 1
FRAMES_BYTES_MIN: Final = 1_024
"""Shorter tails are never worth a snapshot."""
_SUMS: Final = ("payments", "minor", "refunds", "refunded", "first_ms", "last_ms", "refund_ms")
_LENGTH: Final = struct.Struct("<I")
_SECOND_MS: Final = 1_000
_DEFLATED: Final = b"\x78"  # how a snapshot begins; no other frame does
_encode: Final = msgspec.msgpack.encode
_decode: Final = msgspec.msgpack.decode


class DamagedCustomer(ValueError):
    """Stored bytes that are no customer."""


class Stored:
    """How a customer's stored value stands: what has been written of whom, and how long its parts are."""

    def __init__(self, snapshot_bytes: int = 0, tail_bytes: int = 0, profile: bytes = b"", course: bytes = b"") -> None:
        self.snapshot_bytes, self.tail_bytes = snapshot_bytes, tail_bytes
        self._profile, self._course = profile, course

    def write(self, customer: Customer, now_ms: int) -> tuple[bytes, bool]:
        """What to store of the changes since the last call: bytes, and whether they replace what is there or follow it.

        Nothing has changed where the bytes are empty.
        """
        profile, course = _encode(_profile(customer)), _encode(_course(customer))
        paid, facts = customer.history.journal, customer.ledger.journal
        changed = (profile if profile != self._profile else None, course if course != self._course else None)
        if not paid and not facts and changed == (None, None):
            return b"", False
        body = _encode((paid, facts, *(None if part is None else msgspec.Raw(part) for part in changed)))
        self._profile, self._course = profile, course
        if self.snapshot_bytes and self.tail_bytes + len(body) <= max(FRAMES_BYTES_MIN, self.snapshot_bytes):
            paid.clear()
            facts.clear()
            self.tail_bytes += len(body) + _LENGTH.size
            return _LENGTH.pack(len(body)) + body, False
        whole = snapshot(customer, now_ms)
        self.snapshot_bytes, self.tail_bytes = len(whole), 0
        return _LENGTH.pack(len(whole)) + whole, True


def snapshot(customer: Customer, now_ms: int) -> bytes:
    """All of a customer. Journals are empty after it."""
    ledger = ledgers.dump(customer.ledger, now_ms)
    body = (VERSION, _profile(customer), _course(customer), _history(customer.history, now_ms), ledger)
    customer.history.journal.clear()
    return zlib.compress(_encode(body), 6)


def load(value: bytes) -> tuple[Customer, Stored]:
    """The customer of a stored value, empty for a new one. Raises `DamagedCustomer`."""
    customer = Customer()
    if not value:
        return customer, Stored()
    try:
        frames = _frames(value)
        whole = frames[0][:1] == _DEFLATED
        snapshot_bytes = len(frames[0]) if whole else 0
        profile, course, ledger = _profile(customer), _course(customer), b""
        if whole:
            version, profile, course, history, ledger = _decode(zlib.decompress(frames[0]))
            if version != VERSION:
                raise DamagedCustomer(f"a customer of version {version}; this build reads version {VERSION}")
            customer.history = _load_history(history)
        facts: list[Any] = []
        for frame in frames[whole:]:
            paid, more, new_profile, new_course = _decode(frame)
            if not whole and (paid or new_profile or new_course or any(fact[0] != JUDGED for fact in more)):
                raise DamagedCustomer("a customer without a snapshot")
            profile, course = new_profile or profile, new_course or course
            facts += more
            for fact in paid:
                customer.history.learn(tuple(fact))
        customer.ledger = ledgers.load(ledger, facts)
        _load_profile(customer, profile)
        _load_course(customer, course)
    except (msgspec.MsgspecError, zlib.error, LedgerError, ValueError, TypeError, KeyError, IndexError) as error:
        raise DamagedCustomer(f"stored customer is damaged: {error!r}") from error
    stored = Stored(
        snapshot_bytes,
        len(value) - snapshot_bytes - _LENGTH.size * whole,
        _encode(_profile(customer)),
        _encode(_course(customer)),
    )
    return customer, stored


def unread(fact: Fact) -> bytes:
    """A frame with one fact of the ledger, to be appended without the customer at hand: to a new customer, too."""
    body = _encode(((), (fact,), None, None))
    return _LENGTH.pack(len(body)) + body


def _frames(value: bytes) -> list[bytes]:
    found, place = [], 0
    while place < len(value):
        (length,) = _LENGTH.unpack_from(value, place)
        place += _LENGTH.size + length
        if place > len(value):
            raise ValueError("a frame is cut off")
        found.append(value[place - length : place])
    return found


def _profile(customer: Customer) -> tuple[Any, ...]:
    """What events say of a customer; it seldom changes."""
    feedback = customer.feedback
    texts = customer.zone, customer.locale, customer.country, customer.birth, customer.referrer
    said = feedback.nps, feedback.csat, feedback.muted_until_ms
    return customer.registered_ms, texts, customer.consent, said, customer.disputed_ms


def _load_profile(customer: Customer, stored: Any) -> None:
    customer.registered_ms, texts, customer.consent, said, customer.disputed_ms = stored
    customer.zone, customer.locale, customer.country, customer.birth, customer.referrer = texts
    customer.feedback = Feedback(*said)


def _course(customer: Customer) -> tuple[Any, ...]:
    """Where a customer stands."""
    return (
        customer.clock_ms,
        customer.declined_ms,
        customer.cycle_ends_ms,
        customer.ranked,
        customer.timer_ms,
        list(customer.states.now.items()),
        customer.counts.dump(),
        customer.offers.dump(),
        customer.exposures.dump(),
        customer.choices.dump(),
        customer.suspected.dump(),
    )


def _load_course(customer: Customer, stored: Any) -> None:
    customer.clock_ms, customer.declined_ms, customer.cycle_ends_ms, ranked, customer.timer_ms, *rest = stored
    states, counts, offers, exposures, choices, suspected = rest
    customer.counts, customer.offers = Counts.load(counts), Offers.load(offers)
    customer.exposures, customer.choices = Exposures.load(exposures), Choices.load(choices)
    customer.suspected = Suspected.load(suspected)
    customer.ranked = tuple(ranked) if ranked is not None else None
    customer.states = States({name: (state, since) for name, (state, since) in states})


def _history(history: History, now_ms: int) -> tuple[Any, ...]:
    words = sorted({(paid.method, paid.category, paid.currency) for paid in history.paid})
    last, rows = 0, []
    for paid in history.paid:
        known = paid.payment if paid.time_ms >= now_ms - HORIZON_MS else 0
        second = paid.time_ms // _SECOND_MS
        word = words.index((paid.method, paid.category, paid.currency))
        rows.append((second - last, known, paid.minor, paid.refunded, word))
        last = second
    first, rest = rows[:1], rows[1:]
    months = [
        (n, m.payments, m.minor, list(m.methods.items()), list(m.categories.items())) for n, m in history.months.items()
    ]
    sums = [getattr(history, name) for name in _SUMS]
    return words, first, pack_rows(rest), months, sums


def _load_history(stored: Any) -> History:
    words, first, rest, months, sums = stored
    history, second = History(), 0
    for gap, payment, minor, refunded, word in [*first, *unpack_rows(rest)]:
        second += gap
        history.paid.append(Paid(second * _SECOND_MS, payment, minor, refunded, *words[word]))
    for number, payments, minor, methods, categories in months:
        history.months[number] = Month(payments, minor, dict(methods), dict(categories))
    for name, value in zip(_SUMS, sums, strict=True):
        setattr(history, name, value)
    return history
