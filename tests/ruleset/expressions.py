"""Random expressions of the rule language, and a naive evaluator of them that shares no code with the engine.

The oracle walks Python's own syntax tree with None for what is missing, exactly as contract section 4 words it.
"""

import ast
import datetime as dt
import json
import math
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from hypothesis import strategies as st

NUMBERS = ("amount", "lat", "f_number", "g_number")
STRINGS = ("ip", "card_country", "ip_country", "merchant_id")
BOOLS = ("three_ds", "f_bool")
TEXTS = ("", "a", "ab", "FR", "fr", "10.0.0.1", "10.1.0.1", "2001:db8::1", "Straße", "411", "3782", "2001-01-02", "EUR")
TABLES = {"words": {"a": "ab", "FR": "", "411": "4111", "": "10.0.0.1"}, "none": {}}
CURRENCIES = {"EUR": 2, "USD": 2, "JPY": 0, "KWD": 3, "CHF": 2}
RATES = {"EUR": "1", "USD": "1.25", "JPY": "160", "KWD": "0.3"}  # no CHF
METADATA = st.none() | st.dictionaries(
    st.sampled_from(["a", "b"]), st.sampled_from(["ab", "FR", "7", 7, 2.5, 1e21, True, False]), max_size=2
)
LISTS: dict[str, list[Any]] = {"nets": ["10.0.0.0/16", "2001:db8::/32"], "words": ["FR", "ab"], "nums": [1, 2.5, 40]}
NETS = ("10.0.0.1", "2001:db8::1")  # of TEXTS, those within the networks

literal_number = st.sampled_from(["0", "1", "2", "2.5", "40", "0.1", "1000000", "-1", "1e200"])
literal_text = st.sampled_from([repr(text) for text in TEXTS])


def quoted(inner: str) -> str:
    """In brackets."""
    return f"({inner})"


def number_expr(depth: int, exact: bool) -> st.SearchStrategy[str]:
    """A number; `exact` leaves out the functions whose last bit is the library's own."""
    leaf = st.sampled_from(NUMBERS) | literal_number
    if depth == 0:
        return leaf
    n, b, s = number_expr(depth - 1, exact), bool_expr(depth - 1, exact), text_expr(depth - 1, exact)
    choices = [
        leaf,
        st.tuples(n, st.sampled_from(["+", "-", "*", "/", "//", "%"]), n).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        n.map(lambda x: f"-({x})"),
        st.tuples(n, b, n).map(lambda t: f"({t[0]}) if ({t[1]}) else ({t[2]})"),
        st.tuples(n, n).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), n, n).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
        st.tuples(st.sampled_from(["abs", "floor", "ceil", "round"]), n).map(lambda t: f"{t[0]}({t[1]})"),
        n.map(lambda x: f"clamp({x}, 0, 10)"),
        n.map(lambda x: f"round({x}, 2)"),
        s.map(lambda x: f"length({x})"),
        b.map(lambda x: f"number({x})"),
        s.map(lambda x: f"number({x})"),
        st.tuples(b, n).map(lambda t: f"({t[0]}) * ({t[1]})"),
        st.tuples(n, st.sampled_from(["EUR", "USD", "CHF"])).map(lambda t: f"convert({t[0]}, '{t[1]}', '{t[1]}')"),
        st.sampled_from(["EUR", "USD", "JPY", "KWD", "CHF"]).map(lambda code: f"in_currency('{code}')"),
        s.map(lambda x: f"years_since({x})"),
        st.just("local_hour() + local_weekday()"),
        st.just("hour()"),
        st.just("weekday('Europe/Berlin')"),
    ]
    if not exact:
        choices += [
            n.map(lambda x: f"log1p({x})"),
            n.map(lambda x: f"sqrt({x})"),
            st.tuples(n, st.sampled_from(["2", "0.5", "-1", "3"])).map(lambda t: f"({t[0]}) ** {t[1]}"),
            st.tuples(n, n).map(lambda t: f"distance_km({t[0]}, {t[1]}, 52.5, 13.4)"),
            st.tuples(n, n, n).map(lambda t: f"speed_kmh({t[0]}, 13.4, {t[1]}, 52.5, {t[2]})"),
            st.tuples(n, s).map(lambda t: f"convert({t[0]}, currency, 'JPY') + convert({t[0]}, {t[1]}, currency)"),
        ]
    return st.one_of(choices)


def text_expr(depth: int, exact: bool) -> st.SearchStrategy[str]:
    """A text."""
    leaf = st.sampled_from([*STRINGS, "metadata('a')", "metadata('b')"]) | literal_text
    if depth == 0:
        return leaf
    s, b = text_expr(depth - 1, exact), bool_expr(depth - 1, exact)
    return st.one_of(
        leaf,
        st.tuples(st.sampled_from(["lower", "upper"]), s).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(s, st.integers(1, 4)).map(lambda t: f"bin({t[0]}, {t[1]})"),
        s.map(lambda x: f"card_scheme({x})"),
        st.tuples(st.sampled_from(list(TABLES)), s).map(lambda t: f"lookup('{t[0]}', {t[1]})"),
        st.tuples(s, s).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
        st.tuples(s, b, s).map(lambda t: f"({t[0]}) if ({t[1]}) else ({t[2]})"),
    )


def bool_expr(depth: int, exact: bool) -> st.SearchStrategy[str]:
    """A condition."""
    leaf = st.sampled_from(BOOLS) | st.sampled_from(["True", "false", "missing(ip)", "missing(f_number)"])
    if depth == 0:
        return leaf
    n, s, b = number_expr(depth - 1, exact), text_expr(depth - 1, exact), bool_expr(depth - 1, exact)
    op = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
    inside = st.sampled_from(["in", "not in"])
    return st.one_of(
        leaf,
        st.tuples(n, op, n).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(s, op, s).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(n, op, n, op, n).map(lambda t: f"({t[0]}) {t[1]} ({t[2]}) {t[3]} ({t[4]})"),
        st.tuples(b, st.sampled_from(["and", "or"]), b).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        b.map(lambda x: f"not ({x})"),
        st.tuples(b, st.sampled_from(["==", "!="]), b).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(n, inside).map(lambda t: f"({t[0]}) {t[1]} [1, 2.5, 40]"),
        st.tuples(s, inside).map(lambda t: f"({t[0]}) {t[1]} ['ab', 'FR', '']"),
        st.tuples(s, inside).map(lambda t: f"({t[0]}) {t[1]} ['ab', 'FR', '', 'x', 'y', 'z', 'v', 'w']"),
        st.tuples(n, inside).map(lambda t: f"({t[0]}) {t[1]} lists.nums"),
        st.tuples(s, inside).map(lambda t: f"({t[0]}) {t[1]} lists.words"),
        inside.map(lambda word: f"ip {word} lists.nets"),
        n.map(lambda x: f"missing({x})"),
        s.map(lambda x: f"missing({x})"),
        st.tuples(st.sampled_from(["startswith", "endswith", "contains"]), s, s).map(
            lambda t: f"{t[0]}({t[1]}, {t[2]})"
        ),
        s.map(lambda x: f"matches({x}, '^[a-z]+$|10')"),
        n.map(lambda x: f"bool({x})"),
        st.tuples(b, b, b).map(lambda t: f"({t[0]}) if ({t[1]}) else ({t[2]})"),
    )


class Oracle:
    """Evaluates expression text for one event given as a dictionary; None is missing."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    def run(self, text: str) -> Any:
        """The value: float, str, bool or None."""
        return self.of(ast.parse(f"({text})", mode="eval").body)

    def truth(self, tree: ast.expr) -> bool:
        """As a condition: what is missing does not hold."""
        return self.of(tree) is True or self.of(tree) == 1

    def of(self, tree: ast.expr) -> Any:
        """The value of a syntax node."""
        match tree:
            case ast.Constant():
                return float(tree.value) if isinstance(tree.value, (int, float)) and not isinstance(
                    tree.value, bool) else tree.value  # fmt: skip
            case ast.Name(id="true"):
                return True
            case ast.Name(id="false"):
                return False
            case ast.Name():
                return self.row.get(tree.id)
            case ast.BoolOp(op=ast.And()):
                return all(self.truth(value) for value in tree.values)
            case ast.BoolOp():
                return any(self.truth(value) for value in tree.values)
            case ast.UnaryOp(op=ast.Not()):
                return not self.truth(tree.operand)
            case ast.UnaryOp():
                value = self.of(tree.operand)
                return None if value is None else -float(value)
            case ast.BinOp():
                return self.arithmetic(type(tree.op).__name__, self.of(tree.left), self.of(tree.right))
            case ast.IfExp():
                return self.of(tree.body) if self.truth(tree.test) else self.of(tree.orelse)
            case ast.Compare():
                items = [tree.left, *tree.comparators]
                pairs = zip(items, tree.ops, items[1:], strict=False)
                return all(self.compare(left, op, right) for left, op, right in pairs)
            case ast.Call(func=ast.Name(id="in_currency"), args=[code]):
                return self.in_currency(self.of(code))
            case ast.Call(func=ast.Name(id="local_hour" | "local_weekday" as name)):
                local = {"hour": 13.0, "weekday": 3.0}[name.removeprefix("local_")]
                return local if self.row.get("timezone") == "Europe/Berlin" else None
            case ast.Call(func=ast.Name(id="metadata"), args=[key]):
                return self.metadata(self.of(key))
            case ast.Call(func=ast.Name(id=name)):
                return self.call(name, [self.of(arg) for arg in tree.args])
        raise AssertionError(ast.dump(tree))

    @staticmethod
    def arithmetic(op: str, left: Any, right: Any) -> float | None:
        """Missing with a missing operand, a division by zero or an infinite result."""
        if left is None or right is None:
            return None
        a, b = float(left), float(right)
        if op in ("Div", "FloorDiv", "Mod") and b == 0:
            return None
        table = {"Add": "__add__", "Sub": "__sub__", "Mult": "__mul__", "Div": "__truediv__", "FloorDiv":
                 "__floordiv__", "Mod": "__mod__"}  # fmt: skip
        value: float = getattr(a, table[op])(b)
        return value if math.isfinite(value) else None

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> bool:
        """False with a missing operand."""
        a = self.of(left)
        if isinstance(op, (ast.In, ast.NotIn)):
            if a is None:
                return False
            if isinstance(right, ast.Attribute):
                found = a in NETS if right.attr == "nets" else a in LISTS[right.attr]
            else:
                assert isinstance(right, ast.List)
                found = a in [self.of(item) for item in right.elts]
            return found == isinstance(op, ast.In)
        b = self.of(right)
        if a is None or b is None:
            return False
        table: dict[str, bool] = {"Lt": a < b, "LtE": a <= b, "Gt": a > b, "GtE": a >= b, "Eq": a == b, "NotEq": a != b}
        return table[type(op).__name__]

    def in_currency(self, code: str) -> float | None:
        """The amount at `RATES`, as a decimal of the other currency's minor units."""
        amount, currency = self.row.get("amount"), self.row.get("currency")
        if amount is None or currency is None or abs(amount) >= 1e15:
            return None
        if code != currency and not (code in RATES and currency in RATES):
            return None
        rate = Decimal(1) if code == currency else Decimal(RATES[code]) / Decimal(RATES[currency])
        exact = Decimal(str(amount)).quantize(Decimal(1).scaleb(-CURRENCIES[currency]), ROUND_HALF_EVEN) * rate
        return float(exact.quantize(Decimal(1).scaleb(-CURRENCIES[code]), ROUND_HALF_EVEN))

    def metadata(self, key: str) -> str | None:
        """An entry as text."""
        value = (self.row.get("metadata") or {}).get(key)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    @staticmethod
    def call(name: str, args: list[Any]) -> Any:
        """A function; missing with a missing argument, a predicate false."""
        if name == "missing":
            return args[0] is None
        if name == "coalesce":
            return next((arg for arg in args if arg is not None), None)
        if any(arg is None for arg in args):
            return False if name in ("startswith", "endswith", "contains", "matches") else None
        match name:
            case "lookup":
                return TABLES[args[0]].get(args[1])
            case "bin":
                head = args[0][: int(args[1])]
                return head if len(head) == args[1] and all(char in "0123456789" for char in head) else None
            case "card_scheme":
                return {"3782": "amex"}.get(args[0][:4])
            case "convert":
                return float(args[0])
            case "years_since":
                return Oracle.years(args[0])
            case "hour":
                return 12.0
            case "weekday":
                return 3.0
            case "number":
                return Oracle.number(args[0])
            case "bool":
                return args[0] != 0
            case "lower" | "upper" | "startswith" | "endswith":
                return getattr(args[0], name)(*args[1:])
            case "contains":
                return args[1] in args[0]
            case "matches":
                return "10" in args[0] or (args[0].isascii() and args[0].isalpha() and args[0].islower())
            case "length":
                return float(len(args[0]))
            case "clamp":
                return min(max(float(args[0]), args[1]), args[2])
        numbers = [float(arg) for arg in args]
        table: dict[str, Any] = {
            "abs": abs, "min": min, "max": max, "floor": math.floor, "ceil": math.ceil,
            "round": lambda x, digits=0: round(x, int(digits)),
        }  # fmt: skip
        return float(table[name](*numbers))

    @staticmethod
    def years(day: str) -> float | None:
        """Birthdays until 2026-01-01, the day of every event here."""
        try:
            born = dt.date.fromisoformat(day)
        except ValueError:
            return None
        return float(sum(dt.date(year, born.month, born.day) <= dt.date(2026, 1, 1)
                         for year in range(born.year + 1, 2027)))  # fmt: skip

    @staticmethod
    def number(value: Any) -> float | None:
        """The number a text spells."""
        try:
            return float(value)
        except ValueError:
            return None
