"""Control events in a history that is backtested: lists change on both sides, rules and snoozes do not."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine import cli

RULES = """
lists: {{blocked: {{values: [d{0}]}}}}
rules:
  - {{id: blocked, description: d, when: device_id in lists.blocked, then: {{decision: decline, reason: B}}}}
"""


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {"event_id": f"e{number}", "event_time": 1_767_268_800_000 + 1_000 * number, **fields}


def payment(number: int, device: str) -> dict[str, Any]:
    money = {"payment_id": f"p{number}", "amount": "5", "currency": "EUR"}
    return record(number, type="payment.requested", customer_id="c", device_id=device, **money)


LISTS = [
    payment(1, "d1"),
    payment(2, "d2"),
    record(3, type="control.list", name="blocked", add=["d3"], remove=["d1"], expires_at=1_767_268_807_000),
    *(payment(number, f"d{number - 3}") for number in (4, 5, 6)),
    payment(7, "d3"),
    record(8, type="control.list", name="blocked", values=["d4"]),
    payment(9, "d2"),
    payment(10, "d4"),
]
ASIDE = [
    record(0, type="control.rules", ruleset="0123456789abcdef"),
    record(0, type="control.snooze", rule="blocked", entity="customer", value="c", until=1_800_000_000_000),
]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d1", "d2"):
        Path(name).mkdir()
        Path(name, "rules.yaml").write_text(RULES.format(name[1]))


def write(records: list[dict[str, Any]]) -> None:
    Path("events.ndjson").write_text("".join(json.dumps(entry) + "\n" for entry in records))


def backtest() -> dict[str, Any]:
    arguments = ["rules", "backtest", "events.ndjson", "--baseline", "d1", "--candidate", "d2", "--quiet"]
    assert cli.main([*arguments, "--json", "report.json"]) == 0
    report: dict[str, Any] = json.loads(Path("report.json").read_text())
    return report


def outcomes(directory: str) -> list[str]:
    arguments = ["replay", "events.ndjson", "--rules", directory, "--out", "out", "--quiet"]
    assert cli.main(arguments) == 0
    return [json.loads(line)["decision"] for line in Path("out/decisions.ndjson").read_text().splitlines()]


def test_either_side_decides_as_a_replay_with_its_lists() -> None:
    write(LISTS)
    sides = outcomes("d1"), outcomes("d2")
    assert sides[0] == ["decline", "approve", "approve", "approve", "decline", "approve", "approve", "decline"]
    assert sides[1] == ["approve", "decline", "approve", "decline", "decline", "approve", "approve", "decline"]
    report = backtest()
    assert report["history"]["accepted"] == len(LISTS)
    lines = {(line["baseline"], line["candidate"]): line["count"] for line in report["matrix"]}
    pairs = list(zip(*sides, strict=True))
    assert lines == {pair: pairs.count(pair) for pair in pairs}


def test_the_rules_and_snoozes_of_the_history_are_passed_over() -> None:
    write(LISTS)
    plain = backtest()
    write([*ASIDE, *LISTS])
    other = backtest()
    assert other["history"].pop("events") == plain["history"].pop("events") + 2
    assert other["history"].pop("accepted") == plain["history"].pop("accepted") + 2
    assert other == plain
