"""Card precision: of the cards shown to investigators each day, how many are compromised.

The definition is that of the Fraud Detection Handbook (Le Borgne, Siblini, Lebichot, Bontempi 2022, chapter 4): each
day the cards with the highest scores are looked at, those found to be compromised are looked at no more, and cards
known to be compromised when the day begins do not count at all. A card here is a customer.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.service.evaluate.metrics import Bools, Floats

CARDS_A_DAY: Final = 100
KNOWN_DAYS: Final = 7
"""Labels that arrived so many days before a period began still say which cards are known to be compromised."""

Longs = NDArray[np.int64]


def unknown_cards(card: Longs, day: Longs, start: int, arrived_card: Longs, arrived: Longs, day_ms: int) -> Bools:
    """The payments of cards that are not known to be compromised when their day begins, at 00:00 UTC.

    Known is a card of which a fraud label has arrived since `KNOWN_DAYS` before the period: with labels eight days late
    and periods of a week these are the cards that the handbook leaves out.

    Args:
        card, day: of each payment of the period; days since 1970.
        start: the first day of the period.
        arrived_card, arrived: the card of each fraud label, and when it arrived in milliseconds since 1970.
        day_ms: milliseconds of a day.
    """
    recent = arrived > (start - KNOWN_DAYS) * day_ms
    cards, first = _firsts(arrived_card[recent], arrived[recent])
    if not len(cards):
        return np.ones(len(card), np.bool_)
    place = np.minimum(np.searchsorted(cards, card), len(cards) - 1)
    known: Bools = (cards[place] == card) & (first[place] <= day * day_ms)
    return ~known


def card_precision(day: Longs, card: Longs, fraud: Bools, score: Floats, shown: int = CARDS_A_DAY) -> list[float]:
    """For each day with payments, the share of compromised cards among the `shown` cards with the highest scores.

    A card has the highest score of its payments of that day and is compromised where one of them is fraud; among equal
    scores the smaller number of a card goes first. A card found on one day is out on those that follow.
    """
    found = np.empty(0, card.dtype)
    shares = []
    order = np.argsort(day, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(day[order])) + 1) if len(order) else ():
        rows = rows[~np.isin(card[rows], found)]
        cards, place = np.unique(card[rows], return_inverse=True)
        best = np.full(len(cards), -np.inf)
        np.maximum.at(best, place, score[rows])
        compromised = np.zeros(len(cards), np.bool_)
        np.logical_or.at(compromised, place, fraud[rows])
        top = np.argsort(-best, kind="stable")[:shown]
        hits = cards[top[compromised[top]]]
        shares.append(len(hits) / shown)
        found = np.concatenate((found, hits))
    return shares


def _firsts(cards: Longs, times: Longs) -> tuple[Longs, Longs]:
    """Each card once, ascending, with the least of its times."""
    order = np.lexsort((times, cards))
    unique, first = np.unique(cards[order], return_index=True)
    return unique, times[order][first]
