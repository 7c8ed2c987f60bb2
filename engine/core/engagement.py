"""The engagement stage: campaigns where the rule set in force has some, the built-in base earn until it first does.

Once there were campaigns, records of customers are kept whatever comes: a rule set without campaigns grants nothing
then. What the base earn had granted before, refunds still take back.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.core.campaigning import Campaigning
from engine.core.clock import UNSET, ShardClock
from engine.core.customers import is_customer
from engine.core.effects import Output
from engine.core.instants import parse_time
from engine.core.judging import Noted
from engine.core.rejects import Placed
from engine.core.rewards import Rewards, ledger_rows, reversal_rows
from engine.core.settings import CoreSettings
from engine.core.stretches import STRETCH_MS
from engine.core.timers import Timers
from engine.domain.currencies import EXPONENTS
from engine.domain.events import ControlTick
from engine.domain.ops import KEY_CUSTOMER, KEY_HEAD, SET, Op, pack
from engine.domain.rates import Rates
from engine.domain.trainer import Trainer
from engine.engagement.ledger.payments import REFUSED
from engine.engagement.marketing.choosing import Bandits
from engine.engagement.marketing.granting import Rules
from engine.features.columns import Columns
from engine.features.sharing import Touches
from engine.ruleset.ruleset import Frame, RuleSet

HEAD_ENGAGED: Final = KEY_HEAD + b"engaged"
"""There are campaigns: b"n" from the first event on, b"l" where the base earn came before them."""
NEW: Final = b"n"
LATER: Final = b"l"

Parts = list[tuple[int, Output]]


class Engagement:
    """Of one shard.

    Args:
        ruleset: in force; settings: see `CoreSettings`; rates: in force.
        head: the small state of the shard.
        clock, timers: of the shard.
        shard: its number among so many.
        backed: a state store stands behind.
        trainer: where models of customers are fitted; None: in the caller's time.
        find: a rule set by its hash, None where it is not at hand.
    """

    def __init__(
        self,
        ruleset: RuleSet,
        settings: CoreSettings,
        rates: Rates,
        head: Mapping[bytes, bytes],
        clock: ShardClock,
        timers: Timers,
        *,
        shard: tuple[int, int],
        backed: bool,
        trainer: Trainer | None = None,
        find: Callable[[str], RuleSet | None] = lambda ruleset: None,
    ) -> None:
        self._backed, self._shard, self._clock = backed, shard, clock
        self._late = settings.admission.lateness_ms
        self._rewards = Rewards(settings.earn, backed=backed)
        rules = Rules(EXPONENTS.get(rates.base, 2), settings.campaigns.salt, settings.campaigns.holdout)
        self._campaigning = Campaigning(
            rules, head, clock, timers, lateness_ms=self._late, backed=backed, trainer=trainer, find=find
        )
        self._engaged = self._saved = head.get(HEAD_ENGAGED, b"")
        self.adopt(ruleset)

    def adopt(self, ruleset: RuleSet) -> None:
        """A rule set is in force."""
        if ruleset.live and not self._engaged:
            self._engaged = NEW if self._clock.now == UNSET else LATER
        self._campaigning.adopt(ruleset, *self._shard)

    @property
    def choices(self) -> Bandits:
        """What campaigns that choose have learned."""
        return self._campaigning.choices

    def refused(self) -> dict[str, int]:
        """Redemptions that were refused since the last call, by reason."""
        counts = dict(self._campaigning.refused)
        self._campaigning.refused.clear()
        return counts

    def missing(self, columns: Columns, controls: Sequence[Placed], reach: int) -> list[bytes]:
        """State keys that a batch needs and memory does not hold, if the clock comes as far as `reach` with it. Loading
        them and the timers may show more (`load`)."""
        keys = self._rewards.missing(columns, self._ledger_rows(columns))
        if not self._engaged:
            return keys
        return keys + self._campaigning.missing(columns, [placed.event for placed in controls], reach)

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        """Take stored state into memory; other keys are passed over. Returns further keys that are needed."""
        mine = [(key, value) for key, value in zip(keys, values, strict=True) if key[:1] == KEY_CUSTOMER]
        accounts = [(key, value) for key, value in mine if not is_customer(key)]
        records = [(key, value) for key, value in mine if is_customer(key)]
        self._rewards.load([key for key, _ in accounts], [value for _, value in accounts])
        if not self._engaged:
            return []
        self._campaigning.claims.load(keys, values, self._clock.now)
        return self._campaigning.load([key for key, _ in records], [value for _, value in records])

    def home(self, key: bytes) -> int | None:
        """The shard that holds a state key which other shards may write to; None for this one."""
        return self._campaigning.claims.home(key)

    def touches(self) -> dict[int, Touches]:
        """What the batch does to claims at home in other shards, by home."""
        return self._campaigning.claims.touches()

    def _ledger_rows(self, columns: Columns) -> list[int]:
        """Rows that may move an account of the built-in base earn."""
        if not self._engaged:
            return ledger_rows(columns)
        return reversal_rows(columns) if self._engaged == LATER else []

    def evict(self, customers_max: int) -> None:
        """Bound what is held in memory."""
        self._rewards.evict(customers_max)
        self._campaigning.evict(customers_max)

    def controls(self, controls: Sequence[Placed], now: int) -> Parts:
        """Take in ticks, resolved alerts and letters of other shards, before the rows of the batch and before the clock
        has been told of the ticks; it stands at `now`."""
        parts: Parts = []
        for placed in controls if self._engaged else ():
            if isinstance(placed.event, ControlTick):
                now = max(now, parse_time(placed.event.event_time) - self._late)
                outputs = self._wake(now)
            else:
                outputs = self._campaigning.control(placed.event, now)
            parts += [(placed.position, output) for output in outputs]
        return parts

    def begin(self, now: int) -> list[Output]:
        """A stretch begins; `now` is the clock after its first event. Returns what time has brought by its hour."""
        return self._wake(now) if self._engaged and now != UNSET else []

    def _wake(self, now: int) -> list[Output]:
        return self._campaigning.wake(now - now % STRETCH_MS, now)

    def rows(
        self,
        columns: Columns,
        clock: NDArray[np.int64],
        positions: Sequence[int],
        noted: Noted,
        frame: Callable[[NDArray[np.intp]], Frame],
        ops: list[bytes],
    ) -> Parts:
        """Take in accepted rows, in order; see `Campaigning.rows`. Packed operations are added to `ops`."""
        parts: Parts = []
        refused = {row for row, risk in noted.doubts.items() if risk == REFUSED and not self._engaged}
        # In row order, whatever the batch: a payment that settled before it was declined has earned.
        for row in sorted({*refused, *self._ledger_rows(columns)}):
            moved, outputs = self._rewards.move(columns, row, declined=row in refused)
            ops.append(moved)
            parts += [(positions[row], output) for output in outputs]
        if self._engaged:
            parts += self._campaigning.rows(columns, clock, positions, noted, frame)
        return parts

    def flush(self) -> list[bytes]:
        """Packed operations that store what a batch changed."""
        if not self._engaged:
            return []
        ops = self._campaigning.flush() + self._campaigning.claims.flush()
        if self._backed and self._engaged != self._saved:
            self._saved = self._engaged
            ops.append(pack(Op(SET, HEAD_ENGAGED, self._engaged)))
        return ops
