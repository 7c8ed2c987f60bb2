"""What events say of payments that were decided on: fraud, legitimate, or that the payment came to nothing."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core import cases
from engine.domain.chargebacks import is_fraud
from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.features.columns import Columns

_LABEL: Final = np.uint64(hash64("label.assigned"))
CHARGEBACK: Final = np.uint64(hash64("payment.chargeback"))
_NOTHING: Final = np.array([hash64(name) for name in ("payment.declined", "payment.failed", "payment.cancelled")])
_VALUES: Final = {hash64("fraud"): cases.FRAUD, hash64("legitimate"): cases.LEGITIMATE}
_ROW: Final = {name: STRING_INDEX[name] for name in ("type", "label", "payment_id")}


def tidings(columns: Columns, fraud_codes: frozenset[str]) -> tuple[list[int], NDArray[np.intp]]:
    """What events say.

    Returns:
        The rows that say something, in order; and of each what, as the value of a notice (`engine.core.cases`).
    """
    kind = columns.strings[_ROW["type"]]
    said = (kind == _LABEL) | (kind == CHARGEBACK)
    for nothing in _NOTHING:
        said |= kind == nothing
    rows, values = [], []
    for row in np.flatnonzero(said).tolist():
        value = cases.VOID
        if kind[row] == _LABEL:
            value = _VALUES.get(columns.strings.item(_ROW["label"], row), cases.VOID)
        elif kind[row] == CHARGEBACK:
            if not is_fraud(columns.events[row].reason_code, fraud_codes):
                continue
            value = cases.FRAUD
        rows.append(row)
        values.append(value)
    return rows, np.array(values, np.intp)
