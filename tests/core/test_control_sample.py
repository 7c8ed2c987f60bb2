"""The control sample: which declines go through, what is said of them, what they count for where labels are learned."""

import json
import random
from typing import Any

import numpy as np
import pytest

from engine.core.control_sample import CONTROL_SAMPLE, WEIGHT_MAX, ControlSample, ControlSettings
from engine.core.effects import Effects
from engine.core.instants import parse_time
from engine.core.label_desk import LabelSettings
from engine.core.models import Models
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.domain.draws import drawn
from engine.domain.rates import Rates
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.verdict import Verdicts
from engine.scoring.learners.boosted_trees import EXPERTS, choose
from engine.scoring.rows import LabelledRows
from engine.scoring.training_set import TrainingSet
from tests.core.campaign_world import START, campaigns, rewards, run
from tests.core.rig import DAY, HOUR, MINUTE

RULES = """
lists: {blocked: {values: [m_3]}, risky: {values: ["7995"]}}
features:
  - {name: pace, agg: count, by: customer, window: 1h}
  - {name: amt, expr: amount}
  - {name: risk_of_trade, expr: "1 if merchant_category in lists.risky else 0"}
  - {name: risk_again, expr: risk_of_trade * 2}
models:
  fraud: {inputs: [pace, amt]}
rules:
  - {id: big, when: amount > 60, then: {decision: decline, reason: BIG, score: 40}}
  - {id: middling, when: amount > 40, then: {decision: review, reason: MIDDLING}}
  - {id: law, when: merchant_id == 'm_2', then: {decision: decline, reason: LAW}, hard: true}
  - {id: listed, when: merchant_id in lists.blocked, then: {decision: decline, reason: LISTED}}
  - {id: derived, when: risk_again > 1 and amount > 5, then: {decision: decline, reason: TRADE}}
  - {id: hard_look, when: merchant_id == 'm_4', then: {decision: review, reason: LOOK}, hard: true}
  - {id: aside, when: merchant_id == 'm_5', then: {decision: decline, reason: SHADOWED}, hard: true, mode: shadow}
"""
RULESET = compile_rules({"rules.yaml": RULES})
SHARE = 0.3


def settings(share: float = SHARE, amount_max: float = 90.0, salt: str = "pepper") -> CoreSettings:
    return CoreSettings(
        control=ControlSettings(share, amount_max, salt),
        labels=LabelSettings(maturity_ms=6 * HOUR),
        rates=Rates("EUR", {"USD": "2"}),
    )


def payments(n: int, seed: int = 1) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {
            "event_id": f"e{number}",
            "type": "payment.requested",
            "event_time": START + number * MINUTE,
            "customer_id": f"c{draw.randrange(40)}",
            "payment_id": f"p{number}",
            "amount": draw.choice([10, 50, 70, 85, 120]),
            "currency": draw.choice(["EUR", "EUR", "USD", "GBP"]),
            "merchant_id": f"m_{draw.randrange(8)}",
            "merchant_category": draw.choice(["5411", "5411", "7995"]),
        }
        for number in range(n)
    ]


def judged(core: CoreSettings, events: list[dict[str, Any]], size: int = 500) -> tuple[list[Any], Effects]:
    """Decisions by payment, alerts among the outputs, and what the batches counted."""
    partition, total, outputs = Partition(RULESET, core, backed=False), Effects(), []
    records = [json.dumps(event).encode() for event in events]
    for start in range(0, len(records), size):
        effects = partition.apply(partition.decode(records[start : start + size]), lambda i: {"offset": i})
        outputs += effects.outputs
        total.control += effects.control
        for name, count in effects.outcomes.items():
            total.outcomes[name] = total.outcomes.get(name, 0) + count
    return outputs, total


def decisions(outputs: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in outputs if one.kind == "decision"]


def possible(event: dict[str, Any], amount_max: float = 90.0) -> bool:
    """Whether a payment may be of the sample, from the rules' text."""
    base = {"EUR": event["amount"], "USD": event["amount"] / 2}.get(event["currency"], float("inf"))
    guarded = event["merchant_id"] in ("m_2", "m_3", "m_4") or event["merchant_category"] == "7995"
    return event["amount"] > 60 and not guarded and base <= amount_max


def expected(event: dict[str, Any]) -> bool:
    """Whether it is."""
    return possible(event) and drawn("pepper", "control", event["customer_id"], event["payment_id"]) < SHARE


def test_those_go_through_that_are_drawn_soft_and_small_and_nobody_else() -> None:
    events = payments(3000)
    plain, with_sample = judged(settings(share=0.0), events), judged(settings(), events)
    sampled = 0
    for event, before, after in zip(events, decisions(plain[0]), decisions(with_sample[0]), strict=True):
        if not expected(event):
            assert after == before
            continue
        sampled += 1
        assert before["decision"] == "decline"
        assert after["decision"] == "approve"
        codes = [reason["code"] for reason in after.pop("reasons")]
        assert codes == [*(reason["code"] for reason in before.pop("reasons")), CONTROL_SAMPLE]
        assert {**before, "decision": "approve"} == after
    assert sampled > 100
    assert (plain[1].control, with_sample[1].control) == (0, sampled)
    alerts = [
        {json.loads(one.data)["event_id"] for one in found if one.kind == "alert"} for found, _ in (plain, with_sample)
    ]
    assert alerts[0] - alerts[1] == {event["event_id"] for event in events if expected(event)}
    assert with_sample[1].outcomes["approve"] == plain[1].outcomes["approve"] + sampled


def test_about_the_share_of_what_may_go_through_does_and_another_salt_draws_others() -> None:
    events = payments(6000, seed=2)
    one, other = (
        {d["payment_id"] for d in decisions(judged(settings(salt=salt), events)[0]) if _sampled(d)}
        for salt in ("pepper", "salt")
    )
    may = sum(possible(event) for event in events)
    assert abs(len(one) / may - SHARE) < 4 * (SHARE * (1 - SHARE) / may) ** 0.5
    assert len(one & other) < 0.5 * len(one)


def _sampled(decision: dict[str, Any]) -> bool:
    return any(reason["code"] == CONTROL_SAMPLE for reason in decision["reasons"])


@pytest.mark.parametrize("size", [1, 7, 200])
def test_batches_change_nothing(size: int) -> None:
    events = payments(400, seed=3)
    assert judged(settings(), events, size)[0] == judged(settings(), events, 400)[0]


def test_an_amount_above_the_greatest_or_without_a_rate_stays_declined() -> None:
    events = [event for event in payments(3000, seed=4) if event["currency"] != "EUR"]
    sampled = [d["payment_id"] for d in decisions(judged(settings(amount_max=40.0), events)[0]) if _sampled(d)]
    by_id = {event["payment_id"]: event for event in events}
    assert sampled
    assert {by_id[one]["currency"] for one in sampled} == {"USD"}
    assert max(by_id[one]["amount"] for one in sampled) <= 80


def test_the_sample_matures_and_stands_for_what_was_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[LabelledRows] = []
    monkeypatch.setattr(Models, "learn", lambda self, rows: learned.append(rows))
    events = payments(2000, seed=5)
    told = [event for event in events if expected(event)][::3]
    for number, event in enumerate(told):
        events.append({"event_id": f"l{number}", "type": "label.assigned", "customer_id": event["customer_id"],
                       "payment_id": event["payment_id"], "label": "fraud",
                       "event_time": event["event_time"] + 5 * HOUR})  # fmt: skip
    events.append({"event_id": "end", "type": "account.login", "customer_id": "c0", "event_time": START + 5 * DAY})
    events.append({"event_id": "last", "type": "account.login", "customer_id": "c1", "event_time": START + 5 * DAY})
    events.sort(key=lambda event: event["event_time"])
    outputs = judged(settings(), events)[0]
    sampled = {d["event_id"] for d in decisions(outputs) if _sampled(d)}
    rows = [one for rows in learned for one in zip(rows.share.tolist(), rows.fraud.tolist(), rows.weight, strict=True)]
    control = [one for one in rows if one[0] < 0.0]
    assert len(control) == len(sampled)
    assert {round(share, 6) for share, *_ in control} == {-SHARE}
    assert sum(fraud for _, fraud, _ in control) == len(told)
    declines = sum(possible(event) for event in events if event["type"] == "payment.requested")
    assert abs(sum(weight for *_, weight in control) / declines - 1.0) < 0.25


def rows_of(fraud: list[int], share: list[float]) -> LabelledRows:
    n = len(fraud)
    flat = np.zeros(n, np.float32)
    return LabelledRows(
        np.arange(n, dtype=np.uint64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.array(fraud, np.uint8),
        np.zeros((n, 2), np.uint16), flat, flat, flat, np.array(share, np.float32),
    )  # fmt: skip


def test_rows_of_the_sample_count_for_what_they_stand_for_and_are_never_thinned_out() -> None:
    rows = rows_of([0, 1, 0, 1, 0, 1], [0.5, 0.5, -0.25, -0.25, 0.0, 0.0])
    with np.errstate(divide="ignore"):
        assert rows.weight.tolist() == [2.0, 1.0, 4.0, 4.0, np.inf, 1.0]
    kept = TrainingSet(2, 28, backed=False)
    kept.append(0, rows)
    assert kept.n == 5
    n = 4000
    many = rows_of([0] * n + [0, 1], [1.0] * n + [-0.25, -0.25])
    places, weight = choose(many, EXPERTS[0]._replace(rows_max=400), 7)
    assert {n, n + 1} <= set(places.tolist())
    assert weight[-2:].tolist() == [4.0, 4.0]
    assert len(places) < 0.2 * n
    assert abs(weight[:-2].sum() - n) < 0.2 * n


def test_one_row_counts_for_twenty_at_most() -> None:
    sample, kept = ControlSample(RULESET, ControlSettings(share=0.01)), np.full(3, 0.5, np.float32)
    verdicts = Verdicts(np.zeros(3, np.int8), np.zeros(3), [()] * 3, [()] * 3, [()] * 3, [1])
    assert sample.shares(verdicts, kept).tolist() == [0.5, np.float32(-1 / WEIGHT_MAX), 0.5]
    assert kept.tolist() == [0.5, 0.5, 0.5]


def test_what_goes_through_is_doubted_where_rewards_are_granted() -> None:
    """Held twice as long, as what is reviewed."""
    records = [
        json.dumps({"event_id": f"{kind}{number}", "type": kind, "customer_id": "c1", "payment_id": f"p{number}",
                    "amount": amount, "currency": "EUR", "event_time": START + number * DAY + late,
                    "merchant_category": "5411"}).encode()
        for number, amount in ((0, 30), (1, 490))
        for kind, late in (("payment.requested", 0), ("payment.settled", HOUR))
    ]  # fmt: skip
    core = CoreSettings(control=ControlSettings(1.0, 1_000.0))
    found = {
        r.cause_event_id: r for r in rewards(run(campaigns(), records, 10, settings=core)[0]) if r.campaign_id == "base"
    }
    holds = {}
    for number in (0, 1):
        entry = found[f"payment.settled{number}"]
        holds[number] = parse_time(entry.available_at or "") - (START + number * DAY + HOUR)
    assert holds[1] == 2 * holds[0] > 0
    refused = run(campaigns(), records, 10)[0]
    assert {r.cause_event_id for r in rewards(refused) if r.campaign_id == "base"} == {"payment.settled0"}
