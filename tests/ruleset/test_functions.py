"""Functions whose meaning random expressions do not pin down: cards, journeys, currencies, ages, metadata, tables."""

import math
from typing import Any

import numpy as np
import pytest

from engine.domain.pan import SCHEMES, scheme
from engine.domain.rates import Rates
from engine.ruleset.ruleset import Frame
from tests.ruleset.helpers import columns_of, faults, rule_file, ruleset_of

RATES = Rates("EUR", {"USD": "1.0853", "JPY": "161.37", "KWD": "0.3311"})
TABLES = "tables: {backup_route: {acq_a: acq_b}, fee: {visa: 0.3, 5411: 1}}\n"


def value(expression: str, row: dict[str, Any], rates: Rates | None = RATES) -> Any:
    """An expression of one event, through a rule that asks for the value found by the derived feature."""
    ruleset = ruleset_of(f'{TABLES}features: [{{name: d, expr: "{expression}"}}]\n')
    columns = columns_of([row])
    found = ruleset.derive(columns, np.empty((len(ruleset.features), 1)), rates=rates)[ruleset.rows["d"], 0]
    return None if math.isnan(found) else found


def holds(expression: str, row: dict[str, Any], rates: Rates | None = RATES) -> bool:
    ruleset = ruleset_of(rule_file(expression, TABLES))
    columns = columns_of([row])
    matrix = ruleset.derive(columns, np.zeros((len(ruleset.features), 1)), rates=rates)
    return bool(ruleset.evaluate(Frame(columns, matrix, rates=rates)).matrix[0, 0])


@pytest.mark.parametrize(("digits", "name"), [
    ("411111", "visa"), ("555555", "mastercard"), ("222100", "mastercard"), ("272099", "mastercard"), ("272100", None),
    ("340000", "amex"), ("371449", "amex"), ("601100", "discover"), ("650000", "discover"), ("309500", "diners"),
    ("352800", "jcb"), ("213100", "jcb"), ("620000", "unionpay"), ("220000", "mir"), ("639000", "maestro"),
    ("637000", "instapayment"), ("636000", "interpayment"), ("606100", "rupay"), ("979200", "troy"), ("000000", None),
    ("41", None), ("abcdef", None), ("", None),
])  # fmt: skip
def test_the_scheme_of_a_card(digits: str, name: str | None) -> None:
    assert scheme(digits) == name
    assert holds(f"card_scheme(card_bin) == '{name}'", {"card_bin": digits}) == (name is not None)


def test_every_prefix_has_the_scheme_of_its_longest_range() -> None:
    for prefix in range(10_000):
        text = f"{prefix:04d}"
        rows = [row for row in SCHEMES if row.low <= text[: len(row.low)] <= row.high]
        longest = max((len(row.low) for row in rows), default=0)
        assert scheme(text + "99") in ({row.name for row in rows if len(row.low) == longest} or {None})


@pytest.mark.parametrize(("text", "digits", "wanted"), [
    ("41111122", 6, "411111"), ("411111", 6, "411111"), ("41111", 6, None), ("41-1111", 6, None), ("٤١١١١١", 6, None),
    ("41111122", 8, "41111122"), ("4", 1, "4"),
])  # fmt: skip
def test_first_digits_of_a_card(text: str, digits: int, wanted: str | None) -> None:
    assert holds(f"bin(card_bin, {digits}) == '{wanted}'", {"card_bin": text}) == (wanted is not None)
    assert holds(f"missing(bin(card_bin, {digits}))", {"card_bin": text}) == (wanted is None)


def test_an_amount_in_other_currencies_is_exact_and_rounded_as_amount_base_is() -> None:
    for currency, exponent in (("USD", 2), ("JPY", 0), ("KWD", 3), ("EUR", 2)):
        for minor in (1, 5, 12_345, 999_999_999_999, 10**14 + 3):
            row = {"amount": minor / 10**exponent, "currency": currency}
            base = RATES.convert(minor, currency)
            assert base is not None
            assert value("in_currency('EUR')", row) == base / 100


@pytest.mark.parametrize(("expression", "row", "rates", "wanted"), [
    ("in_currency('USD')", {"amount": 10.0, "currency": "EUR"}, RATES, 10.85),
    ("in_currency('JPY')", {"amount": 10.0, "currency": "USD"}, RATES, 1487.0),
    ("in_currency('USD')", {"amount": 10.0, "currency": "USD"}, None, 10.0),
    ("in_currency('USD')", {"amount": 10.0, "currency": "EUR"}, None, None),
    ("in_currency('CHF')", {"amount": 10.0, "currency": "EUR"}, RATES, None),
    ("in_currency('USD')", {"currency": "EUR"}, RATES, None),
    ("in_currency('USD')", {"amount": 10.0}, RATES, None),
    ("in_currency('USD')", {"amount": 1e308, "currency": "EUR"}, RATES, None),
    ("in_currency(country)", {"amount": 10.0, "currency": "EUR", "country": "USD"}, RATES, 10.85),
    ("in_currency(country)", {"amount": 10.0, "currency": "EUR", "country": "usd"}, RATES, None),
    ("convert(100, 'EUR', 'USD')", {}, RATES, 108.53),
    ("convert(100, 'EUR', 'USD')", {}, None, None),
    ("convert(amount, currency, 'EUR')", {"amount": -2.1706, "currency": "USD"}, RATES, -2.0),
    ("convert(amount, currency, 'EUR')", {"amount": 1e308, "currency": "KWD"}, RATES, None),
])  # fmt: skip
def test_money_in_other_currencies(
    expression: str, row: dict[str, Any], rates: Rates | None, wanted: float | None
) -> None:
    assert value(expression, row, rates) == (None if wanted is None else pytest.approx(wanted, rel=1e-12))


@pytest.mark.parametrize(("row", "seconds", "wanted"), [
    ({"lat": 48.8566, "lon": 2.3522}, 3600, 877.46),
    ({"lat": 48.8566, "lon": 2.3522}, 7200, 438.73),
    ({"lat": 48.8566, "lon": 2.3522}, 0, 877.46 * 3600),
    ({"lat": 48.8566, "lon": 2.3522}, -1, None),
    ({"lat": 48.8566}, 3600, None),
    ({"lat": 52.52, "lon": 13.405}, 0, 0.0),
])  # fmt: skip
def test_the_speed_of_a_journey(row: dict[str, Any], seconds: int, wanted: float | None) -> None:
    found = value(f"speed_kmh(lat, lon, 52.52, 13.405, {seconds})", row)
    assert found == (None if wanted is None else pytest.approx(wanted, rel=1e-4))


@pytest.mark.parametrize(("born", "time", "wanted"), [
    ("1961-01-01", 1_767_268_800_000, 65.0), ("1961-01-02", 1_767_268_800_000, 64.0),
    ("2004-02-29", 1_772_236_800_000, 21.0), ("2004-02-29", 1_772_323_200_000, 22.0),
    ("2026-01-01", 1_767_268_800_000, 0.0), ("2026-01-02", 1_767_268_800_000, None),
    ("1961-13-01", 1_767_268_800_000, None), ("1961", 1_767_268_800_000, None), ("19610101", 1_767_268_800_000, None),
])  # fmt: skip
def test_whole_years_since_a_day(born: str, time: int, wanted: float | None) -> None:
    assert value("years_since(birth_date)", {"birth_date": born, "event_time": time}) == wanted


def test_the_clock_of_the_customer() -> None:
    noon = {"event_time": 1_767_268_800_000}
    assert value("local_hour()", {**noon, "timezone": "Asia/Tokyo"}) == 21.0
    assert value("local_weekday()", {**noon, "timezone": "Pacific/Kiritimati"}) == 4.0
    assert value("local_hour()", noon) is None
    assert value("local_hour()", {**noon, "timezone": "Mars/Olympus"}) is None


@pytest.mark.parametrize(("entry", "text"), [
    ("vpn", "vpn"), ("", ""), (7, "7"), (7.0, "7.0"), (-0.5, "-0.5"), (1e21, "1e+21"), (True, "true"), (False, "false"),
])  # fmt: skip
def test_metadata_is_text(entry: Any, text: str) -> None:
    assert holds(f"metadata('k') == '{text}'", {"metadata": {"k": entry}})
    assert not holds("metadata('other') == 'x' or not missing(metadata('other'))", {"metadata": {"k": entry}})
    assert not holds(f"metadata('k') == '{text}'", {})


def test_metadata_may_stand_in_a_where_filter_and_counts_as_a_filter_of_its_own() -> None:
    where = "count(by=ip, window='1h', where=\\\"metadata('ip_type') == '{}'\\\") > 1"
    ruleset = ruleset_of(rule_file(f"{where.format('vpn')} or {where.format('tor')}".replace('\\"', '"')))
    assert len({feature.identity for feature in ruleset.features if feature.by == ("ip",)} - {
        feature.identity for feature in ruleset_of(rule_file("amount > 1")).features}) == 2  # fmt: skip
    columns = columns_of([{"metadata": {"ip_type": "vpn"}}, {"metadata": {"ip_type": "tor"}}, {}])
    wheres = [feature.where for feature in ruleset.features if feature.where and "metadata" in feature.where.text]
    assert [where.evaluate(columns).tolist() for where in wheres] == [[True, False, False], [False, True, False]]


def test_tables_are_looked_up_by_text() -> None:
    assert holds("lookup('backup_route', acquirer) == 'acq_b'", {"acquirer": "acq_a"})
    assert holds("missing(lookup('backup_route', acquirer))", {"acquirer": "acq_c"})
    assert holds("missing(lookup('backup_route', acquirer))", {})
    assert value("number(lookup('fee', method))", {"method": "visa"}) == 0.3
    assert holds("lookup('fee', merchant_category) == '1'", {"merchant_category": "5411"})
    assert holds("lookup('backup_route', 'acq_a') == acquirer", {"acquirer": "acq_b"})


@pytest.mark.parametrize(("expression", "line"), [
    ("metadata(method) == 'x'", "1:5: the key of metadata must be a literal (metadata('ip_type'))"),
    ("metadata('') == 'x'", "a key of metadata has 1 to 128 characters"),
    ("metadata('a', 'b') == 'x'", "metadata is called as metadata(key)"),
    ("metadata('a') > 3", "is text and 3 is a number"),
    ("lookup('bakup_route', acquirer) == 'x'", "unknown table 'bakup_route' (did you mean 'backup_route'?)"),
    ("lookup(acquirer, 'a') == 'x'", "the table of lookup must be a literal"),
    ("lookup('fee', amount) == 'x'", "a table is looked up by text, but this is a number"),
    ("lookup('fee', 'vis') == 'x'", "the table 'fee' has nothing for 'vis' (did you mean 'visa'?)"),
    ("lookup('fee') == 'x'", "lookup is called as lookup(table, key)"),
    ("bin(card_bin, 0) == '4'", "a whole number of digits from 1 to 8"),
    ("bin(card_bin, length(card_bin)) == '4'", "digits of bin must be a literal"),
    ("bin(amount, 6) == '4'", "card_bin of bin must be text"),
    ("in_currency('EURO') > 1", "'EURO' is not a currency in use (ISO 4217); did you mean 'EUR'?"),
    ("in_currency() > 1", "in_currency is called as in_currency(code)"),
    ("in_currency(amount) > 1", "code of in_currency must be text"),
    ("convert(amount, 'eur', 'USD') > 1", "'eur' is not a currency in use (ISO 4217); did you mean 'EUR'?"),
    ("count(by=ip, window='1h', where=\"in_currency('EUR') > 1\") > 1", "a where filter has no exchange rates"),
    ("count(by=ip, window='1h', where=\"lookup('fee', ip) == '1'\") > 1", "sees event fields only, not tables"),
    ("local_hour(timezone) > 1", "local_hour is called as local_hour()"),
    ("card_schem(card_bin) == 'visa'", "unknown function 'card_schem' (did you mean 'card_scheme'?)"),
])  # fmt: skip
def test_wrong_calls_are_refused_with_what_to_write(expression: str, line: str) -> None:
    found = faults(rule_file(expression, TABLES))
    assert len(found) == 1
    assert line.removeprefix("1:5: ") in found[0]


@pytest.mark.parametrize(("text", "line"), [
    ("tables: []", "'tables' must be a mapping"),
    ("tables: {t: [a]}", "the table t must be a mapping of texts to texts"),
    ("tables: {t: {a: [b]}}", "the value of a must be a single text or number"),
    ("tables: {t: {a: null}}", "the value of a must be a single text or number"),
    ("tables: {9t: {a: b}}", "'9t' is not a name"),
    (f"tables: {{t: {{a: {'b' * 257}}}}}", "257 characters in a table; at most 256"),
    ("tables: {t: {a: b}, t: {a: b}}", "duplicate key"),
])  # fmt: skip
def test_wrong_tables_are_refused(text: str, line: str) -> None:
    found = faults(text)
    assert len(found) == 1
    assert line in found[0]


def test_a_table_of_two_files_and_too_large_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.ruleset import RuleErrors, compile, declarations

    with pytest.raises(RuleErrors, match="declared twice"):
        compile({"a.yaml": "tables: {t: {a: b}}", "b.yaml": "tables: {t: {a: b}}"})
    monkeypatch.setattr(declarations, "TABLES_MAX", 1)
    monkeypatch.setattr(declarations, "ENTRIES_MAX", 1)
    assert "more than 1 tables" in faults("tables: {t: {a: b}, u: {a: b}}")[0]
    assert "2 entries; at most 1" in faults("tables: {t: {a: b, c: d}}")[0]
