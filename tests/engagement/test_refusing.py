"""Redemptions that are refused change nothing, are counted by their reason, and are told once a customer and day."""

from math import inf, nan

import pytest

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.outputs import Alert, Reward
from engine.engagement.calendar import DAY_MS
from engine.engagement.customer.codec import Stored, load
from engine.engagement.marketing.refusing import CODE, REASONS
from engine.telemetry.metrics import Metrics
from tests.core.campaign_world import campaigns, history
from tests.engagement.test_marketing import EARN, HOUR, START, Shop, of


@pytest.mark.parametrize(
    ("points", "reason", "said"),
    [
        (101, "not_enough", "101 points are more than the 100 that can be spent"),
        (0.5, "not_whole", "0.5 is no whole number"),
        (-3, "not_positive", "-3 is not above 0"),
        (0, "not_positive", "0 is not above 0"),
        (nan, "no_number", "names no number"),
        (inf, "no_number", "names no number"),
    ],
)
def test_a_redemption_that_cannot_be_is_told_with_its_reason(points: float, reason: str, said: str) -> None:
    shop = Shop(EARN + "    hold: none\n")
    shop.pay("p1", START)
    shop.at(START + 1)
    made = shop.tell("points.redeemed", START + HOUR, number=points)
    (alert,) = of(made, Alert)
    assert (alert.kind, alert.severity, alert.customer_id, alert.event_id) == ("operations", "low", "c1", "e2")
    assert [one.code for one in alert.reasons] == [CODE]
    assert said in alert.reasons[0].detail
    assert shop.marketing.refused == {reason: 1}
    assert (of(made, Reward), shop.points()) == ([], (0, 100, 0))


def test_the_first_of_a_customer_and_utc_day_is_told_though_the_record_was_stored_in_between() -> None:
    shop, told = Shop(EARN), list[int]()
    times = [START, START + HOUR, START + 23 * HOUR, START + DAY_MS - 1, START + DAY_MS, START + 3 * DAY_MS + HOUR]
    for place, now in enumerate(times):
        told += [place] * len(of(shop.tell("points.redeemed", now, number=5), Alert))
        shop.customer = load(Stored().write(shop.customer, now)[0])[0]
    assert told == [0, 4, 5]
    assert shop.marketing.refused == {"not_enough": len(times)}
    assert len({one.alert_id for one in of(shop.made, Alert)}) == 3
    assert list(shop.customer.suspected.cleared) == [CODE], "what is over is not kept"


def test_a_redemption_that_comes_twice_is_a_repeat_and_not_refused() -> None:
    shop = Shop(EARN + "    hold: none\n")
    shop.pay("p1", START)
    shop.at(START + 1)
    for _ in range(2):
        shop.tell("points.redeemed", START + HOUR, number=100, reference="r1")
    assert (of(shop.made, Alert), shop.marketing.refused) == ([], {})


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_a_batch_says_what_it_refused_and_metrics_know_every_reason(size: int) -> None:
    records, ruleset = [one for one in history(3, 600) if b'"control.' not in one], campaigns()
    partition, counts = Partition(ruleset, CoreSettings(), backed=False), dict[str, int]()
    alerts = 0
    for start in range(0, len(records), size):
        effects = partition.apply(partition.decode(records[start : start + size]), lambda i: {"offset": i})
        for reason, count in effects.refused.items():
            counts[reason] = counts.get(reason, 0) + count
        alerts += sum(CODE.encode() in one.data for one in effects.outputs)
    assert set(counts) == {"not_enough"}
    assert counts["not_enough"] >= alerts > 10
    text = Metrics().render().decode()
    assert all(f'steward_redemptions_refused_total{{reason="{one}"}} 0.0' in text for one in REASONS)
