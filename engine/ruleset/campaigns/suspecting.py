"""The conditions of abuse, compiled: asked of an event and customer to whom a campaign is about to give something."""

from collections.abc import Sequence
from typing import NamedTuple

from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.row import Holds, NumberOf, Row
from engine.ruleset.scalar import Scalar


class Found(NamedTuple):
    """What makes a grant suspicious: the reason code, and a line for people."""

    code: str
    detail: str


class Suspecting:
    """Suspicions of campaigns, by their place among them."""

    def __init__(self, scalar: Scalar, campaigns: Sequence[Campaign]) -> None:
        self._of: list[list[tuple[Holds, NumberOf, str, str]]] = [
            [(scalar.condition(one.when), scalar.number(one.value), one.code, one.what) for one in campaign.abuse]
            for campaign in campaigns
        ]

    def found(self, place: int, row: Row) -> list[Found]:
        """Those that hold; most often none."""
        return [Found(code, what.format(value(row))) for holds, value, code, what in self._of[place] if holds(row)]
