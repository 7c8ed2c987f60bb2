"""Campaigns with their results: what they gave, what is left of their budgets, and what came of it."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from engine.core.adoption import HEAD_RULESET
from engine.core.campaign_state import HEAD_BUDGETS, HEAD_EFFECTS, budgets_of, effects_of
from engine.core.settings import CoreSettings
from engine.core.small_state import HEAD_RATES, rates_of
from engine.domain.currencies import EXPONENTS
from engine.domain.money import format_minor
from engine.domain.rates import Rates
from engine.domain.times import rfc3339
from engine.engagement.marketing.budgets import Budget, Budgets
from engine.engagement.marketing.effects import Effects, Tally
from engine.engagement.models.effect import Interval, Lift, roi
from engine.ports.store import StateStore
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.ruleset import RuleSet
from engine.service.rule_sets import RuleLibrary

KEYS: Final = (HEAD_RULESET, HEAD_BUDGETS, HEAD_EFFECTS, HEAD_RATES)
OFFER: Final = "offer"


@dataclass(slots=True)
class _Sums:
    """Over all shards; `rates` are those of the last that had any from events."""

    effects: Effects
    rates: Rates
    budgets: Budgets = field(default_factory=Budgets)

    def add_budgets(self, others: Budgets) -> None:
        for key, other in others.of.items():
            mine = self.budgets.of.setdefault(key, Budget())
            mine.lease += other.lease + other.given
            mine.reserved += other.reserved
            mine.spent += other.spent


@dataclass(frozen=True, slots=True)
class StoredResults:
    """Implements `engine.ports.campaigns.CampaignResults`.

    Attributes:
        store, shards: the state, and how many shards it has.
        library: rule sets by hash.
        core: how the shards are set up; its rates hold until events bring others.
    """

    store: StateStore
    library: RuleLibrary
    core: CoreSettings
    shards: Callable[[], int]

    async def results(self, point_value: float) -> dict[str, Any]:
        """See `CampaignResults.results`."""
        sums, ruleset = await self._sums()
        known = {campaign.key: campaign for campaign in ruleset.live}
        keys = sorted({*known, *sums.effects.of, *sums.effects.tallies, *sums.budgets.of})
        return {
            "ruleset": ruleset.hash,
            "base_currency": sums.rates.base,
            "point_value": point_value,
            "campaigns": [self._campaign(key, known.get(key), sums, point_value) for key in keys],
        }

    async def _sums(self) -> tuple[_Sums, RuleSet]:
        rates, name = self.core.rates, None
        sums = _Sums(Effects(rates.exponent), rates)
        heads = await asyncio.gather(*(self.store.load(shard, KEYS) for shard in range(self.shards())))
        for values in heads:
            head = {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
            name = name or head.get(HEAD_RULESET)
            sums.rates = rates_of(head, self.core) if HEAD_RATES in head else sums.rates
            sums.effects.add(effects_of(head, rates.exponent))
            sums.add_budgets(budgets_of(head))
        found = await self.library.fetch(name.decode()) if name else None
        return sums, found or self.library.first

    def _campaign(self, key: str, campaign: Campaign | None, sums: _Sums, point_value: float) -> dict[str, Any]:
        campaign_id, _, version = key.rpartition(":")
        tally = sums.effects.tallies.get(key, Tally())
        effect = sums.effects.of.get(key)
        cost = _cost(tally, tally.used if tally.kind == OFFER else tally.granted, tally.taken, point_value, sums.rates)
        lift = effect.lift() if effect is not None else None
        places = EXPONENTS.get(tally.currency, 0) if tally.kind in ("cashback", OFFER) else 0
        return {
            "campaign_id": campaign_id,
            "version": int(version),
            "in_force": campaign is not None,
            **_described(campaign),
            "kind": tally.kind or None,
            "currency": tally.currency or None,
            "grants": tally.grants,
            "granted": format_minor(tally.granted, places),
            "taken_back": format_minor(tally.taken, places),
            "offers": tally.offers,
            "customers": tally.reach,
            "held_out": tally.held,
            "cost": cost,
            "budget": _budget(sums.budgets.of.get(key), campaign),
            "outcomes": dict(zip(("treated", "held_out"), effect.outcomes if effect else (0, 0), strict=True)),
            "pending": {
                "customers": tally.waiting,
                "cost": _cost(tally, tally.promised, 0, point_value, sums.rates),
            },
            "effect": None if lift is None else _effect(lift, _cost(tally, tally.measured, 0, point_value, sums.rates)),
        }


def _cost(tally: Tally, given: int, taken: int, point_value: float, rates: Rates) -> float | None:
    """What so much, less what was taken back, has cost at most, in major units of the base currency; None where there
    is no rate.

    Points at their value, cashback less what was taken back, coupons at what they are worth at most, offers at what
    those used took off, less what is owed of it. A status costs nothing by itself.
    """
    net = given - taken
    if tally.kind == "points":
        return net * point_value
    places = EXPONENTS.get(tally.currency, rates.exponent)
    coupons = net * round(tally.worth * 10.0**places)
    minor = {"cashback": net, "coupon": coupons, OFFER: net}.get(tally.kind, 0)
    ratio = rates.ratio(tally.currency or rates.base)
    return None if ratio is None else float(minor * ratio) / 10.0**rates.exponent


def _described(campaign: Campaign | None) -> dict[str, Any]:
    """What its file says; nulls where it is not in force any more."""
    if campaign is None:
        return dict.fromkeys(("description", "owner", "tags", "holdout", "valid_from", "valid_to", "file", "line"))
    return {
        "description": campaign.description,
        "owner": campaign.owner,
        "tags": list(campaign.tags),
        "holdout": campaign.holdout,
        "valid_from": _time(campaign.valid_from_ms),
        "valid_to": _time(campaign.valid_to_ms),
        "file": campaign.file,
        "line": campaign.line,
    }


def _budget(budget: Budget | None, campaign: Campaign | None) -> dict[str, Any] | None:
    """The leases of all shards together. Amounts of a campaign that is not in force are minor units: its currency was
    in its file."""
    if budget is None:
        return None
    currency = campaign.budget.currency if campaign is not None and campaign.budget is not None else ""
    amounts = {"amount": budget.lease, "reserved": budget.reserved, "spent": budget.spent, "left": budget.left}
    places = EXPONENTS.get(currency, 0)
    return {"currency": currency or None, **{name: format_minor(minor, places) for name, minor in amounts.items()}}


def _effect(lift: Lift, cost: float | None) -> dict[str, Any]:
    back = None if cost is None else roi(lift, cost)
    return {
        "difference": _interval(lift.difference),
        "relative": None if math.isnan(lift.relative.estimate) else _interval(lift.relative),
        "incremental": lift.difference.estimate * lift.treated,
        "cost": cost,
        "roi": None if back is None or math.isnan(back.roi) else back.roi,
    }


def _interval(interval: Interval) -> dict[str, float]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)
