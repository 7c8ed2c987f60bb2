"""Letters of a shard's campaigns: referrers whom the shard knows are told at once, the rest goes out; what comes in.

What is due to whom something is told is looked at later, in `touched`.
"""

from collections.abc import Callable

import msgspec

from engine.core.clock import UNSET
from engine.core.customers import Customers, Record, customer_key
from engine.core.instants import parse_time
from engine.core.letters import budget_letter, transfer_of
from engine.domain.events import ControlBudget, ControlReward
from engine.engagement.marketing.budgets import Budgets
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.marketing import Marketing
from engine.ruleset.campaigns.model import Campaign, campaign_key
from engine.ruleset.ruleset import RuleSet


class Correspondence:
    """See the module.

    Args:
        customers, budgets: of the shard.
        lateness_ms: the allowed lateness.
        find: a rule set by its hash, None where it is not at hand.

    Attributes:
        touched: by key, customers to whom something happened since it was emptied, with their ids.
        moved: a budget has been, by another shard, since this was set to False.
    """

    def __init__(
        self, customers: Customers, budgets: Budgets, lateness_ms: int, find: Callable[[str], RuleSet | None]
    ) -> None:
        self._customers, self._budgets = customers, budgets
        self._late, self._find = lateness_ms, find
        self._shards, self._ruleset = 1, ""
        self.touched: dict[bytes, tuple[Record, str]] = {}
        self.moved = False

    def adopt(self, marketing: Marketing, shards: int, ruleset: str) -> None:
        """Another rule set is in force, of this hash, in one of so many shards."""
        self._marketing, self._shards, self._ruleset = marketing, shards, ruleset

    def post(self, now: int) -> list[Made]:
        """What others are to be told just now; also what telling those whom this shard knows has made."""
        letters, made = self._marketing.granting.letters, list[Made]()
        if not (letters or self._budgets.short):
            return made
        while letters:
            letter = letters.pop(0)
            campaign = self._marketing.granting.of(campaign_key(letter.campaign_id, letter.version))
            record = self._customers.at_hand(customer_key(letter.customer_id or ""))
            if record is not None and record.known:
                made += self._told(record.key, letter, campaign, now)
            elif self._shards > 1:
                named = msgspec.structs.replace(letter, ruleset=self._ruleset) if letter.units else letter
                made.append((parse_time(letter.event_time), named))
        self._marketing.granting.origins.clear()
        return made + [(now, budget_letter(one, now)) for one in self._budgets.requests(now)]

    def _told(self, key: bytes, letter: ControlReward, campaign: Campaign | None, now: int) -> list[Made]:
        """A referrer is told, after time has come up to it; nothing where they were erased, or never did anything."""
        record, referrer_id = self._customers.change(key), letter.customer_id or ""
        customer = record.customer
        if not customer.registered_ms:
            return []
        told_ms = min(parse_time(letter.event_time), now + self._late)
        made = self._marketing.advance(referrer_id, customer, told_ms - self._late)
        at_ms = max(customer.clock_ms, told_ms)
        made += self._marketing.told(referrer_id, customer, letter, campaign, at_ms)
        record.touched = True
        self.touched[record.key] = record, referrer_id
        return made

    def budget(self, event: ControlBudget, now: int) -> list[Made]:
        """Another shard wants a part of a budget, or gives one; the answer."""
        self.moved = True
        time_ms = parse_time(event.event_time) if now == UNSET else now
        answer = self._budgets.take(transfer_of(event))
        return [] if answer is None else [(time_ms, budget_letter(answer, time_ms))]

    def reward(self, event: ControlReward, now: int) -> list[Made]:
        """Another shard tells a referrer, where the referrer is known here."""
        record = self._customers.at_hand(customer_key(event.customer_id or ""))
        if record is None or not record.known or now == UNSET:
            return []
        found = self._find(event.ruleset) if event.ruleset is not None else None
        names = event.campaign_id, event.version
        campaign = next((one for one in found.live if (one.id, one.version) == names), None) if found else None
        return self._told(record.key, event, campaign, now) + self.post(now)
