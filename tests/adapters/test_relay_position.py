"""Which outputs a position lets pass, against a model of a topic, crashes, rollbacks and owners in turn."""

import random

import pytest

from engine.adapters.relay_position import KNOWN_MAX, PositionRecord, RelayPosition, decode, fingerprints
from engine.core.effects import Output


def made(first: int, last: int, history: str = "") -> list[Output]:
    return [Output("decision", b"c", f"dec_{history}{n}", n, b"{}") for n in range(first, last)]


class Topic:
    """Committed records of a read-committed reader: outputs and positions appear together."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.positions: list[bytes] = []

    def records(self, tail: int = 1_000) -> list[PositionRecord]:
        return [decode(value) for value in self.positions[-tail:]]

    def send(self, position: RelayPosition, first: int, outputs: list[Output], *, aborted: bool = False) -> None:
        unsent = position.unsent(first, outputs)
        if aborted or not (unsent or position.moves(first, outputs)):
            return
        self.positions.append(position.record(first, outputs))
        self.ids += [output.id for output in unsent]
        position.sent(first, outputs)


@pytest.mark.parametrize("seed", range(150))
def test_each_output_arrives_once_in_order_whatever_ends_or_goes_back(seed: int) -> None:
    draw = random.Random(seed)
    topic, tail = Topic(), draw.choice((1, 2, 5, 1_000))
    position, at, total = RelayPosition(), 0, draw.randrange(50, 200)
    while at < total:
        event = draw.random()
        if event < 0.15:  # another owner, or the same after an error
            position = RelayPosition(topic.records(tail))
        elif event < 0.3:  # the store goes back, now and then to nothing
            at = draw.choice((0, draw.randrange(at + 1), max(0, at - draw.randrange(20))))
        if position.stale(at):
            position = RelayPosition(topic.records(tail))
        size = min(draw.randrange(1, 12), total - at)
        aborted = draw.random() < 0.1
        topic.send(position, at, made(at, at + size), aborted=aborted)
        if aborted:
            position = RelayPosition(topic.records(tail))
        else:
            at += size
    assert topic.ids == [output.id for output in made(0, total)]
    assert position.changed == 0
    assert not position.renewed


def test_outputs_that_differ_from_those_sent_are_sent_and_counted() -> None:
    topic = Topic()
    topic.send(RelayPosition(), 0, made(0, 100))
    again = made(0, 40) + made(0, 3, "new") + made(40, 100) + made(100, 110)
    position = RelayPosition(topic.records())
    for start in range(0, len(again), 7):
        topic.send(position, start, again[start : start + 7])
    assert topic.ids == [o.id for o in [*made(0, 100), *made(0, 3, "new"), *made(100, 110)]]
    assert (position.changed, position.skipped, position.renewed) == (3, 100, False)


def test_another_history_is_sent_from_its_beginning() -> None:
    topic = Topic()
    for start in range(0, 100, 10):
        topic.send(RelayPosition(topic.records()), start, made(start, start + 10))
    position = RelayPosition(topic.records(2))
    topic.send(position, 0, made(0, 30, "other"))
    assert position.renewed
    topic.send(RelayPosition(topic.records(2)), 30, made(30, 60, "other"))
    assert topic.ids[100:] == [o.id for o in made(0, 60, "other")]
    position = RelayPosition(topic.records(2))
    topic.send(position, 0, made(0, 70, "other"))
    assert not position.renewed
    assert topic.ids[100:] == [o.id for o in made(0, 70, "other")]


def test_what_was_sent_without_transactions_is_taken_as_sent() -> None:
    topic, position = Topic(), RelayPosition()
    topic.send(position, 500, made(500, 510))
    assert len(topic.ids) == 10
    assert position.next == 510
    topic.send(RelayPosition(topic.records()), 495, made(495, 515))
    assert topic.ids[10:] == [f"dec_{n}" for n in range(510, 515)]


def test_memory_is_bounded_and_let_go() -> None:
    size = KNOWN_MAX // 4
    ids = bytes(8 * size)
    records = [PositionRecord(1, n * size, (n + 1) * size, "dec_0", ids) for n in range(10)]
    position = RelayPosition(records)
    assert position._known.nbytes <= 8 * KNOWN_MAX
    assert not position.unsent(0, made(0, 5))
    position.unsent(20 * size, made(0, 1))
    assert position._known.nbytes == 0


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2; this build reads 1"):
        decode(b'{"version":2,"first":0,"next":1,"origin":null,"ids":""}')
    with pytest.raises(ValueError, match="no position"):
        decode(b"{}")


def test_fingerprints_tell_ids_apart() -> None:
    assert len(set(fingerprints(made(0, 10_000)).tolist())) == 10_000
