"""The simplest store there can be, and a partition that works over it."""

from collections.abc import Sequence

from engine.core.effects import Effects
from engine.core.partition import Partition
from engine.domain.ops import APPEND, DELETE, KEY_HEAD, REWRITE, rewritten, unpack


class Store(dict[bytes, bytes]):
    """Applies operations; knows the keys of the head."""

    def take(self, ops: bytes) -> None:
        for op in unpack(ops):
            if op.kind == DELETE:
                self.pop(op.key, None)
            elif op.kind == REWRITE:
                value = rewritten(self.get(op.key, b""), op.value)
                self[op.key] = self.get(op.key, b"") if value is None else value
            else:
                self[op.key] = (self.get(op.key, b"") if op.kind == APPEND else b"") + op.value

    def head(self) -> dict[bytes, bytes]:
        return {key: value for key, value in self.items() if key.startswith(KEY_HEAD)}


def step(partition: Partition, store: Store, records: Sequence[bytes | None], first: int) -> Effects:
    """One batch from its records, the first of which is at offset `first`, to its commit."""
    decoded = partition.decode(records)
    keys = partition.missing(decoded)
    while keys:
        keys = partition.load(keys, [store.get(key) for key in keys])
    effects = partition.apply(decoded, lambda index: {"offset": first + index})
    store.take(effects.ops)
    partition.evict()
    return effects
