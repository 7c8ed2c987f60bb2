"""`steward customer`, from the outside, over a state that a replay left."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.adapters.embedded import RedisServer, installed_redis_binary
from engine.cli import main
from engine.core.settings import CoreSettings
from engine.service.customers.erasing import ERASED, pseudonym, stays
from tests.core.test_lifetimes import months
from tests.customers.test_ledger_command import replay


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(installed_redis_binary()) as server:
        yield server.start()


def test_show_history_and_export(redis: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    replay(tmp_path, "--redis", redis.url)
    where = ["--redis", redis.url]
    capsys.readouterr()
    assert main(["customer", "show", "anna", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["balances"][0]["pending"] == "67"
    assert told["features"]["features"]["n"] == 0, "of the rules that made the state, which count decisions"
    assert main(["customer", "history", "anna", *where]) == 0
    assert len(json.loads(capsys.readouterr().out)["ledger"]["base_earn"]) == 2
    out = tmp_path / "anna.json"
    assert main(["customer", "export", "anna", *where, "--out", str(out)]) == 0
    export = json.loads(out.read_text())
    assert export["customer_id"] == "anna"
    assert len(export["events_remembered_at"]) == 3
    capsys.readouterr()
    assert main(["customer", "show", "nobody", *where]) == 1
    assert "nothing is stored of a customer 'nobody'" in capsys.readouterr().err


CAMPAIGN = """
campaigns:
  - id: alive
    on: payment.settled
    when: not missing(customer.p_alive)
    then: {reward: points, amount: 1}
    caps: [{times: 100000}]
"""


def test_figures_are_those_that_campaigns_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yaml").write_text(CAMPAIGN)
    (tmp_path / "months.ndjson").write_bytes(b"\n".join(months()))
    with RedisServer(installed_redis_binary()) as server:
        where = ["--redis", server.start().url]
        rules = ["--rules", str(tmp_path / "rules")]
        assert main(["replay", str(tmp_path / "months.ndjson"), "--quiet", *rules, *where]) == 0
        assert main(["customer", "show", "c3", *where]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 0 < told["figures"]["p_alive"] <= 1, "models of lifetimes are in force after 100 days"
    assert told["figures"]["clv"] > 0


def test_an_erasure_is_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "events.ndjson"
    assert main(["customer", "erase", "anna", "--yes", "--out", str(out)]) == 0
    assert main(["customer", "erase", "bert", "--yes", "--out", str(out)]) == 0
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["type"], one["customer_id"]) for one in events] == [
        ("account.erased", "anna"),
        ("account.erased", "bert"),
    ]
    said = capsys.readouterr().err
    assert said.count("erased: ") == 2 * len(ERASED)
    assert said.count("stays: ") == 2 * len(stays(CoreSettings()))
    assert f"pseudonym for books kept elsewhere: {pseudonym('anna')}\n" in said
    assert main(["replay", str(out), "--quiet"]) == 0, "the engine takes it"


@pytest.mark.parametrize(
    "arguments",
    [
        ["erase", "anna", "--yes"],
        ["erase", "anna", "--out", "x.ndjson"],
        ["erase", "a\x00b", "--yes", "--out", "-"],
        ["show", "anna"],
        ["show", "anna", "--redis", "redis://127.0.0.1:1/0"],
    ],
)
def test_unusable(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["customer", *arguments]) == 2
    assert capsys.readouterr().err.startswith("steward customer")
    assert list(tmp_path.iterdir()) == []
