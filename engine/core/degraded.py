"""Decisions while the state is away: the rules as far as the event's own fields carry them.

Pure and deterministic, as the rest of the core: the same record under the same standing (`Standing`) gives the same
bytes, on any node. Such a decision is an answer only: it has no effect, is no output and is not what the owner of the
shard decides later, with the state.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from engine.core.adoption import HEAD_RULESET
from engine.core.decisions import DecisionWriter
from engine.core.decode import Decoder
from engine.core.judging import decide
from engine.core.lists import HEAD_LIST, LiveLists
from engine.core.settings import CoreSettings
from engine.core.small_state import HEAD_RATES, rates_of
from engine.core.snoozes import HEAD_SNOOZES, Snoozes
from engine.features.columns import event_type
from engine.ruleset.degraded import DegradedRules
from engine.ruleset.ruleset import Frame, RuleSet

STATE_UNAVAILABLE: Final = "state_unavailable"
NOT_STORED: Final = "event_not_stored"
CARD_MASKED: Final = "card_number_masked"
ASSUMED: Final = "assumed:"
DECIDED: Final = frozenset(["payment.requested", "payment.authorised", "transfer.sent"])
"""Types that are decided here: of an authorisation only the state knows whether a request came before it."""


class Degraded(NamedTuple):
    """What an event is told without the state.

    Attributes:
        body: the decision as JSON, or `{"reason", "detail"}` where the event is refused; empty where it carries none.
        decision: the outcome; "" where there is none.
        refused: whether the event is refused.
    """

    body: bytes
    decision: str = ""
    refused: bool = False


class Standing:
    """What is in force in a shard that is no customer's state: rules, lists, snoozes, rates.

    Args:
        rules: compiled for this; its rule set is the one in force.
        head: values of `keys(rules.ruleset)`, as far as the shard has them.
        settings: see `CoreSettings`.
    """

    def __init__(self, rules: DegradedRules, head: Mapping[bytes, bytes], settings: CoreSettings) -> None:
        self.rules = rules
        self._lists = LiveLists(head).states(rules.ruleset.lists)
        self._snoozes = Snoozes(head)
        self._rates = rates_of(head, settings)
        self._decoder = Decoder(self._rates)
        self._writer = DecisionWriter(rules.ruleset, settings.weights)

    def answer(self, record: bytes, *, stored: bool) -> Degraded:
        """What to tell whoever sent `record`; `stored`: the event itself is safe."""
        decoded = self._decoder.decode([record])
        if decoded.rejects:
            why = decoded.rejects[0]
            return Degraded(msgspec.json.encode({"reason": why.reason, "detail": why.detail}), refused=True)
        columns, ruleset = decoded.columns, self.rules.ruleset
        if not columns.n or event_type(columns.events[0]) not in DECIDED:
            return Degraded(b"")
        columns.decides[:] = True
        nothing = np.full((len(ruleset.rows), columns.n), np.nan)
        values = ruleset.derive(columns, nothing, lists=self._lists, rates=self._rates)
        values[self.rules.unknown] = np.nan  # also what a derived feature would put in place of a missing one
        frame = Frame(columns, values, lists=self._lists, rates=self._rates)
        hits, assumed = self.rules.evaluate(frame)
        verdicts = decide(ruleset, hits, columns, self._snoozes)
        marks = [STATE_UNAVAILABLE] + [NOT_STORED] * (not stored) + [CARD_MASKED] * bool(decoded.masked[0])
        marks += [f"{ASSUMED}{ruleset.rules[rule].id}" for rule in np.flatnonzero(assumed[:, 0]).tolist()]
        (decision,) = self._writer.decisions(frame, verdicts, {}, [marks], None)
        return Degraded(msgspec.json.encode(decision), decision.decision)


def keys(ruleset: RuleSet) -> Sequence[bytes]:
    """The keys of a shard's head that `Standing` is made of; the first holds the hash of the rule set in force."""
    return [HEAD_RULESET, HEAD_SNOOZES, HEAD_RATES, *(HEAD_LIST + name.encode() for name in sorted(ruleset.lists))]
