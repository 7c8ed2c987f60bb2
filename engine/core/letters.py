"""Letters between shards: control events that one shard makes for the log of another.

They leave through the outbox like every output (kind `letter`), and the relay puts them on the input log: those to a
customer by their key, those to a shard on its partition. The receiver adopts them at their offset, so that a replay and
a rebuild see them where it did. All that arrives twice, late or not at all is put right by what they say (ADR 0025).
"""

from engine.domain.events import ControlBudget
from engine.domain.ids import output_id
from engine.domain.outputs import LETTER
from engine.engagement.marketing.budgets import Transfer
from engine.ruleset.campaigns.model import campaign_key


def budget_letter(told: Transfer, time_ms: int) -> ControlBudget:
    """What a shard tells another of a budget, as it is written."""
    campaign_id, _, version = told.key.rpartition(":")
    what = "wants" if told.wanted else "gives"
    names = what, told.key, *map(str, (told.sender, told.receiver, told.generation, told.number))
    return ControlBudget(
        event_id=output_id(LETTER, "budget", *names),
        event_time=time_ms,
        campaign_id=campaign_id,
        version=int(version),
        sender=told.sender,
        receiver=told.receiver,
        generation=told.generation,
        number=told.number,
        wanted=told.wanted,
        given=told.given,
    )


def transfer_of(event: ControlBudget) -> Transfer:
    """What such a letter says."""
    key = campaign_key(event.campaign_id, event.version)
    return Transfer(
        key, event.sender, event.receiver, event.generation, event.number, event.wanted, event.given
    )  # fmt: skip
