"""Rule sets that stand beside the champion's: the same but for who learns."""

from copy import copy
from dataclasses import replace

from engine.ruleset.ruleset import RuleSet
from engine.scoring.learners.registry import LEARNERS


def other_learners(ruleset: RuleSet) -> dict[str, RuleSet]:
    """The rule set with each learner that it does not have, by the learner's name; none without a fraud model."""
    fraud = ruleset.models.fraud
    found: dict[str, RuleSet] = {}
    for name in sorted(LEARNERS) if fraud is not None else ():
        if fraud is not None and name != fraud.learner:
            found[name] = copy(ruleset)
            found[name].models = replace(ruleset.models, fraud=replace(fraud, learner=name))
    return found
