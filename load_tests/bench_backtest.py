"""What a backtest costs: seconds for a history, by how far the two rule sets differ.

Run `python -m load_tests.bench_backtest [--events N] [--rules DIR] [--out FILE]`. The history is generated and
read from a file; one core. Three candidates against the same baseline: another threshold (features and scores computed
once), a sweep of twenty values over the baseline itself, and a new aggregate (features and scores of each set its own).
"""

import argparse
import json
import re
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.adapters.files import open_source
from engine.core.settings import CoreSettings
from engine.generator.stream import Settings, generate
from engine.ruleset import RuleSet, compile, files
from engine.service.backtest import Backtest, Options, backtest, parse
from engine.service.backtest.sweep_target import literals

BATCH_EVENTS = 2_000
EXTRA = """
rules:
  - id: bench_extra
    description: an aggregate of its own
    when: count(by=customer, window='37m') >= 4
    then: {decision: review, score: 1, reason: BENCH}
"""


def candidates(texts: dict[str, str]) -> dict[str, tuple[RuleSet, list[str]]]:
    """Rule sets to compare with the baseline, and sweeps, by name."""
    tuned = {name: re.sub(r"(>= *)([0-9]+)\b", lambda m: m[1] + str(int(m[2]) + 1), text, count=1)
             for name, text in texts.items()}  # fmt: skip
    baseline = compile(texts)
    swept = next(rule for rule in baseline.rules if literals(rule.when))
    return {
        "another threshold": (compile({**texts, **_usable(tuned, texts)}), []),
        "with a sweep of 20": (baseline, [f"{swept.id}:#1=1..20"]),
        "a new aggregate": (compile({**texts, "zz_bench.yaml": EXTRA}), []),
    }


def _usable(tuned: dict[str, str], texts: dict[str, str]) -> dict[str, str]:
    """The edited files that compile on their own terms; others stay as they are."""
    kept = {}
    for name, text in tuned.items():
        try:
            compile({**texts, name: text})
            kept[name] = text
        except Exception as error:
            print(f"{name} is left as it is: {error}", file=sys.stderr)
    return kept


def measure(path: Path, baseline: RuleSet, candidate: RuleSet, sweeps: list[str]) -> dict[str, Any]:
    """Wall and CPU seconds of one backtest, reading included."""
    options = Options(sweeps=tuple(parse(text, candidate) for text in sweeps))
    wall, cpu = time.perf_counter(), time.process_time()
    report = backtest(
        open_source(path, batch=BATCH_EVENTS), Backtest(baseline, candidate, CoreSettings(), None, options)
    )
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "events": report["history"]["events"], "decisions": report["history"]["decisions"],
        "shared": report["history"]["shared"], "seconds": round(wall, 2), "cpu_seconds": round(cpu, 2),
        "cpu_us_per_event": round(1e6 * cpu / report["history"]["events"], 2),
    }  # fmt: skip


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rules", type=Path, default=Path(__file__).resolve().parent.parent / "rules")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    texts = files.read(args.rules)
    baseline = compile(texts)
    found: dict[str, Any] = {"rules": len(baseline.rules), "features": len(baseline.features)}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "events.ndjson"
        with path.open("wb") as file:
            file.writelines(generate(args.events, Settings(seed=3)))
        _warm(Path(place), baseline)
        print(f"{'candidate':<20} {'events':>9} {'decisions':>9} {'seconds':>8} {'CPU s':>7} {'CPU us/event':>12}")
        for name, (candidate, sweeps) in candidates(texts).items():
            row = found[name] = measure(path, baseline, candidate, sweeps)
            counts = f"{row['events']:>9,} {row['decisions']:>9,}"
            print(f"{name:<20} {counts} {row['seconds']:>8} {row['cpu_seconds']:>7} {row['cpu_us_per_event']:>12}")
    found["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{found['rules']} rules, {found['features']} aggregates; peak memory {found['peak_memory_mb']:,} MB")
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def _warm(place: Path, baseline: RuleSet) -> None:
    """Load the kernels before the clock starts."""
    path = place / "warm.ndjson"
    path.write_bytes(b"".join(generate(2_000)))
    measure(path, baseline, baseline, [])


if __name__ == "__main__":
    sys.exit(main())
