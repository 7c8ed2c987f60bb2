"""A history with fraud, late events, repeats and labels; a baseline and a candidate that differ in every way."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from engine import cli
from engine.generator.stream import Settings, generate

EVENTS = 6_000
MATURITY = "12h"
RATES = {"base": "EUR", "rates": {"USD": "1.085", "JPY": "161.7"}}

BASELINE = """
features:
  - {name: cust_count_24h, agg: count, by: customer, window: 24h}
  - {name: cards_per_device, agg: distinct, of: card_id, by: device, window: 7d}
  - {name: ratio, expr: "amount / coalesce(mean(of=amount, by=customer, window='30d'), amount)"}
  - {name: scaled, expr: "clamp(log1p(amount) / 10, 0, 1)"}
lists:
  mcc: {values: ["4829", "5732"]}
models:
  anomaly: {detector: half_space_trees, inputs: [scaled]}
rules:
  - id: busy
    description: many payments
    when: cust_count_24h >= 4
    then: {decision: review, score: 20, reason: BUSY, detail: "{cust_count_24h} payments"}
  - id: devices
    description: several cards
    when: cards_per_device >= 2 and (amount > 100 or ratio > 1.5)
    then: {decision: decline, score: 40, reason: DEVICES}
    hard: true
  - id: dear
    description: dear
    when: amount_base > 200 and ratio >= 2
    unless: channel == 'pos'
    then: {decision: step_up, score: 10, reason: DEAR}
  - id: listed
    description: listed
    when: merchant_category in lists.mcc
    then: {allow: true, reason: LISTED}
  - id: quiet
    description: shadow
    when: amount > 150
    then: {decision: decline, score: 10, reason: QUIET}
    mode: shadow
  - id: odd
    description: unusual
    when: score.anomaly >= 0.8 or score.anomaly_top <= 0.02
    then: {decision: review, score: 5, reason: ODD}
  - id: gone
    description: only here
    when: three_ds
    then: {score: -5, reason: GONE}
"""

EXTRA = """
rules:
  - id: new_inline
    description: "many <script>alert(1)</script> https://evil.example"
    when: count(by=customer, window='6h') >= 3 and amount_base > 20
    then: {decision: step_up, score: 10, reason: NEW_INLINE}
  - id: new_canary
    description: half of the customers
    when: amount > 300
    then: {decision: step_up, score: 5, reason: NEW_CANARY}
    mode: "canary: 50%"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STEWARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`events.ndjson`, `rates.json`, and the rules directories `baseline`, `candidate` and `tuned`."""
    root = tmp_path_factory.mktemp("backtest")
    made = Settings(seed=8, customers=150, rate=3_000, fraud_rate=0.1, haste=40, late_share=0.05, duplicate_share=0.05)
    (root / "events.ndjson").write_bytes(b"".join([*generate(EVENTS, made), b"{not json\n"]))
    (root / "rates.json").write_text(json.dumps(RATES))
    tuned = BASELINE.replace("cust_count_24h >= 4", "cust_count_24h >= 3").replace("ratio >= 2", "ratio >= 1.2")
    for name, text in (("baseline", BASELINE), ("tuned", tuned), ("candidate", tuned[: tuned.index("  - id: gone")])):
        (root / name).mkdir()
        (root / name / "rules.yaml").write_text(text)
    (root / "candidate" / "extra.yaml").write_text(EXTRA)
    return root


@pytest.fixture(scope="session")
def events(place: Path) -> list[dict[str, Any]]:
    lines = (place / "events.ndjson").read_bytes().splitlines()
    return [json.loads(line) for line in lines if line != b"{not json"]


def replay(place: Path, rules: Path, out: Path) -> Path:
    arguments = ["replay", "--quiet", place / "events.ndjson", "--rules", rules, "--out", out]
    assert cli.main([str(a) for a in [*arguments, "--rates", place / "rates.json"]]) == 0
    return out


def backtest(place: Path, *more: object, baseline: str = "baseline", candidate: str = "candidate") -> int:
    arguments = ["rules", "backtest", place / "events.ndjson", "--quiet", "--rates", place / "rates.json"]
    arguments += ["--baseline", place / baseline, "--candidate", place / candidate, "--maturity", MATURITY]
    return cli.main([str(a) for a in [*arguments, *more]])
