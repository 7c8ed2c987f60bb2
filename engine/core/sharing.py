"""What the shards of a deployment agree on: the meaning of what is in the logs of the entities they share.

A log holds mask bits and columns; the layout says which filters and fields they are, in order of first appearance
(`engine.features.layout`). A shard on its own keeps its layout in its head. Where several write to the same logs they
keep one, in the store outside any shard: it only grows, by whoever is to adopt a rule set that needs more.
"""

from collections.abc import Iterable

from engine.features import layout as layouts
from engine.features.definition import FeatureLimits, is_shared
from engine.features.plan import Plan
from engine.ruleset.ruleset import RuleSet


class LayoutsDiffer(Exception):
    """The state of this shard was not made under the layout of the deployment."""

    def __init__(self) -> None:
        super().__init__(
            "the shard's logs were written under another layout than that of the deployment (key :features): "
            "state made by a version that did not share entities between shards, or parts of two backups; rebuild it"
        )


def extended(
    agreed: bytes | None, held: bytes | None, rulesets: Iterable[RuleSet], limits: FeatureLimits
) -> bytes | None:
    """The layout of the deployment with all that some rule sets need; None where nothing needs one.

    Args:
        agreed: as it is stored for all shards; None where nothing is.
        held: as this shard has it in its head. It may know more: the store of `agreed` may have lost its last moment.
        rulesets: one whose features cannot be compiled is passed over; it will be refused where it is adopted.
        limits: of the feature plan.

    Raises:
        LayoutsDiffer: one of the two gives another meaning to what the other names.
    """
    ours, theirs = layouts.load(held), layouts.load(agreed)
    if not theirs.extends(ours) and not ours.extends(theirs):
        raise LayoutsDiffer
    layout = agreed if theirs.extends(ours) else held
    for ruleset in rulesets:
        try:
            layout = Plan.compile(ruleset.features, layout, limits).layout()
        except ValueError:
            continue
    return layout


def seen_names(ruleset: RuleSet) -> list[str]:
    """Names of the features whose values a decision carries as `seen`, in that order."""
    return [definition.name for definition in ruleset.features if is_shared(definition.by)]
