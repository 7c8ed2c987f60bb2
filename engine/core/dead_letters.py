"""Rejected records to dead letters."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from engine.core.effects import Output
from engine.core.rejects import Reject
from engine.domain.ids import output_id
from engine.domain.outputs import DeadLetter

_encode = msgspec.json.Encoder().encode


def dead_letters(rejects: Sequence[Reject], source: Callable[[int], dict[str, Any]]) -> list[tuple[int, Output]]:
    """`(position, output)` of each rejected record; the id names the record's place, so a replay gives it again."""
    parts = []
    for reject in rejects:
        origin = source(reject.index)
        place = [f"{name}={value}" for name, value in sorted(origin.items())]
        letter = DeadLetter(
            reason=reject.reason,
            detail=reject.detail,
            source=origin,
            raw_sha256=reject.raw_sha256,
            raw_redacted=reject.raw_redacted,
        )
        identity = output_id("dead_letter", *place, reject.raw_sha256)
        parts.append((reject.index, Output("dead_letter", b"", identity, 0, _encode(letter))))
    return parts


def nowhere(index: int) -> dict[str, Any]:
    """Where a record came from, for whoever puts out no dead letters."""
    return {}
