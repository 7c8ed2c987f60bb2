"""Batches written out as rows, and rule files written as one line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from engine.domain.hashing import hash64
from engine.features.columns import Columns
from engine.ruleset import RuleErrors, RuleSet, compile

TIME_MS = 1_767_268_800_000


class Config:
    """As much of a message's configuration as the type needs."""

    def __init__(self, tag: str) -> None:
        self.tag = tag


class Event:
    """A decoded event: its fields as attributes, its type as msgspec keeps it."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.__struct_config__ = Config(row.get("type", "payment.requested"))
        for name, value in row.items():
            if name != "type":
                setattr(self, name, value)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Rows of field values (None or absent: missing) as columns; every event carries a decision."""
    n = len(rows)
    whole, exponent = np.zeros(n, np.int64), np.full(n, -1, np.int8)
    full = [{"type": "payment.requested", **row} for row in rows]

    def hashes(name: str) -> list[int]:
        return [0 if row.get(name) is None else hash64(row[name]) for row in full]

    def numbers(name: str) -> list[float]:
        return [np.nan if row.get(name) is None else float(row[name]) for row in full]

    def flags(name: str) -> list[int]:
        return [-1 if row.get(name) is None else int(row[name]) for row in full]

    return Columns(
        n=n,
        time_ms=np.array([row.get("event_time", TIME_MS) for row in full], np.int64),
        strings=np.array([hashes(name) for name in STRING_FIELDS], np.uint64).reshape(len(STRING_FIELDS), n),
        numbers=np.array([numbers(name) for name in NUMBER_FIELDS], np.float64).reshape(len(NUMBER_FIELDS), n),
        bools=np.array([flags(name) for name in BOOL_FIELDS], np.int8).reshape(len(BOOL_FIELDS), n),
        minor=whole,
        exponent=exponent,
        base_minor=whole,
        base_exponent=exponent,
        decides=np.ones(n, np.bool_),
        late=np.zeros(n, np.bool_),
        events=[Event(row) for row in full],
    )


def rule_file(when: str, head: str = "", rule: str = "then: {decision: review}") -> str:
    """A file with one rule `r`; `head` stands before it."""
    return f"{head}\nrules:\n  - id: r\n    when: {json.dumps(when)}\n    {rule}\n"


def ruleset_of(text: str) -> RuleSet:
    """Compile one file."""
    return compile({"t.yaml": text})


def faults(text: str) -> list[str]:
    """The headlines of a file's faults; none where it compiles."""
    try:
        compile({"t.yaml": text})
    except RuleErrors as errors:
        return errors.lines()
    return []
