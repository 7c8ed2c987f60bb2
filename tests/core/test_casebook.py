"""Cases of a customer, found by payment while what is stored grows."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core import cases as c
from engine.core.casebook import PERIOD_MS, Casebook
from engine.core.cases import Case, Cases, Form, Index, Notice

FORMS = (Form(0, 0, 0), Form(5, 0, 0), Form(3, 4, 9))


def case_of(form: Form, payment: int, identity: int, *, declined: bool = False, decided_ms: int = 0) -> Cases:
    one = np.zeros(1, form.dtype)
    one["payment"], one["identity"], one["declined"], one["decided_ms"] = payment, identity, declined, decided_ms
    return one


def records() -> st.SearchStrategy[list[bytes]]:
    small = st.integers(0, 3)
    block = st.tuples(st.sampled_from(FORMS), small, small, st.booleans())
    notice = st.builds(Notice, small, st.sampled_from((c.VOID, c.LEGITIMATE, c.FRAUD)), st.just(0))
    stored = block.map(lambda b: c.block(b[0], case_of(b[0], b[1], b[2], declined=b[3])))
    return st.lists(stored | notice.map(Notice.packed), max_size=20)


def walked(data: bytes, payment: int) -> list[Case]:
    """The same by reading everything, record by record."""
    found: dict[int, Case] = {}
    for record in c.unpack(data):
        if not isinstance(record, Notice):
            form, one = record
            if one["payment"][0] == payment:
                found[int(one["identity"][0])] = Case(form, one, void=bool(one["declined"][0]))
        elif record.identity in found:
            case = found[record.identity]
            case.void |= record.value == c.VOID
            case.told = record.value if record.value != c.VOID else case.told
    return list(found.values())


@given(st.lists(records(), max_size=4))
def test_an_index_that_reads_on_finds_what_reading_everything_finds(parts: list[list[bytes]]) -> None:
    data, index = bytearray(), Index()
    for part in parts:
        for record in part:
            data += record
        for payment in range(5):
            got, wanted = index.of_payment(data, payment), walked(bytes(data), payment)
            assert [(g.form, g.cases.tobytes(), g.told, g.void) for g in got] == [
                (w.form, w.cases.tobytes(), w.told, w.void) for w in wanted
            ]


class _Counting:
    """A struct that counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def unpack_from(self, data: bytearray, position: int) -> tuple[int, ...]:
        self.reads += 1
        return HEAD.unpack_from(data, position)


HEAD = c._CASE_HEAD


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Counting]:
    counter = _Counting()
    monkeypatch.setattr(c, "_CASE_HEAD", counter)
    yield counter


def test_labels_of_a_customer_with_very_many_payments_read_each_case_once(counting: _Counting) -> None:
    book, form, n = Casebook(35 * PERIOD_MS, backed=False, customers_max=9), Form(1, 8, 1), 2000
    for payment in range(n):
        one = case_of(form, payment, payment, decided_ms=payment)
        book.add(np.array([7], np.uint64), form, one)
        if payment % 10 == 0:
            ((place, case),) = book.find(7, payment, 0, PERIOD_MS - 1)
            book.note(place, Notice(case.identity, c.FRAUD, payment))
            assert book.find(7, payment, 0, PERIOD_MS - 1)[0][1].told == c.FRAUD
    assert counting.reads < 2 * n + 40 * 100  # all once; a short book anew for each label


def test_a_book_that_is_forgotten_or_loaded_anew_is_read_anew() -> None:
    book, form = Casebook(PERIOD_MS, backed=False, customers_max=9), Form(1, 128, 1)
    for time_ms in range(200):
        book.add(np.array([7], np.uint64), form, case_of(form, time_ms, time_ms, decided_ms=time_ms))
    assert len(book.find(7, 150, 0, PERIOD_MS - 1)) == 1
    book.forget(4 * PERIOD_MS)
    assert not book.find(7, 150, 0, PERIOD_MS - 1)
    for time_ms in range(200):
        book.add(np.array([7], np.uint64), form, case_of(form, 1000 + time_ms, time_ms, decided_ms=time_ms))
    assert not book.find(7, 150, 0, PERIOD_MS - 1)
    assert len(book.find(7, 1150, 0, PERIOD_MS - 1)) == 1
