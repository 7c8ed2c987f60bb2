"""What campaigns come to, added up from outputs: against the same outputs added up by hand."""

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from engine.cli import main
from engine.core.decode import hash_text
from engine.core.effects import Output
from engine.domain.outputs import Alert, Offer
from engine.engagement.ledger.entries import Cause, entries
from engine.engagement.ledger.keys import lot_number
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import KINDS, Terms
from engine.ruleset import report
from engine.ruleset.compiler import compile
from engine.service.whatif.tally import Tally
from engine.service.whatif.view import render

DAY = 86_400_000
CAMPAIGNS = """
campaigns:
  - id: earn
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: amount}
    caps: [{amount: 5000, per: day}]
    budget: {points: 300}
  - id: rebate
    on: payment.settled
    when: amount > 0
    then: {reward: cashback, amount: 1.5, currency: EUR}
    caps: [{times: 50, per: month}]
  - id: nudge
    on: payment.settled
    when: amount > 0
    then: {offer: message, expires: 3d}
    consent: marketing
    caps: [{times: 1}]
"""
_encode = msgspec.json.encode


def grants(customer: str, campaign: str, kind: str, units: int, day: int, payment: str, back: int = 0) -> list[Output]:
    """A lot granted, activated a fortnight later and partly taken back after that."""
    ledger, at = Ledger(), day * DAY
    number = lot_number(campaign, 1, customer, payment)
    currency = "EUR" if kind == "cashback" else ""
    ledger.settle(hash_text(payment), units, at)
    terms = Terms(campaign, 1, KINDS.index(kind), currency, hash_text(payment), at + 14 * DAY)
    made = [(ledger.grant(number, terms, units, at), "earned"), (ledger.advance(at + 20 * DAY), "")]
    if back:
        made.append((ledger.refund(hash_text(payment), 9, back, at + 21 * DAY), "refunded"))
    return [
        Output("reward", b"", entry.entry_id, time_ms, _encode(entry))
        for moved, why in made
        for time_ms, entry in entries(ledger, customer, moved, Cause("e", payment, why))
    ]


def offer(customer: str, status: str, held: bool) -> Output:
    body = Offer("off_1", customer, "nudge", "message", "", "", "", None, None, status, held, "")  # type: ignore[arg-type]
    return Output("offer", b"", "off_1", 0, _encode(body))


@pytest.fixture
def tally() -> Tally:
    tally = Tally(compile({"a.yaml": CAMPAIGNS}).campaigns)
    tally.add(grants("c1", "earn", "points", 200, 10, "p1"))
    tally.add(grants("c1", "rebate", "cashback", 150, 10, "p1"))
    tally.add(grants("c2", "earn", "points", 98, 12, "p2", back=48))
    tally.add([offer("c3", "issued", False), offer("c3", "withdrawn", False), offer("c4", "issued", True)])
    tally.add([Output("alert", b"", "a", 0, _encode(Alert("a", "abuse", "low", "e", "c1", "", [], "")))])
    return tally


def test_what_it_costs_and_whom_it_reaches(tally: Tally) -> None:
    report = tally.report(10, [hash_text("p2")])
    earn, rebate, nudge = (report["campaigns"][name] for name in ("earn", "rebate", "nudge"))
    assert (earn["grants"], earn["granted"], earn["taken_back"]) == (2, {"points": "298"}, {"points": "48"})
    assert (earn["customers"], earn["reach"], earn["granted_on_fraud"]) == (2, 0.2, "98")
    assert (rebate["granted"], rebate["granted_on_fraud"]) == ({"cashback EUR": "1.50"}, "0")
    assert (nudge["offers"], nudge["withdrawn"], nudge["held_out"], nudge["customers"]) == (1, 1, 1, 1)
    assert report["cost"] == {"cashback EUR": "1.50", "points": "298"}
    assert (report["customers_reached"], report["abuse_alerts"]) == (3, 1)
    assert report["overlap"] == [{"campaigns": ["earn", "rebate"], "customers": 1}]


def test_what_is_granted_but_frozen_is_told_apart(tally: Tally) -> None:
    held = [Output("reward", b"", one.id, one.time_ms, one.data.replace(b'"why":"', b'"why":"a gift; frozen","x":"'))
            for one in grants("c9", "earn", "points", 40, 13, "p9")]  # fmt: skip
    tally.add(held)
    report = tally.report(10, [])
    assert report["campaigns"]["earn"]["frozen"] == report["frozen"] == {"points": "40"}
    assert report["campaigns"]["earn"]["granted"] == {"points": "338"}
    assert report["campaigns"]["rebate"]["frozen"] == {}


def test_the_day_on_which_a_budget_is_gone(tally: Tally) -> None:
    budget = tally.report(10, [])["campaigns"]["earn"]["budget"]
    assert budget == {"amount": "300", "used": "250", "exhausted_on": "1970-01-13"}


def test_entries_that_time_makes_are_no_cost() -> None:
    """Granted, activated, spent, expired and repaid: only what refunds take is taken back."""
    tally, ledger = Tally(compile({"a.yaml": CAMPAIGNS}).campaigns), Ledger()
    number = lot_number("earn", 1, "c1", "p1")
    moved = ledger.grant(number, Terms("earn", 1, 0, expires_ms=40 * DAY), 100, 0)
    moved += ledger.advance(DAY)
    moved += ledger.redeem((0, ""), 30, 5, 2 * DAY) or []
    moved += ledger.give_back(5, 3 * DAY)
    moved += ledger.advance(50 * DAY)
    for one in moved:
        why = "earned" if one.op == 1 else ""
        made = entries(ledger, "c1", [one], Cause("e", "p1", why))
        tally.add(Output("reward", b"", entry.entry_id, at, _encode(entry)) for at, entry in made)
    earn = tally.report(1, [])["campaigns"]["earn"]
    assert (earn["granted"], earn["taken_back"]) == ({"points": "100"}, {})


def test_the_report_is_readable(tally: Tally) -> None:
    text = render({"events": 5, "customers": 10, "sides": {"candidate": tally.report(10, [])}})
    for words in ("earn", "298 points", "250 of 300", "1970-01-13", "1/1/1", "earn + rebate"):
        assert words in text


def test_the_command_refuses_rules_without_campaigns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules, history = tmp_path / "rules", tmp_path / "h.ndjson"
    rules.mkdir()
    (rules / "a.yaml").write_text("features: []\n")
    history.write_text("")
    assert main(["campaigns", "backtest", str(history), "--candidate", str(rules), "--quiet"]) == 2
    assert "has no campaigns" in capsys.readouterr().err
    (rules / "a.yaml").write_text(
        "campaigns:\n  - id: a\n    on: payment.settled\n    when: amount > 0\n    then: {}\n"
    )
    assert main(["campaigns", "backtest", str(history), "--candidate", str(rules), "--quiet"]) == 2
    assert "a.yaml:5" in capsys.readouterr().err


def test_a_draft_runs_in_a_trial_and_nowhere_else() -> None:
    text = CAMPAIGNS.replace("  - id: earn\n", "  - id: earn\n    mode: draft\n")
    ruleset = compile({"a.yaml": text})
    assert [campaign.id for campaign in ruleset.campaigns] == ["earn", "rebate", "nudge"]
    assert [campaign.id for campaign in ruleset.live] == ["rebate", "nudge"]
    assert [campaign.id for campaign in ruleset.launch().live] == ["earn", "rebate", "nudge"]


def test_the_shipped_campaigns_are_live() -> None:
    ruleset = report.load(Path(__file__).parents[2] / "rules")
    assert len(ruleset.live) == len(ruleset.campaigns) >= 21


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    rules, history = tmp_path / "rules", tmp_path / "h.ndjson"
    rules.mkdir()
    (rules / "a.yaml").write_text(CAMPAIGNS)
    history.write_text("")
    out = tmp_path / "out"
    assert main(["campaigns", "backtest", str(history), "--candidate", str(rules), "--quiet", "--out", str(out)]) == 0
    found = msgspec.json.decode((out / "report.json").read_bytes())
    assert set(found["sides"]["candidate"]["campaigns"]) == {"earn", "rebate", "nudge"}
    assert Decimal(found["sides"]["candidate"]["campaigns"]["earn"]["budget"]["used"]) == 0
