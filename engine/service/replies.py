"""Synchronous calls that travel through the log: who waits for which record, and what they are told.

A gateway's call is produced to the input topic like any other event, with two headers: `steward-reply-to`, the channel
on which the calling node listens, and `steward-request-id`, which that node chose. The shard's owner publishes one
message per such record on that channel, with the commit that holds the record's effects and only if it succeeds:
`{"request", "status", "body"}`, and `"explanation"` where the header `steward-explain` asked for one. `status` is
`decision` (`body`: the decision), `duplicate` (`body`: the first answer, null where the first was not asked for or has
expired), `accepted` (an event that carries no decision) or `rejected` (`body`: `{"reason", "detail"}`).
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from engine.core.controls import may_be_control
from engine.core.effects import Effects, Output
from engine.ports.log import LogRecord

REPLY_TO: Final = "steward-reply-to"
REQUEST_ID: Final = "steward-request-id"
EXPLAIN: Final = "steward-explain"
REQUEST_ID_BYTES_MAX: Final = 64  # a UUID and some room; a longer one is not ours and is cut
CHANNEL_BYTES_MAX: Final = 128


class Call(NamedTuple):
    """A record somebody waits for: its place in the batch, the channel to answer on, the caller's id for it."""

    row: int
    channel: str
    request: str


def find_calls(records: Sequence[LogRecord]) -> list[Call]:
    """The records of a batch that want an answer. Records without headers cost one test each."""
    return [call for index, record in enumerate(records) if record.headers for call in _call(index, record.headers)]


def to_explain(records: Sequence[LogRecord]) -> frozenset[int]:
    """The records of a batch whose decisions somebody wants explained."""
    return frozenset(
        index for index, record in enumerate(records) if record.headers and EXPLAIN in dict(record.headers)
    )


def _call(index: int, headers: Iterable[tuple[str, bytes]]) -> Iterable[Call]:
    found = dict(headers)
    channel = found.get(REPLY_TO)
    if channel and len(channel) <= CHANNEL_BYTES_MAX:
        request = (found.get(REQUEST_ID) or b"")[:REQUEST_ID_BYTES_MAX]
        yield Call(index, channel.decode("utf-8", "replace"), request.decode("utf-8", "replace"))


NO_CONTROL: Final = b'{"reason":"unknown_type","detail":"control events are not taken over HTTP"}'
"""What a caller is told who sends one: a gateway may not change rules, lists or rates."""


class _Typed(msgspec.Struct):
    type: str


_TYPED: Final = msgspec.json.Decoder(_Typed)


def is_control(value: bytes) -> bool:
    """Whether a record says that it is a control event."""
    if not may_be_control(value):
        return False
    try:
        return _TYPED.decode(value).type.startswith("control.")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


class _Identity(msgspec.Struct):
    customer_id: str
    event_id: str


_IDENTITY: Final = msgspec.json.Decoder(_Identity)


def event_key(value: bytes | None) -> bytes | None:
    """The key under which the answer to an event is kept; `None` for what cannot be an accepted event.

    16 bytes of BLAKE2b over the length of the customer's id, that id and the event's id: the customer is part of it,
    because an `event_id` is unique within a customer only.
    """
    try:
        identity = _IDENTITY.decode(value or b"")
        customer = identity.customer_id.encode()
        event = identity.event_id.encode()
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None
    return hashlib.blake2b(len(customer).to_bytes(4, "little") + customer + event, digest_size=16).digest()


def payload(request: str, status: str, body: bytes, explanation: bytes = b"") -> bytes:
    """One reply; `body` and `explanation` are JSON already."""
    more = b',"explanation":' + explanation if explanation else b""
    return b'{"request":%b,"status":"%b","body":%b%b}' % (msgspec.json.encode(request), status.encode(), body, more)


class Outcome(NamedTuple):
    """What became of one record: `status` as in the module's text, and the body as JSON (`null` where unknown).

    `explanation` of a decision is JSON too, and empty where none was asked for. It is not kept for repeats.
    """

    status: str
    body: bytes
    explanation: bytes = b""


class Outcomes:
    """What became of each record of a batch, for those who ask."""

    def __init__(self, effects: Effects, offsets: Sequence[int]) -> None:
        self._decisions = dict(effects.decisions)
        self._explanations = effects.explanations
        self._duplicates = set(effects.duplicates)
        self._rejected = _rejected(effects.outputs, offsets) if effects.dead_lettered else {}

    def of(self, index: int) -> Outcome:
        """The outcome of the record at `index`. A duplicate's first answer is for the caller to find."""
        decision = self._decisions.get(index)
        if decision is not None:
            return Outcome("decision", decision, self._explanations.get(index, b""))
        if index in self._duplicates:
            return Outcome("duplicate", b"null")
        if index in self._rejected:
            return Outcome("rejected", self._rejected[index])
        return Outcome("accepted", b"null")


async def resolve(
    calls: Sequence[Call],
    records: Sequence[LogRecord],
    effects: Effects,
    first_answer: Callable[[bytes], Awaitable[bytes | None]],
) -> tuple[dict[bytes, bytes], list[tuple[Call, Outcome]]]:
    """What to tell those who wait for a record of a batch.

    Args:
        first_answer: the answer that is kept for an event key.

    Returns:
        The answers to keep, by event key, and the outcome of each call.
    """
    outcomes = Outcomes(effects, [record.offset for record in records])
    answers: dict[bytes, bytes] = {}
    told: list[tuple[Call, Outcome]] = []
    for call in calls:
        status, body, explanation = outcomes.of(call.row)
        key = event_key(records[call.row].value)
        if key is not None and status == "decision":
            answers[key] = body
        elif key is not None and status == "duplicate":
            body = answers.get(key) or await first_answer(key) or body
        told.append((call, Outcome(status, body, explanation)))
    return answers, told


class _Source(msgspec.Struct):
    offset: int | None = None


class _DeadLetter(msgspec.Struct):
    reason: str = ""
    detail: str = ""
    source: _Source | None = None


_DECODER: Final = msgspec.json.Decoder(_DeadLetter)


def _rejected(outputs: Sequence[Output], offsets: Sequence[int]) -> dict[int, bytes]:
    """Dead letters of the batch by the index of their record: `{"reason", "detail"}` as JSON."""
    index_of = {offset: index for index, offset in enumerate(offsets)}
    found = {}
    for output in outputs:
        if output.kind == "dead_letter":
            letter = _DECODER.decode(output.data)
            index = index_of.get(letter.source.offset) if letter.source and letter.source.offset is not None else None
            if index is not None:
                found[index] = msgspec.json.encode({"reason": letter.reason, "detail": letter.detail})
    return found
