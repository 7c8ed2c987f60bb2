"""Campaigns at work in a shard: its customers' records, their timers, and what the shard knows of all of them.

What a customer does is taken in row by row; what time brings to those who do nothing comes at the full hour of the
shard's clock, before the first event of it. Each customer has one timer that counts, always at a full hour: it only
wakes. What is due is in the record, so that a timer too many changes nothing.
"""

import heapq
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.claims import Claims
from engine.core.clock import UNSET, ShardClock
from engine.core.customers import Customers, Record, customer_key, is_customer
from engine.core.effects import Output
from engine.core.happenings import Concerning, happening, output
from engine.core.instants import parse_time
from engine.core.letters import budget_letter, transfer_of
from engine.core.lifetimes import Lifetimes
from engine.core.stretches import STRETCH_MS
from engine.core.timers import Timer, Timers
from engine.domain.events import Control, ControlAlertResolved, ControlBudget, ControlReward, Event
from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_HEAD, SET, Op, pack
from engine.domain.trainer import Inline, Trainer
from engine.engagement.customer.codec import Stored
from engine.engagement.customer.customer import Population
from engine.engagement.customer.states import NEVER
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.keys import narrow
from engine.engagement.ledger.payments import REFUSED
from engine.engagement.marketing.abuse import LEGITIMATE, MARK_FIELDS, marks_of
from engine.engagement.marketing.abuse import RESOLVED as LOOKED_AT
from engine.engagement.marketing.budgets import Budgets
from engine.engagement.marketing.choosing import Bandits
from engine.engagement.marketing.effects import Effects
from engine.engagement.marketing.granting import Granting, Rules
from engine.engagement.marketing.happening import Happening, Made, row_of_nothing
from engine.engagement.marketing.marketing import Marketing
from engine.engagement.models.ranks import Ranks
from engine.features.columns import Columns
from engine.ruleset.campaigns.model import ALERT_RESOLVED as RESOLVED
from engine.ruleset.campaigns.model import Campaign, campaign_key
from engine.ruleset.ruleset import Frame, RuleSet

HEAD_POPULATION: Final = KEY_HEAD + b"population"  # ranks of customers, deflated
HEAD_BUDGETS: Final = KEY_HEAD + b"budgets"
HEAD_BANDITS: Final = KEY_HEAD + b"bandits"  # what campaigns that choose have learned
HEAD_EFFECTS: Final = KEY_HEAD + b"effects"  # what campaigns gave, and did

WAKES: Final = 2
"""Kind of the timers that wake customers. The kind is stored: numbers are never used again for something else."""

FORGET_MS: Final = 7 * 86_400_000
"""Where nothing is stored, what is over of a ledger goes once a week: a ledger is looked through for it."""

_PAYMENT, _REFERRER = STRING_INDEX["payment_id"], STRING_INDEX["referrer_id"]
FOLLOWED: Final = frozenset(("payment.settled", "payment.refunded", "payment.chargeback", "label.assigned"))
"""Events after which a payment may stand otherwise than before."""
_ACCOUNT: Final = ("account.registered", "account.updated")
RANKS: Final = ("recency", "frequency", "money")

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
        self._budgets, self._effects = budgets_of(head), effects_of(head, rules.exponent)
        self._bandits = bandits_of(head, rules.exponent)
        self._population = population_of(head, rules.exponent)
        self._saved = self._small()
        self._lifetimes = Lifetimes(head, self._population, trainer or Inline(), backed=backed)
        self._reach = UNSET
        self._asked: dict[bytes, None] = {}  # keys of customers whose referrers may be told
        self._sharing = np.empty(0, np.uint64)  # types of event of which whoever referred the customer may be told
        self._moved = False  # a budget, by another shard
        self._find = find
        self._shards, self._ruleset = 1, ""
        self._touched: dict[bytes, tuple[Record, str]] = {}
        self.refused: Counter[str] = Counter()  # redemptions, by reason, until somebody takes them

    def adopt(self, ruleset: RuleSet, shard: int, shards: int) -> None:
        """Another rule set is in force: budgets, counters and what was granted stay."""
        self._budgets.adopt(ruleset.live, shard, shards)
        self._shards, self._ruleset = shards, ruleset.hash
        self.claims.adopt(ruleset.live, shard, shards)
        granting = Granting(
            ruleset.live, ruleset.live_conditions, self._rules, self._budgets, self._effects, self._bandits,
            identities=self.claims.identities,
        )  # fmt: skip
        both = [one for one in ruleset.live if one.reward is not None and one.reward.both]
        names = FOLLOWED.union(name for one in both for name in one.trigger.events)
        self._sharing = np.array([hash64(name) for name in names], np.uint64)
        self._marking = any(one.self_referral for one in ruleset.live)
        self._marketing = Marketing(granting, self._population, len(ruleset.rows), self.refused)
        self._concerning = Concerning(ruleset.live, ruleset.live_conditions)

    @property
    def choices(self) -> Bandits:
        """What campaigns that choose have learned."""
        return self._bandits

    # State

    def missing(self, columns: Columns, controls: Sequence[Control], reach: int) -> list[bytes]:
        """Keys of records that a batch needs, if the clock comes as far as `reach` with it."""
        self._reach, self._asked = reach, {}
        if not self._backed:
            return []
        events, rows = columns.events, self._concerning.rows(columns)
        keys = [customer_key(events[row].customer_id) for row in rows.tolist()]
        named = rows[columns.strings[_REFERRER, rows] != 0].tolist()
        keys += [customer_key(events[row].referrer_id) for row in named]
        told = rows[np.isin(columns.string("type")[rows], self._sharing)].tolist()
        mine = [customer_key(events[row].customer_id) for row in told]
        looked_at = [customer_key(event.customer_id or "") for event in controls if _resolves(event)]
        self._asked = dict.fromkeys(mine + looked_at)
        keys += looked_at
        keys += [customer_key(event.customer_id or "") for event in controls if isinstance(event, ControlReward)]
        return self.claims.missing(columns, self._had) + self._missing([*keys, *self._waking()])

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
        return self._missing(self._waking()) if self._backed else []

    def _missing(self, keys: list[bytes]) -> list[bytes]:
        """Those that memory does not hold; of those it holds, of whoever referred them, where they may be told."""
        for key in list(self._asked):
            record = self._customers.at_hand(key)
            if record is not None:
                record.read()
                keys += [customer_key(record.customer.referrer)] if record.customer.referrer else []
        return self._customers.missing(keys)

    def _waking(self) -> list[bytes]:
        return [timer.owner for timer in self._timers.due(self._reach) if timer.kind == WAKES]

    def evict(self, customers_max: int) -> None:
        """Bound what is held in memory."""
        self._customers.evict(customers_max)

    def flush(self) -> list[bytes]:
        """Packed operations that store what a batch changed."""
        changed = self._customers.changed
        ops = self._customers.flush(max(self._clock.now, 0)) + self._lifetimes.ops()
        changed, self._moved = changed or self._moved, False
        if not (changed and self._backed):
            return ops
        for key, value in self._small().items():
            if value != self._saved[key]:
                self._saved[key] = value
                ops.append(pack(Op(SET, key, value)))
        return ops

    def _small(self) -> dict[bytes, bytes]:
        """What is known of all customers, as stored."""
        return {
            HEAD_POPULATION: packed_population(self._population),
            HEAD_BUDGETS: msgspec.msgpack.encode(self._budgets.dump()),
            HEAD_EFFECTS: msgspec.msgpack.encode(self._effects.dump()),
            HEAD_BANDITS: msgspec.msgpack.encode(self._bandits.dump()),
        }

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
        made += self._post(up_to_ms)
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
        self._touched = {}

    # Events

    def rows(
        self,
        columns: Columns,
        clock: NDArray[np.int64],
        positions: Sequence[int],
        doubts: Mapping[int, int],
        frame: Callable[[NDArray[np.intp]], Frame],
    ) -> Parts:
        """Take in accepted rows, in order.

        Args:
            columns: the rows.
            clock: after each of them, int64 `(n,)`.
            positions: index of each row's record in the batch as received.
            doubts: rows whose decision campaigns have to know of, and what `judged` takes of each.
            frame: what rules see of the given rows.
        """
        parts: Parts = []
        some = self._concerning.rows(columns)
        concerned = self._concerning.seen(frame(some).batch()) if len(some) else {}
        places = {some.item(place): one for place, one in concerned.items()}
        shown = columns.strings[MARK_FIELDS].T.tolist() if places and self._marking else []
        for row in sorted({*places, *doubts}) if doubts else places:
            event = columns.events[row]
            if row in doubts and event.payment_id:
                now = clock.item(row)
                seen_ms = max(now, min(columns.time_ms.item(row), now + self._late))
                fact = judged(narrow(columns.strings.item(_PAYMENT, row)), doubts[row], seen_ms)
                self._customers.note(customer_key(event.customer_id), fact)
            if row in places:
                now = clock.item(row)
                told = happening(columns, row, places[row], now + self._late)
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
        """Take in what happens to a customer, after time has come up to it."""
        record, made = self._customers.change(customer_key(customer_id)), list[Made]()
        customer = record.customer
        known = not record.touched and record.due_ms > 0 and record.fit is self._population.alive
        if record.due_ms <= now if known else record.touched or now > customer.timer_ms - STRETCH_MS:
            made = self._marketing.advance(customer_id, customer, now)
        else:  # nothing is due before its timer
            customer.clock_ms = max(customer.clock_ms, now)
        before = (customer.zone, customer.birth, customer.consent) if told.type in _ACCOUNT else None
        fresh, waits = not customer.registered_ms, customer.measured
        made += self._marketing.event(customer_id, customer, told)
        made += self._post(now)
        self._lifetimes.note(record.key, customer.history)
        fresh = fresh or waits != customer.measured
        if not (made or fresh) and before == (customer.zone, customer.birth, customer.consent):
            return made  # nothing that time depends on has changed
        if told.type == "account.erased":
            record.stored = Stored()  # what was stored goes
        self._note(record, self._marketing.next_due(customer))  # now, while all of the customer is at hand
        self._touched[record.key] = record, customer_id
        return made

    def _post(self, now: int) -> list[Made]:
        """What others are to be told just now: referrers whom this shard knows are told at once, the rest goes out."""
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
        made = self._marketing.advance(referrer_id, customer, now)
        at_ms = max(customer.clock_ms, min(parse_time(letter.event_time), now + self._late))
        made += self._marketing.told(referrer_id, customer, letter, campaign, at_ms)
        record.touched = True
        self._touched[record.key] = record, referrer_id
        return made

    def control(self, event: Control, now: int) -> list[Output]:
        """Take in a control event that is about campaigns or customers; the clock stands at `now`."""
        if isinstance(event, ControlBudget):
            self._moved = True
            time_ms = parse_time(event.event_time) if now == UNSET else now
            answer = self._budgets.take(transfer_of(event))
            return [] if answer is None else [output((time_ms, budget_letter(answer, time_ms)))]
        return self._rewarded(event, now) if isinstance(event, ControlReward) else self.resolved(event, now)

    def _rewarded(self, event: ControlReward, now: int) -> list[Output]:
        """Another shard tells a referrer, where the referrer is known here."""
        record = self._customers.at_hand(customer_key(event.customer_id or ""))
        if record is None or not record.known or now == UNSET:
            return []
        found = self._find(event.ruleset) if event.ruleset is not None else None
        names = event.campaign_id, event.version
        campaign = next((one for one in found.live if (one.id, one.version) == names), None) if found else None
        made = self._told(record.key, event, campaign, now) + self._post(now)
        self.settle(now)
        return [output(one) for one in made]

    def resolved(self, event: Control, now: int) -> list[Output]:
        """Somebody closed an alert. One that froze rewards releases them or takes them back; of another that was found
        to be wrong the customer's campaigns are told. Where the customer is known here."""
        if not _resolves(event) or now == UNSET:
            return []
        assert isinstance(event, ControlAlertResolved) and event.customer_id is not None
        record = self._customers.at_hand(customer_key(event.customer_id))
        if record is None or not record.known:
            return []
        record.read()
        froze = event.alert_id in record.customer.suspected.open
        if not froze and event.resolution != LEGITIMATE:
            return []
        time_ms = min(parse_time(event.event_time), now + self._late)
        row = row_of_nothing(self._marketing.features, time_ms)
        text = {"alert_id": event.alert_id, "resolution": event.resolution}.get
        told = Happening(event.event_id, LOOKED_AT if froze else RESOLVED, time_ms, lambda: row, text,
                         payment_id=event.payment_id or event.alert_id)  # fmt: skip
        made = self._take(event.customer_id, told, now)
        self.settle(now)
        return [output(one) for one in made]


def _resolves(event: Control) -> bool:
    """Whether it was found out if somebody was suspected rightly, and it says who."""
    return isinstance(event, ControlAlertResolved) and event.resolution != "dismissed" and bool(event.customer_id)


def population_of(head: Mapping[bytes, bytes], exponent: int) -> Population:
    """What the shard knows of all its customers; `exponent` is that of the base currency."""
    population = Population.under(exponent)
    if HEAD_POPULATION in head:
        parts = msgspec.msgpack.decode(zlib.decompress(head[HEAD_POPULATION]))
        for name, stored in zip(RANKS, parts, strict=True):
            setattr(population, name, Ranks(stored))
    return population


def packed_population(population: Population) -> bytes:
    """As stored."""
    return zlib.compress(msgspec.msgpack.encode([getattr(population, name).dump() for name in RANKS]), 1)


def budgets_of(head: Mapping[bytes, bytes]) -> Budgets:
    """The shard's part of budgets, and what is left."""
    return Budgets.load(msgspec.msgpack.decode(head[HEAD_BUDGETS])) if HEAD_BUDGETS in head else Budgets()


def bandits_of(head: Mapping[bytes, bytes], exponent: int) -> Bandits:
    """What campaigns that choose have learned in the shard."""
    return Bandits(exponent, msgspec.msgpack.decode(head[HEAD_BANDITS]) if HEAD_BANDITS in head else None)


def effects_of(head: Mapping[bytes, bytes], exponent: int) -> Effects:
    """What campaigns gave and did in the shard; `exponent` is that of the base currency."""
    found = head.get(HEAD_EFFECTS)
    return Effects(exponent) if found is None else Effects.load(msgspec.msgpack.decode(found), exponent)


__all__ = ["REFUSED", "WAKES", "Campaigning"]
