"""How long to wait before trying again."""

from collections.abc import Callable
from dataclasses import dataclass

WAIT_FIRST_S = 0.05  # a failover's blip is over by then
WAIT_MAX_S = 5.0  # a server that is back is used again within this time


@dataclass(slots=True)
class Backoff:
    """Doubling waits with jitter, so that workers who lost the same server do not return to it in one wave.

    Attributes:
        random: numbers in [0, 1); injected, so that a test is repeatable.
        first_s, max_s: the first wait and the longest, in seconds, before jitter.
        tries: waits handed out since the last `reset`.
    """

    random: Callable[[], float]
    first_s: float = WAIT_FIRST_S
    max_s: float = WAIT_MAX_S
    tries: int = 0

    def next_s(self) -> float:
        """Seconds to wait now: between half and all of the doubled time."""
        span_s = min(self.max_s, self.first_s * 2.0 ** min(self.tries, 30))
        self.tries += 1
        return span_s * (0.5 + 0.5 * self.random())

    def reset(self) -> None:
        """It worked: the next failure starts from the first wait again."""
        self.tries = 0
