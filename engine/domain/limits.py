"""Bounds of the texts of an event (contract section 2), in one place for the structs and for the scanner."""

from typing import Final

ID_CHARS_MAX: Final = 128
"""event_id, customer_id and payment_id."""
STRING_CHARS_MAX: Final = 256
"""Every other string field."""
TEXT_CHARS_MAX: Final = 1024
"""A string value inside metadata, attributes."""
ENTRIES_MAX: Final = 64
"""Entries of metadata, attributes and consent."""
KEY_CHARS_MAX: Final = 128
"""A key inside metadata, attributes and consent."""
LIST_CHANGES_MAX: Final = 10_000
"""Values that one `control.list` adds, removes or replaces; a record of 64 KiB holds few more."""
LIST_VALUE_CHARS_MAX: Final = 1_000
"""A value of a list, as in a file of a rules directory."""
