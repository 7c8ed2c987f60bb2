"""Every figure of a backtest against a naive count of what two replays wrote."""

import json
from collections import Counter
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from engine.core.settings import CoreSettings
from engine.domain.rates import Rates
from engine.ruleset import report
from engine.service.backtest import Backtest, Options, parse
from tests.backtest.conftest import RATES, backtest, replay
from tests.backtest.naive import Naive

OUTCOMES = ("approve", "review", "step_up", "decline")
SIDES = ("baseline", "candidate")


@pytest.fixture(scope="module", params=["tuned", "candidate"])
def both(
    request: pytest.FixtureRequest, place: Path, events: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Naive]:
    """A report and its oracle: with features shared, and with each set its own."""
    tmp = tmp_path_factory.mktemp("out")
    outs = replay(place, place / "baseline", tmp / "one"), replay(place, place / request.param, tmp / "two")
    assert backtest(place, "--json", tmp / "report.json", candidate=request.param) == 0
    report = json.loads((tmp / "report.json").read_text())
    assert report["history"]["shared"]["features"] is (request.param == "tuned")
    return report, Naive(events, outs, 0.5)


def decimals(amounts: dict[str, str]) -> dict[str, Decimal]:
    return {currency: Decimal(amount) for currency, amount in amounts.items()}


def test_the_history_is_worth_testing(both: tuple[dict[str, Any], Naive]) -> None:
    report, naive = both
    labels = Counter(naive.label(decision) for decision in naive.decisions[0])
    assert min(labels["fraud"], labels["legitimate"], labels["unknown"]) > 20
    assert report["history"]["duplicates"] > 0
    assert report["history"]["dead_lettered"] == 1
    assert report["decisions_changed"] > 20
    assert all(report[side]["totals"]["outcomes"][name] > 5 for side in SIDES for name in OUTCOMES)


def test_matrix(both: tuple[dict[str, Any], Naive]) -> None:
    report, naive = both
    counted: Counter[tuple[str, str, str]] = Counter()
    for line in report["matrix"]:
        for label in ("fraud", "legitimate", "unknown"):
            counted[line["baseline"], line["candidate"], label] += line[label]["count"]
    assert +counted == naive.matrix()
    changed = sum(count for (one, two, _), count in naive.matrix().items() if one != two)
    assert report["decisions_changed"] == changed
    pairs = zip(*naive.decisions, strict=True)
    rules = [({r["rule"] for r in a["reasons"]}, {r["rule"] for r in b["reasons"]}, a, b) for a, b in pairs]
    assert report["reasons_changed"] == sum(x != y and a["decision"] == b["decision"] for x, y, a, b in rules)


def test_totals(both: tuple[dict[str, Any], Naive]) -> None:
    report, naive = both
    rates = Rates.from_dict(RATES)
    for place, side in enumerate(SIDES):
        totals, fraud, honest = report[side]["totals"], naive.of(place, "fraud"), naive.of(place, "legitimate")
        caught = [d for d in fraud if d["decision"] != "approve"]
        insulted = [d for d in honest if d["decision"] != "approve"]
        assert totals["recall"] == round(len(caught) / len(fraud), 6)
        assert totals["insult_rate"] == round(len(insulted) / len(honest), 6)
        assert totals["precision"] == round(len(caught) / (len(caught) + len(insulted)), 6)
        assert decimals(totals["caught"]) == naive.money(caught, rates)
        assert len(totals["caught"]) > 1
        for name in OUTCOMES[1:]:
            those = [d for d in honest if d["decision"] == name]
            assert totals["insulted"][name]["count"] == len(those)
            assert decimals(totals["insulted"][name]["amount"]) == naive.money(those, rates)
        alerts = sum(d["decision"] != "approve" for d in naive.decisions[place])
        assert totals["alerts_a_day"] == round(alerts / naive.days, 2)


def test_rules(both: tuple[dict[str, Any], Naive]) -> None:
    report, naive = both
    rates = Rates.from_dict(RATES)
    for place, side in enumerate(SIDES):
        assert sum(line["hits"] > 0 for line in report[side]["rules"]) >= 6
        for line in report[side]["rules"]:
            rule = line["rule"]
            fraud, honest = naive.of(place, "fraud", rule), naive.of(place, "legitimate", rule)
            assert line["hits"] == len(naive.of(place, None, rule)), rule
            assert (line["true_positives"], line["false_positives"]) == (len(fraud), len(honest))
            assert decimals(line["caught"]) == naive.money(fraud, rates)
            assert decimals(line["honest"]) == naive.money(honest, rates)
            assert line["recall"] == round(len(fraud) / len(naive.of(place, "fraud")), 6)
            asked = line["decision"] in OUTCOMES[1:]
            for name in OUTCOMES[1:]:
                force = [d for d in honest if rule in {r["rule"] for r in d["reasons"]} and d["decision"] == name]
                assert line["insulted"][name]["count"] == (len(force) if asked else 0), rule


def test_overlap(both: tuple[dict[str, Any], Naive]) -> None:
    report, naive = both
    for place, side in enumerate(SIDES):
        sets = {
            line["rule"]: {d["event_id"] for d in naive.of(place, None, line["rule"])} for line in report[side]["rules"]
        }
        wanted = {}
        for one, two in combinations(sets, 2):
            if sets[one] & sets[two]:
                wanted[one, two] = (
                    len(sets[one] & sets[two]),
                    round(len(sets[one] & sets[two]) / len(sets[one] | sets[two]), 6),
                )
        found = {tuple(pair["rules"]): (pair["both"], pair["jaccard"]) for pair in report[side]["overlap"]}
        assert found.items() <= wanted.items()
        assert len(found) == min(20, len(wanted))
        assert min(j for _, j in found.values()) >= max((wanted[p][1] for p in wanted if p not in found), default=0)


def test_examples_are_what_the_replays_said(both: tuple[dict[str, Any], Naive]) -> None:
    report, naive = both
    by_id = [{d["event_id"]: d for d in side} for side in naive.decisions]
    seen: Counter[tuple[str, str]] = Counter()
    for example in report["examples"]:
        one, two = (found[example["event_id"]] for found in by_id)
        seen[one["decision"], two["decision"]] += 1
        assert one["decision"] != two["decision"]
        for decision, side in ((one, "baseline"), (two, "candidate")):
            assert example[side]["decision"] == decision["decision"]
            assert example[side]["reasons"] == decision["reasons"]
            assert example[side]["shadow"] == decision["shadow"]
        assert example["label"] == naive.label(one)
        assert (example["customer_id"], example["event_time"]) == (one["customer_id"], one["event_time"])
    changes = {pair[:2] for pair in naive.matrix() if pair[0] != pair[1]}
    assert set(seen) == changes
    assert max(seen.values()) <= 5


@pytest.mark.parametrize("candidate", ["tuned", "candidate"])
def test_batches_change_nothing(place: Path, candidate: str) -> None:
    records = (place / "events.ndjson").read_bytes().splitlines()[:900]
    sets = [report.load(place / name) for name in ("baseline", candidate)]
    sweep = parse("busy:#1=1..9", sets[1])
    told = []
    for size in (900, 1, 7, 64):
        test = Backtest(sets[0], sets[1], CoreSettings(rates=Rates.from_dict(RATES)), None, Options(sweeps=(sweep,)))
        for start in range(0, len(records), size):
            test.add(records[start : start + size])
        told.append(test.report())
    assert told[1:] == told[:1] * 3
    assert told[0]["decisions_changed"] > 0


def test_same_history_same_report(place: Path) -> None:
    for name in ("one.json", "two.json"):
        assert backtest(place, "--json", name, "--html", f"{name}.html", "--sweep", "busy:#1=1..6") == 0
    assert Path("one.json").read_bytes() == Path("two.json").read_bytes()
    assert Path("one.json.html").read_bytes() == Path("two.json.html").read_bytes()
