"""Names of the keys in Redis: `prefix:{tag}:` and a state key, or a capital letter for what belongs to the store.

The part in braces is the hash tag of Redis Cluster: all keys of a shard share a slot, so that one call may change
them together. A shard number as tag would spread a handful of shards unevenly over the slots, hence a node could hold
half of them; so each shard is given a slot by a low-discrepancy sequence, and its tag is the first short word that
hashes there. A shard keeps its tag whatever the number of shards.
"""

from binascii import crc_hqx
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Final

from engine.adapters.commits import SHARDS_MAX

SLOTS: Final = 16_384
SLOT_STEP: Final = 10_127  # odd, nearest to SLOTS / golden ratio: every prefix of the sequence is spread evenly
LETTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
TAG_LETTERS_MAX: Final = 4  # 36^4 words over 16,384 slots: the longest that is ever needed

HEAD: Final = b"H"  # hash: layout, offset, lineage, outbox_next, writing
OUTBOX: Final = b"O"  # list of entries not yet relayed, oldest first
TOUCHES: Final = b"T"  # list of touches for other shards, oldest first
DELIVERED: Final = b"D"  # hash: source shard -> its offset up to which its touches are here; + "w" while one is written
JOURNAL: Final = b"J"  # stream of raw input
KEPT: Final = b"K"  # a journal that is to be read back, after a rebuild
NAMES: Final = b"I"  # set of the state keys under KEY_HEAD
ANSWER: Final = b"A"  # + event key: decision of a synchronous call
GIVEN: Final = b"G"  # + event key: what the caller was told instead, for the state did not answer in time
CHANGED: Final = b"X"  # set of the state keys that changed while the shard is being copied
WEBHOOK: Final = b"W"  # + endpoint + ":n", ":q" or ":i": what waits for a webhook endpoint


def slot_of_tag(tag: bytes) -> int:
    """The cluster slot of a hash tag: CRC-16/XMODEM modulo 16,384 (Redis Cluster specification)."""
    return crc_hqx(tag, 0) % SLOTS


@cache
def _tags() -> tuple[str, ...]:
    """The first word, by length and alphabet, that hashes to each slot."""
    found: dict[int, str] = {}
    for letters in range(1, TAG_LETTERS_MAX + 1):
        for word in product(LETTERS, repeat=letters):
            tag = "".join(word)
            found.setdefault(slot_of_tag(tag.encode()), tag)
            if len(found) == SLOTS:
                return tuple(found[slot] for slot in range(SLOTS))
    raise AssertionError("some slot has no tag")


def shard_tag(shard: int) -> str:
    """The hash tag of a shard. Raises `ValueError` outside 0 to 16,383."""
    if not 0 <= shard < SHARDS_MAX:
        raise ValueError(f"shard {shard}; 0 to {SHARDS_MAX - 1} allowed")
    return _tags()[shard * SLOT_STEP % SLOTS]


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds the key names of one deployment. `prefix` has no braces: they would move the hash tag."""

    prefix: str

    def __post_init__(self) -> None:
        if not self.prefix or any(c in "{}:" or not c.isprintable() for c in self.prefix):
            raise ValueError(f"key prefix {self.prefix!r}: one or more printable characters, no braces, no colon")

    def base(self, shard: int) -> bytes:
        """What every key of the shard starts with."""
        return f"{self.prefix}:{{{shard_tag(shard)}}}:".encode()

    def features(self) -> bytes:
        """The key that holds what filters and fields in the logs mean, where several shards write to them."""
        return f"{self.prefix}:features".encode()

    def layout(self) -> bytes:
        """The key that holds the layout version of the deployment."""
        return f"{self.prefix}:layout".encode()
