"""Which customers' records a batch needs: of those its events are about, of who referred them, of those timers wake."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.core.clock import UNSET
from engine.core.customers import WAKES, Customers, customer_key
from engine.core.happenings import Concerning, among, hashes_of, resolves
from engine.core.timers import Timers
from engine.domain.events import Control, ControlReward
from engine.domain.fields import STRING_INDEX
from engine.features.columns import Columns
from engine.ruleset.ruleset import RuleSet

FOLLOWED: Final = frozenset(("payment.settled", "payment.refunded", "payment.chargeback", "label.assigned"))
"""Events after which a payment may stand otherwise than before."""

_REFERRER: Final = STRING_INDEX["referrer_id"]


class RecordsNeeded:
    """Of one shard whose state a store keeps.

    Args:
        customers, timers: of the shard.
    """

    def __init__(self, customers: Customers, timers: Timers) -> None:
        self._customers, self._timers = customers, timers
        self._reach = UNSET
        self._asked: dict[bytes, None] = {}  # keys of customers whose referrers may be told
        self._sharing = np.empty(0, np.uint64)  # types of event of which whoever referred the customer may be told

    def adopt(self, ruleset: RuleSet, concerning: Concerning) -> None:
        """Another rule set is in force."""
        self._concerning = concerning
        both = [one for one in ruleset.live if one.reward is not None and one.reward.both]
        names = FOLLOWED.union(name for one in both for name in one.trigger.events)
        self._sharing = hashes_of(names)

    def missing(self, columns: Columns, controls: Sequence[Control], reach: int) -> list[bytes]:
        """Keys of those a batch needs and memory does not hold, if the clock comes as far as `reach` with it."""
        self._reach = reach
        events, rows = columns.events, self._concerning.rows(columns)
        keys = [customer_key(events[row].customer_id) for row in rows.tolist()]
        named = rows[columns.strings[_REFERRER, rows] != 0].tolist()
        keys += [customer_key(events[row].referrer_id) for row in named]
        told = rows[among(columns, self._sharing)[rows]].tolist()
        mine = [customer_key(events[row].customer_id) for row in told]
        looked_at = [customer_key(event.customer_id or "") for event in controls if resolves(event)]
        self._asked = dict.fromkeys(mine + looked_at)
        keys += looked_at
        keys += [customer_key(event.customer_id or "") for event in controls if isinstance(event, ControlReward)]
        return self._missing([*keys, *self._waking()])

    def further(self) -> list[bytes]:
        """Once those have been loaded, and the timers: keys of those whom that has shown to be needed, too."""
        return self._missing(self._waking())

    def _missing(self, keys: list[bytes]) -> list[bytes]:
        """Those that memory does not hold; of those it holds, of whoever referred them, where they may be told."""
        for key in list(self._asked):
            record = self._customers.at_hand(key)
            if record is not None:
                record.read()
                keys += [customer_key(record.customer.referrer)] if record.customer.referrer else []
        return self._customers.missing(keys)

    def _waking(self) -> list[bytes]:
        return [timer.owner for timer in self._timers.due(self._reach) if timer.kind == WAKES]
