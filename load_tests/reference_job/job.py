"""The reference job in plain Python with river's trees: the peer to measure against, and the oracle of the features.

`job.py IN OUT` reads NDJSON, writes one decision a line and prints what it took as JSON. State is one dict of lists per
customer; amounts are whole cents, so that window sums are exact. Events come in time order.
"""

import resource
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from math import sqrt
from typing import Any

import orjson
from river.anomaly import HalfSpaceTrees

H1_MS, H24_MS, D7_MS = 3_600_000, 86_400_000, 604_800_000
DEVICES_MAX = 32
SCORE_LIMIT = 0.97
Features = dict[str, float]
State = dict[str, Any]


def new_state() -> State:
    """Times, cents, cards, merchants of 7 days; the last devices; count, mean and squares; the previous time."""
    return {"t": [], "a": [], "c": [], "m": [], "d": [], "n": 0, "mu": 0.0, "s": 0.0, "p": 0}


def features(state: State, event: dict[str, Any]) -> Features:
    """Update `state` with `event` and return its 15 features."""
    now, cents, card = event["event_time"], round(event["amount"] * 100), event["card_id"]
    times, amounts, cards, merchants = state["t"], state["a"], state["c"], state["m"]
    old = bisect_right(times, now - D7_MS)  # windows are (t - window, t]
    if old:
        del times[:old], amounts[:old], cards[:old], merchants[:old]
    times.append(now)
    amounts.append(cents)
    cards.append(card)
    merchants.append(event["merchant_id"])
    n = len(times)
    day = bisect_right(times, now - H24_MS)
    hour = bisect_right(times, now - H1_MS, day)
    in_day, in_hour = amounts[day:], amounts[hour:]
    x = cents / 100.0
    gap = (now - state["p"]) / 1000.0 if state["p"] else -1.0
    state["p"] = now
    return {
        "x": x,
        "c1h": n - hour, "s1h": sum(in_hour) / 100.0, "m1h": max(in_hour) / 100.0,
        "c24h": n - day, "s24h": sum(in_day) / 100.0, "m24h": max(in_day) / 100.0,
        "c7d": n, "s7d": sum(amounts) / 100.0, "m7d": max(amounts) / 100.0,
        "dm24h": len(set(merchants[day:])), "card1h": cards[hour:].count(card),
        "gap": gap, "newdev": _new_device(state["d"], event["device_id"]), "z": _deviation(state, x),
    }  # fmt: skip


def _new_device(devices: list[str], device: str) -> int:
    new = device not in devices
    if not new:
        devices.remove(device)
    elif len(devices) == DEVICES_MAX:
        del devices[0]
    devices.append(device)
    return int(new)


def _deviation(state: State, x: float) -> float:
    """The z-score against what came before, then that updated (Welford)."""
    count, mean, squares = state["n"], state["mu"], state["s"]
    z = (x - mean) / sqrt(squares / (count - 1)) if count >= 2 and squares > 0.0 else 0.0
    count += 1
    delta = x - mean
    mean += delta / count
    state["n"], state["mu"], state["s"] = count, mean, squares + delta * (x - mean)
    return z


def tree_inputs(f: Features) -> dict[str, float]:
    """What the trees see."""
    gap, z = f["gap"], (f["z"] + 5.0) / 10.0
    return {
        "f0": min(1.0, f["c1h"] / 20.0), "f1": min(1.0, f["s24h"] / 5000.0), "f2": min(1.0, f["dm24h"] / 10.0),
        "f3": min(1.0, f["card1h"] / 10.0), "f4": 1.0 if gap < 0.0 else min(1.0, gap / 86400.0),
        "f5": 0.0 if z < 0.0 else 1.0 if z > 1.0 else z,
    }  # fmt: skip


Rule = tuple[str, int, Callable[[Features, float], bool]]
REVIEW, DECLINE = 1, 2
OUTCOMES = ("approve", "review", "decline")
RULES: tuple[Rule, ...] = (
    ("VELOCITY_1H", DECLINE, lambda f, s: f["c1h"] >= 10 and f["s1h"] > 60.0),
    ("CARD_VELOCITY_1H", DECLINE, lambda f, s: f["card1h"] >= 7),
    ("AMOUNT_24H", REVIEW, lambda f, s: f["s24h"] > 3000.0),
    ("NEW_MAX_7D", REVIEW, lambda f, s: f["c7d"] >= 10 and f["x"] >= f["m7d"] and f["x"] > 400.0),
    ("MERCHANT_SPREAD_24H", REVIEW, lambda f, s: f["dm24h"] >= 25),
    ("NEW_DEVICE_HIGH", REVIEW, lambda f, s: f["newdev"] == 1 and f["x"] > 200.0 and f["gap"] >= 0.0),
    ("AMOUNT_OUTLIER", REVIEW, lambda f, s: f["z"] > 4.0),
    ("RAPID_SMALL_1H", DECLINE, lambda f, s: 0.0 <= f["gap"] < 60.0 and f["m1h"] < 5.0 and f["c1h"] >= 4),
    ("ANOMALY", REVIEW, lambda f, s: s > SCORE_LIMIT),
    ("WEEKLY_TOTAL", REVIEW, lambda f, s: f["s7d"] > 12000.0 or (f["m24h"] > 900.0 and f["c24h"] > 20)),
)


def decide(event: dict[str, Any], f: Features, score: float) -> dict[str, Any]:
    """The decision, with the features that go out with it."""
    strongest = 0
    reasons = []
    for code, outcome, hits in RULES:
        if hits(f, score):
            reasons.append(code)
            strongest = max(strongest, outcome)
    shown = ("c1h", "s24h", "m7d", "dm24h", "card1h", "gap", "newdev", "z")
    return {
        "event_id": event["event_id"], "customer_id": event["customer_id"], "decision": OUTCOMES[strongest],
        "score": score, "reasons": reasons, "features": {name: f[name] for name in shown},
    }  # fmt: skip


def process(state: State, event: dict[str, Any], trees: HalfSpaceTrees) -> dict[str, Any]:
    """One event through the whole job."""
    f = features(state, event)
    x = tree_inputs(f)
    score = float(trees.score_one(x))
    trees.learn_one(x)
    return decide(event, f, score)


def main() -> None:
    """Run the job over a file."""
    trees = HalfSpaceTrees(n_trees=25, height=8, window_size=250, seed=42)
    states: dict[str, State] = {}
    n = 0
    began, cpu = time.perf_counter(), time.process_time()
    with open(sys.argv[1], "rb") as lines, open(sys.argv[2], "wb", buffering=1 << 20) as out:
        for line in lines:
            event = orjson.loads(line)
            state = states.get(event["customer_id"])
            if state is None:
                state = states[event["customer_id"]] = new_state()
            out.write(orjson.dumps(process(state, event, trees)) + b"\n")
            n += 1
    took = {"events": n, "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    took["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(orjson.dumps(took).decode())


if __name__ == "__main__":
    main()
