"""A trivial partition: counts events per customer, so that a lost or doubled event shows in every later output.

It keeps what the real one keeps: small state in the head, state per customer loaded on demand, duplicates dropped,
rejects dead-lettered. As a command, `python -m tests.support.counting` is a worker around it.
"""

import os
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from engine.core.effects import Effects, Output
from engine.domain.ops import APPEND, KEY_ADMISSION, KEY_CUSTOMER, KEY_HEAD, SET, Op, pack

COUNT = struct.Struct("<Q")
KEY_TOTAL = KEY_HEAD + b"total"


class Event(msgspec.Struct):
    event_id: str
    customer_id: str
    event_time: int = 0


class Decoded(NamedTuple):
    events: list[Event | None]


decode_event = msgspec.json.Decoder(Event).decode


def decode(value: bytes | None) -> Event | None:
    try:
        return decode_event(value or b"")
    except msgspec.MsgspecError:
        return None


class WithoutRules:
    """What a partition says of its rule set that has none."""

    ruleset_hash = "0" * 16
    waiting: int | None = None

    def in_force(self, head_state: dict[bytes, bytes]) -> str | None:
        return None

    def unknown(self, decoded: Any) -> list[str]:
        return []

    def unknown_models(self, decoded: Any) -> list[str]:
        return []

    def spread(self, shards: int) -> None:
        pass

    def home(self, key: bytes) -> int | None:
        return None

    def named(self, decoded: Any) -> list[str]:
        return []

    def layout_for(self, agreed: bytes | None, rulesets: Sequence[str], head: dict[bytes, bytes]) -> bytes | None:
        return None

    def take_layout(self, layout: bytes) -> None:
        raise NotImplementedError


class CountingPartition(WithoutRules):
    """`crash` is called at the end of `apply`, where a test can make it raise."""

    def __init__(self, shard: int = 0, crash: Callable[[], None] = lambda: None) -> None:
        self.shard = shard
        self._crash = crash
        self.restore({})

    def restore(self, head_state: dict[bytes, bytes]) -> None:
        self.total = COUNT.unpack(head_state.get(KEY_TOTAL, COUNT.pack(0)))[0]
        self.counts: dict[str, int] = {}
        self.seen: dict[str, set[str]] = {}

    def evict(self) -> None:
        if len(self.counts) > 50:
            self.counts.clear()
            self.seen.clear()

    def decode(self, records: Sequence[bytes | None], offsets: Sequence[int] = ()) -> Decoded:
        return Decoded([decode(value) for value in records])

    def missing(self, decoded: Decoded) -> list[bytes]:
        names = dict.fromkeys(e.customer_id for e in decoded.events if e and e.customer_id not in self.counts)
        return [key + name.encode() for name in names for key in (KEY_CUSTOMER, KEY_ADMISSION)]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        for key, value in zip(keys, values, strict=True):
            name = key[1:].decode()
            if key[:1] == KEY_CUSTOMER:
                self.counts[name] = COUNT.unpack(value)[0] if value else 0
            else:
                self.seen[name] = set((value or b"").decode().split())
        return []

    def apply(
        self, decoded: Decoded, source: Callable[[int], dict[str, Any]], explain: frozenset[int] = frozenset()
    ) -> Effects:
        effects = Effects()
        ops: list[bytes] = []
        for row, event in enumerate(decoded.events):
            if event is None:
                effects.dead_lettered += 1
                where = source(row)
                letter = {"reason": "not_json", "detail": "no event", "source": where}
                identity = f"dea_{self.shard}_{where['offset']}"
                effects.outputs.append(Output("dead_letter", b"", identity, 0, msgspec.json.encode(letter)))
            elif event.event_id in self.seen[event.customer_id]:
                effects.duplicates.append(row)
            else:
                self._count(row, event, ops, effects)
        ops.append(pack(Op(SET, KEY_TOTAL, COUNT.pack(self.total))))
        effects.ops = b"".join(ops)
        self._crash()
        return effects

    def _count(self, row: int, event: Event, ops: list[bytes], effects: Effects) -> None:
        name = event.customer_id
        effects.accepted += 1
        self.total += 1
        self.counts[name] += 1
        self.seen[name].add(event.event_id)
        ops.append(pack(Op(SET, KEY_CUSTOMER + name.encode(), COUNT.pack(self.counts[name]))))
        ops.append(pack(Op(APPEND, KEY_ADMISSION + name.encode(), event.event_id.encode() + b" ")))
        body = {"event_id": event.event_id, "customer_id": name, "count": self.counts[name], "total": self.total}
        data = msgspec.json.encode(body)
        effects.decisions.append((row, data))
        identity = f"dec_{name}_{event.event_id}_{self.counts[name]}_{self.total}"
        effects.outputs.append(Output("decision", name.encode(), identity, event.event_time, data))


def replay(values: Sequence[bytes | None], shard: int = 0) -> list[str]:
    """Ids of the outputs of one pure run over a partition's records."""
    partition = CountingPartition(shard)
    decoded = partition.decode(values)
    missing = partition.missing(decoded)
    partition.load(missing, [None] * len(missing))
    return [output.id for output in partition.apply(decoded, lambda row: {"offset": row}).outputs]


def main() -> int:
    from engine.config import load
    from engine.telemetry.logs import configure
    from engine.working import run_worker

    settings = load(os.environ)
    configure(settings.log.level, settings.log.format)
    return run_worker(settings, CountingPartition)


if __name__ == "__main__":
    sys.exit(main())
