"""Rings after rewards, planted beside everybody else."""

import collections
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main
from engine.core.decode import Decoder
from engine.generator import Settings, generate
from engine.generator.abuse import KINDS

PLAIN = Settings(seed=6, customers=200, rate=600.0, world="engagement")
SHARE = 0.1
EVENTS = 60_000


def settings(share: float) -> Settings:
    return Settings(seed=6, customers=200, rate=600.0, world="engagement", abuse=share)


@functools.cache
def told() -> tuple[list[bytes], dict[str, tuple[str, str]]]:
    """A stream, and the kind and the ring of its abusers."""
    lines: list[str] = []
    stream = list(generate(EVENTS, settings(SHARE), abusers=lines.append))
    return stream, {who: (kind, ring) for who, kind, ring in (line.strip().split(",") for line in lines)}


@functools.cache
def acts() -> dict[str, list[dict[str, Any]]]:
    """What each abuser does."""
    stream, abusers = told()
    found = collections.defaultdict(list)
    for event in map(json.loads, stream):
        if event["customer_id"] in abusers:
            found[event["customer_id"]].append(event)
    return found


def rings(kind: str) -> list[list[str]]:
    """The members of each ring of a kind who act in the stream, of those with three and more."""
    found = collections.defaultdict(list)
    for who, (what, ring) in told()[1].items():
        if what == kind and who in acts():
            found[ring].append(who)
    return [members for members in found.values() if len(members) >= 3]


def named(who: str, field: str) -> set[str]:
    return {event[field] for event in acts()[who] if field in event}


def test_the_events_of_the_others_are_those_of_the_stream_without_it() -> None:
    stream, abusers = told()
    others = [line for line in stream if json.loads(line)["customer_id"] not in abusers]
    assert len(others) < 0.97 * EVENTS
    assert others == list(generate(len(others), PLAIN))
    assert list(generate(5_000, settings(0.0))) == list(generate(5_000, PLAIN))


def test_events_are_in_order_each_its_own_and_the_engine_accepts_them() -> None:
    stream, _ = told()
    times = [json.loads(line)["event_time"] for line in stream]
    assert times == sorted(times)
    assert len({json.loads(line)["event_id"] for line in stream}) == EVENTS
    assert Decoder().decode(stream[-20_000:]).rejects == []
    again: list[str] = []
    assert list(generate(9_000, settings(SHARE), abusers=again.append)) == list(itertools.islice(stream, 9_000))


def test_about_that_share_of_payments_is_theirs_and_all_kinds_occur() -> None:
    stream, abusers = told()
    paid = [event["customer_id"] for event in map(json.loads, stream) if event["type"] == "payment.requested"]
    share = sum(who in abusers for who in paid) / len(paid)
    assert 0.5 * SHARE < share < 1.5 * SHARE
    kinds = collections.Counter(kind for kind, _ in abusers.values())
    assert set(kinds) == {kind.name for kind in KINDS}
    assert not any(
        event["type"] == "label.assigned" and event["label"] == "fraud" for one in acts().values() for event in one
    )


@pytest.mark.parametrize("kind", ["farm", "coupon_cluster"])
def test_accounts_of_a_ring_share_a_device_or_a_card(kind: str) -> None:
    assert len(rings(kind)) > 5
    for members in rings(kind):
        shared = [set.intersection(*found) for field in ("device_id", "card_id")
                  if (found := [names for who in members if (names := named(who, field))])]  # fmt: skip
        assert any(shared), members


def test_farms_pay_once_and_clusters_just_over_a_hundred_euros_at_one_merchant() -> None:
    for who in itertools.chain(*rings("farm")):
        assert sum(event["type"] == "payment.requested" for event in acts()[who]) <= 1
    for members in rings("coupon_cluster"):
        asked = [event for who in members for event in acts()[who] if event["type"] == "payment.requested"]
        assert len({event["merchant_id"] for event in asked}) <= 1
        assert all(100.0 <= float(event["amount"]) <= 140.0 for event in asked if event["currency"] == "EUR")


def test_self_referrals_name_the_referrer_and_share_device_card_or_address() -> None:
    for members in rings("self_referral"):
        first = told()[1][members[0]][1]
        referees = [who for who in members if who != first]
        assert all(named(who, "referrer_id") == {first} for who in referees)
        for who in referees:
            common = [named(who, field) & named(first, field) for field in ("device_id", "card_id", "shipping_hash")]
            assert any(common) or len(acts()[who]) < 12


def test_cyclers_give_back_what_they_paid_and_some_have_spent_the_points_before() -> None:
    done = [acts()[who] for who, (kind, _) in told()[1].items() if kind == "refund_cycling" and who in acts()]
    back = [event for one in done for event in one if event["type"] == "payment.refunded"]
    settled = {
        event["payment_id"]: event["amount"] for one in done for event in one if event["type"] == "payment.settled"
    }
    assert len(back) > 30
    assert all(settled[event["payment_id"]] == event["amount"] for event in back)
    spent = sum(any(event["type"] == "points.redeemed" for event in one) for one in done)
    assert 0 < spent < len(done)


def gen(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, bytes, str]:
    code = main(["gen", "--events", "3000", *arguments])
    out, err = capsysbinary.readouterr()
    return code, out, err.decode()


def test_the_command_plants_abuse_and_says_whose(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    file = tmp_path / "abusers.csv"
    where = ("--world", "engagement", "--customers", "200", "--rate", "600", "--seed", "6")
    code, out, err = gen(capsysbinary, *where, "--abuse", "0.1", "--abusers", str(file))
    assert (code, err) == (0, "")
    lines: list[str] = []
    assert out == b"".join(generate(3000, settings(0.1), abusers=lines.append))
    assert file.read_text() == "customer_id,kind,ring\n" + "".join(lines)
    assert lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--abuse", "0.1"], "needs the world of engagement"),
        (["--abuse", "0.6", "--world", "engagement"], "abuse must be from 0.0 to 0.5, not 0.6"),
        (["--abuse", "nan", "--world", "engagement"], "abuse must be from 0.0 to 0.5, not nan"),
        (["--abusers", "FILE", "--world", "engagement"], "--abuse plants"),
    ],
)
def test_what_cannot_be_planted_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    file = tmp_path / "abusers.csv"
    code, out, err = gen(capsysbinary, *(str(file) if one == "FILE" else one for one in arguments))
    assert (code, out) == (2, b"")
    assert said in err
    assert len(err.splitlines()) == 1
    assert not file.exists()
