"""Engagement of one shard's customers: time and events in; rewards, offers, transitions and alerts out.

Pure and deterministic: everything follows from the customer's own record, what the shard knows of all (`Population`,
budgets), and what it is told. Before an event is taken in, time comes up to it (`advance`), one instant after another:
the ledger's movements, transitions, campaigns whose timer is due, offers whose time to be sent has come.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from engine.domain.events import ControlReward
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Lifecycle, Reason
from engine.domain.times import rfc3339
from engine.engagement.calendar import is_zone, parse_day
from engine.engagement.customer.customer import Customer, Population
from engine.engagement.customer.history import Paid
from engine.engagement.customer.names import value_of
from engine.engagement.customer.states import NEVER, Transition
from engine.engagement.ledger.entries import Cause, entries
from engine.engagement.ledger.ledger import HORIZON_MS
from engine.engagement.ledger.lots import CASHBACK, POINTS, Movement
from engine.engagement.marketing.abuse import LEGITIMATE, RESOLVED, SELF_REFERRAL, common, own_marks
from engine.engagement.marketing.budgets import key_of
from engine.engagement.marketing.granting import Due, Granting, offer_of, ranked
from engine.engagement.marketing.happening import Happening, Made, row_of_nothing
from engine.engagement.marketing.occasions import Find, Timer, passed_over, timer_of
from engine.engagement.marketing.offers import Open
from engine.engagement.marketing.redeeming import groundless, use
from engine.engagement.marketing.referring import follow, share, standing
from engine.engagement.marketing.refusing import NO_COUPON, NOT_ENOUGH, fault_of, refusal
from engine.engagement.marketing.rescheduling import reschedule
from engine.ruleset.campaigns.model import Campaign, OfferSpec
from engine.ruleset.campaigns.suspecting import Found
from engine.ruleset.row import Row

TIMER: Final = "timer"
SECOND_MS: Final = 1_000


class Timed(NamedTuple):
    """A campaign with a timer, its place among those in force, and the kind of its timer."""

    place: int
    campaign: Campaign
    kind: Timer


@dataclass(slots=True)
class Marketing:
    """See the module.

    Attributes:
        granting: the campaigns in force.
        population: what the shard knows of all its customers.
        features: rows of the feature matrix, for conditions without an event.
        refused: redemptions that were refused, by reason, counted.
        due_ms: when something is next due to the customer who was brought up last, before anything else happens.
    """

    granting: Granting
    population: Population = field(default_factory=Population)
    features: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    due_ms: int = 0
    _events: dict[str, list[int]] = field(init=False, default_factory=dict)
    _transitions: dict[tuple[str, str, str], list[int]] = field(init=False, default_factory=dict)
    _timers: list[Timed] = field(init=False, default_factory=list)
    _finds: list[tuple[Find, Campaign, str]] = field(init=False, default_factory=list)  # of each timer; its consent

    def __post_init__(self) -> None:
        """Sort campaigns by what sets them off, those of the highest priority first."""
        for place in ranked(self.granting.campaigns):
            campaign = self.granting.campaigns[place]
            for name in campaign.trigger.events:
                self._events.setdefault(name, []).append(place)
            for step in campaign.trigger.steps:
                self._transitions.setdefault((campaign.trigger.dimension, *step), []).append(place)
            kind = timer_of(campaign)
            if kind is not None:
                self._timers.append(Timed(place, campaign, kind))
                self._finds.append((kind.next, campaign, campaign.consent))

    # Time

    def next_due(self, customer: Customer) -> int:
        """When something of a customer is next due by time alone; `NEVER` for nothing."""
        return min(self._own_due(customer), *self._instants(customer))

    def advance(self, customer_id: str, customer: Customer, now_ms: int) -> list[Made]:
        """Bring a customer up to an instant: what is due happens, each at its own time. `due_ms` is what comes next."""
        made: list[Made] = []
        while True:
            instants = self._instants(customer)
            at = min(self._own_due(customer), *instants)
            if at > now_ms:
                break
            if customer.measured:
                self.granting.effects.observe(customer.exposures.close(at, customer.history))
                self.granting.bandits.learn(customer.choices.close(at, customer.history))
            set_off = [
                (one.place, one.kind.text(one.campaign.trigger, customer, at))
                for one, when in zip(self._timers, instants, strict=False)
                if when == at
            ]
            for happened in customer.advance(at, self.population):
                made += self._entries(customer_id, customer, happened.moved, Cause(TIMER, rfc3339(happened.at_ms)))
                made += self._transitions_of(customer_id, customer, happened.transitions, TIMER)
            if set_off:
                rows, opens = [self._row(customer, at) for _ in set_off], self.granting.opens
                due = (
                    Due(place, at, TIMER, occasion, row)
                    for (place, occasion), row in zip(set_off, rows, strict=True)
                    if opens(place, customer, at, row)
                )
                made += self._run(customer_id, customer, due)
            if customer.offers.of:
                made += self._send(customer_id, customer, at)
            customer.clock_ms = max(customer.clock_ms, at)
        customer.clock_ms = max(customer.clock_ms, now_ms)
        self.due_ms = at
        return made

    def _instants(self, customer: Customer) -> list[int]:
        """When the timer of each campaign that has one is next due, in their order, `NEVER` after the last. One that
        needs a consent that is not given does nothing until it is, which is looked at then."""
        after_ms, consent = customer.clock_ms, customer.consent
        found = [
            find(campaign.trigger, campaign, customer, after_ms) if not purpose or consent.get(purpose) else NEVER
            for find, campaign, purpose in self._finds
        ]
        found.append(NEVER)
        return found

    def _own_due(self, customer: Customer) -> int:
        """When something is next due that no campaign's timer brings."""
        due = customer.next_due(self.population)
        if customer.offers.of:
            due = min(due, customer.offers.next_due())
        if customer.measured:
            due = min(due, customer.exposures.next_due(), customer.choices.next_due())
        return due

    # Events

    def event(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        """Take in an event of a customer who has been brought up to it."""
        customer.seen(happening.time_ms)
        before = standing(customer, happening.payment)
        handle = _HANDLERS.get(happening.type)
        made = handle(self, customer_id, customer, happening) if handle is not None else []
        if made is None:  # a repeat under another event id: no campaign either
            return []
        now = max(customer.clock_ms, happening.time_ms)
        if customer.referrer and happening.payment:
            what = happening.payment, before, now, happening.event_id
            self.granting.letters += follow(customer_id, customer, *what)
        places = self._events.get(happening.type) if happening.able is None else happening.able
        if places:
            row = self._bound(happening.row(), customer, now)
            why = happening.event_id, happening.payment_id or happening.event_id
            about, opens = happening.payment, self.granting.opens
            due = (
                Due(place, now, *why, row, about, happening.payment_id)
                for place in places
                if opens(place, customer, now, row, about)
            )
            made = made + self._run(customer_id, customer, due)
        if happening.type == "payment.settled":
            moved = customer.ledger.reclaim(happening.payment, now)
            if moved:
                made += self._entries(customer_id, customer, moved, _cause(happening, "refunded before it settled"))
        return made

    def _settled(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made] | None:
        now = max(customer.clock_ms, happening.time_ms)
        if not customer.ledger.settle(happening.payment, happening.minor, now):
            return None
        second = happening.time_ms // SECOND_MS * SECOND_MS
        paid = Paid(second, happening.payment, happening.base_minor, 0, happening.method, happening.category,
                    happening.currency)  # fmt: skip
        entry = customer.ledger.payments[happening.payment]
        if entry.lost:
            return []  # declined, fraud or charged back before it settled
        customer.enter(paid)
        # What was taken back before it settled never counted: no tier is reached by it.
        taken = self._keeps(customer, happening.payment, now) if entry.refunded else []
        made = taken or customer.look(max(customer.clock_ms, second), self.population)
        return self._transitions_of(customer_id, customer, made, happening.event_id) if made else []

    def _keeps(self, customer: Customer, payment: int, now: int) -> list[Transition]:
        """Something was taken back: the history keeps the share of a payment, at its own rate, that the ledger does."""
        entry, paid = customer.ledger.payments.get(payment), customer.history.of(payment)
        if entry is None or paid is None or not entry.settled or paid.time_ms < now - HORIZON_MS:
            return []  # nothing changes, and it may have been forgotten, when is a matter of chance
        if entry.lost:
            return customer.lose(payment, now, self.population)
        back = paid.minor * min(entry.refunded, entry.settled) // entry.settled
        return customer.refund(payment, back, now, self.population) if back > paid.refunded else []

    def _given_back(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made] | None:
        ledger, now = customer.ledger, max(customer.clock_ms, happening.time_ms)
        if happening.reference in ledger.done:
            return None
        charged = happening.type == "payment.chargeback"
        take = ledger.charge_back if charged else ledger.refund
        moved = take(happening.payment, happening.reference, _in_its_currency(customer, happening), now)
        why = "charged back" if charged else "refunded"
        made = self._entries(customer_id, customer, moved, _cause(happening, why))
        if charged:
            customer.disputed(now)
        transitions = self._keeps(customer, happening.payment, now)
        made += self._transitions_of(customer_id, customer, transitions, happening.event_id)
        about = groundless(self.granting, customer, happening.payment)
        return made + self._withdraw(customer_id, customer, about, now, why)

    def _called_off(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        """A payment will not settle: what was granted ahead of that is taken back, offers about it are withdrawn."""
        now, why = max(customer.clock_ms, happening.time_ms), "the payment was cancelled"
        moved = customer.ledger.call_off(happening.payment, now)
        about = [one for one in customer.offers.unsent() if one.payment == happening.payment]
        made = self._entries(customer_id, customer, moved, _cause(happening, why))
        return made + self._withdraw(customer_id, customer, about, now, why)

    def _labelled(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        """A payment turned out to be fraud: all it earned is taken back."""
        if happening.text("label") != "fraud":
            return []
        now, ledger = max(customer.clock_ms, happening.time_ms), customer.ledger
        entry = ledger.payments.get(happening.payment)
        if entry is None and happening.payment in ledger.done:
            return []  # long over
        ledger.block(happening.payment, now)
        settled, reference = ledger.payments[happening.payment].settled, happening.reference
        take = ledger.charge_back(happening.payment, reference, settled, now) if settled else []
        moved = take or ledger.reclaim(happening.payment, now, reference)
        made = self._entries(customer_id, customer, moved, _cause(happening, "the payment was fraud"))
        transitions = self._keeps(customer, happening.payment, now)
        made += self._transitions_of(customer_id, customer, transitions, happening.event_id)
        about = groundless(self.granting, customer, happening.payment)
        return made + self._withdraw(customer_id, customer, about, now, "the payment was fraud")

    def _account(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        text, newer = happening.text, happening.time_ms >= customer.told_ms
        before, born = customer.zone, customer.birth
        customer.told_ms = max(customer.told_ms, happening.time_ms)
        zone, birth = text("timezone") or "", text("birth_date") or ""
        said = {
            "zone": zone if is_zone(zone) else "",  # what cannot be read replaces nothing
            "locale": text("locale"),
            "country": text("country"),
            "birth": birth if parse_day(birth) else "",
        }
        for name, value in said.items():
            if value and (newer or not getattr(customer, name)):  # what came late is older than what is known
                setattr(customer, name, value)
        customer.referrer = customer.referrer or text("referrer_id") or ""  # the first counts: they are rewarded
        made: list[Made] = []
        if happening.consent:
            made = self.consented(customer_id, customer, happening.consent, happening.time_ms)
        if customer.zone == before:
            return made
        made += self._jumped(customer_id, customer, before) if customer.birth == born else []
        return made + reschedule(self.granting, customer_id, customer, max(customer.clock_ms, happening.time_ms))

    def _jumped(self, customer_id: str, customer: Customer, before: str) -> list[Made]:
        """A birthday that a change of time zone has jumped over is kept at once."""
        at, opens, due = customer.clock_ms, self.granting.opens, list[Due]()
        for one in self._timers:
            occasion = passed_over(one.campaign.trigger, customer, before, at)
            if occasion is not None:
                due.append(Due(one.place, at, TIMER, occasion, self._row(customer, at)))
        return self._run(customer_id, customer, (one for one in due if opens(one.place, customer, at, one.row)))

    def _erased(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        """The customer leaves: offers are withdrawn, what is left is taken back, and of all that was known only
        business keys and debts stay, under the digest of the id."""
        now, why = max(customer.clock_ms, happening.time_ms), "the account was erased"
        made = self._withdraw(customer_id, customer, customer.offers.unsent(), now, why)
        made += self._entries(customer_id, customer, customer.ledger.close(now), _cause(happening, why))
        customer.unrank(self.population)
        self.granting.effects.drop(customer.exposures)
        customer.become(Customer(ledger=customer.ledger.keys_only(), clock_ms=customer.clock_ms,
                                 timer_ms=customer.timer_ms))  # fmt: skip
        return made

    def _answered(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        kind, score = happening.text("kind"), happening.number
        if kind in ("nps", "csat") and score == score:
            now = max(customer.clock_ms, happening.time_ms)
            if customer.answer(kind, score, now):
                muted = [one for one in customer.offers.unsent() if one.purpose]
                why = "a bad answer: marketing is silent"
                return [(now, service_case(customer_id, happening, kind, score)),
                        *self._withdraw(customer_id, customer, muted, now, why)]  # fmt: skip
        return []

    def consented(self, customer_id: str, customer: Customer, consent: dict[str, bool], time_ms: int) -> list[Made]:
        """Consent was given or withdrawn: offers that need what is withdrawn are, too."""
        customer.agree(consent, time_ms)
        now_ms = max(customer.clock_ms, time_ms)
        lost = [one for one in customer.offers.unsent() if one.purpose and not customer.consent.get(one.purpose)]
        return self._withdraw(customer_id, customer, lost, now_ms, "consent was withdrawn")

    def _redeemed(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        now, fault = max(customer.clock_ms, happening.time_ms), fault_of(happening.number)
        made = self._come(customer_id, customer, now)
        whole = 0 if fault else int(happening.number)
        moved = customer.ledger.redeem((POINTS, ""), whole, happening.reference, now)
        if moved is None:
            return made + self._refuse(customer_id, customer, happening, fault or NOT_ENOUGH, now)
        return made + self._entries(customer_id, customer, moved, _cause(happening, "redeemed"))

    def _refuse(self, customer_id: str, customer: Customer, happening: Happening, why: str, now: int) -> list[Made]:
        self.refused[why] += 1
        alert = refusal(customer_id, customer, happening, why, now)
        return [] if alert is None else [(now, alert)]

    def _come(self, customer_id: str, customer: Customer, now: int) -> list[Made]:
        """What becomes active or expires by the time that the customer's event says, ahead of the shard's clock: who
        was told a day can spend on it."""
        made, ledger = list[Made](), customer.ledger
        while (at := ledger.next_due()) <= now:
            made += self._entries(customer_id, customer, ledger.advance(at), Cause(TIMER, rfc3339(at)))
        return made

    def _looked_at(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        """Somebody has looked at what was frozen: it is released, or taken back."""
        legitimate = happening.text("resolution") == LEGITIMATE
        now = max(customer.clock_ms, happening.time_ms)
        alert_id = happening.text("alert_id") or ""
        lots = customer.suspected.open[alert_id].lots if legitimate and alert_id in customer.suspected.open else ()
        moved = customer.suspected.resolve(alert_id, legitimate, customer.ledger, now)
        for number in lots:  # what was frozen was not shared
            lot = customer.ledger.lots.get(number)
            campaign = None if lot is None else self.granting.of(f"{lot.terms.campaign}:{lot.terms.version}")
            if campaign is not None:
                self.granting.letters += share(campaign, customer_id, customer, number, now, happening.event_id)
        why = "released: nothing was wrong" if legitimate else "taken back: it was abuse"
        return self._entries(customer_id, customer, moved, Cause(happening.event_id, alert_id, why))

    def _taken(self, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
        now = max(customer.clock_ms, happening.time_ms)
        found = use(self.granting, customer_id, customer, happening, now)
        if found is None:
            return self._refuse(customer_id, customer, happening, NO_COUPON, now)
        made = self._entries(customer_id, customer, found[0], _cause(happening, "redeemed"))
        return made + self._entries(customer_id, customer, found[1], _cause(happening, "refunded before it was used"))

    def told(
        self, referrer_id: str, referrer: Customer, told: ControlReward, campaign: Campaign | None, at_ms: int
    ) -> list[Made]:
        """Take in what a referrer is told, who has been brought up to it; `campaign`: of a grant, None for none."""
        occasion, payment = f"referred {told.referral_id}", int(told.share_id or "0", 16)
        refund = Cause(told.cause_event_id, occasion, "less is left of the payment of whom they referred")
        moved = referrer.ledger.hear(payment, told.settled_minor, told.refunded_minor, at_ms) if payment else []
        made = self._entries(referrer_id, referrer, moved, refund)
        if told.units and campaign is not None:
            why = f"for a referral: {campaign.description or campaign.id} ({key_of(campaign)})"
            moved = self.granting.refer(referrer, told, campaign, at_ms)
            made += self._entries(referrer_id, referrer, moved, Cause(told.cause_event_id, occasion, why))
            made += self._self_referral(referrer_id, referrer, told, campaign, moved, at_ms) if moved else []
        return made

    def _self_referral(
        self, referrer_id: str, referrer: Customer, told: ControlReward, campaign: Campaign, moved: list[Movement],
        at_ms: int,
    ) -> list[Made]:  # fmt: skip
        """Freeze what both were granted, where they seem to be one: of whom was referred only in the same shard."""
        shared = common(told.marks, own_marks(referrer_id, referrer.suspected)) if campaign.self_referral else []
        if not shared:
            return []
        found = [Found(SELF_REFERRAL, f"referrer and customer share {', '.join(shared)}")]
        both = [(referrer_id, referrer, moved[0].lot)]
        both += [self.granting.origins[told.event_id]] if told.event_id in self.granting.origins else []
        made: list[Made] = []
        for who, customer, lot in both:
            if customer.ledger.lots[lot].pending:
                cause = told.cause_event_id
                made += self.granting.freeze(who, customer, campaign, found, lot, cause, at_ms) or []
        return made

    # How

    def _run(self, customer_id: str, customer: Customer, due: Iterable[Due]) -> list[Made]:
        """Let campaigns that are open do what they do, in the order of their rank, one of each group. Each of `due` is
        looked at once those before it have done theirs."""
        made: list[Made] = []
        groups: set[str] = set()
        campaigns = self.granting.campaigns
        for one in due:
            group = campaigns[one.place].group
            if group and group in groups:
                continue
            found = self.granting.grant(customer_id, customer, one)
            if found is not None:
                made += found
                groups.add(group)
        return made

    def _transitions_of(
        self, customer_id: str, customer: Customer, transitions: list[Transition], event_id: str
    ) -> list[Made]:
        made: list[Made] = []
        for one in transitions:
            cause = event_id if event_id != TIMER else f"{TIMER}:{one.at_ms}"
            moved = Lifecycle(customer_id, one.dimension, one.start, one.end, cause, rfc3339(one.at_ms))  # type: ignore[arg-type]
            made.append((one.at_ms, moved))
            row = self._row(customer, one.at_ms)
            occasion = f"{one.dimension}:{one.end}:{one.at_ms}"
            places, opens = self._transitions.get((one.dimension, one.start, one.end), ()), self.granting.opens
            due = (Due(p, one.at_ms, event_id, occasion, row) for p in places if opens(p, customer, one.at_ms, row))
            made += self._run(customer_id, customer, due)
        return made

    def _send(self, customer_id: str, customer: Customer, at_ms: int) -> list[Made]:
        """Look once more at offers whose time has come: those whose ground is gone are withdrawn, the rest go out."""
        made: list[Made] = []
        for one in customer.offers.over(at_ms):
            self.granting.budgets.release(f"{one.campaign}:{one.version}", one.minor)
        for one in customer.offers.due(at_ms):
            if one.purpose and (not customer.consent.get(one.purpose) or customer.muted(at_ms)):
                made += self._withdraw(customer_id, customer, [one], at_ms, "no consent at the time to send")
            elif one.payment in customer.ledger.payments and customer.ledger.payments[one.payment].blocked:
                made += self._withdraw(customer_id, customer, [one], at_ms, "its payment was refused")
            else:
                customer.offers.sent(one)
        return made

    def _withdraw(self, customer_id: str, customer: Customer, some: list[Open], at_ms: int, why: str) -> list[Made]:
        made: list[Made] = []
        for one in some:
            customer.offers.take(one.offer_id)
            self.granting.budgets.release(f"{one.campaign}:{one.version}", one.minor)
            campaign = self.granting.of(f"{one.campaign}:{one.version}")
            specs = campaign.offers if campaign is not None else ()
            gone = OfferSpec(one.spec, one.spec, "", "", 0)  # its campaign is not in force any more
            spec = next((spec for spec in specs if spec.id == one.spec), gone)
            made.append((at_ms, offer_of(one, spec, customer_id, "withdrawn", None, False, why)))
        return made

    def _entries(self, customer_id: str, customer: Customer, moved: list[Movement], cause: Cause) -> list[Made]:
        self.granting.moved(customer, moved)
        exponent = self.granting.rules.exponent
        cash = [m for m in moved if customer.ledger.lots[m.lot].terms.kind == CASHBACK]
        if not cash:
            return list(entries(customer.ledger, customer_id, moved, cause, exponent))
        made: list[Made] = []
        for movement in moved:
            currency = customer.ledger.lots[movement.lot].terms.currency
            made += entries(customer.ledger, customer_id, [movement], cause, self.granting.exponent_of(currency))
        return made

    def _row(self, customer: Customer, at_ms: int) -> Row:
        return self._bound(row_of_nothing(self.features, at_ms), customer, at_ms)

    def _bound(self, row: Row, customer: Customer, now_ms: int) -> Row:
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


def entry_id_of(customer_id: str, transition: Lifecycle) -> str:
    """The id of a transition: what it is of, and when."""
    return output_id("lifecycle", customer_id, transition.dimension, transition.to, transition.at)


def _in_its_currency(customer: Customer, happening: Happening) -> int:
    """What was given back, in minor units of the payment's currency: at the rates in force where it is in another one,
    0 where one of the two has no rate. Until the payment settles its currency is not known: taken to be the same."""
    paid, entry = customer.history.of(happening.payment), customer.ledger.payments.get(happening.payment)
    if paid is None or entry is None or happening.currency in (paid.currency, ""):
        return happening.minor
    return (2 * happening.base_minor * entry.settled + paid.minor) // (2 * paid.minor) if paid.minor else 0


def service_case(customer_id: str, happening: Happening, kind: str, score: float) -> Alert:
    """A bad answer: somebody should call."""
    return Alert(
        alert_id=output_id("alert", "feedback", customer_id, happening.event_id),
        kind="operations",
        severity="low",
        event_id=happening.event_id,
        customer_id=customer_id,
        title=f"a bad answer: {kind} {score:g}",
        reasons=[Reason("BAD_ANSWER", "", f"{kind} {score:g}; marketing to this customer is silent for 14 days")],
        suggested_action="ask the customer what went wrong",
    )


def _cause(happening: Happening, why: str) -> Cause:
    return Cause(happening.event_id, happening.payment_id or happening.event_id, why)


_HANDLERS: Final[dict[str, Callable[[Marketing, str, Customer, Happening], list[Made] | None]]] = {
    "payment.settled": Marketing._settled,
    "payment.refunded": Marketing._given_back,
    "payment.chargeback": Marketing._given_back,
    "payment.cancelled": Marketing._called_off,
    "label.assigned": Marketing._labelled,
    "account.registered": Marketing._account,
    "account.updated": Marketing._account,
    "account.consent_changed": Marketing._account,
    "account.erased": Marketing._erased,
    "feedback.submitted": Marketing._answered,
    "points.redeemed": Marketing._redeemed,
    "offer.redeemed": Marketing._taken,
    RESOLVED: Marketing._looked_at,
}

HANDLED: Final = frozenset(_HANDLERS)
"""Types of event that change a customer's record, whatever campaigns there are."""
