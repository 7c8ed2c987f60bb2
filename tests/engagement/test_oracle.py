"""The starters that earn, and the ledger, against books kept from the documents alone, over random histories."""

import json
import random
import re
from collections import defaultdict
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from tests.engagement.oracle import CASH_LIKE, DAY, EXPONENTS, MONTHS, RATES, Books, Customer, Payment, Visit

RULES = Path(__file__).resolve().parents[2] / "rules"
HOUR = 3_600_000
START = 1_740_787_200_000  # 1 March 2025
ZONES = ("Europe/Paris", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati", "Australia/Lord_Howe")
POINTS = ("points", None)
Event = dict[str, Any]


def minor(event: Event) -> int:
    return int(Fraction(event["amount"]) * 10 ** EXPONENTS[event["currency"]])


class Story(Books):
    """The books of a history."""

    def tell(self, event: Event) -> None:
        who, kind, at = event["customer_id"], event["type"], event["event_time"]
        self.advance(who, at)
        customer = self.customers[who]
        customer.registered = customer.registered or at
        if kind.startswith("account."):
            customer.zone = event.get("timezone", customer.zone)
            customer.country = event.get("country", customer.country)
        elif kind == "payment.settled":
            self._settled(who, customer, event)
        elif kind == "points.redeemed":
            key = (kind, event["redemption_id"])
            if key not in customer.seen and self.redeem(who, customer, event["points"], event["event_id"]):
                customer.seen.add(key)
        else:
            self._given_back(who, customer, event)

    def _given_back(self, who: str, customer: Customer, event: Event) -> None:
        kind, name, cause = event["type"], event["payment_id"], event["event_id"]
        key = (kind, name, event.get("refund_id", "" if kind == "label.assigned" else cause))
        if key in customer.seen:
            return
        customer.seen.add(key)
        payment = customer.payments.setdefault(name, Payment(event.get("currency", "")))
        if kind == "label.assigned":
            payment.fraud, payment.refunded = True, max(payment.refunded, payment.settled)
        elif kind == "payment.chargeback" and payment.disputed:
            payment.refunded = max(payment.refunded, minor(event))
        else:
            payment.refunded += minor(event)
            payment.disputed |= kind == "payment.chargeback"
        self.reclaim(who, customer, name, cause)
        paid_at = next((visit.at for visit in customer.visits if visit.payment == name), None)
        self._keep(customer, name)
        if payment.lost and paid_at is not None:
            self.forfeit(who, customer, event["event_time"], paid_at)
        self._look(who, customer, event["event_time"], cause)

    def _keep(self, customer: Customer, name: str) -> None:
        """The history has of a payment what the ledger has."""
        payment = customer.payments[name]
        if payment.lost:
            customer.visits = [visit for visit in customer.visits if visit.payment != name]
        for visit in customer.visits:
            if visit.payment == name and payment.settled:
                visit.back = visit.base * min(payment.refunded, payment.settled) // payment.settled

    def _settled(self, who: str, customer: Customer, event: Event) -> None:
        name, at, currency = event["payment_id"], event["event_time"], event["currency"]
        payment = customer.payments.setdefault(name, Payment(currency))
        if payment.settled:
            return
        payment.settled = minor(event)
        known = currency == "EUR" or currency in RATES
        base = round(Fraction(event["amount"]) / Fraction(RATES.get(currency, "1")) * 100) if known else 0
        day, category = customer.day(at), event.get("merchant_category")
        customer.visits.append(Visit(name, at, base, day.year * 12 + day.month, category, currency))
        self._keep(customer, name)
        self._look(who, customer, at, event["event_id"])
        self._campaigns(who, customer, event, Fraction(base, 100) if known else Fraction(event["amount"]), known)
        self.reclaim(who, customer, name, event["event_id"])

    def _campaigns(self, who: str, customer: Customer, event: Event, amount: Fraction, known: bool) -> None:
        at, name, category = event["event_time"], event["payment_id"], event.get("merchant_category")
        *before, visit = customer.visits
        whole, shops = int(amount), category not in CASH_LIKE

        def give(campaign: str, units: int, hold: int = 14, purse: tuple[str, str | None] = POINTS, **how: Any) -> None:
            if units > 0:
                customer.given[campaign].append((at, how.get("counts", Fraction(units))))
                reversal = how.get("reversal", "R1")
                self.grant(who, event["event_id"], campaign, name, purse, units, at, hold * DAY, reversal)

        if shops:
            left = 5_000 - self._given(customer, "base_earn", at, "day")[1]
            give("base_earn", int(min(whole * (4 + customer.tier) // 4, left)))
        if not before and not customer.given["welcome"]:
            give("welcome", 200)
        if event.get("method") == "direct_debit" and not customer.given["method_adoption"]:
            give("method_adoption", 100, 56)
        if self._streak(customer, at) >= 7 and not self._given(customer, "streak", at, 7 * DAY)[0]:
            give("streak", 70, reversal="R2")
        fresh = category and all(one.category != category for one in before if one.at > at - 180 * DAY)
        if fresh and shops and before and self._given(customer, "new_category", at, "month")[0] < 3:
            give("new_category", min(whole, 500))
        abroad = event.get("merchant_country") and customer.country and event["merchant_country"] != customer.country
        first = all(one.currency != visit.currency for one in before if one.at > at - 90 * DAY)
        if known and visit.currency != "EUR" and abroad and first:
            left = 50 - self._given(customer, "cross_border", at, "month")[1]
            back = min(amount / 50, Fraction(20), left)
            give("cross_border", int(back * 100), purse=("cashback", "EUR"), counts=back)

    @staticmethod
    def _streak(customer: Customer, at: int) -> int:
        kept: dict[Any, int] = defaultdict(int)
        for visit in customer.visits:
            kept[customer.day(visit.at)] += visit.base - visit.back
        day = customer.day(at)
        day -= timedelta(days=kept[day] < 500)
        length = 0
        while kept[day - timedelta(days=length)] >= 500:
            length += 1
        return length


def history(seed: int, events: int = 300, days: int = 340) -> list[Event]:
    """Six customers; refunds of thirds and wholes, before and after, twice and too much; disputes, frauds, moves."""
    draw, at, told = random.Random(seed), START, list[Event]()
    paid: dict[str, list[Event]] = defaultdict(list)

    def tell(kind: str, who: str, /, **fields: Any) -> Event:
        nonlocal at
        at += 1_000
        told.append({"event_id": f"e{len(told)}", "type": kind, "event_time": at, "customer_id": who, **fields})
        return told[-1]

    for number in range(6):
        tell("account.registered", f"c{number}", timezone=draw.choice(ZONES), country=draw.choice(["FR", "US", "JP"]))
    for number in range(events):
        at += draw.randrange(0, 2 * days * DAY // events) // 1_000 * 1_000
        who, what = f"c{draw.randrange(6)}", draw.random()
        recent = [one for one in paid[who][-12:] if one["event_time"] > at - 150 * DAY]
        if what < 0.55 or not recent:
            currency = draw.choices(list(EXPONENTS), [6, 2, 1, 1, 0.3])[0]
            units = draw.choice([draw.randrange(1, 30_000), draw.randrange(1, 1_500), 9_999])
            money = {"payment_id": f"p{number}", "currency": currency, "amount": text(units, currency)}
            if draw.random() < 0.05:
                tell("payment.refunded", who, **money, refund_id="early")
            about = {"merchant_category": draw.choice(["5411", "5812", "5999", "4829", "6011", "5732", None]),
                     "merchant_country": draw.choice(["FR", "US", "JP", None]),
                     "method": draw.choice(["direct_debit", "card", "card", "card"])}  # fmt: skip
            for _ in range(1 + (draw.random() < 0.08)):
                one = tell("payment.settled", who, **money, **{key: value for key, value in about.items() if value})
            paid[who].append(one)
        elif what < 0.83:
            one = draw.choice(recent)
            money = {key: one[key] for key in ("payment_id", "currency", "amount")}
            if what < 0.78:
                back = minor(one) if draw.random() < 0.3 else max(1, minor(one) // 3)
                money["amount"] = text(back, one["currency"])
                for _ in range(1 + (draw.random() < 0.2)):
                    tell("payment.refunded", who, **money, refund_id=f"r{number}")
            elif what < 0.81:
                tell("payment.chargeback", who, **money)
            else:
                tell("label.assigned", who, payment_id=one["payment_id"], label="fraud")
        elif what < 0.98:
            tell("points.redeemed", who, points=draw.choice([1, 7, 20, 100, 300, 900]), redemption_id=f"x{number}")
        else:
            tell("account.updated", who, timezone=draw.choice(ZONES))
    return told


def text(units: int, currency: str) -> str:
    exponent = EXPONENTS[currency]
    digits = str(units).rjust(exponent + 1, "0")
    return f"{digits[: len(digits) - exponent]}.{digits[len(digits) - exponent :]}" if exponent else digits


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The starters that earn, live: nobody is held out or suspected, and no two lots expire together by their terms."""
    place = tmp_path_factory.mktemp("rules")
    for source in ("earn", "welcome", "membership"):
        found = (RULES / "engagement" / f"{source}.yaml").read_text()
        found = re.sub(r"\n    (holdout|abuse): [^\n]*", "", found).replace("mode: draft", "mode: live")
        found = re.sub(r"\n    tests:\n(      [^\n]*\n)+", "\n    abuse: off\n", found)
        for name, months in MONTHS.items():
            expires = rf"(- id: {name}\n(?:(?!- id:).)*?expires: )\d+ months"
            found = re.sub(expires, rf"\g<1>{months} months", found, flags=re.S)
        (place / f"{source}.yaml").write_text(found)
    return place


@pytest.mark.parametrize("seed", [3, 9, 12])
def test_the_books_are_as_the_documents_have_them(seed: int, rules: Path, tmp_path: Path) -> None:
    events = history(seed)
    end = events[-1]["event_time"] + 400 * DAY
    lines: list[Event] = [
        {"event_id": "rates", "type": "control.rates", "event_time": START - DAY, "base": "EUR", "rates": RATES}
    ]
    for event in events:  # a tick brings the clock of the shard up to each event
        tick = {"event_id": f"t{event['event_id']}", "type": "control.tick", "event_time": event["event_time"] + HOUR}
        lines += [tick, event]
    lines.append({"event_id": "end", "type": "control.tick", "event_time": end + HOUR})
    (tmp_path / "in.ndjson").write_text("".join(json.dumps(one) + "\n" for one in lines))
    where = tmp_path / "out"
    assert main(["replay", str(tmp_path / "in.ndjson"), "--rules", str(rules), "--out", str(where), "--quiet"]) == 0
    books = Story()
    for event in events:
        books.tell(event)
    for who in list(books.customers):
        books.advance(who, end)
    wanted = {cause: {key: n for key, n in moved.items() if n} for cause, moved in books.moved.items()}
    assert entries(where) == {cause: moved for cause, moved in wanted.items() if moved}
    assert transitions(where) == sorted(books.states)


def entries(where: Path) -> dict[str, dict[tuple[Any, ...], int]]:
    """What was put out: changes of buckets by cause; of time, by its instant."""
    found: dict[str, dict[tuple[Any, ...], int]] = defaultdict(lambda: defaultdict(int))
    for line in (where / "rewards.ndjson").read_text().splitlines():
        one = json.loads(line)
        timed = one["cause_event_id"] == "timer"
        cause = str(milliseconds(one["occasion"])) if timed else one["cause_event_id"]
        exponent = 2 if one["kind"] == "cashback" else 0
        key = one["customer_id"], one["kind"], one["currency"], one["bucket"]
        found[cause][key] += int(Fraction(one["delta"]) * 10**exponent)
    kept = {cause: {key: n for key, n in moved.items() if n} for cause, moved in found.items()}
    return {cause: moved for cause, moved in kept.items() if moved}


def transitions(where: Path) -> list[tuple[str, str, str, str, int]]:
    found = [json.loads(line) for line in (where / "lifecycle.ndjson").read_text().splitlines()]
    return sorted(
        (one["customer_id"], one["dimension"], one["from"], one["to"], milliseconds(one["at"]))
        for one in found
        if one["dimension"] in ("activity", "membership")
    )


def milliseconds(shown: str) -> int:
    return round(datetime.fromisoformat(shown).timestamp() * 1000)
