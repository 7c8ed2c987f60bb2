"""One decision again: history through the live code up to its event, keeping what the rules saw of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.controls import stretches
from engine.core.decode import Decoded
from engine.core.effects import Effects
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset.ruleset import Frame, Hits, RuleSet, Verdicts
from engine.service.pace import Chunk, Paced, paced

BATCH_EVENTS: Final = 1_000


class Witness(RuleSet):
    """A rule set that remembers what it was shown of a batch and what hit, stretch by stretch.

    Attributes:
        shown: what the rules saw.
        hits: of each of those, what hit.
        watched: what the observers saw, and what hit.
    """

    def __init__(self, ruleset: RuleSet) -> None:
        self.__dict__.update(ruleset.__dict__)
        self.forget()

    def forget(self) -> None:
        """Begin another batch."""
        self.shown: list[Frame] = []
        self.hits: list[Hits] = []
        self.watched: list[tuple[Frame, NDArray[np.bool_]]] = []

    def evaluate(self, frame: Frame) -> Hits:
        """As the rule set does."""
        self.shown.append(frame)
        return super().evaluate(frame)

    def decide(self, hits: Hits) -> Verdicts:
        """As the rule set does."""
        self.hits.append(hits)
        return super().decide(hits)

    def observe(self, frame: Frame) -> NDArray[np.bool_]:
        """As the rule set does."""
        hits = super().observe(frame)
        self.watched.append((frame, hits))
        return hits


class Witnesses:
    """A witness for every rule set that is put in force."""

    def __init__(self, first: RuleSet, others: Callable[[str], RuleSet | None]) -> None:
        self.first = Witness(first)
        self._others = others
        self._made: dict[str, Witness] = {}

    def get(self, ruleset: str) -> Witness | None:
        """The witness for the rule set of a hash; None where there is no such set."""
        if ruleset not in self._made:
            found = self._others(ruleset)
            if found is None:
                return None
            self._made[ruleset] = Witness(found)
        return self._made[ruleset]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the observers made of an event.

    Attributes:
        frame, row: what they saw, and which row of it is the event.
        hits: the observers that hit, by place in `RuleSet.observers`.
        alerts: ids of the observers that raised an alert at once.
    """

    frame: Frame
    row: int
    hits: frozenset[int]
    alerts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decided:
    """What the rules made of an event that carries a decision.

    Attributes:
        frame, hits, row: what the rules saw, what hit, and which row of both is the event.
        decision: as it is put out.
    """

    frame: Frame
    hits: Hits
    row: int
    decision: dict[str, Any]

    def hit(self, rule: int) -> bool:
        """Whether a rule of the set hit."""
        return bool(self.hits.matrix[rule, self.row])

    def aside(self, rule: int, mode: str) -> bool:
        """Whether the hit of a rule of that mode decides nothing for this event."""
        return self.hits.aside(rule, mode, self.row)


@dataclass(frozen=True, slots=True)
class Found:
    """An event, found in the history; it was decided on, observed, or both.

    Attributes:
        ruleset: in force at the event.
        event: the decoded event.
        decided: None where it carries no decision.
        observed: None where no observer looks at events of its kind.
        source: where the event came from.
    """

    ruleset: RuleSet
    event: Any
    decided: Decided | None
    observed: Observed | None
    source: dict[str, Any]


class NoDecision(Exception):
    """The event was found, but nothing looked at it; or it was not found. `str()` says which."""


def find(
    chunks: Iterable[Chunk],
    ruleset: RuleSet,
    settings: CoreSettings,
    event_id: str,
    customer_id: str | None = None,
    progress: Callable[[int], None] = lambda records: None,
    rulesets: Callable[[str], RuleSet | None] = lambda ruleset: None,
) -> Found:
    """Replay `chunks` in memory up to the first accepted `event_id` (of `customer_id`, where given).

    `ruleset` is in force at the beginning, `rulesets` finds those that the history puts in force. Raises `NoDecision`.
    """
    witnesses = Witnesses(ruleset, rulesets)
    partition = Partition(witnesses.first, settings, backed=False, rulesets=witnesses.get)
    for chunk in paced(chunks, partition.clock):
        for start, end in stretches(chunk.records, BATCH_EVENTS):
            decoded = partition.decode(chunk.records[start:end])
            effects = partition.apply(decoded, partial(_source, chunk, start))
            witness = partition.ruleset
            assert isinstance(witness, Witness), "every rule set of this partition is one"
            decided = _decided(witness, effects, event_id, customer_id)
            observed = _observed(witness, effects, event_id, customer_id)
            side = decided or observed
            if side is not None:
                event = side.frame.columns.events[side.row]
                place = start + _place(decoded, event_id, event.customer_id)
                return Found(witness, event, decided, observed, chunk.source(place))
            place = _place(decoded, event_id, customer_id)
            if place >= 0:
                where = _where(chunk, start + place)
                message = "an event of a kind that carries no decision and that no observer looks at"
                raise NoDecision(f"{event_id} is {message}, at {where}")
            witness.forget()
        progress(len(chunk.records))
    raise NoDecision(f"no accepted event {event_id}{f' of {customer_id}' if customer_id else ''} in the sources")


def _row(frame: Frame, event_id: str, customer_id: str | None) -> int:
    """The row of the event in a frame, -1 where it is not."""
    events: Sequence[Any] = frame.columns.events
    for row, event in enumerate(events):
        if event.event_id == event_id and customer_id in (None, event.customer_id):
            return row
    return -1


def _decided(witness: Witness, effects: Effects, event_id: str, customer_id: str | None) -> Decided | None:
    """What the rules made of the event, where it is among the decisions of a batch."""
    before = 0
    for frame, hits in zip(witness.shown, witness.hits, strict=True):
        row = _row(frame, event_id, customer_id)
        if row >= 0:
            return Decided(frame, hits, row, msgspec.json.decode(effects.decisions[before + row][1]))
        before += frame.columns.n
    return None


def _observed(witness: Witness, effects: Effects, event_id: str, customer_id: str | None) -> Observed | None:
    """What the observers made of the event, where they looked at it."""
    looked = ((frame, hits, _row(frame, event_id, customer_id)) for frame, hits in witness.watched)
    seen = ((frame, hits, row) for frame, hits, row in looked if row >= 0 and witness.observed(frame.columns)[row])
    frame, hits, row = next(seen, (None, None, -1))
    if frame is None or hits is None:
        return None
    alerts = [msgspec.json.decode(output.data) for output in effects.outputs if output.kind == "alert"]
    customer: str = frame.columns.events[row].customer_id
    raised = frozenset(
        reason["rule"]
        for alert in alerts
        for reason in alert["reasons"]
        if (alert["event_id"], alert["customer_id"]) == (event_id, customer)
    )
    return Observed(frame, row, frozenset(np.flatnonzero(hits[:, row]).tolist()), raised)


def _place(decoded: Decoded, event_id: str, customer_id: str | None) -> int:
    """The position of the event among the records of a batch, -1 where it is not."""
    for row, event in enumerate(decoded.columns.events):
        if event.event_id == event_id and customer_id in (None, event.customer_id):
            return int(decoded.index[row])
    return -1


def _where(chunk: Paced, index: int) -> str:
    return ":".join(str(part) for part in chunk.source(index).values())


def _source(chunk: Paced, start: int, index: int) -> dict[str, Any]:
    return chunk.source(start + index)
