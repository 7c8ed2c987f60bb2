"""What is kept of a decision until the payment is known to be fraud or legitimate: its case, and how cases are stored.

A case holds what a label row of the payment needs (its entities) and what a learner needs (the model's inputs as they
were, packed in 16 bits each). Cases are stored in blocks that name their own form, so that what was kept under one rule
set can be read under another.

A block is a header, `kind u8 | cases u32 | fields u32 | inputs u16 | model u32`, and the cases, each of the same size.
A notice is one short record, `kind u8 | identity u64 | value u8 | time i64`: what became of a case later.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.domain.fields import STRING_FIELDS, STRING_INDEX
from engine.features.columns import Columns, label_rows

BLOCK: Final = 1
NOTICE: Final = 2

VOID: Final = 0
LEGITIMATE: Final = 1
FRAUD: Final = 2
"""Values of a notice: the payment came to nothing, or its label."""

FIELDS: Final = (
    "customer_id", "card_id", "device_id", "ip", "merchant_id", "terminal_id", "email_hash", "shipping_hash",
    "counterparty_id", "acquirer", "card_bin", "payment_id", "method", "source",
)  # fmt: skip
"""Fields of entities, each a bit of `Form.fields`. Stored: new ones are added at the end, none is taken away."""

_HEADER: Final = struct.Struct("<BIIHI")
_CASE_HEAD: Final = struct.Struct("<BIIHIQ")  # a header and the first field of its first case
_NOTICE: Final = struct.Struct("<BQBq")

Cases = NDArray[np.void]
"""Structured, of `Form.dtype`."""


class Form(NamedTuple):
    """What the cases of a block hold.

    Attributes:
        fields: the entities, by bit of `FIELDS`.
        inputs: how many model inputs; 0 where they are not kept.
        model: which model they are inputs of; 0 for none.
    """

    fields: int
    inputs: int
    model: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one case."""
        return _dtype(self)

    @property
    def rows(self) -> list[int]:
        """Rows of `Columns.strings` that its entities are."""
        return [STRING_INDEX[name] for bit, name in enumerate(FIELDS) if self.fields >> bit & 1]


@lru_cache(maxsize=256)
def _dtype(form: Form) -> np.dtype[Any]:
    """`payment` and `identity` are hashes (of the payment's id, and of customer and event); times in ms; `ordinary`,
    evidences, margin and share as in `engine.scoring.rows`; `declined` by the decision itself."""
    return np.dtype(
        [
            ("payment", "<u8"), ("identity", "<u8"), ("decided_ms", "<i8"), ("due_ms", "<i8"), ("ordinary", "<f4"),
            ("plain", "<f4"), ("labelled", "<f4"), ("margin", "<f4"), ("share", "<f4"), ("declined", "u1"),
            ("entities", "<u8", (form.fields.bit_count(),)), ("inputs", "<u2", (form.inputs,)),
        ]
    )  # fmt: skip


def mask_of(rows: frozenset[int]) -> int:
    """The bits of some rows of `Columns.strings`; those that name no entity are left out."""
    return sum(1 << bit for bit, name in enumerate(FIELDS) if STRING_INDEX[name] in rows)


def header(form: Form, cases: int) -> bytes:
    """What stands before so many cases."""
    return _HEADER.pack(BLOCK, cases, form.fields, form.inputs, form.model)


def block(form: Form, cases: Cases) -> bytes:
    """Cases as they are stored."""
    return header(form, len(cases)) + cases.tobytes()


def without_inputs(form: Form, cases: Cases) -> tuple[Form, Cases]:
    """The same cases, their inputs left out."""
    thin = Form(form.fields, 0, 0)
    kept = np.empty(len(cases), thin.dtype)
    for name in thin.dtype.names or ():
        if name != "inputs":
            kept[name] = cases[name]
    return thin, kept


class Notice(NamedTuple):
    """What became of a case: `value` is `VOID` or the label, `time_ms` when it was known."""

    identity: int
    value: int
    time_ms: int

    def packed(self) -> bytes:
        """As it is stored."""
        return _NOTICE.pack(NOTICE, *self)


def unpack(data: bytes | bytearray) -> Iterator[tuple[Form, Cases] | Notice]:
    """Stored blocks and notices, in order. Raises `ValueError` on bytes that are none."""
    position = 0
    try:
        while position < len(data):
            if data[position] == NOTICE:
                yield Notice(*_NOTICE.unpack_from(data, position)[1:])
                position += _NOTICE.size
                continue
            kind, cases, fields, inputs, model = _HEADER.unpack_from(data, position)
            if kind != BLOCK:
                raise ValueError(f"a record of kind {kind} at byte {position} of stored cases")
            form = Form(fields, inputs, model)
            yield form, np.frombuffer(data, form.dtype, cases, position + _HEADER.size)
            position += _HEADER.size + cases * form.dtype.itemsize
    except struct.error as error:
        raise ValueError(f"stored cases end in the middle of a record: {error}") from None


@dataclass(slots=True)
class Case:
    """One case with what became of it.

    Attributes:
        form, cases: a single case, and its form.
        told: the last label that was told, None for none.
        void: declined, failed or cancelled.
    """

    form: Form
    cases: Cases
    told: int | None = None
    void: bool = False

    @property
    def identity(self) -> int:
        """Which decision it is."""
        return int(self.cases["identity"][0])

    @property
    def due_ms(self) -> int:
        """When it matures, if nothing is told."""
        return int(self.cases["due_ms"][0])


class Index:
    """Where the cases of each payment stand in what is stored of a customer, and what was noted of them. What is stored
    only grows, so it reads on from where it came to: labels of a customer with very many payments cost what is new."""

    __slots__ = ("_blocks", "_notices", "_read")

    def __init__(self) -> None:
        self._read = 0
        self._blocks: dict[int, list[int]] = {}  # by payment; each case is a block of its own
        self._notices: dict[int, list[int]] = {}  # by identity

    def of_payment(self, data: bytes | bytearray, payment: int) -> list[Case]:
        """The cases of one payment, oldest first, of the same bytes as before or more."""
        self._read_on(data)
        found: dict[int, Case] = {}
        for position in self._blocks.get(payment, ()):
            form = Form(*_HEADER.unpack_from(data, position)[2:])
            one = np.frombuffer(data, form.dtype, 1, position + _HEADER.size).copy()  # what is stored grows
            case = Case(form, one, void=bool(one["declined"][0]))
            found[case.identity] = case
            for later in self._notices.get(case.identity, ()):
                value = _NOTICE.unpack_from(data, later)[2] if later > position else case.told
                if value == VOID:
                    case.void = True
                else:
                    case.told = value
        return list(found.values())

    def _read_on(self, data: bytes | bytearray) -> None:
        position = self._read
        while position < len(data):
            if data[position] == NOTICE:
                self._notices.setdefault(_NOTICE.unpack_from(data, position)[1], []).append(position)
                position += _NOTICE.size
                continue
            _, cases, *form, payment = _CASE_HEAD.unpack_from(data, position)
            self._blocks.setdefault(payment, []).append(position)
            position += _HEADER.size + _dtype(Form(*form)).itemsize * cases
        self._read = position


def as_rows(
    parts: list[tuple[Form, Cases]], time_ms: NDArray[np.int64], labels: NDArray[np.int8], order: NDArray[np.intp]
) -> Columns:
    """Label rows of the cases of some parts, at least one; `order` holds places of cases, were the parts one after
    another, and times and labels are in that order."""
    strings = np.zeros((len(STRING_FIELDS), len(order)), np.uint64)
    start = 0
    for form, cases in parts:
        strings[form.rows, start : start + len(cases)] = cases["entities"].T
        start += len(cases)
    ordinary = np.concatenate([cases["ordinary"] for _, cases in parts]).astype(np.float64)
    return label_rows(time_ms, labels, ordinary[order], strings[:, order])
