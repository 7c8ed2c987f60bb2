"""One decision again: history through the live code up to its event, keeping what the rules saw of it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from engine.core.controls import stretches
from engine.core.decode import Decoded
from engine.core.effects import Effects
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset.ruleset import Frame, Hits, RuleSet, Verdicts
from engine.service.replay import Chunk

BATCH_EVENTS: Final = 1_000


class Witness(RuleSet):
    """A rule set that remembers what it was last shown and what hit."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.__dict__.update(ruleset.__dict__)
        self.frame: Frame | None = None
        self.hits: Hits | None = None

    def evaluate(self, frame: Frame) -> Hits:
        """As the rule set does."""
        self.frame = frame
        return super().evaluate(frame)

    def decide(self, hits: Hits) -> Verdicts:
        """As the rule set does."""
        self.hits = hits
        return super().decide(hits)


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
class Found:
    """An event and its decision.

    Attributes:
        ruleset: that decided.
        frame, hits, row: what its rules saw, what hit, and which row of both is the event.
        decision: as it is put out.
        source: where the event came from.
    """

    ruleset: RuleSet
    frame: Frame
    hits: Hits
    row: int
    decision: dict[str, Any]
    source: dict[str, Any]

    def hit(self, rule: int) -> bool:
        """Whether a rule of the set hit."""
        return bool(self.hits.matrix[rule, self.row])

    def aside(self, rule: int) -> bool:
        """Whether a rule's hit decides nothing for this event."""
        return self.hits.aside(rule, self.ruleset.rules[rule].mode, self.row)


class NoDecision(Exception):
    """The event was found, but no decision was made of it; or it was not found. `str()` says which."""


def find(
    chunks: Iterable[Chunk],
    ruleset: RuleSet,
    settings: CoreSettings,
    event_id: str,
    customer_id: str | None = None,
    progress: Callable[[int], None] = lambda records: None,
    rulesets: Callable[[str], RuleSet | None] = lambda ruleset: None,
) -> Found:
    """Replay `chunks` in memory up to the first decision on `event_id` (of `customer_id`, where given).

    `ruleset` is in force at the beginning, `rulesets` finds those that the history puts in force. Raises `NoDecision`.
    """
    witnesses = Witnesses(ruleset, rulesets)
    partition = Partition(witnesses.first, settings, backed=False, rulesets=witnesses.get)
    for chunk in chunks:
        for start, end in stretches(chunk.records, BATCH_EVENTS):
            decoded = partition.decode(chunk.records[start:end])
            effects = partition.apply(decoded, partial(_source, chunk, start))
            witness = partition.ruleset
            assert isinstance(witness, Witness), "every rule set of this partition is one"
            found = _look(witness, effects, event_id, customer_id)
            if found is not None:
                place = start + _place(decoded, event_id, found[1]["customer_id"])
                assert witness.frame is not None and witness.hits is not None, "a decision has a frame"
                return Found(witness, witness.frame, witness.hits, found[0], found[1], chunk.source(place))
            place = _place(decoded, event_id, customer_id)
            if place >= 0:
                where = _where(chunk, start + place)
                raise NoDecision(f"{event_id} is an event of a kind that carries no decision, at {where}")
        progress(len(chunk.records))
    raise NoDecision(f"no accepted event {event_id}{f' of {customer_id}' if customer_id else ''} in the sources")


def _look(
    witness: Witness, effects: Effects, event_id: str, customer_id: str | None
) -> tuple[int, dict[str, Any]] | None:
    """The row and the decision of the event among those of a batch."""
    if not effects.decisions or witness.frame is None:
        return None
    events: Sequence[Any] = witness.frame.columns.events
    for row, event in enumerate(events):
        if event.event_id == event_id and customer_id in (None, event.customer_id):
            decisions = [msgspec.json.decode(output.data) for output in effects.outputs if output.kind == "decision"]
            return row, decisions[row]
    return None


def _place(decoded: Decoded, event_id: str, customer_id: str | None) -> int:
    """The position of the event among the records of a batch, -1 where it is not."""
    for row, event in enumerate(decoded.columns.events):
        if event.event_id == event_id and customer_id in (None, event.customer_id):
            return int(decoded.index[row])
    return -1


def _where(chunk: Chunk, index: int) -> str:
    return ":".join(str(part) for part in chunk.source(index).values())


def _source(chunk: Chunk, start: int, index: int) -> dict[str, Any]:
    return chunk.source(start + index)
