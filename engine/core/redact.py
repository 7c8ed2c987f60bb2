"""What of a refused record may be shown: its beginning, without card numbers."""

import re
from typing import Final

from engine.domain import pan

REDACTED_BYTES_MAX: Final = 2048
_LOOK_BYTES: Final = 4096
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})|\\([tnr/])")
_CUT_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_DIGITS_AND_SEPARATORS: Final = "0123456789 \t-\u00a0\u2007\u2009\u202f\u2010\u2011\u2012\u2013\u2014\u2015\u2212"


def redact(raw: bytes | None) -> str:
    """The beginning of a record as text of at most `REDACTED_BYTES_MAX` bytes of UTF-8, card numbers masked."""
    if not raw:
        return ""
    text = raw[:_LOOK_BYTES].decode("utf-8", "replace")
    cut = len(raw) > _LOOK_BYTES
    if cut:
        text = _CUT_ESCAPE.sub("", text)
    text = pan.mask(_ESCAPE.sub(_unescape, text).replace("\0", ""))  # text in UTF-16 has a NUL between its digits
    if cut:  # the rest of a card number may have been cut off
        text = text.rstrip("\ufffd").rstrip(_DIGITS_AND_SEPARATORS)
    return text.encode()[:REDACTED_BYTES_MAX].decode("utf-8", "ignore")


def _unescape(match: re.Match[str]) -> str:
    """Letters, digits, blanks and dashes for their escapes, which could hide a card number."""
    if match.group(2):
        return "/" if match.group(2) == "/" else " "
    character = chr(int(match.group(1), 16))
    hides = not character.isalnum() and character not in _DIGITS_AND_SEPARATORS and character != "\0"
    return match.group() if hides else character
