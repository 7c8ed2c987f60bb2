"""A world for the simulator in which timers and watches run: the real partition, and rules that observe."""

import json
import random
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from engine.core.controls import stretches
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from tests.core.rig import DAY, HOUR, MINUTE, RULES, Oracle, event, rules
from tests.service.simulator.world import World

START: Final = 1_760_000_000_000
KINDS: Final = ("payment.captured", "payment.settled", "payment.failed", "offer.redeemed", "offer.viewed")
RULESET: Final = rules(RULES + "models: {anomaly: null}\n")


class Observing(World):
    """Payments that are settled or not, sources that fall silent, repeats, outliers in time, ticks."""

    first = RULESET
    sets: ClassVar = {RULESET.hash: RULESET}
    small = CoreSettings(entities_max=5, customers_max=2)

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        now = START + number * 4 * MINUTE
        if draw.random() < 0.03:
            return json.dumps({"event_id": f"t{number}", "type": "control.tick", "event_time": now}).encode()
        if draw.random() < 0.02:
            return b"{"
        time_ms = now - draw.choice([0, 0, 0, MINUTE, HOUR, 3 * HOUR, -7 * DAY if draw.random() < 0.05 else 0])
        if draw.random() < 0.02:
            time_ms = draw.choice([1_000, 4_080_000_000_000])
        identity = draw.randrange(number + 1) if draw.random() < 0.08 else number
        fields: dict[str, Any] = {"payment_id": f"p{draw.randrange(5)}", "offer_id": f"o{draw.randrange(3)}"}
        if draw.random() < 0.3:
            fields["source"] = f"s{draw.randrange(3)}"
        body = event(identity, draw.choice(KINDS), time_ms, identity % 4, **fields)
        return json.dumps({**body, "customer_id": f"c{partition}-{identity % 4}"}).encode()


def outputs(values: Sequence[bytes | None], shard: int) -> list[str]:
    """Ids of the outputs of one undisturbed run in memory."""
    partition, found = Partition(RULESET, CoreSettings(), shard=shard, backed=False), []
    where = {"topic": "payments.events", "partition": shard}
    for start, end in stretches(values, 500):
        decoded = partition.decode(values[start:end])
        effects = partition.apply(decoded, lambda row, start=start: {**where, "offset": start + row})
        found += [output.id for output in effects.outputs]
    return found


def observed(values: Sequence[bytes | None]) -> list[str]:
    """Ids of the alerts that the oracle of the observers raises over the same records."""
    history: list[dict[str, Any] | int] = []
    seen = set()
    for value in values:
        try:
            body = json.loads(value or b"")
        except ValueError:
            continue
        if body["type"] == "control.tick":
            history.append(body["event_time"])
        elif body["event_id"] not in seen:
            seen.add(body["event_id"])
            history.append(body)
    return [identity for _, identity in Oracle(RULESET).run(history)]
