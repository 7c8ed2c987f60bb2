"""The decoder under structure-aware mutations: neither path raises, both say the same, whatever stands beside a record.

`STEWARD_FUZZ_EXAMPLES=200000 python -m pytest tests/core/test_fuzz_decode.py` is the long mode.
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.core.controls import stretches
from engine.core.decode import Decoder
from engine.core.partition import Partition
from engine.core.settings import CoreSettings
from engine.ruleset import compile
from tests.core.rig import RULES
from tests.core.test_decode_paths import RATES, complete, dump, optional, ordinary, same

EXAMPLES: Final = int(os.environ.get("STEWARD_FUZZ_EXAMPLES", "150"))
TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[][{},:]|true|false|null|\s+')
STRINGS: Final = (
    b'"\\u0000"', b'"\\ud83d"', b'"\\ud83d\\ude00"', b'"\\u202e"', b'"\xc3\x28"', b'"\xf0\x9f\x98\x80"',
    b'"\xed\xa0\x80"', b'"4111111111111111"', b'"4111 1111 1111 1111"', b'"x4111-1111-1111-1111y"', b'"{}\\n{"', b'""',
    b'"\\"', b'"a\\/b"', b'"' + b"x" * 300 + b'"', b'"1e400"', b'"-0"', b'"0.000"', b'"1.005"',
    b'"999999999999999.99"', b'"EUR"', b'"KWD"', b'"payment.requested"', b'"p\\u0061yment.requested"',
    b'"control.tick"', b'"c\\u006fntrol.tick"', b'"2026-02-30T00:00:00Z"', b'"2026-01-01T00:00:60Z"',
    b'"2100-12-31T23:59:59.999999999+14:00"', b'"1969-12-31T23:59:59Z"',
)  # fmt: skip
NUMBERS: Final = (
    b"0", b"-0", b"-0.0", b"1e400", b"-1e400", b"1e-400", b"9007199254740993", b"1" + b"0" * 30, b"0.1e1", b"12.340",
    b"1E2", b"01", b"+1", b".5", b"5.", b"NaN", b"Infinity", b"0x10", b"1_000", b"18446744073709551616",
    b"4102444800000",
)  # fmt: skip
OTHERS: Final = (
    b"null", b"true", b"false", b"{}", b"[]", b'{"a":1,"a":2}', b'{"":{"":{}}}', b"[" * 9 + b"]" * 9, b"[1,]", b"tru",
)  # fmt: skip
NAMES: Final = (
    b'"event_id"', b'"type"', b'"amount"', b'"amount "', b'"\\u0061mount"', b'"amount_base"', b'"metadata"',
    b'"card_id"', b'"event_time"', b'"__proto__"', b'"schema_version"', b'"lat"',
)  # fmt: skip
ANY: Final = st.sampled_from(STRINGS + NUMBERS + OTHERS)

Tokens = list[bytes]


def replace(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    tokens[at] = draw(ANY)


def rename(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    keys = [i for i, token in enumerate(tokens[:-1]) if token[:1] == b'"' and tokens[i + 1].lstrip()[:1] == b":"]
    if keys:
        tokens[keys[at % len(keys)]] = draw(st.sampled_from(NAMES))


def drop(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    del tokens[at : at + draw(st.integers(1, 4))]


def double(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    part = tokens[at : at + draw(st.integers(1, 8))]
    tokens[at:at] = part


def move(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    part = tokens[at : at + 4]
    del tokens[at : at + 4]
    to = draw(st.integers(0, len(tokens)))
    tokens[to:to] = part


def wrap(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    depth = draw(st.integers(1, 10))
    opened, closed = draw(st.sampled_from([(b"[", b"]"), (b'{"a":', b"}")]))
    tokens[at] = opened * depth + tokens[at] + closed * depth


def space(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    tokens.insert(
        at, draw(st.sampled_from([b" ", b"\n", b"\r\t", b"\x0b", b"\x00", b"\xef\xbb\xbf", b"\xc2\xa0", b"//"]))
    )


def field(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    tokens[1:1] = [draw(st.sampled_from(NAMES)), b":", draw(ANY), b","]


def cut(draw: st.DrawFn, tokens: Tokens, at: int) -> None:
    del tokens[at:]


MUTATIONS: Final[Sequence[Callable[[st.DrawFn, Tokens, int], None]]] = (
    replace, replace, rename, drop, double, move, wrap, space, field, field, cut
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid record with some of its tokens changed; nothing where nothing is left."""
    changes: dict[str, Any] = draw(st.one_of(ordinary, optional))
    value = dump(changes, draw(st.booleans()), draw(st.booleans()))
    tokens = TOKEN.findall(value)
    for _ in range(draw(st.integers(0, 3))):
        if tokens:
            draw(st.sampled_from(MUTATIONS))(draw, tokens, draw(st.integers(0, len(tokens) - 1)))
    return b"".join(tokens)


fuzz = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@fuzz
@given(st.lists(mutated(), min_size=1, max_size=5))
def test_both_paths_say_the_same_of_any_mutation(records: list[bytes]) -> None:
    fast = Decoder(RATES).decode(records)
    same(fast, Decoder(RATES, strict_only=True).decode(records))
    complete(fast, len(records))


@fuzz
@given(st.lists(mutated(), min_size=2, max_size=5))
def test_a_record_is_read_the_same_whatever_stands_beside_it(records: list[bytes]) -> None:
    together = Decoder(RATES).decode(records)
    alone = [Decoder(RATES).decode([record]) for record in records]
    if together.controls:
        return  # rates change what comes after them
    assert together.index.tolist() == [i for i, one in enumerate(alone) if one.columns.n]
    assert [dataclasses.replace(reject, index=0) for reject in together.rejects] == [
        reject for one in alone for reject in one.rejects
    ]
    row = 0
    for one in alone:
        if one.columns.n:
            same(together_row(together, row), one)
            row += 1


def together_row(decoded: Any, row: int) -> Any:
    """One row of a batch as if it had come alone."""
    picked = Decoder(RATES).decode([])
    picked.columns = decoded.columns.take([row])
    picked.index = decoded.index[row : row + 1] * 0
    picked.raw = [decoded.raw[row]]
    picked.masked = decoded.masked[row : row + 1]
    return picked


@fuzz
@given(st.lists(mutated(), min_size=1, max_size=8))
def test_the_partition_takes_whatever_the_decoder_lets_through(records: list[bytes]) -> None:
    partition = Partition(RULESET, CoreSettings(), backed=False)
    taken = 0
    for start, end in stretches(records, 500):
        decoded = partition.decode(records[start:end])
        effects = partition.apply(decoded, lambda row, start=start: {"offset": start + row})
        taken += effects.accepted + effects.dead_lettered + len(effects.duplicates)
        for output in effects.outputs:
            json.loads(output.data)
    assert taken == len(records)


RULESET: Final = compile({"rules.yaml": RULES + "models: {anomaly: null}\n"})
