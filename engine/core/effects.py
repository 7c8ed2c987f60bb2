"""What a micro-batch does to the world, as data: the only thing `Partition.apply` returns."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from engine.domain.outputs import LETTER
from engine.features.sharing import Touches

OUTPUT_KINDS: Final = ("decision", "alert", "reward", "offer", "lifecycle", "dead_letter", LETTER)
"""Those that go out, and `letter`: a control event for the log of another shard. Numbers are stored: new ones last."""


class Output(msgspec.Struct, frozen=True, gc=False):
    """One output record.

    Attributes:
        kind: one of `OUTPUT_KINDS`.
        key: the customer id as UTF-8 (the Kafka key); empty for a dead letter without a customer, and for a letter to a
            shard rather than a customer, which its `receiver` names.
        id: deterministic id: the same cause gives the same id on any worker, after any crash.
        time_ms: event time of the cause (CloudEvents `time`).
        data: the JSON body of contract section 5, one line, no newline.
    """

    kind: str
    key: bytes
    id: str
    time_ms: int
    data: bytes


class Learning(NamedTuple):
    """A fraud model at work.

    Attributes:
        version: of what is published.
        rows: labelled rows held.
        age_ms: event time since the boundary at which it was learned; None before the first.
        problems: parts of its stored state that could not be read, found at the start.
    """

    version: str
    rows: int
    age_ms: int | None
    problems: int


@dataclass(slots=True)
class Effects:
    """State operations, outputs and counts of one micro-batch.

    Attributes:
        ops: packed state operations (`engine.domain.ops`).
        outputs: in input order.
        decisions: `(index of the record in the batch, decision JSON)` of every decision made.
        duplicates: indexes of records that repeat an `event_id` of their customer.
        accepted, late, dead_lettered: counts; `late` is part of `accepted`.
        outcomes: decisions by outcome.
        features: with `--features`, a JSON line per accepted event.
        hits: hits of decision rules by rule id and how they counted, `live` or `shadow`.
        observed: alerts of observer rules by rule id, those of shadow rules too, which are not put out.
        control: decisions of the control sample, which are among the approved.
        labels: what became known of payments: `fraud` and `legitimate` labels that were news, `repeated` ones and those
            of `unknown` payments, which have no effect, and decisions that `matured`.
        refused: redemptions that came to nothing, by reason (`engine.engagement.marketing.refusing`).
        learning: the fraud model after the batch; None where there is none.
        models: snapshots of the fraud model, as bytes, that were published or found in the state: for the archive.
        touches: by home, what the batch does to entities at home in other shards; their rows are indexes of records.
        explanations: by index of the record, why its decision came out as it did, as JSON; where asked for.
    """

    ops: bytes = b""
    outputs: list[Output] = field(default_factory=list)
    decisions: list[tuple[int, bytes]] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    accepted: int = 0
    late: int = 0
    dead_lettered: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    features: list[bytes] = field(default_factory=list)
    hits: dict[tuple[str, str], int] = field(default_factory=dict)
    observed: dict[str, int] = field(default_factory=dict)
    control: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    learning: Learning | None = None
    models: list[bytes] = field(default_factory=list)
    explanations: dict[int, bytes] = field(default_factory=dict)
    touches: dict[int, Touches] = field(default_factory=dict)
