"""What an author reads: golden messages, places inside every style of YAML text, suggestions."""

import pytest

from engine.ruleset import RuleErrors, compile
from tests.ruleset.helpers import faults, rule_file

HEAD = """lists: {nets: {values: ["10.0.0.0/8"]}, codes: {values: [1, 2]}}
features:
  - {name: cards_per_ip_1h, agg: distinct, of: card_id, by: ip, window: 1h}
"""


def golden(text: str) -> str:
    """The whole message of a file."""
    with pytest.raises(RuleErrors) as raised:
        compile({"card.yaml": text})
    return str(raised.value)


def test_a_misspelt_name_is_underlined_and_the_right_one_suggested() -> None:
    text = HEAD + "rules:\n  - id: r\n    when: amount > 5 and cards_per_ipp_1h >= 4\n    then: {score: 1}\n"
    assert golden(text) == (
        "card.yaml:6:26: unknown name 'cards_per_ipp_1h' (did you mean 'cards_per_ip_1h'?)\n"
        "        when: amount > 5 and cards_per_ipp_1h >= 4\n"
        "                             ^^^^^^^^^^^^^^^^"
    )


def test_a_place_inside_a_folded_block() -> None:
    text = HEAD + "rules:\n  - id: r\n    when: >-\n      amount > 5\n      and ipp == 'x'\n    then: {score: 1}\n"
    assert golden(text) == (
        "card.yaml:8:11: unknown name 'ipp' (did you mean 'ip'?)\n          and ipp == 'x'\n              ^^^"
    )


def test_a_place_inside_a_literal_block() -> None:
    text = HEAD + "rules:\n  - id: r\n    when: |\n      amount > 5\n\n      and ip == 3\n    then: {score: 1}\n"
    assert golden(text) == (
        "card.yaml:9:11: ip is text and 3 is a number: the comparison can never hold (write '3' in quotes)\n"
        "          and ip == 3\n"
        "              ^^^^^^^"
    )


def test_a_place_inside_a_quoted_text_with_escapes() -> None:
    text = HEAD + 'rules:\n  - id: r\n    when: "ip == \\"x\\" and ippp == \\"y\\""\n    then: {score: 1}\n'
    assert golden(text) == (
        "card.yaml:6:28: unknown name 'ippp' (did you mean 'ip'?)\n"
        '        when: "ip == \\"x\\" and ippp == \\"y\\""\n'
        "                               ^^^^"
    )


def test_a_place_inside_the_where_of_an_inline_aggregate() -> None:
    when = "count(by=ip, window='1h', where=\"tipe == 'x'\") > 1"
    text = HEAD + f"rules:\n  - id: r\n    when: {when}\n    then: {{score: 1}}\n"
    assert golden(text) == (
        "card.yaml:6:44: unknown name 'tipe' (did you mean 'type'?)\n"
        "        when: count(by=ip, window='1h', where=\"tipe == 'x'\") > 1\n"
        "                                               ^^^^"
    )


def test_a_place_after_characters_of_several_bytes() -> None:
    text = HEAD + "rules:\n  - id: r\n    when: ip == 'süß' and ipp == 'x'\n    then: {score: 1}\n"
    assert golden(text).startswith("card.yaml:6:27: unknown name 'ipp'")


def test_a_long_line_is_shown_around_the_fault() -> None:
    lines = golden(HEAD + rule_file("amount > 1 and " * 60 + "ipp == 'x'").lstrip()).splitlines()
    assert len(lines[1]) <= 164
    start = lines[2].index("^")
    assert lines[1][start : start + 3] == "ipp"


EXPRESSIONS = [
    ("type == 'payment.declinedd'", "there is no event type 'payment.declinedd' (did you mean 'payment.declined'?)"),
    ("type in ['payment.setled']", "there is no event type 'payment.setled' (did you mean 'payment.settled'?)"),
    ("'payment.foo' != type", "there is no event type 'payment.foo'"),
    ("amount == 'x'", "amount is a number and 'x' is text: the comparison can never hold (number(x) converts text)"),
    ("amount == '5'", "the comparison can never hold (write 5 without quotes)"),
    ("merchant_category == 7995", "the comparison can never hold (write '7995' in quotes)"),
    ("merchant_category in [7995]", "it can never be a member (write '7995' in quotes)"),
    ("three_ds == 'yes'", "three_ds is true or false and 'yes' is text"),
    ("amount > ip", "amount is a number and ip is text"),
    ("1 < ip < 3", "1 is a number and ip is text"),
    ("ip in lists.net", "unknown list 'net' (did you mean 'nets'?)"),
    ("ip in lists.zzz", "unknown list 'zzz' (declare it under lists:)"),
    ("amount in lists.nets", "amount is a number and lists.nets holds text"),
    ("ip in lists.codes", "ip is text and lists.codes holds numbers (quote the values of the list)"),
    ("device_id in lists.nets", "lists.nets holds networks; only an address can be in it (write ip)"),
    ("lists.nets", "a list can only stand right of 'in' (x in lists.nets)"),
    ("amount in ip", "'in' needs a list"),
    ("'x' in [ip]", "a list holds literals only"),
    ("amount", "a condition is needed here, but this is a number (write missing(amount), or compare it)"),
    ("amount + 1", "a condition is needed here, but this is a number (compare it)"),
    ("not ip", "a condition is needed here, but this is text"),
    ("ip + 1 > 2", "a number is needed here, but this is text (number(ip) converts it)"),
    ("amount and three_ds", "a condition is needed here"),
    ("score.anomoly > 1", "unknown score 'anomoly' (did you mean 'anomaly'?)"),
    ("scores.anomaly > 1", "attribute access is not part of the rule language"),
    ("round(amount, 2.5) > 1", "round takes a whole number of digits"),
    ("round(ip) > 1", "x of round must be a number, but this is text"),
    ("lower(amount) == 'x'", "text of lower must be text, but this is a number"),
    ("lowr(ip) == 'x'", "unknown function 'lowr' (did you mean 'lower'?)"),
    ("lower() == 'x'", "lower is called as lower(text)"),
    ("clamp(amount, 5, 1) > 1", "clamp needs low <= high, not 5 and 1"),
    ("ip.startswith('1')", "methods are not part of the rule language (write startswith(x))"),
    ("coalesce(amount, ip) == 1", "coalesce needs one type"),
    ("(amount if true else ip) == 1", "both outcomes must be of one type"),
    ("hour('Europe/Berlim') > 1", "unknown time zone 'Europe/Berlim'"),
    ("cards_per_ip_1h and true", "a condition is needed here, but this is a number"),
    ("amount = 5", "not an expression"),
    ("amount > 5 && true", "(write 'and' for '&&')"),
    ("amount > 5 || true", "(write 'or' for '||')"),
    ("ip == web", "unknown name 'web' (quote it if it is text)"),
    ("null == 1", "there is no null in the rule language (missing(x) asks for a missing value)"),
    ("count(by=custmer, window='1h') > 1", "unknown entity 'custmer' in by; did you mean 'customer'?"),
    ("count(by=ip, window='1 hour') > 1", "'1 hour' is not a window"),
    ("count(by=ip, window='91d') > 1", "the window 91d is not within 1s and 90d"),
    ("count(by=ip, window=60) > 1", "a window is a quoted literal"),
    ("count(by=ip) > 1", "count needs a window"),
    ("count(of=amount, by=ip, window='1h') > 1", "count takes no of"),
    ("sum(by=ip, window='1h') > 1", "sum needs of"),
    ("sum(of=ip, by=ip, window='1h') > 1", "sum needs a number field of the event, not 'ip'"),
    ("sum(of=amout, by=ip, window='1h') > 1", "not 'amout'; did you mean 'amount'?"),
    ("distinct(of=amount, by=ip, window='1h') > 1", "distinct needs a text field"),
    ("count(ip, window='1h') > 1", "the arguments of the aggregate count are named"),
    ("count(by=ip, windw='1h') > 1", "unknown argument 'windw' of count (did you mean 'window'?)"),
    ("count(by=[ip, ip], window='1h') > 1", "by names an entity twice"),
    ("count(by=ip, window='1h', where=amount) > 1", "where is an expression in quotes"),
    ("count(by=ip, window='1h', where='cards_per_ip_1h > 1') > 1", "is a feature, and a where filter sees event"),
    ("count(by=ip, window='1h', where='ip in lists.nets') > 1", "a where filter sees event fields only, not lists"),
    ("last(of=device_id, by=card, window='1d') > 1", "last needs a number field of the event, not 'device_id'"),
    ("changed(of=three_ds, by=card, window='1d')", "changed needs a number or text field of the event, not 'three_ds'"),
    ("changed(of=ip, by=card)", "changed needs a window"),
    ("is_new(of=device_id, by=customer, window='30d') == 'x'", "is true or false and 'x' is text"),
    ("count > 1", "unknown name 'count'"),
    ("count() > 1", "the aggregate count needs by= (and window=)"),
]


@pytest.mark.parametrize(("when", "message"), EXPRESSIONS, ids=[when for when, _ in EXPRESSIONS])
def test_messages_of_expressions(when: str, message: str) -> None:
    found = faults(HEAD + rule_file(when))
    assert len(found) == 1
    assert message in found[0]
    assert found[0].startswith("t.yaml:7:")


RULE = "rules:\n  - id: r\n    when: amount > 1\n    then: {decision: review}\n"
FILES = [
    (RULE.replace("id: r", "id: R"), "t.yaml:2:9: 'R' is not a rule id"),
    (RULE.replace("id: r", "name: r"), "unknown key 'name' of a rule"),
    (RULE.replace("    when: amount > 1\n", ""), "t.yaml:2:5: a rule needs 'when'"),
    (RULE.replace("amount > 1", "3"), "'when' must be text"),
    (RULE.replace("{decision: review}", "{decision: refuse}"), "t.yaml:4:22: unknown decision 'refuse'"),
    (RULE.replace("{decision: review}", "{decision: stepup}"), "(did you mean 'step_up'?)"),
    (RULE.replace("{decision: review}", "{}"), "'then' does nothing"),
    (RULE.replace("{decision: review}", "{reason: X}"), "'then' does nothing"),
    (RULE.replace("{decision: review}", "{score: 101}"), "'score' must be from -100 to 100"),
    (RULE.replace("{decision: review}", "{score: high}"), "'score' must be a number"),
    (RULE.replace("{decision: review}", "{score: 1, reason: lower}"), "'lower' is not a reason code"),
    (RULE.replace("{decision: review}", "{allow: true, decision: decline}"), "cannot ask for another outcome"),
    (RULE.replace("{decision: review}", "{score: 1, detail: 'x {amuont}'}"), "unknown name 'amuont' in 'detail'"),
    (RULE.replace("{decision: review}", "{score: 1, hard: true}"), "unknown key 'hard' of 'then'"),
    (RULE + "    hard: maybe\n", "'hard' must be true or false"),
    (RULE.replace("{decision: review}", "{allow: true}\n    hard: true"), "a rule that allows cannot be hard"),
    (RULE + "    mode: shaddow\n", "unknown mode 'shaddow' (did you mean 'shadow'?)"),
    (RULE + "    mode: canary\n", "unknown mode 'canary' (canary: 10%)"),
    (RULE + "    mode: 'canary: 0%'\n", "a canary's share is above 0 %"),
    (RULE + "    mode: 'canary: 101%'\n", "a canary's share is above 0 %"),
    (RULE + RULE.replace("rules:\n", ""), "the rule 'r' is declared twice (first in t.yaml:2)"),
    (RULE + "    tests: [{given: {}, expect: hits}]\n", "a test expects hit or miss, not 'hits'"),
    (RULE + "    tests: [{given: {amuont: 1}, expect: hit}]\n", "unknown name 'amuont' (did you mean 'amount'?)"),
    (RULE + "    tests: [{given: {amount: x}, expect: hit}]\n", "amount is a number"),
    (RULE + "    tests: [{given: {three_ds: 1}, expect: hit}]\n", "three_ds is true or false"),
    (RULE + "    tests: [{given: {ip: true}, expect: hit}]\n", "ip is text"),
    (RULE + "    tests: [{given: {type: payment.x}, expect: hit}]\n", "there is no event type 'payment.x'"),
    (RULE + "    tests: [{given: {event_time: noon}, expect: hit}]\n", "event_time is a time such as"),
    (RULE + "    tests: [{with: {\"count(by=ip, window='1h')\": 1}, expect: hit}]\n", "no rule uses this aggregate"),
    (RULE + "    tests: [{with: {amount: 1}, expect: hit}]\n", "'with' gives values to inline aggregates"),
    (RULE + "    tests: [{given: {}}]\n", "a test needs 'expect'"),
    ("features: [{name: f, agg: cont, by: ip, window: 1h}]", "unknown agg 'cont' (did you mean 'count'?)"),
    ("features: [{name: f, agg: count, by: ipp, window: 1h}]", "t.yaml:1:38: unknown entity 'ipp' in by"),
    ("features: [{name: f, agg: count, by: ip, window: 1y}]", "t.yaml:1:50: '1y' is not a window"),
    ("features: [{name: f, agg: count, by: ip, window: 60}]", "'60' is not a window"),
    ("features: [{name: f, agg: count, by: ip}]", "count needs a window"),
    ("features: [{name: f, agg: count, window: 1h}]", "a feature needs 'by'"),
    ("features: [{name: f, agg: count, by: [], window: 1h}]", "by must name at least one entity"),
    ("features: [{name: f, by: ip, window: 1h}]", "a feature needs 'agg'"),
    ("features: [{name: f g, agg: count, by: ip, window: 1h}]", "'f g' is not a name"),
    ("features: [{name: amount, agg: count, by: ip, window: 1h}]", "'amount' is an event field"),
    ("features: [{name: max, agg: count, by: ip, window: 1h}]", "'max' is a function"),
    ("features: [{name: and, agg: count, by: ip, window: 1h}]", "'and' is a word of the language"),
    ("features: [{name: f, agg: count, by: ip, window: 1h, filter: x}]", "unknown key 'filter' of a feature"),
    ("features: [{name: f, expr: amount, window: 1h}]", "a derived feature has no 'window'"),
    ("features: [{name: f, expr: ip}]", "a derived feature must be a number or a condition"),
    ("features: [{name: f, expr: score.anomaly}]", "a derived feature cannot use a model's score"),
    ("features: [{name: f, expr: 'amount >'}]", "not an expression"),
    ("features: [{name: f, expr: amount}, {name: f, expr: amount}]", "the feature 'f' is declared twice"),
    ("lists: {a: [x]}", "the list a must be a mapping (write {values: [...]})"),
    ("lists: {a: {values: x}}", "'values' must be a list"),
    ("lists: {a: {values: [1, x]}}", "a list holds text or numbers, not both"),
    ("lists: {a: {values: [true]}}", "a value must be text or a number"),
    ("lists: {a: {values: [10.0.0.1/8]}}", "'10.0.0.1/8' has bits beyond its prefix; the network is 10.0.0.0/8"),
    ("lists: {a: {values: [10.0.0.0/8, word]}}", "t.yaml:1:34: 'word' is neither an address nor a network"),
    ("lists: {a: {values: [10.0.0.0/99]}}", "'10.0.0.0/99' is not a network"),
    ("lists: {a b: {values: [x]}}", "'a b' is not a name"),
]


@pytest.mark.parametrize(("text", "message"), FILES, ids=[message for _, message in FILES])
def test_messages_of_files(text: str, message: str) -> None:
    found = faults(text)
    assert found
    assert message in found[0]
    assert found[0].startswith("t.yaml:")


MANY = """rules:
  - id: r
    owner: 5
    colour: red
    when: amout > 1
    unless: ipp == 'x'
    then: {decision: reviw, reason: low, score: high, detail: '{amuont}', x: 1}
    hard: maybe
    mode: lvie
    valid_from: noon
    on_degraded: never
    enabled: perhaps
  - id: r
    when: amount > 1
    then: {decision: review}
    tests: [{given: {amuont: 1}, expect: hit}, {given: {}, expect: never}]
  - {id: Q, when: amount >, then: x}
  - id: o
    on: [payment.x]
    when: amount > 1
    then: {alert: loud, severity: high!, title: '{amuont}', action: '{ipp}', by: planet, every: soon, reason: low}
    unless_followed_by: {same: amount, within: 3d}
    hard: true
    on_degraded: hit
"""


def test_every_fault_of_a_rule_is_shown_at_once() -> None:
    lines = [int(line.split(":")[1]) for line in faults(MANY)]
    assert {line: lines.count(line) for line in lines} == {
        3: 1, 4: 1, 5: 1, 6: 1, 7: 5, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1, 16: 2, 17: 3,
        19: 1, 21: 9, 22: 1, 23: 1, 24: 1,
    }  # fmt: skip


def test_every_fault_of_a_feature_is_shown_at_once_and_rules_may_name_it() -> None:
    text = """features:
  - {name: f, agg: cont, by: 5, of: [x], window: soon, where: amout > 1, colour: red}
  - {name: g, expr: amout, window: 1h, by: ip, colour: red}
"""
    lines = [int(line.split(":")[1]) for line in faults(text + rule_file("f > 1 and g > 1"))]
    assert [lines.count(line) for line in (2, 3)] == [6, 4]
    assert len(lines) == 10


def test_tests_are_not_blamed_for_a_condition_that_could_not_be_read() -> None:
    """The aggregate of the test is that of the rule."""
    gap = "count(by=ip, window='1h')"
    text = (
        RULE.replace("amount > 1", f"{gap} > 1 and amout > 1") + f'    tests: [{{with: {{"{gap}": 2}}, expect: hit}}]\n'
    )
    [found] = faults(text)
    assert "unknown name 'amout'" in found
