"""The detectors a rules directory can name in `models.anomaly.detector`."""

from collections.abc import Callable
from typing import Any, Final

from engine.scoring.base import Detector
from engine.scoring.half_space_trees import HalfSpaceTrees
from engine.scoring.tails import TailSurprise

DETECTORS: Final[dict[str, Callable[..., Detector]]] = {
    "half_space_trees": HalfSpaceTrees,
    "tails": TailSurprise,
}


def create(name: str, inputs: int, **parameters: Any) -> Detector:
    """Build a detector by name over `inputs` features.

    Raises `ValueError` on an unknown name, an unknown parameter or a parameter out of its range.
    """
    try:
        build = DETECTORS[name]
    except KeyError:
        raise ValueError(f"unknown detector {name!r}; known: {', '.join(sorted(DETECTORS))}") from None
    try:
        return build(inputs=inputs, **parameters)
    except TypeError as error:
        raise ValueError(f"detector {name}: {error}") from None
