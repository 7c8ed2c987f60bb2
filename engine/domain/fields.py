"""The columns of an event: one place that fixes their names and order.

`STRING_FIELDS` index the hash matrix of a micro-batch, `NUMBER_FIELDS` its number matrix and `BOOL_FIELDS` its
boolean matrix (see `engine.features.columns`). Everything that names an event field (feature definitions, rule
expressions, the decoder) resolves it here, so a new field is added here and nowhere else.
"""

from typing import Final

STRING_FIELDS: Final[tuple[str, ...]] = (
    "type", "event_id", "customer_id", "payment_id", "currency", "method", "channel", "merchant_id",
    "merchant_category", "merchant_country", "terminal_id", "card_id", "card_bin", "card_country", "device_id", "ip",
    "ip_country", "email_hash", "shipping_hash", "counterparty_id", "acquirer", "decline_code", "reason_code",
    "refund_id", "source", "timezone", "locale", "birth_date", "country", "referrer_id", "kind", "label", "offer_id",
    "redemption_id", "referee_id",
)  # fmt: skip
NUMBER_FIELDS: Final[tuple[str, ...]] = ("amount", "amount_base", "lat", "lon", "score", "points")
BOOL_FIELDS: Final[tuple[str, ...]] = ("three_ds",)

STRING_INDEX: Final = {name: i for i, name in enumerate(STRING_FIELDS)}
NUMBER_INDEX: Final = {name: i for i, name in enumerate(NUMBER_FIELDS)}
BOOL_INDEX: Final = {name: i for i, name in enumerate(BOOL_FIELDS)}
MONEY_FIELDS: Final = ("amount", "amount_base")
"""Numbers held exactly as minor units; the rest of `NUMBER_FIELDS` are binary floats."""

ENTITY_FIELDS: Final[dict[str, str]] = {
    "customer": "customer_id",
    "card": "card_id",
    "device": "device_id",
    "ip": "ip",
    "merchant": "merchant_id",
    "terminal": "terminal_id",
    "email": "email_hash",
    "shipping": "shipping_hash",
    "counterparty": "counterparty_id",
    "acquirer": "acquirer",
    "card_bin": "card_bin",
    "payment": "payment_id",
    "method": "method",
    "source": "source",
}
"""What a feature's `by` may name, and the event field that identifies it."""

DECISION_TYPES: Final = ("payment.requested", "payment.authorised", "transfer.sent")
"""Types that can carry a decision (an authorisation only without an earlier request of its payment)."""
