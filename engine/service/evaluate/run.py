"""The evaluation: a history once through the champion and its challengers, then the figures."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from engine.core.controls import stretches
from engine.core.dead_letters import nowhere
from engine.core.effects import Effects
from engine.core.partition import Partition
from engine.domain.times import rfc3339
from engine.service.backtest.labels import Labels
from engine.service.evaluate.cards import CARDS_A_DAY
from engine.service.evaluate.figures import NO_PROBABILITIES, WEEK_DAYS, Judge, Part, Period, joined, ready, weeks
from engine.service.evaluate.record import CHAMPION, DAY_MS, Record, Table
from engine.service.pace import Chunk, paced

BATCH_EVENTS: Final = 1_000
MATURITY_MS: Final = 8 * DAY_MS
WEEKLY: Final = ("auc", "average_precision", "card_precision")


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        maturity_ms: a payment without a label counts as legitimate once it is older.
        as_of_ms: the present; None for the end of the day of the last event.
        from_ms, until_ms: only decisions in `[from, until)` are judged, whole UTC days; None for all that are scored.
        cards: looked at a day.
        segment: a string field to break the figures down by; empty for none.
    """

    maturity_ms: int = MATURITY_MS
    as_of_ms: int | None = None
    from_ms: int | None = None
    until_ms: int | None = None
    cards: int = CARDS_A_DAY
    segment: str = ""


class Evaluation:
    """Takes a history batch by batch; `report` says how good the scores were. The same history, the same report,
    but for `speed`.

    Args:
        champion: a partition without a store, at its beginning.
        challengers: the same under other names; each goes through the same history beside it.
        labels: gets the labels of the history; may hold those of a file.
        options: see `Options`.
    """

    def __init__(
        self,
        champion: Partition,
        challengers: Mapping[str, Partition] | None = None,
        labels: Labels | None = None,
        options: Options | None = None,
    ) -> None:
        self._champion = champion
        self._challengers = dict(challengers or {})
        self._labels = labels if labels is not None else Labels()
        self._options = options if options is not None else Options()
        self._record = Record(tuple(self._challengers), self._options.segment)
        self._counts = dict.fromkeys(("events", "accepted", "duplicates", "dead_lettered"), 0)
        self._seconds = self._cpu = 0.0

    @property
    def clock(self) -> tuple[int, int]:
        """That of the champion's shard, as `Partition.clock`."""
        return self._champion.clock

    def pass_time(self, ticks: Sequence[bytes | None]) -> None:
        """Take a tick that the log lacked; it is not counted."""
        for partition in (self._champion, *self._challengers.values()):
            partition.apply(partition.decode(ticks), nowhere)

    def add(self, records: Sequence[bytes | None]) -> None:
        """Take the next records of the log."""
        for start, end in stretches(records, BATCH_EVENTS):
            self._add(records[start:end])

    def _add(self, records: Sequence[bytes | None]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        decoded = self._champion.decode(records)
        effects = self._champion.apply(decoded, nowhere)
        self._seconds += time.perf_counter() - wall
        self._cpu += time.process_time() - cpu
        others: dict[str, Effects] = {}
        for name, partition in self._challengers.items():
            others[name] = partition.apply(partition.decode(records), nowhere)
        self._counts["events"] += len(records)
        self._counts["accepted"] += effects.accepted
        self._counts["duplicates"] += len(effects.duplicates)
        self._counts["dead_lettered"] += effects.dead_lettered
        columns = decoded.columns
        if columns.n:
            fresh = np.flatnonzero(~np.isin(decoded.index, effects.duplicates))
            self._labels.observe(columns if len(fresh) == columns.n else columns.take(fresh))
            self._record.add(columns, decoded.index, others, effects)

    def table(self) -> Table:
        """The decisions so far, with what they turned out to be."""
        return self._record.table(self._labels, self._options.maturity_ms, self._options.as_of_ms)

    def report(self) -> dict[str, Any]:
        """Everything, as JSON data: see docs/evaluate.md."""
        table, options = self.table(), self._options
        judge = Judge(table, options.cards)
        periods = self._periods(table)
        parts = [judge.part(period) for period in periods]
        whole = joined(parts)
        names = tuple(name for name, score in table.scores.items() if np.isfinite(score[whole.every]).any())
        by_week = [_week(judge, names, *pair) for pair in zip(periods, parts, strict=True)]
        return {
            "history": self._history(table, periods),
            "speed": self.speed(),
            "judged": judge.counts(whole),
            "cards_a_day": options.cards,
            "scores": {name: _score(judge, name, whole, by_week) for name in names},
            "weeks": by_week,
            "segment": options.segment or None,
            "segments": judge.segments(names, whole) if options.segment else [],
            "challengers": [
                judge.against(name, "fraud", whole) for name in names if name not in CHAMPION and "fraud" in names
            ],
        }

    def speed(self) -> dict[str, float]:
        """What the champion cost: decoding, features, scoring, learning, rules; not the figures nor the challengers."""
        events = max(1, self._counts["events"])
        return {
            "seconds": round(self._seconds, 3),
            "cpu_seconds": round(self._cpu, 3),
            "events_per_second": round(events / self._seconds) if self._seconds else 0,
            "cpu_us_per_event": round(1e6 * self._cpu / events, 2),
        }

    def _periods(self, table: Table) -> list[Period]:
        """The weeks to judge."""
        options = self._options
        first = ready(table)
        if first is None:
            return []
        start = first if options.from_ms is None else options.from_ms // DAY_MS
        end = int(table.day.max()) + 1 if options.until_ms is None else -(-options.until_ms // DAY_MS)
        return weeks(max(start, int(table.day.min())), min(end, int(table.day.max()) + 1))

    def _history(self, table: Table, periods: list[Period]) -> dict[str, Any]:
        return {
            **self._counts,
            "decisions": self._record.decisions,
            "labels_arrived": len(self._labels.frauds),
            "unripe": table.unripe,
            "from": rfc3339(periods[0].start * DAY_MS) if periods else None,
            "until": rfc3339(periods[-1].end * DAY_MS) if periods else None,
            "as_of": rfc3339(table.as_of_ms),
            "maturity_days": round(self._options.maturity_ms / DAY_MS, 3),
            "ruleset": self._champion.ruleset_hash,
        }


def evaluate(
    chunks: Iterable[Chunk], evaluation: Evaluation, progress: Callable[[int], None] = lambda records: None
) -> dict[str, Any]:
    """Run every record of `chunks` through `evaluation` and report."""
    for chunk in paced(chunks, evaluation.clock):
        if chunk.added:
            evaluation.pass_time(chunk.records)
            continue
        evaluation.add(chunk.records)
        progress(len(chunk.records))
    return evaluation.report()


def _week(judge: Judge, names: tuple[str, ...], period: Period, part: Part) -> dict[str, Any]:
    return {
        "from": rfc3339(period.start * DAY_MS)[:10],
        "days": period.days,
        **judge.counts(part),
        "scores": {name: judge.ranks(name, part) for name in names},
    }


def _score(judge: Judge, name: str, whole: Part, by_week: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one score over everything; the spread is over whole weeks."""
    spread = {}
    for figure in WEEKLY:
        values = [week["scores"][name][figure] for week in by_week if week["days"] == WEEK_DAYS]
        told = [value for value in values if value is not None]
        spread[figure] = {"mean": float(np.mean(told)), "sd": float(np.std(told)), "weeks": len(told)} if told else None
    found = {**judge.ranks(name, whole), "interval": judge.sure(name, whole), "weekly": spread}
    if name not in NO_PROBABILITIES:
        found |= judge.probabilities(name, whole)
    return {**found, "precision_recall": judge.curve(name, whole)}
