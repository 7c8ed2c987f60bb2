"""64-bit hashes of texts: SipHash (Aumasson and Bernstein 2012) with fixed keys, in plain Python.

The hash stands for the text in every comparison and entity key, so it is part of the state format: the constants never
change. SipHash-1-3 rather than a faster mix, because the texts come from outside. The keys are public constants, so a
determined attacker can still construct collisions; what that buys is a wrong feature for the attacker's own entities.
`engine.core.scan.hash_bytes` is the compiled twin.
"""

import struct
from collections.abc import Sequence
from typing import Final

K0: Final = 0x5354455741524421
K1: Final = 0x7061796D656E7473
COMPRESSION_ROUNDS: Final = 1
FINALISATION_ROUNDS: Final = 3
INITIAL: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_MASK: Final = 0xFFFFFFFFFFFFFFFF


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v1 = ((v1 << 13) & _MASK | v1 >> 51) ^ v0
    v0 = (v0 << 32) & _MASK | v0 >> 32
    v2 = (v2 + v3) & _MASK
    v3 = ((v3 << 16) & _MASK | v3 >> 48) ^ v2
    v0 = (v0 + v3) & _MASK
    v3 = ((v3 << 21) & _MASK | v3 >> 43) ^ v0
    v2 = (v2 + v1) & _MASK
    v1 = ((v1 << 17) & _MASK | v1 >> 47) ^ v2
    v2 = (v2 << 32) & _MASK | v2 >> 32
    return v0, v1, v2, v3


def siphash(
    data: bytes, k0: int = K0, k1: int = K1, *, c: int = COMPRESSION_ROUNDS, d: int = FINALISATION_ROUNDS
) -> int:
    """SipHash-c-d of `data` as an unsigned 64-bit integer, with the key as two little-endian words."""
    v0, v1, v2, v3 = INITIAL[0] ^ k0, INITIAL[1] ^ k1, INITIAL[2] ^ k0, INITIAL[3] ^ k1
    whole = len(data) & ~7
    words = list(struct.unpack_from(f"<{whole // 8}Q", data))
    words.append((len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    for word in words:
        v3 ^= word
        for _ in range(c):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(d):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


def hash64(text: str | bytes) -> int:
    """SipHash-1-3 of the text's UTF-8 bytes, never 0 (0 becomes 1; 0 means a missing value)."""
    return siphash(text.encode() if isinstance(text, str) else text) or 1


def combine(parts: Sequence[int]) -> int:
    """SipHash-1-3 of the parts as 8-byte little-endian words, never 0: the key of a combination of entities."""
    return siphash(struct.pack(f"<{len(parts)}Q", *parts)) or 1
