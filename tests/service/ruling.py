"""A world for the simulator in which rule sets, lists and snoozes change while workers die."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from engine.core.controls import stretches
from engine.core.decode import Decoded
from engine.core.effects import Output
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ports.store import StoreUnavailable
from engine.ruleset import RuleSet
from tests.core.adoption_world import (
    ADDRESSES,
    AMOUNTS,
    CARDS,
    CUSTOMERS,
    DEVICES,
    ENTITIES,
    IDS,
    MINUTE,
    NOWHERE,
    ONE,
    SETS,
    T0,
    TWO,
    VALUES,
    Oracle,
    encoded,
)  # fmt: skip
from tests.service.observing import Crashing

SWITCHES: Final = {20: TWO, 50: ONE}
SMALL: Final = CoreSettings(entities_max=2, customers_max=1)


class Shelf:
    """The rule sets of one process: nothing is at hand but the first, until it was fetched."""

    def __init__(self, disturb: Callable[[], bool]) -> None:
        """`disturb` may end the process; it says whether the archive fails."""
        self._disturb = disturb
        self._held: dict[str, RuleSet] = {}

    def get(self, ruleset: str) -> RuleSet | None:
        return self._held.get(ruleset)

    async def fetch(self, ruleset: str) -> RuleSet | None:
        await asyncio.sleep(0)
        if self._disturb():
            raise StoreUnavailable("simulated")
        if ruleset in SETS:
            self._held[ruleset] = SETS[ruleset]
        return self._held.get(ruleset)


class Adopting(Crashing):
    """May die between adoption and commit, too."""

    def missing(self, decoded: Decoded) -> list[bytes]:
        keys = super().missing(decoded)
        self.crash()
        return keys


class Ruling:
    """Payments under rules that change, repeats, and what is no event."""

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        at = T0 + draw.randrange(40) * MINUTE
        if number in SWITCHES:
            switch = {"type": "control.rules", "event_id": f"e{number}", "event_time": at}
            return encoded({**switch, "ruleset": SWITCHES[number].hash})
        if draw.random() < 0.03:
            return draw.choice([None, b"{", b'{"type": "control.list"}'])
        if draw.random() < 0.25:
            record = {"event_id": f"e{number}", "event_time": at, **self._control(draw)}
            return encoded(record, escaped=draw.random() < 0.2)
        identity = draw.randrange(number + 1) if draw.random() < 0.05 else number
        return encoded(
            {
                "type": "payment.requested", "event_id": f"e{identity}", "payment_id": f"p{identity}", "event_time": at,
                "customer_id": draw.choice(CUSTOMERS), "card_id": draw.choice(CARDS), "ip": draw.choice(ADDRESSES),
                "device_id": draw.choice(DEVICES), "amount": draw.choice(AMOUNTS), "currency": "EUR",
            }
        )  # fmt: skip

    def _control(self, draw: random.Random) -> dict[str, Any]:
        kind = draw.choice(["rules", "list", "snooze", "tick", "rules_refused"])
        record: dict[str, Any] = {"type": f"control.{kind}"}
        if kind == "rules":
            record["ruleset"] = draw.choice([ONE.hash, ONE.hash, TWO.hash, TWO.hash, NOWHERE])
        elif kind == "rules_refused":
            record |= {"ruleset": NOWHERE, "errors": ["no"]}
        elif kind == "list":
            name = draw.choice(sorted(VALUES))
            record |= {"name": name, "add": [draw.choice(VALUES[name])], "remove": [draw.choice(VALUES[name])]}
            if draw.random() < 0.5:
                record["expires_at"] = T0 + draw.randrange(40) * MINUTE
        elif kind == "snooze":
            entity = draw.choice(sorted(ENTITIES))
            record |= {"rule": draw.choice(IDS), "entity": entity, "value": draw.choice(ENTITIES[entity][1])}
            record["until"] = draw.choice([None, T0 + 20 * MINUTE, T0 + 39 * MINUTE])
        return record

    def rule_sets(self, disturb: Callable[[], bool]) -> Shelf:
        return Shelf(disturb)

    def machine(self, number: int, crash: Callable[[], None], rule_sets: Any = None) -> Adopting:
        machine = Adopting(ONE, SMALL, shard=number, rulesets=rule_sets.get)
        machine.crash = crash
        return machine


def outputs(values: Sequence[bytes | None], shard: int) -> list[Output]:
    """What one undisturbed run in memory puts out."""
    partition, found = Partition(ONE, CoreSettings(), shard=shard, backed=False, rulesets=SETS.get), []
    where = {"topic": "payments.events", "partition": shard}
    for start, end in stretches(values, 500):
        decoded = partition.decode(values[start:end])
        found += partition.apply(decoded, lambda row, start=start: {**where, "offset": start + row}).outputs
    return found


def foretold(values: Sequence[bytes | None]) -> tuple[list[dict[str, Any]], str]:
    """Rules, shadow and rule set of every decision as the oracle has them; the rule set in force at the end."""
    oracle, seen, found = Oracle(), set(), []
    for value in values:
        try:
            record = json.loads(value or b"")
        except ValueError:
            continue
        key = record.get("customer_id"), record.get("event_id")
        if "event_time" in record and (key[0] is None or key not in seen):
            seen.add(key)
            told = oracle.tell(record)
            found += [told] if told is not None and "rules" in told else []
    return found, oracle.ruleset.hash
