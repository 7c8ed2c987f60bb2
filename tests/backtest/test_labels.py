"""Where labels come from, what goes before what, and sums of money that stay exact."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import cli
from engine.core.decode import hash_text
from engine.service.backtest import Labels, LabelsError
from engine.service.backtest.labels import NAMES, present
from engine.service.backtest.record import money
from engine.service.backtest.tally import Sums, cells

DAY_MS = 86_400_000
RULES = "rules:\n  - {id: all, when: amount > 0, then: {decision: review, reason: ALL}}\n"


def event(kind: str, number: int, day: float, **more: Any) -> bytes:
    made = {"event_id": f"e{number}", "type": kind, "event_time": int(day * DAY_MS), "customer_id": "c", **more}
    return json.dumps(made).encode() + b"\n"


def payment(name: str, number: int, day: float, **more: Any) -> bytes:
    return event("payment.requested", number, day, payment_id=name, amount="10.00", currency="EUR", **more)


def back(kind: str, number: int, name: str, **more: Any) -> bytes:
    return event(kind, number, 110, payment_id=name, **more)


def run(history: list[bytes], *more: str) -> dict[str, Any]:
    Path("events.ndjson").write_bytes(b"".join(history))
    Path("rules").mkdir(exist_ok=True)
    Path("rules/rules.yaml").write_text(RULES)
    arguments = ["rules", "backtest", "events.ndjson", "--baseline", "rules", "--candidate", "rules", "--quiet"]
    assert cli.main([*arguments, "--json", "report.json", *more]) == 0
    report: dict[str, Any] = json.loads(Path("report.json").read_text())
    totals = report["candidate"]["totals"]
    return {name: totals[name] for name in ("fraud", "legitimate", "unknown")}


HISTORY = [
    *(payment(name, i, 100) for i, name in enumerate(("silent", "charged", "disputed", "both", "twice"))),
    payment("young", 9, 111),
    back("payment.chargeback", 10, "charged", amount="10.00", currency="EUR", reason_code="10.4"),
    back("payment.chargeback", 11, "disputed", amount="10.00", currency="EUR", reason_code="13.1"),
    back("payment.chargeback", 12, "both", amount="10.00", currency="EUR", reason_code="10.4"),
    back("label.assigned", 13, "both", label="legitimate"),
    back("label.assigned", 14, "twice", label="legitimate"),
    back("label.assigned", 15, "twice", label="fraud"),
]


def test_labels_of_the_history() -> None:
    # fraud: charged, twice; legitimate: silent and disputed by age, both by its label; young is unknown
    assert run(HISTORY) == {"fraud": 2, "legitimate": 3, "unknown": 1}


def test_file_goes_before_the_history() -> None:
    Path("labels.csv").write_text("payment_id,label,pattern\nyoung,fraud,x\ntwice,legitimate,\nelsewhere,fraud,\n")
    assert run(HISTORY, "--labels", "labels.csv") == {"fraud": 2, "legitimate": 4, "unknown": 0}


def test_further_fraud_reasons() -> None:
    assert run(HISTORY, "--fraud-reason", "13.1")["fraud"] == 3


def test_maturity_and_the_present() -> None:
    assert run(HISTORY, "--maturity", "20d") == {"fraud": 2, "legitimate": 1, "unknown": 3}
    assert run(HISTORY, "--as-of", "1970-05-30T00:00:00Z") == {"fraud": 2, "legitimate": 4, "unknown": 0}


def test_rates_and_base_currency_that_change_on_the_way() -> None:
    rates = [
        event("control.rates", 50, 100, base="EUR", rates={"USD": "2"}),
        event("control.rates", 51, 101, base="USD", rates={"EUR": "0.5"}),
    ]
    asked = [
        [
            event("payment.requested", 10 * i + j, 100 + i, payment_id=f"p{i}{j}", amount="10", currency=c)
            for j, c in enumerate(("EUR", "USD", "JPY"))
        ]
        for i in range(3)
    ]

    Path("labels.csv").write_text("".join(f"p{i}{j},fraud\n" for i in range(3) for j in range(3)))
    history = [*asked[0], rates[0], *asked[1], rates[1], *asked[2]]
    run(history, "--labels", "labels.csv", "--base-currency", "EUR")
    caught = json.loads(Path("report.json").read_text())["candidate"]["totals"]["caught"]
    # EUR 10, then 10 + 10/2 in EUR, then 10/0.5 + 10 in USD; USD 10 without a rate at first; yen never have one
    assert caught == {"EUR": "25.00", "JPY": "30", "USD": "40.00"}


def test_an_event_from_the_far_future_matures_nothing() -> None:
    times = np.arange(2_000, dtype=np.int64)
    assert present(np.append(times, 10**12)) <= 1_999
    assert present(np.array([5], np.int64)) == 5
    assert present(np.empty(0, np.int64)) == 0


@pytest.mark.parametrize("text", ["p", "p,maybe", ",fraud", "p,Fraud", 'p,"fraud'])
def test_bad_labels_are_refused(text: str) -> None:
    with pytest.raises(LabelsError):
        Labels().read(["payment_id,label\n", text + ("\x00" if '"' in text else "") + "\n"])


def test_generated_labels_are_read_as_written() -> None:
    labels = Labels()
    labels.read(["payment_id,label,pattern\r\n", "pé,fraud,card_testing\r\n", "q,legitimate,\r\n", "\r\n"])
    payments = np.array([hash_text(name) for name in ("pé", "q", "other")], np.uint64)
    found = labels.of(payments, np.zeros(3, np.int64), 10, 20)
    assert [NAMES[value] for value in found.values] == ["fraud", "legitimate", "unknown"]
    assert found.told == 2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 2), st.integers(0, 10**15)), max_size=40)
)
def test_sums_are_exact(rows: list[tuple[int, int, int, int]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)] * 4
    group, label, currency, minor = columns
    found = cells(group, label.astype(np.int8), currency.astype(np.int32), minor)
    wanted: dict[tuple[int, ...], list[int]] = {}
    for *key, amount in rows:
        wanted.setdefault(tuple(key), []).append(amount)
    assert {cell[:3]: list(cell[3:]) for cell in found} == {k: [len(v), sum(v)] for k, v in wanted.items()}
    assert Sums(found).total == len(rows)


def test_money() -> None:
    assert money(12345, "EUR") == "123.45"
    assert money(5, "KWD") == "0.005"
    assert money(10**20 + 7, "JPY") == str(10**20 + 7)
