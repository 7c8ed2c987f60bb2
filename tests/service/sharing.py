"""A world for the simulator in which customers of several partitions meet at devices, addresses and merchants."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from engine.adapters.memory_store import MemoryStore
from engine.core.controls import stretches
from engine.core.label_desk import LabelSettings
from engine.core.settings import CoreSettings
from engine.domain.ops import APPEND, DELETE, KEY_FEATURE, KEY_HEAD, unpack
from engine.features import tables as t
from engine.features.definition import FeatureLimits
from engine.features.groups import GroupPlan
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.ruleset import RuleSet
from engine.ruleset.compiler import compile as compile_rules
from tests.service.simulator.world import Crashing, World

T0: Final = 1_767_225_600_000
MINUTE: Final = 60_000
STEP: Final = 3 * MINUTE
SMALL: Final = CoreSettings(
    entities_max=3, customers_max=2, features=FeatureLimits(compact_touches=16), labels=LabelSettings(20 * MINUTE)
)

ONE: Final = compile_rules({"one.yaml": """
features:
  - {name: own_7d, agg: count, by: customer, window: 7d}
  - {name: ip_7d, agg: count, by: ip, window: 7d}
  - {name: ip_cards_7d, agg: distinct, of: card_id, by: ip, window: 7d}
  - {name: merchant_7d, agg: sum, of: amount, by: merchant, window: 7d}
  - {name: pair_gap, agg: since_last, by: [device, merchant], window: 7d}
  - {name: device_age, agg: age, by: device}
  - {name: payment_7d, agg: count, by: payment, window: 7d}
  - {name: ip_frauds_7d, agg: fraud_count, by: ip, window: 7d}
  - {name: device_labels_7d, agg: label_count, by: device, window: 7d}
  - {name: own_labels_7d, agg: label_count, by: customer, window: 7d}
rules:
  - {id: busy, when: ip_7d >= 4 and own_7d >= 1, then: {decision: review, score: 5, reason: BUSY}}
models: {anomaly: null}
"""})  # fmt: skip
"""Windows longer than the whole stream: a log keeps every touch, so that they can be counted."""

TWO: Final = compile_rules({"two.yaml": """
features:
  - {name: ip_big_7d, agg: count, by: ip, window: 7d, where: "amount > 30"}
  - {name: ip_7d, agg: count, by: ip, window: 7d}
  - {name: ip_devices_7d, agg: distinct, of: device_id, by: ip, window: 7d}
  - {name: bin_7d, agg: count, by: card_bin, window: 7d}
rules:
  - {id: busy, when: ip_7d >= 4 and ip_big_7d >= 1, then: {decision: review, score: 5, reason: BUSY}}
models: {anomaly: null}
"""})  # fmt: skip
SETS: Final = {ruleset.hash: ruleset for ruleset in (ONE, TWO)}


class Sharing(World):
    """Payments at a few shared devices, addresses and merchants, what becomes known of them; repeats, and what is no
    event. `switches`: rule sets that come into force at their places."""

    first = ONE
    sets = SETS
    small = SMALL

    def __init__(self, switches: dict[int, RuleSet] | None = None) -> None:
        self.switches = switches or {}

    def value(self, draw: random.Random, number: int, partition: int) -> bytes | None:
        at = T0 + number * STEP
        if number in self.switches:
            body = {"type": "control.rules", "event_id": f"r{number}", "event_time": at}
            return json.dumps({**body, "ruleset": self.switches[number].hash}).encode()
        if draw.random() < 0.03:
            return draw.choice([None, b"{"])
        identity = draw.randrange(number + 1) if draw.random() < 0.08 else number
        body = {
            "type": "payment.requested", "event_id": f"e{identity}", "payment_id": f"p{partition}-{identity}",
            "event_time": at - draw.choice([0, 0, 0, 5, 40]) * MINUTE, "customer_id": f"c{partition}-{identity % 4}",
            "amount": draw.randint(1, 50), "currency": "EUR", "card_id": f"card{draw.randrange(3)}",
            "card_bin": f"40000{draw.randrange(2)}",
        }  # fmt: skip
        for name, count in (("ip", 3), ("device_id", 3), ("merchant_id", 2)):
            if draw.random() < 0.8:
                body[name] = f"192.0.2.{draw.randrange(count)}" if name == "ip" else f"{name}{draw.randrange(count)}"
        if draw.random() < 0.2:
            told = draw.randrange(max(0, number - 20), number + 1)
            body |= {"type": "label.assigned", "event_id": f"l{number}", "payment_id": f"p{partition}-{told}"}
            body |= {"customer_id": f"c{partition}-{told % 4}", "label": draw.choice(["fraud", "legitimate"])}
            del body["amount"]
        return json.dumps(body).encode()


Held = dict[bytes, Counter[tuple[Any, ...]]]
"""By entity, how often each touch is in its log."""


def touches(layout: bytes, logs: Iterable[tuple[bytes, bytes]]) -> Held:
    """What stored logs hold, by state key: how often each touch, (time, filters, values); when each was first seen."""
    names = json.loads(layout)["groups"]
    plan = Plan.compile([*ONE.features, *TWO.features[:1], *TWO.features[2:]], layout, SMALL.features)
    groups = {group.id: (place, group) for place, group in enumerate(plan.groups)}
    found = {}
    for key, value in logs:
        place, group = groups[int.from_bytes(key[1:3], "little")]
        described = names[group.id]
        state = FeatureState(plan)
        state.load([key], [value])
        pool = state._pools[place]
        row = pool.entities[0]
        held = Counter(_touch(described, group, pool.arena, row, j) for j in range(row[t.E_LEN]))
        name = "+".join([*described["by"], *["labels"] * described["labels"]]).encode() + key[3:]
        found[name] = held
        if group.params[t.P_AGES]:
            held[("first seen", int(row[t.E_FIRST]))] += 1
    return found


def label_rows(held: Held) -> Counter[str]:
    """How many of the touches are of label rows of frauds, and of others."""
    found = Counter(genuine=0, fraud=0)
    for touches_of in held.values():
        for touch, count in touches_of.items():
            for kind in found:
                found[kind] += count * (f"label rows: {kind}" in touch[1]) if len(touch) > 2 else 0
    return found


def _touch(described: dict[str, Any], group: GroupPlan, arena: Any, row: Any, j: int) -> tuple[Any, ...]:
    start, cap = row[t.E_START], row[t.E_CAP]
    filters = [text for bit, text in enumerate(described["filters"]) if arena[start + t.R_MASK * cap + j] >> bit & 1]
    values = {
        name: int(arena[start + (t.R_COLUMNS + column) * cap + j])
        for column, name in enumerate(described["columns"])
        if arena[start + (t.R_COLUMNS + column) * cap + j] not in (0, -1)
    }
    return int(arena[start + j]), tuple(sorted(filters)), tuple(sorted(values.items()))


def stored(store: MemoryStore, partitions: int) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The layout of a simulation and the logs of all its shards; a key is in one shard only."""
    logs: dict[bytes, bytes] = {}
    for shard in range(partitions):
        for key, value in store._shards[shard].state.items():
            if key.startswith(KEY_FEATURE):
                assert key not in logs
                logs[key] = bytes(value)
    assert store._layout is not None
    return store._layout, list(logs.items())


def alone(
    values: Iterable[Sequence[bytes | None]], settings: CoreSettings = SMALL
) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The layout and the logs that one shard makes of the records of every partition, one partition after another.

    Each partition begins under the first rule set, as in the simulation. `settings`: those of whoever made the logs
    that are compared; when payments mature is among them, and so which label rows there are."""
    logs: dict[bytes, bytes] = {}
    layout: bytes | None = None
    for number, of_partition in enumerate(values):
        partition = Crashing(ONE, settings, shard=number, rulesets=SETS.get)
        partition.crash = lambda: None
        logs = {key: value for key, value in logs.items() if key.startswith(KEY_FEATURE)}  # the rest is of the shard
        partition.restore({} if layout is None else {KEY_HEAD + b"layout": layout})
        for start, end in stretches(of_partition, 20):
            decoded = partition.decode(of_partition[start:end])
            keys = partition.missing(decoded)
            while keys:
                keys = partition.load(keys, [logs.get(key) for key in keys])
            effects = partition.apply(decoded, lambda row: {"row": row})
            for op in unpack(effects.ops):
                if op.key.startswith(KEY_HEAD):
                    layout = op.value if op.key == KEY_HEAD + b"layout" else layout
                elif op.kind == DELETE:
                    logs.pop(op.key, None)
                else:
                    logs[op.key] = (logs.get(op.key, b"") if op.kind == APPEND else b"") + op.value
            partition.evict()
    assert layout is not None
    return layout, [(key, value) for key, value in logs.items() if key.startswith(KEY_FEATURE)]
