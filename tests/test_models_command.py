"""`steward train` and `steward models` from the outside: what a history gives, and how they refuse."""

import os
from pathlib import Path

import pytest

from engine.cli import main
from engine.commands.models import lines
from engine.ports.models import ELSEWHERE
from engine.scoring.snapshot import describe
from engine.service.model_desk import Serving
from engine.service.model_library import note_of
from tests.support.learned import ENVIRONMENT, history, rules


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("STEWARD_")]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    Path("rules").mkdir()
    Path("rules/a.yaml").write_text(rules())
    Path("few.ndjson").write_bytes(b"\n".join(history(payments=200)) + b"\n")


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    assert main(list(arguments)) == code
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_history_gives_the_same_model_each_time_and_it_can_be_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    Path("whole.ndjson").write_bytes(b"\n".join(history()) + b"\n")
    arguments = ["train", "whole.ndjson", "--rules", "rules", "--quiet", "--out"]
    said = told(capsys, *arguments, "one.model", code=0)
    assert told(capsys, *arguments, "two.model", code=0) == said
    data = Path("one.model").read_bytes()
    assert data == Path("two.model").read_bytes()
    found = describe(data)
    assert said.startswith(f"{found.version}: ") and "of the rows frauds, labels until" in said
    assert sorted(path.name for path in Path().glob("*.model*")) == ["one.model", "two.model"]
    serving = [Serving(0, found, None), Serving(1, None, found), Serving(2, None, None)]
    shown = lines([note_of(data, 0, 5), note_of(data, ELSEWHERE, 6)], serving)
    assert [line.split()[0] for line in shown] == ["version", found.version, found.version, "shard", "shard", "shard"]
    assert shown[1].endswith(found.model) and "0, 1 (pinned)" in shown[1]
    assert shown[3:] == [
        f"shard 0 serves {found.version}", f"shard 1 serves {found.version}", "shard 2 serves no model yet",
    ]  # fmt: skip


def test_what_cannot_be_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "few.ndjson", "--rules", "rules", "--quiet"]
    assert "name a file (--out), or --publish" in told(capsys, *train)
    assert "--publish needs the Redis" in told(capsys, *train, "--publish")
    assert "too few labels came" in told(capsys, *train, "--out", "x.model")
    assert "no such file" in told(capsys, "train", "none.ndjson", "--rules", "rules", "--quiet", "--out", "x.model")
    Path("rules/a.yaml").write_text("rules: []\nmodels: {anomaly: null}\n")
    assert "has no fraud model" in told(capsys, *train, "--out", "x.model")
    assert not list(Path().glob("*.model*"))
    for verb in (["list"], ["rollback"], ["follow"], ["start", "x"], ["export", "x", "y"], ["import", "y"]):
        assert "name the Redis" in told(capsys, "models", *verb)


def test_a_replay_names_the_model_file_it_cannot_use(capsys: pytest.CaptureFixture[str]) -> None:
    replay = ["replay", "few.ndjson", "--rules", "rules", "--quiet", "--models", "."]
    assert ".: 0 files *.model; 1 to 10,000 expected" in told(capsys, *replay)
    Path("bad.model").write_bytes(b"SFM2 and nothing")
    assert "bad.model: fraud model snapshot is damaged" in told(capsys, *replay)
