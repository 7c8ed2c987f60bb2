"""What a campaign cannot mean: it may cost without bound, reach nobody, or ask for what its trigger does not bring."""

from typing import Final

from engine.ruleset import ir
from engine.ruleset.campaigns.contradictions import contradiction
from engine.ruleset.campaigns.model import ALERT_RESOLVED, DIMENSIONS, MONEY, POINTS, REFERRER, TIER, Campaign
from engine.ruleset.errors import suggest
from engine.ruleset.reader import Reader, fail
from engine.ruleset.types import EVENT_TIME

MESSAGES_WITHOUT_CONSENT: Final = ("service",)
"""Kinds of offers that are service, not marketing: they need no consent."""
_OF_REWARDS: Final = ("hold", "expires", "threshold")
_OF_OFFERS: Final = ("quiet_hours",)


def check(campaign: Campaign, reader: Reader) -> None:
    """Refuse a campaign that cannot be meant. Raises `RuleError`."""
    _keys(campaign, reader)
    _caps(campaign, reader)
    _budget(campaign, reader)
    _messages(campaign, reader)
    _sources(campaign, reader)
    _states(campaign, reader)
    reward = campaign.reward
    if reward is not None and reward.kind == TIER and campaign.trigger.dimension != "membership":
        message = "a gift of a tier goes with a transition of the membership"
        raise fail(reader.need("then"), message, "on: {transition: membership, to: gold}")
    if reward is not None and reward.both and not campaign.trigger.events:
        message = f"'both' goes with an event: {campaign.trigger.name} comes to one customer alone"
        raise fail(reader.need("then"), message, "on: payment.settled")
    if campaign.threshold and campaign.reversal != "R2":
        raise fail(reader.need("threshold"), "only a reversal of R2 has a threshold")
    if abs(100 * campaign.score_max - round(100 * campaign.score_max)) > 1e-9:
        raise fail(reader.need("score_max"), "scores of payments are remembered in hundredths", "score_max: 0.55")
    if isinstance(campaign.when, ir.Const) and not campaign.when.value:
        raise fail(reader.need("when"), "this never holds", "enabled: false switches a campaign off")
    asked = contradiction(campaign.when)
    if asked is not None:
        raise fail(reader.need("when"), f"this never holds: what it asks of {asked} leaves nothing")


def _keys(campaign: Campaign, reader: Reader) -> None:
    """Keys that mean nothing here would be taken for a promise."""
    what, others = ("a reward", _OF_OFFERS) if campaign.reward is not None else ("an offer", _OF_REWARDS)
    for key in others:
        if reader.has(key):
            raise fail(reader.node.items[key][0], f"{what} has no '{key}'")


def _caps(campaign: Campaign, reader: Reader) -> None:
    reward, then = campaign.reward, reader.need("then")
    what = "offers" if reward is None else f"a reward of {reward.kind}"
    if (reward is None or reward.kind in MONEY) and not any(cap.by == "customer" for cap in campaign.caps):
        hint = "caps: [{times: 1}]" if not campaign.caps else "caps by others do not bound what one customer gets"
        raise fail(then, f"{what} without a cap of the customer may be given without end", hint)
    if campaign.occasion == "period" and not any(cap.by == "customer" and cap.period for cap in campaign.caps):
        message = "the occasion is a period, but no cap of the customer has one"
        raise fail(reader.need("occasion"), message, "per: month")
    for cap in campaign.caps:
        if cap.by == REFERRER and not (reward is not None and reward.both):
            raise fail(reader.need("caps"), "a cap by referrer goes with 'both'", "then: {both: true}")
        if cap.by not in ("customer", REFERRER) and set(campaign.trigger.events) <= {ALERT_RESOLVED}:
            raise fail(reader.need("caps"), f"{campaign.trigger.name} brings no event, so no {cap.by} to cap by")
        if cap.amount and (reward is None or reward.kind == TIER):
            raise fail(reader.need("caps"), "a cap by amount goes with a reward", "times: 1")


def _budget(campaign: Campaign, reader: Reader) -> None:
    """A budget is of what is given: else it would be spent without being touched."""
    budget, reward = campaign.budget, campaign.reward
    if budget is None:
        return
    place = reader.need("budget")
    if reward is not None and reward.kind == TIER:
        raise fail(place, "a tier costs nothing that a budget could hold")
    if (reward is not None and reward.kind == POINTS) != (not budget.currency):
        if budget.currency:
            raise fail(place, "a reward of points has a budget of points", "budget: {points: 1000000}")
        raise fail(place, f"a budget of points does not go with {'offers' if reward is None else reward.kind}")
    if reward is not None and reward.kind == POINTS:
        return
    currencies = [one.currency for one in (reward, *campaign.offers) if one is not None and one.currency]
    if not currencies:
        raise fail(place, "nothing here costs money, so there is nothing to budget", 'value: "8.00", currency: EUR')
    for currency in currencies:
        if currency != budget.currency:
            raise fail(place, f"the budget is in {budget.currency}, but what is given is in {currency}")


def _messages(campaign: Campaign, reader: Reader) -> None:
    markets = [spec for spec in campaign.offers if spec.kind not in MESSAGES_WITHOUT_CONSENT]
    if markets and not campaign.consent:
        message = f"an offer of {markets[0].kind} is a message and needs 'consent'"
        raise fail(reader.need("then"), message, "consent: marketing")
    if campaign.quiet is not None and ":" in campaign.send:
        hours, minutes = campaign.send.split(":")
        minute, (begins, ends) = int(hours) * 60 + int(minutes), campaign.quiet
        if begins <= minute < ends if begins < ends else minute >= begins or minute < ends:
            raise fail(reader.need("quiet_hours"), f"{campaign.send} falls into the quiet hours", "send: later")


def _states(campaign: Campaign, reader: Reader) -> None:
    """A state that does not exist is nobody's: a comparison with it says nothing."""
    for node in ir.walk(campaign.when):
        if isinstance(node, ir.Compare):
            sides: tuple[ir.Node, ...] = (node.left, node.right)
            named = [side.value for side in sides if isinstance(side, ir.Const) and isinstance(side.value, str)]
        elif isinstance(node, ir.In):
            sides, named = (node.value,), [one for one in node.members if isinstance(one, str)]
        else:
            continue
        dimensions = [side.name for side in sides if isinstance(side, ir.Customer) and side.name in DIMENSIONS]
        for dimension in dimensions:
            for state in named:
                if state not in DIMENSIONS[dimension]:
                    message = f"{dimension} has no state {state!r}"
                    hint = suggest(state, DIMENSIONS[dimension]) or f"one of {', '.join(DIMENSIONS[dimension])}"
                    raise fail(reader.need("when"), message, hint)


def _sources(campaign: Campaign, reader: Reader) -> None:
    """Where time or a transition sets it off there is no event: what is of one would always be missing."""
    if campaign.trigger.events:
        return
    trees = [("when", campaign.when)] + ([("then", campaign.reward.amount)] if campaign.reward is not None else [])
    for key, tree in trees:
        for node in ir.walk(tree):
            named = isinstance(node, ir.Field | ir.Feature | ir.Score | ir.Metadata)
            if named and not (isinstance(node, ir.Field) and node.name == EVENT_TIME):
                message = f"{campaign.trigger.name} brings no event, so {node.text} is always missing"
                raise fail(reader.need(key), message, "customer.NAME and event_time are there")
