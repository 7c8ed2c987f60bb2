"""The clock and the rates of a shard: small state of its head."""

import json
from collections.abc import Mapping
from typing import Final

from engine.core.clock import ShardClock
from engine.core.settings import CoreSettings
from engine.domain.ops import KEY_HEAD, SET, Op, pack
from engine.domain.rates import Rates

HEAD_CLOCK: Final = KEY_HEAD + b"clock"
HEAD_RATES: Final = KEY_HEAD + b"rates"


def rates_of(head: Mapping[bytes, bytes], settings: CoreSettings) -> Rates:
    """The rates in force: those that control events have put there, or those of the settings."""
    return Rates.from_dict(json.loads(head[HEAD_RATES])) if HEAD_RATES in head else settings.rates


class SmallState:
    """What a shard goes on from.

    Args:
        head: as stored, `{}` for a new shard.
        settings: see `CoreSettings`.

    Attributes:
        clock: see `ShardClock`.
        rates: in force at the start.
    """

    def __init__(self, head: Mapping[bytes, bytes], settings: CoreSettings) -> None:
        lateness_ms = settings.admission.lateness_ms
        self.clock = ShardClock(
            lateness_ms,
            settings.clock_jump_ms,
            head.get(HEAD_CLOCK, b""),
            settings.customer_jump_ms,
            settings.customer_delay_ms,
        )
        self.rates = self._stored = rates_of(head, settings)

    def ops(self, rates: Rates | None) -> list[bytes]:
        """State operations for what has changed since the last call; `rates` are those in force now, None for none."""
        packed, clock = [], self.clock.changed()
        if rates is not None and rates is not self._stored:
            self._stored = rates
            packed.append(pack(Op(SET, HEAD_RATES, json.dumps(rates.to_dict()).encode())))
        if clock:
            packed.append(pack(Op(SET, HEAD_CLOCK, clock)))
        return packed
