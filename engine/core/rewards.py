"""The engagement stage: which events move a customer's ledger, and the entries that say so."""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np

from engine.core.effects import Output
from engine.domain.fields import STRING_INDEX
from engine.domain.hashing import hash64
from engine.domain.ids import output_id
from engine.domain.ops import APPEND, KEY_CUSTOMER, Op, pack
from engine.domain.outputs import Reward
from engine.domain.times import rfc3339
from engine.engagement.base_earn import (
    BLOCKED,
    CAMPAIGN,
    CASH_LIKE,
    CHARGEBACK,
    PEER_TO_PEER,
    REFUNDED,
    Account,
    BaseEarnSettings,
    record,
    settle,
    take_back,
)
from engine.features.columns import Columns

KEYS_KEPT: Final = 16_384
"""Account keys of the latest customers: a payment's events follow each other. At most 5 MB."""

_DAY_MS: Final = 86_400_000
_PAYMENT_ID: Final = STRING_INDEX["payment_id"]
_TYPE: Final = STRING_INDEX["type"]
_SETTLED: Final = hash64("payment.settled")
_REFUNDED: Final = hash64("payment.refunded")
_CHARGEBACK: Final = hash64("payment.chargeback")
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=KEYS_KEPT)
def account_key(customer_id: str) -> bytes:
    """State key of a customer's account: a digest, as an id may be longer than a key."""
    return KEY_CUSTOMER + blake2b(customer_id.encode(), digest_size=16).digest()


def ledger_rows(columns: Columns) -> list[int]:
    """Rows that may move a ledger: settlements, refunds, chargebacks."""
    return _rows_of(columns, _SETTLED, _REFUNDED, _CHARGEBACK)


def reversal_rows(columns: Columns) -> list[int]:
    """Rows that may take back what was granted: refunds, chargebacks."""
    return _rows_of(columns, _REFUNDED, _CHARGEBACK)


def _rows_of(columns: Columns, *types: int) -> list[int]:
    kind = columns.string("type")
    rows: list[int] = np.flatnonzero(np.logical_or.reduce([kind == np.uint64(one) for one in types])).tolist()
    return rows


class Rewards:
    """Accounts of the customers in memory and the entries of a batch.

    Args:
        settings: the base-earn campaign.
        backed: a state store stands behind: operations are produced, and accounts not in memory are to be loaded.
    """

    def __init__(self, settings: BaseEarnSettings, *, backed: bool) -> None:
        self._settings = settings
        self._backed = backed
        self._accounts: dict[bytes, Account] = {}

    def missing(self, columns: Columns, rows: Sequence[int]) -> list[bytes]:
        """Keys of accounts that rows of this batch need and memory does not hold."""
        if not self._backed:
            return []
        wanted = dict.fromkeys(account_key(columns.events[row].customer_id) for row in rows)
        return [key for key in wanted if key not in self._accounts]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take stored accounts into memory; `None` for a customer without one."""
        for key, value in zip(keys, values, strict=True):
            self._accounts[key] = Account.restore(value)

    def evict(self, customers_max: int) -> None:
        """Forget every account once more than `customers_max` are held; the store has them."""
        if self._backed and len(self._accounts) > customers_max:
            self.clear()

    def clear(self) -> None:
        """Forget everything in memory."""
        self._accounts = {}

    def move(self, columns: Columns, row: int, *, declined: bool) -> tuple[bytes, list[Output]]:
        """Apply a declined payment, settlement, refund or chargeback. Returns packed operations and entries."""
        event = columns.events[row]
        key = account_key(event.customer_id)
        payment, minor = columns.strings.item(_PAYMENT_ID, row), columns.minor.item(row)
        if declined:
            self._block(key, payment)
            return self._stored(key, record(BLOCKED, payment)), []
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account()
        kind = columns.strings.item(_TYPE, row)
        if kind == _SETTLED:
            stored, points = self._settle(columns, row, account, payment, minor)
            why = "one point a unit of the settled amount"
        else:
            code = REFUNDED if kind == _REFUNDED else CHARGEBACK
            reference = hash64(event.refund_id or event.event_id)
            stored, lost = take_back(account, code, payment, reference, minor)
            points, why = -lost, "refunded" if code == REFUNDED else "charged back"
        outputs = [self._entry(event, columns.time_ms.item(row), points, why)] if points else []
        return (self._stored(key, stored) if stored else b""), outputs

    def _block(self, key: bytes, payment: int) -> None:
        """Remember that a payment earns nothing. An account not in memory learns it when it is loaded."""
        account = self._accounts.get(key)
        if account is None and not self._backed:
            account = self._accounts[key] = Account()
        if account is not None:
            account.apply(BLOCKED, payment, 0, 0, 0, 0)

    def _settle(self, columns: Columns, row: int, account: Account, payment: int, minor: int) -> tuple[bytes, int]:
        event, exponent, amount = columns.events[row], columns.base_exponent.item(row), columns.base_minor.item(row)
        if exponent < 0:
            exponent, amount = columns.exponent.item(row), minor
        return settle(
            account,
            payment,
            minor=minor,
            units=amount // 10**exponent,
            day=columns.time_ms.item(row) // _DAY_MS,
            earns=event.merchant_category not in CASH_LIKE and event.method not in PEER_TO_PEER,
            limit=self._settings.daily_points_max,
        )

    def _stored(self, key: bytes, value: bytes) -> bytes:
        return pack(Op(APPEND, key, value)) if self._backed else b""

    def _entry(self, event: Any, time_ms: int, points: int, why: str) -> Output:
        # A settlement is unique by its payment for ever; a reversal by the refund that caused it.
        cause = event.payment_id if points > 0 else f"{event.payment_id}:{event.event_id}"
        identity = output_id("reward", CAMPAIGN, event.customer_id, cause)
        reward = Reward(
            entry_id=identity,
            customer_id=event.customer_id,
            campaign_id=CAMPAIGN,
            kind="points",
            delta=str(points),
            currency=None,
            bucket="pending",
            lot_id=output_id("lot", CAMPAIGN, event.customer_id, event.payment_id),
            cause_event_id=event.event_id,
            occasion=event.payment_id,
            available_at=rfc3339(time_ms + self._settings.refund_window_ms) if points > 0 else None,
            expires_at=None,
            why=why,
        )
        return Output("reward", event.customer_id.encode(), identity, time_ms, _encode(reward))
