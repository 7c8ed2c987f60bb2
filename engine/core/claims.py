"""Claims of identities as they are stored: a small log each, in the identity's home shard.

As of shared entities (docs/adr/0017), a batch loads the logs of the identities that its events may claim, from their
homes, and forgets them after it; what it claims stands in its commit and is delivered to the homes. So a shard sees its
own claims at once, and those of others once they have committed.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.happenings import among, hashes_of
from engine.domain.events import Event
from engine.domain.hashing import hash64
from engine.domain.ops import APPEND, KEY_CLAIM, Op, pack, rewrite
from engine.engagement.marketing.identities import Bound, Claim, Identities, Name
from engine.features.columns import Columns
from engine.features.sharing import Touches
from engine.ruleset.campaigns.model import Campaign

RECORD: Final = struct.Struct("<QQd")  # number, event time in ms, amount
KEY: Final = struct.Struct("<cQI")  # room, hash of the identity, code of campaign and kind
OVER_MAX: Final = 32
"""Claims that count no more, or came twice, before a log is written anew without them."""
HOUR_MS: Final = 3_600_000
TTL_HOURS_MAX: Final = 2**16 - 1
_ERASED: Final = hash64("account.erased")


class Claims:
    """Of one shard.

    Args:
        backed: a store keeps the logs; else memory does.

    Attributes:
        identities: what campaigns ask.
    """

    def __init__(self, *, backed: bool) -> None:
        self.identities = Identities()
        self._backed = backed
        self._shard, self._shards = 0, 1
        self._events: list[tuple[int, NDArray[np.uint64], tuple[Bound, ...]]] = []
        self._by_code: dict[int, Bound] = {}
        self._ops: list[bytes] = []
        self._touches: dict[int, Touches] = {}

    def adopt(self, campaigns: Sequence[Campaign], shard: int, shards: int) -> None:
        """These campaigns are in force, in a shard of so many."""
        self._shard, self._shards = shard, shards
        held = {} if self._backed else self.identities.held
        self.identities = Identities.of(campaigns)
        self.identities.held = held
        self._events = [
            (place, hashes_of(campaigns[place].trigger.events), bounds)
            for place, bounds in self.identities.bounds.items()
        ]
        self._by_code = {bound.code: bound for bounds in self.identities.bounds.values() for bound in bounds}

    def __bool__(self) -> bool:
        """Whether a campaign in force asks for identities."""
        return bool(self._events)

    def home(self, key: bytes) -> int | None:
        """The shard that holds a log of claims; None for other keys."""
        return home_of(key, self._shards) if key[:1] == KEY_CLAIM else None

    def missing(self, columns: Columns, over: Callable[[int, Event], bool]) -> list[bytes]:
        """Keys of the logs that a batch may need: those of the batch before are forgotten.

        Args:
            columns: the batch.
            over: whether a campaign, by its place, gives the customer of an event nothing more.
        """
        if not (self._backed and self._events):
            return []
        self.identities.held.clear()
        self._ops, self._touches = [], {}
        names: dict[Name, None] = {}
        erased = bool((columns.string("type") == _ERASED).any())  # whose counts go with this batch
        for place, types, bounds in self._events:
            for row in np.flatnonzero(among(columns, types)).tolist():
                if erased or not over(place, columns.events[row]):
                    for bound in bounds:
                        identity = columns.strings.item(bound.field, row)
                        if identity:
                            names[identity, bound.code] = None
        return [_key(name) for name in names]

    def load(self, keys: Iterable[bytes], values: Iterable[bytes | None], now_ms: int) -> None:
        """Take logs from the store; those of other keys are passed over. One of which much counts no more is to be
        written anew."""
        for key, value in zip(keys, values, strict=True):
            if key[:1] == KEY_CLAIM:
                _, identity, code = KEY.unpack(key)
                if len(value or b"") % RECORD.size:
                    raise ValueError(f"state key {key.hex()}: not a readable log of claims")
                claims = [Claim(*fields) for fields in RECORD.iter_unpack(value or b"")]
                known: dict[int, Claim] = {}
                for claim in claims:
                    known.setdefault(claim.number, claim)
                self.identities.held[identity, code] = known
                bound = self._by_code[code]
                live = [one for one in known.values() if not bound.lasts_ms or one.at_ms > now_ms - bound.lasts_ms]
                if len(claims) - len(live) >= max(OVER_MAX, len(live)):
                    by = b"".join(RECORD.pack(*claim) for claim in live)
                    self._put((identity, code), pack(rewrite(key, value or b"", by, _ttl(bound))), 0)

    def note(self, position: int) -> None:
        """The record of the batch at this place claimed what is fresh."""
        fresh, self.identities.fresh = self.identities.fresh, []
        for name, bound, claim in fresh if self._backed else ():
            self._put(name, pack(Op(APPEND, _key(name), RECORD.pack(*claim), _ttl(bound))), position)

    def _put(self, name: Name, op: bytes, position: int) -> None:
        home = name[0] % self._shards
        if home == self._shard:
            self._ops.append(op)
        else:
            self._touches.setdefault(home, Touches()).extend([position], [op])

    def flush(self) -> list[bytes]:
        """Packed operations for this shard."""
        ops, self._ops = self._ops, []
        return ops

    def touches(self) -> dict[int, Touches]:
        """Those for other shards, by home."""
        touches, self._touches = self._touches, {}
        return touches


def home_of(key: bytes, shards: int) -> int:
    """Of so many shards the one that holds a log of claims."""
    identity: int = KEY.unpack(key)[1]
    return identity % shards


def _key(name: Name) -> bytes:
    return KEY.pack(KEY_CLAIM, *name)


def _ttl(bound: Bound) -> int:
    """Hours after which a log is over where nothing is added; 0 for never."""
    hours = -(-bound.lasts_ms // HOUR_MS)
    return hours if 0 < hours <= TTL_HOURS_MAX else 0
