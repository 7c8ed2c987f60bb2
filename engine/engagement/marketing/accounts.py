"""What a customer says of themselves: who and where they are, what they consent to, and that they leave."""

from engine.engagement.calendar import is_zone, parse_day
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.accounting import book, cause_of
from engine.engagement.marketing.due import Due
from engine.engagement.marketing.giving import run
from engine.engagement.marketing.happening import Happening, Made
from engine.engagement.marketing.occasions import passed_over
from engine.engagement.marketing.opening import opens
from engine.engagement.marketing.programme import TIMER, Programme
from engine.engagement.marketing.rescheduling import reschedule
from engine.engagement.marketing.sending import withdraw


def told(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """Profile and consent: what is newest counts; offers follow another time zone."""
    text, newer = happening.text, happening.time_ms >= customer.told_ms
    before, born = customer.zone, customer.birth
    customer.told_ms = max(customer.told_ms, happening.time_ms)
    zone, birth = text("timezone") or "", text("birth_date") or ""
    said = {
        "zone": zone if is_zone(zone) else "",  # what cannot be read replaces nothing
        "locale": text("locale"),
        "country": text("country"),
        "birth": birth if parse_day(birth) else "",
    }
    for name, value in said.items():
        if value and (newer or not getattr(customer, name)):  # what came late is older than what is known
            setattr(customer, name, value)
    referred(programme, customer_id, customer, happening)
    made: list[Made] = []
    if happening.consent:
        made = consented(programme, customer_id, customer, happening.consent, happening.time_ms)
    if customer.zone == before:
        return made
    made += _jumped(programme, customer_id, customer, before) if customer.birth == born else []
    return made + reschedule(programme.granting, customer_id, customer, max(customer.clock_ms, happening.time_ms))


def referred(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """Who brought the customer: the first that is named counts, for they are rewarded; nobody brings themselves."""
    referrer = happening.text("referrer_id") or ""
    if not customer.referrer and referrer != customer_id:
        customer.referrer = referrer
    return []


def _jumped(programme: Programme, customer_id: str, customer: Customer, before: str) -> list[Made]:
    """A birthday that a change of time zone has jumped over is kept at once."""
    at, granting, due = customer.clock_ms, programme.granting, list[Due]()
    for one in programme.timers:
        occasion = passed_over(one.campaign.trigger, customer, before, at)
        if occasion is not None:
            due.append(Due(one.place, at, TIMER, occasion, programme.row(customer, at)))
    return run(
        granting, customer_id, customer, (one for one in due if opens(granting, one.place, customer, at, one.row))
    )


def consented(
    programme: Programme, customer_id: str, customer: Customer, consent: dict[str, bool], time_ms: int
) -> list[Made]:
    """Consent was given or withdrawn: offers that need what is withdrawn are, too."""
    customer.agree(consent, time_ms)
    now_ms = max(customer.clock_ms, time_ms)
    lost = [one for one in customer.offers.unsent() if one.purpose and not customer.consent.get(one.purpose)]
    return withdraw(programme.granting, customer_id, customer, lost, now_ms, "consent was withdrawn")


def erased(programme: Programme, customer_id: str, customer: Customer, happening: Happening) -> list[Made]:
    """The customer leaves: offers are withdrawn, what is left is taken back, and of all that was known only
    business keys and debts stay, under the digest of the id."""
    now, why = max(customer.clock_ms, happening.time_ms), "the account was erased"
    made = withdraw(programme.granting, customer_id, customer, customer.offers.unsent(), now, why)
    made += book(programme.granting, customer_id, customer, customer.ledger.close(now), cause_of(happening, why))
    customer.unrank(programme.population)
    programme.granting.effects.drop(customer.exposures)
    customer.become(Customer(ledger=customer.ledger.keys_only(), clock_ms=customer.clock_ms,
                             timer_ms=customer.timer_ms))  # fmt: skip
    return made
