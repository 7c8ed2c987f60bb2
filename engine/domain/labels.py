"""What a label row says of a payment: `Columns.labels` of a micro-batch.

A label row is made by the engine when a label arrives, or when a payment has gone unlabelled for so long that it counts
as legitimate. It is no event: it carries no decision, no filter of a rule set and no observer sees it, and it feeds the
label aggregates (`engine.features.definition.LABEL_AGGREGATES`) and nothing else.
"""

from typing import Final

NOT_A_LABEL: Final = 0
"""An event."""
LEGITIMATE: Final = 1
"""The first label of a payment: legitimate, told or by maturity."""
FRAUD: Final = 2
"""The first label of a payment: fraud."""
BECAME_FRAUD: Final = 3
"""Fraud, of a payment that was labelled legitimate before."""
BECAME_LEGITIMATE: Final = 4
"""Legitimate, of a payment that was labelled fraud before."""

FIRST: Final = (LEGITIMATE, FRAUD)
"""First labels: each payment has one."""
FRAUDULENT: Final = (FRAUD, BECAME_FRAUD)
WITHDRAWN: Final = (BECAME_LEGITIMATE,)
"""A fraud that is none."""
GENUINE: Final = (LEGITIMATE, BECAME_LEGITIMATE)
