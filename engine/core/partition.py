"""The partition: a deterministic state machine over its log.

`apply` does no I/O, reads no clock and draws no unseeded random number. The same records through the same settings,
from the same first rule set and with the same rule sets at hand give the same outputs and the same state, however they
are cut into batches and however often the state is dropped and loaded again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np

from engine.core.admission import NO_OFFSETS, Admission
from engine.core.adoption import Adopted, InForce, in_force, named
from engine.core.clock import UNSET
from engine.core.damage import faults
from engine.core.dead_letters import dead_letters
from engine.core.decode import Decoded, Decoder
from engine.core.effects import Effects, Output
from engine.core.engagement import Engagement
from engine.core.instants import parse_time
from engine.core.label_desk import LabelDesk
from engine.core.models import Models
from engine.core.observers import Observers
from engine.core.settings import CoreSettings
from engine.core.small_state import SmallState
from engine.core.stages import Stages, Stretch
from engine.core.stretches import cut, hours
from engine.domain.events import ControlTick
from engine.domain.ops import KEY_ADMISSION, KEY_FEATURE
from engine.domain.trainer import Trainer
from engine.engagement.marketing.choosing import Bandits
from engine.features.sharing import Touches
from engine.ruleset.ruleset import RuleSet

STAGES: Final = ("admit", "label", "features", "score", "rules", "decide", "engage", "observe")
"""The stages of `apply`, in order. Those after "admit" come once for each stretch of a batch (`engine.core.stretches`);
score, rules and decide are left out where no event of it carries a decision."""


class Partition:
    """One shard's pipeline and the state it keeps in memory.

    Args:
        ruleset: the features, rules and models that a new shard starts with; control events put others in force.
        settings: see `CoreSettings`.
        shard: number of the shard.
        backed: a state store stands behind: `apply` returns operations, and state is loaded on demand. Without one,
            memory is the state.
        features_out: also render every declared feature of every accepted event (`Effects.features`).
        rulesets: finds a rule set that control events or stored state name, by its hash; None where it is not at hand.
        trainer: where the fraud model is trained and those of customers are fitted; None: in the caller's time.
        models: finds the snapshots of fraud models that control events name, by their hash, as `rulesets` does.

    Attributes:
        probe: told the name of each stage as it ends (`STAGES`), and "begin" before the first: for whoever has a clock.
    """

    def __init__(
        self,
        ruleset: RuleSet,
        settings: CoreSettings,
        *,
        shard: int = 0,
        backed: bool = True,
        features_out: bool = False,
        rulesets: Callable[[str], RuleSet | None] = lambda ruleset: None,
        trainer: Trainer | None = None,
        models: Callable[[str], bytes | None] = lambda model: None,
    ) -> None:
        self.shard = shard
        self._settings = settings
        self._backed = backed
        self._features_out = features_out
        self._trainer = trainer
        self._force = InForce(ruleset, settings, backed, rulesets, shard, trainer, models)
        self.probe: Callable[[str], None] = _ignore
        self.restore({})

    @property
    def ruleset(self) -> RuleSet:
        """The rule set in force."""
        return self._force.ruleset

    @property
    def ruleset_hash(self) -> str:
        """Its content hash."""
        return self._force.ruleset.hash

    @property
    def clock(self) -> tuple[int, int]:
        """How far its event time has come, `UNSET` before the first event, and how far ahead of that one event is
        believed; in milliseconds."""
        return self._clock.now, self._settings.clock_jump_ms

    @property
    def models(self) -> Models:
        """The models at work."""
        return self._force.judge.models

    @property
    def choices(self) -> Bandits:
        """What campaigns that choose have learned, and the last choices they learned it from."""
        return self._engagement.choices

    def spread(self, shards: int) -> None:
        """There are so many shards, which share entities: said once, before the first `restore`."""
        self._force.shards = shards

    def home(self, key: bytes) -> int | None:
        """The shard that holds a state key which `missing` or `load` named; None for this one."""
        home = self._force.features.home(key)
        return self._engagement.home(key) if home is None else home

    def named(self, decoded: Decoded) -> list[str]:
        """Hashes of the rule sets that the batch puts in force."""
        return named(decoded.controls)

    def layout_for(self, agreed: bytes | None, rulesets: Sequence[str], head: dict[bytes, bytes]) -> bytes | None:
        """What the shards should agree on before rule sets are put in force, or before `restore(head)` where none is
        named (`engine.core.sharing`)."""
        return self._force.layout_for(agreed, rulesets, head)

    def take_layout(self, layout: bytes) -> None:
        """What they have agreed on. After `load` has raised `UnknownTouches`, `missing` has to be asked again."""
        self._force.take_layout(layout)

    @staticmethod
    def in_force(head: dict[bytes, bytes]) -> str | None:
        """The hash of the rule set that `restore(head)` needs; None for that of a new shard."""
        return in_force(head)

    def restore(self, head: dict[bytes, bytes]) -> None:
        """Start over from the small state of the shard, `{}` for a new one; the rest is loaded on demand.

        Raises `engine.core.adoption.UnknownRuleSet`.
        """
        settings = self._settings
        self._small = SmallState(head, settings)
        self._clock = self._small.clock
        self._decoder = Decoder(self._small.rates)
        self._force.restore(head)
        self._admission = Admission(settings.admission, backed=self._backed)
        lateness_ms = settings.admission.lateness_ms
        self._observers = Observers(self.ruleset, head, self._clock, backed=self._backed, lateness_ms=lateness_ms)
        self._engagement = Engagement(
            self.ruleset,
            settings,
            self._small.rates,
            head,
            self._clock,
            self._observers.timers,
            shard=(self.shard, self._force.shards),
            backed=self._backed,
            trainer=self._trainer,
            find=self._force.find,
        )
        self._desk = LabelDesk(
            settings.labels,
            head,
            backed=self._backed,
            lateness_ms=lateness_ms,
            customers_max=settings.customers_max,
        )
        self._told: set[str] = set()  # faults of the models
        self._tell_desk()
        self._stages = Stages(
            self._force,
            self._engagement,
            self._observers,
            self._desk,
            shard=self.shard,
            features_out=self._features_out,
            probe=self._probed,
        )
        self._adopted: tuple[Decoded, Adopted] | None = None
        self._first = NO_OFFSETS  # of the batch that is being loaded

    def decode(self, records: Sequence[bytes | None], offsets: Sequence[int] = ()) -> Decoded:
        """Decode and validate records. Once a batch, in log order: a rates event changes what comes after it.

        `offsets` of the records on the log, where a store stands behind.
        """
        decoded = self._decoder.decode(records)
        if offsets:
            decoded.first, decoded.offsets = offsets[0], np.array(offsets, np.int64)[decoded.index]
        return decoded

    def unknown(self, decoded: Decoded) -> list[str]:
        """Hashes of the rule sets that the batch puts in force and that are not at hand: to be made so, if they exist,
        before `missing`. One that still is not then is refused, and the old one stays."""
        return self._force.unknown(decoded.controls)

    def unknown_models(self, decoded: Decoded) -> list[str]:
        """Likewise, hashes of the snapshots of fraud models."""
        return self._force.unknown_models(decoded.controls)

    def missing(self, decoded: Decoded) -> list[bytes]:
        """State keys that `apply` needs and memory does not hold; `load` them first.

        The control events of the batch are adopted here: what is in force decides what is needed.
        """
        self._adopt(decoded)
        columns, self._first = decoded.columns, decoded.first
        reach = self._clock.reach(columns.time_ms, columns.string("customer_id"), _ticks(decoded))
        keys = [
            *self._admission.missing(columns),
            *self._stages.missing(columns),
            *self._observers.missing(columns, reach),
            *self._engagement.missing(columns, decoded.controls, reach),
        ]
        wanted = self._desk.missing(columns, reach)
        return keys + (wanted or self._touched())

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> list[bytes]:
        """Take stored state into memory; `None` for a key the store does not have.

        Returns further keys that the batch turns out to need, to be loaded likewise: most often none. Raises
        `engine.features.sharing.UnknownTouches` where other shards have agreed on a later layout, and
        `engine.core.admission.TornState` where a customer's state is ahead of the batch.
        """
        rooms: tuple[tuple[bytes, Callable[[list[bytes], list[bytes | None]], None]], ...] = (
            (KEY_ADMISSION, lambda names, held: self._admission.load(names, held, self._first)),
            (KEY_FEATURE, self._force.features.load),
        )
        for prefix, load in rooms:
            picked = [i for i, key in enumerate(keys) if key[:1] == prefix]
            if picked:
                load([keys[i] for i in picked], [values[i] for i in picked])
        further = self._touched() if self._desk.load(keys, values) else []
        return further + self._observers.load(keys, values) + self._engagement.load(keys, values)

    def _touched(self) -> list[bytes]:
        """State keys that the label rows need which the batch may come to make, once their cases are known."""
        possible = self._desk.possible() if self._backed and self._force.labelled else None
        return self._force.features.missing(possible, further=True) if possible is not None else []

    @property
    def waiting(self) -> int | None:
        """Event time this shard has come to, where timers wait for it to go on; None where none do."""
        return self._observers.waiting

    def evict(self) -> None:
        """Bound what is held in memory. After a commit, never between `missing` and `apply`."""
        self._admission.evict(self._settings.customers_max)
        self._force.features.evict(self._settings.entities_max)
        self._engagement.evict(self._settings.customers_max)
        self._observers.evict(self._settings.customers_max)

    def apply(
        self,
        decoded: Decoded,
        source: Callable[[int], dict[str, Any]],
        explain: frozenset[int] = frozenset(),
    ) -> Effects:
        """Run a decoded batch through every stage.

        Args:
            decoded: what `decode` returned for this batch.
            source: where record `i` of the batch came from, for dead letters.
            explain: indexes of records whose decisions are to be explained (`Effects.explanations`).

        Returns:
            State operations and outputs, in the order of the records.
        """
        self.probe("begin")
        adopted = self._adopt(decoded)
        self._adopted = None
        rejects = [*decoded.rejects, *adopted.rejects]
        effects = Effects(dead_lettered=len(rejects))
        admitted = self._admission.admit(decoded.columns, decoded.offsets)
        ops = [admitted.ops]
        decoded.columns.decides[:] = admitted.decides
        decoded.columns.late[:] = admitted.late
        rows = np.flatnonzero(~admitted.duplicate)
        columns = decoded.columns if len(rows) == decoded.columns.n else decoded.columns.take(rows)
        positions: list[int] = decoded.index[rows].tolist()
        effects.duplicates = decoded.index[admitted.duplicate].tolist()
        effects.accepted = columns.n + len(decoded.controls) - len(adopted.rejects)
        effects.late = int(np.count_nonzero(columns.late))
        parts = self._engagement.controls(decoded.controls, self._clock.now)
        parts += self._observers.tick(_ticks(decoded), effects) + dead_letters(rejects, source) + adopted.outputs
        parts += [(0, output) for output in self._faults()]
        self.probe("admit")
        if columns.n:
            begins = self._clock.now == UNSET
            clock = self._clock.advance(columns.time_ms, columns.string("customer_id"))
            labels_ms = np.append(UNSET, clock[1:]) if begins else clock
            batch = Stretch(columns, clock, labels_ms, decoded.masked[rows], positions, decoded.rates, explain)
            for start, end in cut(hours(labels_ms)):
                parts += self._stages.run(batch.part(start, end), ops, effects)
        parts.sort(key=itemgetter(0))  # stable: a decision stays before its alert
        effects.outputs = [output for _, output in parts]
        ops += [*self._engagement.flush(), *self._observers.flush(), *self._desk.flush()]
        for home, touches in self._engagement.touches().items():
            effects.touches.setdefault(home, Touches()).extend(touches.rows, touches.ops)
        effects.labels, self._desk.counts = self._desk.counts, Counter()
        effects.refused = self._engagement.refused()
        effects.learning = self.models.learning(self._clock.now)
        effects.models = self.models.untold()
        if self._backed:
            ops += [*self._force.ops(), *self._small.ops(decoded.rates)]
        effects.ops = b"".join(ops)
        return effects

    def _adopt(self, decoded: Decoded) -> Adopted:
        """Take in the control events of a batch, once: by `missing` where there is a store, else by `apply`."""
        if self._adopted is None or self._adopted[0] is not decoded:
            if any(placed.row for placed in decoded.controls):
                raise ValueError("a control event stands behind an event of its batch; batches begin with them")
            before = self.ruleset
            self._adopted = decoded, self._force.adopt(decoded.controls)
            if self.ruleset is not before:
                self._observers.adopt(self.ruleset)
                self._engagement.adopt(self.ruleset)
                self._tell_desk()
        return self._adopted[1]

    def _faults(self) -> list[Output]:
        """Each fault of the models is told once, with the batch after it."""
        problems = [problem for problem in self.models.problems if problem not in self._told]
        self._told.update(problems)
        return faults(problems, self.shard, max(0, self._clock.now))

    def _tell_desk(self) -> None:
        """What the rule set in force keeps cases for."""
        self._desk.adopt(self._force.labelled, self.models.inputs, self.models.digest)

    def _probed(self, stage: str) -> None:
        self.probe(stage)


def _ticks(decoded: Decoded) -> list[int]:
    """The times of the ticks of a batch."""
    return [parse_time(p.event.event_time) for p in decoded.controls if isinstance(p.event, ControlTick)]


def _ignore(stage: str) -> None:
    """The probe of a partition nobody measures."""
