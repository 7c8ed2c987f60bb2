"""What every state store checks of a commit before it starts: mistakes of the caller, not of the store."""

from collections.abc import Iterable
from typing import Final

from engine.domain.ops import APPEND, CONDITION, DELETE, KEY_CLAIM, KEY_FEATURE, REWRITE, SET, Op, unpack
from engine.ports.store import Commit, Delivery

LAYOUT: Final = 2
"""Version of the stored layout (docs/state.md). A store with another one is refused, never guessed at."""

OUT_OF_SERVICE: Final = 0
"""In the place of the layout: the state is being moved to another number of shards, or has been (`Generation`)."""

JOURNAL_LENGTH_MAX: Final = 100_000
"""Journal entries (micro-batches) kept for each shard, more or less."""

SHARDS_MAX: Final = 16_384
"""As many as a Redis Cluster has slots; each shard has one of its own."""

_OFFSET_END: Final = 1 << 53  # Lua numbers are doubles


def check_commit(commit: Commit) -> None:
    """Raise `ValueError` where offsets, sequence numbers or times to live make no sense."""
    if not 0 <= commit.shard < SHARDS_MAX:
        raise ValueError(f"shard {commit.shard}; 0 to {SHARDS_MAX - 1} allowed")
    if not -1 <= commit.expected <= commit.next_offset or not 0 <= commit.next_offset < _OFFSET_END:
        raise ValueError(f"shard {commit.shard}: cannot go from offset {commit.expected} to {commit.next_offset}")
    if not 0 <= commit.relayed < _OFFSET_END:
        raise ValueError(f"shard {commit.shard}: relayed {commit.relayed}")
    if not 0 <= commit.delivered < _OFFSET_END:
        raise ValueError(f"shard {commit.shard}: delivered {commit.delivered}")
    if commit.journal and commit.next_offset <= max(commit.expected, 0):
        raise ValueError(f"shard {commit.shard}: a journal entry for no input")
    if any(ttl_seconds <= 0 for _, _, ttl_seconds in commit.answers):
        raise ValueError(f"shard {commit.shard}: an answer without a time to live")


def checked_ops(packed: bytes) -> Iterable[Op]:
    """All operations of a packed string. Raises `ValueError` where any of them is malformed."""
    ops = list(unpack(packed))
    for op in ops:
        if op.kind not in (APPEND, SET, DELETE, REWRITE):
            raise ValueError(f"operation of unknown kind {op.kind}")
        if op.kind == REWRITE and (len(op.value) < CONDITION.size or not CONDITION.unpack_from(op.value)[0]):
            raise ValueError("operation that rewrites without a condition")
        if not b"a" <= op.key[:1] <= b"z":
            raise ValueError("state key outside the rooms")
    return ops


def check_delivery(delivery: Delivery) -> None:
    """Raise `ValueError` where shards or offsets make no sense."""
    if not (0 <= delivery.home < SHARDS_MAX and 0 <= delivery.source < SHARDS_MAX):
        raise ValueError(f"shards {delivery.source} to {delivery.home}; 0 to {SHARDS_MAX - 1} allowed")
    if not -1 <= delivery.previous <= delivery.next_offset or not 0 <= delivery.first <= delivery.next_offset:
        raise ValueError(f"shard {delivery.source}: delivery from {delivery.first} to {delivery.next_offset}")
    if delivery.next_offset >= _OFFSET_END:
        raise ValueError(f"shard {delivery.source}: delivery up to {delivery.next_offset}")


def checked_touches(delivery: Delivery) -> list[Op]:
    """All operations of a delivery. Raises `ValueError` where any of them is malformed or is no touch."""
    ops = list(checked_ops(delivery.ops))
    if any(op.kind not in (APPEND, REWRITE) or op.key[:1] not in (KEY_FEATURE, KEY_CLAIM) for op in ops):
        raise ValueError("operation of a delivery that is no touch")
    if len(delivery.offsets) != 4 * len(ops):
        raise ValueError(f"{len(delivery.offsets)} bytes of offsets for {len(ops)} operations")
    return ops
