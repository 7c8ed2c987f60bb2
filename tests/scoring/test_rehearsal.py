"""After the rehearsal no kernel of a learner is left to compile."""

import pytest

from engine.scoring import packing, rank
from engine.scoring.learners import gbdt, growing, linear
from engine.scoring.learners.registry import LEARNERS, create
from engine.scoring.rehearsal import rehearse
from tests.scoring.labelled import payments
from tests.scoring.test_learner_conformance import taught

OF = {
    "boosted_trees": (gbdt.encode, gbdt.add_scores, gbdt.add_parts, growing.fit),
    "logistic": (linear.add_margins, linear.learn),
}
COMMON = (packing.pack_inputs, packing.unpack_inputs, rank.places, rank.probabilities)


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_kernel_has_been_run_with_the_types_of_real_work(learner: str) -> None:
    rehearse(learner)
    kernels = [*OF[learner], *COMMON]
    before = [len(kernel.signatures) for kernel in kernels]  # type: ignore[attr-defined]
    assert all(before)
    taught(create(learner, 6, 1), 1).margins(payments(1, 10)[0])
    assert [len(kernel.signatures) for kernel in kernels] == before  # type: ignore[attr-defined]
