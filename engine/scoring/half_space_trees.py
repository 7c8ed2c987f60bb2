"""Half-space trees: the anomaly detector shipped as the default."""

import hashlib
import struct
import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.scoring import trees as kernel

MAGIC: Final = b"HST1"
HEADER: Final = struct.Struct("<4sHBBHIQ8sIQ")  # magic, trees, height, mass bytes, inputs, window, seed, splits, clock
CHECKSUM_BYTES: Final = 8
LIMITS: Final = {"trees": (1, 500), "height": (1, 15), "window": (1, 1_000_000), "seed": (0, kernel.MASK_64)}
INPUTS_MAX: Final = 256


class HalfSpaceTrees:
    """Half-Space Trees (HST): an online relative of the isolation forest.

    Each tree cuts the unit cube at random, before it has seen any data. Events are counted in the leaf they fall into,
    window by window; an event is unusual where the previous window left little mass around it. High scores are
    anomalies.

    Caveats: single outliers stand out, but anomalies that come packed in one window look normal in the next; inputs
    must be scaled to [0, 1] by the caller, with the interesting range spread over it; the scale of the scores depends
    on the parameters, so a threshold belongs to one configuration. There is no score in the first window: river's
    implementation gives 0 there, this one NaN and `ready` false.

    Inputs are clamped to [0, 1]; a missing one (NaN) counts as 0.0. (river takes the heavier branch instead.)

    Parameters
    ----------
    inputs
        Number of input features.
    trees
        Number of trees.
    height
        Height of each tree: it has `2**height` leaves. Memory is about `32 * trees * 2**height` bytes.
    window
        Events whose mass makes the reference of the next `window` events.
    seed
        Draws the splits. The same parameters give the same trees on every platform.

    Examples
    --------
    >>> import numpy as np
    >>> model = HalfSpaceTrees(inputs=1, trees=25, height=3, window=4, seed=42)
    >>> model.score_then_learn(np.array([[0.50, 0.45, 0.43, 0.44]]))
    array([nan, nan, nan, nan])
    >>> model.ready
    True
    >>> for x in (0.445, 0.47, 0.02):
    ...     print(f"{x:.3f} {model.score_then_learn(np.array([[x]]))[0]:.3f}")
    0.445 0.061
    0.470 0.125
    0.020 0.813

    References
    ----------
    Tan, S. C., Ting, K. M. and Liu, T. F., 2011. Fast anomaly detection for streaming data. Proceedings of the
    Twenty-Second International Joint Conference on Artificial Intelligence.
    """

    def __init__(self, inputs: int, trees: int = 25, height: int = 8, window: int = 250, seed: int = 42) -> None:
        """Raises `ValueError` where a parameter is out of its range (`LIMITS`, `INPUTS_MAX`)."""
        given = {"trees": trees, "height": height, "window": window, "seed": seed}
        for name, (low, high) in LIMITS.items():
            _check(name, given[name], low, high)
        _check("inputs", inputs, 1, INPUTS_MAX)
        self._inputs, self._trees, self._height, self._window, self._seed = inputs, trees, height, window, seed
        self._grow(kernel.build_forest(trees, height, inputs, seed))
        leaves = 1 << height
        self._fresh = np.zeros((trees, leaves), np.uint32)
        self._reference = np.zeros((trees, leaves), np.uint32)
        self._path = np.zeros((trees, leaves), np.int64)
        self._clock = np.zeros(2, np.int64)
        self._score_max = float(trees * window * (2 * leaves - 1))

    def _grow(self, forest: kernel.Forest) -> None:
        """Use these splits."""
        self._forest = forest
        self._splits = _checksum(forest.feature.tobytes() + forest.threshold.tobytes())

    @property
    def inputs(self) -> int:
        """How many input features it takes."""
        return self._inputs

    @property
    def ready(self) -> bool:
        """Whether a first window is complete."""
        return bool(self._clock[kernel.WINDOWS] > 0)

    @property
    def version(self) -> str:
        """The configuration, such as `hst1-25x8-w250-s42-i6`: scores of the same version can be compared."""
        return f"hst1-{self._trees}x{self._height}-w{self._window}-s{self._seed}-i{self._inputs}"

    def score_then_learn(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Score each event against the last complete window, then count it in the current one, in order.

        Takes float64 `(inputs, n)`; returns float64 `(n,)` in [0, 1], NaN before the first window is complete.
        Raises `ValueError` on any other shape.
        """
        if x.ndim != 2 or len(x) != self._inputs:
            raise ValueError(f"inputs of shape {x.shape}; ({self._inputs}, n) expected")
        return kernel.score_then_learn(
            kernel.clean(x),
            self._forest.feature,
            self._forest.threshold,
            self._path,
            self._fresh,
            self._reference,
            self._clock,
            self._window,
            self._score_max,
        )

    def dump(self) -> bytes:
        """The leaf masses and the window's clock; the splits follow from the parameters.

        At most `4 * trees * 2**height` bytes and a header where `window` is below 65,536 (26 KB for 25 trees of height
        8), a fraction of it in practice, since most leaves are empty and the masses are deflated.
        """
        width = self._mass_type().itemsize
        masses = np.concatenate((self._reference, self._fresh)).astype(self._mass_type())
        body = self._header(width, *(int(value) for value in self._clock)) + zlib.compress(masses.tobytes(), 1)
        return body + _checksum(body)

    def load(self, data: bytes) -> None:
        """Replace the state by a dumped one.

        Raises `ValueError`, and changes nothing, where `data` is damaged or from other parameters.
        """
        body = data[:-CHECKSUM_BYTES]
        if len(body) < HEADER.size or _checksum(body) != data[-CHECKSUM_BYTES:]:
            raise ValueError("detector state is damaged: its checksum does not match")
        learned, windows = HEADER.unpack_from(body)[-2:]
        width = self._mass_type().itemsize
        if body[: HEADER.size] != self._header(width, learned, windows):
            raise ValueError(f"detector state belongs to another configuration than {self.version}")
        masses = self._masses(body[HEADER.size :], learned, windows)
        kernel.flip(masses[: self._trees].copy(), self._reference, self._path, 0.1 * self._window)
        self._fresh[:] = masses[self._trees :]
        self._clock[:] = learned, windows

    def _masses(self, packed: bytes, learned: int, windows: int) -> NDArray[np.uint32]:
        """Reference then fresh masses, `(2 * trees, leaves)`, checked against the clock."""
        kind = self._mass_type()
        size = 2 * self._fresh.size * kind.itemsize
        try:
            plain = zlib.decompressobj().decompress(packed, size + 1)
        except zlib.error as error:
            raise ValueError(f"detector state is damaged: {error}") from None
        if len(plain) != size:
            raise ValueError(f"detector state has {len(plain)} bytes of masses, not {size}")
        masses = np.frombuffer(plain, kind).reshape(2 * self._trees, -1).astype(np.uint32)
        sums = masses.sum(axis=1, dtype=np.int64)
        full = self._window if windows else 0
        if learned >= self._window or (sums[: self._trees] != full).any() or (sums[self._trees :] != learned).any():
            raise ValueError("detector state is inconsistent: the masses do not add up to its window")
        return masses

    def _header(self, width: int, learned: int, windows: int) -> bytes:
        shape = (self._trees, self._height, width, self._inputs, self._window, self._seed)
        return HEADER.pack(MAGIC, *shape, self._splits, learned, windows)

    def _mass_type(self) -> np.dtype[np.unsignedinteger]:
        return np.dtype("<u2" if self._window <= 0xFFFF else "<u4")


def _check(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}")


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=CHECKSUM_BYTES).digest()
