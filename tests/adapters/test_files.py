"""Sources cut into records with their lines, tables mapped to events, and outputs written with a digest."""

import gzip
import hashlib
import io
import itertools
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.adapters import files
from engine.adapters.files import DirectorySink, OutputError, Source, SourceError, open_source, read_mapping
from engine.adapters.mapping import parse
from engine.core.decode import Decoder
from engine.domain.outputs import DeadLetter

DAY_MS = 86_400_000
T0 = datetime(2018, 4, 1, tzinfo=UTC)
T0_MS = 1_522_540_800_000
MINIMAL = {
    "event_id": {"column": "id"},
    "type": {"const": "payment.requested"},
    "event_time": {"column": "at"},
    "customer_id": {"column": "who"},
}


def records(source: Source) -> list[bytes]:
    with source:
        return [record for chunk in source for record in chunk.records]


def numbered(source: Source) -> list[tuple[bytes, int]]:
    with source:
        return [(record, int(chunk.source(i)["line"])) for chunk in source for i, record in enumerate(chunk.records)]


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=3)
    return path


def packers() -> dict[str, Callable[[bytes], bytes]]:
    return {"": lambda data: data, ".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}


@pytest.mark.parametrize("packed", packers())
@pytest.mark.parametrize("kind", [".ndjson", ".jsonl", ".json"])
def test_lines_come_out_as_they_went_in(tmp_path: Path, kind: str, packed: str) -> None:
    lines = [b'{"event_id":"e%d"}' % i for i in range(1234)]
    path = tmp_path / f"events{kind}{packed}"
    path.write_bytes(packers()[packed](b"\n".join(lines)))
    source = open_source(path, batch=100)
    with source:
        chunks = list(source)
    assert [len(chunk.records) for chunk in chunks] == [100] * 12 + [34]
    assert [record for chunk in chunks for record in chunk.records] == lines
    assert chunks[3].source(5) == {"file": str(path), "line": 306}
    assert source.total == path.stat().st_size
    assert source.unit == "bytes"


def test_a_name_that_ends_in_gz_alone_is_ndjson(tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(b"{}\n"))
    assert records(open_source(path)) == [b"{}"]


@given(
    lines=st.lists(
        (st.binary(max_size=30) | st.text(" \t\rx{", max_size=4).map(str.encode)).map(
            lambda b: b.replace(b"\n", b"").replace(b"\r", b"")
        ),
        max_size=30,
    ),
    block=st.integers(1, 40),
    ending=st.sampled_from((b"\n", b"\r\n")),
    last=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_blocks_never_show(lines: list[bytes], block: int, ending: bytes, last: bool) -> None:
    data = ending.join(lines) + (ending if last else b"")
    found = [
        (record, line)
        for rows in files._lines("x.ndjson", io.BytesIO(data), block)
        for record, line in zip(rows.records, rows.lines, strict=True)
    ]
    plain = data.removeprefix(b"\xef\xbb\xbf") if block >= 3 else data
    expected = [(line.rstrip(b"\r"), i) for i, line in enumerate(plain.split(b"\n"), 1) if line.strip(b" \t\r")]
    assert found == expected


def test_bad_lines_are_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b'\xef\xbb\xbf{"a":1}\r\n\n  \nnot json\n\xff\xfe\n' + b"x" * 70_000 + b"\n{}")
    assert numbered(open_source(path)) == [
        (b'{"a":1}', 1), (b"not json", 4), (b"\xff\xfe", 5), (b"x" * 70_000, 6), (b"{}", 7)
    ]  # fmt: skip


def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    path.write_bytes(b"a\n" + b"x" * (files.LINE_BYTES_MAX + 3_000_000) + b"\nb\n")
    found = numbered(open_source(path))
    assert [(len(record), line) for record, line in found] == [(1, 1), (files.LINE_BYTES_MAX, 2), (1, 3)]


def test_standard_input_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin(NamedTuple):
        buffer: io.BytesIO

    monkeypatch.setattr(sys, "stdin", Stdin(io.BytesIO(b"{}\n" * 7)))
    source = open_source("-", batch=5)
    assert [(len(chunk.records), chunk.source(0)) for chunk in source] == [
        (5, {"file": "-", "line": 1}), (2, {"file": "-", "line": 6})
    ]  # fmt: skip
    assert source.total is None
    source.close()
    assert not sys.stdin.buffer.closed


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.ndjson", None, "no such file"),
        ("events.xlsx", b"", r"\.xlsx is not a kind of source"),
        ("events", b"", "no ending is not a kind of source"),
        ("events.parquet.gz", b"", "is not a kind of source"),
        ("events.parquet", b"PAR1 but not really", "not a readable Parquet file"),
        ("events.ndjson.gz", b"not gzip", "damaged or cut short"),
        ("events.ndjson.gz", gzip.compress(b"{}\n" * 99999)[:-30], "damaged or cut short"),
        ("events.ndjson.zst", b"not zstandard", "damaged or cut short"),
        ("events.json", b"[{}]", "one event a line"),
        ("events.csv", b"", "no header line"),
        ("events.csv", b"a,b\n1,2\n", "no columns event_id, type"),
        ("events.csv", b"event_id,m\xe9thode\n1,2\n", "no header line of column names: .*utf-8"),
        ("events.csv", b"event_id,type,event_time,customer_id,type\n1,2,3,4,5\n", "'type' is there more than once"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        records(open_source(path))
    assert str(path) in str(caught.value)


def test_a_directory_is_no_source(tmp_path: Path) -> None:
    (tmp_path / "d.ndjson").mkdir()
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(tmp_path / "d.ndjson")


def test_columns_named_like_fields_need_no_mapping(tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "t.parquet",
        event_id=['quote " and \\', "b", "c\x01"],
        type=["payment.requested"] * 3,
        event_time=pa.array([T0_MS, T0_MS + 1, None], pa.int64()),
        customer_id=["é", None, "x"],
        amount=[12.5, 1e300, float("nan")],
        currency=pa.array(["EUR", "EUR", "JPY"]).dictionary_encode(),
        three_ds=[True, None, False],
        lat=[48.5, None, -0.25],
        unrelated=[1, 2, 3],
    )
    found = records(open_source(path))
    assert json.loads(found[0]) == {
        "event_id": 'quote " and \\', "type": "payment.requested", "event_time": T0_MS, "customer_id": "é",
        "amount": 12.5, "currency": "EUR", "three_ds": True, "lat": 48.5,
    }  # fmt: skip
    assert json.loads(found[1]) == {
        "event_id": "b", "type": "payment.requested", "event_time": T0_MS + 1, "amount": 1e300, "currency": "EUR"
    }  # fmt: skip
    assert b'"amount":NaN' in found[2]  # for the decoder to refuse
    assert b"event_time" not in found[2]
    assert json.loads(found[2].replace(b"nan", b"0"))["event_id"] == "c\x01"


@pytest.mark.parametrize(
    ("column", "options", "expected"),
    [
        (pa.array([T0, None], pa.timestamp("us")), {}, T0_MS),
        (pa.array([T0, None], pa.timestamp("ns", "UTC")), {}, T0_MS),
        (pa.array([T0, None], pa.timestamp("s")), {}, T0_MS),
        (pa.array([date(2018, 4, 1), None]), {}, T0_MS),
        (pa.array([T0_MS // 1000, None], pa.int32()), {"unit": "s"}, T0_MS),
        (pa.array([T0_MS * 1000 + 999, None], pa.int64()), {"unit": "us"}, T0_MS),
        (pa.array([-1, None], pa.int64()), {"unit": "ns"}, -1),
        (pa.array([T0_MS / 1000 + 0.25, None]), {"unit": "s"}, T0_MS + 250),
        (pa.array(["01/04/2018 00:00", None]), {"format": "%d/%m/%Y %H:%M"}, T0_MS),
        (pa.array(["2018-04-01T00:00:00Z", None]), {}, "2018-04-01T00:00:00Z"),
        (pa.array([str(T0_MS), None]), {}, T0_MS),
    ],
)
def test_times(tmp_path: Path, column: Any, options: dict[str, str], expected: int | str) -> None:
    path = parquet(tmp_path / "t.parquet", id=["a", "b"], at=column, who=["x", "x"])
    mapping = parse("test", {**MINIMAL, "event_time": {"column": "at", **options}})
    first, second = map(json.loads, records(open_source(path, mapping)))
    assert first["event_time"] == expected
    assert "event_time" not in second


@pytest.mark.parametrize(
    ("column", "options", "expected"),
    [
        (pa.array([57.16]), {}, b"57.16"),
        (pa.array([57.16], pa.float32()), {}, b"57.16"),
        (pa.array([0.1 + 0.2]), {"decimals": 2}, b"0.3"),
        (pa.array([12]), {}, b"12"),
        (pa.array([Decimal("12.340")]), {}, b'"12.340"'),
        (pa.array(["19.990"]), {}, b'"19.990"'),
    ],
)
def test_amounts_keep_their_digits(tmp_path: Path, column: Any, options: dict[str, Any], expected: bytes) -> None:
    path = parquet(tmp_path / "t.parquet", id=["a"], at=[T0_MS], who=["x"], sum=column)
    mapping = parse("test", {**MINIMAL, "amount": {"column": "sum", **options}})
    assert records(open_source(path, mapping))[0].endswith(b'"amount":' + expected + b"}")


def test_rounded_amounts_have_no_more_than_their_decimals(tmp_path: Path) -> None:
    cents = range(1, 100_000, 7)
    n = len(cents)
    column = [cent / 100.0 + 1e-9 for cent in cents]
    path = parquet(tmp_path / "t.parquet", id=["a"] * n, at=[T0_MS] * n, who=["x"] * n, sum=column)
    mapping = parse("test", {**MINIMAL, "amount": {"column": "sum", "decimals": 2}})
    found = [json.loads(record, parse_float=Decimal)["amount"] for record in records(open_source(path, mapping))]
    assert [amount * 100 for amount in found] == list(cents)


def handbook(path: Path, days: list[float], fraud: list[int]) -> Path:
    n = len(days)
    return parquet(
        path,
        TRANSACTION_ID=pa.array(range(n), pa.int32()),
        TX_DATETIME=pa.array([T0_MS + int(day * DAY_MS) for day in days], pa.timestamp("ms")),
        CUSTOMER_ID=pa.array([596 + i for i in range(n)], pa.int32()),
        TERMINAL_ID=pa.array([3156] * n, pa.int32()),
        TX_AMOUNT=[57.16] * n,
        TX_FRAUD=pa.array(fraud, pa.int8()),
        TX_FRAUD_SCENARIO=pa.array(fraud, pa.int8()),
    )


@pytest.mark.parametrize("named", [True, False])
def test_the_handbook_mapping(tmp_path: Path, named: bool) -> None:
    path = handbook(tmp_path / "tx.parquet", [0.5, 0.75], [1, 0])
    found = [json.loads(record) for record in records(open_source(path, read_mapping("handbook") if named else None))]
    assert found[1] == {
        "type": "payment.requested", "event_id": "t1", "payment_id": "p1", "event_time": T0_MS + DAY_MS * 3 // 4,
        "customer_id": "597", "terminal_id": "3156", "amount": 57.16, "currency": "EUR",
    }  # fmt: skip
    assert len(found) == 2
    assert b"SCENARIO" not in b"".join(records(open_source(path)))


def test_labels_of_a_day_come_before_the_first_row_of_the_eighth_day_after(tmp_path: Path) -> None:
    days = [0.1, 0.9, 1.5, 7.99, 8.0, 8.2, 9.5, 20.0]
    path = handbook(tmp_path / "tx.parquet", days, [1, 1, 1, 0, 0, 0, 1, 1])
    found = [(json.loads(record), line) for record, line in numbered(open_source(path, batch=2))]
    order = [event["event_id"] for event, _ in found]
    assert order == ["t0", "t1", "t2", "t3", "t0:label", "t1:label", "t4", "t5", "t2:label", "t6", "t6:label", "t7"]
    label, line = found[5]
    assert label == {
        "type": "label.assigned", "event_id": "t1:label", "event_time": T0_MS + 8 * DAY_MS, "customer_id": "597",
        "payment_id": "p1", "label": "fraud",
    }  # fmt: skip
    assert line == 2
    times = [event["event_time"] for event, _ in found]
    assert times == sorted(times)


@given(
    rows=st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=40),
    group=st.integers(1, 10),
)
@settings(max_examples=60, deadline=None)
def test_labels_against_a_plain_merge(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, bool]], group: int
) -> None:
    path = tmp_path_factory.mktemp("labels") / "tx.parquet"
    rows.sort()
    times = [T0_MS + int(day * DAY_MS) for day, _ in rows]
    columns = {"id": [f"e{i}" for i in range(len(rows))], "at": times, "who": ["x"] * len(rows)}
    pq.write_table(pa.table({**columns, "bad": [bad for _, bad in rows]}), path, row_group_size=group)
    mapping = parse("test", {**MINIMAL, "payment_id": "id", "label": {"column": "bad", "delay": "2d"}})
    labels = [
        ((t // DAY_MS + 3) * DAY_MS, f"e{i}:label")
        for i, (t, (_, bad)) in enumerate(zip(times, rows, strict=True))
        if bad
    ]
    labels.sort(key=lambda label: label[0])
    expected = []
    for i, t in enumerate(times):
        while labels and labels[0][0] <= t:
            expected.append(labels.pop(0)[1])
        expected.append(f"e{i}")
    assert [json.loads(record)["event_id"] for record in records(open_source(path, mapping))] == expected


def test_csv_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"\xef\xbb\xbfevent_id,type,event_time,customer_id,amount,currency,lat,three_ds,note\n"
        b"007,payment.requested,2018-04-01T00:00:00Z,00042,1.50,EUR,48.5,true,x\n"
        b'"a ""b"", c",payment.requested,1522540800000,c,,EUR,,,"two\nlines"\n'
        b"too,few\n"
        b"\xff,payment.requested,1522540800000,c,1.00,EUR,north,,\n"
    )
    found = sorted(numbered(open_source(path)), key=lambda row: row[1])
    assert json.loads(found[0][0]) == {
        "event_id": "007", "type": "payment.requested", "event_time": "2018-04-01T00:00:00Z", "customer_id": "00042",
        "amount": "1.50", "currency": "EUR", "lat": 48.5, "three_ds": True,
    }  # fmt: skip
    assert json.loads(found[1][0])["event_id"] == 'a "b", c'
    assert "amount" not in json.loads(found[1][0])
    assert found[2] == (b"too,few", 4)
    odd, line = found[3]
    assert (b'"event_id":"\xff"' in odd, b'"lat":"north"' in odd, line) == (True, True, 5)
    assert [line for _, line in found] == [2, 3, 4, 5]


def test_truth_values_in_text_as_python_and_spreadsheets_write_them(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    texts = ["true", "True", "TRUE", "false", "False", "FALSE", "", "yes", "1"]
    rows = [f"e{i},payment.requested,{T0_MS},c,{text}" for i, text in enumerate(texts)]
    path.write_text("\n".join(["event_id,type,event_time,customer_id,three_ds", *rows]))
    found = [json.loads(record).get("three_ds") for record in records(open_source(path))]
    assert found == [True, True, True, False, False, False, None, "yes", 1]


def test_numbers_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    values = [1.5, float("nan"), float("inf"), float("-inf"), None]
    ids, same = [f"e{i}" for i in range(5)], ["x"] * 5
    path = parquet(
        tmp_path / "t.parquet", event_id=ids, type=["payment.requested"] * 5, event_time=[T0_MS] * 5, customer_id=same,
        payment_id=ids, amount=values, currency=["EUR"] * 5,
    )  # fmt: skip
    decoded = Decoder().decode(records(open_source(path)))
    assert [reject.reason for reject in decoded.rejects] == ["amount_not_finite"] * 3 + ["missing_field"]


def test_csv_rows_of_the_wrong_width_are_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = ["too,few" if i % 1000 == 7 else f'"e\n{i}",payment.requested,{T0_MS},c' for i in range(50_000)]
    path.write_text("\n".join(["event_id,type,event_time,customer_id", *rows]))
    found = numbered(open_source(path))
    wrong = [line for record, line in found if record == b"too,few"]
    assert wrong == [9 + 1000 * i for i in range(50)]
    good = {line: json.loads(record)["event_id"] for record, line in found if record != b"too,few"}
    assert good == {i + 2: f"e\n{i}" for i in range(50_000) if i % 1000 != 7}


def test_packed_csv(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    lines = [f"e{i},payment.requested,{T0_MS + i},c" for i in range(5000)]
    path.write_bytes(gzip.compress("\n".join(["event_id,type,event_time,customer_id", *lines]).encode()))
    found = numbered(open_source(path))
    assert [line for _, line in found] == list(range(2, 5002))
    assert json.loads(found[4999][0])["event_time"] == T0_MS + 4999


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"amont": "A", **MINIMAL}, "no event field 'amont'; amount"),
        ({"type": {"const": "x"}}, "nothing gives event_id, event_time, customer_id"),
        ({**MINIMAL, "amount": {"column": "a", "const": 1}}, "amount: give a column"),
        ({**MINIMAL, "amount": {"column": "a", "colour": 1}}, "no option 'colour'"),
        ({**MINIMAL, "amount": {"column": "a", "decimals": 9}}, "decimals must be"),
        ({**MINIMAL, "amount": 5}, "amount: give a column"),
        ({**MINIMAL, "ip": {"column": "a", "format": "no braces"}}, "format must be"),
        ({**MINIMAL, "event_time": {"column": "at", "unit": "years"}}, "unit must be one of s, ms, us, ns"),
        ({**MINIMAL, "ip": {"const": None}}, "const must be"),
        ({**MINIMAL, "label": {"column": "a", "delay": "soon"}, "payment_id": "p"}, "label: "),
        ({**MINIMAL, "label": {"column": "a", "delay": "7d"}}, "label needs payment_id"),
        ([], "expected fields"),
    ],
)
def test_a_wrong_mapping_names_the_field(content: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        parse("mine", content)


def test_mapping_files(tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text("type: {const: payment.requested}\nevent_id: id\nevent_time: at\ncustomer_id: who\n")
    assert read_mapping(str(good)).columns == {"id", "at", "who"}
    bad = tmp_path / "bad.yaml"
    bad.write_text("type: [\n")
    with pytest.raises(SourceError, match=r"bad\.yaml:\d+:\d+: "):
        read_mapping(str(bad))
    with pytest.raises(SourceError, match=r"no such file, nor a shipped mapping .*handbook"):
        read_mapping("nowhere")


def test_a_mapping_that_does_not_fit_names_the_column(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", id=["a"], at=[T0_MS])
    with pytest.raises(SourceError, match="no column 'who', which mapping mine needs; it has id, at"):
        open_source(path, parse("mine", MINIMAL))


def test_progress_of_a_table_is_in_rows(tmp_path: Path) -> None:
    source = open_source(handbook(tmp_path / "tx.parquet", [0.1] * 10, [0] * 10))
    assert (source.total, source.unit, source.done) == (10, "rows", 0)
    records(source)
    assert source.done == 10


class Out(NamedTuple):
    """As `engine.core.effects.Output`."""

    kind: str
    data: bytes
    key: bytes = b""
    id: str = ""
    time_ms: int = 0


LETTER = (
    b'{"reason":"not_json","detail":"x","source":{"file":"a.ndjson","line":7},"raw_sha256":"00","raw_redacted":"{"}'
)

OUTPUTS = [
    Out("decision", b'{"a":1}'),
    Out("alert", b'{"b":2}'),
    Out("decision", b'{"c":3}'),
    Out("dead_letter", LETTER),
]


def test_outputs_go_to_the_file_of_their_kind(tmp_path: Path) -> None:
    sink = DirectorySink(tmp_path / "new" / "out", features=True)
    sink.write(OUTPUTS)
    sink.write([])
    sink.write_features([b"f1", b"f2"])
    sink.close()
    texts = {path.name: path.read_bytes() for path in (tmp_path / "new" / "out").iterdir()}
    assert texts == {
        "decisions.ndjson": b'{"a":1}\n{"c":3}\n', "alerts.ndjson": b'{"b":2}\n', "rewards.ndjson": b"",
        "offers.ndjson": b"", "lifecycle.ndjson": b"", "dead_letters.ndjson": LETTER + b"\n",
        "features.ndjson": b"f1\nf2\n",
    }  # fmt: skip
    assert sink.counts["decision"] == 2
    names = ("decisions", "alerts", "rewards", "offers", "lifecycle", "dead_letters")
    texts["dead_letters.ndjson"] = LETTER.replace(b'{"file":"a.ndjson","line":7}', b"{}") + b"\n"
    parts = b"".join(hashlib.sha256(texts[f"{name}.ndjson"]).digest() for name in names)
    assert sink.digest() == hashlib.sha256(parts).hexdigest()


def test_the_digest_does_not_see_where_a_history_was_kept() -> None:
    def digest(reason: str, **source: Any) -> str:
        sink = DirectorySink(None)
        sink.write([Out("dead_letter", msgspec.json.encode(DeadLetter(reason, "why", source, "00", "{}")))])
        return sink.digest()

    assert digest("not_json", file="a.ndjson", line=7) == digest("not_json", file="b.ndjson.gz", line=2)
    assert digest("not_json", file="a.ndjson", line=7) != digest("too_deep", file="a.ndjson", line=7)


@given(cuts=st.lists(st.integers(0, 4), max_size=4))
@settings(deadline=None)
def test_the_digest_does_not_see_batches(cuts: list[int]) -> None:
    whole, parts = DirectorySink(None), DirectorySink(None)
    whole.write(OUTPUTS)
    bounds = [0, *sorted(cuts), len(OUTPUTS)]
    for start, stop in itertools.pairwise(bounds):
        parts.write(OUTPUTS[start:stop])
    assert parts.digest() == whole.digest()
    parts.write(OUTPUTS[:1])
    assert parts.digest() != whole.digest()


def test_an_earlier_replay_is_overwritten(tmp_path: Path) -> None:
    first = DirectorySink(tmp_path, features=True)
    first.write(OUTPUTS)
    first.close()
    DirectorySink(tmp_path).close()
    assert (tmp_path / "decisions.ndjson").read_bytes() == b""
    assert not (tmp_path / "features.ndjson").exists()


def test_a_directory_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        DirectorySink(tmp_path / "file" / "out")
    full = DirectorySink(tmp_path / "out")
    full._files["decision"].close()
    full._files["decision"] = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with pytest.raises(OutputError, match="No space left"):
        full.write(OUTPUTS)
    full.close()
