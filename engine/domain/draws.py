"""Draws that follow from what they are about: the same whenever, wherever and however often they are made."""

from hashlib import blake2b


def drawn(*parts: str) -> float:
    """A number in [0, 1) from a hash of texts, as even as chance.

    Holdouts of campaigns are `drawn(salt, "campaign:version", customer_id) < holdout`, and of all campaigns
    `drawn(salt, "all", customer_id)`.
    """
    digest = blake2b("\x00".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64
