"""`steward rules explain` shows what the decision saw, and notices a log that says otherwise."""

import json
from pathlib import Path

import pytest

from engine.cli import main

RULES = """
features:
  - {name: spend, agg: sum, of: amount, by: customer, window: 24h, where: "type == 'payment.requested'"}
  - {name: ratio, expr: amount / spend}
rules:
  - {id: large, when: spend > 100 and ratio < 0.9, then: {decision: review, score: 10}}
  - {id: quiet, when: three_ds, then: {decision: decline}, mode: shadow}
  - {id: home, when: ip_country == 'DE', then: {allow: true}}
  - {id: refunds, on: [payment.refunded], when: amount > 5 and spend > 1, then: {alert: abuse, severity: high}}
  - id: unsettled
    on: [payment.requested]
    when: amount > 50
    unless_followed_by: {types: [payment.settled], same: payment_id, within: 3d}
    then: {alert: operations}
models: {}
"""


def event(number: int, **fields: object) -> dict[str, object]:
    return {
        "event_id": f"e{number}", "type": "payment.requested", "event_time": f"2026-01-01T00:0{number}:00Z",
        "customer_id": "c1", "payment_id": f"p{number}", "amount": "60.00", "currency": "EUR", **fields,
    }  # fmt: skip


@pytest.fixture
def history(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "r.yaml").write_text(RULES)
    other = event(2, customer_id="c2", amount="7.00")
    events = [event(1), event(2), event(3, three_ds=True), event(4, ip_country="DE"), other]
    events.append({**event(5), "type": "payment.settled", "payment_id": "p1"})
    events += [{**event(number), "type": "payment.refunded", "payment_id": "p1"} for number in (6, 7)]
    path = tmp_path / "h.ndjson"
    path.write_text("".join(json.dumps(e) + "\n" for e in events))
    return path


def explain(history: Path, *more: str) -> int:
    return main(["rules", "explain", *more, "--rules", str(history.parent / "rules"), "--source", str(history)])


def test_the_tree_has_the_values_the_decision_saw(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(history, "e2") == 0
    out = capsys.readouterr().out
    assert f"event e2 (payment.requested) of customer c1 at 2026-01-01T00:02:00.000Z, from {history}:2" in out
    assert "decision review, score 0.1, rule set" in out
    assert "rule large (live, r.yaml:6): hit: review, +10 points, LARGE" in out
    assert "spend > 100: True" in out
    assert "spend: 120" in out
    assert "ratio: 0.5" in out
    assert "  features it read:\n    spend: 120\n" in out
    assert "rule quiet (shadow, r.yaml:7): miss" in out
    assert "three_ds: missing" in out


def test_what_observers_saw_is_shown_with_a_decision_and_without(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(history, "e2") == 0
    out = capsys.readouterr().out
    assert (
        "observer unsettled (live, r.yaml:10): hit: operations alert, medium, UNSETTLED, unless payment.settled with "
        "the same payment_id follows within 3d" in out
    )
    assert "observer refunds (live, r.yaml:9): miss" in out
    assert explain(history, "e6") == 0
    out = capsys.readouterr().out
    assert f"event e6 (payment.refunded) of customer c1, from {history}:7\nno decision: events of this kind" in out
    assert "observer refunds (live, r.yaml:9): hit: abuse alert, high, REFUNDS\n    (type in [" in out
    assert "  features it read:\n    spend: 240\n" in out
    assert "rule large" not in out
    assert explain(history, "e7", "--rule", "refunds") == 0
    out = capsys.readouterr().out
    assert "observer refunds (live, r.yaml:9): hit, no alert: in shadow, snoozed, or soon after another one" in out
    assert "unsettled" not in out
    assert explain(history, "e6", "--decisions", str(history)) == 2
    assert "e6 carries no decision that could be compared" in capsys.readouterr().err


def test_shadow_allow_and_one_rule(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(history, "e3", "--rule", "quiet") == 0
    out = capsys.readouterr().out
    assert "rule quiet (shadow, r.yaml:7): hit, in shadow" in out
    assert "rule large" not in out
    assert explain(history, "e4") == 0
    out = capsys.readouterr().out
    assert "rule large (live, r.yaml:6): hit, set aside by a rule that allows" in out
    assert "rule home (live, r.yaml:8): hit: allow" in out


def test_a_customer_picks_among_equal_event_ids(history: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(history, "e2", "--customer", "c2") == 0
    assert "of customer c2" in capsys.readouterr().out


def test_a_log_is_compared(history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["replay", str(history), "--rules", str(tmp_path / "rules"), "--out", str(out), "--quiet"]) == 0
    log = out / "decisions.ndjson"
    assert explain(history, "e3", "--decisions", str(log)) == 0
    assert f"the decision in {log} is the same" in capsys.readouterr().out
    log.write_text(log.read_text().replace('"decision":"review"', '"decision":"decline"'))
    assert explain(history, "e3", "--decisions", str(log)) == 1
    assert 'decision: logged "decline", replayed "review"' in capsys.readouterr().out
    log.write_text("")
    assert explain(history, "e3", "--decisions", str(log)) == 1
    assert "the log has no decision on this event" in capsys.readouterr().out
    log.write_text("{")
    assert explain(history, "e3", "--decisions", str(log)) == 2


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["e9"], "no accepted event e9 in the sources"),
        (["e2", "--customer", "c3"], "no accepted event e2 of c3"),
        (["e5"], "carries no decision"),
        (["e2", "--rule", "absent"], "no rule absent"),
    ],
)
def test_what_cannot_be_explained(
    history: Path, more: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(history, *more) == 2
    assert problem in capsys.readouterr().err
