"""Lists that changed while the engine ran: both evaluators against a naive reading of what is on the list."""

import ipaddress
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.ruleset import Frame, RuleSet
from engine.ruleset.lists import ListState, ValueList, unusable
from engine.ruleset.ruleset import ROWS_SCALAR_MAX
from tests.ruleset.helpers import TIME_MS, columns_of, ruleset_of

TEXTS = ("a", "b", "10.0.0.1", "10.0.9.9", "::ffff:10.0.0.1", "2001:db8::1", "2001:0db8::1", "7", "7.0", "2.5", "x/24")
NETWORKS = ("10.0.0.0/24", "10.0.0.0/8", "2001:db8::/32", "10.0.0.1/8")
DECLARED: dict[str, list[Any]] = {
    "words": ["a", "7", "10.0.0.1"],
    "nets": ["10.0.0.0/24", "10.0.9.9", "2001:db8::/32"],
    "nums": [7, 2.5],
    "open": [],
}
SET = ruleset_of(
    f"lists: {json.dumps({name: {'values': values} for name, values in DECLARED.items()})}\n"
     "features: [{name: d, expr: 'number(merchant_id in lists.words) + 2 * number(amount in lists.open)'}]\nrules:\n"
    + "".join(
        f"  - {{id: r{i}, when: \"{when}\", then: {{score: 1}}}}\n"
        for i, when in enumerate(
            f"{value} {word} lists.{name}"
            for value, names in (
                ("ip", ("words", "nets", "open")), ("merchant_id", ("words", "open")), ("amount", ("nums", "open")),
                ("lower(merchant_id)", ("words", "open")), ("lower(ip)", ("words",)),
            )
            for name in names
            for word in ("in", "not in")
        )
    )
)  # fmt: skip
change = st.fixed_dictionaries({
    "added": st.dictionaries(st.sampled_from([*TEXTS, *NETWORKS]),
                             st.none() | st.sampled_from([TIME_MS - 1, TIME_MS, TIME_MS + 1]), max_size=5),
    "removed": st.lists(st.sampled_from([*TEXTS, "10.0.0.0/24", "2001:db8::/32"]), max_size=3),
    "replaced": st.booleans(),
})  # fmt: skip
row = st.fixed_dictionaries({
    "ip": st.none() | st.sampled_from(TEXTS), "merchant_id": st.none() | st.sampled_from(TEXTS),
    "amount": st.none() | st.sampled_from([7.0, 2.5, 1.0]), "event_time": st.sampled_from([TIME_MS - 1, TIME_MS]),
})  # fmt: skip


def parsed(text: str) -> Any:
    """A text as a network, single addresses as networks of their own; None where it is neither."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        return None
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    return ipaddress.ip_network(mapped) if mapped is not None and "/" not in text else found


def entries(name: str, change: dict[str, Any], time: int) -> list[str]:
    """What is on a list for an event of that time."""
    declared = [] if change["replaced"] else [str(value) for value in DECLARED[name]]
    gone = {parsed(text) for text in change["removed"]} - {None}
    if name == "nums":
        numbers = {float(text) for text in change["removed"] if text.replace(".", "", 1).isdigit()}
        declared = [text for text in declared if float(text) not in numbers]
    networked = name == "nets" or any(looks_like(text) for text in [*declared, *change["added"]])
    kept = [text for text in declared
            if text not in change["removed"] and not (networked and parsed(text) in gone)]  # fmt: skip
    return kept + [text for text, end in change["added"].items() if end is None or time < end]


def looks_like(text: str) -> bool:
    return "/" in text and parsed(text.partition("/")[0]) is not None


def on_list(name: str, value: Any, change: dict[str, Any], event: dict[str, Any]) -> bool:
    """Membership, read as slowly as can be."""
    there = entries(name, change, event["event_time"])
    if isinstance(value, float):
        return value in [float(text) for text in there if text.replace(".", "", 1).isdigit()]
    if value in there:
        return True
    everything = [*there, *change["added"], *([] if change["replaced"] else [
        text for text in map(str, DECLARED[name]) if text not in change["removed"]])]  # fmt: skip
    address = parsed(value) if "/" not in value else None
    if address is None or not any(looks_like(text) for text in everything):
        return False
    found = [parsed(text) for text in there]
    return any(n is not None and n.version == address.version and address.subnet_of(n) for n in found)


def wanted(rule: Any, change: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether one of the rules of `SET` hits."""
    left, _, name = rule.when.text.partition(" lists.")
    left, negated = (left.removesuffix(" not in"), True) if left.endswith(" not in") else (left[:-3], False)
    field = next(key for key in ("merchant_id", "amount", "ip") if key in left)
    value = event[field]
    if value is None:
        return False
    return on_list(name, value.lower() if "lower" in left else value, change, event) != negated


def evaluate(ruleset: RuleSet, batch: list[dict[str, Any]], lists: Any) -> tuple[Any, Any]:
    columns = columns_of(batch)
    matrix = ruleset.derive(columns, np.empty((len(ruleset.features), len(batch))), lists=lists)
    return ruleset.evaluate(Frame(columns, matrix, lists=lists)).matrix, matrix[ruleset.rows["d"]]


@settings(max_examples=150, deadline=None)
@given(changes=st.fixed_dictionaries({}, optional=dict.fromkeys(DECLARED, change)),
       batch=st.lists(row, min_size=ROWS_SCALAR_MAX + 1, max_size=ROWS_SCALAR_MAX + 4))  # fmt: skip
def test_changed_lists_hold_what_control_events_left_on_them(
    changes: dict[str, dict[str, Any]], batch: list[dict[str, Any]]
) -> None:
    lists = {name: ListState(SET.lists[name], **change) for name, change in changes.items()}
    hits, derived = evaluate(SET, batch, lists)
    unchanged = {"added": {}, "removed": [], "replaced": False}
    for index, event in enumerate(batch):
        single, one = evaluate(SET, [event], lists)
        assert single[:, 0].tolist() == hits[:, index].tolist()
        assert one[0] == derived[index]
        for place, rule in enumerate(SET.rules):
            name = rule.when.text.rpartition(".")[2]
            assert hits[place, index] == wanted(rule, changes.get(name, unchanged), event), (rule.when.text, event)


def test_none_means_the_declared_lists() -> None:
    batch = [{"ip": "10.0.0.77", "merchant_id": "a", "amount": 7.0}] * (ROWS_SCALAR_MAX + 1)
    without, _ = evaluate(SET, batch, None)
    same, _ = evaluate(SET, batch, {name: ListState(found) for name, found in SET.lists.items()})
    assert without.tolist() == same.tolist()
    assert without.any()


def test_a_declared_value_outlasts_its_addition_for_a_while() -> None:
    nets, nums = ValueList("l", ["10.0.0.0/24"]), ValueList("l", [7])
    assert ListState(nets, {"10.0.0.0/24": 1000}).has_text("10.0.0.1", 2000)
    assert ListState(nets, {"10.0.0.0/24": 1000}, ["10.0.0.0/24"]).has_text("10.0.0.1", 999)
    assert not ListState(nets, {"10.0.0.0/24": 1000}, ["10.0.0.0/24"]).has_text("10.0.0.1", 1000)
    assert ListState(nums, {"7": 1000}).numbers == {7.0: math.inf}


def test_a_removed_address_is_gone_in_every_spelling_once_there_is_a_network() -> None:
    declared = ValueList("l", ["10.0.0.1", "a"])
    without = ListState(declared, removed=["::ffff:10.0.0.1"])
    assert [without.has_text(text, 0) for text in ("10.0.0.1", "a")] == [True, True]
    state = ListState(declared, {"2001:db8::/32": None}, ["::ffff:10.0.0.1"])
    assert [state.has_text(text, 0) for text in ("10.0.0.1", "::ffff:10.0.0.1", "a")] == [False, False, True]


def test_an_entry_ends_at_its_time_of_the_event_not_before() -> None:
    state = ListState(ValueList("l", []), {"a": 1000, "10.0.0.0/8": 2000, "7": 1000})
    assert [state.has_text("a", time) for time in (999, 1000)] == [True, False]
    assert [state.has_text("10.3.2.1", time) for time in (1999, 2000)] == [True, False]
    assert state.numbers == {7.0: 1000.0}
    assert state.hashes[next(iter(ListState(ValueList("l", ["a"])).hashes))] == 1000.0
    assert ListState(ValueList("l", ["a"]), {"a": 1000}).hashes.popitem()[1] == math.inf


@pytest.mark.parametrize(("values", "text", "fault"), [
    (["a"], "anything at all", ""), (["a"], "10.0.0.0/8", ""), (["a"], "10.0.0.1/8", "bits beyond its prefix"),
    ([1.0], "2.5", ""), ([1.0], "two", "not a number"), ([1.0], "inf", "not a number"),
    (["10.0.0.0/8"], "::1", ""), (["10.0.0.0/8"], "office", "neither an address nor a network"), ([], "x", ""),
])  # fmt: skip
def test_a_value_that_could_never_match_is_told(values: list[Any], text: str, fault: str) -> None:
    found = unusable(ValueList("l", values), text)
    assert fault in found
    assert bool(found) == bool(fault)
