"""Card payments as arrays, and as the events of a stream whose labels arrive eight days late."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

DAY_S: Final = 86_400
LABEL_DAYS: Final = 8
"""Labels of day d arrive at 00:00 of day d + 8, before that day's first payment."""


class Payments(NamedTuple):
    """In time order: seconds since 1970, customer, terminal, amount in cents, fraud; all `(n,)`."""

    time_s: NDArray[np.int64]
    customer: NDArray[np.int64]
    terminal: NDArray[np.int64]
    minor: NDArray[np.int64]
    fraud: NDArray[np.bool_]


def read(path: Path) -> Payments:
    """Payments of a Parquet file with the columns of the Fraud Detection Handbook; its scenario column is not read."""
    from pyarrow import parquet

    names = ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    table = parquet.read_table(path, columns=names)
    number, time, customer, terminal, amount, fraud = (table[name].to_numpy() for name in names)
    seconds = time.astype("datetime64[s]").astype(np.int64)
    order = np.lexsort((number, seconds))
    minor = np.round(amount * 100).astype(np.int64)
    ids = (values.astype(np.int64)[order] for values in (customer, terminal))
    return Payments(seconds[order], *ids, np.maximum(minor, 1)[order], fraud[order] == 1)


def poisoned(payments: Payments, share: float, seed: int) -> NDArray[np.bool_]:
    """What the labels say where this share of all of them, drawn at random, is the wrong way round."""
    wrong = np.random.default_rng(seed).random(len(payments.fraud)) < share
    told: NDArray[np.bool_] = payments.fraud ^ wrong
    return told


def events(
    payments: Payments, told: NDArray[np.bool_] | None = None, late_days: int = LABEL_DAYS, explicit: bool = False
) -> Iterator[list[bytes]]:
    """The events as NDJSON lines, a day at a time; labels go on arriving after the last payment.

    Args:
        payments: the stream.
        told: what the labels say of each payment; the truth where not given.
        late_days: labels of day d arrive at 00:00 of day d + so many.
        explicit: honest payments are labelled, too; else silence says so.
    """
    told = payments.fraud if told is None else told
    day = payments.time_s // DAY_S
    first, last = int(day[0]), int(day[-1])
    edges = np.searchsorted(day, np.arange(first, last + 2))
    for today in range(first, last + late_days + 1):
        lines: list[bytes] = []
        if first <= today - late_days <= last:
            start, end = edges[today - late_days - first : today - late_days - first + 2].tolist()
            rows = np.arange(start, end) if explicit else start + np.flatnonzero(told[start:end])
            lines += _labels(payments, told, rows, today * DAY_S * 1_000)
        if today <= last:
            lines += _payments(payments, *edges[today - first : today - first + 2].tolist())
        yield lines


def truth(payments: Payments) -> Iterator[str]:
    """`payment_id,label` of every payment."""
    for row, fraud in enumerate(payments.fraud.tolist()):
        yield f"p{row},{'fraud' if fraud else 'legitimate'}"


def _payments(payments: Payments, start: int, end: int) -> list[bytes]:
    columns = (column[start:end].tolist() for column in payments[:4])
    return [
        b'{"type":"payment.authorised","event_id":"e%d","payment_id":"p%d","event_time":%d,"customer_id":"c%d",'
        b'"terminal_id":"t%d","amount":"%d.%02d","currency":"EUR"}'
        % (row, row, time * 1_000, customer, terminal, minor // 100, minor % 100)
        for row, (time, customer, terminal, minor) in enumerate(zip(*columns, strict=True), start)
    ]


def _labels(payments: Payments, told: NDArray[np.bool_], rows: NDArray[np.intp], time_ms: int) -> list[bytes]:
    customers, says = payments.customer[rows].tolist(), told[rows].tolist()
    return [
        b'{"type":"label.assigned","event_id":"l%d","payment_id":"p%d","event_time":%d,"customer_id":"c%d","label":"%s"}'
        % (row, row, time_ms, customer, b"fraud" if fraud else b"legitimate")
        for row, customer, fraud in zip(rows.tolist(), customers, says, strict=True)
    ]
