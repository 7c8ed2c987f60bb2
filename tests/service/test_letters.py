"""Letters through real shards, relays and stores, whatever goes wrong; and where the sink puts them."""

import json

import pytest

from engine.adapters.fan_out import FanOut
from engine.adapters.memory_sink import MemorySink
from engine.core.effects import Output
from engine.ports.log import LogUnavailable
from engine.ports.sink import SinkUnavailable
from engine.service.posting import LetterSink
from tests.service.simulator.checks import check
from tests.service.simulator.loop import run
from tests.service.simulator.referrals import Posting, check_letters, letters


@pytest.mark.parametrize("seed", range(24))
def test_budgets_are_whole_and_referrals_decided_once_whatever_goes_wrong(seed: int) -> None:
    """Killed, paused and replaced owners, lost answers, letters that come twice or a minute later, a store that goes
    back; every output is as an undisturbed run over the same logs has it."""
    simulation = Posting(seed, partitions=2 + seed % 3)
    run(simulation.run())
    check(simulation)
    check_letters(simulation)


def test_the_seeds_write_letters_of_both_kinds() -> None:
    found = {"reward": 0, "budget": 0}
    for seed in range(3):
        simulation = Posting(seed, partitions=3)
        run(simulation.run())
        for kind in found:
            found[kind] += len(letters(simulation, kind))
    assert min(found.values()) > 10


class Log:
    """Remembers what it is given; `failures`: how many of the next calls fail."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes | int, bytes]] = []
        self.failures = 0

    async def write(self, key: bytes, value: bytes, headers: object) -> int:
        await self._put(key, value)
        return 0

    async def announce(self, shard: int, record: bytes) -> None:
        await self._put(shard, record)

    async def _put(self, where: bytes | int, value: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise LogUnavailable("the test asked for a failure")
        self.got.append((where, value))


def letter(number: int, key: bytes = b"", **fields: object) -> Output:
    return Output("letter", key, f"let_{number}", number, json.dumps(fields).encode())


async def test_letters_go_to_their_customer_or_shard_and_nothing_else_does() -> None:
    log, sink = Log(), MemorySink()
    outputs = [Output("reward", b"c", "rew_1", 1, b"{}"), letter(2, b"somebody"), letter(3, receiver=5)]
    await FanOut([LetterSink(log), sink]).send(1, 7, outputs)
    assert log.got == [(b"somebody", b"{}"), (5, b'{"receiver": 5}')]
    assert [output.id for _, _, output in sink.sent] == ["rew_1", "let_2", "let_3"]


async def test_a_log_that_is_away_holds_up_what_comes_behind_and_may_get_letters_twice() -> None:
    log, sink = Log(), MemorySink()
    both = FanOut([LetterSink(log), sink])
    outputs = [letter(1, b"a"), letter(2, b"b")]
    await LetterSink(log).send(0, 0, outputs[:1])
    log.failures = 1
    with pytest.raises(SinkUnavailable, match="asked for"):
        await both.send(0, 0, outputs)
    assert not sink.sent
    await both.send(0, 0, outputs)
    assert [where for where, _ in log.got] == [b"a", b"a", b"b"]
    assert len(sink.sent) == 2
