"""The campaign of tests of referrals: who was referred and pays again gets points, and so does who referred them."""


def referral(budget: int, by_referrer: int = 0) -> str:
    """Text of its rule set.

    Args:
        budget: points.
        by_referrer: how often in a month who referred may get something for it; 0 for any number of times.
    """
    cap = f", {{by: referrer, times: {by_referrer}, per: month}}" if by_referrer else ""
    return f"""
campaigns:
  - id: referral
    on: payment.settled
    when: customer.referred and customer.payments >= 2
    then: {{reward: points, amount: 300, both: true}}
    occasion: customer
    hold: 2d
    caps: [{{times: 1}}{cap}]
    budget: {{points: {budget}}}
"""
