"""What a feature needs to have been recorded before its values are whole."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Need:
    """Names of recordings: the same names in two plans mean the same words of the same logs.

    Attributes:
        touches: the touches of one filter in the logs of one `by`.
        parts: what those touches must carry beyond their time: a field, the values of a hot entity.
        window_ms: length of the feature's window in milliseconds of event time, None for no bound.
        kept_ms: how far before the date of a declaration the logs surely reach, less than 0 where not even there.
        lasts_ms: how long the store keeps an untouched log.
        late_ms: how far out of order events may be.
    """

    touches: str
    parts: tuple[str, ...]
    window_ms: int | None
    kept_ms: int
    lasts_ms: int
    late_ms: int
