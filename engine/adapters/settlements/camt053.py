"""ISO 20022 camt.053 bank statements, read as a stream by expat.

Files come from outside: a document type declaration is refused outright, so there are no entities to expand or fetch;
depth, text, tokens and the file itself are bounded. Memory does not grow with the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from engine.adapters.mapping import SourceError
from engine.adapters.settlements.amounts import line_of
from engine.domain.currencies import EXPONENTS
from engine.domain.money import MoneyError, to_minor
from engine.domain.settlements import CREDIT, DEBIT, Direction, Passed, Settled, Unreadable

NAMESPACE: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053."
BLOCK_BYTES: Final = 1 << 16
FILE_BYTES_MAX: Final = 4 << 30
DEPTH_MAX: Final = 64
"""The schema of camt.053 goes some 20 deep; expat itself has no bound."""
TEXT_CHARS_MAX: Final = 4_096
"""Of one element. The longest text of the schema has 500 characters."""
TOKEN_BYTES_MAX: Final = 1 << 20
"""A tag with its attributes, or a comment, that has not ended: expat would hold all of it."""
DETAILS_MAX: Final = 100_000
"""Transactions of one entry (a batch booking); these are held until the entry ends."""
NOT_GIVEN: Final = frozenset({"NOTPROVIDED", "NOTAVAILABLE", "NONREF"})
BOOKED: Final = "BOOK"
_DIRECTIONS: Final[dict[str, Direction]] = {"CRDT": CREDIT, "DBIT": DEBIT}
_REFERENCES: Final = {
    "Refs/EndToEndId": 0,
    "Refs/InstrId": 1,
    "Refs/TxId": 1,
    "Refs/ClrSysRef": 1,
    "Refs/Prtry/Ref": 1,
    "RmtInf/Strd/CdtrRefInf/Ref": 2,
    "RmtInf/Strd/RfrdDocInf/Nb": 2,
    "RmtInf/Ustrd": 3,
}
"""Where a reference may stand below the transaction, and how telling it is, 0 the most."""
_AMOUNTS: Final = ("Amt", "AmtDtls/TxAmt/Amt")


class _Refused(Exception):
    """The document is refused: why."""


@dataclass(slots=True)
class _Part:
    """An entry, or a transaction within it: texts by path, amounts with their currency, references."""

    texts: dict[str, str] = field(default_factory=dict)
    amounts: dict[str, tuple[str, str]] = field(default_factory=dict)
    references: list[tuple[int, str]] = field(default_factory=list)


class _Reader:
    """Takes in the parser's calls; `found` is emptied by whoever feeds it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[Settled] = []
        self.entries = 0
        self._stack: list[str] = []
        self._text: list[str] = []
        self._chars = 0
        self._currency = ""
        self._entry: _Part | None = None
        self._details: list[_Part] = []
        self._detail: _Part | None = None
        self._entry_at = self._detail_at = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins; `name` is its namespace and local name. Refuses other documents and too deep ones."""
        namespace, _, local = name.rpartition(" ")
        if not self._stack and not (local == "Document" and namespace.startswith(NAMESPACE)):
            raise _Refused(f"not a camt.053 document: its root is {local!r} of {namespace or 'no namespace'!r}")
        self._stack.append(local)
        if len(self._stack) > DEPTH_MAX:
            raise _Refused(f"deeper than {DEPTH_MAX} elements")
        self._text, self._chars = [], 0
        if local == "Amt":
            self._currency = attributes.get("Ccy", "")
        elif local == "Ntry" and self._entry is None:
            self.entries += 1
            self._entry, self._details, self._entry_at = _Part(), [], len(self._stack)
        elif local == "TxDtls" and self._entry is not None and self._detail is None:
            self._detail, self._detail_at = _Part(), len(self._stack)
            if len(self._details) >= DETAILS_MAX:
                raise _Refused(f"over {DETAILS_MAX:,} transactions in entry {self.entries}")

    def text(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > TEXT_CHARS_MAX:
            raise _Refused(f"over {TEXT_CHARS_MAX:,} characters in {self._stack[-1]!r}")
        self._text.append(text)

    def end(self, _: str) -> None:
        """An element ends: its text belongs to the transaction or entry it stands in, which may end with it."""
        local, depth = self._stack[-1], len(self._stack)
        text = "".join(self._text).strip()
        if self._detail is not None and depth > self._detail_at:
            self._keep(self._detail, "/".join(self._stack[self._detail_at :]), text)
        elif self._detail is not None and depth == self._detail_at:
            self._details.append(self._detail)
            self._detail = None
        elif self._entry is not None and depth > self._entry_at:
            self._keep(self._entry, "/".join(self._stack[self._entry_at :]), text)
        elif self._entry is not None and local == "Ntry":
            self._close(self._entry)
            self._entry = None
        self._stack.pop()
        self._text, self._chars = [], 0

    def _keep(self, part: _Part, path: str, text: str) -> None:
        if not text:
            return
        if path in _AMOUNTS:
            part.amounts[path] = text, self._currency
        elif path in _REFERENCES:
            rank = _REFERENCES[path]
            words = text.split() if path.endswith("Ustrd") else [text]
            part.references += [(rank, word) for word in words if word not in NOT_GIVEN]
        elif path.count("/") < 2:
            part.texts[path] = text

    def _close(self, entry: _Part) -> None:
        place = f"{self.path}: entry {self.entries}"
        status = entry.texts.get("Sts/Cd") or entry.texts.get("Sts", "")
        if status != BOOKED:
            self.found.append(Passed(place, f"not booked: {status or 'no status'}"))
            return
        self._check_sum(place, entry)
        for index, detail in enumerate(self._details or [entry], 1):
            self.found.append(self._line(place, entry, detail, index))

    def _line(self, place: str, entry: _Part, part: _Part, index: int) -> Settled:
        """A transaction as a line; the entry stands in for what it does not say itself, where it is the only one."""
        if len(self._details) > 1:
            place = f"{place}, transaction {index}"
        amount = _amount(part) or (_amount(entry) if len(self._details) <= 1 else None)
        if amount is None:
            return Unreadable(place, "no amount")
        side = part.texts.get("CdtDbtInd") or entry.texts.get("CdtDbtInd", "")
        if side not in _DIRECTIONS:
            return Unreadable(place, f"CdtDbtInd is {side!r}, not CRDT or DBIT")
        own = part.texts.get("Refs/AcctSvcrRef", "")
        base = entry.texts.get("AcctSvcrRef") or entry.texts.get("NtryRef", "")
        line_id = own or (f"{base}/{index}" if base else "")
        ranked = sorted(part.references, key=itemgetter(0))
        references = tuple(dict.fromkeys(text for _, text in ranked))
        day = entry.texts.get("BookgDt/Dt") or entry.texts.get("BookgDt/DtTm", "")
        return line_of(place, line_id, references, _DIRECTIONS[side], *amount, day)

    def _check_sum(self, place: str, entry: _Part) -> None:
        """The transactions of a batch add up to its entry, where all are in its currency and say their amounts."""
        whole = _minor(entry, entry.texts)
        parts = [_minor(detail, entry.texts) for detail in self._details]
        if whole is None or not parts or any(one is None or one[1] != whole[1] for one in parts):
            return
        total = sum(one[0] for one in parts if one is not None)
        if total != whole[0]:
            self.found.append(
                Unreadable(place, f"its transactions add up to {total} minor units, itself to {whole[0]}")
            )


def _amount(part: _Part) -> tuple[str, str] | None:
    return next((part.amounts[path] for path in _AMOUNTS if path in part.amounts), None)


def _minor(part: _Part, entry: dict[str, str]) -> tuple[int, str] | None:
    """Signed minor units and currency; None where there are none."""
    amount = _amount(part)
    if amount is None or amount[1] not in EXPONENTS:
        return None
    sign = -1 if (part.texts.get("CdtDbtInd") or entry.get("CdtDbtInd")) == "DBIT" else 1
    try:
        return sign * to_minor(amount[0], EXPONENTS[amount[1]]), amount[1]
    except MoneyError:
        return None


def _refuse(*_: Any) -> int:
    raise _Refused("it declares a document type or entities, which statements never need")


def read_camt053(path: str, stream: BinaryIO) -> Iterator[Settled]:
    """The lines of a statement. Raises `SourceError` where it is not one, is malformed or is over a limit."""
    reader = _Reader(path)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = parser.UnparsedEntityDeclHandler = _refuse
    fed = 0
    try:
        while block := stream.read(BLOCK_BYTES):
            fed += len(block)
            if fed > FILE_BYTES_MAX:
                raise _Refused(f"over {FILE_BYTES_MAX >> 30} GiB")
            parser.Parse(block, False)
            if fed - max(parser.CurrentByteIndex, 0) > TOKEN_BYTES_MAX:
                raise _Refused(f"a tag or comment of over {TOKEN_BYTES_MAX >> 20} MiB")
            yield from reader.found
            reader.found = []
        parser.Parse(b"", True)
        yield from reader.found
    except _Refused as error:
        raise SourceError(f"{path}:{parser.CurrentLineNumber}: refused: {error}") from None
    except expat.ExpatError as error:
        where = f"{path}:{error.lineno}:{error.offset + 1}"
        raise SourceError(f"{where}: not well-formed XML: {expat.ErrorString(error.code)}") from None


def is_xml(path: str) -> bool:
    """By the ending, `.gz` left out."""
    return Path(path.removesuffix(".gz")).suffix.lower() == ".xml"
