"""Rewards that look like abuse: frozen with an alert, released or taken back when somebody has looked."""

import json
import random
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from engine.core.effects import Output
from engine.domain.outputs import Alert
from engine.engagement.ledger.ledger import Ledger
from engine.engagement.ledger.lots import POINTS, Terms
from engine.engagement.ledger.verify import verify
from engine.engagement.marketing.abuse import OPEN_MAX, Suspected, freeze
from engine.ruleset.campaigns.suspecting import Found
from tests.core.campaign_world import START, campaigns, rewards, run
from tests.core.rig import DAY, HOUR, MINUTE

RULES = """
campaigns:
  - id: base
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: floor(amount)}
    hold: 2d
    expires: 3 months
    caps: [{amount: 5000, per: day}]
    budget: {points: 100000}
    abuse: {accounts_per_device: 2, accounts_per_card: off, new_account: off, refund_cycling: {rate: 0.4, min: 2}}
  - id: plain
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: 1}
    hold: none
    caps: [{times: 1, per: day}]
    abuse: off
  - id: sorry
    on: alert.resolved
    when: amount > 0 or not customer.muted
    then: {reward: points, amount: 7}
    caps: [{times: 9, per: year}]
"""


def event(number: int, at: int, who: str, what: str = "payment.settled", **more: Any) -> dict[str, Any]:
    paid = {"payment_id": f"p{number}", "amount": 100, "currency": "EUR"} if what.startswith("payment.") else {}
    return {"event_id": f"e{number}", "type": what, "event_time": at, "customer_id": who, **paid, **more}


def shared(customers: int, at: int = START) -> list[dict[str, Any]]:
    """Some customers pay, one after the other, with one device."""
    return [event(n, at + n * HOUR, f"c{n}", device_id="d") for n in range(customers)]


def resolved(alert_id: str, who: str, at: int, resolution: str) -> dict[str, Any]:
    return {"event_id": f"r-{alert_id}-{at}", "type": "control.alert_resolved", "event_time": at, "customer_id": who,
            "alert_id": alert_id, "resolution": resolution}  # fmt: skip


def tick(at: int) -> dict[str, Any]:
    return {"event_id": f"t{at}", "type": "control.tick", "event_time": at}


def asked_for(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each payment that settles was asked for before: features count what is asked for."""
    records = []
    for one in events:
        if one["type"] == "payment.settled":
            records.append({**one, "event_id": f"a-{one['event_id']}", "type": "payment.requested"})
        records.append(one)
    return records


def played(events: list[dict[str, Any]], size: int = 100, **more: Any) -> list[Output]:
    return run(campaigns(RULES), [json.dumps(one).encode() for one in asked_for(events)], size, **more)[0]


def alerts(outputs: list[Output]) -> list[Alert]:
    return [msgspec.json.decode(one.data, type=Alert) for one in outputs if one.kind == "alert"]


def balances(outputs: list[Output], campaign: str = "base") -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in rewards(outputs):
        if entry.campaign_id == campaign:
            found[entry.customer_id][entry.bucket] += int(entry.delta)
    return {who: dict(sums) for who, sums in found.items()}


def test_a_third_customer_on_a_device_is_frozen_and_an_alert_says_why() -> None:
    outputs = played([*shared(3), tick(START + 9 * DAY)])
    [alert] = alerts(outputs)
    lot = next(one.lot_id for one in rewards(outputs) if one.customer_id == "c2" and one.campaign_id == "base")
    assert (alert.kind, alert.customer_id, alert.event_id) == ("abuse", "c2", "e2")
    [reason] = alert.reasons
    assert (reason.code, reason.rule) == ("SHARED_DEVICE_CLUSTER", "base")
    assert reason.detail == f"3 customers on this device within 7 days, more than 2; frozen: {lot}"
    assert balances(outputs) == {
        "c0": {"pending": 0, "active": 100}, "c1": {"pending": 0, "active": 100}, "c2": {"pending": 100},
    }  # fmt: skip
    assert balances(outputs, "plain")["c2"] == {"pending": 0, "active": 1}, "abuse: off"
    assert [one.why.endswith("; frozen") for one in rewards(outputs) if one.lot_id == lot] == [True]


@pytest.mark.parametrize(("days", "active"), [(1, START + 2 * DAY + 2 * HOUR), (5, None)])
def test_what_is_legitimate_becomes_active_at_its_date_and_not_before(days: int, active: int | None) -> None:
    [alert] = alerts(played(shared(3)))
    at = START + days * DAY
    outputs = played([*shared(3), tick(at), resolved(alert.alert_id, "c2", at, "legitimate"), tick(START + 9 * DAY)])
    [moved] = [one for one in outputs if one.kind == "reward" and b'"active"' in one.data and one.key == b"c2"
               and b'"base"' in one.data]  # fmt: skip
    assert moved.time_ms == (active or at)
    assert balances(outputs)["c2"] == {"pending": 0, "active": 100}
    assert "sorry" not in {one.campaign_id for one in rewards(outputs)}, "nobody was blocked"


def test_what_is_abuse_is_taken_back() -> None:
    [alert] = alerts(played(shared(3)))
    outputs = played([*shared(3), resolved(alert.alert_id, "c2", START + DAY, "fraud"), tick(START + 9 * DAY)])
    assert balances(outputs)["c2"] == {"pending": 0}
    assert [one.why for one in rewards(outputs) if one.delta == "-100" and one.customer_id == "c2"] == [
        "taken back: it was abuse"
    ]


def test_dismissed_or_of_somebody_else_changes_nothing() -> None:
    [alert] = alerts(played(shared(3)))
    for other in (resolved(alert.alert_id, "c2", START + DAY, "dismissed"),
                  resolved(alert.alert_id, "c1", START + DAY, "fraud"),
                  resolved("alr_other", "c2", START + DAY, "fraud")):  # fmt: skip
        outputs = played([*shared(3), other, tick(START + 9 * DAY)])
        assert balances(outputs)["c2"] == {"pending": 100}


def test_one_alert_a_day_for_the_same_reasons_and_none_once_cleared() -> None:
    again = [event(10 + n, START + 3 * HOUR + n * MINUTE, "c2", device_id="d") for n in range(5)]
    found = alerts(played([*shared(3), *again]))
    assert len(found) == 1
    tomorrow = event(20, START + DAY + HOUR, "c2", device_id="d")
    assert len(alerts(played([*shared(3), *again, tomorrow]))) == 2
    cleared = resolved(found[0].alert_id, "c2", START + 4 * HOUR, "legitimate")
    outputs = played([*shared(3), *again, cleared, tomorrow, tick(START + 9 * DAY)])
    assert len(alerts(outputs)) == 1
    assert balances(outputs)["c2"] == {"pending": 0, "active": 700}, (
        "all six were of one alert, and the seventh is free"
    )


def test_refunds_take_their_part_of_what_is_frozen() -> None:
    back = event(2, START + 5 * HOUR, "c2", "payment.refunded", event_id="back", refund_id="f", amount=40)
    [alert] = alerts(played(shared(3)))
    cleared = resolved(alert.alert_id, "c2", START + DAY, "legitimate")
    outputs = played([*shared(3), back, cleared, tick(START + 9 * DAY)])
    assert balances(outputs)["c2"] == {"pending": 0, "active": 60}


def test_what_is_frozen_when_it_expires_is_taken_back() -> None:
    assert balances(played([*shared(3), tick(START + 60 * DAY)]))["c2"] == {"pending": 100}
    assert balances(played([*shared(3), tick(START + 120 * DAY)]))["c2"] == {"pending": 0}


def test_refund_cycling_is_found_in_the_customers_own_record() -> None:
    events = []
    for n in range(4):
        at = START + n * DAY
        events.append(event(n, at, "c", device_id=f"d{n}"))
        if n < 2:
            events.append(event(n, at + HOUR, "c", "payment.refunded", event_id=f"b{n}", refund_id=f"f{n}", amount=100))
    found = alerts(played(events))
    assert [(one.reasons[0].code, one.event_id) for one in found] == [
        ("REFUND_CYCLING", "e2"),
        ("REFUND_CYCLING", "e3"),
    ]
    assert found[0].reasons[0].detail.startswith("67% of what was paid in 90 days went back, in 2 payments or more")


def world(seed: int) -> list[dict[str, Any]]:
    """Customers who share devices, refunds, answers of analysts to alerts that there may be, and time."""
    draw, events, now, paid = random.Random(seed), list[dict[str, Any]](), START, list[tuple[int, str]]()
    for number in range(160):
        now += draw.randrange(4 * HOUR)
        who = f"c{draw.randrange(7)}"
        what = draw.random()
        if what < 0.7:
            events.append(event(number, now, who, device_id=f"d{draw.randrange(3)}", amount=draw.randrange(1, 300)))
            paid.append((number, who))
        elif what < 0.85 and paid:
            which, who = draw.choice(paid)
            events.append(event(which, now, who, "payment.refunded", event_id=f"e{number}", refund_id=f"f{number}",
                                amount=draw.randrange(1, 200)))  # fmt: skip
        else:
            events.append(tick(now))
    return events


def answered(seed: int) -> list[dict[str, Any]]:
    """The same, with some of the alerts resolved some events later, as they came about."""
    draw, events = random.Random(seed), world(seed)
    known: set[str] = set()
    place = 0
    while place < len(events):
        place += 20
        for alert in alerts(played(events[:place])):
            if alert.alert_id not in known:
                known.add(alert.alert_id)
                if draw.random() < 0.7:
                    at = max(one["event_time"] for one in events[:place])
                    what = draw.choice(["legitimate", "fraud"])
                    events.insert(place, resolved(alert.alert_id, alert.customer_id, at, what))
    return [*events, tick(max(one["event_time"] for one in events) + 5 * DAY)]


@pytest.mark.parametrize("seed", range(4))
def test_any_cut_gives_the_same_and_nothing_frozen_is_ever_active(seed: int) -> None:
    events = answered(seed)
    plain = played(events, 9)
    assert verify(rewards(plain))
    assert len({one.alert_id for one in alerts(plain)}) == len(alerts(plain)) > 2
    for size, restart_every in ((1, 0), (4, 1), (50, 2)):
        again = played(events, size, restart_every=restart_every)
        assert [one.data for one in again] == [one.data for one in plain]
    assert balances(plain) == oracle(events, plain)


def oracle(events: list[dict[str, Any]], outputs: list[Output]) -> dict[str, dict[str, int]]:
    """Balances of `base`, found out naively: of each payment what refunds leave; pending for ever where it was frozen
    and not released, nothing where that was found to be abuse."""
    lots: dict[str, tuple[str, int, int]] = {}  # payment: customer, settled, given back
    devices: dict[str, list[tuple[int, str]]] = defaultdict(list)
    joined: dict[tuple[str, int], tuple[str, set[str]]] = {}
    raised = iter(alerts(outputs))
    frozen: dict[str, str] = {}  # payment: alert
    cleared: dict[tuple[str, str], int] = {}
    codes_of: dict[str, set[str]] = {}
    fate: dict[str, str] = {}
    for one in events:
        at, who, kind = one["event_time"], one.get("customer_id", ""), one["type"]
        if kind == "payment.settled":
            devices[one["device_id"]].append((at, who))
            lots[one["payment_id"]] = who, one["amount"], 0
            others = {name for when, name in devices[one["device_id"]] if when > at - 7 * DAY}
            mine = [(settled, back) for name, settled, back in lots.values() if name == who]
            codes = {"SHARED_DEVICE_CLUSTER"} if len(others) > 2 else set()
            if sum(back > 0 for _, back in mine) >= 2 and sum(b for _, b in mine) / sum(s for s, _ in mine) >= 0.4:
                codes |= {"REFUND_CYCLING"}
            codes = {code for code in codes if cleared.get((who, code), 0) <= at}
            if codes:
                day = at // DAY
                known, of = joined.get((who, day), ("", set()))
                if not known or fate.get(known) or not codes <= of:
                    alert = next(raised)
                    assert {reason.code for reason in alert.reasons} == codes
                    joined[who, day] = known, _ = alert.alert_id, codes
                    codes_of[known] = codes
                frozen[one["payment_id"]] = known
        elif kind == "payment.refunded" and one["payment_id"] in lots:
            who, settled, back = lots[one["payment_id"]]
            lots[one["payment_id"]] = who, settled, min(settled, back + one["amount"])
        elif kind == "control.alert_resolved":
            fate[one["alert_id"]] = one["resolution"]
            if one["resolution"] == "legitimate":
                cleared |= {(who, code): at + 90 * DAY for code in codes_of[one["alert_id"]]}
    assert next(raised, None) is None
    found: dict[str, dict[str, int]] = {}
    for payment, (who, settled, back) in lots.items():
        fates = fate.get(frozen.get(payment, ""), "free" if payment not in frozen else "waits")
        sums = found.setdefault(who, {"pending": 0})
        if fates == "waits":
            sums["pending"] += settled - back
        elif fates != "fraud" and settled > back:
            sums["active"] = sums.get("active", 0) + settled - back
    return found


def test_alerts_of_a_customer_are_bounded_and_those_that_hold_nothing_any_more_are_forgotten() -> None:
    suspected, ledger, found = Suspected(), Ledger(), [Found("REFUND_CYCLING", "why")]
    raised = []
    for number in range(1, OPEN_MAX + 10):
        ledger.grant(number, Terms("c", 1, POINTS, available_ms=number * DAY), 5, number * DAY)
        alert = freeze(suspected, ledger, "c0", found, number, "c", "e", number * DAY)
        raised += [] if alert is None else [alert.alert_id]
    assert len(raised) == len(suspected.open) == OPEN_MAX
    assert suspected.open[raised[-1]].lots == tuple(range(OPEN_MAX, OPEN_MAX + 10))
    ledger.forfeit(range(1, OPEN_MAX), 99 * DAY)
    ledger.grant(99, Terms("c", 1, POINTS), 5, 99 * DAY)
    assert freeze(suspected, ledger, "c0", found, 99, "c", "e", 99 * DAY) is not None
    assert [one.lots for one in suspected.open.values()] == [tuple(range(OPEN_MAX, OPEN_MAX + 10)), (99,)]
    assert Suspected.load(suspected.dump()) == suspected
