"""A small partition for tests of the HTTP API: decides payments, drops duplicates, refuses what is not an event.

What it has seen is part of its head state, so a new one over the same store knows it.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from engine.core.effects import Effects, Output
from engine.domain.ops import KEY_HEAD, SET, Op, pack
from tests.support.counting import WithoutRules

KEY_SEEN = KEY_HEAD + b"seen"


class Event(msgspec.Struct):
    event_id: str
    customer_id: str
    type: str = "payment.requested"


class Reject(NamedTuple):
    index: int
    reason: str
    detail: str
    raw_sha256: str


class Columns(NamedTuple):
    events: list[Event]


class Decoded(NamedTuple):
    columns: Columns
    index: Any
    raw: list[bytes]
    masked: Any
    rejects: list[Reject]
    controls: Sequence[Any] = ()


decode_event = msgspec.json.Decoder(Event).decode


class JudgingPartition(WithoutRules):
    """Each decision carries a count of all decisions, so that deciding twice would show."""

    def __init__(self, shard: int = 0) -> None:
        self.restore({})
        self.before_apply: Callable[[], None] = lambda: None

    def restore(self, head_state: dict[bytes, bytes]) -> None:
        self.seen: list[str] = msgspec.json.decode(head_state.get(KEY_SEEN, b"[]"))

    def evict(self) -> None:
        """Nothing to bound."""

    def missing(self, decoded: Decoded) -> list[bytes]:
        return []

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        assert not keys
        return []

    def decode(self, records: Sequence[bytes | None], offsets: Sequence[int] = ()) -> Decoded:
        events, index, rejects = [], [], []
        for i, record in enumerate(records):
            try:
                events.append(decode_event(record or b""))
                index.append(i)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                digest = hashlib.sha256(record or b"").hexdigest()
                rejects.append(Reject(i, "not_json", "the record is not JSON", digest))
        raw = [records[i] or b"" for i in index]
        return Decoded(Columns(events), np.array(index, np.int64), raw, np.zeros(len(index), np.bool_), rejects)

    def apply(
        self, decoded: Decoded, source: Callable[[int], dict[str, Any]], explain: frozenset[int] = frozenset()
    ) -> Effects:
        self.before_apply()
        effects = Effects(dead_lettered=len(decoded.rejects))
        for reject in decoded.rejects:
            where = source(reject.index)
            letter = {"reason": reject.reason, "detail": reject.detail, "source": where}
            identity = f"dlt_{where['offset']}"
            effects.outputs.append(Output("dead_letter", b"", identity, 0, msgspec.json.encode(letter)))
        for i, event in zip(decoded.index.tolist(), decoded.columns.events, strict=True):
            self._apply(i, event, effects)
        effects.explanations = {i: b'{"of":"%d"}' % i for i, _ in effects.decisions if i in explain}
        effects.ops = pack(Op(SET, KEY_SEEN, msgspec.json.encode(self.seen)))
        return effects

    def _apply(self, index: int, event: Event, effects: Effects) -> None:
        name = f"{event.customer_id} {event.event_id}"
        if name in self.seen:
            effects.duplicates.append(index)
            return
        self.seen.append(name)
        effects.accepted += 1
        if event.type == "payment.requested":
            body = msgspec.json.encode({"event_id": event.event_id, "decision": "approve", "number": len(self.seen)})
            effects.decisions.append((index, body))
            effects.outcomes["approve"] = effects.outcomes.get("approve", 0) + 1
            identity = f"dec_{event.customer_id}_{event.event_id}"
            effects.outputs.append(Output("decision", event.customer_id.encode(), identity, 1, body))
