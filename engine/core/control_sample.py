"""The control sample: a small share of payments that would be declined goes through, so that the models go on learning
what declines hold.

A payment that is declined never shows whether it was fraud. Models that learn from what went through alone unlearn what
they stop, and nobody can tell whether a rule still stops fraud. So of the declines that only patterns and scores asked
for, a share drawn by a salted hash is approved, each standing for `1 / share` payments where labels are learned
from. Never where a `hard` rule hit, or a rule that names a list (of what is blocked, or of whom sanctions forbid to
pay), and never above an amount.

Source: Bottou and others, 2013. Counterfactual reasoning and learning systems; section 4.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.domain.draws import drawn
from engine.domain.fields import NUMBER_INDEX
from engine.domain.outputs import Reason
from engine.features.columns import Columns
from engine.ruleset.ir import Feature, InList, Node, walk
from engine.ruleset.ruleset import OUTCOMES, RuleSet, Verdicts

CONTROL_SAMPLE: Final = "CONTROL_SAMPLE"
WEIGHT_MAX: Final = 20.0
"""Payments that one of the sample counts for at most: a single fraud is not to tell a model more than it can know."""

_APPROVE, _DECLINE = OUTCOMES.index("approve"), OUTCOMES.index("decline")


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """`share`: of would-be declines, 0 to 1; 0 for none. `amount_max`: major units of the base currency; payments
    above it, or without a rate, stay declined. `salt`: of the draw; to be kept from who would profit by it."""

    share: float = 0.0
    amount_max: float = 50.0
    salt: str = "steward"


class ControlSample:
    """The sample of one rule set."""

    def __init__(self, ruleset: RuleSet, settings: ControlSettings) -> None:
        self._settings = settings
        self._protected = frozenset(
            place for place, rule in enumerate(ruleset.rules) if rule.hard or _asks_a_list(rule.when, _listed(ruleset))
        )

    def let_through(self, columns: Columns, verdicts: Verdicts) -> None:
        """Approve those of the declines that are drawn, and note them in `verdicts.control`."""
        if not self._settings.share:
            return
        amounts = columns.numbers[NUMBER_INDEX["amount_base"]]
        for row in np.flatnonzero(verdicts.outcome == _DECLINE).tolist():
            if self._protected.isdisjoint(verdicts.reasons[row]) and amounts[row] <= self._settings.amount_max:
                event = columns.events[row]
                if self._is_drawn(event.customer_id, event.payment_id or event.event_id):
                    verdicts.outcome[row] = _APPROVE
                    verdicts.control.append(row)

    def reason(self) -> Reason:
        """Why a payment that would be declined was not."""
        return Reason(CONTROL_SAMPLE, "", f"would be declined; one of {self._settings.share:.3g} that go through")

    def shares(self, verdicts: Verdicts, kept: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shares as learners take them (`engine.scoring.rows.LabelledRows.share`), where `kept` are those of payments
        that no sample was drawn of."""
        if not verdicts.control:
            return kept
        shares = kept.copy()
        shares[verdicts.control] = -max(self._settings.share, 1.0 / WEIGHT_MAX)
        return shares

    def _is_drawn(self, customer_id: str, payment_id: str) -> bool:
        """Whether a payment is of the sample: the same for every event of it."""
        return drawn(self._settings.salt, "control", customer_id, payment_id) < self._settings.share


def _listed(ruleset: RuleSet) -> frozenset[str]:
    """Derived features that ask whether something is on a list, directly or through others."""
    found: set[str] = set()
    for entry in ruleset.derived:  # in the order they are computed: what one reads comes before it
        if _asks_a_list(entry.expr, frozenset(found)):
            found.add(entry.name)
    return frozenset(found)


def _asks_a_list(condition: Node, listed: frozenset[str]) -> bool:
    return any(
        isinstance(node, InList) or (isinstance(node, Feature) and node.name in listed) for node in walk(condition)
    )
