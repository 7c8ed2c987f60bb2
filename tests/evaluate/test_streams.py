"""The streams that detection is measured on: reproducible, and no label before its time."""

import json

import numpy as np
import pytest

from load_tests.detection import drift
from load_tests.detection.payments import DAY_S, LABEL_DAYS, Payments, events, poisoned, truth


@pytest.fixture(scope="module")
def stream() -> Payments:
    return drift.payments("testing", 1)


def test_the_same_seed_gives_the_same_stream(stream: Payments) -> None:
    again, other = drift.payments("testing", 1), drift.payments("testing", 2)
    assert all(np.array_equal(one, two) for one, two in zip(stream, again))
    assert not np.array_equal(stream.minor, other.minor[: len(stream.minor)])


@pytest.mark.parametrize("kind", drift.KINDS)
def test_fraud_is_rare_and_changes_overnight(kind: str) -> None:
    made = drift.payments(kind, 3)
    day = (made.time_s - drift.START_S) // DAY_S
    assert (np.diff(made.time_s) >= 0).all() and made.minor.min() >= 1
    before, after = made.fraud[day < drift.DRIFT_DAY], made.fraud[day >= drift.DRIFT_DAY]
    assert 0.003 < before.mean() < 0.02 and 0.003 < after.mean() < 0.02
    # A rule that was exact on the other side of the change is not any more, or amounts are others.
    large = made.minor > 100 * drift.LARGE
    precision = [made.fraud[large & side].mean() for side in (day < drift.DRIFT_DAY, day >= drift.DRIFT_DAY)]
    assert precision[0] == 1.0
    assert (precision[1] < 0.6) == (kind != "smaller")


def test_labels_come_when_they_are_due_and_before_the_day(stream: Payments) -> None:
    few = Payments(*(column[:12_000] for column in stream))
    made = [json.loads(line) for lines in events(few) for line in lines]
    times = [event["event_time"] for event in made]
    assert times == sorted(times)
    paid = {event["payment_id"]: event for event in made if event["type"] == "payment.authorised"}
    labels = [event for event in made if event["type"] == "label.assigned"]
    assert len(paid) == 12_000 and len({event["event_id"] for event in made}) == len(made)
    told = dict(line.split(",") for line in truth(few))
    assert {event["payment_id"] for event in labels} == {name for name, label in told.items() if label == "fraud"}
    for event in labels:
        day = paid[event["payment_id"]]["event_time"] // (DAY_S * 1_000)
        assert event["event_time"] == (day + LABEL_DAYS) * DAY_S * 1_000
        assert event["label"] == "fraud"
    explicit = [json.loads(line) for lines in events(few, explicit=True, late_days=3) for line in lines]
    said = {event["payment_id"]: event["label"] for event in explicit if event["type"] == "label.assigned"}
    assert said == told


def test_poison_turns_the_share_asked_for(stream: Payments) -> None:
    told = poisoned(stream, 0.01, 5)
    assert np.array_equal(told, poisoned(stream, 0.01, 5))
    assert (told != stream.fraud).mean() == pytest.approx(0.01, rel=0.05)
