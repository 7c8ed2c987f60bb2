"""What has become known of payments, as label rows for the features and as rows to learn from."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.core.cases import Case, Cases, Form, as_rows
from engine.core.maturing import Due
from engine.domain.labels import BECAME_FRAUD, FRAUD, LEGITIMATE
from engine.features.columns import Columns
from engine.scoring.rows import LabelledRows


class Known(NamedTuple):
    """What has become known, in order.

    Attributes:
        rows: for the features.
        before: of each the row of the stretch that it stands before, ascending.
        learned: those whose inputs are of the model at work; None where there are none.
    """

    rows: Columns
    before: NDArray[np.intp]
    learned: LabelledRows | None


class Told(NamedTuple):
    """What an event told of a case: at which row, when, and the kind of its label row (`engine.domain.labels`)."""

    case: Case
    row: int
    time_ms: int
    kind: int


def known(told: list[Told], due: Due | None, before: NDArray[np.intp], form: Form) -> Known:
    """Cases that have matured and those of which something was told, by row; at one row the matured first.

    Args:
        told: in the order of rows; `due`: matured ones; at least one of both.
        before: of each matured one, in its order, the row it stands before.
        form: of the cases that the model at work learns from.
    """
    parts = [*(due.parts if due is not None else ()), *((one.case.form, one.case.cases) for one in told)]
    ripe = len(before)
    order = np.append(due.order if due is not None else np.empty(0, np.intp), ripe + np.arange(len(told))).astype(
        np.intp
    )
    at = np.append(before, [one.row for one in told]).astype(np.intp)
    matured_ms = due.due_ms if due is not None else np.empty(0, np.int64)
    time_ms = np.append(matured_ms, np.array([one.time_ms for one in told], np.int64))
    kinds = np.append(np.full(ripe, LEGITIMATE), [one.kind for one in told]).astype(np.int8)
    by_row = np.argsort(at, kind="stable")
    order, time_ms, kinds = order[by_row], time_ms[by_row], kinds[by_row]
    return Known(as_rows(parts, time_ms, kinds, order), at[by_row], _learned(parts, order, time_ms, kinds, form))


def _learned(
    parts: list[tuple[Form, Cases]],
    order: NDArray[np.intp],
    time_ms: NDArray[np.int64],
    kinds: NDArray[np.int8],
    form: Form,
) -> LabelledRows | None:
    """The cases that hold inputs of the model at work, as rows to learn from."""
    fits = [of.inputs > 0 and (of.inputs, of.model) == (form.inputs, form.model) for of, _ in parts]
    usable = np.concatenate([np.full(len(cases), fit) for fit, (_, cases) in zip(fits, parts, strict=True)])
    rows = np.flatnonzero(usable[order])
    if not len(rows):
        return None
    place = (np.cumsum(usable) - 1)[order[rows]]  # among the usable ones
    kind = kinds[rows]

    def column(name: str) -> NDArray[Any]:
        found: NDArray[Any] = np.concatenate([cases[name] for fit, (_, cases) in zip(fits, parts, strict=True) if fit])
        chosen: NDArray[Any] = found[place]
        return chosen

    share = column("share")
    kept = (kind != LEGITIMATE) & (share == 0.0)  # frauds are, drawn or not; so what is no fraud after all unlearns one
    return LabelledRows(
        payments=column("identity"),
        decided_ms=column("decided_ms"),
        arrived_ms=time_ms[rows],
        fraud=np.isin(kind, (FRAUD, BECAME_FRAUD)).astype(np.uint8),
        inputs=column("inputs"),
        plain=column("plain"),
        labelled=column("labelled"),
        margin=column("margin"),
        share=np.where(kept, np.float32(1.0), share),
    )
