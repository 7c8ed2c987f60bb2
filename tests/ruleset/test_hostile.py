"""Rule files that mean harm, or that a tired author wrote: each is refused, with file, line and column."""

import json
import os
from pathlib import Path

import pytest

from engine.ruleset import RuleErrors, compile, files
from tests.ruleset.helpers import faults, rule_file

EXPRESSIONS = {
    "for loop": ("for x in y: pass", "not an expression"),
    "while loop": ("while True: pass", "not an expression"),
    "lambda": ("(lambda: 1)() == 1", "only functions can be called"),
    "bare lambda": ("lambda: 1", "lambda is not part"),
    "list comprehension": ("[x for x in [1]] == 1", "comprehensions are not part"),
    "generator": ("any(x for x in [1])", "unknown function 'any'"),
    "walrus": ("(x := 3) > 2", "assignments are not part"),
    "assignment": ("amount = 3", "not an expression"),
    "f-string": ("f'{amount}' == '3'", "f-strings are not part"),
    "attribute": ("amount.real == 3", "attribute access is not part"),
    "dunder": ("().__class__.__bases__ == 1", "attribute access is not part"),
    "dunder name": ("__builtins__ == 1", "unknown name '__builtins__'"),
    "import": ("__import__('os').system('true') == 0", "methods are not part"),
    "import statement": ("import os", "not an expression"),
    "eval": ("eval('1') == 1", "unknown function 'eval'"),
    "getattr": ("getattr(amount, 'real') == 1", "unknown function 'getattr'"),
    "open": ("open('/etc/passwd') == 1", "unknown function 'open'"),
    "subscript": ("ip[0] == '1'", "indexing is not part"),
    "dictionary": ("{'a': 1} == 1", "dictionaries are not part"),
    "star": ("max(*[1, 2]) > 1", "unpacking is not part"),
    "keyword": ("max(x=1) > 1", "unknown argument 'x' of max"),
    "await": ("await amount", "not part of the rule language"),
    "yield": ("(yield) == 1", "not part of the rule language"),
    "bit operators": ("amount | 1 == 1", "operator is not part"),
    "matrix product": ("amount @ 2 == 1", "operator is not part"),
    "is": ("amount is 3", "'is' is not part"),
    "None": ("amount == None", "there is no None"),
    "bytes": ("ip == b'x'", "this literal is not part"),
    "ellipsis": ("amount == ...", "this literal is not part"),
    "complex": ("amount == 3j", "this literal is not part"),
    "huge power": ("9**9**9 > amount", "a power must be a literal"),
    "huge literal power": ("2**99999999 > amount", "a power must be a literal"),
    "huge integer": ("amount > " + "9" * 3_000, "2**53"),
    "past the digit limit": ("amount > " + "9" * 3_990, "2**53"),
    "hex integer": ("amount > 0x" + "f" * 3_000, "2**53"),
    "huge float": ("amount > 1e999", "out of range"),
    "division by zero": ("amount > 1 / 0", "always missing"),
    "string repetition": ("ip == 'a' * 1000000000", "a number is needed"),
    "too long": ("amount > 1 or " * 400 + "amount > 1", "characters; at most 4,000"),
    "400,000 nodes": ("+".join(["1"] * 400_000) + " > amount", "characters; at most 4,000"),
    "many nodes": ("amount" + " < lat" * 600, "more than 500 parts"),
    "deep brackets": ("(" * 150 + "amount" + ")" * 150 + " > 1", None),
    "very deep brackets": ("(" * 1_900 + "1" + ")" * 1_900, "not an expression"),
    "deep not": ("not " * 900 + "true", "nested deeper than 50"),
    "deep minus": ("-" * 3_900 + "1 > amount", "nested"),
    "deep calls": ("abs(" * 100 + "amount" + ")" * 100 + " > 1", "nested deeper than 50"),
    "deep conditionals": ("1 if true else " * 100 + "2 > 1", "nested deeper than 50"),
    "unbalanced": ("amount > 1) or (amount < 3", "unbalanced brackets"),
    "empty": ("   ", "the expression is empty"),
    "half a character": (r"ip == '\ud800'", "half a character"),
    "null character": ("amount > 1\x00", "control character"),
    "bell": ("amount\x07 > 1", "control character"),
    "bidirectional": ("amount > 1 \u202e", "control character"),
    "catastrophic regex is linear": ("matches(ip, '(a+)+$')", None),
    "regex repetition bomb": ("matches(ip, '((a{1,100}){1,100}){1,100}')", "bad pattern"),
    "regex memory": (r"matches(ip, '(\\pL{500}|\\pN{400}){1,2}')", "bad pattern"),
    "regex look-around": ("matches(ip, '(?=a)b')", "bad pattern"),
    "regex back-reference": (r"matches(ip, '(a)\\1')", "bad pattern"),
    "regex too long": (f"matches(ip, '{'a' * 501}')", "501 characters; at most 500"),
    "regex not a literal": ("matches(ip, merchant_id)", "must be a literal"),
    "a full-width name": ("\uff41mount > 1", "'\uff41mount' is not written in ASCII letters"),
    "a full-width function": ("\uff4cower(ip) == 'ｘ'", "'\uff4cower' is not written in ASCII letters"),
    "a full-width list": ("ip in lists.\uff4e", "'\uff4e' is not written in ASCII letters"),
    "a full-width argument": ("count(\uff42y=ip, window='1h') > 1", "'\uff42y' is not written in ASCII letters"),
    "a full-width name in a where": (
        "count(by=ip, window='1h', where='\uff41mount > 1') > 1",
        "'\uff41mount' is not written in ASCII letters",
    ),
    "other scripts in text": ("ip in ['\uff41mount', '\u03b1'] or startswith(ip, \"\u00e9\")", None),
    "walk out by a zone": ("hour('../../etc/passwd') == 1", "unknown time zone"),
    "absolute zone": ("hour('/etc/passwd') == 1", "unknown time zone"),
    "long list": (f"amount in [{', '.join(['1'] * 400)}]", "1 to 300 members"),
    "many arguments": (f"max({', '.join(['1'] * 100)}) > amount", "more than 32 arguments"),
    "metadata by a computed key": ("metadata(ip) == 'x'", "the key of metadata must be a literal"),
    "metadata as an object": ("metadata.a == 'x'", "attribute access is not part"),
    "metadata by index": ("metadata['a'] == 'x'", "indexing is not part"),
    "metadata of python": ("metadata('__class__') == 'x'", None),
    "metadata by a long key": (f"metadata('{'k' * 129}') == 'x'", "a key of metadata has 1 to 128 characters"),
    "a table by a computed name": ("lookup(ip, ip) == 'x'", "the table of lookup must be a literal"),
    "a table by index": ("tables['t'] == 'x'", "indexing is not part"),
    "a table as a name": ("tables.t == 'x'", "attribute access is not part"),
    "a table of python": ("lookup('__class__', ip) == 'x'", "unknown table '__class__'"),
    "digits without end": ("bin(card_bin, 1e300) == '4'", "a whole number of digits from 1 to 8"),
    "half a digit": ("bin(card_bin, 0.5) == '4'", "a whole number of digits from 1 to 8"),
    "a currency of megabytes": (f"in_currency('{'E' * 3_900}') > 1", "not a currency in use"),
    "a journey beyond numbers": ("speed_kmh(1e300, 1e300, 1e300, 1e300, 1e-300) > 900", None),
    "a day that is none": ("years_since('2026-02-30') > 1", "'2026-02-30' is not a date"),
    "rates in a where": (
        "count(by=ip, window='1h', where=\"convert(amount, currency, 'EUR') > 1\") > 1",
        "a where filter has no exchange rates",
    ),
    "a table in a where": (
        "count(by=ip, window='1h', where=\"lookup('t', ip) == 'x'\") > 1",
        "a where filter sees event fields only, not tables",
    ),
    "a score in a where": (
        "count(by=ip, window='1h', where=\"score.anomaly > 1\") > 1",
        "a where filter cannot use a model's score",
    ),
    "an aggregate in a where": (
        "count(by=ip, window='1h', where=\"count(by=ip, window='1h') > 1\") > 1",
        "a where filter cannot hold an aggregate",
    ),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_hostile_expressions_are_refused_with_their_place(name: str) -> None:
    expression, message = EXPRESSIONS[name]
    found = faults(rule_file(expression))
    if message is None:
        assert found == []
        return
    assert len(found) == 1
    place, _, said = found[0].partition(": ")
    file, line, column = place.split(":")
    assert (file, line) == ("t.yaml", "4")
    assert int(column) >= len("    when: ")
    assert message in said


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(9)
)
WATCH = "rules: [{id: r, on: any, when: amount > 1, unless_followed_by: {%s}, then: {alert: fraud}}]"
TEST = "rules: [{id: r, when: amount > 1, then: {score: 1}, tests: [{given: {%s}, %s, expect: hit}]}]"
FILES = {
    "alias bomb": (BOMB, "t.yaml:1:4: YAML anchors and aliases"),
    "python object": ("rules: !!python/object/apply:os.system ['true']", "t.yaml:1:8: YAML tags are not allowed"),
    "python name": ("rules:\n  - !!python/name:os.system", "t.yaml:2:5: YAML tags are not allowed"),
    "own tag": ("rules: !mine 3", "t.yaml:1:8: YAML tags are not allowed"),
    "binary": ("rules: !!binary aGk=", "t.yaml:1:8: YAML tags are not allowed"),
    "tag directive": ("%TAG ! tag:x,2000:\n---\nrules: []", "t.yaml:1:1: tag directives are not allowed"),
    "merge key": ("rules: []\nlists:\n  <<: {a: 1}", "t.yaml:3:3: YAML merge keys"),
    "duplicate key": ("rules: []\nlists: {}\nrules: []", "t.yaml:3:1: duplicate key 'rules'"),
    "duplicate rule key": (
        "rules:\n  - id: a\n    when: 'true'\n    when: 'false'\n    then: {score: 1}",
        "t.yaml:4:5: duplicate key 'when'",
    ),
    "two documents": ("rules: []\n---\nrules: []", "t.yaml:2:1: a rule file is one YAML document"),
    "deep flow": ("rules: " + "[" * 5_000, "t.yaml:1:24: nested deeper than 16 levels"),
    "deep block": ("\n".join(" " * i + "a:" for i in range(500)), "nested deeper than 16 levels"),
    "many nodes": ("rules: [" + "1," * 250_000 + "1]", "more than 200,000 YAML nodes"),
    "a million nodes in an expression": (rule_file("+".join(["1"] * 1_000_000)), "at most 1,000,000 are read"),
    "large file": ("# " + "x" * 1_000_000, "the file has 1,000,002 characters"),
    "not YAML": ("rules: [", "t.yaml:2:1: not YAML"),
    "a tab": ("rules:\n\t- id: x", "t.yaml:2:1: not YAML"),
    "control character": ("# é\nrules: \x01", "t.yaml:2:8: not YAML: the character U+0001 is not allowed"),
    "NUL": ("rules: []\n\n\0", "t.yaml:3:1: not YAML: the character U+0000 is not allowed"),
    "line break in a name": ('rules: [{id: "a\\nb", when: "1 > 0", then: {score: 1}}]', "t.yaml:1:14: 'a\\nb' is not"),
    "a list": ("- 1", "t.yaml:1:1: a rule file must be a mapping"),
    "a scalar": ("true", "t.yaml:1:1: a rule file must be a mapping"),
    "list as a key": ("[a]: 1", "t.yaml:1:1: a key must be text"),
    "unknown section": ("rulse: []", "t.yaml:1:1: unknown key 'rulse' of a rule file (did you mean 'rules'?)"),
    "huge number": ("lists: {a: {values: [" + "9" * 5_000 + "]}}", "a number of 5,000 characters"),
    "infinite number": ("lists: {a: {values: [1e999]}}", "t.yaml:1:22: the number 1e999 is out of range"),
    "not a number": ("lists: {a: {values: [.nan]}}", "t.yaml:1:22: .nan is no number to compute with"),
    "infinity": ("lists: {a: {values: [1, -.INF]}}", "t.yaml:1:25: -.INF is no number to compute with"),
    "infinity in a table": ("tables: {a: {b: +.inf}}", "t.yaml:1:17: +.inf is no number to compute with"),
    "nothing, spelt out": ("~", "t.yaml:1:1: a rule file must be a mapping"),
    "rule that is text": ("rules: [x]", "t.yaml:1:9: a rule must be a mapping"),
    "a table in a table": ("tables: {t: {a: {b: c}}}", "t.yaml:1:17: the value of a must be a single text or number"),
    "an alias in a table": ("tables: {t: &t {a: b}, u: *t}", "t.yaml:1:13: YAML anchors and aliases"),
    "a table that is text": ("tables: {t: x}", "t.yaml:1:13: the table t must be a mapping of texts to texts"),
    "python in a title": (
        "rules: [{id: r, when: amount > 1, then: {alert: fraud, title: '{amount.__class__}'}}]",
        "t.yaml:1:63: unknown name 'amount.__class__' in 'title'",
    ),
    "python in a looked up title": (
        "tables: {t: {a: b}}\nrules: [{id: r, when: amount > 1, then: {alert: fraud, title: '{t[__class__]}'}}]",
        "t.yaml:2:63: unknown name '__class__' in 'title'",
    ),
    "a long title": (
        f"rules: [{{id: r, when: amount > 1, then: {{alert: fraud, title: '{'{amount}' * 300}'}}}}]",
        "'title' is longer than 2,000 characters",
    ),
    "a wait without end": (WATCH % "same: ip, within: 999999999999w", "t.yaml:1:83: 'within' must be from 1s to 90d"),
    "a watch of no field": (WATCH % "same: __class__, within: 1d", "'__class__' is not a text field of an event"),
    "rates beyond numbers": (TEST % ("", "rates: {base: EUR, USD: 1e99}"), "the rate of USD is not a positive decimal"),
    "rates that are none": (TEST % ("", "rates: {USD: 1}"), "'rates' needs 'base' ({base: EUR, USD: 1.085})"),
    "nested metadata": (TEST % ("metadata: {a: [1]}", "with: {}"), "the value of a must be a single value"),
    "a list nobody declared": (TEST % ("", "lists: {l: [a]}"), "unknown list 'l'"),
    "a list of lists": (
        "lists: {l: {values: []}}\n" + TEST % ("", "lists: {l: [[a]]}"),
        "a value must be text or a number",
    ),
    "rules that are text": ("rules: x", "t.yaml:1:8: 'rules' must be a list"),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_files_are_refused_with_their_place(name: str) -> None:
    text, message = FILES[name]
    found = faults(text)
    assert found
    assert message in found[0]


def test_every_fault_of_a_directory_is_named_at_once() -> None:
    good = rule_file("amount > 1").replace("id: r", "id: good")
    bad = "rules:\n  - {id: a, when: 'amuont > 1', then: {score: 1}}\n  - {id: b, when: 'amount >', then: {score: 1}}\n"
    with pytest.raises(RuleErrors) as raised:
        compile({"good.yaml": good, "bad.yaml": bad})
    assert [line.split(": ")[0] for line in raised.value.lines()] == ["bad.yaml:2:20", "bad.yaml:3:27"]


@pytest.mark.parametrize("pattern", ["(a|b){1,450}", "(a|b77){1,900}c", "(x{200}y{200}){2}(x{200}y{200}){2}"])
def test_a_pattern_that_would_cost_milliseconds_an_event_is_refused(pattern: str) -> None:
    """Linear in the text, but by a factor of the compiled pattern's size: the first took 13 ms for 250 characters."""
    assert "too large when compiled" in faults(rule_file(f"matches(method, '{pattern}')"))[0]


def test_a_long_plain_pattern_is_taken() -> None:
    words = "|".join(f"merchant{i:03}" for i in range(40))
    assert faults(rule_file(f"matches(merchant_id, '^({words})$')")) == []


def test_reading_a_directory(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.yml").write_text("rules: []")
    (tmp_path / "one.yaml").write_text("\ufefflists: {}", "utf-8")
    (tmp_path / "notes.txt").write_text("no rule")
    (tmp_path / ".hidden.yaml").write_text("nonsense: [")
    (tmp_path / "folder.yaml").mkdir()
    assert files.read(tmp_path) == {"b/two.yml": "rules: []", "one.yaml": "lists: {}"}
    assert files.read(tmp_path / "one.yaml") == {"one.yaml": "lists: {}"}


@pytest.mark.parametrize("kind", ["away", "dangling", "loop", "folder", "pipe"])
def test_a_rule_file_that_cannot_be_taken_is_not_left_out_silently(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "rules"
    root.mkdir()
    (root / "one.yaml").write_text("rules: []")
    other = root / "other.yaml"
    if kind == "pipe":
        os.mkfifo(other)
    else:
        (tmp_path / "elsewhere.yaml").write_text("rules: []")
        targets = {"away": "../elsewhere.yaml", "dangling": "nowhere.yaml", "loop": "other.yaml", "folder": ".."}
        other.symlink_to(targets[kind])
    with pytest.raises(RuleErrors) as raised:
        files.read(root)
    assert raised.value.lines()[0].startswith("other.yaml: neither a file nor a link")


def test_links_inside_the_directory_are_followed(tmp_path: Path) -> None:
    """A mounted ConfigMap of Kubernetes is made of such links."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "one.yaml").write_text("rules: []")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "one.yaml").symlink_to("..data/one.yaml")
    assert files.read(tmp_path) == {"one.yaml": "rules: []"}


def test_links_to_directories_inside_are_followed_once(tmp_path: Path) -> None:
    """A ConfigMap with paths in folders has a link to each folder."""
    (tmp_path / "..data" / "engagement" / "deep").mkdir(parents=True)
    (tmp_path / "..data" / "engagement" / "deep" / "one.yaml").write_text("rules: []")
    (tmp_path / "engagement").symlink_to("..data/engagement")
    assert files.read(tmp_path) == {"engagement/deep/one.yaml": "rules: []"}


@pytest.mark.parametrize(("name", "target"), [
    ("out", "../elsewhere"), ("again", "real"), ("self", "."), ("up", "real/../.."), ("real/loop", ".."),
    ("real/inner", "../real"),
])  # fmt: skip
def test_links_to_directories_that_lead_out_or_round_are_refused(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "two.yaml").write_text("rules: []")
    root = tmp_path / "rules"
    (root / "real").mkdir(parents=True)
    (root / "real" / "one.yaml").write_text("rules: []")
    (root / name).symlink_to(target)
    with pytest.raises(RuleErrors) as raised:
        files.read(root)
    [line] = raised.value.lines()
    assert "a directory that is read already, or a link out of the rules directory" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "x.yaml:1:1: not UTF-8: byte 0"),
        (b"# \xc3\xa9\nrules:\xff", "x.yaml:2:7: not UTF-8: byte 11"),
        (b"#" * 4_000_001, "x.yaml: the file is larger than 4,000,000 bytes"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(RuleErrors) as raised:
        files.read(tmp_path)
    assert raised.value.lines() == [message]


def test_a_directory_without_rules(tmp_path: Path) -> None:
    with pytest.raises(RuleErrors, match=r"no \.yaml or \.yml file"):
        files.read(tmp_path)
    with pytest.raises(RuleErrors, match="no such rules directory"):
        files.read(tmp_path / "absent")


def test_any_text_either_compiles_or_is_refused_politely() -> None:
    pieces = ["(", ")", "[", "amount", "ip", " and ", " not ", "'", '"', "\\", "\n", "==", " in ", "1e9", "lists.", "é"]
    state = 7
    for _ in range(1_000):
        words = []
        for _ in range(8):
            state = (state * 1103515245 + 12345) % 2**31
            words.append(pieces[state >> 16 & 15])
        text = f"rules: [{{id: r, when: {json.dumps(''.join(words))}, then: {{score: 1}}}}]"
        for line in faults(text):
            assert line.startswith("t.yaml:1:")
