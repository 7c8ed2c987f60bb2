"""The figures of an evaluation, as JSON data: whole, by week and by segment, and challengers against the champion."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.service.evaluate import metrics
from engine.service.evaluate.cards import CARDS_A_DAY, card_precision, unknown_cards
from engine.service.evaluate.intervals import Interval, draws, figures, interval, ranking
from engine.service.evaluate.metrics import Bools, Floats
from engine.service.evaluate.record import DAY_MS, OTHER, Table

WEEK_DAYS: Final = 7
SEGMENTS_SHOWN: Final = 20
READY_SHARE: Final = 0.99
"""A score counts as there from the first day on which so many of the decisions have it."""
CURVE_POINTS: Final = 50
NO_PROBABILITIES: Final = ("anomaly", "blended")
"""Scores that are no probabilities: their Brier score and reliability would say nothing."""
BRIER_WORSE_MAX: Final = 0.02
"""A challenger whose Brier score is worse by this share is not promoted for its ranking."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days `[start, end)` since 1970; cards known to be compromised are told as of `start`."""

    start: int
    end: int

    @property
    def days(self) -> int:
        """How many."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a table over some days.

    Attributes:
        every: all of them.
        rows: without the cards known to be compromised.
        starts: the first day of the period of each of `rows`, int64.
    """

    every: NDArray[np.intp]
    rows: NDArray[np.intp]
    starts: NDArray[np.int64]

    def only(self, some: Bools) -> "Part":
        """Some of `rows`."""
        return Part(self.rows[some], self.rows[some], self.starts[some])


class Judge:
    """Computes figures over a table.

    Args:
        table: the decisions.
        cards: how many cards are looked at a day.
    """

    def __init__(self, table: Table, cards: int = CARDS_A_DAY) -> None:
        self.table = table
        self.cards = cards

    def part(self, period: Period) -> Part:
        """The rows of a period."""
        table = self.table
        every = np.flatnonzero((table.day >= period.start) & (table.day < period.end))
        card, day = table.card[every], table.day[every]
        unknown = unknown_cards(card, day, period.start, table.told, table.told_ms, DAY_MS)
        rows = every[unknown]
        return Part(every, rows, np.full(len(rows), period.start))

    def counts(self, part: Part) -> dict[str, int]:
        """How much there is to judge."""
        return {
            "payments": len(part.rows),
            "frauds": int(np.count_nonzero(self.table.fraud[part.rows])),
            "known_cards_left_out": len(part.every) - len(part.rows),
        }

    def ranks(self, name: str, part: Part) -> dict[str, Any]:
        """How well a score ranks the payments of cards that are not known to be compromised."""
        rows, score, fraud = self._scored(name, part.rows)
        shares = self._shares(name, part.only(np.isfinite(self.table.scores[name][part.rows])))
        recalls = metrics.recall_at(fraud, score)
        return {
            "scored": len(rows) / len(part.rows) if len(part.rows) else None,
            "auc": metrics.roc_auc(fraud, score),
            "average_precision": metrics.average_precision(fraud, score),
            "card_precision": float(np.mean(shares)) if shares else None,
            "recall_at": {f"{budget:g}": value for budget, value in zip(metrics.BUDGETS, recalls, strict=True)},
        }

    def probabilities(self, name: str, part: Part) -> dict[str, Any]:
        """How far a probability is right, over every payment: the cards known to be compromised are customers too."""
        _, score, fraud = self._scored(name, part.every)
        bins = metrics.reliability(fraud, score)
        rate = float(fraud.mean()) if len(fraud) else 0.0
        return {
            "brier": metrics.brier(fraud, score),
            "brier_of_the_rate": rate * (1 - rate),
            "calibration_error": metrics.calibration_error(bins),
            "reliability": [one._asdict() for one in bins],
        }

    def curve(self, name: str, part: Part) -> list[tuple[float, float]]:
        """Recall and precision."""
        _, score, fraud = self._scored(name, part.rows)
        return metrics.precision_recall(fraud, score, CURVE_POINTS)

    def sure(self, name: str, part: Part) -> dict[str, Any]:
        """Intervals of a score's figures."""
        rows, score, fraud = self._scored(name, part.rows)
        days, number = np.unique(self.table.day[rows], return_inverse=True)
        if not len(days):
            return {"average_precision": None, "auc": None}
        found = figures(ranking(number, len(days), fraud, score), draws(len(days)))
        return {"average_precision": told(interval(found[0])), "auc": told(interval(found[1]))}

    def against(self, name: str, champion: str, part: Part) -> dict[str, Any]:
        """A challenger's figures less the champion's over the payments that both scored, and whether it is better."""
        table = self.table
        both = np.isfinite(table.scores[name]) & np.isfinite(table.scores[champion])
        common = part.only(both[part.rows])
        rows = common.rows
        fraud = table.fraud[rows]
        days, number = np.unique(table.day[rows], return_inverse=True)
        gains: dict[str, Any] = {"average_precision": None, "auc": None, "card_precision": None}
        if len(days) and fraud.any():
            weights = draws(len(days))
            pair = [
                figures(ranking(number, len(days), fraud, table.scores[n][rows]), weights) for n in (name, champion)
            ]
            shares = [np.array(self._shares(n, common)) for n in (name, champion)]
            gains["average_precision"] = told(interval(pair[0][0] - pair[1][0]))
            gains["auc"] = told(interval(pair[0][1] - pair[1][1]))
            gains["card_precision"] = told(interval((shares[0] - shares[1]) @ weights / len(days)))
        every = part.every[both[part.every]]
        briers = [metrics.brier(table.fraud[every], table.scores[n][every]) for n in (name, champion)]
        return {
            "challenger": name,
            "champion": champion,
            "payments": len(rows),
            "frauds": int(np.count_nonzero(fraud)),
            "days": len(days),
            "gain": gains,
            "brier": {"challenger": briers[0], "champion": briers[1]},
            **verdict(gains["average_precision"], briers[0], briers[1]),
        }

    def segments(self, names: tuple[str, ...], part: Part) -> list[dict[str, Any]]:
        """Figures by value of the segment field, those with the most payments first, the rest together."""
        table = self.table
        number = table.segment[part.rows]
        sizes = np.bincount(number, minlength=len(table.values))
        order = np.argsort(-sizes, kind="stable")
        shown = order[: SEGMENTS_SHOWN if len(order) > SEGMENTS_SHOWN else len(order)]
        found = [self._segment(names, table.values[at], part.only(number == at)) for at in shown.tolist() if sizes[at]]
        rest = part.only(~np.isin(number, shown))
        return found + ([self._segment(names, OTHER, rest)] if len(rest.rows) else [])

    def _segment(self, names: tuple[str, ...], value: str, part: Part) -> dict[str, Any]:
        counts = self.counts(part)
        del counts["known_cards_left_out"]
        return {"value": value, **counts, "scores": {name: self.ranks(name, part) for name in names}}

    def _shares(self, name: str, part: Part) -> list[float]:
        """Card precision of each day; what was found in one period is looked at again in the next."""
        table, shares = self.table, []
        for start in np.unique(part.starts).tolist():
            rows = part.rows[part.starts == start]
            score = table.scores[name][rows]
            shares += card_precision(table.day[rows], table.card[rows], table.fraud[rows], score, self.cards)
        return shares

    def _scored(self, name: str, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Floats, Bools]:
        """Those of `rows` that have the score, the score, and what they turned out to be."""
        score = self.table.scores[name][rows]
        there = np.isfinite(score)
        return rows[there], score[there], self.table.fraud[rows][there]


def told(found: Interval | None) -> dict[str, float] | None:
    """An interval as JSON data."""
    return None if found is None else found._asdict()


def ready(table: Table) -> int | None:
    """The first day on which nearly all decisions have every score that is ever there; None without decisions."""
    if not len(table.day):
        return None
    first = 0
    days, place = np.unique(table.day, return_inverse=True)
    size = np.bincount(place)
    for score in table.scores.values():
        there = np.bincount(place, np.isfinite(score)) >= READY_SHARE * size
        if there.any():
            first = max(first, int(np.argmax(there)))
    return int(days[first])


def weeks(start: int, end: int) -> list[Period]:
    """Seven days each from `start` on; the last one may be shorter."""
    return [Period(day, min(day + WEEK_DAYS, end)) for day in range(start, end, WEEK_DAYS)]


def joined(parts: list[Part]) -> Part:
    """The rows of several periods together, each without the cards known in its own."""
    none = np.empty(0, np.intp)
    every, rows, starts = (
        np.concatenate([none, *(getattr(part, name) for part in parts)]) for name in ("every", "rows", "starts")
    )
    return Part(every, rows, starts)


def verdict(gain: dict[str, float] | None, brier: float | None, champion: float | None) -> dict[str, str]:
    """Whether the challenger should take over, and why."""
    if gain is None or brier is None or champion is None:
        return {"verdict": "unknown", "why": "there is no fraud that both have scored"}
    span = f"average precision {gain['value']:+.4f} ({gain['low']:+.4f} to {gain['high']:+.4f})"
    if gain["low"] <= 0:
        better = "worse" if gain["high"] < 0 else "not shown to be better"
        return {"verdict": "keep the champion", "why": f"{better}: {span}"}
    if brier > champion * (1 + BRIER_WORSE_MAX):
        return {"verdict": "keep the champion", "why": f"ranks better, {span}, but its probabilities are worse"}
    return {"verdict": "promote the challenger", "why": span}
