"""Customer lifetime value: payments still to come, times what they are worth, discounted month by month."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.engagement.models.bgnbd import BgNbd

Floats = NDArray[np.float64]

DAYS_A_MONTH: Final = 30.0
MONTHS: Final = 12
DISCOUNT_A_MONTH: Final = 0.01
"""The defaults of the literature: a year ahead at 12.7 % a year."""


def lifetime_value(
    model: BgNbd,
    x: Floats,
    tx: Floats,
    age: Floats,
    amount: Floats,
    *,
    months: int = MONTHS,
    discount: float = DISCOUNT_A_MONTH,
    month: float = DAYS_A_MONTH,
) -> Floats:
    """Value of each customer's next `months` months, in the unit of `amount`.

    Args:
        model: fitted, in some unit of time.
        x, tx, age: of each customer, in that unit.
        amount: expected mean amount a payment (`GammaGamma.mean_amount`), or margin.
        months: how far ahead.
        discount: a month, 0.01 for 1 %.
        month: units of the model's time in a month: 30 for days.
    """
    total = np.zeros(np.shape(x), np.float64)
    before = np.zeros_like(total)
    for number in range(1, months + 1):
        ahead = model.payments_ahead(number * month, x, tx, age)
        total += amount * (ahead - before) / (1.0 + discount) ** number
        before = ahead
    return total
