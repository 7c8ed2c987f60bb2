"""Features are worked out where somebody reads them, and what is read is the same."""

import numpy as np

from engine.core.decode import Decoder
from engine.core.wanted import Wanted
from engine.domain.labels import FRAUD
from engine.domain.ops import SET, unpack
from engine.features import tables as t
from engine.features.columns import label_rows
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.generator import generate
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read
from engine.ruleset.observing import of_types
from tests.core.test_partition import STREAM

RULES = """
features:
  - {name: h4_failed, agg: count, by: acquirer, window: 1h, where: "type == 'payment.failed'"}
  - {name: h4_declined, agg: count, by: acquirer, window: 1h, where: "type == 'payment.declined'"}
  - {name: h4_shown, agg: count, by: card_bin, window: 1h}
  - {name: h4_paid, agg: sum, of: amount, by: merchant, window: 1h}
  - {name: h4_share, expr: "h4_failed / h4_declined"}
rules:
  - {id: h4_decides, when: h4_paid > 900, then: {decision: review}}
  - {id: h4_fails, on: [payment.failed], when: h4_share > 0.5, then: {alert: operations}}
  - {id: h4_settles, on: [payment.settled], when: amount > 1, then: {alert: operations, title: "{h4_shown}"}}
models: {anomaly: null}
"""


def test_observers_read_what_they_name_through_derived_features_and_in_texts() -> None:
    ruleset = compile_rules({"rules.yaml": RULES})
    assert ruleset.read_by == {
        "h4_share": frozenset({"payment.failed"}), "h4_failed": frozenset({"payment.failed"}),
        "h4_declined": frozenset({"payment.failed"}), "h4_shown": frozenset({"payment.settled"}),
    }  # fmt: skip


def test_what_is_wanted_has_its_values_and_all_else_is_missing() -> None:
    ruleset = compile_rules({**read(rules_directory()), "zz.yaml": RULES.replace("models: {anomaly: null}\n", "")})
    plan = Plan.compile(ruleset.features)
    whole, picking = FeatureState(plan, backed=True), FeatureState(plan, backed=True)
    decoder, wanted, records = Decoder(), Wanted(ruleset, plan), list(generate(1_200, STREAM))
    assert wanted.stands_for(ruleset, plan)
    assert not wanted.stands_for(ruleset, Plan.compile(ruleset.features))
    looked = 0
    for start in range(0, len(records), 150):
        columns = decoder.decode(records[start : start + 150]).columns
        columns.decides[:] = [event.__struct_config__.tag == "payment.requested" for event in columns.events]
        for state in (whole, picking):
            names = state.missing(columns)
            state.load(names, [None] * len(names))
        masks = wanted.masks(columns)
        want, ops = whole.update(columns)
        got, same = picking.update(columns, masks)
        assert same == ops
        for group, mask in zip(plan.groups, masks, strict=True):
            rows = group.features[:, t.F_OUT]
            np.testing.assert_array_equal(got[np.ix_(rows, np.flatnonzero(mask))], want[rows][:, mask])
            assert np.isnan(got[np.ix_(rows, np.flatnonzero(~mask))]).all()
            assert mask[columns.decides].all()
            looked += int(np.count_nonzero(mask & ~columns.decides))
    assert looked


def test_what_may_be_wanted_is_enough_to_load() -> None:
    """Label aggregates are loaded for the events that may be decided on only; the features are as with all loaded."""
    ruleset = compile_rules(read(rules_directory()))
    plan = Plan.compile(ruleset.features)
    decoder, wanted, store = Decoder(), Wanted(ruleset, plan), dict[bytes, bytearray]()
    records = list(generate(900, STREAM))
    spare = 0
    for batch in range(0, len(records), 60):
        columns = decoder.decode(records[batch : batch + 60]).columns
        columns.decides[:] = of_types(columns, ("payment.requested", "transfer.sent"))
        told = np.flatnonzero(columns.string("payment_id"))[::3]
        rows = label_rows(
            columns.time_ms[told],
            np.full(len(told), FRAUD, np.int8),
            np.full(len(told), 0.9),
            np.ascontiguousarray(columns.strings[:, told]),
        )
        merged, _ = columns.insert(rows, told)
        possible = wanted.possible(columns)
        for mask, may in zip(wanted.masks(columns), possible, strict=True):
            assert not (mask & ~may).any()
        results, named = [], []
        for some in (None, possible):
            state = FeatureState(plan, backed=True)
            keys = state.missing(columns, wanted=some)
            state.load(keys, [store.get(key) for key in keys])
            further = state.missing(rows, further=True)
            state.load(further, [store.get(key) for key in further])
            results.append(state.update(merged, wanted.masks(merged)))
            named.append(len(keys))
        np.testing.assert_array_equal(results[0][0], results[1][0])
        assert results[0][1] == results[1][1]
        spare += named[0] - named[1]
        for op in unpack(results[0][1]):
            store[op.key] = bytearray(op.value) if op.kind == SET else store.get(op.key, bytearray()) + op.value
    assert spare > 0
