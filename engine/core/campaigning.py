"""Campaigns at work in a shard: its customers' records, their timers, and what the shard knows of all of them.

What a customer does is taken in row by row; what time brings to those who do nothing comes at the full hour of the
shard's clock, before the first event of it. Each customer has one timer that counts, always at a full hour: it only
wakes. What is due is in the record, so that a timer too many changes nothing.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.campaign_state import CampaignState
from engine.core.claims import Claims
from engine.core.clock import UNSET, ShardClock
from engine.core.correspondence import Correspondence
from engine.core.customers import WAKES, Customers, Record, customer_key, is_customer
from engine.core.effects import Output
from engine.core.happenings import Concerning, closing, happening, output, resolves
from engine.core.instants import parse_time
from engine.core.judging import Noted
from engine.core.lifetimes import Lifetimes
from engine.core.records_needed import RecordsNeeded
from engine.core.stretches import STRETCH_MS
from engine.core.timers import Timer, Timers
from engine.domain.events import Control, ControlAlertResolved, ControlBudget, ControlReward, Event
from engine.domain.fields import STRING_INDEX
from engine.domain.times import DAY_MS
from engine.domain.trainer import Inline, Trainer
from engine.engagement.customer.codec import Stored
from engine.engagement.customer.states import NEVER
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.keys import narrow
from engine.engagement.marketing.abuse import LEGITIMATE, MARK_FIELDS, marks_of
from engine.engagement.marketing.choosing import Bandits
from engine.engagement.marketing.granting import Granting, Rules
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.marketing import Marketing
from engine.features.columns import Columns
from engine.ruleset.ruleset import Frame, RuleSet

FORGET_MS: Final = 7 * 86_400_000
"""Where nothing is stored, what is over of a ledger goes once a week: a ledger is looked through for it."""

_PAYMENT: Final = STRING_INDEX["payment_id"]
_ACCOUNT: Final = ("account.registered", "account.updated")

Parts = list[tuple[int, Output]]


class Campaigning:
    """See the module.

    Args:
        rules: what is the operator's to say.
        head: the small state of the shard.
        clock, timers: of the shard.
        lateness_ms: the allowed lateness.
        backed: a state store stands behind.
        trainer: where models of lifetimes are fitted; None: in the caller's time.
        find: a rule set by its hash, None where it is not at hand.
    """

    def __init__(
        self,
        rules: Rules,
        head: Mapping[bytes, bytes],
        clock: ShardClock,
        timers: Timers,
        *,
        lateness_ms: int,
        backed: bool,
        trainer: Trainer | None = None,
        find: Callable[[str], RuleSet | None] = lambda ruleset: None,
    ) -> None:
        self._rules = rules
        self._clock, self._timers = clock, timers
        self._late = lateness_ms
        self._backed = backed
        self._customers = Customers(backed=backed)
        self.claims = Claims(backed=backed)
        self._state = state = CampaignState(head, rules.exponent)
        self._budgets, self._effects = state.budgets, state.effects
        self._bandits, self._population = state.bandits, state.population
        self._lifetimes = Lifetimes(head, self._population, trainer or Inline(), backed=backed)
        self._needed = RecordsNeeded(self._customers, timers)
        self._letters = Correspondence(self._customers, self._budgets, lateness_ms, find)
        self._touched = self._letters.touched
        self.refused: Counter[str] = Counter()  # redemptions, by reason, until somebody takes them

    def adopt(self, ruleset: RuleSet, shard: int, shards: int) -> None:
        """Another rule set is in force: budgets, counters and what was granted stay."""
        self._budgets.adopt(ruleset.live, shard, shards)
        self.claims.adopt(ruleset.live, shard, shards)
        granting = Granting(
            ruleset.live, ruleset.live_conditions, self._rules, self._budgets, self._effects, self._bandits,
            identities=self.claims.identities,
        )  # fmt: skip
        self._marking = any(one.self_referral for one in ruleset.live)
        self._marketing = Marketing(granting, self._population, len(ruleset.rows), self.refused)
        self._letters.adopt(self._marketing, shards, ruleset.hash)
        self._concerning = Concerning(ruleset.live, ruleset.live_conditions)
        self._needed.adopt(ruleset, self._concerning)

    @property
    def choices(self) -> Bandits:
        """What campaigns that choose have learned."""
        return self._bandits

    # State

    def missing(self, columns: Columns, controls: Sequence[Control], reach: int) -> list[bytes]:
        """Keys of records that a batch needs, if the clock comes as far as `reach` with it."""
        if not self._backed:
            return []
        return self.claims.missing(columns, self._had) + self._needed.missing(columns, controls, reach)

    def _had(self, place: int, event: Event) -> bool:
        """Whether a customer at hand has had all that a campaign ever gives them, so that nothing else matters."""
        campaign = self._marketing.granting.campaigns[place]
        record = self._customers.at_hand(customer_key(event.customer_id))
        if campaign.occasion != "customer" or record is None:
            return False
        record.read()
        return record.customer.counts.room(campaign.id, campaign.caps, 0, "") <= 0

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        """Take stored records into memory, once the timers are. Returns the keys of those whom loaded timers wake."""
        for key, value in zip(keys, values, strict=True):
            if is_customer(key):
                self._customers.load(key, value)
        return self._needed.further() if self._backed else []

    def evict(self, customers_max: int) -> None:
        """Bound what is held in memory."""
        self._customers.evict(customers_max)

    def flush(self) -> list[bytes]:
        """Packed operations that store what a batch changed."""
        changed = self._customers.changed
        ops = self._customers.flush(max(self._clock.now, 0)) + self._lifetimes.ops()
        changed, self._letters.moved = changed or self._letters.moved, False
        if not (changed and self._backed):
            return ops
        return ops + self._state.ops()

    # Time

    def wake(self, up_to_ms: int, now: int) -> list[Output]:
        """Everything that is due by a full hour, for those with a timer by then. `now`: where the clock stands."""
        made: list[Made] = []
        self._lifetimes.begin(up_to_ms)
        due = self._timers.take(up_to_ms, WAKES)
        while due:
            timer = heapq.heappop(due)
            record = self._customers.change(timer.owner)
            customer, customer_id = record.customer, timer.payload.decode()
            if customer.timer_ms > timer.due_ms:
                continue  # another counts
            customer.timer_ms = NEVER
            made += self._marketing.advance(customer_id, customer, timer.due_ms)
            if not self._backed and timer.due_ms >= record.forgot_ms + FORGET_MS:
                customer.ledger.forget(timer.due_ms)
                record.forgot_ms = timer.due_ms
            self._note(record, self._marketing.due_ms)
            hour = self._hour(record, timer.due_ms)
            if hour <= up_to_ms:
                heapq.heappush(due, Timer(hour, WAKES, timer.owner, timer.payload))
            elif hour < NEVER:
                self._timers.schedule(Timer(hour, WAKES, timer.owner, timer.payload), now)
        made += self._letters.post(up_to_ms)
        return [output(one) for one in made]

    def _note(self, record: Record, due_ms: int) -> None:
        """When something is next due to a customer, as lifetimes are fitted now."""
        record.touched, record.due_ms, record.fit = False, due_ms, self._population.alive

    @staticmethod
    def _hour(record: Record, after_ms: int) -> int:
        """The full hour after a time for which a customer's timer is to be set; `NEVER` where none is needed, or one is
        set that is early enough."""
        if record.due_ms >= NEVER:
            return NEVER
        hour = max(-(-record.due_ms // STRETCH_MS), after_ms // STRETCH_MS + 1) * STRETCH_MS
        if hour >= record.customer.timer_ms:
            return NEVER
        record.customer.timer_ms = hour
        return hour

    def settle(self, now: int) -> None:
        """After some rows: set the timers of whom they concerned. `now`: the clock after them."""
        for record, customer_id in self._touched.values():
            if record.touched:
                self._note(record, self._marketing.next_due(record.customer))
            hour = self._hour(record, now)
            if hour < NEVER:
                self._timers.schedule(Timer(hour, WAKES, record.key, customer_id.encode()), now)
        self._touched.clear()

    # Events

    def rows(
        self,
        columns: Columns,
        clock: NDArray[np.int64],
        positions: Sequence[int],
        noted: Noted,
        frame: Callable[[NDArray[np.intp]], Frame],
    ) -> Parts:
        """Take in accepted rows, in order.

        Args:
            columns: the rows.
            clock: after each of them, int64 `(n,)`.
            positions: index of each row's record in the batch as received.
            noted: what campaigns have to know of the decisions among them.
            frame: what rules see of the given rows.
        """
        parts: Parts = []
        some = self._concerning.rows(columns)
        concerned = self._concerning.seen(frame(some).batch()) if len(some) else {}
        places = {some.item(place): one for place, one in concerned.items()}
        shown = columns.strings[MARK_FIELDS].T.tolist() if places and self._marking else []
        doubts, crowds = noted
        for row in sorted({*places, *doubts, *crowds}) if doubts or crowds else places:
            event, now = columns.events[row], clock.item(row)
            time_ms = self._clock.believed(columns.time_ms.item(row), now)
            if (row in doubts or row in crowds) and event.payment_id:
                key, payment = customer_key(event.customer_id), narrow(columns.strings.item(_PAYMENT, row))
                if row in doubts:
                    self._customers.note(key, judged(payment, doubts[row], max(now, time_ms)))
                if row in crowds:
                    self._customers.crowd(key, payment, time_ms // DAY_MS, crowds[row])
            if row in places:
                told = happening(columns, row, places[row], time_ms)
                if shown:
                    seen = marks_of(shown[row])
                    self._customers.change(customer_key(event.customer_id)).customer.suspected.see(seen)
                made = self._take(event.customer_id, told, now)
                if self.claims:
                    self.claims.note(positions[row])
                parts += [(positions[row], output(one)) for one in made]
        if places:
            self.settle(clock.item(-1))
        return parts

    def _take(self, customer_id: str, told: Happening, now: int) -> list[Made]:
        """Take in what happens to a customer, after time has come up to it: their own, be it ahead of the shard's or
        behind. `now`: where the clock stands."""
        record, made = self._customers.change(customer_key(customer_id)), list[Made]()
        customer, own = record.customer, told.time_ms - self._late
        known = not record.touched and record.due_ms > 0 and record.fit is self._population.alive
        behind = own < now - now % STRETCH_MS  # of who is behind the shard, a timer may stand later than what is due
        if record.due_ms <= own if known else record.touched or behind or own > customer.timer_ms - STRETCH_MS:
            made = self._marketing.advance(customer_id, customer, own)
        else:  # nothing is due before its timer
            customer.clock_ms = max(customer.clock_ms, own)
        before = (customer.zone, customer.birth, customer.consent) if told.type in _ACCOUNT else None
        fresh, waits = not customer.registered_ms, customer.measured
        made += self._marketing.event(customer_id, customer, told)
        made += self._letters.post(now)
        self._lifetimes.note(record.key, customer.history)
        fresh = fresh or waits != customer.measured
        if not (made or fresh) and before == (customer.zone, customer.birth, customer.consent):
            return made  # nothing that time depends on has changed
        if told.type == "account.erased":
            record.stored = Stored()  # what was stored goes
        self._note(record, self._marketing.next_due(customer))  # now, while all of the customer is at hand
        self._touched[record.key] = record, customer_id
        return made

    def control(self, event: Control, now: int) -> list[Output]:
        """Take in a control event that is about campaigns or customers; the clock stands at `now`."""
        if isinstance(event, ControlBudget):
            made = self._letters.budget(event, now)
        elif isinstance(event, ControlReward):
            made = self._letters.reward(event, now)
        else:
            made = self._resolved(event, now) if resolves(event) else []
        self.settle(now)
        return [output(one) for one in made]

    def _resolved(self, event: ControlAlertResolved, now: int) -> list[Made]:
        """Somebody closed an alert. One that froze rewards releases them or takes them back; of another that was found
        to be wrong the customer's campaigns are told. Where the customer is known here."""
        record = self._customers.at_hand(customer_key(event.customer_id or ""))
        if record is None or not record.known or now == UNSET:
            return []
        record.read()
        froze = event.alert_id in record.customer.suspected.open
        if not froze and event.resolution != LEGITIMATE:
            return []
        told = closing(event, froze, self._marketing.features, self._clock.believed(parse_time(event.event_time), now))
        return self._take(event.customer_id or "", told, now)
