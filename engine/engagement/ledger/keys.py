"""By what one customer's record knows payments, lots and references, and what a lot is called outside of it.

A key is 48 bits of a hash. Of 300 keys of one customer two are the same with a probability of 1.6e-10, of 10,000 with
1.8e-7; the later of them is then taken for a repeat, and comes to nothing. Keys of different customers never meet.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from engine.domain.ids import output_id
from engine.ruleset.campaigns.model import campaign_key

KEY_BITS: Final = 48
_HASH_BITS: Final = 64
_MASK: Final = 2**_HASH_BITS - 1
_ODD: Final = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio
_SEEDS_KEPT: Final = 16_384


def narrow(hashed: int) -> int:
    """The key of what has a 64-bit hash: its upper 48 bits, never 0; 0 for 0, which stands for nothing."""
    return hashed >> _HASH_BITS - KEY_BITS or int(hashed != 0)


def lot_number(campaign: str, version: int, customer_id: str, occasion: str) -> int:
    """The number of the lot that an occasion grants, which is its business key."""
    return int(output_id("lot", campaign, str(version), customer_id, occasion)[4 : 4 + KEY_BITS // 4], 16) or 1


def earned_number(campaign: str, version: int, payment: int) -> int:
    """The number of the lot that a payment grants once: it follows from the key of the payment, so that a snapshot
    need not hold it."""
    return ((_campaign(campaign, version) ^ payment) * _ODD & _MASK) >> _HASH_BITS - KEY_BITS or 1


def earned_numbers(campaigns: Sequence[tuple[str, int]], payments: Sequence[int]) -> list[int]:
    """Those of many payments, each with its campaign and version."""
    seeds = {one: _campaign(*one) for one in set(campaigns)}
    odd, mask, lower = _ODD, _MASK, _HASH_BITS - KEY_BITS
    return [
        ((seed ^ payment) * odd & mask) >> lower or 1
        for seed, payment in zip(map(seeds.__getitem__, campaigns), payments, strict=True)
    ]


def lot_hash(customer_id: str, number: int) -> int:
    """What stands for a lot among those of all customers: 64 bits."""
    return _customer(customer_id) ^ (number * _ODD & _MASK)


def lot_id(customer_id: str, number: int) -> str:
    """What a lot is called outside, where no other customer's is called the same."""
    return f"lot_{lot_hash(customer_id, number):016x}"


@lru_cache(maxsize=_SEEDS_KEPT)
def _campaign(campaign: str, version: int) -> int:
    return _seed(campaign_key(campaign, version))


@lru_cache(maxsize=_SEEDS_KEPT)
def _customer(customer_id: str) -> int:
    return _seed(customer_id)


def _seed(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BITS // 8, person=b"lot").digest()
    return int.from_bytes(digest, "little")
