"""The campaigns in force and all that they share: rules, conditions, budgets, effects, what bandits learned, letters.

What is granted, and in which order it is looked at, stands in `giving`; this says what there is to grant from.
"""

from dataclasses import dataclass, field
from typing import Final

from engine.domain.currencies import EXPONENTS
from engine.domain.draws import drawn
from engine.domain.events import ControlReward
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.budgets import Budgets
from engine.engagement.marketing.choosing import Bandits
from engine.engagement.marketing.effects import Effects
from engine.engagement.marketing.identities import Identities
from engine.ruleset.campaigns.conditions import Conditions, read_of_customer
from engine.ruleset.campaigns.model import BANDIT, Campaign

CHANGED_BY_GRANTS: Final = ("points_pending",)
"""What campaigns may read of a customer that a grant changes: all of one event read it as it was before the first."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is the operator's to say.

    Attributes:
        exponent: of the base currency.
        salt: of the holdouts; another salt draws others.
        holdout: share of customers who get no campaign at all, to compare with; 0 for none.
    """

    exponent: int = 2
    salt: str = "steward"
    holdout: float = 0.0


@dataclass(slots=True)
class Granting:
    """Campaigns in force, their conditions, their budgets and what they did."""

    campaigns: list[Campaign]
    conditions: Conditions
    rules: Rules = field(default_factory=Rules)
    budgets: Budgets = field(default_factory=Budgets)
    effects: Effects = field(default_factory=Effects)
    bandits: Bandits = field(default_factory=Bandits)
    letters: list[ControlReward] = field(default_factory=list)
    identities: Identities = field(default_factory=Identities)
    origins: dict[str, tuple[str, Customer, int]] = field(default_factory=dict)
    early: tuple[str, ...] = field(init=False, default=())  # of the customer, what grants change while others are asked
    _known: dict[str, Campaign] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Know campaigns by what lots and offers name."""
        self._known = {campaign.key: campaign for campaign in self.campaigns}
        names = {name for campaign in self.campaigns for name in read_of_customer(campaign)}
        self.early = tuple(sorted(names.intersection(CHANGED_BY_GRANTS)))
        for key, campaign in self._known.items():
            if campaign.choose == BANDIT:
                self.bandits.adopt(key, campaign)
            if campaign.reward is not None:
                reward = campaign.reward
                self.effects.tally(key).describe(reward.kind, reward.currency, reward.worth)
            else:
                self.effects.tally(key).describe(
                    "offer", next((o.currency for o in campaign.offers if o.worth), ""), 0.0
                )

    def of(self, key: str) -> Campaign | None:
        """The campaign of an id and version, None where it is not in force."""
        return self._known.get(key)

    def held(self, campaign: Campaign, customer_id: str) -> bool:
        """Whether a customer is held out, of the campaign or of all: by a salted hash, for ever the same."""
        salt, everywhere, here = self.rules.salt, self.rules.holdout, campaign.holdout
        return (everywhere > 0 and drawn(salt, "all", customer_id) < everywhere) or (
            here > 0 and drawn(salt, campaign.key, customer_id) < here
        )

    def cost(self, campaign: Campaign, units: int) -> int:
        """What so many units of a campaign's reward cost its budget; 0 where it has none."""
        if campaign.budget is None or campaign.reward is None:
            return 0
        return units * self.worth(campaign) if campaign.reward.kind == "coupon" else units

    def exponent_of(self, currency: str) -> int:
        """Of a currency, the base currency's where it is not known."""
        return EXPONENTS.get(currency, self.rules.exponent)

    def worth(self, campaign: Campaign) -> int:
        """What a coupon or offer costs the campaign's budget at most, in minor units."""
        if campaign.budget is None:
            return 0
        most = [campaign.reward.worth] if campaign.reward is not None else [one.worth for one in campaign.offers]
        return round(max(most) * 10.0 ** self.exponent_of(campaign.budget.currency))
