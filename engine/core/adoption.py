"""What is in force in a shard, and how control events change it.

A control event is an input of the log like any other: it is adopted at its place, and what it changed is part of the
state that is committed with its batch. All controls of a batch stand before its first event (`engine.core.controls`),
so what is in force is constant within a batch. Rates are the decoder's (`engine.core.decode`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from engine.core.damage import model_refused
from engine.core.effects import Output
from engine.core.instants import parse_time
from engine.core.judging import Judge
from engine.core.lists import ListFull, LiveLists
from engine.core.models import Models, Workshop
from engine.core.rejects import Placed, Reject, reject
from engine.core.settings import CoreSettings
from engine.core.sharing import extended
from engine.core.snoozes import Snoozes, SnoozesFull
from engine.core.warming import Warming
from engine.domain import events, reasons
from engine.domain.ids import output_id
from engine.domain.ops import KEY_HEAD, SET, Op, pack
from engine.domain.outputs import Alert, Reason
from engine.domain.trainer import Inline, Trainer
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.ruleset.ruleset import RuleSet

HEAD_LAYOUT: Final = KEY_HEAD + b"layout"
HEAD_WARMING: Final = KEY_HEAD + b"warming"
HEAD_RULESET: Final = KEY_HEAD + b"ruleset"

RULES_REFUSED: Final = "RULES_REFUSED"
_encode = msgspec.json.Encoder().encode


class UnknownRuleSet(Exception):
    """The state was made under a rule set that cannot be found."""

    def __init__(self, ruleset: str) -> None:
        super().__init__(
            f"the state is under rule set {ruleset}, which is not in the archive of rule sets: keep the archive with "
            "the state, or name the directory that holds it (replay: --rule-sets DIR)"
        )
        self.ruleset = ruleset


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Adopted:
    """What became of the control events of a batch: outputs by the index of their record, and those refused."""

    outputs: list[tuple[int, Output]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)


class InForce:
    """The rule set of a shard with everything that hangs on it, its lists and its snoozes.

    Args:
        first: what a new shard starts with.
        settings, backed: as in `Partition`.
        rulesets: finds others by their hash.
        trainer: where the fraud model is trained; None: in the caller's time.
        models: finds snapshots of fraud models by their hash.

    Attributes:
        ruleset, judge: the rules at work.
        features, warming: the features they read, and how long those have been fed.
        lists, snoozes: as events have left them.
        shards: how many shards share the logs of entities; told before `restore`.
        layout: what those logs hold, as the shards have agreed (`take_layout`); None where there is one shard.
    """

    def __init__(
        self,
        first: RuleSet,
        settings: CoreSettings,
        backed: bool,
        rulesets: Callable[[str], RuleSet | None],
        shard: int = 0,
        trainer: Trainer | None = None,
        models: Callable[[str], bytes | None] = lambda model: None,
    ) -> None:
        self.shards = 1
        self.layout: bytes | None = None
        self._shard = shard
        self._first = first
        self._settings = settings
        self._backed = backed
        self._rulesets = rulesets
        self._models = models
        self._workshop = Workshop(settings.snapshot_every, settings.learning, trainer or Inline(), backed)
        self.restore({})

    def restore(self, head: Mapping[bytes, bytes]) -> None:
        """Start over from the small state of the shard. Raises `UnknownRuleSet`."""
        stored = in_force(head)
        found = self._first if stored is None else self.find(stored)
        if found is None:
            assert stored is not None, "the first rule set is there"
            raise UnknownRuleSet(stored)
        self.ruleset = found
        layout = head.get(HEAD_LAYOUT) if self.layout is None else self.layout
        self._plan = Plan.compile(found.features, layout, self._settings.features)
        self.features = FeatureState(self._plan, self._backed, shard=self._shard, shards=self.shards)
        self.warming = Warming(self._plan.needs(), head.get(HEAD_WARMING, b""))
        models = Models.start(found, self._workshop)
        models.restore(head)
        self.judge = Judge(found, models, self._settings.weights, self._settings.control)
        self.lists = LiveLists(head)
        self.snoozes = Snoozes(head)
        self._unsaved_ruleset = stored is None
        self._unsaved_layout = self._plan.layout() != head.get(HEAD_LAYOUT)

    def find(self, ruleset: str) -> RuleSet | None:
        """The rule set of a hash, None where it is not at hand."""
        return self._first if ruleset == self._first.hash else self._rulesets(ruleset)

    def unknown(self, controls: Sequence[Placed]) -> list[str]:
        """The rule sets that control events name and that are not at hand."""
        letters = [p.event.ruleset for p in controls if isinstance(p.event, events.ControlReward)]
        wanted = dict.fromkeys([*named(controls), *filter(None, letters)])
        return [ruleset for ruleset in wanted if self.find(ruleset) is None]

    def layout_for(self, agreed: bytes | None, rulesets: Sequence[str], head: Mapping[bytes, bytes]) -> bytes | None:
        """The layout that the shards have agreed on, with what some rule sets need. Raises `LayoutsDiffer`."""
        found = [self.find(ruleset) for ruleset in rulesets or [in_force(head) or self._first.hash]]
        held = head.get(HEAD_LAYOUT, self.layout)
        return extended(agreed, held, [known for known in found if known is not None], self._settings.features)

    def take_layout(self, layout: bytes) -> None:
        """Read and write logs by the layout that the shards have agreed on; it extends the one before."""
        self.layout = layout
        if layout != self._plan.layout():
            self._plan = Plan.compile(self.ruleset.features, layout, self._settings.features)
            self.features.adopt(self._plan)
            self._unsaved_layout = True

    def adopt(self, controls: Sequence[Placed]) -> Adopted:
        """Take in the control events of a batch, in order. One that cannot be is refused, and changes nothing."""
        adopted = Adopted()
        for placed in controls:
            handle = _HANDLERS.get(type(placed.event))
            if handle is not None:
                try:
                    adopted.outputs += [(placed.position, output) for output in handle(self, placed.event)]
                except _Refused as refused:
                    adopted.outputs += [(placed.position, output) for output in self._alarmed(placed.event, refused)]
                    adopted.rejects.append(reject(placed.position, placed.record, refused.reason, refused.detail))
        return adopted

    def ops(self) -> list[bytes]:
        """State operations for what has changed since the last call."""
        packed = [*self.lists.ops(), *self.snoozes.ops()]
        if self._unsaved_ruleset:
            packed.append(pack(Op(SET, HEAD_RULESET, self.ruleset.hash.encode())))
        if self._unsaved_layout:
            packed.append(pack(Op(SET, HEAD_LAYOUT, self._plan.layout())))
        if self.warming.changed:
            packed.append(pack(Op(SET, HEAD_WARMING, self.warming.dump())))
        packed += self.judge.models.ops()
        self._unsaved_ruleset = self._unsaved_layout = False
        return packed

    @property
    def labelled(self) -> frozenset[int]:
        """Rows of `Columns.strings` that label aggregates are by."""
        return frozenset(int(row) for group in self._plan.groups if group.labels for row in group.by_rows)

    def _rules(self, event: events.ControlRules) -> list[Output]:
        """Another rule set: all of it, or nothing."""
        found = self.find(event.ruleset)
        if found is None:
            raise _Refused(reasons.UNKNOWN_RULESET, f"the archive has no rule set {event.ruleset}")
        if found.hash == self.ruleset.hash:
            return []
        before = self._plan.layout()
        try:
            plan = Plan.compile(found.features, before, self._settings.features)
            models = self.judge.models.succeeded(found, self._workshop)
        except ValueError as error:
            raise _Refused(reasons.UNUSABLE_RULESET, str(error)) from None
        self._unsaved_ruleset = True
        self._unsaved_layout = self._unsaved_layout or plan.layout() != before
        self.features.adopt(plan)
        self.warming.adopt(plan.needs())
        self.ruleset, self._plan = found, plan
        self.judge = Judge(found, models, self._settings.weights, self._settings.control)
        return []

    def unknown_models(self, controls: Sequence[Placed]) -> list[str]:
        """The snapshots that control events name and that are not at hand."""
        named = dict.fromkeys(p.event.model for p in controls if isinstance(p.event, events.ControlModel))
        return [model for model in named if model is not None and self._models(model) is None]

    def _model(self, event: events.ControlModel) -> list[Output]:
        """Another snapshot serves, or what is learned does again."""
        fraud = self.judge.models.fraud
        if fraud is None:
            raise _Refused(reasons.UNUSABLE_MODEL, f"rule set {self.ruleset.hash} has no fraud model")
        if event.mode == "follow":
            fraud.follow()
            return []
        if event.model is None:
            raise _Refused(reasons.UNKNOWN_MODEL, f"mode {event.mode} names no model")
        data = self._models(event.model)
        if data is None:
            raise _Refused(reasons.UNKNOWN_MODEL, f"the archive has no model {event.model}")
        try:
            fraud.pin(data) if event.mode == "pin" else fraud.install(data)
        except ValueError as error:
            raise _Refused(reasons.UNUSABLE_MODEL, str(error)) from None
        return []

    def _alarmed(self, event: events.Control, refused: _Refused) -> list[Output]:
        """Somebody believes that another model serves now: they are told."""
        if not isinstance(event, events.ControlModel):
            return []
        version = self.judge.models.version or "no model"
        return [model_refused(event.event_id, self._shard, refused.detail, version, parse_time(event.event_time))]

    def _list(self, event: events.ControlList) -> list[Output]:
        try:
            self.lists.change(event, self.ruleset.lists.get(event.name))
        except ListFull as full:
            raise _Refused(reasons.LIST_FULL, str(full)) from None
        return []

    def _snooze(self, event: events.ControlSnooze) -> list[Output]:
        try:
            self.snoozes.change(event)
        except SnoozesFull as full:
            raise _Refused(reasons.SNOOZES_FULL, str(full)) from None
        return []

    def _reward(self, event: events.ControlReward) -> list[Output]:
        """What it grants is of a campaign of that rule set."""
        if event.ruleset is not None and self.find(event.ruleset) is None:
            raise _Refused(reasons.UNKNOWN_RULESET, f"the archive has no rule set {event.ruleset}")
        return []

    def _refused(self, event: events.ControlRulesRefused) -> list[Output]:
        """Somebody has to mend the files."""
        alert = Alert(
            alert_id=output_id("alert", "control.rules_refused", event.event_id),
            kind="operations",
            severity="high",
            event_id=event.event_id,
            customer_id=event.customer_id or "",
            title=f"rules refused: {event.ruleset} has {len(event.errors)} faults",
            reasons=[Reason(RULES_REFUSED, "", line) for line in event.errors],
            suggested_action=f"mend the files of the rules directory; {self.ruleset.hash} stays in force until then",
        )
        key, time_ms = alert.customer_id.encode(), parse_time(event.event_time)
        return [Output("alert", key, alert.alert_id, time_ms, _encode(alert))]


def named(controls: Sequence[Placed]) -> list[str]:
    """The rule sets that control events name."""
    return list(dict.fromkeys(p.event.ruleset for p in controls if isinstance(p.event, events.ControlRules)))


def in_force(head: Mapping[bytes, bytes]) -> str | None:
    """The hash of the rule set under which a stored head was left; None for a new shard."""
    stored = head.get(HEAD_RULESET)
    return None if stored is None else stored.decode()


_HANDLERS: Final[dict[type[events.Control], Callable[[InForce, Any], list[Output]]]] = {
    events.ControlRules: InForce._rules,
    events.ControlRulesRefused: InForce._refused,
    events.ControlModel: InForce._model,
    events.ControlList: InForce._list,
    events.ControlSnooze: InForce._snooze,
    events.ControlReward: InForce._reward,
}
