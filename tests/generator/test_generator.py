"""The generator: the same for ever, in order, lawful life cycles, money that fits its currency, fraud as planted."""

import collections
import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from engine.core.decode import Decoder
from engine.domain.money import format_minor
from engine.domain.times import rfc3339
from engine.generator import Settings, generate, rhythm
from engine.generator.draw import Draw, token
from engine.generator.fraud import PATTERNS
from engine.generator.incidents import OUTAGE, QUIET_DAYS, SILENCE
from engine.generator.simulation import DELAY_MS_MAX
from engine.generator.world import rates

EVENTS = 80_000
SETTINGS = Settings(seed=15, customers=2000, rate=4000.0, fraud_rate=0.03)
EXPONENTS = {"EUR": 2, "GBP": 2, "USD": 2, "BRL": 2, "SGD": 2, "JPY": 0, "KWD": 3}
NAMES = {pattern.name for pattern in PATTERNS}
MISHAPS = {"settlement_missing", "settlement_differs"}
NEXT = {
    None: {"requested"},
    "requested": {"authorised", "declined", "failed"},
    "authorised": {"captured", "cancelled"},
    "captured": {"settled"},
    "settled": {"refunded", "chargeback"},
    "refunded": {"refunded", "chargeback"},
    "chargeback": {"refunded"},
}


@functools.cache
def lines() -> tuple[list[bytes], dict[str, tuple[str, str]]]:
    """One long stream and its truth by payment id."""
    truth: list[str] = []
    stream = list(generate(EVENTS, SETTINGS, labels=truth.append))
    rows = [line.rstrip("\n").split(",") for line in truth]
    return stream, {row[0]: (row[1], row[2]) for row in rows}


@functools.cache
def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines()[0]]


def time_ms(event: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(event["event_time"]).timestamp() * 1000)


def test_events_are_in_time_order_with_ids_of_their_own() -> None:
    times = [time_ms(event) for event in events()]
    assert len(times) == EVENTS
    assert times == sorted(times)
    assert len({event["event_id"] for event in events()}) == EVENTS
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines()[0])


@pytest.mark.parametrize("n", [0, 1, 999, 20_000])
def test_a_shorter_stream_is_a_prefix(n: int) -> None:
    truth: list[str] = []
    assert list(generate(n, SETTINGS, labels=truth.append)) == lines()[0][:n]
    assert len(truth) <= n


def test_another_seed_is_another_stream() -> None:
    other = Settings(seed=12, customers=2000, rate=4000.0, fraud_rate=0.03)
    assert not set(generate(500, other)) & set(lines()[0])


def test_the_stream_of_a_seed_never_changes() -> None:
    digest = hashlib.sha256(b"".join(generate(2000, Settings(seed=42)))).hexdigest()
    assert digest == DIGEST_OF_SEED_42


DIGEST_OF_SEED_42 = "33be129c09c5c9039f0e351ff297ab06fb1c00226cec88f15453f74e3cd1b663"


def test_the_hash_seed_changes_nothing() -> None:
    program = (
        "import hashlib; from engine.generator import *;"
        "stream = generate(3000, Settings(seed=5, late_share=.1, duplicate_share=.1));"
        "print(hashlib.sha256(b''.join(stream)).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(digests) == 1


def test_life_cycles_are_lawful() -> None:
    state: dict[str, str | None] = {}
    seen = collections.Counter[str]()
    for event in events():
        group, kind = event["type"].split(".")
        if group == "payment":
            before = state.get(event["payment_id"])
            assert kind in NEXT[before], f"{before} -> {kind} of {event['payment_id']}"
            state[event["payment_id"]] = kind
            seen[kind] += 1
    assert set(seen) == {
        "requested", "authorised", "declined", "failed", "captured", "settled", "refunded", "cancelled", "chargeback"
    }  # fmt: skip
    assert seen["authorised"] > 0.85 * seen["requested"]


def test_every_kind_of_event_occurs() -> None:
    kinds = {event["type"] for event in events()}
    assert kinds >= {
        "transfer.sent", "transfer.received", "account.registered", "account.updated", "account.login",
        "account.login_failed", "account.password_changed", "account.contact_changed", "account.consent_changed",
        "feedback.submitted", "label.assigned",
    }  # fmt: skip


def test_amounts_fit_their_currency() -> None:
    currencies = collections.Counter[str]()
    for event in events():
        if "amount" in event:
            whole, _, fraction = event["amount"].partition(".")
            assert len(fraction) == EXPONENTS[event["currency"]], event
            assert int(whole + fraction) > 0
            currencies[event["currency"]] += 1
    assert set(currencies) == set(EXPONENTS)


def test_refunds_never_exceed_their_payment() -> None:
    paid: dict[str, float] = {}
    partial = 0
    for event in events():
        if event["type"] == "payment.settled":
            paid[event["payment_id"]] = float(event["amount"])
        if event["type"] == "payment.refunded":
            partial += float(event["amount"]) < paid[event["payment_id"]]
            paid[event["payment_id"]] -= float(event["amount"])
            assert paid[event["payment_id"]] > -1e-6
            assert event["refund_id"]
    assert partial > 10


def test_a_customer_is_introduced_before_anything_else() -> None:
    known = set()
    for event in events():
        if event["type"] in ("account.registered", "account.updated"):
            assert event["timezone"]
            known.add(event["customer_id"])
        assert event["customer_id"] in known, event


def test_things_stay_with_their_customer() -> None:
    used: dict[str, dict[str, set[str]]] = {field: collections.defaultdict(set) for field in ("card_id", "device_id")}
    for event in events():
        for field, by_customer in used.items():
            if field in event:
                by_customer[event["customer_id"]].add(event[field])
    for by_customer in used.values():
        assert sum(len(things) > 1 for things in by_customer.values()) > 100
    truth = lines()[1]
    farmed = {
        event.get("card_id") for event in events() if truth.get(event.get("payment_id"), "")[1:] == ("account_farm",)
    }
    holders = collections.Counter(card for cards in used["card_id"].values() for card in cards - farmed)
    assert max(holders.values()) == 1


def test_activity_is_skewed_but_nobody_is_everything() -> None:
    sizes = sorted(collections.Counter(event["customer_id"] for event in events()).values(), reverse=True)
    assert 0.2 < sum(sizes[: len(sizes) // 10]) / EVENTS < 0.8
    assert sizes[0] / EVENTS < 0.02


def test_people_sleep_in_their_own_time_zone() -> None:
    zones: dict[str, str] = {}
    nights = collections.defaultdict[str, list[int]](list)
    for event in events():
        if "timezone" in event:
            zones[event["customer_id"]] = event["timezone"]
        if event["type"] == "account.login":
            zone = zones[event["customer_id"]]
            nights[zone].append(rhythm.week_hour(time_ms(event), zone) % 24)
    for zone in ("Europe/Paris", "America/New_York", "Asia/Tokyo"):
        hours = nights[zone]
        assert len(hours) > 100
        assert sum(2 <= hour < 7 for hour in hours) < 0.5 * sum(17 <= hour < 22 for hour in hours)


def test_fraud_is_about_as_frequent_as_asked_and_of_every_pattern() -> None:
    truth = lines()[1]
    fraud = [pattern for label, pattern in truth.values() if label == "fraud"]
    assert 0.4 * SETTINGS.fraud_rate < len(fraud) / len(truth) < 2.0 * SETTINGS.fraud_rate
    assert set(fraud) == NAMES
    assert {label for label, _ in truth.values()} == {"fraud", "legitimate"}


def test_no_fraud_where_none_is_asked() -> None:
    truth: list[str] = []
    collections.deque(generate(5000, Settings(seed=3, fraud_rate=0.0), labels=truth.append), maxlen=0)
    assert truth
    assert {line.split(",", 1)[1].strip() for line in truth} <= {"legitimate,", *(f"legitimate,{m}" for m in MISHAPS)}


def test_labels_come_days_later_and_agree_with_the_truth() -> None:
    truth = lines()[1]
    started: dict[str, int] = {}
    delays, disputes = [], 0
    for event in events():
        kind = event["type"]
        if kind in ("payment.requested", "transfer.sent", "transfer.received"):
            started[event["payment_id"]] = time_ms(event)
        if kind == "label.assigned":
            assert event["label"] == truth[event["payment_id"]][0]
        if kind == "payment.chargeback":
            assert event["reason_code"]
            disputes += truth[event["payment_id"]][0] == "fraud"
        if kind in ("label.assigned", "payment.chargeback"):
            delays.append(time_ms(event) - started[event["payment_id"]])
    assert disputes > 5
    assert min(delays) > 0.4 * rhythm.DAY_MS
    assert max(delays) > 8 * rhythm.DAY_MS


def test_nothing_in_a_request_names_the_fraud() -> None:
    """The shape of ids and the names of members are the same for fraud and for the rest."""
    truth = lines()[1]
    shapes: dict[str, set[tuple[str, str]]] = {"fraud": set(), "legitimate": set()}
    for event in events():
        if event["type"] in ("payment.requested", "transfer.sent"):
            label = truth[event["payment_id"]][0]
            shapes[label] |= {(name, str(value).split("_")[0][:2]) for name, value in event.items() if "_id" in name}
            shapes[label] |= {("metadata", name) for name in event.get("metadata", ())}
            shapes[label] |= {(name, "") for name in event}
    ids = {(name, prefix) for name, prefix in shapes["fraud"]}
    assert ids <= shapes["legitimate"]
    text = b"".join(lines()[0])
    assert not any(pattern.encode() in text for pattern in NAMES)


def test_a_takeover_tells_its_story() -> None:
    truth = lines()[1]
    by_customer = collections.defaultdict[str, list[dict[str, Any]]](list)
    for event in events():
        by_customer[event["customer_id"]].append(event)
    victims = {
        event["customer_id"]
        for event in events()
        if event["type"] == "transfer.sent" and truth[event["payment_id"]][1] == "account_takeover"
    }
    assert victims
    for victim in victims:
        history = by_customer[victim]
        first = next(
            i for i, e in enumerate(history) if truth.get(e.get("payment_id"), ("", ""))[1] == "account_takeover"
        )
        kinds = [event["type"] for event in history[:first]]
        assert "account.password_changed" in kinds
        assert "account.contact_changed" in kinds
    assert sum(event["type"] == "account.login_failed" and event["customer_id"] in victims for event in events()) > 20


def test_late_events_stay_within_the_lateness() -> None:
    settings = Settings(seed=8, late_share=0.2)
    stream = [json.loads(line) for line in generate(20_000, settings)]
    greatest, late = 0, 0
    for event in stream:
        now = time_ms(event)
        late += now < greatest
        assert greatest - now <= DELAY_MS_MAX
        greatest = max(greatest, now)
    assert 0.1 * len(stream) < late < 0.3 * len(stream)
    plain = {json.loads(line)["event_id"] for line in generate(15_000, Settings(seed=8))}
    assert plain <= {event["event_id"] for event in stream}  # held back, not changed


def test_duplicates_are_the_same_bytes() -> None:
    stream = list(generate(10_000, Settings(seed=8, duplicate_share=0.1)))
    ids = [json.loads(line)["event_id"] for line in stream]
    assert len(set(stream)) == len(set(ids))
    assert 0.07 < 1.0 - len(set(ids)) / len(ids) < 0.13


def test_the_start_and_the_haste_can_be_set() -> None:
    start = 1_800_000_000_000
    stream = [json.loads(line) for line in generate(20_000, Settings(seed=1, start_ms=start, haste=500.0))]
    assert 0 <= time_ms(stream[0]) - start < rhythm.DAY_MS
    assert sum(event["type"] == "payment.settled" for event in stream) > 3000
    assert time_ms(stream[-1]) - start < 4 * rhythm.DAY_MS


@pytest.mark.parametrize(
    "wrong", [{"customers": 1}, {"rate": 0.0}, {"fraud_rate": 0.6}, {"haste": 0.5}, {"late_share": 2.0}, {"seed": -1}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_a_negative_number_of_events_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="events must be"):
        generate(-1)


def test_rendering_of_times_and_amounts() -> None:
    assert rfc3339(1_767_225_600_007) == "2026-01-01T00:00:00.007Z"
    assert [format_minor(5, e) for e in (0, 2, 3)] == ["5", "0.05", "0.005"]
    assert format_minor(1234567, 2) == "12345.67"


def test_draws_and_tokens() -> None:
    draw = Draw(1)
    ranks = collections.Counter(draw.rank(1000, 50.0) for _ in range(20_000))
    assert max(ranks) <= 999
    assert ranks[0] > 5 * (ranks[900] + 1)
    assert len({token("x", number) for number in range(50_000)}) == 50_000
    normals = [draw.normal() for _ in range(20_000)]
    assert abs(sum(normals) / len(normals)) < 0.05
    assert {draw.whole(2, 4) for _ in range(100)} == {2, 3, 4}


def test_the_engine_accepts_every_event() -> None:
    decoded = Decoder().decode(list(lines()[0][:20_000]))
    assert decoded.rejects == []
    assert decoded.columns.n == 20_000
    assert not decoded.masked.any()  # nothing looks like a card number


@functools.cache
def troubled() -> tuple[list[dict[str, Any]], dict[str, tuple[str, str]], list[list[str]]]:
    """A stream with many incidents: its events, their truth and the incidents."""
    truth: list[str] = []
    incidents: list[str] = []
    settings = Settings(seed=6, customers=2000, rate=6000.0, incident_rate=1.5, fraud_rate=0.0)
    stream = [json.loads(line) for line in generate(60_000, settings, labels=truth.append, incidents=incidents.append)]
    rows = [line.rstrip("\n").split(",") for line in truth]
    return stream, {row[0]: (row[1], row[2]) for row in rows}, [line.rstrip("\n").split(",") for line in incidents]


def test_incidents_are_told_and_come_in_order() -> None:
    stream, _, incidents = troubled()
    assert {kind for kind, *_ in incidents} == {OUTAGE, SILENCE}
    spans = [(datetime.fromisoformat(start), datetime.fromisoformat(end)) for _, _, start, end in incidents]
    first = datetime.fromisoformat(stream[0]["event_time"])
    assert (spans[0][0] - first).total_seconds() > (QUIET_DAYS - 1) * 86_400
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_an_outage_fails_most_payments_of_its_acquirer_and_of_no_other() -> None:
    stream, _, incidents = troubled()
    seen = {True: collections.Counter[str](), False: collections.Counter[str]()}
    outages = [incident for incident in incidents if incident[0] == OUTAGE]
    for event in stream:
        if event["type"] in ("payment.authorised", "payment.failed"):
            struck = any(
                event["acquirer"] == subject and start <= event["event_time"] < end
                for _, subject, start, end in outages
            )
            seen[struck][event["type"]] += 1
    assert seen[True].total() > 50
    assert seen[True]["payment.failed"] > 0.45 * seen[True].total()
    assert seen[False]["payment.failed"] < 0.02 * seen[False].total()


def test_a_silent_source_requests_nothing() -> None:
    stream, _, incidents = troubled()
    silences = [incident for incident in incidents if incident[0] == SILENCE]
    requests = [event for event in stream if event["type"] == "payment.requested"]
    assert {event["source"] for event in requests} == {"checkout", "terminals"}
    for _, subject, start, end in silences:
        during = [event for event in requests if start <= event["event_time"] < end]
        assert all(event["source"] != subject for event in during)
    assert len(silences) > 2


def test_mishaps_of_settlement_are_as_labelled() -> None:
    stream, truth, _ = troubled()
    captured: dict[str, str] = {}
    settled: dict[str, str] = {}
    for event in stream:
        if event["type"] in ("payment.captured", "payment.settled"):
            (captured if event["type"] == "payment.captured" else settled)[event["payment_id"]] = event["amount"]
    pattern = {payment: truth[payment][1] for payment in captured}
    assert set(pattern.values()) == {"", *MISHAPS}
    for payment, kind in pattern.items():
        assert truth[payment][0] == "legitimate"
        assert kind != "settlement_missing" or payment not in settled
        if payment in settled:
            assert (float(settled[payment]) < float(captured[payment])) == (kind == "settlement_differs")


def test_drift_changes_nothing_before_its_day_and_the_fraud_after_it() -> None:
    plain = Settings(seed=9, customers=2000, rate=4000.0, fraud_rate=0.05)
    drifting = Settings(seed=9, customers=2000, rate=4000.0, fraud_rate=0.05, drift_day=6.0)
    before, after = (list(generate(40_000, settings)) for settings in (plain, drifting))
    same = next(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b)
    start, changed = time_ms(json.loads(before[0])), time_ms(json.loads(after[same]))
    assert 5.5 * rhythm.DAY_MS < changed - start < 8.0 * rhythm.DAY_MS
    truth: list[str] = []
    later = [json.loads(line) for line in generate(40_000, drifting, labels=truth.append)]
    patterns = {row[0]: row[2] for row in (line.rstrip("\n").split(",") for line in truth)}
    tested = collections.defaultdict[bool, list[float]](list)
    for event in later:
        if event["type"] == "payment.requested" and patterns[event["payment_id"]] == "card_testing":
            day = (time_ms(event) - start) / rhythm.DAY_MS
            if not 6.0 < day < 7.5:
                tested[day > 7.0].append(float(event["amount"]) / PER_EURO[event["currency"]])
    assert max(tested[False]) < min(tested[True])


PER_EURO = {"EUR": 1.0} | {currency: float(str(rate)) for currency, rate in dict(rates()["rates"]).items()}  # type: ignore[call-overload]


def test_the_rates_cover_every_currency_of_the_stream() -> None:
    assert rates()["base"] == "EUR"
    assert set(PER_EURO) == set(EXPONENTS)


def test_a_cloned_card_is_used_too_far_away_too_soon() -> None:
    truth = lines()[1]
    seen: dict[str, tuple[int, float]] = {}
    speeds = []
    for event in events():
        if event["type"] == "payment.requested" and "lon" in event and "card_id" in event:
            now, before = (time_ms(event), event["lon"]), seen.get(event["card_id"])
            if truth[event["payment_id"]][1] == "cloned_card" and before and abs(now[1] - before[1]) > 20:
                speeds.append(abs(now[1] - before[1]) / max(now[0] - before[0], 1) * 3_600_000)
            seen[event["card_id"]] = now
    assert len(speeds) >= 3
    assert min(speeds) > 5.0  # degrees of longitude an hour
