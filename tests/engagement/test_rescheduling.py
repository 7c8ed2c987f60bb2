"""Offers go out by the clock of where the customer is when they do."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.domain.outputs import Offer
from engine.engagement.calendar import DAY_MS, instant, local, parse_day
from tests.engagement.test_marketing import START, Shop, of, offer

HOUR: Final = 3_600_000
ZONES: Final = ("Europe/Berlin", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati")
QUIET: Final = offer('quiet_hours: ["21:00", "08:00"]').replace('send: "10:00"', "send: now")


def waiting(text: str, zone: str, at: int) -> tuple[Shop, Offer]:
    shop = Shop(text)
    shop.tell("account.updated", at, timezone=zone, consent={"marketing": True})
    (one,) = of(shop.pay("p1", at), Offer)
    return shop, one


def test_who_moves_gets_what_waits_at_the_hour_of_the_new_place_under_a_new_id() -> None:
    night = instant(parse_day("2026-02-03"), 23 * 60, "Europe/Berlin")
    text = offer('budget: {amount: "50.00", currency: EUR}').replace(
        "{offer: message, value: hello", "{offer: coupon, value: '5.00', currency: EUR")  # fmt: skip
    shop, issued = waiting(text, "Europe/Berlin", night)
    assert issued.send_at == "2026-02-04T09:00:00.000Z"
    gone, again = of(shop.tell("account.updated", night + HOUR, timezone="Asia/Tokyo"), Offer)
    assert (gone.offer_id, gone.status) == (issued.offer_id, "withdrawn")
    assert (again.status, again.send_at) == ("issued", "2026-02-04T01:00:00.000Z")
    assert again.offer_id not in (issued.offer_id, "")
    assert shop.marketing.granting.budgets.of["say:1"].reserved == 500
    assert of(shop.tell("account.updated", night + 2 * HOUR, timezone="Asia/Tokyo"), Offer) == [], "nothing new"
    shop.at(night + 4 * HOUR)
    assert of(shop.tell("account.updated", night + 5 * HOUR, timezone="Europe/Berlin"), Offer) == [], "it was sent"
    shop.tell("offer.redeemed", night + 6 * HOUR, offer_id=again.offer_id)
    assert shop.marketing.granting.budgets.of["say:1"].spent == 500


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 23),
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(ZONES)), max_size=6),
)
def test_nobody_gets_anything_in_quiet_hours_wherever_they_go(hour: int, moves: list[tuple[int, str]]) -> None:
    now = START + hour * HOUR
    shop, first = waiting(QUIET, "Europe/Berlin", now)
    zone, issued = "Europe/Berlin", {first.offer_id: first}
    for wait, place in moves:
        now += wait * HOUR
        shop.at(now)
        if not shop.customer.offers.unsent():
            break
        for one in of(shop.tell("account.updated", now, timezone=place), Offer):
            if one.status == "withdrawn":
                del issued[one.offer_id]
            else:
                issued[one.offer_id] = one
        zone = place
    (kept,) = shop.customer.offers.of.values()
    assert list(issued) == [kept.offer_id], "one stands at any time"
    assert 8 <= local(kept.send_ms, zone).hour < 21
    shop.at(kept.send_ms + DAY_MS)
    assert not shop.customer.offers.unsent()
