"""Campaigns on one customer: every kind of trigger, every check of a grant, and what is taken back or withdrawn."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.fields import NUMBER_INDEX, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.outputs import Alert, Lifecycle, Offer, Reward
from engine.domain.times import rfc3339
from engine.engagement.calendar import DAY_MS, instant, local, parse_day
from engine.engagement.customer.codec import Stored, load
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.facts import judged
from engine.engagement.ledger.lots import POINTS
from engine.engagement.ledger.verify import verify
from engine.engagement.marketing.granting import Granting, Rules
from engine.engagement.marketing.happening import Happening, Made, row_of_nothing
from engine.engagement.marketing.marketing import Marketing
from engine.ruleset.compiler import compile as compile_rules

START = 1_767_571_200_000  # Monday, 5 January 2026, 00:00 UTC
HOUR = 3_600_000
EARN = """
  - id: earn
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: amount}
    caps: [{times: 1000}]
"""


@dataclass
class Shop:
    """One customer and the campaigns they meet."""

    text: str
    rules: Rules = field(default_factory=Rules)
    customer_id: str = "c1"
    customer: Customer = field(default_factory=Customer)
    number: int = 0
    made: list[Made] = field(default_factory=list)

    def __post_init__(self) -> None:
        ruleset = compile_rules({"c.yaml": "campaigns:\n" + self.text})
        granting = Granting(ruleset.campaigns, ruleset.conditions, self.rules)
        granting.budgets.adopt(ruleset.campaigns, 0, 1)
        self.marketing = Marketing(granting, features=len(ruleset.rows))

    def at(self, now: int) -> list[Made]:
        made = self.marketing.advance(self.customer_id, self.customer, now)
        self.made += made
        return made

    def tell(self, what: str, now: int, /, **fields: Any) -> list[Made]:
        """An event; time comes up to it first."""
        self.at(now)
        self.number += 1
        payment, amount = fields.get("payment_id", ""), float(fields.get("amount", "nan"))
        row = row_of_nothing(self.marketing.features, now)
        row.numbers[NUMBER_INDEX["amount"]] = amount
        row.strings[STRING_INDEX["type"]] = hash64(what)
        told = Happening(
            f"e{self.number}", what, now, lambda: row, fields.get, float(fields.get("number", "nan")),
            payment=hash64(payment) if payment else 0,
            payment_id=payment,
            minor=round(100 * amount) if amount == amount else 0,
            base_minor=round(100 * amount) if amount == amount else 0,
            currency=fields.get("currency", ""),
            reference=hash64(fields.get("reference", f"e{self.number}")),
            consent=fields.get("consent"),
        )  # fmt: skip
        made = self.marketing.event(self.customer_id, self.customer, told)
        self.made += made
        return made

    def pay(self, payment: str, now: int, amount: float = 100) -> list[Made]:
        return self.tell("payment.settled", now, payment_id=payment, amount=amount)

    def points(self) -> tuple[int, int, int]:
        return self.customer.ledger.balance((POINTS, ""))


def of(made: list[Made], kind: type) -> list[Any]:
    return [one for _, one in made if isinstance(one, kind)]


def offer(text: str = "", on: str = "payment.settled", kind: str = "message", consent: str = "marketing") -> str:
    asks = f"consent: {consent}" if consent else ""
    return f"""
  - id: say
    on: {on}
    when: customer.payments >= 0
    then: {{offer: {kind}, value: hello, expires: 7d, send: "10:00"}}
    caps: [{{times: 100}}]
    {asks}
    {text}
"""


def test_what_a_payment_earns_is_held_becomes_active_and_is_taken_back_in_proportion() -> None:
    shop = Shop(EARN)
    shop.pay("p1", START)
    assert shop.points() == (100, 0, 0)
    for part in range(1, 4):  # a third each, rounded for all three together
        shop.tell("payment.refunded", START + part * DAY_MS, payment_id="p1", amount=33.33 if part < 3 else 33.34)
        assert shop.points()[0] == 100 * (10_000 - (3333 * part if part < 3 else 10_000)) // 10_000
    shop.pay("p2", START + 4 * DAY_MS)
    made = shop.at(START + 40 * DAY_MS)
    assert [(e.bucket, e.delta, e.cause_event_id) for e in of(made, Reward)] == [
        ("pending", "-100", "timer"), ("active", "100", "timer")]  # fmt: skip
    assert shop.points() == (0, 100, 0)
    assert verify(of(shop.made, Reward)).faults == []


def test_a_repeated_payment_under_another_event_id_earns_once() -> None:
    shop = Shop(EARN)
    shop.pay("p1", START)
    assert shop.pay("p1", START + HOUR) == []
    assert (shop.points(), shop.customer.history.payments) == ((100, 0, 0), 1)


@settings(deadline=None, max_examples=100)
@given(st.permutations(["pay", "refund", "back", "label"]), st.integers(1, 60))
def test_the_order_of_a_payment_and_what_takes_it_back_makes_no_difference(order: list[str], hours: int) -> None:
    shop = Shop(EARN)
    for place, what in enumerate(order):
        now = START + place * hours * HOUR
        if what == "pay":
            shop.pay("p1", now)
        elif what == "label":
            shop.tell("label.assigned", now, payment_id="p1", label="legitimate")
        else:
            amount = 30 if what == "refund" else 20
            shop.tell("payment.refunded", now, payment_id="p1", amount=amount, reference=what)
    pending, active, debt = shop.points()
    assert (pending + active, debt) == (50, 0)
    assert shop.customer.history.minor == 5_000
    assert verify(of(shop.made, Reward)).faults == []


@pytest.mark.parametrize("first", [True, False])
def test_a_fraud_label_claws_back_and_withdraws_whenever_it_comes(first: bool) -> None:
    shop = Shop(EARN + offer(consent="", kind="service"))
    if first:
        shop.tell("label.assigned", START, payment_id="p1", label="fraud")
    shop.pay("p1", START + HOUR)
    if not first:
        assert shop.points() == (100, 0, 0)
        made = shop.tell("label.assigned", START + 2 * HOUR, payment_id="p1", label="fraud")
        assert [one.status for one in of(made, Offer)] == ["withdrawn"]
    assert shop.points() == (0, 0, 0)
    shop.at(START + 60 * DAY_MS)
    assert shop.points() == (0, 0, 0)


def test_risk_is_priced_declined_payments_earn_nothing_doubtful_ones_wait_twice_as_long() -> None:
    shop = Shop(EARN + "    score_max: 0.6\n")
    ledger = shop.customer.ledger
    ledger.block(hash64("declined"), START)
    ledger.learn(judged(hash64("doubtful"), 40, START))
    ledger.learn(judged(hash64("odd"), 70, START))
    for payment in ("declined", "doubtful", "odd"):
        shop.pay(payment, START)
    (lot,) = ledger.lots.values()
    assert (lot.terms.payment, lot.terms.available_ms) == (hash64("doubtful"), START + 28 * DAY_MS)


def test_caps_by_calendar_day_are_those_of_the_customers_zone_and_by_elapsed_time_of_none() -> None:
    cap = EARN.replace("caps: [{times: 1000}]", "caps: [{amount: 150, per: day}]")
    tokyo = Shop(cap, customer=Customer(zone="Asia/Tokyo"))
    evening = START + 14 * HOUR  # 23:00 in Tokyo
    tokyo.pay("p1", evening)
    tokyo.pay("p2", evening + HOUR // 2)
    assert tokyo.points()[0] == 150  # what is left is granted
    tokyo.pay("p3", evening + HOUR)
    assert tokyo.points()[0] == 250
    elapsed = Shop(cap.replace("amount: 150, per: day", "times: 1, per: 30d"))
    elapsed.pay("p1", evening)
    elapsed.pay("p2", evening + 30 * DAY_MS - 1)
    elapsed.pay("p3", evening + 30 * DAY_MS)
    assert sum(lot.granted for lot in elapsed.customer.ledger.lots.values()) == 200


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(["pay", "pay", "back", "wait"]), st.integers(1, 8), st.integers(1, 40)),
             max_size=40)
)  # fmt: skip
def test_a_budget_is_never_overspent_and_what_is_taken_back_can_be_given_again(
    steps: list[tuple[str, int, int]],
) -> None:
    shop = Shop(EARN + "    budget: {points: 500}\n")
    budget, now = shop.marketing.granting.budgets.of["earn:1"], START
    for place, (what, which, number) in enumerate(steps):
        now += number * HOUR
        if what == "pay":
            shop.pay(f"p{place}", now, amount=number * 10)
        elif what == "back":
            shop.tell("payment.refunded", now, payment_id=f"p{place - which}", amount=number * 5)
        else:
            shop.at(now + which * 4 * DAY_MS)
            now = max(now, shop.customer.clock_ms)
        lots = shop.customer.ledger.lots.values()
        assert budget.reserved == sum(lot.pending for lot in lots)
        assert budget.reserved + budget.spent <= budget.lease == 500
        shop.customer.ledger.check()


def test_a_budget_that_is_changed_keeps_what_was_promised() -> None:
    shop = Shop(EARN + "    budget: {points: 150}\n")
    shop.pay("p1", START)
    budgets = shop.marketing.granting.budgets
    other = compile_rules({"c.yaml": "campaigns:\n" + EARN + "    budget: {points: 90}\n"})
    budgets.adopt(other.campaigns, 0, 1)
    assert (budgets.of["earn:1"].left, budgets.of["earn:1"].reserved) == (-10, 100)
    shop.pay("p2", START + HOUR, amount=1)
    assert shop.points()[0] == 100
    budgets.adopt(other.campaigns, 0, 1)
    assert budgets.of["earn:1"].left == -10


def test_leases_of_shards_add_up_to_the_budget() -> None:
    ruleset = compile_rules({"c.yaml": "campaigns:\n" + EARN + "    budget: {points: 1003}\n"})
    leases = []
    for shard in range(7):
        granting = Granting(ruleset.campaigns, ruleset.conditions)
        granting.budgets.adopt(ruleset.campaigns, shard, 7)
        leases.append(granting.budgets.of["earn:1"].lease)
    assert (sum(leases), max(leases) - min(leases)) == (1003, 1)


def test_of_a_group_the_highest_priority_that_gives_something_wins() -> None:
    def campaign(name: str, priority: int, when: str) -> str:
        return EARN.replace("id: earn", f"id: {name}").replace("amount > 0", when) + (
            f"    group: g\n    priority: {priority}\n"
        )

    shop = Shop(
        campaign("low", 1, "amount > 0") + campaign("high", 9, "amount > 50") + campaign("alone", 0, "amount > 0")
    )
    granted = [[e.campaign_id for e in of(shop.pay(f"p{amount}", START, amount), Reward)] for amount in (100, 20)]
    assert granted == [["high"], ["low"]]


def test_holdouts_are_the_stated_share_for_ever_the_same_and_offers_of_theirs_are_recorded() -> None:
    text = offer("holdout: 20%", consent="")
    text = text.replace("offer: message", "offer: service")
    granting = Shop(text).marketing.granting
    held = {f"c{number}" for number in range(3000) if granting.held(granting.campaigns[0], f"c{number}")}
    assert 0.17 < len(held) / 3000 < 0.23
    shop = Shop(text, customer_id=min(held))
    (one,) = of(shop.pay("p1", START), Offer)
    assert (one.holdout, shop.customer.offers.of) == (True, {})
    everybody = Shop(text, rules=Rules(holdout=1.0), customer_id="c-anybody")
    assert of(everybody.pay("p1", START), Offer)[0].holdout
    assert of(Shop(EARN, rules=Rules(holdout=1.0)).pay("p1", START), Reward) == []


def test_an_offer_waits_for_the_time_to_send_and_never_goes_out_in_quiet_hours() -> None:
    shop = Shop(offer('quiet_hours: ["21:00", "08:00"]').replace('send: "10:00"', "send: now"))
    shop.customer.zone = "Europe/Berlin"
    shop.customer.agree({"marketing": True})
    night = instant(parse_day("2026-03-28"), 23 * 60, "Europe/Berlin")  # the clocks go forward in this night
    (one,) = of(shop.pay("p1", night), Offer)
    sent = [o.send_ms for o in shop.customer.offers.of.values()]
    assert (local(sent[0], "Europe/Berlin").hour, sent[0] - night) == (8, 8 * HOUR)
    assert one.send_at == "2026-03-29T06:00:00.000Z"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        (lambda shop: shop.tell("account.consent_changed", START + HOUR, consent={"marketing": False}), "consent"),
        (lambda shop: shop.tell("payment.refunded", START + HOUR, payment_id="p1", amount=1), "refunded"),
        (lambda shop: shop.tell("payment.chargeback", START + HOUR, payment_id="p1", amount=100), "charged back"),
        (lambda shop: shop.tell("label.assigned", START + HOUR, payment_id="p1", label="fraud"), "fraud"),
        (lambda shop: shop.tell("feedback.submitted", START + HOUR, kind="nps", number=3), "bad answer"),
        (lambda shop: shop.tell("account.erased", START + HOUR), "erased"),
    ],
)
def test_an_offer_whose_ground_is_gone_is_withdrawn_before_it_is_sent(what: Callable[[Shop], Any], why: str) -> None:
    shop = Shop(offer('budget: {amount: "50.00", currency: EUR}').replace(
        "{offer: message, value: hello", "{offer: coupon, value: '5.00', currency: EUR"))  # fmt: skip
    shop.customer.agree({"marketing": True})
    (issued,) = of(shop.pay("p1", START), Offer)
    budget = shop.marketing.granting.budgets.of["say:1"]
    assert (issued.status, budget.reserved) == ("issued", 500)
    (gone,) = of(what(shop), Offer)
    assert (gone.offer_id, gone.status, budget.reserved) == (issued.offer_id, "withdrawn", 0)
    assert why in gone.why
    assert of(shop.at(START + 2 * DAY_MS), Offer) == []


def test_an_offer_that_was_sent_is_not_withdrawn_and_its_budget_is_spent_or_free_again() -> None:
    text = offer('budget: {amount: "50.00", currency: EUR}', kind="coupon").replace(
        "value: hello", "value: '5.00', currency: EUR"
    )
    for used in (True, False):
        shop = Shop(text)
        shop.customer.agree({"marketing": True})
        (one,) = of(shop.pay("p1", START), Offer)
        shop.at(START + DAY_MS)
        assert of(shop.tell("account.consent_changed", START + DAY_MS, consent={"marketing": False}), Offer) == []
        if used:
            shop.tell("offer.redeemed", START + 2 * DAY_MS, offer_id=one.offer_id)
        shop.at(START + 20 * DAY_MS)
        budget = shop.marketing.granting.budgets.of["say:1"]
        assert (budget.reserved, budget.spent) == (0, 500 if used else 0)


def test_no_consent_no_message_and_a_bad_answer_opens_a_case_and_silences_for_two_weeks() -> None:
    shop = Shop(offer())
    assert of(shop.pay("p1", START), Offer) == []
    shop.tell("account.registered", START, consent={"marketing": True}, timezone="Europe/Paris")
    (case,) = of(shop.tell("feedback.submitted", START, kind="nps", number=4), Alert)
    assert (case.kind, case.title) == ("operations", "a bad answer: nps 4")
    assert of(shop.pay("p2", START + 14 * DAY_MS - 1), Offer) == []
    assert len(of(shop.pay("p3", START + 14 * DAY_MS), Offer)) == 1


BIRTHDAY = """
  - id: birthday
    on: {timer: birthday, at: "09:00"}
    when: customer.payments >= 0
    then: {reward: points, amount: 10}
    occasion: period
    hold: none
    caps: [{times: 1, per: year}]
"""


def test_a_birthday_is_paid_once_a_year_also_to_who_moves_around_the_world() -> None:
    shop = Shop(BIRTHDAY)
    shop.tell("account.registered", START, birth_date="1990-03-01", timezone="Pacific/Kiritimati")
    made = shop.at(START + 54 * DAY_MS + 20 * HOUR)
    assert [entry.delta for entry in of(made, Reward)][:1] == ["10"]
    shop.tell("account.updated", START + 54 * DAY_MS + 20 * HOUR, timezone="Pacific/Honolulu")
    assert of(shop.at(START + 80 * DAY_MS), Reward) == []
    shop.at(START + 500 * DAY_MS)
    assert sum(int(e.delta) for e in of(shop.made, Reward) if e.bucket == "active") == 20


ZONES = ("Pacific/Kiritimati", "Pacific/Auckland", "Europe/Berlin", "", "America/Los_Angeles", "Pacific/Honolulu")
FIRST_OF_JUNE = START + 147 * DAY_MS  # 2026, 00:00 UTC


def gifts(shop: Shop) -> list[int]:
    """When each was granted."""
    found = [(at, one) for at, one in shop.made if isinstance(one, Reward)]
    return [at for at, one in found if one.bucket == "pending" and one.delta == "10"]


def test_who_moves_east_over_their_birthday_gets_it_at_once() -> None:
    shop, move = Shop(BIRTHDAY), FIRST_OF_JUNE - HOUR
    shop.tell("account.registered", START, birth_date="1990-06-01", timezone="America/Los_Angeles")
    shop.at(move)
    assert gifts(shop) == []
    shop.tell("account.updated", move, timezone="Pacific/Auckland")  # 1 June, 11:00
    assert gifts(shop) == [move]
    shop.tell("account.updated", move + HOUR, timezone="America/Los_Angeles")
    shop.at(FIRST_OF_JUNE + 300 * DAY_MS)
    assert len(gifts(shop)) == 1


@pytest.mark.parametrize("fields", [{"birth_date": "1990-06-01"}, {"birth_date": "1990-06-02", "timezone": "UTC"}])
def test_who_says_when_they_were_born_jumps_over_nothing(fields: dict[str, str]) -> None:
    shop = Shop(BIRTHDAY)
    if "timezone" in fields:
        shop.tell("account.registered", START, **fields)
    shop.tell("account.updated", FIRST_OF_JUNE, birth_date="1990-06-01", timezone="Pacific/Auckland")
    assert gifts(shop) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-60, 60), st.sampled_from(ZONES)), max_size=12))
def test_each_year_has_one_birthday_gift_wherever_its_customer_moves(moves: list[tuple[int, str]]) -> None:
    shop = Shop(BIRTHDAY)
    shop.tell("account.registered", START, birth_date="1990-06-01", timezone="Europe/Berlin")
    for year in (0, 365):
        for hour, zone in sorted(moves):
            shop.tell("account.updated", FIRST_OF_JUNE + year * DAY_MS + hour * HOUR, timezone=zone)
        shop.at(FIRST_OF_JUNE + (year + 100) * DAY_MS)
    assert [rfc3339(at)[:4] for at in gifts(shop)] == ["2026", "2027"]


def test_timers_and_transitions_set_campaigns_off() -> None:
    def timer(name: str, on: str) -> str:
        return offer(on=on).replace("id: say", f"id: {name}").replace("expires: 7d, ", "expires: 7d, ")

    text = "".join(
        [
            timer("second", "{timer: since_first_payment, after: 7d}"),
            timer("asked", "{timer: since_refund, after: 2d}"),
            timer("quiet", "{timer: idle, gaps: 2}"),
            timer("risk", "{transition: lifecycle, to: at_risk}"),
            timer("window", "{timer: window_closed}"),
            timer("expiring", "{timer: points_expiring, before: [30d, 7d]}"),
            EARN + "    expires: 3 months\n",
        ]
    )
    shop = Shop(text)
    shop.customer.agree({"marketing": True})
    for number in range(4):
        shop.pay(f"p{number}", START + 3 * number * DAY_MS)
    shop.tell("payment.refunded", START + 10 * DAY_MS, payment_id="p3", amount=10)
    shop.at(START + 200 * DAY_MS)
    begun: dict[str, list[int]] = {}
    for at_ms, one in shop.made:
        if isinstance(one, Offer) and one.status == "issued":
            begun.setdefault(one.campaign_id, []).append((at_ms - START) // DAY_MS)
    assert {name: begun[name] for name in ("second", "asked", "quiet", "risk")} == {
        "second": [7], "asked": [12], "quiet": [15], "risk": [16]}  # fmt: skip
    assert begun["window"][0] == 28
    assert len(begun["expiring"]) == 8
    assert [one.to for one in of(shop.made, Lifecycle) if one.dimension == "lifecycle"] == [
        "new", "active", "at_risk", "lost"]  # fmt: skip


def test_who_is_erased_leaves_keys_and_debts_only_and_is_not_welcomed_twice() -> None:
    welcome = EARN.replace("amount > 0", "customer.payments == 1") + "    occasion: customer\n    hold: none\n"
    shop = Shop(welcome)
    shop.customer.agree({"marketing": True})
    shop.tell("account.registered", START, birth_date="1990-05-05", timezone="Europe/Paris")
    shop.pay("p1", START)
    shop.at(START + DAY_MS)
    shop.tell("points.redeemed", START + DAY_MS, number=40)
    shop.tell("account.erased", START + 2 * DAY_MS)
    left = shop.customer
    assert (left.birth, left.zone, left.consent, left.history.paid, left.ledger.lots) == ("", "", {}, [], {})
    shop.pay("p1", START + 3 * DAY_MS)
    shop.pay("p9", START + 3 * DAY_MS)
    shop.tell("payment.refunded", START + 4 * DAY_MS, payment_id="p1", amount=100)
    proof = verify(of(shop.made, Reward))
    assert proof.faults == []
    assert set(proof.balances["c1", "points", ""].values()) == {0}
    value, _ = Stored().write(left, START)
    assert b"Paris" not in load(value)[0].zone.encode()


def test_more_points_than_there_are_cannot_be_redeemed_and_a_redemption_counts_once() -> None:
    shop = Shop(EARN + "    hold: none\n")
    shop.pay("p1", START)
    shop.at(START + 1)
    assert of(shop.tell("points.redeemed", START + HOUR, number=101), Reward) == []
    for _ in range(2):
        shop.tell("points.redeemed", START + HOUR, number=60, reference="d1")
    shop.tell("points.redeemed", START + HOUR, number=0.5)
    assert (shop.points(), shop.marketing.refused) == ((0, 40, 0), {"not_enough": 1, "not_whole": 1})
