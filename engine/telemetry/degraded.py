"""Metrics of calls that were answered without the state."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

OUTCOMES: Final = ("approve", "review", "step_up", "decline")
RESULTS: Final = ("same", "stronger", "weaker", "unknown")


class DegradedMetrics:
    """Counts such calls; all series are there from the start: an alarm on an increase needs the zero."""

    def __init__(self, registry: CollectorRegistry) -> None:
        answers = Counter(
            "steward_degraded_answers", "Calls answered without the state, by outcome", ["decision"], registry=registry
        )
        settled = Counter(
            "steward_degraded_settled",
            "Such calls, by what the decision with the state was: same, stronger, weaker, unknown",
            ["result"],
            registry=registry,
        )
        self._answers = {name: answers.labels(name) for name in OUTCOMES}
        self._settled = {name: settled.labels(name) for name in RESULTS}

    def answered(self, decision: str) -> None:
        """A call was answered without the state."""
        self._answers[decision].inc()

    def settled(self, result: str) -> None:
        """What became of its event: `same`, `stronger` (the owner is stricter), `weaker`, or `unknown`."""
        self._settled[result].inc()
