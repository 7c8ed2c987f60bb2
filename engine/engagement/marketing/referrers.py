"""What whoever referred a customer gets, and loses, by the letters that `referring` writes."""

from dataclasses import replace

from engine.domain.events import ControlReward
from engine.engagement.customer.customer import Customer
from engine.engagement.ledger.entries import Cause
from engine.engagement.ledger.keys import lot_number
from engine.engagement.ledger.lots import Movement
from engine.engagement.marketing.abuse import SELF_REFERRAL, common, own_marks
from engine.engagement.marketing.accounting import book
from engine.engagement.marketing.due import Due
from engine.engagement.marketing.freezing import freeze
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made, row_of_nothing
from engine.engagement.marketing.programme import Programme
from engine.engagement.marketing.terms import terms_of
from engine.ruleset.campaigns.model import REFERRER, Campaign
from engine.ruleset.campaigns.suspecting import Found


def told(
    programme: Programme, referrer_id: str, referrer: Customer, told: ControlReward, campaign: Campaign | None,
    at_ms: int,
) -> list[Made]:  # fmt: skip
    """Take in what a referrer is told, who has been brought up to it; `campaign`: of a grant, None for none."""
    occasion, payment = f"referred {told.referral_id}", int(told.share_id or "0", 16)
    refund = Cause(told.cause_event_id, occasion, "less is left of the payment of whom they referred")
    moved = referrer.ledger.hear(payment, told.settled_minor, told.refunded_minor, at_ms) if payment else []
    made = book(programme.granting, referrer_id, referrer, moved, refund)
    if told.units and campaign is not None:
        why = f"for a referral: {campaign.why}"
        moved = _refer(programme.granting, referrer, told, campaign, at_ms)
        made += book(programme.granting, referrer_id, referrer, moved, Cause(told.cause_event_id, occasion, why))
        made += _self_referral(programme, referrer_id, referrer, told, campaign, moved, at_ms) if moved else []
    return made


def _refer(
    granting: Granting, referrer: Customer, told: ControlReward, campaign: Campaign, at_ms: int
) -> list[Movement]:
    """What whoever referred a customer gets, decided once for each of them: within the caps by referrer and the
    budget of their shard, unless they are held out themselves."""
    reward, ledger, referrer_id = campaign.reward, referrer.ledger, told.customer_id or ""
    assert reward is not None
    payment, occasion = int(told.share_id or "0", 16), f"referred {told.referral_id}"
    number = lot_number(campaign.id, campaign.version, referrer_id, occasion)
    if number in ledger.done or payment in ledger.done:
        return []
    caps = tuple(replace(cap, by="customer") for cap in campaign.caps if cap.by == REFERRER)
    counter, cost = f"{campaign.id}:{REFERRER}", granting.cost(campaign, told.units)
    places = granting.exponent_of(reward.currency) if reward.kind == "cashback" else 0
    amount = told.units / 10.0**places
    granting.budgets.know(campaign)
    room = referrer.counts.room(counter, caps, at_ms, referrer.zone)
    if granting.held(campaign, referrer_id) or room < amount or not granting.budgets.reserve(campaign, cost):
        ledger.use(number)
        return []
    due = Due(0, at_ms, told.cause_event_id, occasion, row_of_nothing(0, at_ms), payment)
    moved = ledger.grant(number, terms_of(granting, referrer, campaign, due), told.units, at_ms)
    referrer.counts.count(counter, caps, amount, at_ms, referrer.zone)
    tally = granting.effects.tally(campaign.key)
    tally.grants += 1
    tally.granted += told.units
    return [*moved, *ledger.reclaim(payment, at_ms)]


def _self_referral(
    programme: Programme, referrer_id: str, referrer: Customer, told: ControlReward, campaign: Campaign,
    moved: list[Movement], at_ms: int,
) -> list[Made]:  # fmt: skip
    """Freeze what both were granted, where they seem to be one: of whom was referred only in the same shard."""
    shared = common(told.marks, own_marks(referrer_id, referrer.suspected)) if campaign.self_referral else []
    if not shared:
        return []
    found = [Found(SELF_REFERRAL, f"referrer and customer share {', '.join(shared)}")]
    both = [(referrer_id, referrer, moved[0].lot)]
    both += [programme.granting.origins[told.event_id]] if told.event_id in programme.granting.origins else []
    made: list[Made] = []
    for who, customer, lot in both:
        if customer.ledger.lots[lot].pending:
            cause = told.cause_event_id
            made += freeze(who, customer, campaign, found, lot, cause, at_ms) or []
    return made
