"""The world of engagement: customers who come back, lapse, refer, spend and leave; an effect where it is planted."""

import collections
import functools
import hashlib
import itertools
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.core.decode import Decoder
from engine.core.settings import CoreSettings
from engine.domain.rates import Rates
from engine.engagement.marketing.granting import Granting, Rules
from engine.engagement.models.effect import Lift as Measured
from engine.generator import Settings, generate
from engine.generator.lift import Lift
from engine.generator.rhythm import DAY_MS
from engine.generator.stream import START_MS
from engine.generator.world import rates
from engine.ruleset.ruleset import RuleSet
from tests.core.campaign_world import campaigns, run

SETTINGS = Settings(seed=4, customers=300, rate=1200.0, world="engagement")
EVENTS = 60_000
SHARE = 0.05


@functools.cache
def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in generate(EVENTS, SETTINGS)]


def time_ms(event: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(event["event_time"]).timestamp() * 1000)


def of(kind: str) -> list[dict[str, Any]]:
    return [event for event in events() if event["type"] == kind]


def test_the_stream_of_a_seed_never_changes() -> None:
    digest = hashlib.sha256(b"".join(generate(5000, Settings(seed=42, customers=200, world="engagement")))).hexdigest()
    assert digest == "86c8e921722a3cb649dbe1d3e83cf8197bfba9c02481889b64b267ad75e17dfa"


def test_events_are_in_order_and_each_its_own_and_the_engine_accepts_them() -> None:
    times = [time_ms(event) for event in events()]
    assert times == sorted(times)
    assert len({event["event_id"] for event in events()}) == EVENTS
    decoded = Decoder().decode([json.dumps(event).encode() for event in events()[:20_000]])
    assert decoded.rejects == []
    assert list(generate(1000, SETTINGS)) == list(itertools.islice(generate(EVENTS, SETTINGS), 1000))


def test_what_engagement_lives_of_occurs() -> None:
    seen = collections.Counter(event["type"] for event in events())
    for kind in ("payment.settled", "payment.refunded", "account.registered", "account.consent_changed",
                 "account.erased", "feedback.submitted", "points.redeemed", "referral.created"):  # fmt: skip
        assert seen[kind] > 0, kind
    assert seen["payment.settled"] > 0.15 * EVENTS
    days = (time_ms(events()[-1]) - time_ms(events()[0])) / DAY_MS
    assert 0.8 * SETTINGS.rate < EVENTS / days < 1.3 * SETTINGS.rate


def test_customers_come_back_at_their_own_pace_and_some_fall_silent_and_return() -> None:
    paid: dict[str, list[int]] = collections.defaultdict(list)
    for event in of("payment.requested"):
        paid[event["customer_id"]].append(time_ms(event))
    gaps = {who: [b - a for a, b in itertools.pairwise(times) if b - a > DAY_MS / 4] for who, times in paid.items()}
    medians = {who: sorted(found)[len(found) // 2] for who, found in gaps.items() if len(found) > 8}
    assert len(medians) > 200
    paces = sorted(medians.values())
    assert paces[len(paces) * 9 // 10] > 1.8 * paces[len(paces) // 10]
    usual = [0.4 < gap / medians[who] < 2.5 for who in medians for gap in gaps[who]]
    assert sum(usual) > 0.85 * len(usual)
    assert sum(max(gaps[who]) > 3 * medians[who] for who in medians) > 20


def test_who_was_referred_names_who_referred_them_and_who_is_erased_does_not_come_back() -> None:
    referrers = {event["referee_id"]: event["customer_id"] for event in of("referral.created")}
    joined = {event["customer_id"]: event.get("referrer_id") for event in of("account.registered")}
    assert len(referrers) > 10
    pairs = [(referrers[who], joined[who]) for who in referrers if who in joined]
    assert pairs
    assert all(told == said for told, said in pairs)
    erased = {event["customer_id"]: time_ms(event) for event in of("account.erased")}
    visits = [event for event in of("account.login") if event["customer_id"] in erased]
    assert all(time_ms(event) - erased[event["customer_id"]] < DAY_MS for event in visits if "device_id" in event)


def test_redemptions_have_references_of_their_own_and_whole_points() -> None:
    spent = of("points.redeemed")
    assert len({event["redemption_id"] for event in spent}) == len(spent)
    assert {event["points"] for event in spent} <= {100, 200, 500}


RULES = """
campaigns:
  - id: push
    version: 3
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: 50}
    occasion: customer
    caps: [{times: 1}]
    holdout: 50%
    valid_from: 2026-02-01T00:00:00Z
"""
FROM_MS = START_MS + 31 * DAY_MS


def lift(share: float) -> Lift:
    return Lift(share, "push:3", 0.5, from_ms=FROM_MS)


def test_a_lift_changes_amounts_alone_and_those_of_who_was_reached_and_not_held_out() -> None:
    settings: dict[str, Any] = {"seed": 4, "customers": 100, "rate": 400.0, "world": "engagement", "fraud_rate": 0.0}
    plain, lifted = ([json.loads(line) for line in generate(18_000, Settings(**settings, lift=planted))]
                     for planted in (None, lift(0.5)))  # fmt: skip
    reached: dict[str, int] = {}
    ratios = collections.Counter[bool]()
    begun: dict[str, int] = {}
    for before, after in zip(plain, lifted, strict=True):
        who, at = after.get("customer_id"), time_ms(after)
        changed = before.pop("amount", None) != after.pop("amount", None)
        assert before == after
        if after["type"] == "payment.requested":
            begun[after["payment_id"]] = at
        if after["type"] == "payment.settled" and at >= FROM_MS:
            reached.setdefault(who, at)
        if after["type"] == "payment.requested":
            moved = reached.get(who, at) < at and not lift(0.5).held(who)
            assert changed == moved
            ratios[moved] += 1
    assert min(ratios.values()) > 300


def test_the_planted_effect_is_found_and_the_interval_narrows() -> None:
    """What settles, is refunded or labelled is enough for that; the rest only costs time."""
    ruleset = campaigns(RULES)
    settings = Settings(seed=3, customers=800, rate=1000.0, world="engagement", fraud_rate=0.005, lift=lift(SHARE))
    kinds = (b'"payment.settled"', b'"payment.refunded"', b'"payment.chargeback"', b'"label.assigned"')
    until = b'"event_time":"2026-03-08'
    stream = itertools.takewhile(lambda line: until not in line, generate(200_000, settings))
    records = [line for line in stream if any(kind in line for kind in kinds)]
    few, many = (measured(ruleset, records, part) for part in (2, 1))
    assert few.relative.low <= SHARE <= few.relative.high
    assert many.relative.low <= SHARE <= many.relative.high
    assert many.treated + many.held > 1.5 * (few.treated + few.held)
    assert many.relative.high - many.relative.low < 0.85 * (few.relative.high - few.relative.low)


def measured(ruleset: RuleSet, records: list[bytes], part: int) -> Measured:
    """What the engine says of the campaign after the records of one in `part` customers."""
    some = [line for line in records if int(json.loads(line)["customer_id"][2:], 16) % part == 0]
    known = rates()
    core = CoreSettings(rates=Rates(str(known["base"]), known["rates"]))  # type: ignore[arg-type]
    partition = run(ruleset, some, 2000, settings=core)[2]
    found = partition._engagement._campaigning._effects.of["push:3"].lift()
    assert found is not None
    return found


def test_the_generator_and_the_engine_hold_out_the_same_customers() -> None:
    ruleset, planted = campaigns(RULES), Lift(SHARE, "push:3", 0.5, everyone=0.2, salt="pepper")
    granting = Granting(list(ruleset.campaigns), ruleset.conditions, Rules(salt="pepper", holdout=0.2))
    names = [f"c_{number:08x}" for number in range(2000)]
    held = [granting.held(ruleset.campaigns[0], name) for name in names]
    assert held == [planted.held(name) for name in names]
    assert 0.55 < sum(held) / len(held) < 0.65


def gen(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, bytes, str]:
    code = main(["gen", *arguments])
    out, err = capsysbinary.readouterr()
    return code, out, err.decode()


def test_the_command_takes_who_and_when_from_the_campaign(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    (tmp_path / "push.yaml").write_text(RULES)
    common = ("--world", "engagement", "--customers", "50", "--rate", "300", "--events", "12000")
    code, out, _ = gen(capsysbinary, *common, "--lift", "0.3", "--campaign", "push", "--rules", str(tmp_path))
    assert code == 0
    expected = Settings(customers=50, rate=300.0, world="engagement", lift=Lift(0.3, "push:3", 0.5, from_ms=FROM_MS))
    assert out == b"".join(generate(12_000, expected))
    assert out != b"".join(generate(12_000, Settings(customers=50, rate=300.0, world="engagement")))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lift", "0.05"], "belong together"),
        (["--lift", "0.05", "--campaign", "push"], "belong together"),
        (["--world", "engagement", "--campaign", "push"], "belong together"),
        (["--world", "engagement", "--lift", "0.05", "--campaign", "nobody"], "no campaign 'nobody'"),
        (["--world", "engagement", "--lift", "0.05", "--campaign", "calendar"], "set off by birthday"),
        (["--world", "engagement", "--lift", "0.05", "--campaign", "all"], "holds nobody out"),
        (["--world", "engagement", "--lift", "99", "--campaign", "push"], "lift must be"),
    ],
)
def test_what_cannot_be_planted_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    more = """
  - id: all
    on: payment.settled
    when: amount > 0
    then: {reward: points, amount: 5}
    caps: [{times: 1}]
  - id: calendar
    on: {timer: birthday, at: "09:00"}
    when: customer.payments >= 1
    then: {reward: points, amount: 5}
    caps: [{times: 1, per: year}]
    holdout: 10%
"""
    (tmp_path / "push.yaml").write_text(RULES + more)
    code, out, err = gen(capsysbinary, "--events", "10", "--rules", str(tmp_path), *arguments)
    assert (code, out) == (2, b"")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"world": "moon"}, {"lift": lift(0.1)}, {"world": "engagement", "customers": 2**21}],
    ids=["world", "lift", "customers"],
)
def test_settings_that_do_not_go_together_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)) if "customers" not in wrong else "customers"):
        Settings(**wrong)
