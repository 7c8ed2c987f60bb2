"""Partitioners against those of the client libraries, and what of a shard cannot be carried."""

import random

import pytest
from aiokafka.partitioner import murmur2 as theirs

from engine.core.moving import UnknownTimer, waking
from engine.core.timers import Timer, Timers
from engine.domain.ops import unpack
from engine.service.partitioners import PARTITIONERS, fitting, fnv1a, murmur2


def test_murmur2_is_that_of_kafka() -> None:
    draw = random.Random(1)
    for length in range(40):
        key = draw.randbytes(length)
        assert murmur2(key) == theirs(key) & 0x7FFFFFFF


@pytest.mark.parametrize(("key", "unsigned"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)])
def test_fnv1a_is_the_published_one_without_its_sign(key: bytes, unsigned: int) -> None:
    """Vectors of Fowler, Noll and Vo; sarama takes the number as signed and drops the sign."""
    assert fnv1a(key) == 2**32 - unsigned


def test_those_that_fit_a_partition_are_named() -> None:
    key = b"customer-7"
    for name, hashed in PARTITIONERS.items():
        assert name in fitting(key, hashed(key) % 1_000, 1_000)
    taken = {hashed(key) % 1_000 for hashed in PARTITIONERS.values()}
    assert fitting(key, next(n for n in range(1_000) if n not in taken), 1_000) == []


def test_a_timer_of_an_unknown_kind_is_not_lost_silently() -> None:
    timers = Timers(backed=True)
    timers.schedule(Timer(5_000, 250, b"owner"), 0)
    (op,) = unpack(timers.flush(0))
    with pytest.raises(UnknownTimer, match="kind 250"):
        waking(op.value, b"")
