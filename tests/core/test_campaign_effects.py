"""What campaigns gave and did, as a shard counts it: the same however the log is cut and the state dropped; and against
what was put out."""

from collections import Counter, defaultdict
from decimal import Decimal

import msgspec
import pytest

from engine.core.campaign_state import HEAD_EFFECTS, effects_of
from engine.core.customers import is_customer
from engine.core.partition import Partition
from engine.core.settings import CampaignSettings, CoreSettings
from engine.domain.ops import KEY_CUSTOMER
from engine.domain.outputs import Offer
from engine.engagement.customer.codec import load
from engine.engagement.marketing.effects import Effects
from tests.core.campaign_world import campaigns, history, rewards, run

SETTINGS = CoreSettings(campaigns=CampaignSettings(holdout=0.15), customers_max=5)
EVENTS = 700
"""Of some ten weeks: windows of attribution close."""


def effects(partition: Partition) -> Effects:
    return partition._engagement._campaigning._effects


@pytest.mark.parametrize("seed", [1, 2])
def test_effects_are_those_of_the_log_alone(seed: int) -> None:
    records, ruleset = history(seed, EVENTS), campaigns()
    _, _, plain = run(ruleset, records, 64, settings=SETTINGS)
    told = effects(plain).dump()
    assert any(effect.outcomes[0] for effect in effects(plain).of.values()), "no window has closed"
    _, _, small = run(ruleset, records, 1, settings=SETTINGS)
    assert effects(small).dump() == told
    _, store, started = run(ruleset, records, 13, restart_every=3, settings=SETTINGS)
    assert store is not None
    assert effects(started).dump() == told
    assert effects_of(store.head(), 2).dump() == told
    assert HEAD_EFFECTS in store.head()


def test_tallies_are_what_was_put_out() -> None:
    outputs, _, partition = run(campaigns(), history(3, EVENTS), 50, settings=SETTINGS)
    granted, grants = defaultdict[str, Decimal](Decimal), Counter[str]()
    lots, reached = set[str](), defaultdict[str, set[str]](set)
    for one in rewards(outputs):
        if one.lot_id not in lots:
            lots.add(one.lot_id)
            reached[one.campaign_id].add(one.customer_id)
            assert one.bucket == "pending"
            granted[one.campaign_id] += Decimal(one.delta)
            grants[one.campaign_id] += 1
    offers = [msgspec.json.decode(one.data, type=Offer) for one in outputs if one.kind == "offer"]
    again = {one.offer_id for one in offers if "; before: off_" in one.why}  # for another time: the customer has moved
    first = [one for one in offers if one.status == "issued" and not one.holdout and one.offer_id not in again]
    issued = Counter(one.campaign_id for one in first)
    for key, tally in effects(partition).tallies.items():
        name = key.split(":")[0]
        scale = 100 if tally.kind == "cashback" else 1
        assert Decimal(tally.granted) / scale == granted[name]
        assert (tally.grants, tally.offers) == (grants[name], issued[name])
        assert 0 <= tally.taken <= tally.granted
        reach = reached[name] | {one.customer_id for one in offers if one.campaign_id == name and not one.holdout}
        assert tally.reach >= len(reach), "who was erased is counted again"
    assert sum(tally.held for tally in effects(partition).tallies.values()) > 0


def test_who_is_held_out_uses_up_the_occasion_and_gets_nothing() -> None:
    everybody = CoreSettings(campaigns=CampaignSettings(holdout=1.0))
    outputs, _, partition = run(campaigns(), history(4, EVENTS), 50, settings=everybody)
    assert not rewards(outputs)
    offers = [msgspec.json.decode(one.data, type=Offer) for one in outputs if one.kind == "offer"]
    assert all(one.holdout for one in offers)
    tallies = effects(partition).tallies
    assert tallies["welcome:1"].held <= 12 * 3, "once a customer, and again after an erasure"
    assert not any(tally.grants or tally.offers or tally.reach for tally in tallies.values())
    assert all(effect.outcomes[0] == 0 for effect in effects(partition).of.values())
    assert any(effect.outcomes[1] for effect in effects(partition).of.values())


def test_what_was_given_is_measured_or_waits_to_be() -> None:
    records = [record for record in history(4, EVENTS) if b"account.erased" not in record]
    _, store, partition = run(campaigns(), records, 40, settings=SETTINGS, restart_every=5)
    assert store is not None
    customers = [load(value)[0] for key, value in store.items() if key[:1] == KEY_CUSTOMER and is_customer(key)]
    seen = 0
    for key, tally in effects(partition).tallies.items():
        open_ones = [one.exposures.of[key] for one in customers if key in one.exposures.of]
        treated = [one for one in open_ones if not one.held]
        assert (tally.waiting, tally.promised) == (len(treated), sum(one.given for one in treated))
        assert tally.measured + tally.promised == tally.granted + tally.used - tally.taken
        seen += tally.measured > 0
    assert seen >= 2
