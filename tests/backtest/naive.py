"""The oracle: what two replays wrote, counted again the slow way, event by event and in decimals."""

import json
from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from engine.domain.rates import Rates

FRAUD_REASONS = {"10.4", "10.5", "4837", "4863"}
DAY_MS = 86_400_000


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class Naive:
    """A history, and the decisions of a baseline and a candidate on it."""

    def __init__(self, events: list[dict[str, Any]], outs: tuple[Path, Path], maturity_days: float) -> None:
        self.events = {event["event_id"]: event for event in events}
        self.decisions = [self._decisions(out) for out in outs]
        assert [d["event_id"] for d in self.decisions[0]] == [d["event_id"] for d in self.decisions[1]]
        times = sorted(milliseconds(d["event_time"]) for d in self.decisions[0])
        self.present_ms = times[len(times) - 1 - len(times) // 1000]
        self.days = max((self.present_ms - times[len(times) // 1000]) / DAY_MS, 1)
        self.told: dict[str, str] = {}
        for event in events:
            if event["type"] == "payment.chargeback" and event["reason_code"] in FRAUD_REASONS:
                self.told[event["payment_id"]] = "fraud"
        for event in events:
            if event["type"] == "label.assigned":
                self.told[event["payment_id"]] = event["label"]
        self.mature_ms = self.present_ms - maturity_days * DAY_MS

    @staticmethod
    def _decisions(out: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (out / "decisions.ndjson").read_text().splitlines()]

    def label(self, decision: dict[str, Any]) -> str:
        mature = milliseconds(decision["event_time"]) <= self.mature_ms
        return self.told.get(decision["payment_id"], "legitimate" if mature else "unknown")

    def money(self, decisions: list[dict[str, Any]], rates: Rates) -> dict[str, Decimal]:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for decision in decisions:
            event = self.events[decision["event_id"]]
            amount, currency = Decimal(str(event["amount"])), event["currency"]
            digits = {"JPY": 0, "KWD": 3}.get(currency, 2)
            base = rates.convert(int(amount.scaleb(digits)), currency)
            if base is not None:
                amount, currency = Decimal(base).scaleb(-rates.exponent), rates.base
            sums[currency] += amount
        return dict(sums)

    def matrix(self) -> Counter[tuple[str, str, str]]:
        pairs = zip(*self.decisions, strict=True)
        return Counter((one["decision"], two["decision"], self.label(one)) for one, two in pairs)

    def of(self, side: int, label: str | None = None, rule: str | None = None) -> list[dict[str, Any]]:
        return [
            d
            for d in self.decisions[side]
            if (label is None or self.label(d) == label) and (rule is None or rule in d["rules"] + d["shadow"])
        ]
