"""`steward replay` from the outside: what it writes, what it depends on, and how it refuses."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine import cli
from engine.generator.stream import Settings, generate
from engine.ruleset.compiler import content_hash

OUTPUTS = ("decisions", "alerts", "rewards", "offers", "lifecycle", "dead_letters")
EVENTS = 1_500
BAD = [b"{", b'{"event_id":"x"}', b"\xff", b"[]"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STEWARD_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated events, some twice and some out of order, and four records that are none."""
    path = tmp_path_factory.mktemp("history") / "events.ndjson"
    made = Settings(seed=5, customers=40, late_share=0.05, duplicate_share=0.05, fraud_rate=0.05)
    lines = [*generate(EVENTS, made), *(line + b"\n" for line in BAD)]
    path.write_bytes(b"".join(lines))
    return path


def replay(*arguments: object) -> dict[str, Any]:
    assert cli.main(["replay", "--quiet", "--out", "out", *map(str, arguments)]) == 0
    report: dict[str, Any] = json.loads(Path("out/report.json").read_text())
    return report


def lines_of(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out", f"{name}.ndjson").read_text().splitlines()]


def test_outputs_and_report_agree(history: Path) -> None:
    report = replay(history, "--features")
    assert report["events"] == EVENTS + len(BAD)
    assert report["events"] == report["accepted"] + report["duplicates"] + report["dead_lettered"]
    assert report["duplicates"] > 0
    assert report["dead_lettered"] == len(BAD)
    counted = {name: len(lines_of(name)) for name in OUTPUTS}
    assert counted["decisions"] == sum(report["decisions"].values()) > 0
    assert counted["alerts"] == report["alerts"]
    assert counted["dead_letters"] == report["dead_lettered"]
    assert len(lines_of("features")) == report["accepted"]
    assert lines_of("dead_letters")[0]["source"] == {"file": str(history), "line": EVENTS + 1}


def test_nothing_depends_on_batches_files_or_hash_seed(history: Path, tmp_path: Path) -> None:
    whole = replay(history)["digest"]
    assert replay(history, "--batch-size", 1)["digest"] == whole
    assert replay(history, "--batch-size", 37)["digest"] == whole
    data = history.read_bytes()
    cut = data.index(b"\n", len(data) // 2) + 1
    (tmp_path / "one.ndjson").write_bytes(data[:cut])
    (tmp_path / "two.jsonl.gz").write_bytes(gzip.compress(data[cut:]))
    judged = [(line["event_id"], line["decision"], line["score"]) for line in lines_of("decisions")]
    assert replay("one.ndjson", "two.jsonl.gz")["digest"] == whole
    assert [(line["event_id"], line["decision"], line["score"]) for line in lines_of("decisions")] == judged
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "engine.cli", "replay", str(history)]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(cli.__file__).parents[1])}
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=True)
        assert json.loads(ended.stdout)["digest"] == whole


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.ndjson"], "none.ndjson: no such file"),
        (["events.doc"], "events.doc: .doc is not a kind of source"),
        (["empty.ndjson", "none.csv"], "none.csv"),
        (["empty.ndjson", "--features"], "--features needs --out"),
        (["empty.ndjson", "--redis", "embedded"], "--redis needs the address"),
        (["empty.ndjson", "--base-currency", "QQQ"], "QQQ"),
        (["empty.ndjson", "--rates", "none.json"], "none.json"),
        (["empty.ndjson", "--map", "nowhere"], "nowhere"),
        (["empty.ndjson", "--rules", "bad"], "bad.yaml:2:"),
        (["empty.ndjson", "--out", "empty.ndjson"], "empty.ndjson: cannot be written"),
    ],
)
def test_unusable_is_one_line_and_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.ndjson").touch()
    Path("bad").mkdir()
    Path("bad/bad.yaml").write_text("rules:\n  - {id: a, when: nothing > 1, then: {decision: decline}}\n")
    assert cli.main(["replay", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_an_empty_history_is_a_history(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty.ndjson").touch()
    assert cli.main(["replay", "empty.ndjson"]) == 0
    assert json.loads(capsys.readouterr().out)["events"] == 0


RULES = "rules:\n  - {{id: {0}, description: d, when: amount > 0, then: {{decision: review, reason: R}}}}\n"


def put_in_force(tmp_path: Path, ruleset: str) -> Path:
    """A history in which another rule set is put in force between two payments."""
    payment = {"type": "payment.requested", "customer_id": "c", "amount": "5", "currency": "EUR"}
    records = [
        {**payment, "event_id": "e1", "payment_id": "p1"},
        {"type": "control.rules", "event_id": "r", "ruleset": ruleset},
        {**payment, "event_id": "e2", "payment_id": "p2"},
    ]
    path = tmp_path / "switched.ndjson"
    path.write_text("".join(json.dumps({"event_time": 1_767_268_800_000, **record}) + "\n" for record in records))
    return path


def test_rule_sets_of_the_history_are_found_by_their_hash(tmp_path: Path) -> None:
    for name in ("first", "sets/second", "sets/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "rules.yaml").write_text(RULES.format(Path(name).name))
    second = content_hash({"rules.yaml": RULES.format("second")})
    history = put_in_force(tmp_path, second)
    report = replay(history, "--rules", "first", "--rule-sets", "sets")
    assert report["ruleset"] == second
    assert [decision["rules"] for decision in lines_of("decisions")] == [["first"], ["second"]]
    digest = report["digest"]
    assert replay(history, "--rules", "first", "--rule-sets", "sets/second", "--batch-size", 1)["digest"] == digest
    missing = replay(history, "--rules", "first", "--rule-sets", "sets/other")
    assert [decision["rules"] for decision in lines_of("decisions")] == [["first"], ["first"]]
    assert [letter["reason"] for letter in lines_of("dead_letters")] == ["unknown_ruleset"]
    assert missing["events"] == missing["accepted"] + missing["dead_lettered"] == 3


def test_a_directory_without_rule_sets_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["replay", "--quiet", "--rule-sets", "empty", "events.ndjson"]) == 2
    assert "empty: neither a rules directory nor one that contains such" in capsys.readouterr().err


def test_time_passes_in_a_history_in_which_nobody_does_anything_for_weeks() -> None:
    """Payments of January are spent in February, and what is left of them expires a year after the hold."""

    def event(number: int, type_: str, time: str, **fields: Any) -> str:
        return json.dumps({"event_id": f"e{number}", "type": type_, "event_time": time, "customer_id": "c1", **fields})

    paid = {"payment_id": "p1", "amount": "150", "currency": "EUR"}
    events = [
        event(1, "account.registered", "2025-10-01T08:00:00Z"),
        event(2, "payment.settled", "2026-01-17T10:00:00Z", **paid),
        event(3, "points.redeemed", "2026-02-20T10:00:00Z", points=40, redemption_id="r1"),
        event(4, "account.login", "2027-03-01T10:00:00Z"),
    ]
    Path("weeks.ndjson").write_text("".join(event + "\n" for event in events))
    report = replay("weeks.ndjson", "--features")
    assert (report["events"], report["accepted"]) == (4, 4)
    assert len(lines_of("features")) == 4
    entries = [entry for entry in lines_of("rewards") if entry["campaign_id"] == "base_earn"]
    assert entries[0]["available_at"] == "2026-01-31T10:00:00.000Z"
    assert entries[0]["expires_at"] == "2027-02-01T00:00:00.000Z"
    active = [(entry["delta"], entry["why"]) for entry in entries if entry["bucket"] == "active"]
    assert active == [("150", "the hold is over"), ("-40", "redeemed"), ("-110", "expired")]
    assert {replay("weeks.ndjson", "--batch-size", size)["digest"] for size in (1, 3)} == {report["digest"]}
