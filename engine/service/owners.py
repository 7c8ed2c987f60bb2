"""To which customers stored keys belong. State keys hold hashes; the log and lists of customers say what of.

What is learned of a key is its customer's route: the hash by which producers choose the partition. From it follow the
shard it was in and the shard it is to be in, whatever their numbers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.decode import Decoder
from engine.core.rewards import account_key
from engine.domain.fields import ENTITY_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ops import KEY_ADMISSION, KEY_CUSTOMER, KEY_FEATURE, KEY_LABEL
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.features.definition import is_shared
from engine.features.hashing import entity_keys
from engine.features.layout import Layout
from engine.service.partitioners import fitting

UNKNOWN: Final = -1
PENDING_MAX: Final = 1 << 20  # 12 MB
CUSTOMERS_KEPT: Final = 1 << 16  # routes of the latest customers: a customer's events follow each other
_CUSTOMER: Final = ("customer",)
_ACCOUNT_BYTES: Final = 8  # of an account's digest: enough to tell a billion apart


class Stray(Exception):
    """A customer's events are not where the partitioner puts them."""


class Routes:
    """Routes by 64-bit hash: 12 bytes each. The table is sorted when it is asked after something new was learned."""

    def __init__(self) -> None:
        self._hashes, self._routes = np.empty(0, np.uint64), np.empty(0, np.uint32)
        self._pending: list[tuple[NDArray[np.uint64], NDArray[np.uint32]]] = []
        self._waiting = 0

    def __len__(self) -> int:
        self._settle()
        return len(self._hashes)

    def learn(self, hashes: NDArray[np.uint64], routes: NDArray[np.uint32]) -> None:
        """Take in hashes, known ones among them, and the route of each."""
        self._pending.append((hashes, routes))
        self._waiting += len(hashes)
        if self._waiting > max(PENDING_MAX, len(self._hashes) // 4):
            self._settle()

    def find(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The route of each hash, `UNKNOWN` where nobody said."""
        self._settle()
        found = np.full(len(hashes), UNKNOWN, np.int64)
        if len(self._hashes):
            places = np.minimum(np.searchsorted(self._hashes, hashes), len(self._hashes) - 1)
            known = self._hashes[places] == hashes
            found[known] = self._routes[places[known]]
        return found

    def _settle(self) -> None:
        if self._pending:
            hashes = np.concatenate([self._hashes, *(part[0] for part in self._pending)])
            routes = np.concatenate([self._routes, *(part[1] for part in self._pending)])
            self._hashes, first = np.unique(hashes, return_index=True)
            self._routes = routes[first]
            self._pending, self._waiting = [], 0


class Owners:
    """What has been learned of whom keys belong to.

    Args:
        layout: what groups of features are about.
        partitions: of the topic that events are read from, then and now.
        route: of a key, by the producers' partitioner.
    """

    def __init__(self, layout: Layout, partitions: Sequence[int], route: Callable[[bytes], int]) -> None:
        self._partitions = partitions
        self._decoder = Decoder(Rates("EUR", {}))
        self._spaces: dict[bytes, Routes] = {KEY_ADMISSION: Routes(), KEY_CUSTOMER: Routes()}
        self._spaces[KEY_LABEL] = self._spaces[KEY_ADMISSION]
        self._groups: dict[bytes, NDArray[np.int64]] = {}
        for group in layout.groups:
            space = KEY_FEATURE + group.id.to_bytes(2, "little")
            if group.by == _CUSTOMER:
                self._spaces[space] = self._spaces[KEY_ADMISSION]
            elif not is_shared(group.by):
                self._spaces[space] = Routes()
                self._groups[space] = np.array([STRING_INDEX[ENTITY_FIELDS[name]] for name in group.by], np.int64)
        self.shared = {
            KEY_FEATURE + group.id.to_bytes(2, "little") for group in layout.groups if is_shared(group.by)
        }  # fmt: skip
        self.route = lru_cache(CUSTOMERS_KEPT)(lambda customer: route(customer.encode()))

    @property
    def customers(self) -> int:
        """How many are known."""
        return len(self._spaces[KEY_ADMISSION])

    def customer(self, *customer_ids: str) -> None:
        """There are these customers."""
        routes = np.array([self.route(customer) for customer in customer_ids], np.uint32)
        self._spaces[KEY_ADMISSION].learn(np.array([hash64(c) for c in customer_ids], np.uint64), routes)
        self._spaces[KEY_CUSTOMER].learn(np.array([_account(c) for c in customer_ids], np.uint64), routes)

    def events(self, partition: int, records: Sequence[bytes | None]) -> None:
        """What records of the log say. Raises `Stray` where one is not on its customer's partition."""
        columns = self._decoder.decode(records).columns
        if not columns.n:
            return
        ids = [event.customer_id for event in columns.events]
        distinct = dict.fromkeys(ids)
        for customer in distinct:
            if partition not in [self.route(customer) % number for number in self._partitions]:
                raise Stray(_stray(customer, partition, self._partitions[-1]))
        self.customer(*distinct)
        self._entities(columns, np.array([self.route(customer) for customer in ids], np.uint32))

    def _entities(self, columns: Columns, routes: NDArray[np.uint32]) -> None:
        strings = np.ascontiguousarray(columns.strings)
        for space, rows in self._groups.items():
            keys = entity_keys(strings, rows)
            named = keys != 0
            hashes, first = np.unique(keys[named], return_index=True)
            self._spaces[space].learn(hashes, routes[named][first])

    def find(self, names: Sequence[bytes]) -> list[int]:
        """The route of each state key, `UNKNOWN` where nothing is known."""
        found = [UNKNOWN] * len(names)
        for space, places in _by_space(names).items():
            known = self._spaces.get(space)
            if known is not None:
                start = len(space)
                hashes = np.array([int.from_bytes(names[i][start : start + 8], "little") for i in places], np.uint64)
                for place, route in zip(places, known.find(hashes).tolist(), strict=True):
                    found[place] = route
        return found


def _by_space(names: Iterable[bytes]) -> Mapping[bytes, list[int]]:
    spaces: dict[bytes, list[int]] = {}
    for place, name in enumerate(names):
        spaces.setdefault(name[:3] if name[:1] == KEY_FEATURE else name[:1], []).append(place)
    return spaces


def _account(customer_id: str) -> int:
    return int.from_bytes(account_key(customer_id)[1 : 1 + _ACCOUNT_BYTES], "little")


def _stray(customer: str, partition: int, partitions: int) -> str:
    others = " or ".join(fitting(customer.encode(), partition, partitions)) or "none that is known"
    return (
        f"an event of customer {customer} is on partition {partition} of {partitions}, where the partitioner does not "
        f"put it ({others} would): name the one that your producers use (--partitioner)"
    )
