"""Dead letters, read back: which there are, and which of the refused records would be taken now."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from engine.core.decode import Decoder
from engine.domain.outputs import DeadLetter

GONE: Final = "gone"
REFUSED: Final = "refused again"
READY: Final = "ready"


class _Envelope(msgspec.Struct):
    """The CloudEvent around a dead letter."""

    specversion: str
    data: DeadLetter


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a refused record that was looked at again.

    Attributes:
        letter: its dead letter.
        state: `GONE` (it is not where it was, or is another record), `REFUSED` or `READY`.
        told: why, where it is not ready.
    """

    letter: DeadLetter
    state: str
    told: str = ""


def parse(line: bytes) -> DeadLetter:
    """A dead letter from its JSON, or from the CloudEvent around it. Raises `ValueError`."""
    try:
        return msgspec.json.decode(line, type=_Envelope).data
    except msgspec.ValidationError:
        return msgspec.json.decode(line, type=DeadLetter)


def place(letter: DeadLetter) -> str:
    """Where the refused record is: `payments.events/0/17` or `events.ndjson:3`."""
    values = [str(value) for value in letter.source.values()]
    return ":".join(values) if "file" in letter.source else "/".join(values)


def count(letters: Iterable[DeadLetter]) -> list[tuple[str, int]]:
    """Reasons and how often each, the most frequent first."""
    return sorted(Counter(letter.reason for letter in letters).items(), key=lambda item: (-item[1], item[0]))


def judge(letter: DeadLetter, record: bytes | None, decoder: Decoder) -> Judged:
    """Look at a refused record again, under the code and rates of now.

    Args:
        letter: its dead letter.
        record: what is at its place; None where that is gone.
        decoder: with the rates in force.
    """
    if record is None:
        return Judged(letter, GONE, "the record is not there any more")
    if hashlib.sha256(record).hexdigest() != letter.raw_sha256:
        return Judged(letter, GONE, "another record is there now")
    for refused in decoder.decode([record]).rejects:
        return Judged(letter, REFUSED, f"{refused.reason}: {refused.detail}")
    return Judged(letter, READY)
