"""Many seeds of the simulator (tests/service/simulator): real service and core, servers in memory, faults drawn.

    python -m load_tests.simulate --seeds 10000 [--first 0] [--world letters] [--processes 2]

Prints one line a failing seed with the command that replays it, and sums up at the end; exits 1 where any failed.
"""

import argparse
import os
import sys
import time

from tests.service.simulator.campaign import WORLDS, campaign

REPORT_EVERY = 500


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m load_tests.simulate", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument(
        "--world", choices=sorted(WORLDS), default="payments", help="letters: shards that tell each other things"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    began_s, failed = time.monotonic(), 0
    sums = dict.fromkeys(("lives", "commits", "fenced", "refused", "rollbacks", "outputs"), 0)
    seeds = range(given.first, given.first + given.seeds)
    for number, run in enumerate(campaign(seeds, given.processes, given.world), 1):
        if run.failure:
            failed += 1
            print(run.failure, flush=True)
        for name in sums:
            sums[name] += getattr(run, name)
        if number % REPORT_EVERY == 0:
            print(f"{number} seeds, {failed} failed, {time.monotonic() - began_s:.0f} s", file=sys.stderr, flush=True)
    print(
        f"{given.seeds} seeds, {failed} failed, in {time.monotonic() - began_s:.0f} s: {sums['lives']} processes, "
        f"{sums['commits']} commits, {sums['fenced']} refused by the fence, {sums['refused']} by the broker, "
        f"{sums['rollbacks']} rollbacks of the store, {sums['outputs']} outputs"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
