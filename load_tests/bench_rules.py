"""What rules cost: evaluation and verdicts per event, by number of rules and batch size.

Run `python load_tests/bench_rules.py [--rules DIR] [--runs N] [--out FILE]`. Prints a table of medians over runs and
writes them as JSON where `--out` is given. The columns are drawn so that a few per cent of the events hit a rule, as in
an ordinary stream.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.features.columns import Columns
from engine.ruleset import Frame, RuleSet, compile, report

TYPES = ("payment.requested", "payment.authorised", "transfer.sent")


class _Event:
    """Stands for a decoded event where only a missing text is asked for."""

    __struct_config__ = type("Config", (), {"tag": "payment.requested"})


def columns(n: int, seed: int) -> Columns:
    """`n` ordinary events, all of which carry a decision."""
    rng = np.random.default_rng(seed)
    strings = rng.integers(1, 2**63, (len(STRING_FIELDS), n)).astype(np.uint64)
    strings[STRING_INDEX["type"]] = rng.choice(np.array([hash64(t) for t in TYPES], np.uint64), n, p=[0.9, 0.05, 0.05])
    strings[STRING_INDEX["ip_country"]] = strings[STRING_INDEX["card_country"]]
    strings[list(rng.choice(np.arange(3, len(STRING_FIELDS)), 8))] *= rng.random(n) < 0.9
    numbers = rng.lognormal(3.0, 1.0, (len(NUMBER_FIELDS), n))
    bools = rng.choice(np.array([-1, 0, 1], np.int8), (len(BOOL_FIELDS), n), p=[0.9, 0.05, 0.05])
    whole = np.zeros(n, np.int64)
    exponent = np.full(n, 2, np.int8)
    times = np.sort(rng.integers(1_767_000_000_000, 1_767_086_400_000, n))
    yes, no = np.ones(n, np.bool_), np.zeros(n, np.bool_)
    return Columns(n, times, strings, numbers, bools, whole, exponent, whole, exponent, yes, no, [_Event()] * n)


def features(ruleset: RuleSet, n: int, seed: int) -> np.ndarray:
    """Feature values of ordinary events: counts near one, amounts near fifty, some missing."""
    rng = np.random.default_rng(seed)
    matrix = np.empty((len(ruleset.features), n))
    for row, definition in enumerate(ruleset.features):
        if definition.agg == "age":
            matrix[row] = rng.uniform(0, 400 * 86_400, n)
        elif definition.agg in ("count", "distinct"):
            matrix[row] = rng.poisson(0.4, n)
        elif definition.agg == "is_new":
            matrix[row] = rng.random(n) < 0.03
        else:
            matrix[row] = rng.lognormal(4.0, 0.5, n)
        matrix[row, rng.random(n) < 0.02] = np.nan
    return matrix


def made(count: int) -> RuleSet:
    """`count` rules of about four comparisons each over twenty features."""
    lines = ["models: {}", "features:"]
    lines += [f"  - {{name: f{i}, agg: count, by: customer, window: {i + 1}h}}" for i in range(20)]
    lines.append("rules:")
    for i in range(count):
        when = f"type == 'payment.requested' and f{i % 20} >= {1 + i % 3} and amount > {20 + i}"
        when += f" and (f{(i + 7) % 20} > {1 + i % 3} or f{(i + 3) % 20} < 1 and channel != 'pos')"
        lines.append(f'  - {{id: made_{i}, when: "{when}", then: {{decision: review, score: 1, reason: MADE}}}}')
    return compile({"made.yaml": "\n".join(lines)})


def measure(ruleset: RuleSet, n: int, runs: int) -> dict[str, float]:
    """Median microseconds an event of derived features and of rules with verdicts, and the share of events hit."""
    batches = [(columns(n, seed), features(ruleset, n, seed)) for seed in range(8 if n > 50 else 200)]
    derived = [ruleset.derive(batch, matrix) for batch, matrix in batches]
    derive, rules, hit = [], [], 0
    for _ in range(runs):
        start = time.perf_counter()
        for batch, matrix in batches:
            ruleset.derive(batch, matrix)
        middle = time.perf_counter()
        hit = 0
        for (batch, _), matrix in zip(batches, derived, strict=True):
            hits = ruleset.evaluate(Frame(batch, matrix))
            ruleset.decide(hits)
            hit += int(hits.matrix.any(axis=0).sum())
        end = time.perf_counter()
        derive.append((middle - start) / len(batches) / n * 1e6)
        rules.append((end - middle) / len(batches) / n * 1e6)
    return {
        "derive_us": statistics.median(derive),
        "rules_us": statistics.median(rules),
        "events_hit": hit / len(batches) / n,
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=Path, default=Path(__file__).resolve().parent.parent / "rules")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    sets = {"shipped": report.load(args.rules)} | {f"made {count}": made(count) for count in (12, 60, 100)}
    rows = []
    print(f"{'rule set':<10} {'rules':>5} {'batch':>5} {'derive us/event':>16} {'rules us/event':>15} {'hit':>10}")
    for name, ruleset in sets.items():
        for n in (500, 100, 1):
            found = measure(ruleset, n, args.runs)
            rows.append({"rule_set": name, "rules": len(ruleset.rules), "batch": n, **found})
            print(
                f"{name:<10} {len(ruleset.rules):>5} {n:>5} {found['derive_us']:>16.3f} {found['rules_us']:>15.3f} "
                f"{found['events_hit']:>10.1%}"
            )
    if args.out:
        args.out.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
