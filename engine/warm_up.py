"""Compiles or loads every kernel before a process takes part: in mid-stream it would stall for seconds."""

import gc
import logging
import time
from typing import Final

from engine.engagement.packing import pack_tables
from engine.generator.stream import generate
from engine.scoring.learners.registry import LEARNERS
from engine.scoring.rehearsal import rehearse
from engine.service.machine import PartitionMachine

COLLECTOR: Final = (5_000, 10, 100)
"""Thresholds of the cyclic collector. State is hundreds of objects a customer, none in a cycle, and grows: by default a
quarter of the engagement stage went into walking it. A walk is of 5,000 new objects, or 50,000 (some 4 ms); all are
walked after 5 million, where a quarter are new."""

EVENTS: Final = 300  # enough for every type of event and more than one growth of each table

logger = logging.getLogger("steward")


def warm_up(partition: PartitionMachine) -> None:
    """Run made-up events through a partition that is thrown away, and keep the collector off what is there then."""
    began = time.monotonic()
    logger.info("loading kernels; the first start after an installation compiles them, which takes a minute or more")
    try_out(partition)
    keep_from_collector()
    logger.info("kernels ready after %.1f s", time.monotonic() - began)


def try_out(partition: PartitionMachine) -> None:
    """Run made-up events through a partition, one alone and many together: both ways of evaluating rules.

    No model becomes ready on so few, so learners rehearse by themselves, and few customers are stored.
    """
    pack_tables([[0, 1]])
    for learner in LEARNERS:
        rehearse(learner)
    for size in (1, EVENTS):
        decoded = partition.decode(list(generate(size)))
        missing = partition.missing(decoded)
        while missing:
            missing = partition.load(missing, [None] * len(missing))
        partition.apply(decoded, lambda index: {"offset": index})


def keep_from_collector() -> None:
    """Keep the collector off what start-up made, and have it walk state seldom.

    Modules and compiled kernels are some hundred thousand objects that live as long as the process: a full collection
    that walks them takes longer than a decision may.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)
