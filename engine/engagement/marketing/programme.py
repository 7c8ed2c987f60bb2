"""One shard's loyalty programme: campaigns sorted by what sets them off, the customers as a whole, rows for conditions.

What happens in it stands elsewhere: time and events in `marketing`, what each type of event does beside it.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.names import value_of
from engine.engagement.marketing.due import ranked
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import row_of_nothing
from engine.engagement.marketing.occasions import Find, Timer, timer_of
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.row import Row

TIMER: Final = "timer"
"""Of what time brings, in place of an event's id."""


class Timed(NamedTuple):
    """A campaign with a timer, its place among those in force, and the kind of its timer."""

    place: int
    campaign: Campaign
    kind: Timer


@dataclass(slots=True)
class Programme:
    """Campaigns, customers and features of one shard.

    Attributes:
        granting: the campaigns in force.
        population: what the shard knows of all its customers.
        features: rows of the feature matrix, for conditions without an event.
        refused: redemptions that were refused, by reason, counted.
        due_ms: when something is next due to the customer who was brought up last, before anything else happens.
        on_event, on_transition: places of the campaigns that an event's type or a step of a state sets off, by rank.
        timers, finds: campaigns with a timer, and of each how to find when it is next due, and the consent it needs.
    """

    granting: Granting
    population: Population = field(default_factory=Population)
    features: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    due_ms: int = 0
    on_event: dict[str, list[int]] = field(init=False, default_factory=dict)
    on_transition: dict[tuple[str, str, str], list[int]] = field(init=False, default_factory=dict)
    timers: list[Timed] = field(init=False, default_factory=list)
    finds: list[tuple[Find, Campaign, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        """Sort campaigns by what sets them off, those of the highest priority first."""
        for place in ranked(self.granting.campaigns):
            campaign = self.granting.campaigns[place]
            for name in campaign.trigger.events:
                self.on_event.setdefault(name, []).append(place)
            for step in campaign.trigger.steps:
                self.on_transition.setdefault((campaign.trigger.dimension, *step), []).append(place)
            kind = timer_of(campaign)
            if kind is not None:
                self.timers.append(Timed(place, campaign, kind))
                self.finds.append((kind.next, campaign, campaign.consent))

    def row(self, customer: Customer, at_ms: int) -> Row:
        """What conditions see where there is no event."""
        return self.bound(row_of_nothing(self.features, at_ms), customer, at_ms)

    def bound(self, row: Row, customer: Customer, now_ms: int) -> Row:
        """The row with the customer: each name is worked out once, when a condition asks."""
        known: dict[str, Any] = {}

        def value(name: str) -> Any:
            if name not in known:
                known[name] = value_of(name, customer, now_ms, self.population)
            return known[name]

        row.customer = value
        for name in self.granting.early:
            value(name)
        return row
