"""`steward rules backtest` from the outside: gates, refusals, files, and a page that needs nothing."""

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from engine import cli
from engine.commands.rules_backtest import gates
from engine.ruleset import compile
from engine.ruleset.meaning import changes
from tests.backtest.conftest import BASELINE, backtest


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_page_is_self_contained(place: Path) -> None:
    assert backtest(place, "--html", "page.html", "--sweep", "busy:#1=1..6") == 0
    text = Path("page.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "use"}
    assert not page.attributes & {"src", "href", "xlink:href", "srcset", "action", "background"}
    assert not any(name.startswith("on") for name in page.attributes)
    assert "url(" not in text
    assert "@import" not in text
    assert "alert(1)" in text  # a rule's text is shown, as text
    assert not re.search(r"<[^>]*https?://", text)
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == 3
    for plot in plots:
        ET.fromstring(plot)


def test_terminal_report(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["rules", "backtest", place / "events.ndjson", "--baseline", place / "baseline"]
    arguments += ["--candidate", place / "candidate", "--sweep", "busy:cust_count_24h=1..5"]
    assert cli.main([str(a) for a in arguments]) == 0
    text = capsys.readouterr().out
    for part in (
        "Totals",
        "Rules that differ",
        "Examples of changed decisions",
        "Sweep of busy",
        "new_inline",
        "recall",
    ):
        assert part in text
    assert "gone" in text


def test_rules_changed(place: Path) -> None:
    assert backtest(place, "--json", "report.json") == 0
    changed = json.loads(Path("report.json").read_text())["rules_changed"]
    assert changed["new"] == ["new_inline", "new_canary"]
    assert changed["removed"] == ["gone"]
    assert [entry["rule"] for entry in changed["changed"]] == ["busy", "dear"]
    assert changed["changed"][0]["differences"][0]["what"] == "when"
    assert not changed["model_changed"]


@pytest.mark.parametrize(
    ("old", "new", "rule", "what"),
    [("hard: true", "hard: false", "devices", "hard"), ("score: 20", "score: 21", "busy", "score"),
     ('"4829", ', "", "listed", "lists.mcc"), ("window: 7d", "window: 6d", "devices", "cards_per_device"),
     ("channel == 'pos'", "channel == 'app'", "dear", "unless"),
     ("log1p(amount) / 10", "log1p(amount) / 9", "odd", "score.anomaly"),
     ("mode: shadow", "mode: live", "quiet", "mode"), ("window='30d'", "window='29d'", "dear", "ratio"),
     ("decision: step_up", "decision: review", "dear", "decision"), ("many payments", "more payments", "", "")],
)  # fmt: skip
def test_every_way_a_rule_can_change(old: str, new: str, rule: str, what: str) -> None:
    assert old in BASELINE
    found = changes(compile({"r.yaml": BASELINE}), compile({"r.yaml": BASELINE.replace(old, new)}))
    assert found["new"] == found["removed"] == []
    told = [(entry["rule"], part["what"]) for entry in found["changed"] for part in entry["differences"]]
    assert (rule, what) in told if rule else told == []
    assert found["model_changed"] is (what == "score.anomaly")


def test_a_rule_set_against_itself_changes_nothing(place: Path) -> None:
    assert backtest(place, "--json", "report.json", candidate="baseline") == 0
    report = json.loads(Path("report.json").read_text())
    assert report["decisions_changed"] == report["reasons_changed"] == 0
    assert report["examples"] == []
    assert report["baseline"] == {**report["candidate"], "directory": report["baseline"]["directory"]}


def test_gates(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(place, "--json", "report.json") == 0
    totals = json.loads(Path("report.json").read_text())["candidate"]["totals"]
    rate, recall = totals["insult_rate"], totals["recall"]
    assert 0.01 < rate < 0.99
    assert 0.01 < recall < 0.99
    assert backtest(place, "--max-insult-rate", rate + 0.001, "--min-recall", f"{100 * (recall - 0.001):.4f}%") == 0
    assert capsys.readouterr().err == ""
    assert backtest(place, "--max-insult-rate", rate - 0.001) == 1
    assert re.fullmatch(r"steward rules backtest: gate failed: insult rate .*\n", capsys.readouterr().err)
    assert backtest(place, "--min-recall", recall + 0.001, "--max-insult-rate", 1) == 1
    assert re.fullmatch(r"steward rules backtest: gate failed: recall .*\n", capsys.readouterr().err)


def test_gates_that_cannot_be_measured_fail() -> None:
    nothing = {"insult_rate": None, "recall": None}
    assert len(list(gates(nothing, 1.0, 0.0))) == 2
    assert list(gates(nothing, None, None)) == []


def test_an_exact_gate_holds() -> None:
    totals = {"insult_rate": 0.333333, "recall": 0.333333, "false_positives": 1, "legitimate": 3}
    totals |= {"true_positives": 1, "fraud": 3}
    assert list(gates(totals, 1 / 3, 1 / 3)) == []


def test_empty_history(place: Path) -> None:
    Path("empty.ndjson").write_text("")
    arguments = ["rules", "backtest", "empty.ndjson", "--quiet", "--json", "report.json", "--html", "page.html"]
    arguments += [
        "--baseline",
        str(place / "baseline"),
        "--candidate",
        str(place / "candidate"),
        "--sweep",
        "busy:#1=1..6",
    ]
    assert cli.main(arguments) == 0
    report = json.loads(Path("report.json").read_text())
    assert report["matrix"] == []
    assert report["candidate"]["totals"]["recall"] is None
    assert cli.main([*arguments, "--min-recall", "0"]) == 1


@pytest.mark.parametrize(
    "more",
    [["--sweep", "nobody:1=1..2"], ["--max-insult-rate", "2"], ["--min-recall", "-1"], ["--min-recall", "many"],
     ["--labels", "nowhere.csv"], ["--as-of", "yesterday"], ["--maturity", "soon"], ["--json", "nowhere/report.json"],
     ["nowhere.ndjson"], ["--rates", "nowhere.json"], ["--html", "."]],
)  # fmt: skip
def test_unusable_arguments(place: Path, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest(place, *more) == 2
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err


def test_faults_of_rules_name_their_directory(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad").mkdir()
    Path("bad/rules.yaml").write_text("rules:\n  - {id: x, when: amont > 1, then: {decision: review}}\n")
    assert backtest(place, candidate=str(Path("bad").resolve())) == 2
    assert "bad/rules.yaml:2:" in capsys.readouterr().err
    assert backtest(place, baseline="nowhere") == 2


def test_text_of_events_stays_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rules").mkdir()
    rule = "{id: x, when: amount > 1, then: {decision: review, reason: X, detail: 'by {channel}'}}"
    Path("rules/rules.yaml").write_text(f"models: {{}}\nrules:\n  - {rule}\n")
    event = {"event_id": "e", "type": "payment.requested", "event_time": 1, "customer_id": "c<i>", "payment_id": "p"}
    event |= {"amount": "2.00", "currency": "EUR", "channel": "\x1b[2J<b>&amp;"}
    Path("events.ndjson").write_text(json.dumps(event) + "\n")
    arguments = ["rules", "backtest", "events.ndjson", "--baseline", str(place / "baseline"), "--candidate", "rules"]
    assert cli.main([*arguments, "--html", "page.html"]) == 0
    shown, page = capsys.readouterr().out, Path("page.html").read_text()
    assert "by ?[2J<b>&amp;" in shown
    assert "by ?[2J&lt;b&gt;&amp;amp;" in page
    assert "\x1b" not in shown + page
    assert "c<i>" not in page
