"""Features are worked out where somebody reads them, and what is read is the same."""

import numpy as np

from engine.core.decode import Decoder
from engine.core.wanted import Wanted
from engine.features import tables as t
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.generator import generate
from engine.resources import rules_directory
from engine.ruleset.compiler import compile as compile_rules
from engine.ruleset.files import read
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
