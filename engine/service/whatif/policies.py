"""What other ways to choose would have brought, from the choices that campaigns logged (off-policy evaluation)."""

import math
from typing import Any, Final

import numpy as np

from engine.engagement.marketing.choosing import Bandits
from engine.engagement.models.offline import Estimate, doubly_robust, ips, snips

CHOICES_MIN: Final = 30
"""Fewer say nothing."""


def judged(bandits: Bandits) -> dict[str, Any]:
    """By campaign: choices with an outcome, what they brought on average, and what each policy would have.

    The policies are each arm for everybody, and `learned`: for each customer the arm that is now expected to bring
    most. Amounts are major units of the base currency a choice, net of refunds and of what the offer cost. `learned`
    and the doubly robust estimates use a model that was fitted on the same choices: they are a little too good.
    """
    found = {}
    for key, arms in sorted(bandits.arms.items()):
        logged = [one for one in bandits.logged if one.campaign == key]
        told: dict[str, Any] = {"choices": len(logged), "arms": arms}
        if len(logged) >= CHOICES_MIN:
            told |= _judged(bandits, key, arms)
        found[key] = told
    return found


def _judged(bandits: Bandits, key: str, arms: list[str]) -> dict[str, Any]:
    logged = [one for one in bandits.logged if one.campaign == key]
    arm = np.array([one.arm for one in logged])
    outcome = np.array([one.outcome for one in logged])
    propensity = np.array([one.propensity for one in logged])
    means = np.array([bandits.means(key, one.context) for one in logged])
    rows = np.arange(len(logged))
    policies = {name: np.full(len(logged), place) for place, name in enumerate(arms)}
    policies["learned"] = means.argmax(axis=1)
    estimates = {}
    for name, wants in policies.items():
        wanted = (arm == wants).astype(np.float64)
        estimates[name] = {
            "matched": int(wanted.sum()),
            "ips": _told(ips(outcome, propensity, wanted)),
            "snips": _told(snips(outcome, propensity, wanted)),
            "doubly_robust": _told(doubly_robust(outcome, propensity, wanted, means[rows, arm], means[rows, wants])),
        }
    return {"mean": round(float(outcome.mean()), 4), "policies": estimates}


def _told(one: Estimate) -> dict[str, float | None]:
    return {name: round(value, 4) if math.isfinite(value) else None for name, value in one._asdict().items()}
