"""What payment companies send: parked refunds, profiles that cannot be read, redemptions just in time, cycles,
payments that are called off or disputed."""

from dataclasses import replace

import pytest

from engine.domain.hashing import hash64
from engine.domain.outputs import Alert, Lifecycle, Reward
from engine.domain.times import rfc3339
from engine.engagement.calendar import DAY_MS, HOUR_MS
from engine.engagement.customer.codec import Stored, load
from engine.engagement.customer.names import value_of
from engine.engagement.marketing.happening import Happening, row_of_nothing
from tests.engagement.test_marketing import EARN, START, Shop, of


def test_a_payment_that_was_given_back_before_it_settled_reaches_no_tier() -> None:
    shop = Shop(EARN)
    shop.tell("payment.refunded", START, payment_id="p1", amount=600)
    shop.pay("p1", START + HOUR_MS, 600)
    assert [one.to for one in of(shop.made, Lifecycle)] == ["new", "active"]  # of lifecycle and of activity
    assert value_of("spend_12m", shop.customer, START + HOUR_MS, shop.marketing.population) == 0
    half = Shop(EARN)
    half.tell("payment.refunded", START, payment_id="p1", amount=300)
    half.pay("p1", START + HOUR_MS, 800)
    assert [(one.to, one.cause_event_id) for one in of(half.made, Lifecycle)][-1] == ("silver", "e2")


@pytest.mark.parametrize("field", ["timezone", "birth_date"])
def test_a_profile_that_cannot_be_read_replaces_nothing(field: str) -> None:
    shop = Shop(EARN)
    good = {"timezone": "Asia/Tokyo", "birth_date": "1990-02-02"}
    shop.tell("account.registered", START, **good)
    shop.tell("account.updated", START + 1, **{field: "Mars/Phobos"})
    assert (shop.customer.zone, shop.customer.birth) == tuple(good.values())


@pytest.mark.parametrize(("after", "left"), [(-1, 100), (0, 60), (30 * 60_000, 60)])
def test_points_can_be_spent_from_the_very_day_that_was_named(after: int, left: int) -> None:
    shop = Shop(EARN)
    shop.pay("p1", START)
    shop.marketing.advance(shop.customer_id, shop.customer, START + 14 * DAY_MS - HOUR_MS)  # the shard's clock lags
    shop.at = lambda now: []  # type: ignore[method-assign]
    shop.tell("points.redeemed", START + 14 * DAY_MS + after, number=40, reference="r1")
    assert sum(shop.points()[:2]) == left
    assert shop.marketing.refused.total() == (left == 100)


def test_a_cycle_is_judged_when_it_ends_though_nobody_pays_then() -> None:
    shop = Shop(EARN)
    shop.pay("p1", START, 500)  # 5 January 2026: silver until the end of 5 January 2027
    shop.pay("p2", START + 60 * DAY_MS, 500)  # 6 March 2026: counts until February 2027
    shop.at(START + 425 * DAY_MS)  # 6 March 2027
    changed = [(one.to, one.at) for one in of(shop.made, Lifecycle) if one.dimension == "membership"]
    assert changed == [("silver", "2026-01-05T00:00:00.000Z")]
    shop.pay("p3", START + 426 * DAY_MS, 10)
    assert not [one for one in of(shop.made, Lifecycle) if one.to == "basic"]


RESERVE = """
  - id: reserve
    on: payment.authorised
    when: amount > 0
    then: {reward: coupon, value: "8.00", currency: EUR}
    caps: [{times: 1000}]
    budget: {amount: "8.00", currency: EUR}
    reversal: R2
"""


@pytest.mark.parametrize("ending", ["cancelled", "nothing", "settled"])
def test_a_reward_ahead_of_settlement_comes_to_nothing_without_it(ending: str) -> None:
    shop = Shop(RESERVE)
    shop.tell("payment.authorised", START, payment_id="p1", amount=100)
    if ending != "nothing":
        shop.tell(f"payment.{ending}", START + HOUR_MS, payment_id="p1", amount=100)
    before = shop.tell("payment.authorised", START + 2 * HOUR_MS, payment_id="p2", amount=100)
    assert bool(of(before, Reward)) == (ending == "cancelled")  # the budget of one coupon is free again
    shop.at(START + 14 * DAY_MS)
    lot = next(iter(shop.customer.ledger.lots.values()))
    assert (lot.active, lot.reversed) == ((1, 0) if ending == "settled" else (0, 1))
    after = shop.tell("payment.authorised", START + 15 * DAY_MS, payment_id="p3", amount=100)
    assert bool(of(after, Reward)) == (ending != "settled")  # nothing else has settled


def test_a_payment_refunded_in_part_and_charged_back_for_the_rest_keeps_nothing() -> None:
    for order in (("refunded", 30), ("chargeback", 70)), (("chargeback", 70), ("refunded", 30)):
        shop = Shop(EARN)
        shop.pay("p1", START)
        for number, (what, amount) in enumerate(order):
            shop.tell(f"payment.{what}", START + HOUR_MS + number, payment_id="p1", amount=amount)
        assert shop.points() == (0, 0, 0)
    staged = Shop(EARN)
    staged.pay("p1", START)
    for number in range(3):  # a dispute, its second stage, its arbitration
        staged.tell("payment.chargeback", START + HOUR_MS + number, payment_id="p1", amount=50)
    assert staged.points() == (50, 0, 0)


def test_a_yes_that_comes_late_does_not_undo_a_no() -> None:
    shop = Shop(EARN)
    words = [(30, True), (60, False), (45, True)]  # minutes, as they arrive
    for minute, yes in words:
        shop.customer.clock_ms = START
        shop.at = lambda now: []  # type: ignore[method-assign]
        shop.tell("account.consent_changed", START + minute * 60_000, consent={"marketing": yes})
    assert shop.customer.consent == {"marketing": False}
    shop.tell("account.consent_changed", START + 61 * 60_000, consent={"marketing": True, "service": True})
    assert shop.customer.consent == {"marketing": True, "service": True}
    shop.tell("account.consent_changed", START + 10 * 60_000, consent={"marketing": False})  # to be safe
    assert shop.customer.consent["marketing"] is False


def test_an_update_that_comes_late_fills_gaps_only() -> None:
    shop = Shop(EARN)
    shop.at = lambda now: []  # type: ignore[method-assign]
    shop.tell("account.updated", START + HOUR_MS, timezone="Asia/Tokyo", country="JP")
    shop.tell("account.updated", START, timezone="Europe/Paris", country="FR", birth_date="1990-02-02")
    assert (shop.customer.zone, shop.customer.country, shop.customer.birth) == ("Asia/Tokyo", "JP", "1990-02-02")
    again = load(Stored().write(shop.customer, START)[0])[0]
    assert (again.told_ms, again.consented_ms) == (shop.customer.told_ms, shop.customer.consented_ms)


def test_a_refund_in_another_currency_counts_at_the_rates_in_force() -> None:
    shop = Shop(EARN)
    shop.tell("payment.settled", START, payment_id="p1", amount=100, currency="EUR")
    yen = Happening("e9", "payment.refunded", START + 1, lambda: row_of_nothing(0, START), {}.get, payment=hash64("p1"),
                    payment_id="p1", minor=4_000, base_minor=2_500, currency="JPY", reference=9)  # fmt: skip
    shop.marketing.event(shop.customer_id, shop.customer, yen)
    assert shop.points()[0] == 75
    unknown = replace(yen, event_id="e10", minor=90_000, base_minor=0, currency="XAF", reference=10)
    shop.marketing.event(shop.customer_id, shop.customer, unknown)
    assert shop.points()[0] == 75


def test_who_was_erased_has_no_tenure() -> None:
    shop = Shop(EARN)
    shop.pay("p1", START)
    shop.tell("account.erased", START + DAY_MS)
    assert value_of("tenure_days", shop.customer, START + DAY_MS, shop.marketing.population) is None


def lifecycle_of(shop: Shop) -> list[Lifecycle]:
    return [one for one in of(shop.made, Lifecycle) if one.dimension == "lifecycle"]


SPENT = START + 20 * DAY_MS


def spent(*events: tuple[str, float]) -> Shop:
    """150 of 200 points are spent on `p9`, of 10.00; then what happens to that payment, an hour apart."""
    shop = Shop(EARN)
    shop.pay("p1", START, 200)
    shop.tell("points.redeemed", SPENT, number=150, payment_id="p9", reference="r1")
    for number, (what, amount) in enumerate(events, 1):
        shop.tell(f"payment.{what}", SPENT + number * HOUR_MS, payment_id="p9", amount=amount)
    return shop


@pytest.mark.parametrize(
    ("events", "active"),
    [
        ([("settled", 10), ("refunded", 3.33)], 100),  # 150 * 667 // 1000 stay spent
        ([("settled", 10), ("refunded", 3.33), ("refunded", 3.33), ("refunded", 3.34)], 200),
        ([("settled", 10), ("refunded", 99)], 200),
        ([("refunded", 5), ("settled", 10)], 125),
        ([("cancelled", 10)], 200),
        ([("cancelled", 10), ("cancelled", 10)], 200),
        ([("settled", 10), ("cancelled", 10)], 50),
        ([("settled", 10), ("chargeback", 10)], 50),
        ([("settled", 10), ("chargeback", 5), ("refunded", 5)], 50),
        ([("declined", 10), ("failed", 10)], 50),  # it may be tried again under its id
    ],
)
def test_points_return_with_what_they_were_spent_on(events: list[tuple[str, float]], active: int) -> None:
    shop = spent(*events)
    assert shop.points()[1] == active
    backs = [one for one in of(shop.made, Reward) if one.bucket == "active" and one.delta[0] != "-"][1:]
    assert all(one.campaign_id == "earn" and one.occasion == "p9" and one.why for one in backs)


def test_points_spent_on_what_had_been_given_back_return_at_once() -> None:
    shop = Shop(EARN)
    shop.pay("p1", START, 200)
    shop.pay("p9", SPENT - DAY_MS, 10)
    shop.tell("payment.refunded", SPENT - HOUR_MS, payment_id="p9", amount=5)
    shop.tell("points.redeemed", SPENT, number=150, payment_id="p9", reference="r1")
    assert shop.points()[1] == 125
    shop.tell("points.redeemed", SPENT, number=150, payment_id="p9", reference="r1")  # a repeat under another event id
    assert shop.points()[1] == 125


REFERRED = """
  - id: brought
    on: payment.settled
    when: customer.referred
    then: {reward: points, amount: 300}
    caps: [{times: 1}]
"""


@pytest.mark.parametrize(
    ("events", "referrer"),
    [
        ([("account.registered", {"referrer_id": "c2"})], "c2"),
        ([("account.registered", {}), ("referral.created", {"referrer_id": "c2"})], "c2"),
        ([("referral.created", {"referrer_id": "c2"}), ("account.registered", {"referrer_id": "c3"})], "c2"),
        ([("account.registered", {"referrer_id": "c1"})], ""),
        ([("account.registered", {"referrer_id": "c1"}), ("referral.created", {"referrer_id": "c3"})], "c3"),
        ([("referral.created", {"referee_id": "c2"})], ""),
    ],
)
def test_somebody_else_has_to_bring_a_customer(events: list[tuple[str, dict[str, str]]], referrer: str) -> None:
    shop = Shop(REFERRED)
    for number, (what, fields) in enumerate(events):
        shop.tell(what, START + number * HOUR_MS, **fields)
    shop.pay("p1", START + DAY_MS)
    assert shop.customer.referrer == referrer
    assert shop.points()[0] == (300 if referrer else 0)


STREAK = """
  - id: streak
    on: payment.settled
    when: customer.streak_days >= 3 and amount > 0
    then: {reward: points, amount: 70}
    hold: 5d
    caps: [{times: 1, per: 3d}]
    reversal: R2
    threshold: 5
"""


def streak(text: str = STREAK, days: int = 3) -> Shop:
    """So many days in a row, 10.00 each in two payments: `0a`, `0b`, `1a`, …"""
    shop = Shop(text)
    for day in range(days):
        for part in "ab":
            shop.pay(f"{day}{part}", START + day * DAY_MS + (part == "b") * HOUR_MS, 5)
    assert shop.points()[0] == 70
    return shop


@pytest.mark.parametrize(
    ("what", "parts", "left"),
    [
        ("payment.refunded", ["1a"], 70),  # 5.00 of that day are kept
        ("payment.refunded", ["1a", "1b"], 0),
        ("payment.chargeback", ["0a", "0b"], 0),
        ("label.assigned", ["0a", "0b"], 0),
        ("payment.refunded", ["2b", "1a"], 70),  # completed by `2a`, the first of its day
        ("payment.cancelled", ["1a", "1b"], 70),  # they have settled
    ],
)
def test_a_streak_goes_with_any_of_its_days(what: str, parts: list[str], left: int) -> None:
    shop, now = streak(), START + 3 * DAY_MS
    for payment in parts:
        now += HOUR_MS
        made = shop.tell(what, now, payment_id=payment, amount=5, label="fraud")
    assert shop.points()[0] == left
    if not left:
        (gone,) = [one for one in of(made, Reward) if one.campaign_id == "streak"]
        words = {"payment.refunded": "refunded", "payment.chargeback": "charged back", "label.assigned": "fraud"}
        assert (gone.delta, gone.why) == ("-70", f"another payment that earned it was {words[what]}")
        assert gone.cause_event_id == f"e{shop.number}"


def test_what_comes_after_a_streak_changes_nothing_of_it() -> None:
    shop = streak()
    shop.pay("late", START + 9 * HOUR_MS, 50)  # of the first day, told now
    shop.pay("after", START + 3 * DAY_MS, 50)
    for number, payment in enumerate(("after", "late"), 1):
        shop.tell("payment.refunded", START + 3 * DAY_MS + number * HOUR_MS, payment_id=payment, amount=50)
    assert shop.points()[0] == 70


@pytest.mark.parametrize(("text", "later"), [(STREAK, 9 * DAY_MS), (STREAK.replace("R2\n    threshold: 5", "R3"), 0)])
def test_a_streak_whose_hold_is_over_or_that_nothing_takes_back_stays(text: str, later: int) -> None:
    shop = streak(text)
    for number, payment in enumerate(("1a", "1b"), 1):
        shop.tell("payment.refunded", START + 3 * DAY_MS + later + number * HOUR_MS, payment_id=payment, amount=5)
    assert sum(shop.points()) == 70


@pytest.mark.parametrize(("kind", "score", "warned"), [("nps", 6, True), ("nps", 7, False), ("csat", 2, True)])
def test_a_bad_answer_is_a_warning_until_two_weeks_are_over_and_they_pay_again(
    kind: str, score: float, warned: bool
) -> None:
    shop = Shop(EARN)
    for number in range(5):  # every second day: active
        shop.pay(f"p{number}", START + 2 * number * DAY_MS)
    asked = START + 9 * DAY_MS
    shop.tell("feedback.submitted", asked, kind=kind, number=score)
    for number in range(5, 14):
        shop.pay(f"p{number}", START + 2 * number * DAY_MS)
    changed = [(one.from_, one.to, one.at[:10], one.cause_event_id) for one in lifecycle_of(shop)]
    back = "timer:" + str(asked + 14 * DAY_MS)
    both = [("active", "at_risk", "2026-01-14", "e6"), ("at_risk", "active", "2026-01-28", back)]
    assert changed[2:] == (both if warned else [])


@pytest.mark.parametrize(("kind", "score"), [("nps", 11), ("nps", -1), ("csat", 0), ("csat", 6)])
def test_an_answer_off_its_scale_says_nothing_of_the_customer_and_is_told_once_a_day(kind: str, score: float) -> None:
    shop = Shop(EARN)
    for number in range(5):
        shop.pay(f"p{number}", START + 2 * number * DAY_MS)
    asked = START + 9 * DAY_MS
    (alert,) = of(shop.tell("feedback.submitted", asked, kind=kind, number=score), Alert)
    assert ([one.code for one in alert.reasons], alert.severity) == (["ANSWER_OFF_SCALE"], "low")
    assert f"{kind} {score}: it goes from" in alert.reasons[0].detail
    assert shop.tell("feedback.submitted", asked + HOUR_MS, kind=kind, number=score) == []
    assert (shop.customer.feedback.nps, shop.customer.feedback.csat) == (None, None)
    assert not shop.customer.muted(asked)
    assert len(of(shop.tell("feedback.submitted", asked + DAY_MS, kind=kind, number=score), Alert)) == 1


def test_a_bad_answer_of_somebody_who_has_not_paid_yet_is_no_warning() -> None:
    shop = Shop(EARN)
    shop.tell("feedback.submitted", START, kind="nps", number=0)
    shop.pay("p1", START + DAY_MS)
    assert [one.to for one in lifecycle_of(shop)] == ["new"]


@pytest.mark.parametrize(("weeks", "disputed", "days"), [(60, False, 7), (60, True, 14), (40, False, 14)])
def test_who_is_trusted_waits_half_as_long(weeks: int, disputed: bool, days: int) -> None:
    shop = Shop(EARN)
    for week in range(weeks):
        shop.pay(f"p{week}", START + 7 * week * DAY_MS)
        if disputed and week == 30:
            shop.tell("payment.chargeback", START + (7 * week + 1) * DAY_MS, payment_id=f"p{week}", amount=10)
    assert shop.customer.states.of("lifecycle") == "loyal"
    at = START + 7 * weeks * DAY_MS
    (granted,) = of(shop.pay("last", at), Reward)
    assert granted.available_at == rfc3339(at + days * DAY_MS)
