"""The learners a rules directory can name in `models.fraud.learner`."""

from collections.abc import Callable
from typing import Final

from engine.scoring.learners.base import Learner
from engine.scoring.learners.boosted_trees import BoostedTrees
from engine.scoring.learners.logistic import Logistic

LEARNERS: Final[dict[str, Callable[[int, int], Learner]]] = {
    "boosted_trees": BoostedTrees,
    "logistic": Logistic,
}


def create(name: str, inputs: int, seed: int) -> Learner:
    """Build a learner by name. Raises `ValueError` on an unknown name."""
    try:
        build = LEARNERS[name]
    except KeyError:
        raise ValueError(f"unknown learner {name!r}; known: {', '.join(sorted(LEARNERS))}") from None
    return build(inputs, seed)
