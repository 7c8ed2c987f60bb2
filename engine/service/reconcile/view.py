"""A reconciliation as figures, rows and a table."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.domain.currencies import EXPONENTS
from engine.domain.money import format_minor
from engine.domain.settlements import CREDIT, DEBIT, SettlementLine, Unreadable
from engine.domain.times import rfc3339
from engine.service.reconcile.matching import MATCHED, STATUSES, Found
from engine.service.reconcile.payments import Movement

SHOWN_MAX: Final = 50
UNREADABLE: Final = "unreadable_line"
COLUMNS: Final = (
    "status", "payment_id", "refund_id", "customer_id", "event_id", "type", "event_time", "direction", "expected",
    "currency", "settled", "settled_currency", "difference", "line", "line_id", "references", "settled_on", "note",
)  # fmt: skip
_MEANINGS: Final = {
    "matched": "on both sides, same amount",
    "amount_differs": "on both sides, another amount",
    "currency_differs": "on both sides, another currency",
    "missing_in_settlements": "ours only",
    "missing_in_payments": "theirs only",
    "duplicate_line": "settled more often than paid",
    "duplicate_payment": "paid more often than settled",
    UNREADABLE: "makes no sense",
}


def summary(found: Sequence[Found], unreadable: Sequence[Unreadable], passed: int) -> dict[str, Any]:
    """Counts by status and exact sums by currency."""
    counts = Counter(one.status for one in found)
    return {
        "counts": {**{status: counts[status] for status in STATUSES}, UNREADABLE: len(unreadable)},
        "lines_passed_over": passed,
        "differences": sum(counts.values()) - counts[MATCHED] + len(unreadable),
        "sums": _sums(found),
    }


def rows(found: Iterable[Found], unreadable: Iterable[Unreadable], *, matched: bool) -> Iterator[dict[str, str]]:
    """A row of texts for each finding, all of `COLUMNS`; those that matched where asked for."""
    for status in STATUSES:
        if status != MATCHED or matched:
            yield from (row(one) for one in found if one.status == status)
    for line in unreadable:
        yield {**dict.fromkeys(COLUMNS, ""), "status": UNREADABLE, "line": line.place, "note": line.why}


def row(found: Found) -> dict[str, str]:
    """One finding as texts."""
    told = dict.fromkeys(COLUMNS, "")
    told["status"] = found.status
    ours, theirs = found.movement, found.line
    if ours is not None:
        told |= {
            "payment_id": ours.payment_id, "refund_id": ours.refund_id, "customer_id": ours.customer_id,
            "event_id": ours.event_id, "type": ours.type, "event_time": rfc3339(ours.time_ms),
            "direction": ours.direction, "expected": _major(ours), "currency": ours.currency,
        }  # fmt: skip
    if theirs is not None:
        told |= {
            "direction": theirs.direction, "settled": _major(theirs), "settled_currency": theirs.currency,
            "line": theirs.place, "line_id": theirs.line_id, "references": " ".join(theirs.references),
            "settled_on": theirs.date,
        }  # fmt: skip
        if ours is not None and ours.currency == theirs.currency:
            told["difference"] = format_minor(found.difference, EXPONENTS[ours.currency])
    return told


def render(report: dict[str, Any], differences: Sequence[dict[str, str]]) -> RenderableType:
    """What a terminal shows: counts, how many of our events are none, sums, and the first differences."""
    counts = Table(title="Reconciliation", title_justify="left")
    for header in ("", "count", "meaning"):
        counts.add_column(header, justify="right" if header == "count" else "left")
    for status, count in report["counts"].items():
        counts.add_row(status, f"{count:,}", _MEANINGS[status])
    sums = Table(title="Sums", title_justify="left")
    for header in ("currency", "direction", "expected", "settled", "difference"):
        sums.add_column(header, justify="left" if header in ("currency", "direction") else "right")
    for one in report["sums"]:
        sums.add_row(one["currency"], one["direction"], one["expected"], one["settled"], one["difference"])
    side = report["payments"]
    left_out = f"of {side['events']:,} events of ours {side['refused']:,} are refused and count for nothing"
    told_first: list[RenderableType] = [counts, *([Text(left_out)] if side["refused"] else []), sums]
    if not differences:
        return Group(*told_first)
    table = Table(title=f"Differences ({len(differences)} of {report['differences']:,})", title_justify="left")
    for header in ("status", "payment", "expected", "settled", "where"):
        table.add_column(header, justify="right" if header in ("expected", "settled") else "left", overflow="fold")
    for told in differences:
        named = told["refund_id"] or told["payment_id"] or told["references"]
        expected, settled = (f"{told[a]} {told[b]}".strip() for a, b in _MONEY)
        texts = (told["status"], named, expected, settled, told["line"] or told["event_id"])
        table.add_row(*(Text(_printable(text)) for text in texts))
    return Group(*told_first, table)


def _printable(text: str) -> str:
    """Ids and references are data from outside: neither markup nor orders to the terminal."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


_MONEY: Final = (("expected", "currency"), ("settled", "settled_currency"))


def _sums(found: Iterable[Found]) -> list[dict[str, str]]:
    ours: Counter[tuple[str, str]] = Counter()
    theirs: Counter[tuple[str, str]] = Counter()
    for one in found:
        if one.movement is not None:
            ours[one.movement.currency, one.movement.direction] += one.movement.minor
        if one.line is not None:
            theirs[one.line.currency, one.line.direction] += one.line.minor
    told = []
    for currency in sorted({key[0] for key in (*ours, *theirs)}):
        for direction in (CREDIT, DEBIT):
            key, places = (currency, direction), EXPONENTS[currency]
            if key in ours or key in theirs:
                texts = (format_minor(n, places) for n in (ours[key], theirs[key], theirs[key] - ours[key]))
                told.append(dict(zip(_SUM, (currency, direction, *texts), strict=True)))
    return told


_SUM: Final = ("currency", "direction", "expected", "settled", "difference")


def _major(one: Movement | SettlementLine) -> str:
    return format_minor(one.minor, EXPONENTS[one.currency])
