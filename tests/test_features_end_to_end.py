"""Features from the outside: `steward replay --features` against the contract's words, computed from the raw events.

The oracle here knows nothing of the engine: it keeps every accepted event as parsed JSON and recomputes every window
with exact fractions. It is slow on purpose.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.cli import main

Event = dict[str, Any]

EXPONENT = {"EUR": 2, "JPY": 0, "KWD": 3}
ENTITY = {
    "customer": "customer_id", "card": "card_id", "device": "device_id", "ip": "ip", "merchant": "merchant_id",
    "email": "email_hash", "payment": "payment_id",
}  # fmt: skip
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WHERES = {
    "type == 'payment.settled'": lambda e: e["type"] == "payment.settled",
    "method == 'card' and amount > 20": lambda e: e.get("method") == "card" and amount(e) > 20,
    "not (ip == '10.0.0.1')": lambda e: e.get("ip") != "10.0.0.1",
    "ip != '10.0.0.1'": lambda e: e.get("ip") is not None and e["ip"] != "10.0.0.1",
    "missing(device_id) or type == 'account.login'": lambda e: (
        e.get("device_id") is None or e["type"] == "account.login"
    ),
}


def amount(event: Event) -> Fraction:
    value = event.get("amount")
    return Fraction(-1) if value is None else Fraction(str(value))


AGGREGATES = [
    "count", "sum", "mean", "min", "max", "std", "distinct", "since_last", "age", "is_new", "last", "changed",
]  # fmt: skip


def declared(seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    found: list[dict[str, Any]] = []
    for number in range(40):
        agg = draw.choice(AGGREGATES)
        by: Any = draw.choice([*ENTITY, ["customer", "merchant"], ["customer", "card"], ["ip", "device", "merchant"]])
        feature = {"name": f"f{number}", "agg": agg, "by": by}
        if agg in ("sum", "mean", "min", "max", "std"):
            feature["of"] = "amount"
        if agg == "last":
            feature["of"] = draw.choice(["amount", "lat"])
        if agg == "changed":
            feature["of"] = draw.choice(["amount", "lat", "device_id", "country", "type"])
        if agg in ("distinct", "is_new"):
            feature["of"] = draw.choice(["merchant_id", "device_id", "card_id", "country", "method"])
        if agg != "age":
            feature["window"] = draw.choice(["1s", "45s", "10m", "1h", "7h", "24h", "30d"])
        if draw.random() < 0.6 and agg != "age":
            feature["where"] = draw.choice(list(WHERES))
        found.append(feature)
    return found


TYPES = [
    "payment.requested", "payment.authorised", "payment.settled", "payment.declined", "transfer.sent", "account.login",
]  # fmt: skip


def stream(seed: int, events: int) -> list[Event]:
    """A hostile little world: ties, late events, repeats, missing fields, a far future, several currencies."""
    draw = random.Random(seed)
    time = 1_767_225_600_000
    found: list[Event] = []
    for number in range(events):
        time += draw.choice([0, 0, 1, 500, 30_000, 600_000, 3_600_000])
        if draw.random() < 0.05 and found:
            found.append(dict(draw.choice(found)))
            continue
        late = draw.choice([0] * 8 + [1, 1_800_000, 3_600_000])
        event: Event = {
            "event_id": f"e{number}",
            "type": draw.choice(TYPES),
            "customer_id": f"c{min(draw.randrange(6), draw.randrange(6))}",
            "event_time": time - late if draw.random() > 0.01 else 4_000_000_000_000 + number,
        }
        if not event["type"].startswith("account."):
            currency = draw.choice(["EUR", "EUR", "EUR", "JPY", "KWD"])
            digits = EXPONENT[currency]
            event["payment_id"] = f"p{draw.randrange(events)}"
            event["currency"] = currency
            minor = draw.choice([1, 99, 10_001, draw.randrange(1, 10**6)])
            event["amount"] = f"{minor // 10**digits}.{minor % 10**digits:0{digits}d}" if digits else str(minor)
        if draw.random() < 0.7:
            event["lat"], event["lon"] = draw.choice([48.1, -33.9, 0]), draw.choice([11.6, 151.2, 0])
        for name, values in (
            ("card_id", 4), ("device_id", 5), ("merchant_id", 7), ("email_hash", 3), ("country", 3), ("method", 0),
        ):  # fmt: skip
            if draw.random() < 0.85:
                event[name] = f"{name[0]}{draw.randrange(values)}" if values else draw.choice(["card", "wallet"])
        if draw.random() < 0.8:
            event["ip"] = f"10.0.0.{draw.randrange(4)}"
        found.append(event)
    return found


@dataclass
class Oracle:
    """Every accepted event, in the order received, and whether it carries a decision."""

    features: list[dict[str, Any]]
    received: list[tuple[Event, bool]]

    def accept(self, event: Event) -> dict[str, Any] | None:
        """The features of an event, None for a duplicate."""
        same = [e for e, _ in self.received if e["customer_id"] == event["customer_id"]]
        if any(e["event_id"] == event["event_id"] for e in same):
            return None
        asked = any(e["type"] == "payment.requested" and e["payment_id"] == event.get("payment_id") for e in same)
        kind = event["type"]
        decides = kind in ("payment.requested", "transfer.sent") or (kind == "payment.authorised" and not asked)
        before = list(self.received)
        self.received.append((event, decides))
        return {feature["name"]: self.value(feature, event, before) for feature in self.features}

    def value(self, feature: dict[str, Any], event: Event, before: list[tuple[Event, bool]]) -> Any:
        names = [feature["by"]] if isinstance(feature["by"], str) else feature["by"]
        entity = [event.get(ENTITY[name]) for name in names]
        if None in entity:
            return None
        now = event["event_time"]
        known = [(e, d) for e, d in before if [e.get(ENTITY[name]) for name in names] == entity]
        everything = [*known, self.received[-1]]
        if feature["agg"] == "age":
            return (now - min(e["event_time"] for e, _ in everything)) / 1000
        window = int(feature["window"][:-1]) * SECONDS[feature["window"][-1]] * 1000

        def inside(events: list[tuple[Event, bool]]) -> Iterator[Event]:
            for e, decides in events:
                matches = WHERES[feature["where"]](e) if "where" in feature else decides
                if matches and now - window < e["event_time"] <= now:
                    yield e

        return aggregate(feature, event, list(inside(everything)), list(inside(known)))


def plain(value: Any) -> Any:
    """A value as it compares: amounts, which are texts, as numbers."""
    return Fraction(value) if isinstance(value, str) and value[0].isdigit() and value[-1].isdigit() else value


def aggregate(feature: dict[str, Any], event: Event, with_it: list[Event], without: list[Event]) -> Any:
    agg, of = feature["agg"], feature.get("of")
    if agg == "count":
        return len(with_it)
    if agg == "since_last":
        return (event["event_time"] - max(e["event_time"] for e in without)) / 1000 if without else None
    if agg == "distinct":
        return len({e[of] for e in with_it if e.get(of) is not None})
    if agg == "is_new":
        value = event.get(of)
        return None if value is None else all(e.get(of) != value for e in without)
    if agg in ("last", "changed"):
        earlier = sorted((e for e in without if e.get(of) is not None), key=lambda e: e["event_time"])
        before = plain(earlier[-1][of]) if earlier else None
        if agg == "last":
            return None if before is None else float(before)
        return None if before is None or event.get(of) is None else plain(event[of]) != before
    values = [Fraction(e["amount"]) for e in with_it if e.get("amount") is not None]
    if agg == "sum":
        return float(sum(values))
    if not values:
        return None
    if agg in ("min", "max"):
        return float(min(values) if agg == "min" else max(values))
    mean = sum(values) / len(values)
    if agg == "mean":
        return float(mean)
    return math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))


@pytest.mark.parametrize("seed", range(4))
def test_replay_gives_the_features_the_contract_describes(seed: int, tmp_path: Path) -> None:
    rules, source, out = tmp_path / "rules", tmp_path / "events.ndjson", tmp_path / "out"
    rules.mkdir()
    features = declared(seed)
    (rules / "features.yaml").write_text(yaml.safe_dump({"features": features}))
    events = stream(seed, 500)
    source.write_text("".join(json.dumps(event) + "\n" for event in events))
    size = str([1, 7, 64, 500][seed])
    arguments = ["replay", str(source), "--rules", str(rules), "--out", str(out), "--features", "--quiet"]
    assert main([*arguments, "--batch-size", size]) == 0
    oracle = Oracle(features, [])
    expected = [(event["event_id"], found) for event in events if (found := oracle.accept(event)) is not None]
    lines = [json.loads(line) for line in (out / "features.ndjson").read_text().splitlines()]
    assert [line["event_id"] for line in lines] == [event_id for event_id, _ in expected]
    for line, (event_id, values) in zip(lines, expected, strict=True):
        assert set(line["features"]) == set(values)
        for name, value in values.items():
            got = line["features"][name]
            rounded = features[int(name[1:])]["agg"] in ("mean", "std") and None not in (got, value)
            same = got == pytest.approx(value, rel=1e-9, abs=1e-9) if rounded else got == value
            assert same, (event_id, features[int(name[1:])], got, value)
