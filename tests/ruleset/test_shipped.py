"""The shipped rules: they compile, their own tests hold, and they keep to what the pack promises."""

import collections
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.core.decode import Decoder
from engine.domain.fields import ENTITY_FIELDS, STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.labels import LEGITIMATE
from engine.domain.rates import Rates
from engine.features.columns import label_rows
from engine.features.definition import LABEL_AGGREGATES
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.ruleset import RuleSet, compile, defaults, ir, report, testing
from engine.ruleset.aggregates import canonical
from tests.features.oracle import Store

RULES = Path(__file__).resolve().parents[2] / "rules"


@pytest.fixture(scope="module")
def shipped() -> RuleSet:
    return report.load(RULES)


def test_the_pack_compiles_and_its_tests_hold(shipped: RuleSet) -> None:
    assert report.check(RULES).ok
    failed = [(o.rule.id, o.case.line) for o in testing.run(shipped) if not o.ok]
    assert failed == []
    assert len(shipped.rules) >= 60
    assert len(shipped.observers) >= 8


def test_every_rule_is_described_owned_and_tested_for_hit_and_miss(shipped: RuleSet) -> None:
    for rule in [*shipped.rules, *shipped.observers]:
        assert rule.description, rule.id
        assert rule.owner, rule.id
        assert {case.hit for case in rule.tests} == {True, False}, rule.id
    reasons = [rule.reason for rule in [*shipped.rules, *shipped.observers]]
    assert len(set(reasons)) == len(reasons)


def test_the_pack_shows_every_kind_of_rule(shipped: RuleSet) -> None:
    assert any(rule.allow for rule in shipped.rules)
    assert any(rule.hard for rule in shipped.rules)
    assert any(rule.mode == "shadow" for rule in shipped.rules)
    assert {score for rule in shipped.rules for score in rule.scores} == {"anomaly_top", "fraud", "fraud_top"}
    assert any(rule.decision is None for rule in shipped.rules)


OF_A_CUSTOMER = {
    ("customer",),
    ("card",),
    ("device",),
    ("ip",),
    ("email",),
    ("shipping",),
    ("counterparty",),
    ("payment",),
}
SHARED_BY_ALL = {("merchant",), ("terminal",), ("acquirer",), ("card_bin",)}
"""Entities of which a customer brings none of its own: their logs do not grow with the number of customers."""


def test_the_pack_keeps_to_few_logs_and_short_windows(shipped: RuleSet) -> None:
    assert {definition.by for definition in shipped.features} == OF_A_CUSTOMER | SHARED_BY_ALL
    windows: dict[tuple[str, ...], int] = collections.Counter()
    for definition in shipped.features:
        windows[definition.by] = max(windows[definition.by], definition.window_ms or 0)
    # What a customer usually pays takes 90 days to know: the one log that goes back so far.
    assert windows.pop(("customer",)) <= 90 * 86_400_000
    assert max(windows.values()) <= 30 * 86_400_000
    of_payments = [definition.window_ms for definition in shipped.features if definition.by == ("payment",)]
    assert max(window for window in of_payments if window is not None) <= 7 * 86_400_000


def month(base_ms: int) -> Iterator[bytes]:
    """Ten purchases in thirty days, each asked for, authorised, captured and settled; two transfers and ten logins."""
    draw = random.Random(4)
    who = {"customer_id": "c_5f3759df", "ip_country": "FR"}
    for number in range(12):
        at_ms = base_ms + int((number * 2.4 + draw.random()) * 86_400_000)
        origin = {"device_id": f"dev_{number % 2}", "ip": f"10.1.1.{number % 3}"}
        money = {**who, "payment_id": f"pay_{number}", "amount": f"{draw.uniform(5, 90):.2f}", "currency": "EUR"}
        shop = {"merchant_id": f"m_{draw.randrange(8)}", "merchant_category": "5411", "merchant_country": "FR"}
        card = {"card_id": "card_1", "card_bin": "416302", "card_country": "FR", "acquirer": "acq_1", "channel": "web"}
        asked = {**origin, "email_hash": "em_1", "shipping_hash": "sh_1"}
        steps: list[tuple[int, str, dict[str, str]]] = [(-60, "account.login", {**who, **origin})]
        if number < 10:
            steps += [(0, "payment.requested", {**money, **shop, **card, **asked})]
            steps += [(2, "payment.authorised", {**money, **shop, **card, **asked})]
            steps += [(9, "payment.captured", {**money, **shop, **card})]
            steps += [(130_000, "payment.settled", {**money, **shop, **card})]
        else:
            steps += [(0, "transfer.sent", {**money, **origin, "counterparty_id": f"c_{number}", "channel": "app"})]
        for delay, kind, members in steps:
            event = {"event_id": f"{number}{kind}", "type": kind, "event_time": at_ms + delay * 1000, **members}
            yield json.dumps(event).encode()


def test_the_state_of_an_ordinary_customer_fits_its_budget(shipped: RuleSet) -> None:
    """The log of the customer in 1 KB; those of cards, devices, addresses, payees and payments in 6 KB with keys."""
    history = sorted(month(1_767_225_600_000), key=lambda line: json.loads(line)["event_time"])
    columns = Decoder(Rates("EUR", {})).decode(history).columns
    assert columns.n == 54
    asks = np.array([hash64(kind) for kind in ("payment.requested", "transfer.sent")], np.uint64)
    columns.decides[:] = np.isin(columns.string("type"), asks)  # as admission would
    assert columns.decides.sum() == 12
    asked = columns.take(np.flatnonzero(columns.decides))
    plan = Plan.compile(shipped.features)
    state, store = FeatureState(plan), Store()
    known = label_rows(  # every payment is known to be good eight days later
        asked.time_ms + 8 * 86_400_000, np.full(asked.n, LEGITIMATE, np.int8), np.full(asked.n, 0.9), asked.strings
    )
    for batch in (columns, known):
        store.fill(state, batch)
        store.apply(state.update(batch)[1])
    entities = {STRING_INDEX[field]: entity for entity, field in ENTITY_FIELDS.items()}
    assert any(group.labels for group in plan.groups)
    names = {group.id: tuple(entities[int(row)] for row in group.by_rows) for group in plan.groups}
    sizes: dict[tuple[str, ...], int] = collections.Counter()
    for key, value in store.data.items():
        sizes[names[int.from_bytes(key[1:3], "little")]] += len(value)
    assert sizes[("customer",)] <= 1024, sizes
    kept = sum(sizes[by] for by in OF_A_CUSTOMER - {("customer",)})
    assert kept + KEY_BYTES * len(store.data) <= 6 * 1024, sizes


KEY_BYTES = 90  # what Redis needs for a key of eleven bytes with its expiry, beside the value


def test_the_defaults_are_the_shipped_models(shipped: RuleSet) -> None:
    """Feature for feature, once the names that only the pack gives to aggregates are spelt out."""
    empty = compile({"t.yaml": "rules: []"})
    aggregates = {definition.name: canonical(definition) for definition in shipped.features}

    def spelt_out(node: ir.Node) -> str:
        text = node.text.replace(defaults.PREFIX, "")
        for part in ir.walk(node):
            if isinstance(part, ir.Feature) and part.name in aggregates:
                text = re.sub(rf"\b{re.escape(part.name)}\b(?!')", aggregates[part.name].replace("\\", "\\\\"), text)
        return text

    ours = {entry.name: (spelt_out(entry.expr), entry.kind) for entry in shipped.derived}
    theirs = {entry.name.removeprefix(defaults.PREFIX): (entry.expr.text, entry.kind) for entry in empty.derived}
    assert list(theirs) == list(defaults.FEATURES)
    for name, (text, kind) in theirs.items():
        assert ours[name] == (text.replace(defaults.PREFIX, ""), kind)

    def named(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(defaults.PREFIX + name for name in names)

    anomaly, fraud = shipped.models.anomaly, shipped.models.fraud
    assert anomaly is not None
    assert fraud is not None
    assert replace(anomaly, inputs=named(anomaly.inputs)) == empty.models.anomaly
    assert replace(fraud, inputs=named(fraud.inputs), plain=named(fraud.plain)) == empty.models.fraud


def test_the_anomaly_score_rests_on_what_it_says(shipped: RuleSet) -> None:
    """Nothing of labels in the label-free detector, not through any feature that it reads."""
    assert shipped.models.fraud is not None
    labelled = {definition.name for definition in shipped.features if definition.agg in LABEL_AGGREGATES}
    derived = {entry.name: entry.expr for entry in shipped.derived}
    left, seen = list(shipped.models.fraud.plain), set()
    while left:
        name = left.pop()
        seen.add(name)
        left += (
            [part.name for part in ir.walk(derived[name]) if isinstance(part, ir.Feature)] if name in derived else []
        )
    assert labelled
    assert seen.isdisjoint(labelled)
