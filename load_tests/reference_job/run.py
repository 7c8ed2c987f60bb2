"""Plain Python against `steward replay` on the reference job: equal features first, then speed, alternately.

.venv/bin/python load_tests/reference_job/run.py --rows 200000 --runs 3
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gen
import job
import orjson

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "reference_job.json"
COMPARED = ("x", "c1h", "s1h", "m1h", "c24h", "s24h", "m24h", "c7d", "s7d", "m7d", "dm24h", "card1h", "gap")
"""Every feature but newdev and z, which differ by design."""


def steward(*args: str) -> list[str]:
    """The command of this environment."""
    return [str(Path(sys.executable).parent / "steward"), *args]


def replay(source: Path, out: Path, features: bool) -> dict[str, float]:
    """One replay: seconds of the loop as reported, of the whole process, and its CPU."""
    shutil.rmtree(out, ignore_errors=True)
    command = steward("replay", str(source), "--rules", str(HERE / "rules"), "--out", str(out), "--quiet")
    taken = measure([*command, "--features"] if features else command)
    report = json.loads((out / "report.json").read_bytes())
    return {"loop_seconds": report["seconds"], **taken}


def plain(source: Path, out: Path) -> dict[str, float]:
    """One run of the plain job."""
    output: list[bytes] = []
    taken = measure([sys.executable, str(HERE / "job.py"), str(source), str(out)], output)
    return {"loop_seconds": orjson.loads(output[0])["seconds"], **taken}


def measure(command: list[str], output: list[bytes] | None = None) -> dict[str, float]:
    """Run to the end; wall and CPU seconds of the process and its peak memory. Its standard output goes to `output`."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as captured:
        process = subprocess.Popen(command, stdout=captured)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        captured.seek(0)
        if output is not None:
            output.append(captured.read())
    return {
        "process_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "rss_mb": usage.ru_maxrss / 1024,
    }


def compare(source: Path, features: Path) -> dict[str, int]:
    """Every feature value against the oracle; returns the number of differences by feature and of values compared."""
    states: dict[str, job.State] = {}
    differences = dict.fromkeys(COMPARED, 0)
    events = 0
    with source.open("rb") as lines, features.open("rb") as ours:
        for line, found in zip(lines, ours, strict=True):
            event, row = orjson.loads(line), orjson.loads(found)
            state = states.setdefault(event["customer_id"], job.new_state())
            expected = job.features(state, event)
            if row["event_id"] != event["event_id"]:
                raise SystemExit(f"features of {row['event_id']} where {event['event_id']} was expected")
            values = row["features"]
            for name in COMPARED:
                value = values[name]
                if name == "gap" and value is None:
                    value = -1.0
                differences[name] += value != expected[name]
            events += 1
    return {"events": events, "values": events * len(COMPARED), **differences}


def table(rows: int, runs: dict[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
    """Medians by runner."""
    found = []
    for name, taken in runs.items():
        median = {key: statistics.median(run[key] for run in taken) for key in taken[0]}
        found.append({
            "runner": name,
            "events_per_second_loop": round(rows / median["loop_seconds"]),
            "events_per_second_process": round(rows / median["process_seconds"]),
            "cpu_microseconds_per_event": round(median["cpu_seconds"] / rows * 1e6, 1),
            "rss_mb": round(median["rss_mb"]),
            "runs": len(taken),
        })  # fmt: skip
    for row in found:
        for kind in ("loop", "process"):
            base = found[0][f"events_per_second_{kind}"]
            row[f"times_plain_{kind}"] = round(row[f"events_per_second_{kind}"] / base, 2)
    return found


def show(found: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(f"\n{'runner':28}{'events/s loop':>15}{'x plain':>9}{'process':>10}{'x plain':>9}{'CPU us':>8}{'RSS MB':>8}")
    for row in found:
        print(
            f"{row['runner']:28}{row['events_per_second_loop']:>15,}{row['times_plain_loop']:>9}"
            f"{row['events_per_second_process']:>10,}{row['times_plain_process']:>9}"
            f"{row['cpu_microseconds_per_event']:>8}{row['rss_mb']:>8}"
        )


def main() -> int:
    """Generate, compare, measure, report; 1 where a feature differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="steward-reference-") as directory:
        work = Path(directory)
        source, out = work / "events.ndjson", work / "out"
        with source.open("wb", buffering=1 << 20) as file:
            file.writelines(orjson.dumps(event) + b"\n" for event in gen.events(args.rows, args.seed))
        replay(source, out, features=True)  # untimed: fills the cache of compiled code
        compared = compare(source, out / "features.ndjson")
        different = {name: compared[name] for name in COMPARED if compared[name]}
        print(f"features: {compared['values']:,} values of {compared['events']:,} events compared, "
              f"{sum(different.values()):,} differ {different or ''}")  # fmt: skip
        runs: dict[str, list[dict[str, float]]] = {"plain Python": [], "steward replay": [], "steward --features": []}
        for _ in range(args.runs):
            runs["plain Python"].append(plain(source, work / "plain.ndjson"))
            runs["steward replay"].append(replay(source, out, features=False))
            runs["steward --features"].append(replay(source, out, features=True))
    found = table(args.rows, runs)
    show(found)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"), "rows": args.rows, "seed": args.seed,
        "python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 2), "compared": compared, "table": found,
    }  # fmt: skip
    args.results.write_text(json.dumps(result, indent=2) + "\n")
    print(f"\nsaved in {args.results}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
