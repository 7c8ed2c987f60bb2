"""What payment companies send: parked refunds, profiles that cannot be read, redemptions just in time, cycles."""

import pytest

from engine.domain.outputs import Lifecycle
from engine.engagement.calendar import DAY_MS, HOUR_MS
from engine.engagement.customer.names import value_of
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
    assert shop.marketing.refused == (left == 100)


def test_a_cycle_is_judged_when_it_ends_though_nobody_pays_then() -> None:
    shop = Shop(EARN)
    shop.pay("p1", START, 500)  # 5 January 2026: silver until the end of 5 January 2027
    shop.pay("p2", START + 60 * DAY_MS, 500)  # 6 March 2026: counts until February 2027
    shop.at(START + 425 * DAY_MS)  # 6 March 2027
    changed = [(one.to, one.at) for one in of(shop.made, Lifecycle) if one.dimension == "membership"]
    assert changed == [("silver", "2026-01-05T00:00:00.000Z")]
    shop.pay("p3", START + 426 * DAY_MS, 10)
    assert not [one for one in of(shop.made, Lifecycle) if one.to == "basic"]
