"""What campaign conditions may read as `customer.NAME`; how each comes about: `engine.engagement.customer.names`."""

from typing import Final

from engine.ruleset.types import Kind

_TEXTS: Final = ("lifecycle", "value_tier", "activity", "membership", "preferred_method", "country")
_FLAGS: Final = ("muted", "consent_marketing", "birthday_today", "referred", "new_category", "new_currency")
_NUMBERS: Final = (
    "tier_level", "to_next_tier", "points_active", "points_pending", "points_debt", "points_expiring_30d", "payments",
    "spend_28d", "spend_prev_28d", "spend_12m", "mean_amount", "tenure_days", "idle_days", "gap_days", "idle_ratio",
    "regularity", "p_alive", "clv", "value_rank", "spend_rank", "refund_rate_90d", "refunds_90d", "dispute_days",
    "peak_hour", "peak_share", "streak_days", "nps", "csat", "age_years",
)  # fmt: skip

CUSTOMER_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(_TEXTS, Kind.STRING),
    **dict.fromkeys(_FLAGS, Kind.BOOL),
    **dict.fromkeys(_NUMBERS, Kind.NUMBER),
}
