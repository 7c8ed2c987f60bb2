"""Who reads which features: what need not be worked out where nobody looks."""

from collections.abc import Iterable, Mapping, Sequence

from engine.ruleset import ir, templates
from engine.ruleset.campaigns.model import Campaign
from engine.ruleset.hits import hit_of
from engine.ruleset.model import Derived, Rule


def read_by(
    rules: Iterable[Rule], derived: Sequence[Derived], campaigns: Iterable[Campaign] = ()
) -> dict[str, frozenset[str]]:
    """The types of event for which observers or campaigns read a feature, aggregates and derived ones, by its name.

    "" stands for the events that carry a decision, `ANY` for all.
    """
    parts = {entry.name: _named(entry.expr) for entry in derived}
    found: dict[str, frozenset[str]] = {}
    readers = [([*_named(hit_of(rule)), *_shown(rule)], rule.on or ("",)) for rule in rules]
    readers += [
        (list(_of_campaign(campaign)), campaign.trigger.events) for campaign in campaigns if campaign.trigger.events
    ]
    for left, types in readers:
        seen: set[str] = set()
        while left:
            name = left.pop()
            if name not in seen:
                seen.add(name)
                left += parts.get(name, ())
        for name in seen:
            found[name] = found.get(name, frozenset()) | frozenset(types)
    return found


def needed(names: Mapping[str, object], derived: Sequence[Derived]) -> list[int]:
    """Places of the derived features of those names, in the order they are computed."""
    return [place for place, entry in enumerate(derived) if entry.name in names]


def _named(tree: ir.Node) -> set[str]:
    return {node.name for node in ir.walk(tree) if isinstance(node, ir.Feature)}


def _of_campaign(campaign: Campaign) -> set[str]:
    amount = _named(campaign.reward.amount) if campaign.reward is not None else set()
    return _named(campaign.when).union(amount, *(_named(one.when) for one in campaign.abuse))


def _shown(rule: Rule) -> set[str]:
    """What the texts of an alert name; fields of events among them do no harm."""
    return set() if rule.alert is None else {*templates.names(rule.alert.title), *templates.names(rule.alert.action)}
