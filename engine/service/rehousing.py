"""The state of some shards, key by key, into shards of another number: what goes where.

- A customer's keys (`a`, `c`, the record that campaigns keep among them, and `f` of groups about the customer or a
  payment) go to the shard that the customer's events will come to: route modulo the new number. Which customer a key
  belongs to has to be known (`Owners`). Where it is not, it goes to every shard that its customer can come to. With
  `g` the greatest common divisor of both numbers these are the shards congruent to its own modulo `g`, for a route
  modulo one number leaves the same rest modulo `g` as modulo the other: none but the right one where the new number
  divides the old, two where it is doubled. Nobody reads the others; they expire.
- A key that was put into several shards so is noted there with its digest (`GUESTS`). When the shards are moved again,
  a value that has not changed since is no evidence; only where none of its copies has changed it counts.
- Logs of shared entities and claims of identities go to their new home, entity hash modulo the new number.
- Cases that wait to mature go to their customer's shard too; those whose customer is not known to the first of the
  shards it can come to, for one that matured in two would count twice.
- Watches go with their hits, and timers that wake customers with these (`engine.core.moving`); answers of synchronous
  calls to every shard that can be asked.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from math import gcd
from typing import Final

from engine.core.admission import under_another_log
from engine.core.claims import home_of
from engine.core.moving import Watching, waking
from engine.core.small_state import HEAD_CLOCK
from engine.domain.ops import KEY_ADMISSION, KEY_CLAIM, KEY_CUSTOMER, KEY_FEATURE, KEY_LABEL, KEY_TIMER, KEY_WATCH
from engine.ports.copies import Piece
from engine.ports.generation import GUESTS, Generation
from engine.ports.store import Head
from engine.service.filling import Filling
from engine.service.owners import UNKNOWN, Owners, Stray
from engine.service.rehousing_cases import WaitingCases

ANSWER: Final = b"A"
GIVEN: Final = b"G"
WEBHOOK: Final = b"W"
WEBHOOK_ORDINAL: Final = b":n"  # of a queue: outputs are counted anew
GUESTS_HELD_MAX: Final = 50_000  # noted in memory before they are written
_DIGEST_BYTES: Final = 8
_ENTITY: Final = (KEY_ADMISSION, KEY_CUSTOMER, KEY_FEATURE, KEY_LABEL, KEY_CLAIM)


class Rehousing:
    """One move.

    Args:
        before, after: numbers of shards.
        owners: of keys.
        heads: of the old shards.
        into: the new shards.
        filling: what is on its way there.

    Attributes:
        watching: the watches of the new shards; cases: their cases that wait to mature.
        keys: how many went where: "known", "shared", "spread" (to several shards), "stale" (left behind).
    """

    def __init__(
        self, before: int, after: int, owners: Owners, heads: Mapping[int, Head], into: Generation, filling: Filling
    ) -> None:
        self._before, self._after = before, after
        self._common = gcd(before, after)
        self._owners = owners
        self._clocks = {shard: head.state.get(HEAD_CLOCK, b"") for shard, head in heads.items()}
        self._into = into
        self._filling = filling
        self._guests: dict[int, dict[bytes, bytes]] = {}  # of the old shards
        self._new_guests: dict[int, dict[bytes, bytes]] = {}
        self._held_back = False
        self._second = False
        self._queues: dict[tuple[int, bytes], Piece] = {}
        self.watching = Watching()
        self.cases = WaitingCases(heads, after)
        self.keys: Counter[str] = Counter()

    def homes(self, shard: int) -> list[int]:
        """The new shards that customers of an old one can come to."""
        return [new for new in range(self._after) if new % self._common == shard % self._common]

    def origins(self, shard: int) -> list[int]:
        """The old shards that customers of a new one can come from."""
        return [old for old in range(self._before) if old % self._common == shard % self._common]

    async def run(self, past: Generation) -> None:
        """Move everything but the heads, and write it."""
        shards = range(self._before)
        self._guests = {shard: await past.guests(shard) for shard in shards}
        await past.read(shards, self._take)
        if self._held_back:
            self._second = True
            for shard in range(self._after):
                await self._filling.flush(shard)
            await past.read(shards, self._take)
        await self.cases.move(past, {shard: self.homes(shard) for shard in shards}, self._filling)
        for (shard, _), piece in self._queues.items():
            await self._into.merge(shard, piece)
        await self._write_guests()

    async def _take(self, shard: int, pieces: Sequence[Piece]) -> None:
        await self._take_entities(shard, [piece for piece in pieces if piece.name[:1] in _ENTITY])
        if self._second:
            return
        for piece in pieces:
            room, value = piece.name[:1], piece.value
            if room == WEBHOOK:
                self._take_queue(shard, piece)
            elif not isinstance(value, bytes):
                continue
            elif room == KEY_WATCH:
                self.watching.add(piece.name, value, piece.expires_ms, self._owner_in(shard), self.homes(shard))
            elif room == KEY_TIMER:
                for timer in waking(value, self._clocks[shard]):
                    self.watching.wake(timer, self._owner_in(shard))
            elif room == ANSWER:
                for home in self.homes(shard):
                    await self._filling.answer(home, piece.name[1:], value, piece.expires_ms)
            elif room == GIVEN:
                for home in self.homes(shard):
                    await self._filling.given(home, piece.name[1:], value, piece.expires_ms)

    async def _take_entities(self, shard: int, pieces: Sequence[Piece]) -> None:
        routes = self._owners.find([piece.name for piece in pieces])
        for piece, route in zip(pieces, routes, strict=True):
            name, value = piece.name, piece.value
            if not isinstance(value, bytes) or not value:
                continue
            guest = self._guests[shard].get(name) == digest(value)
            if name[:1] == KEY_CLAIM:
                kind, homes = "shared", [home_of(name, self._after)]
            elif name[:3] in self._owners.shared:
                kind, homes = "shared", [int.from_bytes(name[3:], "little") % self._after]
            elif route != UNKNOWN:
                kind, homes = "known", [route % self._after] if route % self._before == shard else []
                if name[:1] == KEY_LABEL and homes:
                    self.cases.learn(shard, value, route)
            else:
                kind, homes = "spread", self.homes(shard)
            if kind == "spread" and guest and not self._second:
                self._held_back = True
            elif not self._second:
                await self._put(kind if homes else "stale", name, piece._replace(value=_anew(name, value)), homes)
            elif kind == "spread" and guest:
                absent = [home for home in homes if (await self._into.store.load(home, [name]))[0] is None]
                await self._put(kind if absent else "stale", name, piece._replace(value=_anew(name, value)), absent)

    async def _put(self, kind: str, name: bytes, piece: Piece, homes: Sequence[int]) -> None:
        assert isinstance(piece.value, bytes)
        several = kind == "spread" and len(homes) > 1
        self.keys["known" if kind == "spread" and not several else kind] += 1
        for home in homes:
            await self._filling.put(home, name, piece.value, piece.expires_ms)
            if several:
                self._new_guests.setdefault(home, {})[name] = digest(piece.value)
        if self._second and homes:  # the same key may come again, from another shard
            for home in homes:
                await self._filling.flush(home)
        if sum(map(len, self._new_guests.values())) > GUESTS_HELD_MAX:
            await self._write_guests()

    def _owner_in(self, shard: int) -> "_OwnerIn":
        return _OwnerIn(self._owners, shard, self._before, self._after)

    def _take_queue(self, shard: int, piece: Piece) -> None:
        """What waits for a webhook endpoint goes on waiting, in the shard of the same number or its rest."""
        if piece.kind in ("hash", "zset") and not piece.name.endswith(WEBHOOK_ORDINAL):
            key = (shard % self._after, piece.name)
            held = self._queues.get(key, piece._replace(value=()))
            self._queues[key] = piece._replace(value=[*_members(held), *_members(piece)])

    async def _write_guests(self) -> None:
        for shard, noted in self._new_guests.items():
            buckets: dict[bytes, list[bytes]] = {}
            for name, held in noted.items():
                buckets.setdefault(GUESTS + name[-1:], []).extend((name, held))
            for bucket, members in buckets.items():
                await self._into.merge(shard, Piece(bucket, "hash", 0, members))
        self._new_guests = {}


class _OwnerIn:
    """The new shard of a customer whose hits wait in an old one. Raises `Stray` where it cannot be there."""

    def __init__(self, owners: Owners, shard: int, before: int, after: int) -> None:
        self._owners, self._shard, self._before, self._after = owners, shard, before, after

    def __call__(self, customer: str) -> int:
        route: int = self._owners.route(customer)
        if route % self._before != self._shard:
            raise Stray(f"customer {customer} is in shard {self._shard}, where the partitioner does not put it")
        return route % self._after


def digest(value: bytes) -> bytes:
    """What tells a value that nobody has touched since."""
    return blake2b(value, digest_size=_DIGEST_BYTES).digest()


def _anew(name: bytes, value: bytes) -> bytes:
    """A value as it is to stand before another log."""
    return under_another_log(value) if name[:1] == KEY_ADMISSION else value


def _members(piece: Piece) -> Iterable[bytes]:
    return () if isinstance(piece.value, bytes) else piece.value
