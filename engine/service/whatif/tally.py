"""What one set of campaigns did on a history, added up from what it put out."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import combinations
from typing import Any, Final

import msgspec

from engine.core.decode import hash_text
from engine.core.effects import Output
from engine.domain.currencies import EXPONENTS
from engine.domain.outputs import Alert, Offer, Reward
from engine.domain.times import DAY_MS, rfc3339
from engine.engagement.marketing.abuse import FROZEN
from engine.ruleset.campaigns.model import Campaign

OVERLAPS_MAX: Final = 20
SPENT: Final = Decimal("0.99")
"""Of a budget: from here on it is exhausted, as what is left does not pay another reward of some size."""

_reward: Final = msgspec.json.Decoder(Reward)
_offer: Final = msgspec.json.Decoder(Offer)
_alert: Final = msgspec.json.Decoder(Alert)


@dataclass(slots=True)
class Sums:
    """One campaign. Amounts by kind and currency, such as ("points", "") or ("cashback", "EUR").

    Attributes:
        grants: rewards granted; granted, taken_back: what they came to, and what refunds and frauds took of it.
        frozen: granted, but held as it looked like abuse.
        offers, withdrawn, held: offers issued, withdrawn, and those of customers held out.
        customers: who got something.
        by_day: granted less taken back, by UTC day.
        of_payment: granted, by hash of the payment it was earned with.
    """

    grants: int = 0
    granted: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    taken_back: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    frozen: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    offers: int = 0
    withdrawn: int = 0
    held: int = 0
    customers: set[str] = field(default_factory=set)
    by_day: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    of_payment: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


class Tally:
    """Takes the outputs of a history; `report` says what they come to.

    Args:
        campaigns: that were in force, for their budgets.
    """

    def __init__(self, campaigns: Sequence[Campaign]) -> None:
        self._budgets = {campaign.id: campaign.budget for campaign in campaigns if campaign.budget is not None}
        self._of: dict[str, Sums] = {campaign.id: Sums() for campaign in campaigns}
        self._abuse = 0

    def add(self, outputs: Iterable[Output]) -> None:
        """Take outputs, in order."""
        for output in outputs:
            if output.kind == "reward":
                self._entry(_reward.decode(output.data), output.time_ms)
            elif output.kind == "offer":
                self._offered(_offer.decode(output.data))
            elif output.kind == "alert":
                self._abuse += _alert.decode(output.data).kind == "abuse"

    def _entry(self, entry: Reward, time_ms: int) -> None:
        sums = self._of.setdefault(entry.campaign_id, Sums())
        delta, purse = Decimal(entry.delta), (entry.kind, entry.currency or "")
        if entry.bucket == "pending" and delta > 0:
            sums.grants += 1
            sums.granted[purse] += delta
            if entry.why.endswith(FROZEN):
                sums.frozen[purse] += delta
            sums.customers.add(entry.customer_id)
            sums.by_day[time_ms // DAY_MS] += delta
            sums.of_payment[hash_text(entry.occasion)] += delta
        elif entry.available_at is None and self._taken(entry, delta):
            sums.taken_back[purse] += abs(delta)
            sums.by_day[time_ms // DAY_MS] -= abs(delta)

    @staticmethod
    def _taken(entry: Reward, delta: Decimal) -> bool:
        """Whether an entry takes back what was granted: not its activation, redemption or expiry."""
        ordinary = ("the hold is over", "redeemed", "expired", "pays what is owed", "the redemption was called off")
        return entry.why not in ordinary and (delta < 0 or entry.bucket == "debt")

    def _offered(self, offer: Offer) -> None:
        sums = self._of.setdefault(offer.campaign_id, Sums())
        if offer.holdout:
            sums.held += 1
        elif offer.status == "withdrawn":
            sums.withdrawn += 1
        else:
            sums.offers += 1
            sums.customers.add(offer.customer_id)

    def report(self, customers: int, frauds: Iterable[int]) -> dict[str, Any]:
        """What it comes to.

        Args:
            customers: of the history: reach is a share of them.
            frauds: hashes of payments that turned out to be fraud.
        """
        fraudulent = set(frauds)
        return {
            "campaigns": {
                name: self._campaign(name, sums, customers, fraudulent) for name, sums in sorted(self._of.items())
            },
            "cost": _amounts(_sum(sums.granted for sums in self._of.values())),
            "taken_back": _amounts(_sum(sums.taken_back for sums in self._of.values())),
            "customers_reached": len(set().union(*(sums.customers for sums in self._of.values()))),
            "frozen": _amounts(_sum(sums.frozen for sums in self._of.values())),
            "abuse_alerts": self._abuse,
            "overlap": self._overlap(),
        }

    def _campaign(self, name: str, sums: Sums, customers: int, frauds: set[int]) -> dict[str, Any]:
        exposed = sum((amount for payment, amount in sums.of_payment.items() if payment in frauds), Decimal(0))
        return {
            "grants": sums.grants,
            "granted": _amounts(sums.granted),
            "taken_back": _amounts(sums.taken_back),
            "frozen": _amounts(sums.frozen),
            "offers": sums.offers,
            "withdrawn": sums.withdrawn,
            "held_out": sums.held,
            "customers": len(sums.customers),
            "reach": round(len(sums.customers) / customers, 4) if customers else None,
            "granted_on_fraud": str(exposed),
            "budget": self._budget(name, sums),
        }

    def _budget(self, name: str, sums: Sums) -> dict[str, Any] | None:
        budget = self._budgets.get(name)
        if budget is None:
            return None
        whole = Decimal(budget.minor).scaleb(-EXPONENTS[budget.currency]) if budget.currency else Decimal(budget.minor)
        used, exhausted = Decimal(0), None
        for day, amount in sorted(sums.by_day.items()):
            used += amount
            if exhausted is None and used >= SPENT * whole:
                exhausted = rfc3339(day * DAY_MS)[:10]
        return {"amount": str(whole), "used": str(used), "exhausted_on": exhausted}

    def _overlap(self) -> list[dict[str, Any]]:
        """Pairs of campaigns by how many customers got something of both, the most first."""
        shared: Counter[tuple[str, str]] = Counter()
        for one, two in combinations(sorted(self._of), 2):
            both = len(self._of[one].customers & self._of[two].customers)
            if both:
                shared[one, two] = both
        pairs = sorted(shared.items(), key=lambda pair: (-pair[1], pair[0]))[:OVERLAPS_MAX]
        return [{"campaigns": list(pair), "customers": both} for pair, both in pairs]


def _sum(many: Iterable[Mapping[tuple[str, str], Decimal]]) -> dict[tuple[str, str], Decimal]:
    total: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for amounts in many:
        for purse, amount in amounts.items():
            total[purse] += amount
    return total


def _amounts(by_purse: Mapping[tuple[str, str], Decimal]) -> dict[str, str]:
    return {f"{kind} {currency}".rstrip(): str(amount) for (kind, currency), amount in sorted(by_purse.items())}
