"""Rows of a table as JSON lines, whole columns at a time, with labels sent when they would have been known."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.adapters.mapping import TIME_UNITS, FieldColumn, LabelColumn, Mapping
from engine.domain.fields import BOOL_FIELDS, NUMBER_FIELDS

DAY_MS: Final = 86_400_000
UNSAFE: Final = r'["\\\x00-\x1f]'
"""Characters that JSON text must escape."""
TRUE_TEXTS: Final = (b"1", b"1.0", b"true", b"True", b"TRUE", b"yes", b"fraud")
BOOL_TEXTS: Final = {b"true": (b"True", b"TRUE"), b"false": (b"False", b"FALSE")}
"""How others write truth values in text: Python and pandas, spreadsheets."""
BEFORE_ALL_MS: Final = -(1 << 62)


@dataclass(slots=True)
class Rows:
    """Some rows as JSON lines, and the row each came from, counted from 1 in the file."""

    records: list[bytes]
    lines: list[int] | range


@dataclass(slots=True)
class Labels:
    """Labels not yet due, oldest first: when, what, and the row they came from."""

    due_ms: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    records: list[bytes] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    clock_ms: int = BEFORE_ALL_MS


class Converter:
    """Turns record batches into JSON lines, keeping back the labels that are not due yet."""

    def __init__(self, pa: Any, mapping: Mapping) -> None:
        self.pa, self.pc, self.mapping = pa, pa.compute, mapping
        self.labels = Labels()

    def __call__(self, batch: Any, lines: list[int] | range) -> Rows:
        """The rows of `batch`, with the labels that fall due among them put in before the first row past them."""
        if not batch.num_rows:
            return Rows([], [])
        values = {name: self._values(name, source, batch) for name, source in self.mapping.fields.items()}
        members = [self._member(name, value) for name, value in values.items()]
        records = self._objects(members, batch.num_rows)
        if self.mapping.label is None:
            return Rows(records, lines)
        times = self._times(values["event_time"], batch.num_rows)
        self._hold(self.mapping.label, batch, values, times, lines)
        return self._release(records, lines, times)

    def rest(self) -> Rows:
        """The labels that are still not due after the last row, oldest first."""
        keep, self.labels = self.labels, Labels()
        return Rows(keep.records, keep.lines)

    def _values(self, name: str, source: FieldColumn, batch: Any) -> Any:
        """A field as JSON text: an Arrow array of text with nulls, or one text where it is constant."""
        if not source.column:
            return json.dumps(source.const)
        column = batch.column(batch.schema.get_field_index(source.column))
        if name == "event_time":
            return self._time(column, source)
        if name in NUMBER_FIELDS or name in BOOL_FIELDS:
            return self._number(name, column, source)
        text = self._escape(self._text(column))
        before, _, after = source.format.partition("{}") if source.format else ("", "", "")
        return self._join(f'"{_inner(before)}', text, f'{_inner(after)}"')

    def _number(self, name: str, column: Any, source: FieldColumn) -> Any:
        """A number or boolean as a JSON token; money in text or an exact decimal type keeps its digits, as a string."""
        pa = self.pa
        quoted = name == "amount"
        if source.decimals >= 0 and pa.types.is_floating(column.type):
            # A whole number divided by a power of ten is the double nearest to that decimal; Arrow's own rounding to
            # places is not always.
            scale = 10.0**source.decimals
            column = self.pc.divide(self.pc.round(self.pc.multiply(column, scale), 0, "half_to_even"), scale)
        text = self._text(column)
        if pa.types.is_floating(column.type):
            return self.pc.if_else(self.pc.is_finite(column), text, b"NaN")  # for the decoder to refuse by its name
        if pa.types.is_binary(column.type) or pa.types.is_string(column.type):
            if quoted:
                return self._join('"', self._escape(text), '"')
            if name in BOOL_FIELDS:
                for token, spellings in BOOL_TEXTS.items():
                    text = self.pc.if_else(self.pc.is_in(text, pa.array(spellings, pa.binary())), token, text)
            plain = self.pc.match_substring_regex(text, r"^(-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?|true|false)$")
            return self.pc.if_else(plain, text, self._join('"', self._escape(text), '"'))
        return self._join('"', text, '"') if quoted and pa.types.is_decimal(column.type) else text

    def _time(self, column: Any, source: FieldColumn) -> Any:
        """A time as whole milliseconds since 1970, or text left for the decoder. Times without a zone are UTC."""
        pa, pc = self.pa, self.pc
        if pa.types.is_binary(column.type) or pa.types.is_string(column.type):
            if not source.format:
                text = self._text(column)
                whole = pc.match_substring_regex(text, r"^-?\d+$")
                return pc.if_else(whole, text, self._join('"', self._escape(text), '"'))
            column = pc.strptime(column.cast(pa.string()), source.format, "ms", error_is_null=True)
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("s"))
        if pa.types.is_timestamp(column.type):
            ticks = column.cast(pa.int64())
            unit = column.type.unit
        else:
            ticks, unit = column, source.unit
        factor = TIME_UNITS[unit]
        if pa.types.is_integer(ticks.type):
            ticks = ticks.cast(pa.int64())
            scaled = pc.multiply(ticks, int(factor)) if factor >= 1 else self._floor_divide(ticks, round(1 / factor))
            return self._text(scaled)
        return self._text(pc.floor(pc.multiply(ticks, factor)).cast(pa.int64(), safe=False))

    def _floor_divide(self, ticks: Any, by: int) -> Any:
        down = self.pc.if_else(self.pc.less(ticks, 0), self.pc.subtract(ticks, by - 1), ticks)
        return self.pc.divide(down, by)  # rounds towards zero

    def _text(self, column: Any) -> Any:
        """Any column as an array of UTF-8 bytes."""
        pa = self.pa
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        return column.cast(pa.binary() if pa.types.is_binary(column.type) else pa.string()).cast(pa.binary())

    def _escape(self, text: Any) -> Any:
        """JSON escapes, where any value needs them."""
        if not self.pc.any(self.pc.match_substring_regex(text, UNSAFE)).as_py():
            return text
        escaped = [None if v is None else _inner(v.decode("utf-8", "surrogateescape")) for v in text.to_pylist()]
        return self.pa.array(
            [None if v is None else v.encode("utf-8", "surrogateescape") for v in escaped], self.pa.binary()
        )

    def _join(self, *parts: Any) -> Any:
        """Parts one after the other, row by row; null where any is null."""
        encoded = [part.encode() if isinstance(part, str) else part for part in parts]
        return self.pc.binary_join_element_wise(*encoded, b"")

    def _member(self, name: str, value: Any) -> Any:
        return f'"{name}":{value}'.encode() if isinstance(value, str) else self._join(f'"{name}":', value)

    def _objects(self, members: list[Any], rows: int) -> list[bytes]:
        """Members as one object a row, the null ones left out."""
        if all(isinstance(member, bytes) for member in members):
            return [b"{" + b",".join(members) + b"}"] * rows
        inner = self.pc.binary_join_element_wise(*members, b",", null_handling="skip")
        records: list[bytes] = self._join("{", inner, "}").to_pylist()
        return records

    def _times(self, value: Any, rows: int) -> NDArray[np.int64]:
        """Event times in milliseconds; what is missing or not a number does not move the clock."""
        if isinstance(value, str):
            value = self.pa.array([value.encode()] * rows, self.pa.binary())
        whole = self.pc.match_substring_regex(value, r"^-?\d{1,18}$")
        ticks = self.pc.if_else(whole, value, None).cast(self.pa.string()).cast(self.pa.int64())
        return np.asarray(ticks.fill_null(BEFORE_ALL_MS).to_numpy(zero_copy_only=False), np.int64)

    def _hold(
        self, label: LabelColumn, batch: Any, values: dict[str, Any], times: NDArray[np.int64], lines: list[int] | range
    ) -> None:
        """Keep the labels of a batch until they are due."""
        chosen = np.flatnonzero(self._fraud(batch.column(batch.schema.get_field_index(label.column))) & (times > 0))
        if not len(chosen):
            return
        due = (times[chosen] // DAY_MS + 1) * DAY_MS + label.delay_ms
        order = np.argsort(due, kind="stable")
        keep = self.labels
        for row, at in zip(chosen[order].tolist(), due[order].tolist(), strict=True):
            text = {name: self._cell(values[name], row) for name in ("event_id", "customer_id", "payment_id")}
            keep.records.append(
                b'{"type":"label.assigned","event_id":%b,"event_time":%d,"customer_id":%b,"payment_id":%b,"label":"fraud"}'
                % (text["event_id"][:-1] + b':label"', at, text["customer_id"], text["payment_id"])
            )
            keep.lines.append(lines[row])
        merged = np.concatenate((keep.due_ms, due[order]))
        order = np.argsort(merged, kind="stable")
        keep.due_ms = merged[order]
        keep.records = [keep.records[i] for i in order]
        keep.lines = [keep.lines[i] for i in order]

    def _cell(self, value: Any, row: int) -> bytes:
        cell = value.encode() if isinstance(value, str) else value[row].as_py()
        return cell if cell is not None else b'""'

    def _fraud(self, column: Any) -> NDArray[np.bool_]:
        """Which rows are labelled fraud: a number that is not 0, true, or one of `TRUE_TEXTS`."""
        pa, pc = self.pa, self.pc
        if pa.types.is_boolean(column.type):
            chosen = column
        elif pa.types.is_binary(column.type) or pa.types.is_string(column.type):
            chosen = pc.is_in(self._text(column), pa.array(TRUE_TEXTS, pa.binary()))
        else:
            chosen = pc.not_equal(column, 0)
        return np.asarray(chosen.fill_null(False).to_numpy(zero_copy_only=False), np.bool_)

    def _release(self, records: list[bytes], lines: list[int] | range, times: NDArray[np.int64]) -> Rows:
        """Put each label that is due before the first row at or past its time."""
        keep = self.labels
        clock = np.maximum.accumulate(np.maximum(times, keep.clock_ms))
        keep.clock_ms = int(clock[-1])
        count = int(np.searchsorted(keep.due_ms, keep.clock_ms, "right"))
        if not count:
            return Rows(records, lines)
        out: list[bytes] = []
        out_lines: list[int] = []
        start = 0
        for i, at in enumerate(np.searchsorted(clock, keep.due_ms[:count], "left").tolist()):
            out += records[start:at]
            out_lines += lines[start:at]
            out.append(keep.records[i])
            out_lines.append(keep.lines[i])
            start = at
        keep.due_ms, keep.records, keep.lines = keep.due_ms[count:], keep.records[count:], keep.lines[count:]
        return Rows(out + records[start:], [*out_lines, *lines[start:]])


def _inner(text: str) -> str:
    """Text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
