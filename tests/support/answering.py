"""An API that answers without the state, over a shard without a log whose store can be taken away."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.adapters.clocks import SystemClock
from engine.adapters.memory_rules import MemoryRules
from engine.adapters.memory_sink import MemorySink
from engine.config import load
from engine.core.partition import Partition
from engine.partitions import core_settings
from engine.ruleset import compile
from engine.service.backoff import Backoff
from engine.service.batching import BatchLimits
from engine.service.degraded import DegradedDecider
from engine.service.given import GivenAnswers
from engine.service.rule_sets import RuleLibrary
from engine.service.standing import StandingReader
from tests.support.http import FlakyStore
from tests.support.owners import sole_owner

NOW_MS = 1_800_000_000_000
CLOCK = SystemClock()
CORE = core_settings(load({}))
TTL_S = 3_600
RULES = """
lists: {blocked: {values: [evil]}}
features: [{name: n, agg: count, by: customer, window: 1h}]
rules:
  - {id: blocked_merchant, when: merchant_id in lists.blocked, then: {decision: decline}}
  - {id: busy, when: n >= 3, then: {decision: review}}
  - {id: large, when: amount >= 1000 and n >= 1, then: {decision: step_up}, on_degraded: hit}
models: {}
"""


def backoff() -> Backoff:
    return Backoff(lambda: 0.0, first_s=0.01, max_s=0.02)


@dataclass
class Answering:
    """The parts of one process."""

    store: FlakyStore
    queued_max: int = 100
    sink: MemorySink = field(default_factory=MemorySink)
    fatal: list[BaseException] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    settled: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.library = RuleLibrary(MemoryRules(), compile({"a.yaml": RULES}))
        self.owner = sole_owner(
            Partition(self.library.first, CORE, rulesets=self.library.get), self.store, self.sink, self.fatal,
            clock=CLOCK, backoff=backoff, limits=BatchLimits(events_max=8, queued_events_max=self.queued_max),
            shard={"rule_sets": self.library, "answer_ttl_s": TTL_S}, hasty=True,
        )  # fmt: skip
        self.reader = StandingReader(self.store, self.library, CORE, CLOCK)
        self.given = GivenAnswers(self.store, CLOCK, ttl_s=TTL_S, on_settled=self.settled.append)
        self.decider = DegradedDecider(self.owner, self.reader, self.given, clock=CLOCK, on_answer=self.answered.append)

    async def decide(self, event: bytes, seconds: float = 0.1) -> tuple[str, dict[str, Any]]:
        """Status and body of one call."""
        (result,) = await self.decider.decide([event], seconds)
        return result.status, json.loads(result.body)


@asynccontextmanager
async def answering(store: FlakyStore | None = None, queued_max: int = 100) -> AsyncIterator[Answering]:
    """A running process; drained at the end, its store there again."""
    made = Answering(store or FlakyStore(), queued_max)
    await made.library.start()
    made.owner.start()
    yield made
    made.store.down = False
    made.store.gate.set()
    assert await made.owner.drain(5.0)
    await made.decider.stop()
    assert made.fatal == []


def payment(number: int, amount: int = 10, **fields: Any) -> bytes:
    event = {
        "event_id": f"e{number}",
        "type": "payment.requested",
        "event_time": NOW_MS + number,
        "customer_id": "c1",
        "payment_id": f"p{number}",
        "amount": amount,
        "currency": "EUR",
    }
    return json.dumps({**event, **fields}).encode()
