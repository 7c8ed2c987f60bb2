"""An effect that is planted: who was reached by a campaign buys for more from then on.

Who is held out is the engine's own draw, a salted hash, so that the stream and the engine agree on it without knowing
of each other.
"""

from dataclasses import dataclass, field

from engine.domain.draws import drawn

NEVER = 1 << 63


@dataclass(frozen=True, slots=True)
class Lift:
    """What a campaign does to those whom it reaches.

    Attributes:
        share: how much more they buy for; 0.05 is 5 %.
        campaign: its id and version, `id:version`.
        holdout: share of customers it leaves out; everyone: of those whom every campaign leaves out.
        salt: of these draws, as in the engine's settings.
        from_ms: it reaches a customer with the first payment that settles then or later, milliseconds since 1970.
    """

    share: float
    campaign: str
    holdout: float
    everyone: float = 0.0
    salt: str = "steward"
    from_ms: int = 0

    def held(self, customer_id: str) -> bool:
        """Whether a customer is held out."""
        return (
            drawn(self.salt, "all", customer_id) < self.everyone
            or drawn(self.salt, self.campaign, customer_id) < self.holdout
        )


@dataclass(slots=True)
class Reach:
    """When the campaign reached whom. Without a campaign it does nothing."""

    lift: Lift | None = None
    reached: dict[str, int] = field(default_factory=dict)

    def settles(self, customer_id: str, settled_ms: int) -> None:
        """A payment of the customer will settle then, 0 where it will not."""
        if self.lift is not None and settled_ms >= max(self.lift.from_ms, 1):
            self.reached[customer_id] = min(settled_ms, self.reached.get(customer_id, NEVER))

    def factor(self, customer_id: str, time_ms: int) -> float:
        """What the customer buys for at that time, against what they would without the campaign."""
        lift = self.lift
        if lift is None or self.reached.get(customer_id, NEVER) >= time_ms or lift.held(customer_id):
            return 1.0
        return 1.0 + lift.share
