"""Card payments whose frauds change overnight: what a model that only remembers must fail on.

The world is like that of the Fraud Detection Handbook's simulator (customers at places, terminals near them, amounts
around each customer's own mean; frauds by amount, by compromised terminal, by leaked card), smaller and written anew.
At 00:00 of `DRIFT_DAY` every old story ends and others begin, by `kind`:

- `smaller`: leaked cards pay 2.5 times their mean instead of 5 times, for a week instead of two.
- `testing`: leaked cards are tested at night with a burst of tiny payments anywhere; at compromised terminals every
  second payment is fraud, for ten days; large amounts are honest now.
- `dearer`: all amounts rise by 80 %, so every old threshold lies; leaked cards pay 3 times their mean; terminals are
  compromised for two weeks; large amounts are honest.
- `bursts`: leaked cards make bursts of ordinary amounts at one terminal; at compromised terminals three of ten payments
  are fraud; large amounts are honest.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from load_tests.detection.payments import DAY_S, Payments

KINDS: Final = ("smaller", "testing", "dearer", "bursts")
DRIFT_DAY: Final = 60
DAYS: Final = 120
CUSTOMERS: Final = 2_000
TERMINALS: Final = 4_000
START_S: Final = 1_735_689_600
"""2025-01-01T00:00:00Z."""
NEAR_SQUARED: Final = 25.0
LARGE: Final = 220.0
STORIES_A_DAY: Final = (0.9, 1.6)
"""Terminals and cards that are compromised."""
TERMINAL_DAYS: Final = {"smaller": 28, "testing": 10, "dearer": 14, "bursts": 28}
TERMINAL_SHARE: Final = {"testing": 0.5, "bursts": 0.3}
CARD: Final = {"smaller": (7, 1 / 2, 2.5), "dearer": (14, 1 / 3, 3.0)}
"""Of leaked cards after the change: days, share of payments that are fraud, factor of their amounts."""


class _World:
    """The payments so far, in the order they were made up."""

    def __init__(self, random: np.random.Generator, kind: str) -> None:
        self.random, self.kind = random, kind
        places = random.uniform(0, 100, (CUSTOMERS, 2))
        shops = random.uniform(0, 100, (TERMINALS, 2))
        self.mean = random.uniform(5, 100, CUSTOMERS)
        rate = random.uniform(0, 4, CUSTOMERS)
        parts = []
        for customer in range(CUSTOMERS):
            near = np.flatnonzero(((shops - places[customer]) ** 2).sum(1) < NEAR_SQUARED)
            if len(near):
                parts.append(self._habits(customer, near, rate[customer]))
        self.time, self.customer, self.terminal, self.amount = (np.concatenate(p) for p in zip(*parts, strict=True))
        if kind == "dearer":
            self.amount = np.where(self.time >= DRIFT_DAY * DAY_S, self.amount * 1.8, self.amount)
        self.day = self.time // DAY_S
        self.fraud = (self.amount > LARGE) & ((self.day < DRIFT_DAY) | (kind == "smaller"))
        self.bursts: list[tuple[NDArray[np.generic], ...]] = []

    def _habits(self, customer: int, near: NDArray[np.intp], rate: float) -> tuple[NDArray[np.generic], ...]:
        """What a customer pays of itself: at day time mostly, at terminals near by, about its own mean."""
        random, mean = self.random, self.mean[customer]
        day = np.repeat(np.arange(DAYS), random.poisson(rate, DAYS))
        second = random.normal(43_200, 20_000, len(day))
        within = (second > 0) & (second < DAY_S)
        day, second = day[within], second[within]
        amount = random.normal(mean, mean / 2, len(day))
        negative = amount < 0
        amount[negative] = random.uniform(0, 2 * mean, negative.sum())
        time = day * DAY_S + second.astype(np.int64)
        return time, np.full(len(day), customer), random.choice(near, len(day)), amount

    def compromise_terminal(self, rows: NDArray[np.intp], day: int) -> None:
        """Payments at a terminal are fraud for some weeks."""
        after = day >= DRIFT_DAY
        end = day + TERMINAL_DAYS[self.kind] if after else min(day + 28, DRIFT_DAY)
        rows = rows[(self.day[rows] >= day) & (self.day[rows] < end)]
        if after and self.kind in TERMINAL_SHARE:
            rows = rows[self.random.random(len(rows)) < TERMINAL_SHARE[self.kind]]
        self.fraud[rows] = True

    def leak_card(self, rows: NDArray[np.intp], customer: int, day: int) -> None:
        """Some of a customer's payments are a thief's."""
        after = day >= DRIFT_DAY
        if after and self.kind not in CARD:
            self._burst(customer, day)
            return
        days, share, factor = CARD[self.kind] if after else (14, 1 / 3, 5.0)
        end = day + days if after else min(day + days, DRIFT_DAY)
        rows = rows[(self.day[rows] >= day) & (self.day[rows] < end)]
        rows = rows[self.random.random(len(rows)) < share]
        self.amount[rows] *= factor
        self.fraud[rows] = True

    def _burst(self, customer: int, day: int) -> None:
        """Five to thirteen payments within two hours of a night: tiny ones anywhere, or ordinary ones at one place."""
        random = self.random
        count = int(random.integers(5, 14))
        time = day * DAY_S + random.integers(0, 5 * 3_600) + np.sort(random.integers(0, 7_200, count))
        if self.kind == "testing":
            terminal, amount = random.choice(TERMINALS, count), random.uniform(1, 8, count)
        else:
            terminal = np.full(count, random.choice(TERMINALS))
            amount = self.mean[customer] * random.uniform(1, 3, count)
        self.bursts.append((time, np.full(count, customer), terminal, amount))


def payments(kind: str, seed: int) -> Payments:
    """The stream of a kind of change, in time order; the same seed gives the same stream."""
    random = np.random.default_rng(seed)
    world = _World(random, kind)
    by_terminal, by_customer = _rows(world.terminal, TERMINALS), _rows(world.customer, CUSTOMERS)
    for day in range(DAYS):
        for terminal in random.choice(TERMINALS, random.poisson(STORIES_A_DAY[0]), replace=False).tolist():
            world.compromise_terminal(by_terminal[terminal], day)
        for customer in random.choice(CUSTOMERS, random.poisson(STORIES_A_DAY[1]), replace=False).tolist():
            world.leak_card(by_customer[customer], customer, day)
    own = (world.time, world.customer, world.terminal, world.amount)
    time, customer, terminal, amount = (np.concatenate(p) for p in zip(own, *world.bursts, strict=True))
    fraud = np.concatenate((world.fraud, np.ones(len(time) - len(world.fraud), np.bool_)))
    order = np.argsort(time, kind="stable")
    minor = np.maximum(np.round(amount * 100), 1).astype(np.int64)
    return Payments(time[order] + START_S, customer[order], terminal[order], minor[order], fraud[order])


def _rows(keys: NDArray[np.generic], count: int) -> list[NDArray[np.intp]]:
    """The rows of each key, ascending."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.searchsorted(keys[order], np.arange(1, count)))
