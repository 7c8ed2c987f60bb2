"""Microseconds of CPU per event of the feature stage: the reference job's plan, and forty features over ten groups.

`python -m load_tests.bench_features [--events N]` prints medians over runs. CPU time of this process, so that other
work on the machine counts as little as it can. The store is left out; `stored` adds the packed operations for it.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS, STRING_INDEX
from engine.features.columns import Columns
from engine.features.definition import DAY_MS, HOUR_MS, FeatureDef
from engine.features.plan import Plan
from engine.features.state import FeatureState

BASE_MS = 1_767_225_600_000
RUNS = 3


def reference_features() -> list[FeatureDef]:
    """The fourteen features of the reference job (its z-score takes the mean and std)."""
    by = ("customer",)
    features = []
    for name, window in (("1h", HOUR_MS), ("24h", DAY_MS), ("7d", 7 * DAY_MS)):
        features.append(FeatureDef(f"c{name}", "count", by, None, window))
        features.append(FeatureDef(f"s{name}", "sum", by, "amount", window))
        features.append(FeatureDef(f"m{name}", "max", by, "amount", window))
    features.append(FeatureDef("dm24h", "distinct", by, "merchant_id", DAY_MS))
    features.append(FeatureDef("card1h", "count", ("customer", "card"), None, HOUR_MS))
    features.append(FeatureDef("gap", "since_last", by))
    features.append(FeatureDef("newdev", "is_new", by, "device_id", 7 * DAY_MS))
    features.append(FeatureDef("mean7d", "mean", by, "amount", 7 * DAY_MS))
    features.append(FeatureDef("std7d", "std", by, "amount", 7 * DAY_MS))
    return features


def wide_features() -> list[FeatureDef]:
    """Forty features over ten groups, of which each event has every entity."""
    groups: list[tuple[str, ...]] = [
        ("customer",), ("card",), ("device",), ("ip",), ("merchant",), ("terminal",), ("email",),
        ("customer", "card"), ("customer", "merchant"), ("device", "card"),
    ]  # fmt: skip
    features = []
    for k, by in enumerate(groups):
        features.append(FeatureDef(f"n{k}", "count", by, None, HOUR_MS))
        features.append(FeatureDef(f"s{k}", "sum", by, "amount", DAY_MS))
        features.append(FeatureDef(f"d{k}", "distinct", by, "card_country", DAY_MS))
        features.append(FeatureDef(f"l{k}", "since_last", by, None, DAY_MS))
    return features


def events(n: int, customers: int, seed: int = 1) -> Columns:
    """Payments of skewed customers; devices, cards and addresses are theirs, merchants and terminals shared."""
    random = np.random.default_rng(seed)
    weight = 1 / (np.arange(customers) + 50)
    customer = random.choice(customers, n, p=weight / weight.sum())
    strings = np.zeros((len(STRING_FIELDS), n), np.uint64)

    def fill(name: str, values: np.ndarray, salt: int) -> None:
        mixed = (values.astype(np.uint64) + np.uint64(1 + salt * 10**8)) * np.uint64(0x9E3779B97F4A7C15)
        strings[STRING_INDEX[name]] = mixed ^ (mixed >> np.uint64(29))

    fill("customer_id", customer, 0)
    fill("card_id", customer * 3 + random.integers(0, 2, n), 1)
    fill("device_id", customer * 3 + random.integers(0, 3, n), 2)
    fill("ip", customer * 4 + random.integers(0, 4, n), 3)
    fill("email_hash", customer, 4)
    fill("merchant_id", random.integers(0, 20_000, n), 5)
    fill("terminal_id", random.integers(0, 50_000, n), 6)
    fill("card_country", random.integers(0, 5, n), 7)
    minor = (np.exp(random.normal(3.5, 0.6, n)) * 100).astype(np.int64) + 1
    numbers = np.full((len(NUMBER_FIELDS), n), np.nan)
    numbers[0] = minor / 100
    return Columns(
        n=n,
        time_ms=BASE_MS + np.cumsum(random.exponential(6048, n)).astype(np.int64),
        strings=strings,
        numbers=numbers,
        bools=np.full((len(BOOL_FIELDS), n), -1, np.int8),
        minor=minor,
        exponent=np.full(n, 2, np.int8),
        base_minor=np.zeros(n, np.int64),
        base_exponent=np.full(n, -1, np.int8),
        decides=np.ones(n, np.bool_),
        late=np.zeros(n, np.bool_),
        events=[None] * n,
    )


def measure(features: list[FeatureDef], columns: Columns, batch: int, warm: int, stored: bool = False) -> float:
    """Median microseconds of CPU per event after the first `warm` events."""
    parts = [columns.take(np.arange(at, min(columns.n, at + batch))) for at in range(warm, columns.n, batch)]
    first = [columns.take(np.arange(at, min(warm, at + 5000))) for at in range(0, warm, 5000)]
    took = []
    for _ in range(RUNS):
        state = FeatureState(Plan.compile(features), backed=stored)
        for part in first:
            state.update(part)
        begun = time.process_time()
        for part in parts:
            state.update(part)
        took.append(time.process_time() - begun)
    return statistics.median(took) / (columns.n - warm) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=60_000)
    parser.add_argument("--customers", type=int, nargs="*", default=[10_000, 1_000_000])
    parser.add_argument("--out", type=Path, help="write the table as JSON here")
    options = parser.parse_args()
    plans = {"reference job": reference_features(), "40 features, 10 groups": wide_features()}
    rows: list[dict[str, object]] = []

    def row(name: str, customers: int, batch: int, stored: bool, cost: float) -> None:
        print(f"{name:<24}{customers:>10}{batch:>7}{stored!s:>8}{cost:>10.2f}")
        rows.append({"plan": name, "customers": customers, "batch": batch, "stored": stored, "us_per_event": cost})

    print(f"{'plan':<24}{'customers':>10}{'batch':>7}{'stored':>8}{'us/event':>10}")
    for customers in options.customers:
        columns = events(options.events, customers)
        for name, features in plans.items():
            warm = options.events // 3
            for stored in (False, True):
                row(name, customers, 500, stored, measure(features, columns, 500, warm, stored))
            few = columns.take(np.arange(warm + 1000))
            row(name, customers, 1, False, measure(features, few, 1, warm))
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
