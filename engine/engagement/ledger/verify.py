"""Proof that entries add up: what anybody can check who has them, without trusting whoever wrote them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from engine.domain.outputs import Reward
from engine.engagement.ledger.entries import HELD, REPAID

Account = tuple[str, str, str]
"""Customer, kind, currency ("" for none)."""

BUCKETS = ("pending", "active", "debt")
_PLAIN: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)


@dataclass(slots=True)
class Fault:
    """What does not add up: where, and in words."""

    customer_id: str
    lot_id: str
    entry_id: str
    what: str


@dataclass(slots=True)
class Proof:
    """What the entries come to.

    Attributes:
        entries, repeats: how many, and how many of the same id and content (delivered again, no fault).
        balances: of each account by bucket.
        faults: what does not add up; empty where all does.
    """

    entries: int = 0
    repeats: int = 0
    balances: dict[Account, dict[str, Decimal]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.faults


def verify(rewards: Iterable[Reward], expected: Mapping[Account, Mapping[str, Decimal]] | None = None) -> Proof:
    """Add up entries in the order in which they were put out.

    Checked are: an id stands for one content; deltas are exact numbers; no bucket of a lot or account is ever below
    zero; a lot belongs to one customer, campaign, kind and currency, and begins with what was granted; what is active
    came out of pending; when a hold is over nothing stays pending; both halves are there of what became active, and of
    what paid a debt; nobody owes beside what they could pay with, once a cause is through.

    Args:
        rewards: entries, in order for each customer.
        expected: balances as somebody else holds them (the state), to be equal to the sums.
    """
    proof = Proof()
    seen: dict[str, Reward] = {}
    lots: dict[str, tuple[tuple[Any, ...], dict[str, Decimal]]] = {}
    halves: dict[tuple[str, str], tuple[Reward, Decimal]] = {}
    for entry in rewards:
        before = seen.get(entry.entry_id)
        if before is not None:
            proof.repeats += before == entry
            if before != entry:
                _fault(proof, entry, "the same entry id stands for two different entries")
            continue
        seen[entry.entry_id] = entry
        proof.entries += 1
        delta = Decimal(entry.delta if _PLAIN.fullmatch(entry.delta) else 0)
        if not delta:
            _fault(proof, entry, f"a delta of {entry.delta}")
            continue
        _lot(proof, lots, entry, delta)
        _half(halves, entry, delta)
        account = proof.balances.setdefault(_account(entry), dict.fromkeys(BUCKETS, Decimal(0)))
        account[entry.bucket] += delta
        if account[entry.bucket] < 0:
            _fault(proof, entry, f"{entry.bucket} {entry.kind} of the customer fall to {account[entry.bucket]}")
    _debts(proof)
    for entry, missing in halves.values():
        if missing:
            _fault(proof, entry, f"{entry.why!r}: one of its two entries is missing, or another, by {abs(missing)}")
    if expected is not None:
        compare(proof, expected)
    return proof


def _lot(
    proof: Proof, lots: dict[str, tuple[tuple[Any, ...], dict[str, Decimal]]], entry: Reward, delta: Decimal
) -> None:
    belongs = entry.customer_id, entry.campaign_id, entry.kind, entry.currency
    if entry.lot_id not in lots:
        if entry.bucket != "pending" or delta < 0:
            _fault(proof, entry, f"the lot begins with {delta} {entry.bucket}, not with what was granted")
        lots[entry.lot_id] = belongs, defaultdict(Decimal)
    known, held = lots[entry.lot_id]
    if known != belongs:
        _fault(proof, entry, f"the lot belongs to {known}, the entry to {belongs}")
        return
    if entry.bucket == "debt":
        return  # a debt is the customer's: it is paid out of other lots
    held[entry.bucket] += delta
    if held[entry.bucket] < 0:
        _fault(proof, entry, f"{entry.bucket} of the lot falls to {held[entry.bucket]}")
    elif entry.bucket == "pending" and entry.why == HELD and held["pending"]:
        _fault(proof, entry, f"the hold is over, but {held['pending']} of the lot stay pending")


def _half(halves: dict[tuple[str, str], tuple[Reward, Decimal]], entry: Reward, delta: Decimal) -> None:
    """Add up what goes from one bucket of a lot to another in two entries; `halves` has what is left of it."""
    if entry.why not in (HELD, REPAID):
        return
    lot = entry.lot_id, entry.why
    sign = -1 if entry.why == REPAID and entry.bucket == "debt" else 1
    before = halves[lot][1] if lot in halves else Decimal(0)
    halves[lot] = entry, before + sign * delta


def _debts(proof: Proof) -> None:
    """No debt beside what could pay it."""
    for account, sums in proof.balances.items():
        if sums["debt"] > 0 and sums["active"] > 0:
            owed = f"owes {sums['debt']} {account[1]} beside {sums['active']} active"
            proof.faults.append(Fault(account[0], "", "", owed))


def compare(proof: Proof, expected: Mapping[Account, Mapping[str, Decimal]]) -> None:
    """Put down as faults where balances of the entries are not those that the state has."""
    nothing = dict.fromkeys(BUCKETS, Decimal(0))
    for account in sorted({*proof.balances, *expected}):
        entries, state = proof.balances.get(account, nothing), expected.get(account, nothing)
        for bucket in BUCKETS:
            if entries[bucket] != state[bucket]:
                what = f"{bucket} {account[1]} {account[2]}".rstrip()
                told = f"{what}: entries add up to {entries[bucket]}, the state has {state[bucket]}"
                proof.faults.append(Fault(account[0], "", "", told))


def _account(entry: Reward) -> Account:
    return entry.customer_id, entry.kind, entry.currency or ""


def _fault(proof: Proof, entry: Reward, what: str) -> None:
    proof.faults.append(Fault(entry.customer_id, entry.lot_id, entry.entry_id, what))
