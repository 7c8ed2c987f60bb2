"""SipHash-1-3 over 64-bit words, for the entity key of a combination (`by: [customer, card]`).

The numba twin of `engine.domain.hashing.combine`: same key, same result. Hashes travel as int64 bit patterns in the
kernels of this room, because numba turns mixed signed and unsigned arithmetic into floats.

Source: Aumasson and Bernstein 2012, "SipHash: a fast short-input PRF", with 1 compression and 3 finalisation rounds.
"""

from typing import Any, Final

import numba.core.config
import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

K0: Final = 0x5354455741524421
K1: Final = 0x7061796D656E7473
_V0: Final = np.uint64(K0 ^ 0x736F6D6570736575)
_V1: Final = np.uint64(K1 ^ 0x646F72616E646F6D)
_V2: Final = np.uint64(K0 ^ 0x6C7967656E657261)
_V3: Final = np.uint64(K1 ^ 0x7465646279746573)
_END: Final = np.uint64(0xFF)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_BITS: Final = np.uint64(64)
_BYTES_SHIFT: Final = np.uint64(56)
_WORD_BYTES: Final = np.uint64(8)
_R13: Final = np.uint64(13)
_R16: Final = np.uint64(16)
_R17: Final = np.uint64(17)
_R21: Final = np.uint64(21)
_R32: Final = np.uint64(32)

_config: Any = numba.core.config

if _config.DISABLE_JIT:  # numpy scalars complain about wrapping, compiled code just wraps

    def add64(a: np.uint64, b: np.uint64) -> np.uint64:
        """Sum modulo 2^64."""
        return np.uint64((int(a) + int(b)) & 0xFFFFFFFFFFFFFFFF)

else:

    @njit
    def add64(a: np.uint64, b: np.uint64) -> np.uint64:
        """Sum modulo 2^64."""
        return a + b


@njit
def rotate64(x: np.uint64, bits: np.uint64) -> np.uint64:
    """Rotate left."""
    return (x << bits) | (x >> (_BITS - bits))


@njit
def sip_round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """One SipRound."""
    v0 = add64(v0, v1)
    v1 = rotate64(v1, _R13) ^ v0
    v0 = rotate64(v0, _R32)
    v2 = add64(v2, v3)
    v3 = rotate64(v3, _R16) ^ v2
    v0 = add64(v0, v3)
    v3 = rotate64(v3, _R21) ^ v0
    v2 = add64(v2, v1)
    v1 = rotate64(v1, _R17) ^ v2
    v2 = rotate64(v2, _R32)
    return v0, v1, v2, v3


@njit
def hash_words(words: NDArray[np.uint64]) -> np.uint64:
    """SipHash-1-3 of `words` as little-endian bytes, never 0 (0 becomes 1, for 0 means missing)."""
    v0, v1, v2, v3 = _V0, _V1, _V2, _V3
    for word in words:
        v3 = v3 ^ word
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        v0 = v0 ^ word
    last = (np.uint64(len(words)) * _WORD_BYTES) << _BYTES_SHIFT
    v3 = v3 ^ last
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0 = v0 ^ last
    v2 = v2 ^ _END
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    out = v0 ^ v1 ^ v2 ^ v3
    if out == _ZERO:
        return _ONE
    return out


@njit
def entity_keys(strings: NDArray[np.uint64], rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Entity keys of a micro-batch, `(n,)`: the hash of one field or of the words of several; 0 where one is missing.

    Args:
        strings: hashes of the string fields, `(fields, n)`.
        rows: which fields, in the order of `by`.
    """
    count = strings.shape[1]
    keys = np.zeros(count, np.uint64)
    words = np.zeros(len(rows), np.uint64)
    for i in range(count):
        complete = True
        for k in range(len(rows)):
            words[k] = strings[rows[k], i]
            complete = complete and words[k] != _ZERO
        if complete:
            keys[i] = words[0] if len(rows) == 1 else hash_words(words)
    return keys
