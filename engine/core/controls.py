"""Where control events stand: first in their batch, so that what they change is constant within it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeVar

PREFIX: Final = b"control."
_BACKSLASH: Final = b"\\"
_ESCAPED: Final = re.compile(rb"\\u00(?:2[eE]|6[0-9a-fA-F]|7[0-9a-fA-F])")
"""JSON's other way of writing a letter of `control.`."""

R = TypeVar("R", bound=bytes | None)


def may_be_control(record: bytes | None) -> bool:
    """Whether a record could decode to a control event; where it does not, a batch was cut for nothing."""
    if record is None:
        return False
    return PREFIX in record or (_BACKSLASH in record and _ESCAPED.search(record) is not None)


def any_control(records: Iterable[bytes | None]) -> bool:
    """Whether `may_be_control` might hold for any of some records: one search for all of them."""
    return may_be_control(b"".join(record for record in records if record))


def stretches(records: Sequence[R], events_max: int) -> Iterator[tuple[int, int]]:
    """The batches of a run of records, as `(start, end)`: at most `events_max` each, control events first in theirs."""
    cuts = [index for index, record in enumerate(records) if may_be_control(record)] if any_control(records) else []
    for begin, stop in pairwise(dict.fromkeys((0, *cuts, len(records)))):
        for start in range(begin, stop, events_max):
            yield start, min(start + events_max, stop)
