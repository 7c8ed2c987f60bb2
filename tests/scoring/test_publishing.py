"""Which snapshot serves: pinned, followed, started with; through restarts, damage and other learners."""

import numpy as np
import pytest

from engine.domain.times import DAY_MS
from engine.scoring.fraud_model import FraudModel
from engine.scoring.fraud_storage import HEAD_BEFORE, HEAD_PINNED, HEAD_QUARANTINED, HEAD_SNAPSHOT
from engine.scoring.learners.boosted_trees import Mixture
from engine.scoring.snapshot import SNAPSHOT_BYTES_MAX, describe, model_hash
from tests.scoring.labelled import HOUR_MS, INPUTS, START_MS, arriving, hours, payments
from tests.scoring.test_fraud_model import AN_HOUR, Life, model
from tests.scoring.test_rows import Head, store


def run(days: int, restarts: frozenset[int] = frozenset(), pin: int = 10**9, follow: int = 10**9) -> list[str]:
    """Versions that serve, by hour; the version before is pinned in one hour and followed in another."""
    life, versions = Life("logistic"), []
    for place, at_ms in enumerate(hours(days)):
        if place in restarts:
            life.restart()
        if place == pin:
            life.model.pin(life.head[HEAD_BEFORE])
        if place == follow:
            life.model.follow()
        life.hour(at_ms, AN_HOUR)
        versions.append(life.model.version)
    return versions


def test_a_pinned_version_serves_until_it_is_followed_and_learning_goes_on_behind_it() -> None:
    plain = run(6)
    assert len(set(plain)) > 24
    pinned = run(6, pin=100, follow=120)
    assert pinned[:100] == plain[:100] and pinned[120:] == plain[120:]
    assert set(pinned[100:120]) == {plain[98]}
    assert run(6, frozenset({99, 100, 101, 110, 119, 120, 121}), pin=100, follow=120) == pinned


@pytest.fixture(scope="module")
def lived() -> Head:
    life = Life("logistic")
    for at_ms in hours(5):
        life.hour(at_ms, AN_HOUR)
    return life.head


def restored(head: dict[bytes, bytes]) -> FraudModel:
    found = model(learner="logistic")
    found.restore(head)
    return found


def test_what_serves_scores_and_gives_the_reasons(lived: Head) -> None:
    one, other = restored(lived), restored(lived)
    other.pin(lived[HEAD_BEFORE])
    old = model(learner="logistic")
    old.install(lived[HEAD_BEFORE])
    x, _ = payments(9, 50)
    none = np.zeros(50)
    np.testing.assert_array_equal(other.score(x, none, none).margin, old.score(x, none, none).margin)
    assert (other.score(x, none, none).margin != one.score(x, none, none).margin).any()
    np.testing.assert_array_equal(other.reasons(x[0], 0.0, 0.0).inputs, old.reasons(x[0], 0.0, 0.0).inputs)
    assert other.pinned and not one.pinned


def test_to_start_with_a_version_ends_a_pin_and_goes_on_from_it(lived: Head) -> None:
    head = Head(lived)
    told = restored(head)
    told.pin(lived[HEAD_SNAPSHOT])
    store(head, told.ops())
    assert HEAD_PINNED in head
    version = told.install(lived[HEAD_BEFORE])
    store(head, told.ops())
    assert HEAD_PINNED not in head and not told.pinned and head[HEAD_SNAPSHOT] == lived[HEAD_BEFORE]
    _, rows = payments(1, AN_HOUR, 10**6)
    last_ms = START_MS + 5 * DAY_MS
    told.learn(arriving(rows, last_ms))
    told.advance(last_ms + HOUR_MS)
    told.advance(last_ms + 3 * HOUR_MS)
    assert told.version != version


def test_a_version_from_the_future_cannot_be_started_with_but_can_be_pinned(lived: Head) -> None:
    early = model(learner="logistic")
    early.advance(START_MS)
    with pytest.raises(ValueError, match="has come to"):
        early.install(lived[HEAD_SNAPSHOT])
    assert not early.ready
    early.pin(lived[HEAD_SNAPSHOT])
    assert early.ready


def test_a_damaged_pin_is_put_aside_and_what_was_learned_serves(lived: Head) -> None:
    head = Head(lived)
    told = restored(head)
    told.pin(lived[HEAD_BEFORE])
    store(head, told.ops())
    for place in (0, 5, len(head[HEAD_PINNED]) // 2, len(head[HEAD_PINNED]) - 1):
        damaged = Head(head)
        bad = bytearray(head[HEAD_PINNED])
        bad[place] ^= 1
        damaged[HEAD_PINNED] = bytes(bad)
        again = restored(damaged)
        assert again.version == restored(lived).version and not again.pinned
        assert [problem for problem in again.problems if problem.startswith("pinned snapshot")]
        store(damaged, again.ops())
        assert HEAD_PINNED not in damaged and damaged[HEAD_QUARANTINED + b"/pinned"] == bytes(bad)
    store(head, restored(head).forget())
    assert head == {}


def test_published_and_restored_snapshots_are_told_once(lived: Head) -> None:
    life = Life("logistic")
    seen = []
    for at_ms in hours(5):
        life.hour(at_ms, AN_HOUR)
        seen += life.model.untold()
    assert len(seen) == len(set(seen)) > 20 and seen[-1] == life.head[HEAD_SNAPSHOT]
    told = restored(lived)
    assert told.untold() == [lived[HEAD_BEFORE], lived[HEAD_SNAPSHOT]] and told.untold() == []
    told.pin(lived[HEAD_BEFORE])
    told.follow()
    assert told.untold() == [lived[HEAD_BEFORE]]
    damaged = restored({**lived, HEAD_BEFORE: lived[HEAD_BEFORE][:-1]})
    assert damaged.untold() == [lived[HEAD_SNAPSHOT]] and damaged.problems == ()


def test_a_snapshot_says_what_it_is_and_damage_shows(lived: Head) -> None:
    data, told = lived[HEAD_SNAPSHOT], restored(lived)
    found, snapshot = describe(data), told.snapshot
    assert snapshot is not None
    assert found.version == told.version and found.inputs == INPUTS
    assert (found.boundary_ms, found.known, found.frauds) == (snapshot.boundary_ms, snapshot.known, snapshot.frauds)
    assert found.model == model_hash(data) and len(found.model) == 32 and not any(c.isdigit() for c in found.model)
    assert describe(lived[HEAD_BEFORE]).model != found.model
    for bad in (b"", data[:-1], data + b"x", b"x" + data[1:], bytes(len(data)), bytes(SNAPSHOT_BYTES_MAX + 1)):
        with pytest.raises(ValueError, match="fraud model snapshot"):
            describe(bad)


def test_the_end_of_a_history_is_learned_as_at_the_next_boundary(lived: Head) -> None:
    early, late = restored(lived), restored(lived)
    _, rows = payments(1, AN_HOUR, 10**6)
    last_ms = START_MS + 5 * DAY_MS - HOUR_MS
    for told in (early, late):
        told.learn(arriving(rows, last_ms))
    late.advance(last_ms + HOUR_MS)
    late.advance(last_ms + 2 * HOUR_MS)
    concluded = early.conclude()
    assert concluded is not None and concluded.version == late.version
    assert model().conclude() is None


def test_a_shard_that_was_started_keeps_what_it_knows_until_it_knows_half_as_much() -> None:
    taught = model()
    _, rows = payments(1, 12_000)
    taught.advance(START_MS)
    taught.learn(arriving(rows, START_MS))
    taught.advance(START_MS + DAY_MS)
    taught.advance(START_MS + DAY_MS + HOUR_MS)
    assert taught.snapshot is not None
    young = model()
    young.install(taught.snapshot.data)
    few, many = payments(2, 1_500, 10**6)[1], payments(3, 8_000, 2 * 10**6)[1]
    at_ms = START_MS + 2 * DAY_MS
    young.advance(at_ms)
    for more, refitted in ((few, False), (many, True)):
        young.learn(arriving(more, at_ms))
        young.advance(at_ms + DAY_MS)
        young.advance(at_ms + DAY_MS + HOUR_MS)
        at_ms += DAY_MS + HOUR_MS
        predictor = young.snapshot.predictor
        assert isinstance(predictor, Mixture) and predictor.boundary_ms > START_MS + 2 * DAY_MS
        daily = [expert.fitted_ms > START_MS + DAY_MS for expert in predictor.experts[1:]]
        assert daily == [refitted, refitted]
