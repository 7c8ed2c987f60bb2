"""Settlement files: tables by mapping, camt.053 statements, and what is refused."""

import gzip
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.adapters.settlements import SourceError, read_settlement_mapping, read_settlements
from engine.adapters.settlements import camt053 as module
from engine.domain.settlements import Passed, Settled, SettlementLine, Unreadable

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"


def lines(path: Path, mapping: str | None = None) -> list[Settled]:
    chosen = None
    if mapping is not None:
        where = path.parent / "map.yaml"
        where.write_text(mapping)
        chosen = read_settlement_mapping(str(where))
    return list(read_settlements(str(path), chosen))


def statement(body: str, namespace: str = NAMESPACE, head: str = "") -> str:
    inner = f"<BkToCstmrStmt><GrpHdr><MsgId>m</MsgId></GrpHdr><Stmt><Id>s</Id>{body}</Stmt></BkToCstmrStmt>"
    return f'<?xml version="1.0" encoding="UTF-8"?>{head}<Document xmlns="{namespace}">{inner}</Document>'


def entry(amount: str, side: str = "CRDT", details: str = "", *, status: str = "BOOK", currency: str = "EUR") -> str:
    return (
        f'<Ntry><NtryRef>n1</NtryRef><Amt Ccy="{currency}">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd>'
        f"<Sts><Cd>{status}</Cd></Sts><BookgDt><Dt>2026-03-01</Dt></BookgDt><AcctSvcrRef>bank1</AcctSvcrRef>"
        f"<NtryDtls>{details}</NtryDtls></Ntry>"
    )


def detail(reference: str, amount: str = "", more: str = "") -> str:
    money = f'<Amt Ccy="EUR">{amount}</Amt>' if amount else ""
    return f"<TxDtls><Refs><EndToEndId>{reference}</EndToEndId></Refs>{money}{more}</TxDtls>"


def read(tmp_path: Path, text: str | bytes) -> list[Settled]:
    path = tmp_path / "s.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return lines(path)


def test_csv_with_the_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(
        b"\xef\xbb\xbfpayment_id,refund_id,amount,currency,type,date\r\n"
        b"p1,,12.30,EUR,sale,2026-03-01\r\n\r\np1,r1,2.00,eur,Refund,\r\n"
        b"p2,,500,JPY,credit,\r\np3,,1.005,EUR,sale,\r\np4,,0.00,EUR,sale,\r\np5,,1,EUR,magic,\r\nshort\r\n"
    )
    found = lines(path)
    assert found[:3] == [
        SettlementLine(f"{path}:2", "", ("p1",), "credit", 1230, "EUR", "2026-03-01"),
        SettlementLine(f"{path}:4", "", ("r1", "p1"), "debit", 200, "EUR", ""),
        SettlementLine(f"{path}:5", "", ("p2",), "credit", 500, "JPY", ""),
    ]
    assert [type(one) for one in found[3:]] == [Unreadable, Passed, Unreadable, Unreadable]
    assert found[-1] == Unreadable(f"{path}:9", "1 cells under 6 columns")
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [one[1:] for one in lines(packed)] == [one[1:] for one in found]


def test_csv_by_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text(
        "ID;REF;GROSS;KIND\n1;p1;1.234,50;VERKAUF\n2;p2;-3,5;GUTSCHRIFT\n3;;9,00;FEE\n4;p4;1.23.4;VERKAUF\n"
    )
    mapping = (
        "reference: REF\namount: {column: GROSS, decimal: ','}\ncurrency: {const: EUR}\nid: ID\ndelimiter: ';'\n"
        "direction: {column: KIND, credit: [Verkauf], debit: [Gutschrift], pass: [fee]}\n"
    )
    found = lines(path, mapping)
    assert [one.minor for one in found if isinstance(one, SettlementLine)] == [123450, 350]
    assert [one.direction for one in found if isinstance(one, SettlementLine)] == ["credit", "debit"]
    assert [type(one) for one in found[2:]] == [Passed, Unreadable]
    path.write_text("REF,N\np1,1234\np2,-77\np3,1.5\n")
    found = lines(path, "reference: REF\namount: {column: N, unit: minor}\ncurrency: {const: KWD}\n")
    assert [one[3:6] for one in found[:2]] == [("credit", 1234, "KWD"), ("debit", 77, "KWD")]
    assert isinstance(found[2], Unreadable)


def test_parquet_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    amounts = pa.array([Decimal("12.30"), Decimal("-0.01"), None], pa.decimal128(20, 2))
    table = {"payment_id": ["p1", "p2", "p3"], "amount": amounts, "currency": ["EUR"] * 3, "extra": [1, 2, 3]}
    pa.parquet.write_table(pa.table(table), path)
    found = lines(path)
    assert [one[2:6] for one in found[:2]] == [(("p1",), "credit", 1230, "EUR"), (("p2",), "debit", 1, "EUR")]
    assert isinstance(found[2], Unreadable)
    pa.parquet.write_table(pa.table({**table, "amount": [12.3, 1.0, 2.0]}), path)
    with pytest.raises(SourceError, match="not exact"):
        lines(path)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ("[]", "expected reference"),
        ("reference: A\namount: B\n", "expected reference"),
        ("reference: A\namount: B\ncurrency: {const: EUR}\nmagic: C\n", "no key 'magic'"),
        ("reference: []\namount: B\ncurrency: {const: EUR}\n", "reference: a name"),
        ("reference: A\namount: {column: B, unit: cents}\ncurrency: C\n", "unit must be one of"),
        ("reference: A\namount: B\ncurrency: {column: C, const: EUR}\n", "currency: give"),
        ("reference: A\namount: B\ncurrency: C\ndirection: {credit: [x]}\n", "direction: give"),
        ("reference: A\namount: B\ncurrency: C\n", "no column 'A'"),
        ("reference: [\n", r"map.yaml:2:1"),
    ],
)
def test_bad_mappings(tmp_path: Path, mapping: str, told: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text("B,C\n1,EUR\n")
    with pytest.raises(SourceError, match=told):
        lines(path, mapping)


@pytest.mark.parametrize("name", ["s.txt", "s.parquet.gz", "none.csv", "none.parquet", "empty.csv"])
def test_files_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.csv").touch()
    with pytest.raises(SourceError, match=name):
        lines(tmp_path / name)


def test_camt053(tmp_path: Path) -> None:
    batch = detail("p1", "10.00") + detail("NOTPROVIDED", "2.50", "<RmtInf><Ustrd>payment p2 thanks</Ustrd></RmtInf>")
    body = (
        entry("12.50", details=batch)
        + entry("3.00", "DBIT", detail("r1", more="<Refs><AcctSvcrRef>own</AcctSvcrRef></Refs>"))
        + entry("7.00", status="PDNG")
        + entry("1.00", currency="XXQ")
        + entry("4.00")
    )
    found = read(tmp_path, statement(body))
    place = f"{tmp_path}/s.xml: entry "
    assert found == [
        SettlementLine(f"{place}1, transaction 1", "bank1/1", ("p1",), "credit", 1000, "EUR", "2026-03-01"),
        SettlementLine(
            f"{place}1, transaction 2", "bank1/2", ("payment", "p2", "thanks"), "credit", 250, "EUR", "2026-03-01"
        ),
        SettlementLine(f"{place}2", "own", ("r1",), "debit", 300, "EUR", "2026-03-01"),
        Passed(f"{place}3", "not booked: PDNG"),
        Unreadable(f"{place}4", "'XXQ' is not a currency"),
        SettlementLine(f"{place}5", "bank1/1", (), "credit", 400, "EUR", "2026-03-01"),
    ]


def test_a_batch_that_does_not_add_up_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, statement(entry("12.51", details=detail("p1", "10.00") + detail("p2", "2.50"))))
    assert isinstance(found[0], Unreadable)
    assert "1250" in found[0].why
    assert [type(one) for one in found[1:]] == [SettlementLine, SettlementLine]


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
HOSTILE = {
    "billion laughs": statement(entry("&l9;"), head=f'<!DOCTYPE Document [<!ENTITY l0 "lol">{LAUGHS}]>'),
    "external entity": statement(entry("&x;"), head='<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
    "external subset": statement(entry("1.00"), head='<!DOCTYPE Document SYSTEM "http://127.0.0.1/x.dtd">'),
    "parameter entity": statement("", head='<!DOCTYPE D [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>'),
    "bare doctype": statement(entry("1.00"), head="<!DOCTYPE Document>"),
    "undeclared entity": statement(entry("&x;")),
    "deep": statement("<a>" * 100 + "</a>" * 100),
    "long text": statement(entry("9" * 5000)),
    "another message": statement(entry("1.00"), NAMESPACE.replace("053", "052")),
    "no namespace": "<Document><BkToCstmrStmt/></Document>",
    "cut short": statement(entry("1.00"))[:-20],
    "not XML": "payment_id,amount\n",
    "empty": "",
    "long token": statement(f'<Ntry a="{"x" * (2 << 20)}"/>'),
    "long comment": statement(f"<!--{'x' * (2 << 20)}-->"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_statements_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match=r"s\.xml:\d+"):
        read(tmp_path, HOSTILE[name])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_doctype_is_seen_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = HOSTILE["billion laughs"].replace("UTF-8", "UTF-16")
    with pytest.raises(SourceError, match="refused: it declares"):
        read(tmp_path, b"\xfe\xff" * (encoding == "utf-16-be") + text.encode(encoding))


def test_entries_of_too_many_transactions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DETAILS_MAX", 2)
    with pytest.raises(SourceError, match="over 2 transactions in entry 1"):
        read(tmp_path, statement(entry("3.00", details=detail("p", "1.00") * 3)))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 900))
def test_damaged_statements_never_end_in_a_fault(
    tmp_path_factory: pytest.TempPathFactory, damage: bytes, at: int
) -> None:
    path = tmp_path_factory.mktemp("s") / "s.xml"
    whole = statement(entry("12.50", details=detail("p1", "10.00") + detail("p2", "2.50"))).encode()
    path.write_bytes(whole[:at] + damage + whole[at + len(damage) :])
    try:
        found = lines(path)
    except SourceError:
        return
    assert all(isinstance(one, SettlementLine | Unreadable | Passed) for one in found)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_damaged_tables_never_end_in_a_fault(tmp_path_factory: pytest.TempPathFactory, damage: bytes) -> None:
    path = tmp_path_factory.mktemp("s") / "s.csv"
    path.write_bytes(b"payment_id,amount,currency\np1,1.00,EUR\n" + damage + b"\np2,1.00,EUR\n")
    try:
        found = lines(path)
    except SourceError:
        return
    assert found[0] == SettlementLine(f"{path}:2", "", ("p1",), "credit", 100, "EUR", "")
