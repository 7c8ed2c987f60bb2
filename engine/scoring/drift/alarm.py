"""What the monitor says when something has changed."""

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["low", "medium", "high"]

SCORE: Final = "score"
INPUTS: Final = "inputs"
LABELS: Final = "labels"
SKILL: Final = "skill"
SUBJECTS: Final = (SCORE, INPUTS, LABELS, SKILL)

REASON_CODES: Final = {
    SCORE: "DRIFT_SCORE",
    INPUTS: "DRIFT_INPUT",
    LABELS: "DRIFT_LABEL_RATE",
    SKILL: "DRIFT_SKILL",
}
ACTIONS: Final = {
    SCORE: "look at what is scored high now and was not before; thresholds on score.fraud_top keep their alert rate",
    INPUTS: "check the sources of the inputs named, then whether customers or fraudsters behave differently",
    LABELS: "check that labels arrive as before; a true rise in fraud calls for a larger alert budget",
    SKILL: "label a sample of recent payments: the learner follows new labels daily, rules bridge the days until then",
}
"""What a person can do about each."""

_MEDIUM, _HIGH = 1.5, 3.0  # of the size


@dataclass(frozen=True, slots=True)
class DriftAlarm:
    """One change of one subject.

    Attributes:
        subject: one of `SUBJECTS`.
        at_ms: the day's end at which it was found, milliseconds since 1970.
        size: how far beyond what would just have raised it; 1 is the least.
        title: one line for people.
        details: what moved, a line each, the most telling first.
    """

    subject: str
    at_ms: int
    size: float
    title: str
    details: tuple[str, ...]

    @property
    def severity(self) -> Severity:
        """By size."""
        return "high" if self.size >= _HIGH else "medium" if self.size >= _MEDIUM else "low"

    @property
    def code(self) -> str:
        """The reason code of its alert."""
        return REASON_CODES[self.subject]

    @property
    def action(self) -> str:
        """What a person can do about it."""
        return ACTIONS[self.subject]
