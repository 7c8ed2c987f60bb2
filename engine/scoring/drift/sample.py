"""The inputs of a block's payments, counted: all of a quiet day, evenly drawn ones of a busy day.

Every `step`-th payment is counted, `step` times. It is a power of two, doubled whenever as many are counted as a block
should have, and a day begins with the step that the day before needed: so what a shard keeps and stores of a day is
bounded, and depends on the sequence of payments only.
"""

import numpy as np
from numpy.typing import NDArray

from engine.scoring.drift.histogram import BINS, count, encode

Floats = NDArray[np.float64]


class Sample:
    """Counts of one block.

    Args:
        inputs: of a payment.
        rows_max: payments counted before the step is doubled.

    Attributes:
        seen: payments of the block; counted: those that were counted.
        counts: `(inputs, BINS)`.
    """

    def __init__(self, inputs: int, rows_max: int) -> None:
        self._rows_max = rows_max
        self._inputs = inputs
        self.begin(0)

    def begin(self, before: int) -> None:
        """A new block, after one of so many payments."""
        self.seen = self.counted = self._of_step = 0
        self._doublings = max(0, (before - 1) // self._rows_max).bit_length()
        self.counts = np.zeros((self._inputs, BINS))

    def add(self, x: NDArray[np.float32]) -> bytes:
        """Take in payments in order, float32 `(n, inputs)`. Returns what `replay` takes: the rows that were counted."""
        kept: list[bytes] = []
        start, n = 0, len(x)
        while start < n:
            step = 1 << self._doublings
            places = np.arange(start + (-self.seen) % step, n, step)[: self._rows_max - self._of_step]
            end = n
            if len(places):
                codes = encode(np.ascontiguousarray(x[places]))
                kept.append(self._take(codes))
                if self._of_step == self._rows_max:
                    end = int(places[-1]) + 1
                    self._doublings, self._of_step = self._doublings + 1, 0
            self.seen += end - start
            start = end
        return b"".join(kept)

    def _take(self, codes: NDArray[np.uint8]) -> bytes:
        count(codes, float(1 << self._doublings), self.counts)
        self.counted += len(codes)
        self._of_step += len(codes)
        tags = np.full((len(codes), 1), self._doublings, np.uint8)
        return np.concatenate((tags, codes), axis=1).tobytes()

    def replay(self, kept: bytes, state: list[int]) -> None:
        """Go on from the rows that were counted and what `state` gave. Raises `ValueError` where they do not agree."""
        rows, rest = divmod(len(kept), self._inputs + 1)
        seen, counted, of_step, doublings = state
        if rest or rows != counted:
            raise ValueError(f"{len(kept)} bytes of counted payments, not those of {counted}")
        table = np.frombuffer(kept, np.uint8).reshape(rows, self._inputs + 1)
        if rows and (int(table[:, 1:].max()) >= BINS or int(table[:, 0].max()) > doublings):
            raise ValueError("counted payments are damaged")
        self.counts = np.zeros((self._inputs, BINS))
        for doubled in np.unique(table[:, 0]).tolist():
            count(np.ascontiguousarray(table[table[:, 0] == doubled, 1:]), float(1 << doubled), self.counts)
        self.seen, self.counted, self._of_step, self._doublings = seen, counted, of_step, doublings

    def state(self) -> list[int]:
        """The numbers beside the rows."""
        return [self.seen, self.counted, self._of_step, self._doublings]
