"""The planted fraud: a table of patterns, each a story told in the same events as ordinary life.

Nothing in an event says that it is fraud: ids of attackers come from the same counters as everybody's, and the truth is
in the label file, in chargebacks and in labels that arrive days later. A story that begins after the day of drift is
told in its later manner, if it has one.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from engine.generator.account_fraud import account_farm, account_takeover, layering, mule_fan_in, structuring
from engine.generator.buyer_fraud import bust_out, refund_abuse
from engine.generator.card_fraud import bin_attack, card_testing, cloned_card, false_shop, stolen_card
from engine.generator.simulation import Simulation


class Pattern(NamedTuple):
    """A kind of fraud: its story, how often it is told, and how many payments one telling makes on average."""

    name: str
    tell: Callable[[Simulation, int], None]
    share: float
    payments: float


PATTERNS: Final = (
    Pattern("card_testing", card_testing, 0.14, 19.0),
    Pattern("bin_attack", bin_attack, 0.02, 40.0),
    Pattern("stolen_card", stolen_card, 0.32, 6.0),
    Pattern("cloned_card", cloned_card, 0.07, 3.0),
    Pattern("false_shop", false_shop, 0.02, 28.0),
    Pattern("account_takeover", account_takeover, 0.18, 4.0),
    Pattern("mule_fan_in", mule_fan_in, 0.05, 23.0),
    Pattern("structuring", structuring, 0.03, 9.0),
    Pattern("layering", layering, 0.03, 8.0),
    Pattern("account_farm", account_farm, 0.04, 9.0),
    Pattern("refund_abuse", refund_abuse, 0.05, 8.0),
    Pattern("bust_out", bust_out, 0.05, 10.0),
)
PAYMENTS_PER_STORY: Final = sum(pattern.share * pattern.payments for pattern in PATTERNS)


def tell_one(sim: Simulation, time_ms: int) -> None:
    """Start one fraud, of a pattern drawn by share."""
    point = sim.draw.uniform()
    for pattern in PATTERNS:
        point -= pattern.share
        if point < 0.0:
            break
    pattern.tell(sim, time_ms)
