"""Which chargebacks mean fraud."""

from engine.domain.chargebacks import DEFAULT, FRAUD_CODES, canonical, is_fraud


def test_codes_of_fraud_and_of_other_disputes() -> None:
    assert all(is_fraud(code) for code in ("10.4", " 10.4 ", "4837", "f29", "UA02", "fraud", "546"))
    assert not any(is_fraud(code) for code in ("13.1", "4853", "C08", "RG", "", "10", None))


def test_a_code_belongs_to_one_scheme() -> None:
    codes = [code for of_scheme in FRAUD_CODES.values() for code in of_scheme]
    assert len(codes) == len(set(codes)) == len(DEFAULT)
    assert canonical(codes) == DEFAULT


def test_codes_of_ones_own() -> None:
    assert is_fraud("x1", canonical([" X1", ""])) and not is_fraud("10.4", canonical(["X1"]))
