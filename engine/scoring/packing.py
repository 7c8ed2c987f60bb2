"""Model inputs in 16 bits each, as they are kept from the decision until the label comes.

The upper half of a float32 (bfloat16): its sign, its whole exponent and 7 bits of its fraction, rounded to the nearest,
ties to even; 0.4 % at most. Trees split at some 60 places of an input, so that costs nothing that can be measured
(docs/scoring.md). The model scores the rounded values too, so what it learns is what it scored.
"""

import numpy as np
from numpy.typing import NDArray

from engine.features.jit import njit

NAN = 0x7FC0


@njit
def pack_inputs(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Inputs float32 `(n, inputs)`, C-contiguous, as uint16 of the same shape. NaN stays NaN, infinities stay."""
    n, inputs = x.shape
    bits = x.view(np.uint32)
    packed = np.empty((n, inputs), np.uint16)
    for i in range(n):
        for f in range(inputs):
            word = np.int64(bits[i, f])
            if word & 0x7FFFFFFF > 0x7F800000:
                packed[i, f] = NAN
            else:
                packed[i, f] = (word + 0x7FFF + ((word >> 16) & 1)) >> 16
    return packed


@njit
def unpack_inputs(packed: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Packed inputs uint16 `(n, inputs)` as float32 of the same shape."""
    n, inputs = packed.shape
    bits = np.empty((n, inputs), np.uint32)
    for i in range(n):
        for f in range(inputs):
            bits[i, f] = np.uint32(packed[i, f]) << 16
    return bits.view(np.float32)
