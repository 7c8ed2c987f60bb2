"""How well the shipped models find fraud, and what that costs: every payment scored once, in log order.

Run `python -m load_tests.bench_detection [--streams NAME ...] [--rules DIR] [--poison 0.01] [--out FILE]`.
Streams: `handbook` and `cardsim` (Parquet files with the columns of the Fraud Detection Handbook, at the paths in
STEWARD_BENCH_HANDBOOK and STEWARD_BENCH_CARDSIM; left out where not given), `drift` (four changes of fraud overnight,
`load_tests/detection/drift.py`) and `generator` (`steward gen`). Labels of day d arrive at 00:00 of day d + 8. The
speed is that of the whole engine on one core: decoding, features, scoring, learning, rules, decisions. Nothing may run
beside it.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.core.decode import hash_text
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.generator.stream import Settings, generate
from engine.generator.world import rates
from engine.ruleset import RuleSet, compile, files
from engine.service.backtest.labels import Labels
from engine.service.evaluate.figures import Judge, Period
from engine.service.evaluate.record import DAY_MS
from engine.service.evaluate.run import Evaluation, Options
from engine.warm_up import warm_up
from load_tests.detection import drift
from load_tests.detection.payments import DAY_S, LABEL_DAYS, Payments, events, poisoned, read, truth

RULES: Final = Path(__file__).resolve().parent.parent / "rules"
FILES: Final = {"handbook": "STEWARD_BENCH_HANDBOOK", "cardsim": "STEWARD_BENCH_CARDSIM"}
STREAMS: Final = ("handbook", "cardsim", "drift", "generator")
WEEKS: Final = {"handbook": 5, "cardsim": 2}
"""The last weeks of a file are judged."""
BLOCKS: Final = ((-20, 0), (0, 14), (14, 30), (30, 60))
"""Days from the change of a drift stream."""
DRIFT_SEED: Final = 100
POISON_SEED: Final = 7
GENERATED: Final = 400_000
GENERATOR: Final = Settings(seed=11, customers=3_000, rate=8_000.0, fraud_rate=0.01)


class Truth(Labels):
    """What the payments of a stream are and when that was to be known, whatever the labels in it say."""

    def __init__(self, payments: Payments, late_days: int) -> None:
        super().__init__()
        self.read(truth(payments))
        rows = np.flatnonzero(payments.fraud)
        due = (payments.time_s[rows] // DAY_S + late_days) * DAY_MS
        self.frauds = [(hash_text(f"p{row}"), when) for row, when in zip(rows.tolist(), due.tolist(), strict=True)]

    def observe(self, columns: Columns) -> None:
        """Nothing that is not known."""


class Bench:
    """Runs streams through partitions of one rule set."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.ruleset: RuleSet = compile(files.read(args.rules))

    def partition(self, core: CoreSettings | None = None) -> Partition:
        """A new engine that has learned nothing."""
        return Partition(self.ruleset, core or CoreSettings(), backed=False)

    def run(self, payments: Payments, options: Options) -> Evaluation:
        """An evaluation that has taken the whole stream; the truth is that of the stream, whatever its labels said."""
        args = self.args
        told = poisoned(payments, args.poison, POISON_SEED) if args.poison else None
        evaluation = Evaluation(self.partition(), None, Truth(payments, args.late_days), options)
        for lines in events(payments, told, args.late_days, args.explicit):
            evaluation.add(lines)
        return evaluation

    def file(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The last weeks of a Parquet file."""
        where = os.environ.get(FILES[name])
        if not where:
            print(f"\n{name}: left out: {FILES[name]} names no file")
            return
        payments = read(Path(where))
        end = (int(payments.time_s[-1]) // DAY_S + 1) * DAY_MS
        start = end - 7 * WEEKS[name] * DAY_MS
        report = self.run(payments, Options(from_ms=start, until_ms=end)).report()
        _weeks(name, report)
        yield name, report

    def drift(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Average precision before and after each change."""
        print(f"\ndrift: AP by days from the change\n{'stream':<10} {'score':<9}", end="")
        print("".join(f"{f'{a}..{b - 1}':>10}" for a, b in BLOCKS) + f"{'events/s':>10}")
        for number, kind in enumerate(drift.KINDS):
            evaluation = self.run(drift.payments(kind, DRIFT_SEED + number), Options())
            judge = Judge(evaluation.table())
            zero = drift.START_S // DAY_S + drift.DRIFT_DAY
            found: dict[str, Any] = {"speed": evaluation.speed(), "blocks": {}}
            for name in judge.table.scores:
                parts = [judge.part(Period(zero + a, zero + b)) for a, b in BLOCKS]
                blocks = found["blocks"][name] = [judge.ranks(name, part) for part in parts]
                figures = "".join(f"{_figure(block['average_precision']):>10}" for block in blocks)
                print(f"{kind:<10} {name:<9}{figures}{evaluation.speed()['events_per_second']:>10,}", flush=True)
            yield f"drift {kind}", found

    def generator(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The stream of `steward gen`, judged by what it says of every payment."""
        told: list[str] = []
        lines = list(generate(GENERATED, GENERATOR, labels=told.append))
        labels = Labels()
        labels.read(told)
        core = CoreSettings(rates=Rates.from_dict(rates()))
        evaluation = Evaluation(self.partition(core), None, labels)
        evaluation.add(lines)
        report = evaluation.report()
        _weeks("generator", report)
        yield "generator", report


def _weeks(name: str, report: dict[str, Any]) -> None:
    """The last week, the mean of the weeks and what it cost."""
    speed, judged = report["speed"], report["judged"]
    print(
        f"\n{name}: {judged['payments']:,} payments judged, {judged['frauds']:,} frauds; "
        f"{report['history']['events']:,} events"
    )
    print(f"{speed['events_per_second']:,} events/s, {speed['cpu_us_per_event']} us of CPU an event")
    print(f"{'score':<9} {'last week':<10} AUC    AP     CP100   {'weeks':<8} AUC    AP              CP100   Brier")
    whole = [week for week in report["weeks"] if week["days"] == 7]
    for score, found in report["scores"].items():
        last = whole[-1]["scores"][score] if whole else found
        weekly = found["weekly"]
        row = [_figure(last[key]) for key in ("auc", "average_precision", "card_precision")]
        mean = [_figure(weekly[key]["mean"]) if weekly[key] else "-" for key in weekly]
        spread = _figure(weekly["average_precision"]["sd"]) if weekly["average_precision"] else "-"
        print(
            f"{score:<9} {whole[-1]['from'] if whole else '-':<10} {row[0]} {row[1]} {row[2]}   {len(whole):<8} "
            f"{mean[0]} {mean[1]} ± {spread} {mean[2]}   {_figure(found.get('brier'), 5)}",
            flush=True,
        )


def _figure(value: float | None, places: int = 4) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", nargs="*", choices=STREAMS, default=list(STREAMS))
    parser.add_argument("--rules", type=Path, default=RULES, help="rules directory (the shipped one)")
    parser.add_argument("--poison", type=float, default=0.0, help="this share of all labels says the opposite")
    parser.add_argument(
        "--late-days", type=int, default=LABEL_DAYS, help="labels of day d arrive at 00:00 of day d + N"
    )
    parser.add_argument("--explicit", action="store_true", help="honest payments are labelled, too")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    bench = Bench(args)
    warm_up(bench.partition())
    results: dict[str, Any] = {
        "python": platform.python_version(),
        "rules": str(args.rules.name),
        "poison": args.poison,
        "late_days": args.late_days,
        "explicit": args.explicit,
        "streams": {},
    }
    for stream in args.streams:
        runs = bench.file(stream) if stream in FILES else getattr(bench, stream)()
        for name, found in runs:
            results["streams"][name] = found
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
