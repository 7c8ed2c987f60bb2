"""Why an event was refused: one constant a reason, and what each means in one line.

The codes are public (they stand in dead letters and metrics), so they never change their meaning.
"""

from typing import Final

TOMBSTONE: Final = "tombstone"
EMPTY: Final = "empty"
TOO_LARGE: Final = "too_large"
BYTE_ORDER_MARK: Final = "byte_order_mark"
INVALID_UTF8: Final = "invalid_utf8"
NOT_JSON: Final = "not_json"
TRAILING_DATA: Final = "trailing_data"
TOO_DEEP: Final = "too_deep"
DUPLICATE_KEY: Final = "duplicate_key"
NOT_AN_OBJECT: Final = "not_an_object"
NUMBER_NOT_FINITE: Final = "number_not_finite"
NUMBER_OUT_OF_RANGE: Final = "number_out_of_range"
MISSING_FIELD: Final = "missing_field"
WRONG_TYPE: Final = "wrong_type"
UNKNOWN_TYPE: Final = "unknown_type"
UNSUPPORTED_VERSION: Final = "unsupported_schema_version"
INVALID_VALUE: Final = "invalid_value"
ID_LENGTH: Final = "id_length"
STRING_TOO_LONG: Final = "string_too_long"
TOO_MANY_ENTRIES: Final = "too_many_entries"
CONTROL_CHARACTER: Final = "control_character_in_id"
LONE_SURROGATE: Final = "lone_surrogate_in_id"
CARD_NUMBER_IN_CARD_ID: Final = "card_number_in_card_id"
CARD_NUMBER_IN_NUMBER: Final = "card_number_in_number"
AMOUNT_MALFORMED: Final = "amount_malformed"
AMOUNT_NOT_FINITE: Final = "amount_not_finite"
AMOUNT_NOT_POSITIVE: Final = "amount_not_positive"
AMOUNT_OVER_PRECISE: Final = "amount_over_precise"
AMOUNT_TOO_LARGE: Final = "amount_too_large"
UNKNOWN_CURRENCY: Final = "unknown_currency"
TIME_MALFORMED: Final = "time_malformed"
TIME_OUT_OF_RANGE: Final = "time_out_of_range"
INVALID_RATES: Final = "invalid_rates"
CARD_NUMBER_IN_CONTROL: Final = "card_number_in_control"
UNKNOWN_RULESET: Final = "unknown_ruleset"
UNUSABLE_RULESET: Final = "unusable_ruleset"
UNKNOWN_MODEL: Final = "unknown_model"
UNUSABLE_MODEL: Final = "unusable_model"
LIST_FULL: Final = "list_full"
SNOOZES_FULL: Final = "snoozes_full"

MEANINGS: Final[dict[str, str]] = {
    TOMBSTONE: "the record has no value",
    EMPTY: "the record is empty or blank",
    TOO_LARGE: "the record is longer than 64 KiB",
    BYTE_ORDER_MARK: "the record begins with a byte order mark",
    INVALID_UTF8: "the record is not valid UTF-8",
    NOT_JSON: "the record is not JSON",
    TRAILING_DATA: "something follows the JSON value",
    TOO_DEEP: "objects and arrays are nested deeper than 8",
    DUPLICATE_KEY: "an object, at any depth, names a key twice",
    NOT_AN_OBJECT: "the JSON value is not an object",
    NUMBER_NOT_FINITE: "NaN or Infinity stands for a number other than the amount",
    NUMBER_OUT_OF_RANGE: "a number other than the amount does not fit 64 bits",
    MISSING_FIELD: "a required field is missing or null",
    WRONG_TYPE: "a field has a value of the wrong type",
    UNKNOWN_TYPE: "the type of the event is not known",
    UNSUPPORTED_VERSION: "schema_version is not 1",
    INVALID_VALUE: "a field that allows only some values has another",
    ID_LENGTH: "a required id is empty, or an id is longer than it may be",
    STRING_TOO_LONG: "a string or a key is longer than it may be",
    TOO_MANY_ENTRIES: "metadata, attributes or consent has more than 64 entries",
    CONTROL_CHARACTER: "an id holds a control or text direction character",
    LONE_SURROGATE: "an id holds half of a surrogate pair",
    CARD_NUMBER_IN_CARD_ID: "card_id holds a clear card number instead of a token",
    CARD_NUMBER_IN_NUMBER: "a numeric field reads as a card number, which cannot be masked in a number",
    AMOUNT_MALFORMED: "the amount is not a plain decimal",
    AMOUNT_NOT_FINITE: "the amount is NaN or infinite",
    AMOUNT_NOT_POSITIVE: "the amount is zero or negative",
    AMOUNT_OVER_PRECISE: "the amount is more precise than the currency's minor unit",
    AMOUNT_TOO_LARGE: "the amount has 10^15 minor units or more",
    UNKNOWN_CURRENCY: "the currency is not an ISO 4217 code in use, in upper case",
    TIME_MALFORMED: "event_time is neither RFC 3339 with an offset nor an integer of milliseconds",
    TIME_OUT_OF_RANGE: "event_time is outside the years 1970 to 2100",
    INVALID_RATES: "control.rates names an unknown currency or a rate that is not a positive decimal",
    CARD_NUMBER_IN_CONTROL: "a value of control.list or control.snooze reads as a card number; it would match nothing",
    UNKNOWN_RULESET: "control.rules names a rule set that the archive does not have; the one in force stays",
    UNUSABLE_RULESET: "control.rules names a rule set that does not fit the state of the shard; the one in force stays",
    UNKNOWN_MODEL: "control.model names a snapshot that the archive does not have, or none; what serves stays",
    UNUSABLE_MODEL: "control.model names a snapshot that does not fit the shard's fraud model; what serves stays",
    LIST_FULL: "control.list would make a list longer than 100,000 entries, or more than 1,000 lists",
    SNOOZES_FULL: "control.snooze would be one more than 10,000",
}
