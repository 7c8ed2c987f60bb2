"""Whatever dies and whatever fails, what comes out is what one undisturbed run gives."""

import json

import pytest

from engine.core.adoption import HEAD_RULESET
from tests.service import ruling
from tests.service.observing import Observing, observed, outputs
from tests.service.simulator import Simulation
from tests.support.counting import replay


async def check(simulation: Simulation) -> None:
    for shard, values in simulation.values.items():
        expected = replay(values, shard)
        assert simulation.sink.ids(shard) == expected
        ordinals = {(ordinal, output.id) for s, ordinal, output in simulation.sink.sent if s == shard}
        assert ordinals == set(enumerate(expected))
    calm = Simulation(simulation.seed, kill=0.0, fail=0.0)
    await calm.run()
    for shard in simulation.values:
        mine, other = simulation.store._shards[shard], calm.store._shards[shard]
        assert mine.state == other.state
        assert mine.offset == other.offset


@pytest.mark.parametrize("seed", range(40))
async def test_killed_workers_lose_and_double_nothing(seed: int) -> None:
    simulation = Simulation(seed)
    await simulation.run()
    await check(simulation)


@pytest.mark.parametrize("seed", range(100, 120))
async def test_two_owners_of_the_same_shards_write_one_history(seed: int) -> None:
    simulation = Simulation(seed, kill=0.02)
    await simulation.run(workers=2)
    await check(simulation)


async def test_an_undisturbed_run_sends_each_output_once() -> None:
    simulation = Simulation(7, kill=0.0, fail=0.0)
    await simulation.run()
    assert simulation.lives == 1
    assert len(simulation.sink.sent) == sum(len(replay(v, s)) for s, v in simulation.values.items())


@pytest.mark.parametrize(("seed", "workers"), [(seed, 1 + seed % 2) for seed in range(200, 216)])
async def test_timers_and_watches_fire_once_and_at_their_place_whatever_dies(seed: int, workers: int) -> None:
    simulation = Simulation(seed, world=Observing(), events=120, kill=0.03)
    await simulation.run(workers=workers)
    raised = 0
    for shard, values in simulation.values.items():
        expected = outputs(values, shard)
        assert simulation.sink.ids(shard) == expected
        alerts = observed(values)
        assert [identity for identity in expected if identity in set(alerts)] == alerts
        raised += len(alerts)
    assert raised > 10


@pytest.mark.parametrize(("seed", "workers"), [(seed, 1 + seed % 2) for seed in range(300, 312)])
async def test_what_is_in_force_is_adopted_at_its_place_whatever_dies(seed: int, workers: int) -> None:
    simulation = Simulation(seed, world=ruling.Ruling(), events=120, partitions=1, kill=0.03)  # alone: nobody shares
    await simulation.run(workers=workers)
    for shard, values in simulation.values.items():
        expected = ruling.outputs(values, shard)
        assert simulation.sink.ids(shard) == [output.id for output in expected]
        sent = {output.id: output for s, _, output in simulation.sink.sent if s == shard}
        assert [sent[output.id].data for output in expected] == [output.data for output in expected]
        decisions = [json.loads(output.data) for output in expected if output.kind == "decision"]
        foretold, in_force = ruling.foretold(values)
        assert [{name: decision[name] for name in ("rules", "shadow", "ruleset")} for decision in decisions] == foretold
        assert len({decision["ruleset"] for decision in decisions}) == 2
        assert (await simulation.store.open(shard)).state[HEAD_RULESET].decode() == in_force
