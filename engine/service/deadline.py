"""One deadline, shared by every step of a shutdown, so that the steps together cannot take longer than promised."""

from engine.ports.clock import Clock


class Deadline:
    """A moment on a clock after which nothing waits any more."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end_s = clock.now_s() + seconds

    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._end_s - self._clock.now_s())

    def passed(self) -> bool:
        """Whether there is no time left."""
        return self.left_s() <= 0.0
