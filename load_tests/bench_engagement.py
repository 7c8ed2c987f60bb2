"""What the engagement stage costs an event, all shipped campaigns live: one that triggers nothing, one that rewards.

    python -m load_tests.bench_engagement [--customers 500] [--rounds 30] [--out FILE]

Customers have paid once a day for the first rounds; then each round is measured: a batch of 500 settlements, each of
another customer, a batch of 500 log-ins, and one of authorisations, for which a campaign waits. Processor time of the
stage alone, in microseconds an event; the median of the rounds. The collector is off while it is measured.
"""

import argparse
import gc
import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read

START: Final = 1_767_571_200_000
DAY: Final = 86_400_000
WARM: Final = 12
BATCH: Final = 500


class Stage:
    """Processor time of the engagement stage since `begin`."""

    def __init__(self, partition: Partition) -> None:
        self.seconds = 0.0
        self._last = 0.0
        partition.probe = self._probe

    def _probe(self, stage: str) -> None:
        now = time.thread_time()
        if stage == "engage":
            self.seconds += now - self._last
        self._last = now


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
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    chosen = parser.parse_args()
    partition = Partition(compile_rules(dict(read(rules_directory()))).launch(), CoreSettings(), backed=False)
    stage, outputs = Stage(partition), Counter[str]()
    took: dict[str, list[float]] = {}
    for day in range(WARM + chosen.rounds):
        for place, kind in enumerate(("account.login", "payment.authorised", "payment.settled")):
            decoded = partition.decode(batch(kind, day, chosen.customers, place * BATCH))
            gc.collect()
            gc.disable()
            stage.seconds = 0.0
            effects = partition.apply(decoded, lambda index: {})
            gc.enable()
            if day >= WARM:
                took.setdefault(kind, []).append(stage.seconds / BATCH * 1e6)
                outputs.update(output.kind for output in effects.outputs if kind == "payment.settled")
    made = {kind: round(number / BATCH / chosen.rounds, 2) for kind, number in outputs.items()}
    found = {kind: round(statistics.median(figures), 1) for kind, figures in took.items()}
    for kind, microseconds in found.items():
        print(f"{kind:20} {microseconds:6.1f} us an event")
    print("outputs a settlement:", made)
    if chosen.out:
        chosen.out.write_text(json.dumps({"us_an_event": found, "outputs_a_settlement": made}, indent=2) + "\n")


if __name__ == "__main__":
    main()
