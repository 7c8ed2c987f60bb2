"""`steward reconcile`, from the outside."""

import csv
import json
from pathlib import Path

import pytest

from engine.cli import main
from engine.service.reconcile.payments import Payments, TooMany

DAY = 1_772_323_200_000


def event(kind: str, payment: str, amount: str, number: int, **more: object) -> dict[str, object]:
    return {
        "event_id": f"e{number}", "type": f"payment.{kind}", "event_time": DAY + number, "customer_id": "c1",
        "payment_id": payment, "amount": amount, "currency": "EUR", **more,
    }  # fmt: skip


EVENTS = [
    event("captured", "p1", "10.00", 1),
    event("settled", "p1", "10.00", 2),
    event("settled", "p1", "10.00", 2),
    event("settled", "p2", "20.00", 3),
    event("captured", "p3", "5.00", 4),
    event("captured", "p4", "6.00", 5),
    event("cancelled", "p4", "6.00", 6),
    event("refunded", "p2", "4.00", 7, refund_id="r1"),
    event("requested", "p9", "1.00", 8),
    {"type": "nonsense"},
]
HEADER = "payment_id,refund_id,amount,currency,type\n"
GOOD = HEADER + "p1,,10.00,EUR,sale\np2,,20.00,EUR,sale\np3,,5.00,EUR,sale\n,r1,4.00,EUR,refund\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    events, settlements = tmp_path / "events.ndjson", tmp_path / "s.csv"
    events.write_text("".join(json.dumps(one) + "\n" for one in EVENTS))
    settlements.write_text(GOOD)
    return events, settlements


def reconcile(files: tuple[Path, Path], *more: str) -> int:
    return main(["reconcile", "--payments", str(files[0]), "--settlements", str(files[1]), *more])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_matched(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.json"
    assert reconcile(files, "--out", str(out), "--matched") == 0
    report = json.loads(out.read_text())
    assert report["counts"]["matched"] == 4
    assert report["differences"] == 0
    assert report["payments"] == {"events": 10, "refused": 1, "repeats": 1, "movements": 4}
    assert report["sums"] == [
        {"currency": "EUR", "direction": "credit", "expected": "35.00", "settled": "35.00", "difference": "0.00"},
        {"currency": "EUR", "direction": "debit", "expected": "4.00", "settled": "4.00", "difference": "0.00"},
    ]
    assert sorted(one["payment_id"] for one in report["findings"]) == ["p1", "p2", "p2", "p3"]
    told = capsys.readouterr().out
    assert "matched" in told
    assert "of 10 events of ours 1 are refused and count for nothing" in told
    assert "Differences" not in told


def test_differences(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace("20.00", "19.98").replace("p3,,5.00", "[red]=x\x1b,,5.00") + "p1,,10.00,EUR,sale\nbroken\n"
    files[1].write_text(text)
    out = tmp_path / "r.csv"
    assert reconcile(files, "--out", str(out)) == 1
    rows = {row["status"]: row for row in table(out)}
    assert set(rows) == {
        "amount_differs", "missing_in_settlements", "missing_in_payments", "duplicate_line", "unreadable_line"
    }  # fmt: skip
    differs = rows["amount_differs"]
    assert (differs["expected"], differs["settled"], differs["difference"]) == ("20.00", "19.98", "-0.02")
    assert rows["missing_in_settlements"]["payment_id"] == "p3"
    assert rows["unreadable_line"]["line"] == f"{files[1]}:7"
    told = capsys.readouterr().out
    assert "[red]=x\ufffd" in told, "references are neither markup nor control codes"
    assert reconcile(files, "--tolerance", "2", "--quiet", "--out", str(tmp_path / "t.json")) == 1
    assert json.loads((tmp_path / "t.json").read_text())["counts"]["amount_differs"] == 0
    assert capsys.readouterr().out == ""


def test_cells_are_no_formulas(files: tuple[Path, Path], tmp_path: Path) -> None:
    files[1].write_text(GOOD + '"=1+1",,1.00,EUR,sale\n')
    out = tmp_path / "r.csv"
    assert reconcile(files, "--out", str(out)) == 1
    assert table(out)[0]["references"] == "'=1+1"


def test_a_period_limits_what_is_expected(files: tuple[Path, Path]) -> None:
    files[1].write_text("payment_id,amount,currency\np1,10.00,EUR\n")
    assert reconcile(files, "--until", str(DAY + 3)) == 0
    assert reconcile(files, "--from", str(DAY + 3)) == 1, "p2 is missing"
    assert reconcile(files, "--from", "2026-03-02", "--until", "2026-03-03") == 0, "p1 is known, if not expected"


@pytest.mark.parametrize(
    "more",
    [
        ["--out", "report.txt"],
        ["--map", "none.yaml"],
        ["--settlements", "none.csv"],
        ["--payments", "none.ndjson"],
        ["--from", "yesterday"],
        ["--from", "2026-03-02", "--until", "2026-03-01"],
        ["--tolerance", "-1"],
    ],
)
def test_unusable_input(files: tuple[Path, Path], more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile(files, *more) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_more_than_fits_is_refused(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.commands import reconcile as command

    monkeypatch.setattr(command, "LINES_MAX", 3)
    assert reconcile(files) == 2
    assert "over 3 settlement lines" in capsys.readouterr().err
    with pytest.raises(TooMany, match="over 3 payments"):
        Payments(limit=3).add([json.dumps(one).encode() for one in EVENTS])
