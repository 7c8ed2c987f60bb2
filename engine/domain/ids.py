"""Deterministic ids of outputs: the same cause gives the same id, on any worker, after any crash."""

import hashlib
import struct
from functools import cache, lru_cache
from typing import Final

PREFIXES: Final = {
    "decision": "dec",
    "alert": "alr",
    "reward": "rew",
    "offer": "off",
    "lifecycle": "lif",
    "dead_letter": "dlt",
    "letter": "let",
}
"""Three letters for each kind of output; any other kind must already be three lower-case letters."""


def output_id(kind: str, *parts: str) -> str:
    """The id of an output: its kind's three letters, `_`, and blake2b-128 in hex of the length-prefixed parts.

    The kind is part of what is hashed, and lengths keep ("ab", "c") apart from ("a", "bc"). Raises `ValueError` on an
    unknown kind.
    """
    # Few calls and one of the hash: at tens of thousands of ids a second each call counts.
    prefix, start = _head(kind)
    data = [part.encode("utf-8", "surrogatepass") for part in parts]
    lengths = _lengths(len(data)).pack(len(data), *map(len, data))
    return prefix + hashlib.blake2b(b"".join((start, lengths, *data)), digest_size=16).hexdigest()


@cache
def _lengths(parts: int) -> struct.Struct:
    return struct.Struct(f"<B{parts}I")


@lru_cache(maxsize=64)
def _head(kind: str) -> tuple[str, bytes]:
    """How ids of a kind begin, and what is hashed of it."""
    prefix = PREFIXES.get(kind, kind)
    if len(prefix) != 3 or not (prefix.isascii() and prefix.isalpha() and prefix.islower()):
        raise ValueError(f"unknown kind of output: {kind!r}")
    return f"{prefix}_", prefix.encode()
