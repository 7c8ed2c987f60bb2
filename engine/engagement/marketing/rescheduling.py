"""Offers that wait while their customer moves to another time zone: hours of the day are those of where they are."""

from engine.domain.ids import output_id
from engine.engagement.customer.customer import Customer
from engine.engagement.marketing.granting import Granting
from engine.engagement.marketing.happening import Made
from engine.engagement.marketing.offering import offer_of, send_ms


def reschedule(granting: Granting, customer_id: str, customer: Customer, now_ms: int) -> list[Made]:
    """Offers whose time to be sent is another by the new clock are withdrawn and issued again under a new id. What is
    reserved for them stays so, and they stand for as long as before."""
    made: list[Made] = []
    for one in customer.offers.unsent():
        campaign = granting.of(one.key)
        spec = next((spec for spec in campaign.offers if spec.id == one.spec), None) if campaign is not None else None
        if campaign is None or spec is None:
            continue
        at_ms = send_ms(campaign, customer, now_ms)
        if at_ms == one.send_ms:
            continue
        new = one._replace(
            offer_id=output_id("offer", one.offer_id, customer.zone, str(at_ms)),
            send_ms=at_ms,
            expires_ms=at_ms + one.expires_ms - one.send_ms,
        )
        customer.offers.take(one.offer_id)
        customer.offers.issue(new)
        why = f"the customer's time zone is {customer.zone}"
        made.append((now_ms, offer_of(one, spec, customer_id, "withdrawn", None, False, why)))
        made.append((now_ms, offer_of(new, spec, customer_id, "issued", None, False, f"{why}; before: {one.offer_id}")))
    return made
