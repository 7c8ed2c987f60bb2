"""Microseconds an event of decoding: `python -m load_tests.bench_decode [--events N] [--runs N] [--out FILE]`.

In batches of 500 and 1. Events are like those of the reference job; the second kind adds metadata, a position, a hash
and text times. Prints the median and the best of several runs. Nothing else should be running.
"""

import argparse
import hashlib
import json
import random
import statistics
import time
from pathlib import Path

from engine.core.decode import Decoder
from engine.domain.rates import Rates


def reference_events(count: int, seed: int) -> list[bytes]:
    source = random.Random(seed)
    return [
        json.dumps(_event(source, n), separators=(",", ":")).encode()
        for n in range(count)
    ]  # fmt: skip


def _event(source: random.Random, n: int) -> dict[str, object]:
    customer, merchant = source.randrange(20_000), source.randrange(500)
    return {
        "event_id": f"e{n:09d}", "type": "payment.requested", "payment_id": f"p{n:09d}",
        "customer_id": f"c{customer:06d}", "card_id": f"k{customer:06d}-{source.randrange(3)}",
        "merchant_id": f"m{merchant:04d}", "merchant_category": str(5000 + 13 * (merchant % 40)),
        "device_id": f"d{customer}-{source.randrange(3)}", "ip": f"10.{customer >> 8 & 255}.{customer & 255}.1",
        "amount": round(source.lognormvariate(3.5, 0.6), 2) or 0.01, "currency": source.choice(("EUR", "GBP")),
        "country": source.choice(("FR", "DE")), "method": source.choice(("card", "wallet", "transfer")),
        "channel": source.choice(("web", "app", "pos")), "event_time": 1_767_225_600_000 + n * 6000,
    }  # fmt: skip


def rich_events(count: int, seed: int) -> list[bytes]:
    source = random.Random(seed)
    found = []
    for n in range(count):
        event = _event(source, n)
        event["event_time"] = f"2026-01-{n % 28 + 1:02d}T{n % 24:02d}:{n % 60:02d}:00.{n % 1000:03d}Z"
        event["amount"] = f"{event['amount']:.2f}"
        event["email_hash"] = hashlib.sha256(str(event["customer_id"]).encode()).hexdigest()
        event["lat"], event["lon"] = round(source.uniform(-60, 60), 5), round(source.uniform(-180, 180), 5)
        event["three_ds"] = source.random() < 0.5
        event["metadata"] = {"basket": source.randrange(9), "gift": False, "note": "leave at the door"}
        found.append(json.dumps(event, separators=(",", ":")).encode())
    return found


def measure(records: list[bytes], batch: int, runs: int, rates: Rates | None) -> tuple[float, float]:
    """Median and best microseconds an event over the runs."""
    decoder = Decoder(rates)
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        for start in range(0, len(records), batch):
            decoder.decode(records[start : start + batch])
        found.append((time.perf_counter() - started) / len(records) * 1e6)
    return statistics.median(found), min(found)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--events", type=int, default=50_000)
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    rates = Rates("EUR", {"GBP": "0.8712"})
    rows = []
    print(f"{'events':<12}{'batch':>6}{'rates':>7}{'median µs':>12}{'best µs':>10}{'bytes':>7}")
    for name, make in (("reference", reference_events), ("rich", rich_events)):
        records = make(options.events, 7)
        for batch in (500, 1):
            for label, chosen in (("no", None), ("yes", rates)):
                part = records if batch > 1 else records[:3000]
                measure(part[:500], batch, 1, chosen)
                median, best = measure(part, batch, options.runs, chosen)
                rows.append({"events": name, "batch": batch, "rates": label, "median_us": median, "best_us": best})
                print(f"{name:<12}{batch:>6}{label:>7}{median:>12.2f}{best:>10.2f}{len(records[0]):>7}")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
