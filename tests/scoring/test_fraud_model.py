"""The fraud model over event time: batches, restarts and trainers change nothing; what is damaged is survived."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.adapters.trainer_thread import ThreadTrainer
from engine.domain.trainer import Inline, Trainer
from engine.scoring import fraud_model
from engine.scoring.fraud_model import FraudModel, FraudScores, LabelledRows, LearnerSettings
from engine.scoring.fraud_storage import HEAD_BEFORE, HEAD_CLOCK, HEAD_FRAUD, HEAD_QUARANTINED, HEAD_RANK, HEAD_SNAPSHOT
from tests.scoring.labelled import DAY_MS, HOUR_MS, INPUTS, START_MS, arriving, average_precision, hours, payments
from tests.scoring.test_rows import Head, store

NAMES = [f"input_{i}" for i in range(INPUTS)]
AN_HOUR = 40
DELAY = 24  # hours until a label arrives


def model(trainer: Trainer | None = None, *, learner: str = "boosted_trees", names: list[str] = NAMES) -> FraudModel:
    return FraudModel(names, LearnerSettings(learner=learner), trainer or Inline(), backed=True)


class Lived(NamedTuple):
    """What came of a stream: versions by hour, scores and labels of all payments, the stored state."""

    versions: list[str]
    scores: FraudScores
    fraud: NDArray[np.uint8]
    head: Head


class Life:
    """Some days of a shard: payments each hour, their labels a day later, state stored hour by hour."""

    def __init__(self, learner: str = "boosted_trees", trainer: Trainer | None = None) -> None:
        self.head = Head()
        self.trainer, self.learner = trainer, learner
        self.model = model(trainer, learner=learner)
        self.drawn: dict[int, LabelledRows] = {}

    def restart(self) -> None:
        self.model = model(self.trainer, learner=self.learner)
        self.model.restore(self.head)
        assert self.model.problems == ()

    def hour(
        self, at_ms: int, batch: int, poison: float = 0.0, turned: bool = False
    ) -> tuple[FraudScores, LabelledRows]:
        """One hour, in batches: learn what matured, advance, score, draw, store."""
        due = self.drawn.pop(at_ms - DELAY * HOUR_MS, None)
        if due is not None:
            self.model.learn(due)
        self.model.advance(at_ms)
        first = (at_ms - START_MS) // HOUR_MS * AN_HOUR
        x, rows = payments(1, AN_HOUR, first, turned)
        found, shares = [], []
        for start in range(0, AN_HOUR, batch):
            part = slice(start, start + batch)
            none = np.full(len(x[part]), np.nan)
            shares.append(self.model.draw(rows.payments[part]))
            found.append(self.model.score(np.ascontiguousarray(x[part]), none, none))
            store(self.head, self.model.ops())
        scores = FraudScores(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        flips = (np.random.default_rng(first).random(rows.n) < poison).astype(np.uint8)
        told = arriving(rows, at_ms + DELAY * HOUR_MS)
        self.drawn[at_ms] = LabelledRows(
            told.payments, told.decided_ms, told.arrived_ms, rows.fraud ^ flips, told.inputs, told.plain, told.labelled,
            scores.margin.astype(np.float32), np.concatenate(shares),
        )  # fmt: skip
        return scores, rows


def lived(
    days: int, batch: int = AN_HOUR, restarts: frozenset[int] = frozenset(), life: Life | None = None, **how: float
) -> Lived:
    life = life or Life()
    versions, scores, fraud = [], [], []
    for place, at_ms in enumerate(hours(days)):
        if place in restarts:
            life.restart()
        turned = how.get("turned_after", 1e9) <= place / 24
        found, rows = life.hour(at_ms, batch, how.get("poison", 0.0), turned)
        versions.append(life.model.version)
        scores.append(found)
        fraud.append(rows.fraud)
    everything = FraudScores(*(np.concatenate(parts) for parts in zip(*scores, strict=True)))
    return Lived(versions, everything, np.concatenate(fraud), life.head)


@pytest.fixture(scope="module")
def calm() -> Lived:
    return lived(9)


def same(a: Lived, b: Lived) -> None:
    assert a.versions == b.versions
    for one, other in zip(a.scores, b.scores, strict=True):
        np.testing.assert_array_equal(one, other)
    assert a.head == b.head


def test_it_learns_from_labels_that_come_late(calm: Lived) -> None:
    late = slice(-3 * 24 * AN_HOUR, None)
    assert average_precision(calm.fraud[late], calm.scores.margin[late]) > 12 * calm.fraud.mean()
    probability, fraud = calm.scores.probability[late], calm.fraud[late]
    assert abs(probability.mean() / fraud.mean() - 1.0) < 0.35
    assert ((probability - fraud) ** 2).mean() < 0.75 * fraud.mean() * (1 - fraud.mean())
    order = np.argsort(calm.scores.margin[late][:AN_HOUR])
    assert (np.diff(probability[:AN_HOUR][order]) >= 0).all()


def test_there_is_no_score_until_enough_is_known_and_one_for_all_after(calm: Lived) -> None:
    ready = ~np.isnan(calm.scores.margin)
    first = int(np.argmax(ready))
    assert 0 < first < len(ready)
    assert ready[first:].all()
    assert first % (24 * AN_HOUR) == AN_HOUR  # at the boundary of a day, adopted an hour later
    assert np.isnan(calm.scores.probability[:first]).all()
    assert calm.versions[0] == "gbt1-none"


def test_what_was_learned_at_midnight_is_adopted_an_hour_later(calm: Lived) -> None:
    changes = [place % 24 for place in range(1, len(calm.versions)) if calm.versions[place] != calm.versions[place - 1]]
    assert changes and set(changes) == {1}


@given(
    batch=st.integers(1, AN_HOUR + 5),
    restarts=st.frozensets(st.one_of(st.integers(1, 215), st.sampled_from((96, 97, 120, 121, 168, 169))), max_size=6),
)
@settings(max_examples=8, deadline=None)
def test_batches_and_restarts_change_nothing(calm: Lived, batch: int, restarts: frozenset[int]) -> None:
    same(lived(9, batch, restarts), calm)


def test_a_restart_between_boundary_and_adoption_learns_the_same_again(calm: Lived) -> None:
    """Stored after the boundary's batches, before the result was taken."""
    same(lived(9, 7, frozenset(24 * day + 1 for day in range(1, 9))), calm)


def test_a_restart_of_the_hourly_learner_changes_nothing() -> None:
    one = lived(6, life=Life("logistic"))
    same(lived(6, 9, frozenset((30, 97, 98, 110, 120, 121, 143)), Life("logistic")), one)
    assert len(set(one.versions)) > 20
    ready = ~np.isnan(one.scores.margin)
    assert average_precision(one.fraud[ready], one.scores.margin[ready]) > 0.3


def test_a_thread_changes_nothing(calm: Lived) -> None:
    trainer = ThreadTrainer()
    try:
        same(lived(9, life=Life(trainer=trainer)), calm)
    finally:
        trainer.close()


class Slow:
    """A trainer that works when it is asked for the result, and counts."""

    def __init__(self) -> None:
        self.jobs = 0

    def submit(self, job: Callable[[], object]) -> "Slow":
        self.jobs += 1
        self.job = job
        return self

    def result(self) -> object:
        return self.job()


def test_hours_may_be_left_out_and_told_twice() -> None:
    """Idle days make no jobs of their own; a job that is overdue is taken before the next is handed in."""
    slow = Slow()
    life = Life(trainer=slow)  # type: ignore[arg-type]
    for at_ms in hours(4):
        life.hour(at_ms, AN_HOUR)
    assert slow.jobs == 3
    version = life.model.version
    life.model.advance(START_MS + 2 * DAY_MS)  # the past
    assert slow.jobs == 3
    later = START_MS + 30 * DAY_MS + 5 * HOUR_MS
    life.model.advance(later)
    assert slow.jobs == 4
    assert life.model.version != version  # handed in and taken at once, as the adoption is overdue
    life.model.advance(later)
    assert slow.jobs == 4


def test_training_that_fails_leaves_the_last_model_in_place(calm: Lived, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room for trees")

    for trainer in (Inline(), ThreadTrainer()):
        survivor = model(trainer)
        survivor.restore(calm.head)
        with monkeypatch.context() as patched:
            patched.setattr(survivor._learner, "learn", fail)
            survivor.advance(START_MS + 9 * DAY_MS)
            survivor.advance(START_MS + 9 * DAY_MS + HOUR_MS)
        assert survivor.version == calm.versions[-1]
        assert survivor.problems == ("training at 2024-10-13T00:00:00.000Z: MemoryError: no room for trees",)
        survivor.advance(START_MS + 10 * DAY_MS)
        survivor.advance(START_MS + 10 * DAY_MS + HOUR_MS)
        assert survivor.version not in calm.versions


def test_a_later_label_replaces_the_earlier() -> None:
    """The same rows with half of the labels wrong, then corrected: the same predictor as from right labels alone."""
    x, rows = payments(1, 3_000)
    wrong = LabelledRows(**{**{f.name: getattr(rows, f.name) for f in fields(rows)}, "fraud": 1 - rows.fraud})
    margins = []
    for told in ([rows], [wrong, rows]):
        taught = model()
        taught.advance(START_MS)
        for part in told:
            taught.learn(arriving(part, START_MS))
        taught.advance(START_MS + DAY_MS + HOUR_MS)
        margins.append(taught.score(x, np.zeros(3_000), np.zeros(3_000)).margin)
    np.testing.assert_array_equal(*margins)


def test_poisoned_labels_cost_little(calm: Lived) -> None:
    late = slice(-3 * 24 * AN_HOUR, None)
    clean = average_precision(calm.fraud[late], calm.scores.margin[late])
    poisoned = lived(9, poison=0.01)
    assert average_precision(poisoned.fraud[late], poisoned.scores.margin[late]) > clean - 0.06


def test_after_a_change_the_short_memories_take_over(calm: Lived) -> None:
    after = lived(16, turned_after=9.0)
    last = slice(-3 * 24 * AN_HOUR, None)
    adapted = average_precision(after.fraud[last], after.scores.margin[last])
    stale = model()
    stale.install(calm.head[HEAD_SNAPSHOT])
    x = np.concatenate([payments(1, AN_HOUR, AN_HOUR * hour, True)[0] for hour in range(13 * 24, 16 * 24)])
    none = np.zeros(len(x))
    assert adapted > 4 * average_precision(after.fraud[last], stale.score(x, none, none).margin)


def test_evidence_moves_the_margin_and_reasons_add_up() -> None:
    life = Life()
    for at_ms in hours(5):
        life.hour(at_ms, AN_HOUR)
    x, _ = payments(3, 40)
    zero = np.zeros(40)
    bare = life.model.score(x, zero, np.full(40, np.nan)).margin
    weight = LearnerSettings().plain_weight
    for plain, labelled, nats in ((5.0, 0.0, 5.0), (0.0, -3.0, -3.0), (np.inf, np.nan, 5.0), (2.0, 1.0, 3.0)):
        moved = life.model.score(x, zero + plain, zero + labelled).margin
        np.testing.assert_allclose(moved - bare, weight * nats, atol=1e-12)
        reasons = life.model.reasons(x[0], plain, labelled)
        assert abs(reasons.base + reasons.inputs.sum() + reasons.plain + reasons.labelled - moved[0]) < 1e-9


def test_a_flood_of_payments_does_not_fill_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fraud_model, "DRAWN_MAX", 100)
    ids = np.arange(20_000, dtype=np.uint64)
    whole, parts = model(), model()
    shares = whole.draw(ids)
    pieces = [parts.draw(part) for part in np.array_split(ids, 37)]
    np.testing.assert_array_equal(np.concatenate(pieces), shares)
    drawn = shares > 0
    assert 400 < drawn.sum() < 1_000
    assert np.unique(shares[drawn]).tolist() == sorted(
        np.float32(0.3) * 0.5**k for k in range(len(np.unique(shares[drawn])))
    )
    assert abs((1.0 / shares[drawn]).sum() / len(ids) - 1.0) < 0.15  # they stand for all


def test_the_share_follows_the_volume_of_days_past() -> None:
    told = model()
    told.advance(START_MS)
    told.draw(np.arange(50_000, dtype=np.uint64))
    told.advance(START_MS + DAY_MS)
    shares = told.draw(np.arange(1_000, dtype=np.uint64))
    assert np.unique(shares[shares > 0]).tolist() == [np.float32(6_000 / 7 / 50_000)]


def test_a_damaged_snapshot_is_put_aside_and_the_one_before_serves(calm: Lived) -> None:
    head = dict(calm.head)
    damaged = head[HEAD_SNAPSHOT][:-1] + b"?"
    head[HEAD_SNAPSHOT] = damaged
    survivor = model()
    survivor.restore(head)
    assert survivor.problems == ("snapshot: fraud model snapshot is damaged: its checksum does not match",)
    assert survivor.ready and survivor.version in calm.versions and survivor.version != calm.versions[-1]
    store(head, survivor.ops())
    assert head[HEAD_QUARANTINED] == damaged
    assert head[HEAD_SNAPSHOT] == calm.head[HEAD_BEFORE]
    again = model()
    again.restore(head)
    assert again.problems == () and again.version == survivor.version
    survivor.advance(START_MS + 9 * DAY_MS)
    survivor.advance(START_MS + 9 * DAY_MS + HOUR_MS)
    assert survivor.version not in calm.versions  # it goes on learning


def test_with_both_snapshots_damaged_it_begins_anew_from_its_rows(calm: Lived) -> None:
    head = {**calm.head, HEAD_SNAPSHOT: b"", HEAD_BEFORE: b"SFM1", HEAD_CLOCK: calm.head[HEAD_CLOCK]}
    survivor = model()
    survivor.restore(head)
    assert len(survivor.problems) == 2 and not survivor.ready and survivor.rows > 0
    survivor.advance(START_MS + 9 * DAY_MS)
    survivor.advance(START_MS + 9 * DAY_MS + HOUR_MS)
    assert survivor.ready


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_is_damaged_it_starts(calm: Lived, data: st.DataObject) -> None:
    head = dict(calm.head)
    key = data.draw(st.sampled_from(sorted(head)))
    bad = bytearray(head[key])
    if data.draw(st.booleans()):
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del bad[data.draw(st.integers(0, len(bad) - 1)) :]
    head[key] = bytes(bad)
    survivor = model()
    survivor.restore(head)
    survivor.advance(START_MS + 10 * DAY_MS)
    x, _ = payments(3, 10)
    scores = survivor.score(x, np.zeros(10), np.zeros(10))
    assert np.isfinite(scores.margin).all() or not survivor.ready
    store(head, survivor.ops())
    again = model()
    again.restore(head)
    assert again.problems == ()


def test_another_configuration_begins_anew_and_clears_what_was_stored(calm: Lived) -> None:
    for other in (model(names=[*NAMES[:-1], "other"]), model(learner="logistic")):
        head = dict(calm.head)
        other.restore(head)
        assert not other.ready and other.rows == 0
        store(head, other.ops())
        assert HEAD_SNAPSHOT not in head and HEAD_RANK not in head
        assert not [key for key in head if key.startswith(HEAD_FRAUD + b"rows/")]


def test_forgetting_leaves_nothing_stored(calm: Lived) -> None:
    head = dict(calm.head)
    gone = model()
    gone.restore(head)
    store(head, gone.forget())
    assert head == {}


def test_a_snapshot_made_elsewhere_can_be_installed(calm: Lived) -> None:
    other = model()
    other.advance(START_MS + 9 * DAY_MS)
    assert other.install(calm.head[HEAD_BEFORE]) == other.version != "gbt1-none"
    assert other.ready
    version = other.version
    for bad in (b"", calm.head[HEAD_BEFORE][:-1], model(names=[*NAMES[:-1], "x"]).version.encode()):
        with pytest.raises(ValueError, match="fraud model snapshot"):
            other.install(bad)
    assert other.version == version
    with pytest.raises(ValueError, match="another configuration"):
        model(names=[*NAMES[:-1], "x"]).install(calm.head[HEAD_BEFORE])


def test_inputs_are_checked() -> None:
    told = model()
    zero = np.zeros(3)
    for x in (np.zeros((3, INPUTS)), np.zeros((3, 2), np.float32), np.zeros((INPUTS, 3), np.float32).T):
        with pytest.raises(ValueError, match=r"C-contiguous float32 \(n, 6\)"):
            told.score(x, zero, zero)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="before it gives scores"):
        told.reasons(np.zeros(INPUTS, np.float32), 0.0, 0.0)
    for names in ([], ["x"] * 257):
        with pytest.raises(ValueError, match="1 to 256"):
            model(names=names)


def test_jobs_of_a_thread_are_done_in_order_and_raise_where_they_are_asked_for() -> None:
    trainer, gate, done = ThreadTrainer(), threading.Event(), []

    def jobs() -> Iterator[Callable[[], int]]:
        yield lambda: (gate.wait(10) and done.append(1)) or 1
        yield lambda: done.append(2) or 2
        yield lambda: 1 // 0

    handles = [trainer.submit(job) for job in jobs()]
    assert done == []
    gate.set()
    assert [handle.result() for handle in handles[:2]] == [1, 2]
    assert done == [1, 2]
    with pytest.raises(ZeroDivisionError):
        handles[2].result()
    trainer.close()
