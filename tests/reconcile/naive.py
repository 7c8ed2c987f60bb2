"""A matcher that is right by being simple: lists, loops, and every way of pairing tried out."""

from collections import Counter

from engine.domain.settlements import SettlementLine
from engine.service.reconcile.payments import Movement


def statuses(movements: list[Movement], lines: list[SettlementLine], tolerance: int) -> Counter[str]:
    """How many findings of each status there must be; those of one side alone within a payment as `left over`."""
    found: Counter[str] = Counter()
    kept: list[SettlementLine] = []
    for line in lines:
        if line.line_id and any(line[1:] == other[1:] for other in kept):
            found["duplicate_line"] += 1
        else:
            kept.append(line)
    groups: dict[tuple[str, str, str], list[SettlementLine]] = {}
    for line in kept:
        named = next((n for r in line.references if (n := _named(line.direction, r, movements))), None)
        if named is None:
            found["missing_in_payments"] += 1
        else:
            groups.setdefault(named, []).append(line)
    left = list(movements)
    keys = sorted(groups, key=lambda key: key[1] != "refund")
    for key in keys:
        mine = [
            m for m in left if m.direction == key[0] and key[2] == (m.refund_id if key[1] == "refund" else m.payment_id)
        ]
        left = [m for m in left if m not in mine]
        _group(mine, groups[key], tolerance, found)
    found["left over"] += len(left)
    return +found


def _named(direction: str, reference: str, movements: list[Movement]) -> tuple[str, str, str] | None:
    for movement in movements:
        if movement.direction == direction == "debit" and movement.refund_id == reference:
            return direction, "refund", reference
    for movement in movements:
        if movement.direction == direction and movement.payment_id == reference:
            return direction, "payment", reference
    return None


def _group(ours: list[Movement], theirs: list[SettlementLine], tolerance: int, found: Counter[str]) -> None:
    ours, theirs = list(ours), list(theirs)
    for movement in list(ours):
        same = [line for line in theirs if (line.currency, line.minor) == (movement.currency, movement.minor)]
        if same:
            found["matched"] += 1
            ours.remove(movement)
            theirs.remove(same[0])
    most = _most(ours, theirs, tolerance)
    found["matched"] += most
    currencies = {one.currency for one in (*ours, *theirs)}
    both = min(len(ours), len(theirs))
    # After the tolerance, what is left in one currency pairs as far as it goes, then the rest across currencies.
    same = sum(min(sum(m.currency == c for m in ours), sum(t.currency == c for t in theirs)) for c in currencies)
    found["amount_differs"] += same - most
    found["currency_differs"] += both - same
    found["left over"] += len(ours) + len(theirs) - 2 * both


def _most(ours: list[Movement], theirs: list[SettlementLine], tolerance: int) -> int:
    """The most pairs within the tolerance, by trying every one."""
    if not ours:
        return 0
    first, rest = ours[0], ours[1:]
    best = _most(rest, theirs, tolerance)
    for index, line in enumerate(theirs):
        if line.currency == first.currency and abs(line.minor - first.minor) <= tolerance:
            best = max(best, 1 + _most(rest, theirs[:index] + theirs[index + 1 :], tolerance))
    return best
