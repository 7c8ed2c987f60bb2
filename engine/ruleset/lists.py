"""Value lists: exact values by hash, networks by address; as declared, and as control events changed them."""

import ipaddress
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.domain.hashing import hash64
from engine.ruleset.functions.texts import to_number

VALUES_MAX: Final = 100_000
_MAPPED: Final = 0xFFFF  # the first 96 bits of ::ffff:0:0/96, an IPv4 address written as an IPv6 one

T = TypeVar("T")


@lru_cache(maxsize=16_384)
def address(text: str) -> tuple[int, int] | None:
    """IP version and number of an address, None where the text is none. IPv4 within IPv6 counts as IPv4."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    number = int(found)
    if found.version == 6 and number >> 32 == _MAPPED:
        return 4, number & 0xFFFFFFFF
    return found.version, number


@lru_cache(maxsize=4 * VALUES_MAX)
def hashed(text: str) -> int:
    """The hash of a value, remembered: a list is made anew with every change of it."""
    return hash64(text)


class ValueList:
    """One list.

    Attributes:
        name: as in `lists.NAME`.
        numeric: it holds numbers; else text.
        numbers: its numbers, sorted.
        texts, hashes: its texts, and their hashes.
        networks: (IP version, prefix length) to the network numbers of that length; empty where the list has no
            network. With networks, its single addresses are found by address too, however they are written.
    """

    def __init__(self, name: str, values: Sequence[float] | Sequence[str]) -> None:
        """Raises `ValueError` with a line for the author where a network is not one."""
        self.name = name
        self.numeric = bool(values) and not isinstance(values[0], str)
        self.numbers: tuple[float, ...] = tuple(sorted({float(v) for v in values})) if self.numeric else ()
        texts = [] if self.numeric else [str(v) for v in values]
        self.networks: dict[tuple[int, int], frozenset[int]] = {}
        found: dict[tuple[int, int], set[int]] = {}
        if any(is_network(text) for text in texts):
            for text in texts:
                version, length, number = network(text)
                found.setdefault((version, length), set()).add(number)
            self.networks = {key: frozenset(numbers) for key, numbers in sorted(found.items())}
        self.texts: frozenset[str] = frozenset(texts)
        self.hashes: frozenset[int] = frozenset(hashed(text) for text in self.texts)

    def has_text(self, text: str) -> bool:
        """Whether a text is on the list."""
        return text in self.texts or any(number in held for held, number in _around(text, self.networks))


class ListState:
    """A list as control events left it: the declared values and what was added, removed or put in their place.

    Texts count exactly as they are; where an entry that is there is a network, addresses are found however they are
    written. An entry that is no address counts as text then. On a list of numbers, entries that are no number never
    match. Immutable; what the evaluators need of it is worked out when first asked for.

    Args:
        declared: the list as the files have it; an empty one where none declares it.
        added: entries and the event time (milliseconds since 1970) from which they no longer count; None for ever.
        removed: declared values that do not count.
        replaced: none of the declared values counts.
    """

    def __init__(
        self,
        declared: ValueList,
        added: Mapping[str, int | None] | None = None,
        removed: Collection[str] = (),
        replaced: bool = False,
    ) -> None:
        self.declared = declared
        self.added = {text: math.inf if end is None else float(end) for text, end in (added or {}).items()}
        self.removed = frozenset(removed)
        self.replaced = replaced

    def has_text(self, text: str, time_ms: float) -> bool:
        """Whether a text is on the list for an event of that time."""
        if time_ms < self.added.get(text, -math.inf) or text in self._kept:
            return True
        return any(time_ms < ends.get(number, -math.inf) for ends, number in _around(text, self.networks))

    @cached_property
    def _texts(self) -> frozenset[str]:
        """Declared texts that were not removed as they are written."""
        if self.replaced:
            return frozenset()
        return self.declared.texts - self.removed if self.removed else self.declared.texts

    @cached_property
    def _networked(self) -> bool:
        """Whether some entry is a network, so that all are addresses."""
        return any(is_network(text) for text in self._texts) or any(is_network(text) for text in self.added)

    @cached_property
    def _kept(self) -> frozenset[str]:
        """Declared texts that still count: of addresses, none that was removed in another spelling either."""
        if not self._networked or not self.removed:
            return self._texts
        gone = {entry for text in self.removed if (entry := _entry(text)) is not None}
        return frozenset(text for text in self._texts if _entry(text) not in gone)

    @cached_property
    def networks(self) -> dict[tuple[int, int], dict[int, float]]:
        """(IP version, prefix length) to network numbers and when each ends; empty where no entry is a network."""
        found: dict[tuple[int, int], dict[int, float]] = {}
        if not self._networked:
            return found
        for text, end in (*((text, math.inf) for text in self._kept), *self.added.items()):
            entry = _entry(text)
            if entry is None:
                continue
            version, length, number = entry
            numbers = found.setdefault((version, length), {})
            numbers[number] = max(end, numbers.get(number, -math.inf))
        return dict(sorted(found.items()))

    @cached_property
    def hashes(self) -> dict[int, float]:
        """Hashes of the texts and when each ends."""
        found = dict.fromkeys((hashed(text) for text in self._kept), math.inf)
        for text, end in self.added.items():
            found[hashed(text)] = max(end, found.get(hashed(text), -math.inf))
        return found

    @cached_property
    def numbers(self) -> dict[float, float]:
        """The numbers and when each ends."""
        gone = {to_number(text) for text in self.removed}
        kept = () if self.replaced else self.declared.numbers
        found = {number: math.inf for number in kept if number not in gone}
        for text, end in self.added.items():
            number = to_number(text)
            if number == number:
                found[number] = max(end, found.get(number, -math.inf))
        return found

    @cached_property
    def hash_columns(self) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
        """Hashes, ascending, and their ends."""
        ordered = sorted(self.hashes)
        ends = np.array([self.hashes[key] for key in ordered], np.float64)
        return np.array(ordered, np.uint64), ends

    @cached_property
    def number_columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Numbers, ascending, and their ends."""
        ordered = sorted(self.numbers)
        ends = np.array([self.numbers[key] for key in ordered], np.float64)
        return np.array(ordered, np.float64), ends


def unusable(declared: ValueList, text: str) -> str:
    """Why a value would never match on this list, in one line; "" where it can. For whoever takes changes in."""
    if declared.numeric:
        return "" if math.isfinite(to_number(text)) else f"'{text}' is not a number, and the list holds numbers"
    if not declared.networks and not is_network(text):
        return ""
    try:
        network(text)
    except ValueError as fault:
        return str(fault)
    return ""


def _around(text: str, networks: Mapping[tuple[int, int], T]) -> Iterator[tuple[T, int]]:
    """Of each prefix length of an address's version: what is held of it, and the number of the network around the
    address; nothing for other texts."""
    found = address(text) if networks else None
    if found is not None:
        version, number = found
        bits = 32 if version == 4 else 128
        for (of_version, length), held in networks.items():
            if of_version == version:
                yield held, number >> (bits - length)


def _entry(text: str) -> tuple[int, int, int] | None:
    """A text as `network` reads it, None where it is no address and no network."""
    try:
        return network(text)
    except ValueError:
        return None


def is_network(text: str) -> bool:
    """Whether a text looks like `198.51.100.0/24` or `2001:db8::/32`."""
    head, slash, tail = text.partition("/")
    return bool(slash) and tail.isdigit() and address(head) is not None


def network(text: str) -> tuple[int, int, int]:
    """Version, prefix length and number of a network or a single address. Raises `ValueError`."""
    if not is_network(text):
        found = address(text)
        if found is None:
            raise ValueError(f"'{text}' is neither an address nor a network, but others of the list are")
        return found[0], 32 if found[0] == 4 else 128, found[1]
    try:
        parsed = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"'{text}' is not a network") from None
        raise ValueError(f"'{text}' has bits beyond its prefix; the network is {meant}") from None
    bits = parsed.max_prefixlen
    return parsed.version, parsed.prefixlen, int(parsed.network_address) >> (bits - parsed.prefixlen)
