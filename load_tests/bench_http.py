"""Synchronous decisions over HTTP: latency at a steady rate, with the commit done before the answer.

Run `python -m load_tests.bench_http [--rate 300] [--seconds 10] [--runs 5] [--alone] [--out FILE]`. `serve` alone runs
over redis-server on a socket; then, without `--alone`, `serve` beside a worker, through Apache Kafka. Client, servers
and engine share the machine. Prints medians over runs and writes them as JSON.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.adapters.processes import free_port
from engine.demo.children import StewardProcess, answers
from load_tests.http_load import Load, payments, run

RESULTS = Path(__file__).resolve().parent / "results" / "http.json"
START_SECONDS = 120.0


@contextmanager
def serving(*, kafka: bool) -> Iterator[tuple[int, list[StewardProcess]]]:
    """`steward serve`, alone or beside a worker: the port of its API, and the processes."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(installed_redis_binary())).start()
        port, metrics = free_port(), free_port()
        processes: list[StewardProcess] = []
        settings = {"STEWARD_REDIS": redis.url, "STEWARD_HTTP": f"127.0.0.1:{port}", "STEWARD_HTTP_DEADLINE": "5s"}
        if kafka:
            from tests.support.kafka import ApacheKafka

            broker = stack.enter_context(ApacheKafka()).start()
            settings |= {"STEWARD_KAFKA": broker.url, "STEWARD_WORKER_METRICS_ADDRESS": f"127.0.0.1:{metrics}"}
            worker = StewardProcess("worker", ["worker"], settings, lambda: True)
            processes.append(stack.enter_context(worker).start(START_SECONDS))
        else:
            settings["STEWARD_KAFKA"] = "none"
        ready = f"http://127.0.0.1:{port}/readyz"
        api = StewardProcess("serve", ["serve"], settings, lambda: answers(ready))
        processes.append(stack.enter_context(api).start(START_SECONDS))
        yield port, processes


def measure(name: str, port: int, processes: list[StewardProcess], args: argparse.Namespace) -> dict[str, float | str]:
    """Warm up, then run after run; medians."""
    count = int(args.rate * args.seconds)
    asyncio.run(until_decided(port, processes))
    asyncio.run(run(port, payments(600, 10_000), args.rate))
    loads: list[Load] = []
    for seed in range(args.runs):
        loads.append(asyncio.run(run(port, payments(count, seed), args.rate)))
        if set(loads[-1].statuses) != {200}:
            print(f"{name}: not every call was answered with 200: {dict(loads[-1].statuses)}", file=sys.stderr)
    return {
        "setup": name,
        "requests_per_second": args.rate,
        "requests": count * args.runs,
        "runs": args.runs,
        "p50_ms": round(statistics.median(load.percentile_ms(0.5) for load in loads), 2),
        "p99_ms": round(statistics.median(load.percentile_ms(0.99) for load in loads), 2),
        "max_ms": round(max(load.percentile_ms(1.0) for load in loads), 2),
        "schedule_slip_ms": round(max(load.slip_max_s for load in loads) * 1000, 2),
        "not_200": sum(n for load in loads for status, n in load.statuses.items() if status != 200),
    }


async def until_decided(port: int, processes: list[StewardProcess]) -> None:
    """Wait until a worker answers: it joins its group only after the API is up."""
    for attempt in range(12):
        load = await run(port, payments(1, 90_000 + attempt), 100.0)
        if load.statuses[200]:
            return
        await asyncio.sleep(0.5)
    for process in processes:
        print(f"--- {process.name}\n{process.log.read_text()}", file=sys.stderr)
    raise SystemExit("no decision within a minute")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--alone", action="store_true", help="leave out Apache Kafka and the worker")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = []
    print(f"{'setup':<24} {'requests/s':>10} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'not 200':>8}")
    for name, kafka in (("serve alone", False), ("through Apache Kafka", True)):
        if kafka and args.alone:
            continue
        with serving(kafka=kafka) as (port, processes):
            row = measure(name, port, processes, args)
        rows.append(row)
        print(
            f"{name:<24} {row['requests_per_second']:>10} {row['p50_ms']:>8} {row['p99_ms']:>8} {row['max_ms']:>8} "
            f"{row['not_200']:>8}"
        )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"cpus": os.cpu_count(), "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
