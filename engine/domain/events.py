"""The events of contract section 2, one msgspec struct a type, told apart by `type`.

Every type may carry every field of `Event`, so that a login can name a device and a feature may count by any entity; a
type adds only what it requires. Types are strict, unknown fields are ignored, and null means that the value is missing.
Lengths, characters, card numbers, amounts and times are checked by `engine.core.decode`, which reads the exact text.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from engine.domain.fields import ENTITY_FIELDS
from engine.domain.limits import (
    ENTRIES_MAX,
    ID_CHARS_MAX,
    LIST_CHANGES_MAX,
    LIST_VALUE_CHARS_MAX,
    STRING_CHARS_MAX,
    TEXT_CHARS_MAX,
)


def _text(description: str, chars_max: int = STRING_CHARS_MAX, **schema: object) -> Meta:
    return Meta(description=description, extra_json_schema={"maxLength": chars_max, **schema})


Id: TypeAlias = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": ID_CHARS_MAX})]
Flat: TypeAlias = Annotated[dict[str, str | int | float | bool], Meta(extra_json_schema={"maxProperties": ENTRIES_MAX})]
Amount: TypeAlias = Annotated[
    str | int | float,
    Meta(
        description="Major units, greater than zero: a decimal string or a number, as precise as the currency at most.",
        extra_json_schema={"examples": ["12.34", 12.34]},
    ),
]
LIST_NAME: Final = "^[A-Za-z_][A-Za-z0-9_]{0,63}$(?!\n)"
RULE_ID: Final = "^[a-z][a-z0-9_]{0,63}$(?!\n)"
"""Names as rule files have them; in Python `$` alone would let a line end pass."""
_ENTITY: Final = f"^({'|'.join(ENTITY_FIELDS)})$(?!\n)"
Listed: TypeAlias = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=LIST_VALUE_CHARS_MAX)]], Meta(max_length=LIST_CHANGES_MAX)
]
Ruleset: TypeAlias = Annotated[str, Meta(description="Content hash of the rule set.", pattern="^[0-9a-f]{16}$(?!\n)")]
ModelHash: TypeAlias = Annotated[
    str, Meta(description="Content hash of the fraud model's snapshot: 32 letters.", pattern="^[a-p]{32}$(?!\n)")
]
CampaignId: TypeAlias = Annotated[str, Meta(description="Id of the campaign.", pattern=RULE_ID)]
Digest: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{12}$(?!\n)")]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Currency: TypeAlias = Annotated[
    str, Meta(description="ISO 4217 code, upper case.", extra_json_schema={"pattern": "^[A-Z]{3}$"})
]


class Event(msgspec.Struct, tag_field="type", kw_only=True, frozen=True, gc=False, omit_defaults=True):
    """What every event may carry. Instances are made by the decoder, never by hand in the engine."""

    event_id: Annotated[Id, Meta(description="Unique for the customer; a repeat is a duplicate.")]
    payment_id: Annotated[str | None, _text("The payment or transfer.", ID_CHARS_MAX, minLength=1)] = None
    customer_id: Annotated[Id, Meta(description="The customer; the key of the record.")]
    card_id: Annotated[str | None, _text("A token of the card, never its number.")] = None
    merchant_id: Annotated[str | None, _text("The merchant.")] = None
    merchant_category: Annotated[str | None, _text("Merchant category code, ISO 18245.")] = None
    device_id: Annotated[str | None, _text("The customer's device.")] = None
    ip: Annotated[str | None, _text("Address of the customer, IPv4 or IPv6.")] = None
    amount: Amount | None = None
    currency: Currency | None = None
    country: Annotated[str | None, _text("Country of the customer, ISO 3166-1 alpha-2.")] = None
    method: Annotated[str | None, _text("Payment method, such as card, wallet or transfer.")] = None
    channel: Annotated[str | None, _text("Where the event began, such as web, app or pos.")] = None
    event_time: Annotated[
        str | int, Meta(description="RFC 3339 with an offset, or milliseconds since 1970; years 1970 to 2100.")
    ]
    merchant_country: Annotated[str | None, _text("Country of the merchant, ISO 3166-1 alpha-2.")] = None
    terminal_id: Annotated[str | None, _text("The terminal.")] = None
    card_bin: Annotated[str | None, _text("First six to eight digits of the card number.")] = None
    card_country: Annotated[str | None, _text("Country of the card's issuer.")] = None
    ip_country: Annotated[str | None, _text("Country of the address.")] = None
    email_hash: Annotated[str | None, _text("Hash of the e-mail address.")] = None
    shipping_hash: Annotated[str | None, _text("Hash of the shipping address.")] = None
    counterparty_id: Annotated[str | None, _text("The other side of a transfer.")] = None
    acquirer: Annotated[str | None, _text("The acquirer or route.")] = None
    decline_code: Annotated[str | None, _text("Why a payment was declined.")] = None
    reason_code: Annotated[str | None, _text("Why a payment was charged back.")] = None
    refund_id: Annotated[str | None, _text("The refund, where a payment has several.")] = None
    three_ds: Annotated[bool | None, Meta(description="Authenticated with 3-D Secure.")] = None
    lat: Annotated[float | None, Meta(description="Latitude, degrees north.")] = None
    lon: Annotated[float | None, Meta(description="Longitude, degrees east.")] = None
    metadata: Annotated[Flat | None, Meta(description="Anything else, flat.")] = None
    source: Annotated[str | None, _text("The system the event came from.")] = None
    schema_version: Annotated[Literal[1] | None, Meta(description="Version of this schema.")] = None
    timezone: Annotated[str | None, _text("Time zone of the customer, IANA name.")] = None
    locale: Annotated[str | None, _text("Language of the customer, BCP 47.")] = None
    birth_date: Annotated[str | None, _text("Date of birth, YYYY-MM-DD.")] = None
    consent: Annotated[
        dict[str, bool] | None,
        Meta(description="Purpose to consent.", extra_json_schema={"maxProperties": ENTRIES_MAX}),
    ] = None
    referrer_id: Annotated[str | None, _text("Who referred the customer.")] = None
    attributes: Annotated[Flat | None, Meta(description="What else is known of the customer, flat.")] = None
    kind: Annotated[str | None, _text("Kind of feedback, or of a redeemed offer.")] = None
    score: Annotated[float | None, Meta(description="Score of the feedback.")] = None
    label: Annotated[str | None, _text("What a payment turned out to be.")] = None
    offer_id: Annotated[str | None, _text("The offer.")] = None
    points: Annotated[float | None, Meta(description="Points redeemed.")] = None
    redemption_id: Annotated[str | None, _text("The redemption.")] = None
    referee_id: Annotated[str | None, _text("Who was referred.")] = None


class Money(Event, kw_only=True, frozen=True):
    """A payment or a transfer: which, how much, in what currency."""

    payment_id: Annotated[Id, Meta(description="The payment or transfer.")]
    amount: Amount
    currency: Currency


class PaymentRequested(Money, tag="payment.requested", kw_only=True, frozen=True):
    """A payment is asked for; carries a decision."""


class PaymentAuthorised(Money, tag="payment.authorised", kw_only=True, frozen=True):
    """A payment was authorised; carries a decision where no request of it came before."""


class PaymentDeclined(Money, tag="payment.declined", kw_only=True, frozen=True):
    """A payment was declined by the issuer or the acquirer."""


class PaymentFailed(Money, tag="payment.failed", kw_only=True, frozen=True):
    """A payment failed for a technical reason."""


class PaymentCaptured(Money, tag="payment.captured", kw_only=True, frozen=True):
    """An authorised amount was captured."""


class PaymentSettled(Money, tag="payment.settled", kw_only=True, frozen=True):
    """The money has arrived."""


class PaymentRefunded(Money, tag="payment.refunded", kw_only=True, frozen=True):
    """Money was given back, all or in part."""


class PaymentCancelled(Money, tag="payment.cancelled", kw_only=True, frozen=True):
    """A payment was called off before capture."""


class PaymentChargeback(Money, tag="payment.chargeback", kw_only=True, frozen=True):
    """The card holder disputed a payment and the money was taken back."""


class TransferSent(Money, tag="transfer.sent", kw_only=True, frozen=True):
    """Money leaves the customer for another account; carries a decision."""


class TransferReceived(Money, tag="transfer.received", kw_only=True, frozen=True):
    """Money reaches the customer from another account."""


class AccountRegistered(Event, tag="account.registered", kw_only=True, frozen=True):
    """A customer signed up."""


class AccountUpdated(Event, tag="account.updated", kw_only=True, frozen=True):
    """A customer's data changed."""


class AccountLogin(Event, tag="account.login", kw_only=True, frozen=True):
    """A customer logged in."""


class AccountLoginFailed(Event, tag="account.login_failed", kw_only=True, frozen=True):
    """A log-in failed."""


class AccountPasswordChanged(Event, tag="account.password_changed", kw_only=True, frozen=True):
    """The password was changed."""


class AccountContactChanged(Event, tag="account.contact_changed", kw_only=True, frozen=True):
    """An e-mail address or a telephone number was changed."""


class AccountConsentChanged(Event, tag="account.consent_changed", kw_only=True, frozen=True):
    """Consent was given or withdrawn."""


class AccountErased(Event, tag="account.erased", kw_only=True, frozen=True):
    """The customer is to be erased."""


class FeedbackSubmitted(Event, tag="feedback.submitted", kw_only=True, frozen=True):
    """The answer to a survey."""

    kind: Annotated[Literal["nps", "csat"], Meta(description="Which survey.")]
    score: Annotated[float, Meta(description="The answer: 0 to 10 for nps, 1 to 5 for csat.")]


class LabelAssigned(Event, tag="label.assigned", kw_only=True, frozen=True):
    """What a payment turned out to be."""

    payment_id: Annotated[Id, Meta(description="The payment.")]
    label: Annotated[Literal["fraud", "legitimate"], Meta(description="Fraud or legitimate.")]


class OfferViewed(Event, tag="offer.viewed", kw_only=True, frozen=True):
    """A customer saw an offer."""


class OfferRedeemed(Event, tag="offer.redeemed", kw_only=True, frozen=True):
    """A customer used an offer."""


class PointsRedeemed(Event, tag="points.redeemed", kw_only=True, frozen=True):
    """A customer spent points."""


class ReferralCreated(Event, tag="referral.created", kw_only=True, frozen=True):
    """A customer referred another."""


class Control(msgspec.Struct, tag_field="type", kw_only=True, frozen=True, omit_defaults=True):
    """An input of the engine itself on the same log, adopted at its place in it."""

    event_id: Annotated[Id, Meta(description="Unique id.")]
    event_time: Annotated[
        str | int, Meta(description="RFC 3339 with an offset, or milliseconds since 1970; years 1970 to 2100.")
    ]
    customer_id: Annotated[str | None, _text("Not used; a record key where the log needs one.", ID_CHARS_MAX)] = None
    source: Annotated[str | None, _text("The system the event came from.")] = None
    schema_version: Annotated[Literal[1] | None, Meta(description="Version of this schema.")] = None


class ControlRates(Control, tag="control.rates", kw_only=True, frozen=True):
    """Exchange rates in force from here on. Rates older than those in force are passed over."""

    base: Annotated[Currency | UnsetType, Meta(description="Base currency; the one in force where missing.")] = UNSET
    rates: Annotated[
        dict[str, str | int | float],
        Meta(description="Currency to how much of it one unit of the base currency buys, as a decimal."),
    ]


class ControlList(Control, tag="control.list", kw_only=True, frozen=True):
    """Changes a list that rules may name: `values` replaces it, then `remove` and `add` apply, in this order."""

    name: Annotated[str, Meta(description="The list.", pattern=LIST_NAME)]
    values: Annotated[Listed | None, Meta(description="All it holds from now on, instead of what files declare.")] = (
        None
    )
    add: Annotated[Listed, Meta(description="Values to add.")] = []
    remove: Annotated[Listed, Meta(description="Values to take away.")] = []
    expires_at: Annotated[
        str | int | None,
        Meta(description="`add` and `values` hold for events before this time; null for ever. As `event_time`."),
    ] = None


class ControlRules(Control, tag="control.rules", kw_only=True, frozen=True):
    """A rule set is in force from here on."""

    ruleset: Ruleset


class ControlRulesRefused(Control, tag="control.rules_refused", kw_only=True, frozen=True):
    """A changed rule set could not be used; the one in force stays."""

    ruleset: Ruleset
    errors: Annotated[
        list[Annotated[str, Meta(max_length=512)]], Meta(description="What is wrong with it.", max_length=10)
    ]


class ControlModel(Control, tag="control.model", kw_only=True, frozen=True):
    """Which snapshot of the fraud model serves from here on."""

    mode: Annotated[
        Literal["start", "pin", "follow"],
        Meta(
            description="`start`: publish `model` and go on learning from it. `pin`: serve exactly `model` and nothing "
            "newer until `follow`; learning goes on behind it. `follow`: serve what is learned."
        ),
    ]
    model: ModelHash | None = None


class ControlSnooze(Control, tag="control.snooze", kw_only=True, frozen=True):
    """Hits of a rule on events of one entity count as shadow hits for a while."""

    rule: Annotated[str, Meta(description="Id of the rule.", pattern=RULE_ID)]
    entity: Annotated[str, Meta(description="What kind of entity, as in a feature's `by`.", pattern=_ENTITY)]
    value: Annotated[str, Meta(description="Which one.", min_length=1, max_length=STRING_CHARS_MAX)]
    until: Annotated[
        str | int | None,
        Meta(description="For events before this time, as `event_time`; null wakes the rule again."),
    ] = None


class ControlTick(Control, tag="control.tick", kw_only=True, frozen=True):
    """Time goes on: the clock of a shard that has no events."""


class ControlAlertResolved(Control, tag="control.alert_resolved", kw_only=True, frozen=True):
    """An analyst closed an alert."""

    alert_id: Annotated[str, _text("The alert.")]
    resolution: Annotated[Literal["fraud", "legitimate", "dismissed"], Meta(description="What it turned out to be.")]
    payment_id: Annotated[str | None, _text("The payment, where the alert has one.", ID_CHARS_MAX)] = None
    note: Annotated[str | None, _text("A remark.", TEXT_CHARS_MAX)] = None


class ControlReward(Control, tag="control.reward", kw_only=True, frozen=True):
    """A shard tells that of a referrer, who is `customer_id`: what they get for a customer whom they referred, or what
    has become of the payment that it was for. The engine writes it itself."""

    campaign_id: CampaignId
    version: Annotated[int, Meta(description="Of the campaign.", ge=1)]
    ruleset: Annotated[
        Ruleset | None, Meta(description="The rule set that has the campaign; null where nothing is granted.")
    ] = None
    referral_id: Annotated[Digest, Meta(description="Stands for campaign and referred customer: one reward each.")]
    share_id: Annotated[
        Digest | None, Meta(description="Stands for the referred customer's payment; null where there was none.")
    ] = None
    units: Annotated[Count, Meta(description="To grant: points, coupons or minor units; 0 for nothing.")] = 0
    settled_minor: Annotated[Count, Meta(description="Of the payment, in its own currency; 0 before it has.")] = 0
    refunded_minor: Annotated[Count, Meta(description="Of the payment, all that is gone of it so far.")] = 0
    marks: Annotated[
        list[Annotated[int, Meta(ge=0, lt=2**32)]],
        Meta(
            description="Stand for what the referred customer was seen with; a referrer who shares it is suspected.",
            max_length=16,
        ),
    ] = []
    cause_event_id: Annotated[str, _text("The event of the referred customer that led to it.", ID_CHARS_MAX)]


class ControlBudget(Control, tag="control.budget", kw_only=True, frozen=True):
    """A shard asks another for a part of what that may still give of a campaign's budget, or says what it has given.
    The engine writes it itself."""

    campaign_id: CampaignId
    version: Annotated[int, Meta(description="Of the campaign.", ge=1)]
    sender: Annotated[Count, Meta(description="Number of the shard that writes.")]
    receiver: Annotated[Count, Meta(description="Number of the shard on whose log this is.")]
    generation: Annotated[Count, Meta(description="How often the shards have been made others (repartition).")] = 0
    number: Annotated[int, Meta(description="Of the request, or of the request that this answers.", ge=1)]
    wanted: Annotated[Count, Meta(description="Points or minor units that are asked for; 0 in an answer.")] = 0
    given: Annotated[Count, Meta(description="All that the sender has ever given to the receiver.")] = 0


def _leaves(base: type[Any]) -> tuple[type[Any], ...]:
    """The classes with a tag below `base`, in the order of this file."""
    found: list[type[Any]] = []
    for child in base.__subclasses__():
        found += [child] if "." in str(child.__struct_config__.tag) else _leaves(child)
    return tuple(found)


EVENT_CLASSES: Final[tuple[type[Event], ...]] = _leaves(Event)
CONTROL_CLASSES: Final[tuple[type[Control], ...]] = _leaves(Control)
EVENT_TYPES: Final[dict[str, type[Event]]] = {str(c.__struct_config__.tag): c for c in EVENT_CLASSES}
CONTROL_TYPES: Final[dict[str, type[Control]]] = {str(c.__struct_config__.tag): c for c in CONTROL_CLASSES}
