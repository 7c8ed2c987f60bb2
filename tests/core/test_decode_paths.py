"""The fast path against the strict path, on valid and hostile records, whole and cut into batches."""

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.decode import Decoded, Decoder
from engine.domain.currencies import EXPONENTS
from engine.domain.events import EVENT_TYPES
from engine.domain.fields import STRING_FIELDS
from engine.domain.rates import Rates
from tests.core.test_decode import BASE, REFUSED, record
from tests.support.cards import card_number

RATES = Rates("EUR", {"USD": "1.085", "JPY": "160.5", "KWD": "0.33", "GBP": "0.8712"})
COLUMNS = ("time_ms", "strings", "numbers", "bools", "minor", "exponent", "base_minor", "base_exponent")

texts = st.one_of(
    st.text(max_size=20), st.text(alphabet="ab-_.:@{}\"\\\n\x00é\u202e", max_size=12), st.just("x" * 300),
    st.text(alphabet="0123456789 -", min_size=10, max_size=24),
    st.sampled_from(["", "web", "4111111111111111", "\ud800"]),
)  # fmt: skip
numbers = st.one_of(st.integers(-10, 10**20), st.floats(allow_nan=False), st.floats(-180, 180), st.just(10**30))
amounts = st.one_of(
    st.integers(1, 10**7).map(lambda cents: f"{cents / 100:.2f}"), st.integers(1, 10**17),
    st.floats(0, 10**13, allow_nan=False), st.decimals("0", "100000", places=3).map(str),
)  # fmt: skip
times = st.one_of(
    st.integers(0, 4_200_000_000_000), st.datetimes().map(lambda t: t.isoformat() + "Z"),
    st.datetimes().map(lambda t: t.isoformat(timespec="milliseconds") + "+05:30"), texts,
)  # fmt: skip
scalars = st.one_of(texts, numbers, st.booleans(), st.none())
nested = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=12
)
flats = st.dictionaries(texts, st.one_of(texts, numbers, st.booleans()), max_size=4)
optional = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.one_of(texts, texts, nested) for name in STRING_FIELDS if name not in ("type", "currency")},
        "type": st.sampled_from([*EVENT_TYPES, "control.rates", "control.list", "nonsense"]),
        "currency": st.sampled_from([*EXPONENTS, "XXX", "eur"]),
        "amount": st.one_of(amounts, amounts, scalars), "event_time": st.one_of(times, times, scalars),
        "lat": st.one_of(numbers, scalars), "lon": numbers, "score": numbers, "points": numbers,
        "three_ds": st.one_of(st.booleans(), scalars), "metadata": st.one_of(flats, nested), "attributes": flats,
        "consent": st.one_of(st.dictionaries(texts, st.booleans(), max_size=3), nested),
        "schema_version": st.one_of(st.just(1), scalars), "unknown": nested, "x\ty": nested,
    },
)  # fmt: skip
ordinary = st.fixed_dictionaries(
    {"amount": st.integers(1, 10**9).map(lambda cents: cents / 100), "type": st.sampled_from(list(EVENT_TYPES)),
     "currency": st.sampled_from(["EUR", "USD", "GBP", "KWD", "CLF"]), "event_time": st.integers(0, 4 * 10**12)},
    optional={"device_id": st.text("abc019-_", max_size=12), "lat": st.floats(-90, 90), "three_ds": st.booleans(),
              "metadata": st.dictionaries(st.text("abc", max_size=4), st.integers(0, 9) | st.text("ab é"))},
)  # fmt: skip


def dump(changes: dict[str, Any], ascii_only: bool, spaced: bool) -> bytes:
    body = {**BASE, "kind": "nps", "score": 5, "label": "fraud", **changes}
    text = json.dumps(body, ensure_ascii=ascii_only, separators=(" ,\n", ": ") if spaced else (",", ":"))
    return text.encode("utf-8", "surrogatepass")


events = st.builds(dump, st.one_of(ordinary, optional), st.booleans(), st.booleans())


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An event with a few bytes changed, doubled or lost."""
    value = bytearray(draw(events))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value) - 1))
        piece = draw(
            st.one_of(
                st.binary(max_size=3),
                st.sampled_from([b'"', b"{", b"}", b",", b":", b"0", b"\\", b"e5", b"[", b"]", b"-"]),
            )
        )
        value[at : at + draw(st.integers(0, 4))] = piece
        value = value or bytearray(b" ")
    return bytes(value)


hostile = st.one_of(
    events, mutated(), st.binary(max_size=60), st.none(), st.sampled_from([value for _, value in REFUSED])
)


def same(one: Decoded, other: Decoded) -> None:
    assert one.rejects == other.rejects
    assert one.controls == other.controls
    assert one.index.tolist() == other.index.tolist()
    assert one.masked.tolist() == other.masked.tolist()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one.columns, name), getattr(other.columns, name), err_msg=name)
    for left, right in zip(one.columns.events, other.columns.events, strict=True):
        assert type(left) is type(right)
        for field in left.__struct_fields__:
            assert getattr(left, field) == getattr(right, field) or field == "amount", field


def complete(decoded: Decoded, count: int) -> None:
    places = decoded.index.tolist() + [reject.index for reject in decoded.rejects]
    assert len(set(places)) == len(places)
    assert len(places) + len(decoded.controls) == count
    assert len(decoded.raw) == decoded.columns.n == len(decoded.columns.events) == len(decoded.masked)


@settings(max_examples=300, deadline=None)
@given(st.lists(hostile, max_size=6))
def test_both_paths_agree_on_anything(records: list[bytes | None]) -> None:
    fast, strict = Decoder(RATES).decode(records), Decoder(RATES, strict_only=True).decode(records)
    same(fast, strict)
    complete(fast, len(records))
    for reject in fast.rejects:
        assert len(reject.raw_redacted.encode()) <= 2048
        assert reject.raw_sha256 == hashlib.sha256(records[reject.index] or b"").hexdigest()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.builds(dump, ordinary, st.just(True), st.booleans()), min_size=1, max_size=20))
def test_both_paths_agree_on_ordinary_events(records: list[bytes]) -> None:
    fast = Decoder(RATES).decode(records)
    same(fast, Decoder(RATES, strict_only=True).decode(records))
    assert fast.rejects == []
    for i, value in enumerate(records):
        body = json.loads(value, parse_float=str)
        digits = EXPONENTS[body["currency"]]
        assert fast.columns.minor[i] / 10**digits == fast.columns.number("amount")[i] == float(body["amount"])
        base = RATES.convert(int(fast.columns.minor[i]), body["currency"])
        assert (fast.columns.base_minor[i] if fast.columns.base_exponent[i] == 2 else None) == base
        assert math.isnan(fast.columns.number("amount_base")[i]) == (base is None)


@settings(max_examples=60, deadline=None)
@given(st.lists(hostile, max_size=10), st.lists(st.integers(0, 10), max_size=4))
def test_batch_boundaries_change_nothing(records: list[bytes | None], cuts: list[int]) -> None:
    rates = record(type="control.rates", base="USD", rates={"EUR": "0.9"})
    records = [*records[:3], rates, *records[3:]]
    whole = Decoder(RATES).decode(records)
    decoder = Decoder(RATES)
    bounds = sorted({0, len(records), *(min(cut, len(records)) for cut in cuts)})
    parts = [(start, decoder.decode(records[start:end])) for start, end in pairwise(bounds)]
    assert [start + i for start, part in parts for i in part.index.tolist()] == whole.index.tolist()
    assert [r.reason for _, part in parts for r in part.rejects] == [r.reason for r in whole.rejects]
    assert [text for _, part in parts for text in part.raw] == whole.raw
    for name in COLUMNS:
        pieces = np.concatenate([getattr(part.columns, name) for _, part in parts], axis=-1)
        np.testing.assert_array_equal(pieces, getattr(whole.columns, name), err_msg=name)


def test_ten_thousand_card_numbers_are_never_seen() -> None:
    source = random.Random(2026)
    for _ in range(20):
        numbers = [card_number(source) for _ in range(500)]
        decoded = Decoder().decode([_hidden(source, number) for number in numbers])
        complete(decoded, 500)
        assert decoded.masked.all()
        for position, text in zip(decoded.index.tolist(), decoded.raw, strict=True):
            assert numbers[position].encode() not in text
            assert numbers[position] not in str(
                decoded.columns.events[int(np.flatnonzero(decoded.index == position)[0])]
            )
        for reject in decoded.rejects:
            assert numbers[reject.index] not in reject.raw_redacted + reject.detail


def _hidden(source: random.Random, number: str) -> bytes:
    """A record with the number somewhere: accepted and masked, or refused and redacted."""
    return source.choice([
        lambda: record(channel=number), lambda: record(metadata={"note": f"card {number} used"}),
        lambda: record(metadata={number: 1}), lambda: record(attributes={"n": int(number)}),
        lambda: record(unknown=[{"deep": number}]), lambda: record(card_id=number),
        lambda: record(card_id=f"tok{number}"), lambda: record(event_time=number), lambda: record(type=number),
        lambda: record(customer_id=number, amount="x"), number.encode,
        lambda: record(source=f"x{number}")[:-1],
        lambda: b" " * source.randrange(2040, 4100) + number.encode() + b" " * 9,
        lambda: record(amount=number),
        lambda: ("".join(f"\\u00{ord(c):02x}" for c in number)).encode(), lambda: record(device_id=5, event_id=number),
    ])()  # fmt: skip


PROGRAM = """
import hashlib, sys
from tests.core.test_decode import REFUSED, record
from engine.core.decode import Decoder
from engine.core.lexer import hash_bytes
from tests.core.test_decode_paths import RATES, digest_of
records = [value for _, value in REFUSED if value is None or len(value) < 100_000]
records += [record(amount=i / 100, currency="USD", lat=i / 7, metadata={"a": i, "b": "c"}, email_hash=hashlib.sha256(
    str(i).encode()).hexdigest()) for i in range(1, 20)]
sys.stdout.write(digest_of(Decoder(RATES).decode(records)))
"""


def digest_of(decoded: Decoded) -> str:
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(np.ascontiguousarray(getattr(decoded.columns, name)).tobytes())
    digest.update(repr([(r.index, r.reason, r.detail) for r in decoded.rejects]).encode())
    return digest.hexdigest()


def test_without_the_jit_everything_is_the_same() -> None:
    found = set()
    for disabled, seed in (("1", "1"), ("0", "2")):
        env = {**os.environ, "NUMBA_DISABLE_JIT": disabled, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM], env=env, cwd=Path(__file__).parents[2],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
