"""What the shipped rules catch: `python -m load_tests.rule_figures` writes docs/rules-catalogue/figures.json.

For each seed a stream is generated and replayed, so that the models learn from the labels in it as they do live; what
every payment is says the generator. The rules were tuned on other seeds than these.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.domain.currencies import EXPONENTS
from engine.domain.rates import Rates
from engine.ruleset import report

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "rules"
FIGURES = ROOT / "docs" / "rules-catalogue" / "figures.json"
SEEDS = (301, 302, 303)
EVENTS = 300_000
INCIDENTS = {"acquirer_success_drop": "acquirer_outage", "source_silent": "source_silence"}
WATCHED = ("payment.requested", "payment.captured", "payment.settled", "payment.failed")
DECIDED = ("payment.requested", "payment.authorised", "transfer.sent")
MISHAPS = ("settlement_missing", "settlement_differs")
SLACK = timedelta(minutes=80)
"""How far from an incident an alert may lie that is due to it: it is told by an event before, or found by one after."""


def steward(*arguments: object, out: Path | None = None) -> None:
    """Run a command of Steward, its output into `out`."""
    with open(out or "/dev/null", "wb") as file:
        subprocess.run([sys.executable, "-m", "engine.cli", *map(str, arguments)], stdout=file, check=True, cwd=ROOT)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of an NDJSON file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


class Stream:
    """A generated stream, what was planted in it, and what the shipped rules made of it."""

    def __init__(self, seed: int, place: Path) -> None:
        self.place = place
        events, labels, incidents, rates = (place / name for name in ("e.ndjson", "l.csv", "i.csv", "r.json"))
        files = ("--labels", labels, "--incidents", incidents, "--rates", rates)
        steward("gen", "--events", EVENTS, "--seed", seed, *files, out=events)
        steward("replay", events, "--rules", RULES, "--rates", rates, "--quiet", "--out", place / "out")
        with labels.open(encoding="ascii") as file:
            self.patterns = {row["payment_id"]: row["pattern"] for row in csv.DictReader(file)}
        with incidents.open(encoding="ascii") as file:
            self.incidents = list(csv.DictReader(file))
        known = Rates.from_dict(json.loads(rates.read_text()))
        self.events: dict[str, dict[str, Any]] = {}
        self.cents: dict[str, int] = {}
        for event in lines(events):
            if event["type"] in WATCHED:
                self.events[event["event_id"]] = event
            if event["type"] in DECIDED:
                minor = int(Decimal(str(event["amount"])).scaleb(EXPONENTS[event["currency"]]))
                self.cents[event["event_id"]] = known.convert(minor, event["currency"]) or 0
        times = [moment(decision) for decision in self.decisions()]
        self.days = (max(times) - min(times)) / timedelta(days=1)

    def decisions(self) -> Iterator[dict[str, Any]]:
        """What the replay decided."""
        return lines(self.place / "out" / "decisions.ndjson")

    def fraud(self, decision: dict[str, Any]) -> bool:
        """Whether the payment is fraud."""
        pattern = self.patterns[decision["payment_id"]]
        return bool(pattern) and pattern not in MISHAPS

    def judged(self, deciding: set[str]) -> tuple[Counter[str], dict[str, Counter[str]]]:
        """Figures of the whole set and of each rule that hit; `deciding` are those that ask for an outcome."""
        totals, rules = Counter[str](), defaultdict[str, Counter[str]](Counter)
        for decision in self.decisions():
            fraud, stopped = self.fraud(decision), decision["decision"] != "approve"
            cents = self.cents[decision["event_id"]] if fraud else 0
            totals.update({"decisions": 1, "fraud": int(fraud), "legitimate": int(not fraud), "alerts": int(stopped)})
            totals["caught_cents" if stopped else "missed_cents"] += cents
            if stopped:
                totals["true_positives" if fraud else "false_positives"] += 1
                totals["insulted"] += not fraud
            hit = {*decision["rules"], *decision["shadow"]}
            in_force = {reason["rule"] for reason in decision["reasons"]} & deciding
            for rule in hit:
                right = "true_positives" if fraud else "false_positives"
                insulted = int(stopped and not fraud and rule in in_force)
                alone = int(len(hit) == 1)
                rules[rule].update({"hits": 1, right: 1, "hits_alone": alone, "insulted": insulted})
                rules[rule]["caught_cents"] += cents
        return totals, rules

    def caught(self) -> tuple[Counter[str], Counter[str]]:
        """Payments planted and payments not approved, by kind of fraud, of those that were decided."""
        planted, found = Counter[str](), Counter[str]()
        for decision in self.decisions():
            if self.fraud(decision):
                pattern = self.patterns[decision["payment_id"]]
                planted[pattern] += 1
                found[pattern] += decision["decision"] != "approve"
        return planted, found

    def alerts(self) -> dict[str, Counter[str]]:
        """For each rule that observes: its alerts, those that are right, and what was planted and found."""
        told: dict[str, Counter[str]] = defaultdict(Counter)
        found: dict[str, set[object]] = defaultdict(set)
        for alert in lines(self.place / "out" / "alerts.ndjson"):
            rule = alert["reasons"][0]["rule"]
            if rule and (alert["kind"] != "fraud" or rule == "merchant_dispute_wave"):  # drift has none
                told[rule]["alerts"] += 1
                right = self._planted(rule, self.events.get(alert["event_id"]))
                if right is not None:
                    told[rule]["right"] += 1
                    found[rule].add(right)
        for rule, kind in INCIDENTS.items():
            told[rule]["planted"] = sum(incident["kind"] == kind for incident in self.incidents)
        for rule in MISHAPS:
            told[rule]["planted"] = len(self._due(rule))
        for rule, hits in found.items():
            told[rule]["found"] = len(hits)
        return told

    def _due(self, rule: str) -> set[str]:
        """Payments with that mishap old enough for it to show."""
        last = max(moment(event) for event in self.events.values())
        wait = timedelta(days=4, hours=1) if rule == "settlement_missing" else timedelta(0)
        kind = "payment.captured" if rule == "settlement_missing" else "payment.settled"
        return {
            event["payment_id"]
            for event in self.events.values()
            if event["type"] == kind and self.patterns[event["payment_id"]] == rule and moment(event) + wait <= last
        }

    def _planted(self, rule: str, event: dict[str, Any] | None) -> object:
        """What was planted and explains an alert told by that event; None where nothing does."""
        if event is None:
            return None
        if rule in MISHAPS:
            return event["payment_id"] if self.patterns[event["payment_id"]] == rule else None
        for number, incident in enumerate(self.incidents):
            if incident["kind"] == INCIDENTS.get(rule) and incident["subject"] in (event["acquirer"], event["source"]):
                start, end = (datetime.fromisoformat(incident[name]) for name in ("start", "end"))
                if start - SLACK <= moment(event) <= end + SLACK:
                    return number
        return None


def moment(event: dict[str, Any]) -> datetime:
    """The time of an event."""
    return datetime.fromisoformat(event["event_time"])


def measure() -> dict[str, Any]:
    """The figures of all seeds together."""
    rules: dict[str, Counter[str]] = defaultdict(Counter)
    observers: dict[str, Counter[str]] = defaultdict(Counter)
    totals, planted, found, by_seed = Counter[str](), Counter[str](), Counter[str](), []
    shipped = report.load(RULES)
    deciding = {rule.id for rule in shipped.rules if rule.decision}
    rules.update({rule.id: Counter() for rule in shipped.rules})
    days = 0.0
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as place:
            stream = Stream(seed, Path(place))
            whole, by_rule = stream.judged(deciding)
            totals.update(whole)
            precision = whole["true_positives"] / (whole["true_positives"] + whole["false_positives"])
            recall = whole["true_positives"] / whole["fraud"]
            by_seed.append({"seed": seed, "precision": round(precision, 6), "recall": round(recall, 6)})
            days += stream.days
            for rule, counts in by_rule.items():
                rules[rule].update(counts)
            for rule, counts in stream.alerts().items():
                observers[rule].update(counts)
            for total, counts in zip((planted, found), stream.caught(), strict=True):
                total.update(counts)
    return {
        "ruleset": shipped.hash,
        "events": EVENTS,
        "days": round(days, 1),
        "seeds": by_seed,
        "totals": dict(totals),
        "patterns": {name: {"planted": n, "caught": found[name]} for name, n in sorted(planted.items())},
        "rules": {name: {key: n for key, n in counts.items() if n} for name, counts in rules.items()},
        "observers": {name: dict(sorted(counts.items())) for name, counts in sorted(observers.items())},
    }


def main() -> int:
    """Measure, and write the figures where the catalogue reads them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FIGURES)
    out = parser.parse_args().out
    out.write_text(json.dumps(measure(), indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
