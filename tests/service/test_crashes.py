"""Whatever dies and whatever fails, what comes out is what one undisturbed run gives."""

import json
import os

import pytest

from engine.core.adoption import HEAD_RULESET
from tests.service import ruling
from tests.service.observing import Observing, observed
from tests.service.simulator.alone import SoleSimulation
from tests.service.simulator.campaign import campaign, ran
from tests.service.simulator.checks import check, check_alone, run_now
from tests.service.simulator.faults import NONE, Faults
from tests.service.simulator.loop import run
from tests.service.simulator.marketing import Marketing
from tests.service.simulator.simulation import Simulation

SEEDS = int(os.environ.get("STEWARD_SIMULATOR_SEEDS", "500"))  # a tenth of a second of one core each


def test_nothing_is_lost_or_doubled_whatever_goes_wrong() -> None:
    processes = os.cpu_count() or 1
    runs = list(campaign(range(SEEDS), processes))
    failures = [one.failure for one in runs if one.failure]
    assert not failures, "\n".join(failures)
    assert sum(one.lives for one in runs) > 2 * SEEDS
    assert sum(one.fenced for one in runs) > SEEDS / 4  # loads find a rollback, too, before a commit is refused
    assert sum(one.refused for one in runs) > SEEDS / 5


@pytest.mark.parametrize("begins_without", [True, False])
def test_campaigns_come_to_the_same_whatever_goes_wrong(begins_without: bool) -> None:
    kinds: set[str] = set()
    for seed in range(15):
        simulation = Simulation(seed, world=Marketing(begins_without=begins_without), partitions=1, events=90)
        run(simulation.run())
        check(simulation)
        kinds |= {sent.output.kind for sent in simulation.broker.sent}
    assert kinds >= {"reward", "offer", "lifecycle"}


def test_a_seed_is_the_same_run_again() -> None:
    assert ran(84) == ran(84)


def test_an_undisturbed_run_sends_each_output_once() -> None:
    simulation = Simulation(7, faults=NONE)
    run(simulation.run())
    check(simulation)
    assert simulation.lives == simulation.workers
    assert len(simulation.broker.sent) == len({sent.output.id for sent in simulation.broker.sent})


def test_a_failing_seed_is_one_line_that_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(simulation: Simulation) -> None:
        raise AssertionError("lost: dec_1\nand more")

    monkeypatch.setattr("tests.service.simulator.campaign.check", fails)
    assert ran(5).failure == (
        "seed 5: AssertionError: lost: dec_1 (fails); to see it again: python -m tests.service.simulator 5"
    )


@pytest.mark.parametrize("first", range(0, 60, 20))
def test_a_sole_owner_answers_every_call_with_what_its_journal_says(first: int) -> None:
    for seed in range(first, first + 20):
        simulation = SoleSimulation(seed)
        run(simulation.run())
        check_alone(simulation)
        assert simulation.answers


@pytest.mark.parametrize("seed", range(200, 216))
def test_timers_and_watches_fire_once_and_at_their_place_whatever_dies(seed: int) -> None:
    simulation = Simulation(seed, world=Observing(), events=100)
    run(simulation.run())
    check(simulation)
    raised = 0
    for shard, records in simulation.records.items():
        alerts = observed([record.value for record in records])
        assert [one for one in dict.fromkeys(simulation.broker.ids(shard)) if one in set(alerts)] == alerts
        raised += len(alerts)
    assert raised > 5


@pytest.mark.parametrize("seed", range(300, 312))
def test_what_is_in_force_is_adopted_at_its_place_whatever_dies(seed: int) -> None:
    faults = Faults(kill=0.01, lost=0.1, rollbacks=2)
    # One partition: the detector that ships reads features of devices, which partitions share.
    simulation = Simulation(seed, world=ruling.Ruling(), events=80, faults=faults, partitions=1)
    run(simulation.run())
    check(simulation)
    for shard, records in simulation.records.items():
        sent = {s.output.id: s.output for s in simulation.broker.sent if s.shard == shard}
        decisions = [json.loads(output.data) for output in sent.values() if output.kind == "decision"]
        foretold, in_force = ruling.foretold([record.value for record in records])
        assert [{name: decision[name] for name in ("rules", "shadow", "ruleset")} for decision in decisions] == foretold
        assert len({decision["ruleset"] for decision in decisions}) == 2
        assert run_now(simulation.store.open(shard)).state[HEAD_RULESET].decode() == in_force
