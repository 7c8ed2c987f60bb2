"""Occasions of timers: what is noted of them is what would be found anew."""

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.engagement.calendar import DAY_MS, HOUR_MS
from engine.engagement.customer.customer import Customer
from engine.engagement.customer.states import NEVER
from engine.engagement.marketing.occasions import timer_of
from engine.ruleset.campaigns.model import Campaign
from tests.engagement.test_marketing import EARN, START, Shop

TIMERS: Final = (
    "birthday, at: '09:00'", "since_first_payment, after: 3d", "since_last_payment, after: [1d, 9d, 30d]",
    "since_refund, after: 2d", "since_registration, after: 5d", "idle, gaps: 2", "personal_hour, before: 30m",
    "points_expiring, before: [20d, 7d]", "window_closed",
)  # fmt: skip
CAMPAIGNS: Final = EARN + "".join(
    f"""
  - id: timer_{number}
    on: {{timer: {timer}}}
    when: customer.payments >= 0
    then: {{reward: points, amount: 1}}
    expires: 1 month
    hold: none
    caps: [{{times: 2, per: week}}, {{times: 3, per: 20d}}]"""
    for number, timer in enumerate(TIMERS)
)

steps = st.lists(
    st.tuples(
        st.sampled_from(["pay", "pay", "pay", "refund", "zone", "redeem", "wait"]),
        st.sampled_from([1, 5 * HOUR_MS, DAY_MS, DAY_MS, 6 * DAY_MS, 33 * DAY_MS]),
    ),
    max_size=40,
)


def occasion(campaign: Campaign, customer: Customer) -> tuple[int, str]:
    """The next one of a campaign with a timer: when, and what for."""
    timer, trigger = timer_of(campaign), campaign.trigger
    assert timer is not None
    at = timer.next(trigger, campaign, customer, customer.clock_ms)
    return at, timer.text(trigger, customer, at) if at < NEVER else ""


@settings(deadline=None, max_examples=60)
@given(steps)
def test_what_is_noted_of_timers_is_what_would_be_found_anew(steps: list[tuple[str, int]]) -> None:
    shop, now = Shop(CAMPAIGNS), START
    customer, timed = shop.customer, [one for one in shop.marketing.granting.campaigns if one.trigger.timer]
    assert len(timed) == len(TIMERS)
    shop.tell("account.registered", now, birth_date="1988-02-29", timezone="Europe/Paris")
    for number, (what, after) in enumerate(steps):
        now += after
        if what == "pay":
            shop.pay(f"p{number}", now)
        elif what == "refund" and number:
            shop.tell("payment.refunded", now, payment_id=f"p{number - 1}", amount=30)
        elif what == "zone":
            shop.tell("account.updated", now, timezone=("Asia/Tokyo", "America/New_York")[number % 2])
        elif what == "redeem":
            shop.tell("points.redeemed", now, number=150, reference=f"r{number}")
        else:
            shop.at(now)
        found = [occasion(campaign, customer) for campaign in timed]
        customer.noted.clear()
        assert found == [occasion(campaign, customer) for campaign in timed]
        assert all(at > customer.clock_ms and bool(text) == (at < NEVER) for at, text in found)
