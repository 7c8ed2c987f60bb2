"""A world for the simulator in which rule sets, lists and snoozes change while workers die."""

import json
import random
from collections.abc import Sequence
from typing import Any, Final

from engine.core.settings import CoreSettings
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
from tests.service.simulator.world import World

SWITCHES: Final = {20: TWO, 50: ONE}


class Ruling(World):
    """Payments under rules that change, repeats, and what is no event."""

    first = ONE
    sets = SETS
    small = CoreSettings(entities_max=2, customers_max=1)

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
