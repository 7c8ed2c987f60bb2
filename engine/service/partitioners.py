"""Which partition a producer puts a key on: the hash of the key modulo partitions, by the hash of its client library.

Steward does not choose partitions, producers do. To know where a customer's events will come from, one has to know
which of these they use.
"""

import zlib
from collections.abc import Callable
from typing import Final

_MASK: Final = 0xFFFFFFFF
_MURMUR_SEED: Final = 0x9747B28C
_MURMUR_M: Final = 0x5BD1E995
_FNV_BASIS: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193


def murmur2(key: bytes) -> int:
    """Kafka's own: the default of the Java client, aiokafka, kafka-python, and `murmur2_random` of librdkafka.

    MurmurHash2 of 32 bits (Appleby 2008) with Kafka's seed, its sign bit cleared.
    """
    h = (_MURMUR_SEED ^ len(key)) & _MASK
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(key[at : at + 4], "little") * _MURMUR_M & _MASK
        k = (k ^ k >> 24) * _MURMUR_M & _MASK
        h = (h * _MURMUR_M & _MASK) ^ k
    if whole != len(key):
        h = (h ^ int.from_bytes(key[whole:], "little")) * _MURMUR_M & _MASK
    h = (h ^ h >> 13) * _MURMUR_M & _MASK
    return (h ^ h >> 15) & 0x7FFFFFFF


def fnv1a(key: bytes) -> int:
    """The default of sarama (Go): FNV-1a of 32 bits, as a signed number without its sign."""
    h = _FNV_BASIS
    for byte in key:
        h = (h ^ byte) * _FNV_PRIME & _MASK
    return h if h < 1 << 31 else (1 << 32) - h


PARTITIONERS: Final[dict[str, Callable[[bytes], int]]] = {"murmur2": murmur2, "crc32": zlib.crc32, "fnv1a": fnv1a}
"""By name. `crc32` is the default of librdkafka (`consistent_random`)."""


def fitting(key: bytes, partition: int, partitions: int) -> list[str]:
    """Names of those that put a key on a partition."""
    return [name for name, hashed in PARTITIONERS.items() if hashed(key) % partitions == partition]
