"""`steward ledger verify`, from the outside: entries of a replay, of a topic, and beside a state."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.cli import main

START = 1_772_323_200_000
RULES = "features:\n  - {name: n, agg: count, by: customer, window: 1h}\n"


def payment(kind: str, number: int, amount: str, customer: str, **more: object) -> dict[str, object]:
    return {
        "event_id": f"{kind}{number}", "type": f"payment.{kind}", "event_time": START + number * 1000,
        "customer_id": customer, "payment_id": f"p{number}", "amount": amount, "currency": "EUR", **more,
    }  # fmt: skip


EVENTS = [
    payment("settled", 1, "100.00", "anna"),
    payment("settled", 2, "30.50", "bert"),
    payment("refunded", 1, "40.00", "anna", refund_id="r1"),
    payment("settled", 3, "7.00", "anna"),
]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary()) as server:
        yield server.start()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """What a replay left."""
    return replay(tmp_path)


def replay(tmp_path: Path, *more: str) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(RULES)
    (tmp_path / "events.ndjson").write_text("".join(json.dumps(one) + "\n" for one in EVENTS))
    where = tmp_path / "out"
    names = [str(tmp_path / "events.ndjson"), "--rules", str(tmp_path / "rules"), "--out", str(where), "--quiet"]
    assert main(["replay", *names, *more]) == 0
    return where


def verify(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    capsys.readouterr()
    code = main(["ledger", "verify", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_the_entries_of_a_replay_are_proven(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = verify(capsys, str(out))
    assert code == 0
    assert told["proven"] is True
    assert told["compared_with_state"] is False
    assert told["balances"] == [
        {"kind": "points", "currency": None, "accounts": 2, "pending": "97", "active": "0", "debt": "0"}
    ]
    assert main(["ledger", "verify", str(out / "rewards.ndjson")]) == 0
    assert capsys.readouterr().out.endswith("every balance is the sum of its entries\n")


def test_an_export_of_the_topic_is_read(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        json.dumps({"specversion": "1.0", "id": "x", "type": "steward.reward", "data": json.loads(line)})
        for line in (out / "rewards.ndjson").read_text().splitlines()
    ]
    export = tmp_path / "export.ndjson"
    export.write_text("\n".join([*events, events[0]]) + "\n")
    code, told = verify(capsys, str(export))
    assert code == 0
    assert (told["entries"], told["repeats"]) == (len(events), 1)


def test_the_first_difference_is_named(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (out / "rewards.ndjson").read_text().splitlines()
    entry = json.loads(lines[0])
    lines.insert(1, json.dumps({**entry, "entry_id": "rew_other", "delta": "-500"}))
    (out / "rewards.ndjson").write_text("\n".join(lines) + "\n")
    assert main(["ledger", "verify", str(out)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"anna {entry['lot_id']} rew_other: ")
    assert "falls to -400" in told


def test_beside_the_state(redis: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = replay(tmp_path, "--redis", redis.url)
    code, told = verify(capsys, str(out), "--redis", redis.url)
    assert (code, told["compared_with_state"]) == (0, True)
    lines = (out / "rewards.ndjson").read_text().splitlines()
    (out / "rewards.ndjson").write_text("\n".join(lines[:-1]) + "\n")
    assert verify(capsys, str(out))[0] == 0, "a last entry that is gone cannot be seen in the others"
    code, told = verify(capsys, str(out), "--redis", redis.url)
    assert code == 1
    assert told["first"] == [
        {"customer_id": "anna", "lot_id": "", "entry_id": "",
         "what": "pending points: entries add up to 60, the state has 67"}
    ]  # fmt: skip
    assert verify(capsys, str(out), "--redis", redis.url, "--no-state")[0] == 0


@pytest.mark.parametrize("content", ["nonsense\n", "{}\n", '{"specversion":"1.0","data":{}}\n'])
def test_what_is_no_entry(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rewards.ndjson").write_text(content)
    assert main(["ledger", "verify", str(tmp_path)]) == 2
    assert "rewards.ndjson:1: not a ledger entry" in capsys.readouterr().err


def test_unusable_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "verify"]) == 2
    assert main(["ledger", "verify", str(tmp_path / "none.ndjson")]) == 2
    assert capsys.readouterr().err.count("\n") == 2
