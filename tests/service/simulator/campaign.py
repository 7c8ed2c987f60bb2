"""Many seeds, over the cores there are."""

import gc
import logging
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import Final, NamedTuple

from tests.service.simulator.checks import check
from tests.service.simulator.loop import run
from tests.service.simulator.referrals import Posting, check_letters
from tests.service.simulator.simulation import Simulation

CHUNK: Final = 20  # seeds a process takes at once


class Ran(NamedTuple):
    """What became of one seed.

    Attributes:
        failure: one line; empty where all held.
        lives: worker processes there were. commits: stored. fenced: refused by the store.
        refused: what the broker refused of producers that were over. rollbacks: of the store.
        outputs: that the consumer got.
    """

    seed: int
    failure: str
    lives: int = 0
    commits: int = 0
    fenced: int = 0
    refused: int = 0
    rollbacks: int = 0
    outputs: int = 0


def of_payments(seed: int) -> Simulation:
    """Shards that know nothing of each other."""
    return Simulation(seed)


def of_letters(seed: int) -> Simulation:
    """Shards that write to each other's logs."""
    return Posting(seed, partitions=2 + seed % 3)


WORLDS: Final = {"payments": of_payments, "letters": of_letters}


def settle(simulation: Simulation) -> None:
    """Run and check. Raises `AssertionError`."""
    run(simulation.run())
    check(simulation)
    if isinstance(simulation, Posting):
        check_letters(simulation)


def ran(seed: int, world: str = "payments") -> Ran:
    """Run one seed and check it."""
    try:
        simulation = WORLDS[world](seed)
        rollbacks = simulation.faults.rollbacks
        settle(simulation)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        told = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''} ({frame.name})"
        again = f"python -m tests.service.simulator{'' if world == 'payments' else f' --world {world}'} {seed}"
        return Ran(seed, f"seed {seed}: {told}; to see it again: {again}")
    store, broker = simulation.store, simulation.broker
    return Ran(seed, "", simulation.lives, store.commits, store.fenced, broker.refused, rollbacks, len(broker.sent))


def _chunk(seeds: list[int], world: str = "payments") -> list[Ran]:
    logging.disable(logging.CRITICAL)
    gc.disable()  # runs leave circles of some megabytes each; nothing older than the run is worth a look
    gc.freeze()
    found = []
    try:
        for seed in seeds:
            found.append(ran(seed, world))
            gc.collect()
    finally:
        gc.unfreeze()
        gc.enable()
    return found


def campaign(seeds: Iterable[int], processes: int, world: str = "payments") -> Iterator[Ran]:
    """Run seeds of one of `WORLDS` in `processes` processes at once; what became of each, in order."""
    left = iter(seeds)
    chunks = iter(lambda: list(islice(left, CHUNK)), [])
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for chunk in pool.map(partial(_chunk, world=world), chunks):
            yield from chunk
