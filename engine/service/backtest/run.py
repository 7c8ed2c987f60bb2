"""The backtest: a history once through both rule sets, then the figures."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.core.controls import stretches
from engine.core.settings import CoreSettings
from engine.domain.times import rfc3339
from engine.ruleset import meaning
from engine.ruleset.ruleset import RuleSet
from engine.service.backtest.examples import EXAMPLES_DEFAULT, Examples, matrix, other_reasons
from engine.service.backtest.figures import Figures, days_of
from engine.service.backtest.labels import Labels, present
from engine.service.backtest.pipeline import Judged, Pipeline
from engine.service.backtest.record import SIDES, Record, Table
from engine.service.backtest.sweep import Sweep
from engine.service.backtest.sweep_target import Target

MATURITY_MS: Final = 8 * 86_400_000


class Chunk(Protocol):
    """Some consecutive records of a source."""

    @property
    def records(self) -> Sequence[bytes | None]:
        """The raw records."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to look at the history.

    Attributes:
        maturity_ms: a payment without a label counts as legitimate once it is older.
        as_of_ms: the present; None for the end of the history (`labels.present`).
        examples: kept of each change of outcome.
        sweeps: literals of the candidate to vary.
    """

    maturity_ms: int = MATURITY_MS
    as_of_ms: int | None = None
    examples: int = EXAMPLES_DEFAULT
    sweeps: tuple[Target, ...] = ()


class Backtest:
    """Takes a history batch by batch; `report` says what came of it. The same history gives the same report.

    Args:
        baseline, candidate: the rule sets.
        settings: of the core, the same for both.
        labels: gets the labels of the history; may hold those of a file.
        options: see `Options`.
    """

    def __init__(
        self,
        baseline: RuleSet,
        candidate: RuleSet,
        settings: CoreSettings,
        labels: Labels | None = None,
        options: Options | None = None,
    ) -> None:
        self._sets = (baseline, candidate)
        self._options = options if options is not None else Options()
        self._labels = labels if labels is not None else Labels()
        self._pipeline = Pipeline(baseline, candidate, settings)
        self._record = Record()
        self._examples = Examples(self._sets, self._options.examples)
        self._sweeps = [Sweep(candidate, target) for target in self._options.sweeps]
        self._counts = dict.fromkeys(("events", "accepted", "duplicates", "dead_lettered"), 0)

    def add(self, records: Sequence[bytes | None]) -> None:
        """Take the next records of the log."""
        for start, end in stretches(records, max(1, len(records))):
            self._add(records[start:end])

    def _add(self, records: Sequence[bytes | None]) -> None:
        judged = self._pipeline.run(records)
        self._count(len(records), judged)
        self._labels.observe(judged.accepted)
        first = self._record.decisions
        if judged.picked.n:
            self._examples.add(judged, first)
            for sweep in self._sweeps:
                sweep.add(judged, judged.sides[1], first)
            self._record.add(judged)

    def _count(self, records: int, judged: Judged) -> None:
        self._counts["events"] += records
        self._counts["accepted"] += judged.accepted.n + judged.controls
        self._counts["duplicates"] += judged.duplicates
        self._counts["dead_lettered"] += judged.dead_lettered

    def report(self) -> dict[str, Any]:
        """Everything, as JSON data: see docs/backtest.md."""
        table, options = self._record.table(), self._options
        as_of_ms = options.as_of_ms if options.as_of_ms is not None else present(table.time_ms)
        found = self._labels.of(table.payment, table.time_ms, as_of_ms, options.maturity_ms)
        days = days_of(table.time_ms, present(table.time_ms))
        sides = [self._side(place, table, found.values, days) for place in range(len(SIDES))]
        lines = matrix(self._record, table, found.values)
        return {
            "history": {
                **self._counts,
                "decisions": self._record.decisions,
                "base_currency": self._pipeline.base,
                "days": round(days, 3),
                "as_of": rfc3339(as_of_ms),
                "maturity_days": round(options.maturity_ms / 86_400_000, 3),
                "decisions_labelled": found.told,
                "shared": {"features": self._pipeline.shares_features, "scores": self._pipeline.shares_scores},
            },
            "decisions_changed": sum(line["count"] for line in lines if line["baseline"] != line["candidate"]),
            "reasons_changed": other_reasons(self._sets, self._record, table),
            "matrix": lines,
            "examples": self._examples.listed(found.values),
            "rules_changed": meaning.changes(*self._sets),
            **dict(zip(SIDES, sides, strict=True)),
            "sweeps": [
                sweep.result(table, self._record.combinations[1].known, found.values, days) for sweep in self._sweeps
            ],
        }

    def _side(self, place: int, table: Table, label: NDArray[np.int8], days: float) -> dict[str, Any]:
        """The figures of one rule set."""
        ruleset, known = self._sets[place], self._record.combinations[place].known
        figures = Figures(ruleset, known, table.sides[place], label, table, days)
        return {
            "ruleset": ruleset.hash,
            "totals": figures.totals(),
            "rules": figures.rules(),
            "overlap": figures.overlap(),
        }


def backtest(
    chunks: Iterable[Chunk], test: Backtest, progress: Callable[[int], None] = lambda records: None
) -> dict[str, Any]:
    """Run every record of `chunks` through `test` and report."""
    for chunk in chunks:
        test.add(chunk.records)
        progress(len(chunk.records))
    return test.report()
