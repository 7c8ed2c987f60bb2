"""What the service keeps in a shard's head beside the core's state: its topic's partitions, its count of outputs."""

import struct
from hashlib import blake2b
from typing import Final

from engine.domain.ops import KEY_HEAD, SET, Op, pack
from engine.ports.store import Head

KEY_OUTPUTS: Final = KEY_HEAD + b"service/outputs"  # how many outputs the shard ever made
KEY_PARTITIONS: Final = KEY_HEAD + b"service/partitions"  # of the topic under which its state was made
NO_LOG: Final = 0  # as the number of partitions
_COUNT: Final = struct.Struct("<Q")


class PartitionsChanged(Exception):
    """The topic has another number of partitions than when the state was made: customers would change shards."""


def born_with(head: Head) -> int | None:
    """The number of partitions under which a shard's state was made; None where it has none."""
    packed = head.state.get(KEY_PARTITIONS)
    return None if packed is None else count(packed, NO_LOG)


def take(state: dict[bytes, bytes], partitions: int) -> int:
    """Take these marks out of a stored head; how many outputs the shard has made. Raises `PartitionsChanged`."""
    made_under = count(state.pop(KEY_PARTITIONS, None), partitions)
    if made_under != partitions:
        raise PartitionsChanged(
            f"the state was made with {made_under} partitions, the topic has {partitions} now "
            "(0: without Kafka, events came over HTTP); "
            "customers would be looked for in the wrong shard"
        )
    return count(state.pop(KEY_OUTPUTS, None), 0)


def birth(partitions: int) -> bytes:
    """The operation that marks a new shard."""
    return pack(Op(SET, KEY_PARTITIONS, _COUNT.pack(partitions)))


def outputs(made: int) -> bytes:
    """The operation that notes how many outputs the shard has made."""
    return pack(Op(SET, KEY_OUTPUTS, _COUNT.pack(made)))


def count(packed: bytes | None, default: int) -> int:
    """The number that a stored mark holds."""
    return int(_COUNT.unpack(packed)[0]) if packed else default


def lineage(before: bytes, next_offset: int, kept: bytes) -> bytes:
    """What names the commits up to `next_offset`: those before it, where they were cut, and the input it keeps.

    All else that is stored follows from the log. Two owners who cut their batches alike have the same lineage, and the
    same entries under the same sequence numbers.
    """
    return blake2b(before + _COUNT.pack(next_offset) + kept, digest_size=8).digest()
