"""Which of a campaign's offers: a bandit for each campaign that says `choose: bandit`, "none" among its arms.

What it knows of a customer is a fixed list of figures, each from 0 to 1 in steps of 1/255 (`CONTEXT`). Nobody is
explored on without consent, or within a month of a payment that was doubted, refused or charged back: they get what is
best by what is known. A choice is learned once, when its window of attribution has closed: by what the customer kept
spending in it, refunds and fraud off, less what the offer cost.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.history import History
from engine.engagement.marketing.effects import NEVER, WINDOW_MS
from engine.engagement.models.bandit import Choice, LinUcb
from engine.ruleset.campaigns.model import Campaign

Floats = NDArray[np.float64]
Ask = Callable[[str], float | str | bool | None]
"""Gives `customer.NAME`, None for missing."""

NONE: Final = "none"
STEPS: Final = 255
UNIT: Final = 100.0
"""Major units of the base currency that an outcome of 1 stands for: the noise a bandit's prior is made for."""
OUTCOME_MAX: Final = 20.0
"""A few customers who spend a fortune decide nothing."""
RISK_MS: Final = 30 * DAY_MS
LOGGED_MAX: Final = 20_000
"""Choices with their outcomes that are kept in memory, for whoever asks what another policy would have brought."""


def _upto(most: float) -> Callable[[Any], float]:
    return lambda value: min(max(float(value), 0.0) / most, 1.0)


def _against(half: float) -> Callable[[Any], float]:
    """0 for 0, a half for `half`, towards 1 for more."""
    return lambda value: max(float(value), 0.0) / (max(float(value), 0.0) + half)


CONTEXT: Final[dict[str, tuple[Callable[[Any], float], float, str]]] = {
    "payments": (_against(10.0), 0.0, "n / (n + 10)"),
    "mean_amount": (_against(50.0), 0.0, "n / (n + 50)"),
    "spend_28d": (_against(100.0), 0.0, "n / (n + 100)"),
    "spend_prev_28d": (_against(100.0), 0.0, "n / (n + 100)"),
    "idle_ratio": (_against(1.0), 0.5, "n / (n + 1); a half where it is missing"),
    "tenure_days": (_upto(365.0), 0.0, "of a year, at most 1"),
    "regularity": (_upto(1.0), 0.5, "as it is; a half where it is missing"),
    "value_rank": (_upto(1.0), 0.5, "as it is; a half where it is missing"),
    "p_alive": (_upto(1.0), 0.5, "as it is; a half where it is missing"),
    "refund_rate_90d": (_upto(1.0), 0.0, "as it is"),
    "points_active": (_against(500.0), 0.0, "n / (n + 500)"),
}
"""What a bandit knows of a customer besides a constant: by `customer.NAME` how it is scaled, what it is where the name
is missing, and that in words."""

INPUTS: Final = 1 + len(CONTEXT)


def context_of(ask: Ask) -> bytes:
    """What a bandit knows of a customer, one byte a figure."""
    found = bytearray((STEPS,))
    for name, (scale, missing, _) in CONTEXT.items():
        value = ask(name)
        scaled = missing if value is None else scale(value)
        found.append(round(STEPS * scaled) if math.isfinite(scaled) else round(STEPS * missing))
    return bytes(found)


def vector(context: bytes) -> Floats:
    """The same as numbers, float64 `(INPUTS,)`."""
    return np.frombuffer(context, np.uint8).astype(np.float64) / STEPS


class Chosen(NamedTuple):
    """A choice whose outcome is awaited. `cost`: minor units of the base currency that the offer came to cost."""

    at_ms: int
    arm: int
    propensity: float
    context: bytes
    cost: int


@dataclass(slots=True)
class Choices:
    """A customer's open choices, by campaign and version: one of each at a time."""

    of: dict[str, Chosen] = field(default_factory=dict)

    def open(self, campaign: str, chosen: Chosen) -> None:
        """Await the outcome, unless that of an earlier choice is still awaited: then it is part of that one's."""
        self.of.setdefault(campaign, chosen)

    def cost(self, campaign: str, minor: int) -> None:
        """The offer was taken up."""
        one = self.of.get(campaign)
        if one is not None:
            self.of[campaign] = one._replace(cost=one.cost + minor)

    def next_due(self) -> int:
        """When the next window closes."""
        return min([one.at_ms for one in self.of.values()]) + WINDOW_MS if self.of else NEVER

    def close(self, now_ms: int, history: History) -> list[tuple[str, Chosen, int]]:
        """Choices whose window has closed, and minor units of the base currency that came of each."""
        over = sorted((name, one) for name, one in self.of.items() if one.at_ms + WINDOW_MS <= now_ms)
        for name, _ in over:
            del self.of[name]
        return [(name, one, history.spend(one.at_ms, one.at_ms + WINDOW_MS) - one.cost) for name, one in over]


class Logged(NamedTuple):
    """A choice and what came of it, in major units of the base currency."""

    campaign: str
    arm: int
    propensity: float
    context: bytes
    outcome: float


class Bandits:
    """A shard's bandits, by campaign and version.

    Args:
        exponent: of the base currency.
        stored: what `dump` gave.

    Attributes:
        arms: names of each one's arms, "none" the last.
        logged: the last choices with their outcomes; not part of the state.
    """

    def __init__(self, exponent: int = 2, stored: Any = None) -> None:
        self._scale = 10.0**exponent
        known: dict[str, tuple[list[str], bytes]] = stored or {}
        self.arms = {key: list(arms) for key, (arms, _) in known.items()}
        self._of = {key: LinUcb(len(arms), INPUTS, stored=state) for key, (arms, state) in known.items()}
        self._dumped = {key: state for key, (_, state) in known.items()}
        self.logged: deque[Logged] = deque(maxlen=LOGGED_MAX)

    def adopt(self, key: str, campaign: Campaign) -> None:
        """A campaign is in force. What is known of other arms than it has is of no use, and goes."""
        arms = [*(one.id for one in campaign.offers), NONE]
        if self.arms.get(key) == arms:
            return
        self.arms[key] = arms
        self._of[key] = LinUcb(len(arms), INPUTS)
        self._dumped.pop(key, None)

    def choose(self, key: str, context: bytes, draw: float, *, explore: bool) -> Choice:
        """An arm for a customer; `draw` in [0, 1) comes from a hash."""
        everything = np.ones(len(self.arms[key]), np.bool_)
        return self._of[key].choose(vector(context), draw, everything, explore=explore)

    def learn(self, closed: list[tuple[str, Chosen, int]]) -> None:
        """Take in outcomes. Those of an arm that is no more teach nothing."""
        for key, one, minor in closed:
            if one.arm < len(self.arms.get(key, ())):
                net = minor / self._scale
                self._of[key].learn(one.arm, vector(one.context), min(max(net / UNIT, -OUTCOME_MAX), OUTCOME_MAX))
                self._dumped.pop(key, None)
                self.logged.append(Logged(key, one.arm, one.propensity, one.context, net))

    def means(self, key: str, context: bytes) -> Floats:
        """What each arm is expected to bring, in major units of the base currency, `(arms,)`."""
        return self._of[key].means(vector(context)) * UNIT

    def dump(self) -> Any:
        """As stored, campaigns that are not in force any more among them."""
        for key, bandit in self._of.items():
            if key not in self._dumped:
                self._dumped[key] = bandit.dump()
        return {key: (self.arms[key], self._dumped[key]) for key in sorted(self._of)}
