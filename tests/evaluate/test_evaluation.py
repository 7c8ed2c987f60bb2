"""A whole evaluation against the figures computed from the decisions of a replay, and the command from the outside."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from engine import cli
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.generator.stream import Settings, generate
from engine.ruleset import compile
from engine.scoring.learners.registry import LEARNERS
from engine.service.backtest.labels import Labels
from engine.service.evaluate import figures
from engine.service.evaluate.challengers import other_learners
from engine.service.evaluate.run import Evaluation, Options
from tests.evaluate import naive

DAY_MS = 86_400_000
T0 = 1_767_225_600_000
RULES = """
features:
  - {name: spent, agg: sum, of: amount, by: customer, window: 7d}
models:
  anomaly: {detector: half_space_trees, trees: 5, height: 4, window: 20, seed: 1, inputs: [spent]}
rules:
  - {id: big, description: d, when: amount > 40, then: {decision: review, score: 30, reason: R}}
"""
OTHER = RULES.replace("amount > 40", "amount > 30").replace("seed: 1", "seed: 2")


def payment(number: int, customer: int, time_ms: int, amount: float, channel: str | None = None) -> bytes:
    event = {"type": "payment.requested", "event_id": f"e{number}", "payment_id": f"p{number}", "event_time": time_ms}
    event |= {"customer_id": f"c{customer}", "amount": f"{amount:.2f}", "currency": "EUR"}
    return json.dumps(event | ({"channel": channel} if channel else {})).encode()


def label(number: int, customer: int, time_ms: int, name: str = "fraud") -> bytes:
    event = {"type": "label.assigned", "event_id": f"l{number}{name}", "payment_id": f"p{number}", "label": name}
    return json.dumps({**event, "customer_id": f"c{customer}", "event_time": time_ms}).encode()


def history(days: int, payments: int, customers: int) -> tuple[list[bytes], list[tuple[int, int, bool]]]:
    """Events in order, labels of a day at 00:00 eight days later; and day, customer and fraud of each payment."""
    truth, events, number = [], [], 0
    for day in range(days):
        for place in range(payments):
            customer, amount = (number * 7 + day) % customers, 5 + number * 37 % 60
            time_ms = T0 + day * DAY_MS + place * (DAY_MS // payments) + 1
            fraud = amount > 42 and number % 3 == 0
            events.append((time_ms, payment(number, customer, time_ms, amount, ("web", "app", None)[number % 3])))
            if fraud:
                events.append((T0 + (day + 8) * DAY_MS, label(number, customer, T0 + (day + 8) * DAY_MS)))
            truth.append((day, customer, fraud))
            number += 1
    return [line for _, line in sorted(events, key=lambda pair: pair[0])], truth


def test_figures_are_those_of_the_decisions() -> None:
    lines, truth = history(days=40, payments=9, customers=20)
    core = CoreSettings()
    decisions: list[dict[str, Any]] = []
    partition = Partition(compile({"r.yaml": RULES}), core, backed=False)
    for line in lines:
        effects = partition.apply(partition.decode([line]), lambda index: {})
        decisions += [json.loads(body) for _, body in effects.decisions]
    blended = [one["score"] for one in sorted(decisions, key=lambda one: int(one["payment_id"][1:]))]
    options = Options(from_ms=T0 + 14 * DAY_MS, until_ms=T0 + 30 * DAY_MS, cards=3, segment="channel")
    sides = [Partition(compile({"r.yaml": text}), core, backed=False) for text in (RULES, OTHER)]
    evaluation = Evaluation(sides[0], {"other": sides[1]}, Labels(), options)
    for start in range(0, len(lines), 61):
        evaluation.add(lines[start : start + 61])
    report = evaluation.report()
    day, card, fraud = (list(values) for values in zip(*truth))
    assert report["history"]["decisions"] == len(truth)
    assert [week["days"] for week in report["weeks"]] == [7, 7, 2]
    rows: list[int] = []
    for week, start in zip(report["weeks"], (14, 21, 28)):
        own = naive.handbook_unknown(day, card, fraud, start, week["days"])
        rows += own
        truths, scores = [fraud[i] for i in own], [blended[i] for i in own]
        found = week["scores"]["blended"]
        assert week["payments"] == len(own) and week["frauds"] == sum(truths)
        assert week["known_cards_left_out"] == 9 * week["days"] - len(own) > 0
        assert found["auc"] == pytest.approx(naive.roc_auc(truths, scores))
        assert found["average_precision"] == pytest.approx(naive.average_precision(truths, scores))
        shares = naive.card_precision([day[i] for i in own], [card[i] for i in own], truths, scores, 3)
        # Cards are numbered by the hashes of their names here: equal scores may come in another order.
        assert found["card_precision"] == pytest.approx(sum(shares) / len(shares), abs=0.2)
    whole = report["scores"]["blended"]
    assert whole["average_precision"] == pytest.approx(
        naive.average_precision([fraud[i] for i in rows], [blended[i] for i in rows])
    )
    sure = whole["interval"]["average_precision"]
    assert sure["value"] == pytest.approx(whole["average_precision"])
    assert sure["low"] < sure["value"] < sure["high"]
    by_value = defaultdict(int)
    for i in rows:
        by_value[("web", "app", "(none)")[i % 3]] += 1
    assert {one["value"]: one["payments"] for one in report["segments"]} == by_value


def test_what_is_too_young_is_not_judged() -> None:
    """Of the last days only the frauds would be known."""
    lines, truth = history(days=12, payments=5, customers=6)
    early = [line for line in lines if json.loads(line)["event_time"] < T0 + 12 * DAY_MS]
    evaluation = Evaluation(Partition(compile({"r.yaml": RULES}), CoreSettings(), backed=False))
    evaluation.add(early)
    table = evaluation.table()
    assert len(table.day) == 4 * 5  # days 0 to 3: day 11 ends eight days after day 3 does
    assert table.unripe == 8 * 5
    assert table.fraud.tolist() == [fraud for day, _, fraud in truth if day < 4]


def test_labels_of_a_file_are_the_truth_at_any_age() -> None:
    lines, truth = history(days=3, payments=5, customers=6)
    labels = Labels()
    labels.read(f"p{number},{'fraud' if number % 2 else 'legitimate'}" for number in range(10))
    evaluation = Evaluation(Partition(compile({"r.yaml": RULES}), CoreSettings(), backed=False), labels=labels)
    evaluation.add([line for line in lines if b"payment.requested" in line])
    assert evaluation.table().fraud.tolist() == [number % 2 == 1 for number in range(10)]
    assert evaluation.table().unripe == len(truth) - 10


def test_a_correction_is_the_truth_but_the_card_was_known() -> None:
    lines = [payment(0, 0, T0, 5.0), label(0, 0, T0 + DAY_MS), label(0, 0, T0 + 2 * DAY_MS, "legitimate")]
    evaluation = Evaluation(Partition(compile({"r.yaml": RULES}), CoreSettings(), backed=False))
    evaluation.add([*lines, lines[1], payment(1, 0, T0 + 20 * DAY_MS, 5.0)])
    table = evaluation.table()
    assert table.fraud.tolist() == [False]
    assert table.told.tolist() == [0] and table.told_ms.tolist() == [T0 + DAY_MS]


@pytest.mark.parametrize(
    ("low", "high", "briers", "verdict"),
    [
        (0.01, 0.05, (0.002, 0.002), "promote the challenger"),
        (0.01, 0.05, (0.003, 0.002), "keep the champion"),
        (-0.01, 0.05, (0.001, 0.002), "keep the champion"),
        (-0.05, -0.01, (0.001, 0.002), "keep the champion"),
    ],
)
def test_the_verdict_needs_an_interval_above_zero(
    low: float, high: float, briers: tuple[float, float], verdict: str
) -> None:
    gain = {"value": (low + high) / 2, "low": low, "high": high}
    assert figures.verdict(gain, *briers)["verdict"] == verdict
    assert figures.verdict(None, *briers)["verdict"] == "unknown"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stream") / "events.ndjson"
    path.write_bytes(b"".join(generate(9_000, Settings(seed=5, customers=60, rate=500.0, fraud_rate=0.05))))
    return path


def test_the_command_writes_the_same_report_twice(
    stream: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for out in ("one", "two"):
        assert cli.main(["evaluate", str(stream), "--out", str(tmp_path / out), "--segment", "channel"]) == 0
        reports.append(json.loads((tmp_path / out / "report.json").read_text()))
        assert reports[-1].pop("speed")["events_per_second"] > 0
    assert reports[0] == reports[1]
    assert "Recall at alert budgets" in capsys.readouterr().out
    plots = sorted(path.name for path in (tmp_path / "one").glob("*.svg"))
    assert {"precision_recall.svg", "recall.svg"} <= set(plots)
    for name in plots:
        text = (tmp_path / "one" / name).read_text()
        assert text.startswith('<svg xmlns="http://www.w3.org/2000/svg"') and text.endswith("</svg>\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.ndjson"], "none.ndjson: no such file"),
        (["empty.ndjson", "--segment", "amount"], "--segment amount"),
        (["empty.ndjson", "--from", "soon"], "--from soon"),
        (["empty.ndjson", "--from", "2026-01-02", "--until", "2026-01-02"], "is not before"),
        (["empty.ndjson", "--labels", "none.csv"], "--labels none.csv"),
        (["empty.ndjson", "--out", "empty.ndjson"], "cannot write"),
    ],
)
def test_unusable_is_one_line_and_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.ndjson").touch()
    assert cli.main(["evaluate", "--quiet", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_an_empty_history_has_nothing_to_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.ndjson").touch()
    assert cli.main(["evaluate", "empty.ndjson"]) == 0
    assert "0 decisions" in capsys.readouterr().out


def test_labels_due_after_a_table_ends_are_part_of_the_truth(tmp_path: Path) -> None:
    days, each = 28, 5
    rows = range(days * each)
    columns = {
        "TRANSACTION_ID": list(rows),
        "TX_DATETIME": pa.array([T0 // 1000 + i // each * 86_400 + i % each * 3_600 for i in rows], pa.timestamp("s")),
        "CUSTOMER_ID": [str(i % each) for i in rows],
        "TERMINAL_ID": [str(i % 2) for i in rows],
        "TX_AMOUNT": [5.5 + i % each for i in rows],
        "TX_FRAUD": [int(i % each == i // each % each) for i in rows],
    }
    parquet.write_table(pa.table(columns), tmp_path / "table.parquet")
    arguments = [str(tmp_path / "table.parquet"), "--out", str(tmp_path), "--from", "2026-01-01"]
    assert cli.main(["evaluate", "--quiet", *arguments]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["history"]["labels_arrived"] == days
    assert report["history"]["unripe"] == 0
    assert report["history"]["until"] == "2026-01-29T00:00:00.000Z"


def test_challengers_are_the_other_learners() -> None:
    fraud = RULES.replace("rules:", "  fraud: {inputs: [spent], plain: [spent]}\nrules:")
    ruleset = compile({"r.yaml": fraud})
    others = other_learners(ruleset)
    assert ruleset.models.fraud is not None and ruleset.models.fraud.learner == "boosted_trees"
    assert set(others) == set(LEARNERS) - {"boosted_trees"}
    assert {name: other.models.fraud.learner for name, other in others.items() if other.models.fraud} == {
        name: name for name in others
    }
    assert other_learners(compile({"r.yaml": RULES})) == {}
