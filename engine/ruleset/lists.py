"""Value lists: exact values by hash, networks by address."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from engine.domain.hashing import hash64

VALUES_MAX: Final = 100_000
_MAPPED: Final = 0xFFFF  # the first 96 bits of ::ffff:0:0/96, an IPv4 address written as an IPv6 one


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
        self.hashes: frozenset[int] = frozenset(hash64(text) for text in self.texts)

    def has_text(self, text: str) -> bool:
        """Whether a text is on the list."""
        if text in self.texts:
            return True
        if not self.networks:
            return False
        found = address(text)
        if found is None:
            return False
        version, number = found
        bits = 32 if version == 4 else 128
        return any(
            number >> (bits - length) in numbers
            for (of_version, length), numbers in self.networks.items()
            if of_version == version
        )


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
