"""In-file tests: what they give, what they default, how a failure reads."""

from pathlib import Path

import pytest

from engine.ruleset import compile, report, testing
from tests.ruleset.test_compile import CONTRACT

INLINE = "count(by=ip, window='10m', where=\"type == 'payment.declined'\")"


def run(when: str, case: str, head: str = "") -> bool:
    """Whether the one test of a one-rule file holds."""
    text = f"{head}\nrules:\n  - id: r\n    when: {when}\n    then: {{score: 1}}\n    tests:\n      - {case}\n"
    outcomes = testing.run(compile({"t.yaml": text}))
    assert len(outcomes) == 1
    return outcomes[0].ok


HEAD = """features:
  - {name: n, agg: count, by: customer, window: 1h}
  - {name: fresh, agg: is_new, of: device_id, by: customer, window: 1d}
  - {name: ratio, expr: amount / n}
"""


def test_what_is_given_is_seen() -> None:
    assert run("amount == 5", "{given: {amount: 5}, expect: hit}")
    assert run("ip == '1.2.3.4'", "{given: {ip: 1.2.3.4}, expect: hit}")
    assert run("merchant_category == '0742'", "{given: {merchant_category: 0742}, expect: hit}")
    assert run("ip_country == 'NO'", "{given: {ip_country: NO}, expect: hit}")
    assert run("three_ds", "{given: {three_ds: true}, expect: hit}")
    assert run("missing(amount) and missing(ip)", "{given: {amount: null, ip: null}, expect: hit}")
    assert run("hour() == 23", "{given: {event_time: 2026-01-31T23:30:00Z}, expect: hit}")
    assert run("hour() == 0", "{given: {event_time: 1767225600000}, expect: hit}")
    assert run("score.anomaly > 0.9", "{given: {score.anomaly: 0.95}, expect: hit}")
    assert run("score.anomaly > 0.9", "{given: {}, expect: miss}")
    assert run("score.fraud_top <= 0.003", "{given: {score.fraud_top: 0.003}, expect: hit}")
    assert run("score.anomaly_top <= 0.003", "{given: {score.anomaly_top: 0.004, score.anomaly: 1}, expect: miss}")
    assert run("missing(score.fraud_top)", "{given: {score.fraud_top: null, score.fraud: 0.5}, expect: hit}")
    assert run("type == 'payment.requested'", "{expect: hit}")
    assert run("missing(type)", "{given: {type: null}, expect: hit}")


def test_features_are_given_or_worked_out() -> None:
    assert run("ratio == 2.5 and fresh", "{given: {amount: 5, n: 2, fresh: true}, expect: hit}", HEAD)
    assert run("ratio == 9", "{given: {amount: 5, n: 2, ratio: 9}, expect: hit}", HEAD)
    assert run("missing(ratio)", "{given: {amount: 5, n: 2, ratio: null}, expect: hit}", HEAD)
    assert run("missing(n)", "{given: {amount: 5}, expect: hit}", HEAD)


def test_inline_aggregates_are_given_by_their_text() -> None:
    outcomes = testing.run(compile({"card.yaml": CONTRACT}))
    assert [outcome.ok for outcome in outcomes] == [True]
    spaced = CONTRACT.replace("with: {\"count(by=ip, window='10m'", "with: {\"count(window='600s',   by=[ip]")
    assert [outcome.hit for outcome in testing.run(compile({"card.yaml": spaced}))] == [True]


def test_a_failure_is_explained(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(CONTRACT.replace("expect: hit", "expect: miss"))
    report_ = report.run_tests(tmp_path)
    assert not report_.ok
    lines = str(report_).splitlines()
    assert lines[0] == "card.yaml:17: rule card_testing_ip: expected miss, got hit"
    assert "    cards_per_ip_1h >= 4: True" in [line.replace("      ", "    ", 1) for line in lines]
    assert lines[-1] == "1 test, 1 failed"


def test_the_reports_of_a_good_and_a_bad_directory(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(CONTRACT)
    good = report.check(tmp_path)
    assert good.ok
    aggregates = len(report.load(tmp_path).features)  # those of the shipped models among them
    assert good.text.startswith(f"ok: 1 rule, 5 declared features, {aggregates} aggregates, 1 list; rule set ")
    assert report.run_tests(tmp_path) == (True, "1 test, 0 failed")
    (tmp_path / "bad.yaml").write_text("rules:\n  - {id: b, when: ipp == 'x', then: {score: 1}}\n")
    for ok, text in (report.check(tmp_path), report.run_tests(tmp_path)):
        assert not ok
        assert text.splitlines()[0] == "bad.yaml:2:19: unknown name 'ipp' (did you mean 'ip'?)"
        assert text.splitlines()[-1] == "1 error"


def test_a_rule_without_tests_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("rules: [{id: bare, when: amount > 1, then: {score: 1}}]")
    assert report.run_tests(tmp_path) == (True, "without a test: bare\n0 tests, 0 failed")


def test_check_warns_of_rules_that_nobody_answers_for_explains_or_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "rules:\n"
        "  - {id: a, owner: o, description: d, when: true, then: {score: 1}, tests: [{expect: hit}]}\n"
        "  - {id: b, description: d, when: true, then: {score: 1}}\n"
        "  - {id: c, when: true, then: {alert: fraud}}\n"
    )
    found = report.check(path)
    assert found.ok
    assert found.text.splitlines()[1:] == [
        "warning: t.yaml:3: rule b has no owner, no test",
        "warning: t.yaml:4: rule c has no owner, no description, no test",
    ]
    monkeypatch.setattr(report, "WARNINGS_MAX", 1)
    assert report.check(path).text.splitlines()[2:] == ["warning: 1 more like these"]
