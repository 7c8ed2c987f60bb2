"""Replays seeds: `python -m tests.service.simulator [--world letters] SEED …`. Ends with the first that fails."""

import argparse

from tests.service.simulator.campaign import WORLDS, settle


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.service.simulator", description=__doc__)
    parser.add_argument("--world", choices=sorted(WORLDS), default="payments")
    parser.add_argument("seeds", type=int, nargs="+")
    given = parser.parse_args()
    for seed in given.seeds:
        simulation = WORLDS[given.world](seed)
        sink = "a transactional sink" if simulation.transactional else "a plain sink"
        print(f"{seed}: {simulation.partitions} partitions, {simulation.workers} workers, {sink}; {simulation.faults}")
        settle(simulation)
        store, broker = simulation.store, simulation.broker
        print(
            f"  {simulation.lives} lives, {store.commits} commits, {store.fenced} refused, {len(broker.sent)} outputs"
        )


if __name__ == "__main__":
    main()
