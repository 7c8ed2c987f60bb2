"""Which column of a table is which field of an event: `--map` of `steward replay`.

A mapping is a YAML file. Each key is an event field; its value names a column, or says more:

    type: {const: payment.requested}
    event_id: {column: TRANSACTION_ID, format: "t{}"}
    event_time: {column: TX_DATETIME}
    amount: {column: TX_AMOUNT, decimals: 2}
    merchant_id: SHOP
    label: {column: TX_FRAUD, delay: 7d}

`label` is special where it has a `delay`: it makes `label.assigned` events (see `LabelColumn`).
"""

import difflib
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from engine.domain.durations import parse_duration
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS

SHIPPED: Final = Path(__file__).parent / "mappings"
TIME_UNITS: Final = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
FIELDS: Final = tuple(name for name in (*STRING_FIELDS, *NUMBER_FIELDS, *BOOL_FIELDS) if name != "amount_base")
FIELDS_ALL: Final = (*FIELDS, "event_time")
REQUIRED: Final = ("event_id", "type", "event_time", "customer_id")
OPTIONS: Final = {"const", "column", "format", "unit", "decimals"}
MAPPING_BYTES_MAX: Final = 1 << 20


class SourceError(Exception):
    """A source that cannot be read, or no further: what, where, and what to do about it."""


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """Where one field comes from.

    Attributes:
        column: the column's name; empty where the field is `const`.
        const: the same value for every row.
        format: text around the value of a string field, with `{}` for it; of a time, a `strptime` pattern in UTC.
        unit: of a whole number that is a time: s, ms, us or ns since 1970.
        decimals: round a binary floating-point amount to so many places; -1 leaves it as it is.
    """

    column: str = ""
    const: str | int | float | bool | None = None
    format: str = ""
    unit: str = "ms"
    decimals: int = -1


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column that says which rows turned out to be fraud.

    Each row where it is true becomes a second event, `label.assigned` with `label` fraud, `delay` after the end of the
    row's own UTC day: with 7 d, labels of day d arrive at 00:00 of day d + 8, before that day's first row. Labels due
    after the last row of the file are not sent.
    """

    column: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A whole mapping; `name` is for messages."""

    name: str
    fields: dict[str, FieldColumn] = field(default_factory=dict)
    label: LabelColumn | None = None

    @property
    def columns(self) -> set[str]:
        """Every column it needs."""
        named = {source.column for source in self.fields.values() if source.column}
        return named | ({self.label.column} if self.label else set())


def shipped() -> list[str]:
    """Names of the mappings that come with Steward."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_mapping(name: str) -> Mapping:
    """Read a mapping by the name of a shipped one or the path of a file. Raises `SourceError`."""
    path = SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    try:
        return parse(name, load_yaml(name, path))
    except FileNotFoundError:
        raise SourceError(f"mapping {name}: no such file, nor a shipped mapping ({', '.join(shipped())})") from None


def load_yaml(name: str, path: Path) -> Any:
    """The YAML of a mapping. Raises `FileNotFoundError`, and `SourceError` on what cannot be read."""
    try:
        if path.stat().st_size > MAPPING_BYTES_MAX:
            raise SourceError(f"mapping {name}: over {MAPPING_BYTES_MAX} bytes")
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"mapping {name}: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SourceError(f"mapping {name}{where}: {getattr(error, 'problem', None) or error}") from None


def parse(name: str, content: Any) -> Mapping:
    """Check a mapping as loaded from YAML. Raises `SourceError` naming the field that is wrong."""
    if not isinstance(content, dict) or not content:
        raise SourceError(f"mapping {name}: expected fields and their columns, such as `amount: {{column: TX_AMOUNT}}`")
    fields: dict[str, FieldColumn] = {}
    label: LabelColumn | None = None
    for key, value in content.items():
        if key == "label" and isinstance(value, dict) and "delay" in value:
            label = _label(name, value)
        elif key not in FIELDS_ALL:
            near = difflib.get_close_matches(str(key), FIELDS_ALL, 1)
            raise SourceError(f"mapping {name}: no event field {key!r}" + (f"; {near[0]}?" if near else ""))
        else:
            fields[key] = _field(name, key, {"column": value} if isinstance(value, str) else value)
    missing = [required for required in REQUIRED if required not in fields]
    if missing:
        raise SourceError(f"mapping {name}: nothing gives {', '.join(missing)}, which every event needs")
    if label and "payment_id" not in fields:
        raise SourceError(f"mapping {name}: label needs payment_id")
    return Mapping(name, fields, label)


def _field(name: str, key: str, value: Any) -> FieldColumn:
    where = f"mapping {name}: {key}"
    if not isinstance(value, dict) or ("column" in value) == ("const" in value):
        raise SourceError(f"{where}: give a column's name, {{column: NAME}} or {{const: VALUE}}")
    unknown = sorted(str(option) for option in set(value) - OPTIONS)
    if unknown:
        raise SourceError(f"{where}: no option {unknown[0]!r}; known: {', '.join(sorted(OPTIONS))}")
    if "const" in value and not isinstance(value["const"], str | int | float | bool):
        raise SourceError(f"{where}: const must be text, a number or a boolean")
    unit, decimals, pattern = value.get("unit", "ms"), value.get("decimals", -1), value.get("format", "")
    if unit not in TIME_UNITS:
        raise SourceError(f"{where}: unit must be one of {', '.join(TIME_UNITS)}")
    if not isinstance(decimals, int) or not -1 <= decimals <= 4:
        raise SourceError(f"{where}: decimals must be a whole number from 0 to 4")
    if not isinstance(pattern, str) or (pattern and key != "event_time" and pattern.count("{}") != 1):
        raise SourceError(f"{where}: format must be text with one {{}} in it")
    if not isinstance(value.get("column", ""), str):
        raise SourceError(f"{where}: column must be a name in text")
    return FieldColumn(value.get("column", ""), value.get("const"), pattern, unit, decimals)


def _label(name: str, value: MappingOf[str, Any]) -> LabelColumn:
    if set(value) != {"column", "delay"} or not isinstance(value["column"], str):
        raise SourceError(f"mapping {name}: label needs exactly {{column: NAME, delay: 7d}}")
    try:
        return LabelColumn(value["column"], parse_duration(str(value["delay"])))
    except ValueError as error:
        raise SourceError(f"mapping {name}: label: {error}") from None


def identity(columns: list[str]) -> Mapping | None:
    """The mapping of a table whose columns are named like event fields; `None` where a required one is missing."""
    if not set(REQUIRED) <= set(columns):
        return None
    return Mapping("column names", {name: FieldColumn(name) for name in FIELDS_ALL if name in columns})


def choose(columns: list[str], mapping: Mapping | None, where: str) -> Mapping:
    """The given mapping, checked against the table's columns, or the one that fits them. Raises `SourceError`."""
    chosen = _fitting(columns, mapping, where)
    twice = sorted(name for name in chosen.columns if columns.count(name) > 1)
    if twice:
        raise SourceError(f"{where}: the column {twice[0]!r} is there more than once")
    return chosen


def _fitting(columns: list[str], mapping: Mapping | None, where: str) -> Mapping:
    if mapping is not None:
        missing = sorted(mapping.columns - set(columns))
        if missing:
            have = ", ".join(columns[:30])
            raise SourceError(f"{where}: no column {missing[0]!r}, which mapping {mapping.name} needs; it has {have}")
        return mapping
    found = identity(columns)
    if found is not None:
        return found
    for name in shipped():
        candidate = read_mapping(name)
        if candidate.columns <= set(columns):
            return candidate
    lacking = ", ".join(name for name in REQUIRED if name not in columns)
    raise SourceError(
        f"{where}: no columns {lacking}; say which columns are the event fields with --map FILE or --map NAME "
        f"(shipped: {', '.join(shipped())})"
    )
