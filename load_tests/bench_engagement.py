"""What the engagement stage costs an event, all shipped campaigns live: one that triggers nothing, one that rewards.

    python -m load_tests.bench_engagement [--customers 500] [--rounds 30] [--backed] [--out FILE]

Customers have paid once a day for the first rounds; then each round is measured: a batch of 500 settlements, each of
another customer, a batch of 500 log-ins, and one of authorisations, for which a campaign waits. Processor time of the
stage alone, in microseconds an event; the median of the rounds. The collector is off while it is measured. Beside it
stands what the time between two rounds brings: a day of a customer, in microseconds.

With `--backed` a state store stands behind, as in service, in memory here. What that adds is said beside the stage:
the time in which what the stage changed becomes operations, and how many bytes of operations customers' records make an
event, appended and written anew.
"""

import argparse
import gc
import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from engine.core.customers import is_customer
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.ops import APPEND, DELETE, KEY_CUSTOMER, REWRITE, rewritten, unpack
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read

START: Final = 1_767_571_200_000
DAY: Final = 86_400_000
WARM: Final = 12
BATCH: Final = 500
WAKING: Final = "a day of a customer"
KINDS: Final = ("account.login", "payment.authorised", "payment.settled")


class Stage:
    """Processor time of the engagement stage of the last batch, of what time brought before it, and of storing."""

    def __init__(self, partition: Partition) -> None:
        self.seconds = self.storing = self.waking = 0.0
        self._last = 0.0
        partition.probe = self._probe
        self._flush = partition._engagement.flush
        partition._engagement.flush = self._flushed  # type: ignore[method-assign]

    def _probe(self, stage: str) -> None:
        now = time.thread_time()
        if stage == "begin":
            self.seconds = self.waking = 0.0
        elif stage == "label":
            self.waking += now - self._last
        elif stage == "engage":
            self.seconds += now - self._last
        self._last = now

    def _flushed(self) -> list[bytes]:
        before = time.thread_time()
        ops = self._flush()
        self.storing = time.thread_time() - before
        return ops


class Store(dict[bytes, bytes]):
    """A state store in memory; counts bytes that customers' records are given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: Counter[str] = Counter()

    def take(self, ops: bytes) -> None:
        """Apply operations."""
        for op in unpack(ops):
            if op.key[:1] == KEY_CUSTOMER and is_customer(op.key):
                self.given["appended" if op.kind == APPEND else "written anew"] += len(op.value)
            if op.kind == DELETE:
                self.pop(op.key, None)
            elif op.kind == REWRITE:
                self[op.key] = rewritten(self.get(op.key, b""), op.value) or self.get(op.key, b"")
            else:
                self[op.key] = self.get(op.key, b"") + op.value if op.kind == APPEND else op.value


class Bench:
    """A partition, what stands behind it, and what has been measured, by kind of event."""

    def __init__(self, *, backed: bool) -> None:
        ruleset = compile_rules(dict(read(rules_directory()))).launch()
        self._partition = Partition(ruleset, CoreSettings(), backed=backed)
        self._stage, self._store, self._backed = Stage(self._partition), Store(), backed
        self.outputs: Counter[str] = Counter()
        self.took: dict[str, list[float]] = {}
        self.given: Counter[str] = Counter()

    def run(self, kind: str, records: list[bytes], *, measured: bool) -> None:
        """One batch."""
        partition, store = self._partition, self._store
        decoded = partition.decode(records)
        keys = partition.missing(decoded)
        while keys:
            keys = partition.load(keys, [store.get(key) for key in keys])
        gc.collect()
        gc.disable()
        effects = partition.apply(decoded, lambda index: {})
        gc.enable()
        store.given.clear()
        store.take(effects.ops)
        partition.evict()
        if measured:
            self.took.setdefault(kind, []).append(self._stage.seconds / BATCH * 1e6)
            if kind == KINDS[0]:  # the first after the night
                customers = len({json.loads(record)["customer_id"] for record in records})
                self.took.setdefault(WAKING, []).append(self._stage.waking / customers * 1e6)
            if self._backed:
                self.took.setdefault(f"{kind}, storing", []).append(self._stage.storing / BATCH * 1e6)
            if kind == "payment.settled":
                self.outputs.update(output.kind for output in effects.outputs)
                self.given.update(store.given)


def batch(kind: str, day: int, customers: int, first: int) -> list[bytes]:
    """Events of one kind, a second apart, each of another customer while there are some."""
    records = []
    for number in range(BATCH):
        at = START + day * DAY + (first + number) * 1_000
        who = number % customers
        body: dict[str, Any] = {"event_id": f"{kind}{day}-{number}", "type": kind, "event_time": at,
                                "customer_id": f"c{who}", "device_id": f"d{who}"}  # fmt: skip
        if kind.startswith("payment."):
            body |= {"payment_id": f"p{day}-{number}", "amount": 40 + number % 90, "currency": "EUR", "method": "card",
                     "merchant_category": "5411", "merchant_id": f"m{number % 50}"}  # fmt: skip
        records.append(json.dumps(body).encode())
    return records


def main() -> None:
    """Measure and print: microseconds an event, but for `WAKING`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--backed", action="store_true", help="a state store stands behind; say what storing adds")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    chosen = parser.parse_args()
    bench = Bench(backed=chosen.backed)
    for day in range(WARM + chosen.rounds):
        for place, kind in enumerate(KINDS):
            bench.run(kind, batch(kind, day, chosen.customers, place * BATCH), measured=day >= WARM)
    settled = BATCH * chosen.rounds
    made = {kind: round(number / settled, 2) for kind, number in bench.outputs.items()}
    stored = {how: round(number / settled, 1) for how, number in bench.given.items()}
    found = {kind: round(statistics.median(figures), 1) for kind, figures in bench.took.items()}
    for kind, microseconds in found.items():
        print(f"{kind:28} {microseconds:6.1f} us")
    print("outputs a settlement:", made)
    if chosen.backed:
        print("bytes of records a settlement:", stored)
    if chosen.out:
        figures = {"us_an_event": found, "outputs_a_settlement": made, "bytes_a_settlement": stored}
        chosen.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
