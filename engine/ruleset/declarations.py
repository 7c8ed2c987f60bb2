"""Features, lists and models as declared in YAML."""

import re
from collections.abc import Container, Iterable
from collections.abc import Mapping as FilesMapping
from typing import Final

from engine.features.definition import AGGREGATES, FeatureDef, Filter
from engine.ruleset import list_files
from engine.ruleset.aggregates import define, filter_of
from engine.ruleset.errors import Faults, suggest
from engine.ruleset.functions import BUILTINS, REGISTRY
from engine.ruleset.lists import VALUES_MAX, ValueList
from engine.ruleset.model import AnomalyConfig, FraudConfig
from engine.ruleset.parser import Text
from engine.ruleset.reader import Reader, fail, sequence
from engine.ruleset.types import FIELD_KINDS, parse_window
from engine.ruleset.yaml_loader import Mapping, Node, Scalar

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
FEATURE_KEYS: Final = ("name", "agg", "of", "by", "window", "where", "expr", "description", "owner", "tags")
LIST_KEYS: Final = ("values", "file", "description", "owner")
TABLES_MAX: Final = 100
ENTRIES_MAX: Final = 10_000
ENTRY_CHARS_MAX: Final = 256  # as of the fields that are looked up
MODEL_KEYS: Final = ("anomaly", "fraud")
ANOMALY_KEYS: Final = ("detector", "trees", "height", "window", "seed", "memory", "inputs")
FRAUD_KEYS: Final = ("learner", "seed", "plain", "inputs")
ANOMALY_BOUNDS: Final = {
    "trees": (25, 1, 500),
    "height": (8, 1, 15),
    "window": (250, 1, 1_000_000),
    "seed": (42, 0, 2**63 - 1),
    "memory": (50_000, 100, 10_000_000),
}
"""Numbers of the anomaly model: default, least and greatest."""
DETECTORS: Final = {"half_space_trees": ("trees", "height", "window", "seed"), "tails": ("memory",)}
"""Which of them each detector takes."""
LEARNERS: Final = ("boosted_trees", "logistic")
SEED_BOUNDS: Final = (1, 0, 2**63 - 1)
INPUTS_MAX: Final = 128  # twice the shipped model's; each costs some 50 ns an event
_RESERVED: Final = frozenset({
    "and", "or", "not", "in", "is", "if", "else", "True", "False", "None", "true", "false", "null", "lists", "score",
    "lambda", "for", "while", "def", "class", "import", "from", "as", "with", "try", "except", "finally", "raise",
    "return", "yield", "await", "async", "pass", "break", "continue", "del", "global", "nonlocal", "assert", "elif",
})  # fmt: skip


def feature_name(reader: Reader) -> str:
    """A name an expression can use. Raises `RuleError`."""
    name, node = reader.text("name"), reader.need("name")
    if not NAME.fullmatch(name):
        raise fail(node, f"'{name}' is not a name", "letters, digits and _, at most 64")
    if name in _RESERVED:
        raise fail(node, f"'{name}' is a word of the language")
    if name in FIELD_KINDS:
        raise fail(node, f"'{name}' is an event field", "give the feature another name")
    if name in REGISTRY or name in BUILTINS or name in AGGREGATES:
        raise fail(node, f"'{name}' is a function", "give the feature another name")
    return name


def feature(reader: Reader, name: str, declared: Iterable[str]) -> FeatureDef:
    """A declared aggregate; `declared` are the names of all features, for messages. Raises `RuleError`."""
    faults = Faults()
    agg = faults.take(lambda: _agg(reader), "")
    by = faults.take(lambda: _by(reader), ())
    of = faults.take(lambda: reader.text("of"), None) if reader.has("of") else None
    window_ms = faults.take(lambda: _window(reader), None) if reader.has("window") else None
    where = faults.take(lambda: _where(reader, declared), None) if reader.has("where") else None
    faults.check()
    try:
        return define(name, agg, by, of, window_ms, where)
    except ValueError as fault:
        key = str(fault.args[1])
        raise fail(reader.get(key) or reader.node, str(fault.args[0])) from None


def _agg(reader: Reader) -> str:
    agg = reader.text("agg")
    if agg not in AGGREGATES:
        hint = suggest(agg, list(AGGREGATES)) or f"one of {', '.join(AGGREGATES)}"
        raise fail(reader.need("agg"), f"unknown agg '{agg}'", hint)
    return agg


def _by(reader: Reader) -> tuple[str, ...]:
    reader.need("by")
    return tuple(text for text, _ in reader.texts("by"))


def _window(reader: Reader) -> int:
    node = reader.scalar("window")
    try:
        return parse_window(node.raw)
    except ValueError as fault:
        raise fail(node, str(fault)) from None


def _where(reader: Reader, declared: Iterable[str]) -> Filter:
    reader.text("where")
    return filter_of(Text(reader.scalar("where")), declared)


def value_list(name: Scalar, node: Node, files: FilesMapping[str, str]) -> ValueList:
    """A list of `lists:`; `files` are the texts of the rules directory. Raises `RuleError`."""
    if not NAME.fullmatch(name.raw):
        raise fail(name, f"'{name.raw}' is not a name", "letters, digits and _, at most 64")
    if not isinstance(node, Mapping):
        raise fail(node, f"the list {name.raw} must be a mapping", "write {values: [...]}")
    reader = Reader(node, "a list", LIST_KEYS)
    if reader.has("file"):
        if reader.has("values"):
            raise fail(reader.need("values"), "a list has 'values' or 'file', not both")
        return list_files.read_list(name.raw, reader, files)
    items = sequence(reader.node.get("values") or reader.need("values"), "'values'")
    if len(items) > VALUES_MAX:
        raise fail(node, f"the list has {len(items):,} values; at most {VALUES_MAX:,} are allowed")
    texts: list[str] = []
    numbers: list[float] = []
    for item in items:
        if isinstance(item, Scalar) and isinstance(item.value, str):
            texts.append(item.value)
        elif isinstance(item, Scalar) and isinstance(item.value, (int, float)) and not isinstance(item.value, bool):
            numbers.append(float(item.value))
        else:
            raise fail(item, "a value must be text or a number")
        if texts and numbers:
            raise fail(item, "a list holds text or numbers, not both", "put all values in quotes")
    try:
        return ValueList(name.raw, texts or numbers)
    except ValueError as fault:
        culprit = next((item for item in items if isinstance(item, Scalar) and f"'{item.raw}'" in str(fault)), node)
        raise fail(culprit, str(fault)) from None


def table(name: Scalar, node: Node) -> dict[str, str]:
    """A table of `tables:`: text to text, numbers as they are written. Raises `RuleError`."""
    if not NAME.fullmatch(name.raw):
        raise fail(name, f"'{name.raw}' is not a name", "letters, digits and _, at most 64")
    if not isinstance(node, Mapping):
        raise fail(node, f"the table {name.raw} must be a mapping of texts to texts", "{key: value, …}")
    if len(node.items) > ENTRIES_MAX:
        raise fail(node, f"the table has {len(node.items):,} entries; at most {ENTRIES_MAX:,} are allowed")
    found: dict[str, str] = {}
    for key, (place, value) in node.items.items():
        if not isinstance(value, Scalar) or value.value is None:
            raise fail(value, f"the value of {key} must be a single text or number")
        for part in (place, value):
            if len(part.raw) > ENTRY_CHARS_MAX:
                raise fail(part, f"{len(part.raw):,} characters in a table; at most {ENTRY_CHARS_MAX}")
        found[key] = value.raw
    return found


def anomaly(node: Node, known: list[str]) -> AnomalyConfig:
    """`models.anomaly`. Raises `RuleError`."""
    if not isinstance(node, Mapping):
        raise fail(node, "anomaly must be a mapping")
    reader = Reader(node, "the anomaly model", ANOMALY_KEYS)
    detector = reader.text("detector", "half_space_trees")
    if detector not in DETECTORS:
        raise fail(reader.need("detector"), f"unknown detector '{detector}'", f"one of {', '.join(DETECTORS)}")
    for name in ANOMALY_BOUNDS:
        if reader.has(name) and name not in DETECTORS[detector]:
            raise fail(reader.need(name), f"{detector} takes no '{name}'", f"it takes {', '.join(DETECTORS[detector])}")
    return AnomalyConfig(
        detector=detector,
        **{name: reader.whole(name, *bounds) for name, bounds in ANOMALY_BOUNDS.items()},
        inputs=_inputs(reader, known),
    )


def fraud(node: Node, known: list[str], of_labels: Container[str]) -> FraudConfig:
    """`models.fraud`; `of_labels` has the features that come of arrived labels. Raises `RuleError`."""
    if not isinstance(node, Mapping):
        raise fail(node, "fraud must be a mapping")
    reader = Reader(node, "the fraud model", FRAUD_KEYS)
    learner = reader.text("learner", LEARNERS[0])
    if learner not in LEARNERS:
        raise fail(reader.need("learner"), f"unknown learner '{learner}'", f"one of {', '.join(LEARNERS)}")
    plain = _inputs(reader, known, "plain") if reader.has("plain") else ()
    for name, place in reader.texts("plain") if plain else ():
        if name in of_labels:
            hint = "what is ordinary is judged without labels; name it under 'inputs'"
            raise fail(place, f"'plain' holds '{name}', which comes of labels", hint)
    return FraudConfig(
        _inputs(reader, known),
        plain,
        learner,
        reader.whole("seed", *SEED_BOUNDS),
    )


def _inputs(reader: Reader, known: list[str], key: str = "inputs") -> tuple[str, ...]:
    reader.need(key)
    names = reader.texts(key)
    if not 0 < len(names) <= INPUTS_MAX:
        raise fail(reader.need(key), f"a model has 1 to {INPUTS_MAX} inputs")
    for position, (name, node) in enumerate(names):
        if name not in known:
            hint = suggest(name, known)
            if name in FIELD_KINDS:
                hint = f"declare a derived feature of the field: {{name: …, expr: {name}}}"
            raise fail(node, f"unknown feature '{name}'", hint)
        if name in [other for other, _ in names[:position]]:
            raise fail(node, f"the input '{name}' stands twice")
    return tuple(name for name, _ in names)
