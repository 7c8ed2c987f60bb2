"""Replays seeds: `python -m tests.service.simulator SEED …`. Ends with the first that fails."""

import sys

from tests.service.simulator.checks import check
from tests.service.simulator.loop import run
from tests.service.simulator.simulation import Simulation


def main() -> None:
    for seed in map(int, sys.argv[1:]):
        simulation = Simulation(seed)
        sink = "a transactional sink" if simulation.transactional else "a plain sink"
        print(f"{seed}: {simulation.partitions} partitions, {simulation.workers} workers, {sink}; {simulation.faults}")
        run(simulation.run())
        check(simulation)
        store, broker = simulation.store, simulation.broker
        print(
            f"  {simulation.lives} lives, {store.commits} commits, {store.fenced} refused, {len(broker.sent)} outputs"
        )


if __name__ == "__main__":
    main()
