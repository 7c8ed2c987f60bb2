"""Which line of a settlement file is which movement of ours."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from engine.domain.settlements import DEBIT, SettlementLine
from engine.service.reconcile.payments import Movement

MATCHED: Final = "matched"
AMOUNT: Final = "amount_differs"
CURRENCY: Final = "currency_differs"
NOT_SETTLED: Final = "missing_in_settlements"
NOT_OURS: Final = "missing_in_payments"
LINE_TWICE: Final = "duplicate_line"
PAYMENT_TWICE: Final = "duplicate_payment"
STATUSES: Final = (MATCHED, AMOUNT, CURRENCY, NOT_SETTLED, NOT_OURS, LINE_TWICE, PAYMENT_TWICE)

Key = tuple[str, str, str]
"""Direction, `payment` or `refund`, and its id."""


class Found(NamedTuple):
    """What became of a movement, of a line, or of both together."""

    status: str
    movement: Movement | None
    line: SettlementLine | None

    @property
    def difference(self) -> int:
        """Settled less expected, in minor units, where both are in one currency; else 0."""
        if self.movement is None or self.line is None or self.movement.currency != self.line.currency:
            return 0
        return self.line.minor - self.movement.minor


def reconcile(movements: Sequence[Movement], lines: Iterable[SettlementLine], tolerance: int = 0) -> list[Found]:
    """Put each movement and each line into exactly one `Found`.

    A line belongs to the refund or payment that the first of its references names which we know, in its direction.
    Those of one refund, then of one payment, are paired: equal amounts first, then amounts within the tolerance, then
    what is left in one currency by size, then in different currencies. What then is left over is a duplicate, where
    the like of it has been paired in that payment, or missing on the other side.

    Args:
        movements: ours.
        lines: theirs.
        tolerance: by how many minor units amounts may differ and still match.
    """
    found: list[Found] = []
    by_payment: dict[Key, list[Movement]] = defaultdict(list)
    by_refund: dict[Key, list[Movement]] = defaultdict(list)
    for movement in movements:
        by_payment[movement.direction, "payment", movement.payment_id].append(movement)
        if movement.refund_id and movement.direction == DEBIT:
            by_refund[DEBIT, "refund", movement.refund_id].append(movement)
    theirs = _placed(lines, by_payment, by_refund, found)
    taken: set[int] = set()
    for key, group in by_refund.items():
        if key in theirs:
            taken.update(map(id, group))
            _pair(group, theirs[key], tolerance, found)
    for key, group in by_payment.items():
        left = [movement for movement in group if id(movement) not in taken]
        _pair(left, theirs.get(key, []), tolerance, found)
    return found


def _placed(
    lines: Iterable[SettlementLine],
    by_payment: dict[Key, list[Movement]],
    by_refund: dict[Key, list[Movement]],
    found: list[Found],
) -> dict[Key, list[SettlementLine]]:
    """Lines by what they name; repeats, and those that name nothing of ours, go to `found`."""
    theirs: dict[Key, list[SettlementLine]] = defaultdict(list)
    seen: set[tuple[object, ...]] = set()
    for line in lines:
        if line.line_id:
            content = tuple(line[1:])
            if content in seen:
                found.append(Found(LINE_TWICE, None, line))
                continue
            seen.add(content)
        for reference in line.references:
            key = line.direction, "refund", reference
            if key not in by_refund:
                key = line.direction, "payment", reference
                if key not in by_payment:
                    continue
            theirs[key].append(line)
            break
        else:
            found.append(Found(NOT_OURS, None, line))
    return theirs


def _pair(movements: list[Movement], lines: list[SettlementLine], tolerance: int, found: list[Found]) -> None:
    """Pair what belongs to one payment or refund in one direction."""
    if len(movements) == 1 and len(lines) == 1 and _worth(movements[0]) == _worth(lines[0]):
        found.append(Found(MATCHED, movements[0], lines[0]))
        return
    ours = sorted(movements, key=lambda one: (*_worth(one), one.time_ms, one.event_id))
    theirs = sorted(lines, key=lambda one: (*_worth(one), one.place))
    start = len(found)
    for status, limit in ((MATCHED, 0), (MATCHED, tolerance), (AMOUNT, None)):
        ours, theirs = _walk(ours, theirs, status, limit, found)
    for movement, line in zip(ours, theirs, strict=False):
        found.append(Found(CURRENCY, movement, line))
    both = min(len(ours), len(theirs))
    known = {_worth(one.movement) for one in found[start:] if one.movement}
    billed = {_worth(one.line) for one in found[start:] if one.line}
    for movement in ours[both:]:
        if _worth(movement) in known:
            found.append(Found(PAYMENT_TWICE, movement, None))
        elif movement.expected:
            found.append(Found(NOT_SETTLED, movement, None))
    for line in theirs[both:]:
        found.append(Found(LINE_TWICE if _worth(line) in billed else NOT_OURS, None, line))


def _walk(
    ours: list[Movement], theirs: list[SettlementLine], status: str, limit: int | None, found: list[Found]
) -> tuple[list[Movement], list[SettlementLine]]:
    """Pair two sorted lists by currency where amounts differ by no more than `limit` (None: whatever); what is left.

    Taking the smallest that fits of both lists gives as many pairs as there can be.
    """
    ours_left: list[Movement] = []
    theirs_left: list[SettlementLine] = []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        movement, line = ours[i], theirs[j]
        if movement.currency == line.currency and (limit is None or abs(movement.minor - line.minor) <= limit):
            found.append(Found(status, movement, line))
            i, j = i + 1, j + 1
        elif _worth(movement) < _worth(line):
            ours_left.append(movement)
            i += 1
        else:
            theirs_left.append(line)
            j += 1
    return ours_left + ours[i:], theirs_left + theirs[j:]


def _worth(one: Movement | SettlementLine) -> tuple[str, int]:
    return one.currency, one.minor
