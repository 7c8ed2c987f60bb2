"""The partition: a deterministic state machine over its log.

`apply` does no I/O, reads no clock and draws no unseeded random number. The same records through the same rule set
and settings give the same outputs and the same state, however they are cut into batches and however often the state
is dropped and loaded again.
"""

import json
from collections.abc import Callable, Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.core.admission import Admission
from engine.core.dead_letters import dead_letters
from engine.core.decisions import DecisionWriter
from engine.core.decode import Decoded, Decoder
from engine.core.effects import Effects, Output
from engine.core.rewards import Rewards, ledger_rows
from engine.core.settings import CoreSettings
from engine.core.warming import Warming
from engine.domain.ops import KEY_ADMISSION, KEY_CUSTOMER, KEY_FEATURE, KEY_HEAD, SET, Op, pack
from engine.domain.rates import Rates
from engine.features.columns import Columns
from engine.features.plan import Plan
from engine.features.state import FeatureState
from engine.ruleset.ruleset import OUTCOMES, Frame, RuleSet, Verdicts
from engine.scoring.registry import create

HEAD_LAYOUT: Final = KEY_HEAD + b"layout"
HEAD_WARMING: Final = KEY_HEAD + b"warming"
HEAD_ANOMALY: Final = KEY_HEAD + b"anomaly"
HEAD_RATES: Final = KEY_HEAD + b"rates"

STAGES: Final = ("admit", "features", "score", "rules", "decide", "engage")
"""The stages of `apply`, in order; those after features are left out where no event of a batch carries a decision."""

_DECLINE: Final = OUTCOMES.index("decline")
_encode = msgspec.json.Encoder().encode


class Partition:
    """One shard's pipeline and the state it keeps in memory.

    Args:
        ruleset: features, rules and models in force.
        settings: see `CoreSettings`.
        shard: number of the shard.
        backed: a state store stands behind: `apply` returns operations, and state is loaded on demand. Without one,
            memory is the state.
        features_out: also render every declared feature of every accepted event (`Effects.features`).

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
    ) -> None:
        self.shard = shard
        self.ruleset = ruleset
        self._settings = settings
        self._backed = backed
        self._features_out = features_out
        self.probe: Callable[[str], None] = _ignore
        self.restore({})

    def restore(self, head: dict[bytes, bytes]) -> None:
        """Start over from the small state of the shard, `{}` for a new one; the rest is loaded on demand."""
        settings = self._settings
        rates = Rates.from_dict(json.loads(head[HEAD_RATES])) if HEAD_RATES in head else settings.rates
        self._decoder = Decoder(rates)
        self._rates = rates
        self._plan = Plan.compile(self.ruleset.features, head.get(HEAD_LAYOUT), settings.features)
        layout = self._plan.layout()
        self._unsaved_layout = layout if layout != head.get(HEAD_LAYOUT) else b""
        self._features = FeatureState(self._plan, backed=self._backed)
        windows = [feature.window_ms for feature in self.ruleset.features]
        self._warming = Warming(list(zip(self._plan.identities(), windows, strict=True)), head.get(HEAD_WARMING, b""))
        self._admission = Admission(settings.admission, backed=self._backed)
        self._rewards = Rewards(settings.earn, backed=self._backed)
        model = self.ruleset.models.anomaly
        self._detector = None
        if model is not None:
            self._detector = create(
                model.detector,
                len(model.inputs),
                trees=model.trees,
                height=model.height,
                window=model.window,
                seed=model.seed,
            )
        if self._detector is not None and HEAD_ANOMALY in head:
            self._detector.load(head[HEAD_ANOMALY])
        version = self._detector.version if self._detector is not None else None
        self._writer = DecisionWriter(self.ruleset, version, settings.anomaly_weight)

    def decode(self, records: Sequence[bytes | None]) -> Decoded:
        """Decode and validate records. Once a batch, in log order: a rates event changes what comes after it."""
        return self._decoder.decode(records)

    def clear(self) -> None:
        """Forget everything in memory, as after a lost fence; `restore` follows."""
        self.restore({})

    def event_key(self, decoded: Decoded, index: int) -> bytes | None:
        """Key under which the answer to record `index` is kept for repeats; None for a rejected record."""
        rows = np.flatnonzero(decoded.index == index)
        if len(rows) == 0:
            return None
        event = decoded.columns.events[int(rows[0])]
        return answer_key(event.customer_id, event.event_id)

    def missing(self, decoded: Decoded) -> list[bytes]:
        """State keys that `apply` needs and memory does not hold; `load` them first."""
        columns = decoded.columns
        return [
            *self._admission.missing(columns),
            *self._features.missing(columns),
            *self._rewards.missing(columns),
        ]

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take stored state into memory; `None` for a key the store does not have."""
        rooms: tuple[tuple[bytes, Any], ...] = (
            (KEY_ADMISSION, self._admission),
            (KEY_FEATURE, self._features),
            (KEY_CUSTOMER, self._rewards),
        )
        for prefix, room in rooms:
            picked = [i for i, key in enumerate(keys) if key[:1] == prefix]
            if picked:
                room.load([keys[i] for i in picked], [values[i] for i in picked])

    def evict(self) -> None:
        """Bound what is held in memory. After a commit, never between `missing` and `apply`."""
        self._admission.evict(self._settings.customers_max)
        self._features.evict(self._settings.entities_max)
        self._rewards.evict(self._settings.customers_max)

    def apply(self, decoded: Decoded, source: Callable[[int], dict[str, Any]]) -> Effects:
        """Run a decoded batch through every stage.

        Args:
            decoded: what `decode` returned for this batch.
            source: where record `i` of the batch came from, for dead letters.

        Returns:
            State operations and outputs, in the order of the records.
        """
        self.probe("begin")
        effects = Effects(dead_lettered=len(decoded.rejects))
        admitted = self._admission.admit(decoded.columns)
        ops = [admitted.ops]
        decoded.columns.decides[:] = admitted.decides
        decoded.columns.late[:] = admitted.late
        rows = np.flatnonzero(~admitted.duplicate)
        columns = decoded.columns if len(rows) == decoded.columns.n else decoded.columns.take(rows)
        positions: list[int] = decoded.index[rows].tolist()
        effects.duplicates = decoded.index[admitted.duplicate].tolist()
        effects.accepted = columns.n + len(decoded.controls)
        effects.late = int(np.count_nonzero(columns.late))
        parts = dead_letters(decoded.rejects, source)
        self.probe("admit")
        if columns.n:
            parts += self._stages(columns, decoded.masked[rows], positions, ops, effects)
        parts.sort(key=itemgetter(0))  # stable: a decision stays before its alert
        effects.outputs = [output for _, output in parts]
        if self._backed:
            ops += self._head_ops(effects)
        effects.ops = b"".join(ops)
        return effects

    def _stages(
        self, columns: Columns, masked: NDArray[np.bool_], positions: list[int], ops: list[bytes], effects: Effects
    ) -> list[tuple[int, Output]]:
        """Features, score, rules, decisions and rewards of the accepted rows."""
        self._warming.observe(columns.time_ms)
        matrix, feature_ops = self._features.update(columns)
        ops.append(feature_ops)
        self.probe("features")
        judged = np.flatnonzero(columns.decides)
        if self._features_out:
            matrix = self.ruleset.derive(columns, matrix)
            effects.features = self._render(columns, matrix)
        parts, declined = self._judge(columns, matrix, judged, masked, positions, effects)
        # In row order, whatever the batch: a payment that settled before it was declined has earned.
        for row in sorted({*declined, *ledger_rows(columns)}):
            moved, outputs = self._rewards.move(columns, row, declined=row in declined)
            ops.append(moved)
            parts += [(positions[row], output) for output in outputs]
        self.probe("engage")
        return parts

    def _judge(
        self,
        columns: Columns,
        matrix: NDArray[np.float64],
        judged: NDArray[np.intp],
        masked: NDArray[np.bool_],
        positions: list[int],
        effects: Effects,
    ) -> tuple[list[tuple[int, Output]], set[int]]:
        """Score and decide the rows that carry a decision. Returns their outputs and the rows that were declined."""
        if len(judged) == 0:
            return [], set()
        everything = len(judged) == columns.n
        picked = columns if everything else columns.take(judged)
        values = matrix if everything else matrix[:, judged]
        if not self._features_out:
            values = self.ruleset.derive(picked, values)
        anomaly = self._score(values)
        self.probe("score")
        frame = Frame(picked, values, anomaly)
        verdicts = self.ruleset.decide(self.ruleset.evaluate(frame))
        self.probe("rules")
        degraded = self._degraded(picked, judged, masked[judged], verdicts)
        if self._detector is not None:
            for row in np.flatnonzero(np.isnan(anomaly)):
                degraded[row] = ["anomaly_not_ready", *degraded[row]]
        places = positions if everything else [positions[row] for row in judged.tolist()]
        parts = self._writer.write(frame, verdicts, degraded, places, effects)
        self.probe("decide")
        return parts, set(judged[verdicts.outcome == _DECLINE].tolist())

    def _score(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Anomaly score of each decision row, learning as it goes; NaN where there is none (yet)."""
        model = self.ruleset.models.anomaly
        if self._detector is None or model is None:
            return np.full(values.shape[1], np.nan)
        return self._detector.score_then_learn(np.ascontiguousarray(values[self.ruleset.model_inputs(model)]))

    def _degraded(
        self, picked: Columns, judged: NDArray[np.intp], masked: NDArray[np.bool_], verdicts: Verdicts
    ) -> list[list[str]]:
        """What the rules of each decision could not rely on: a masked field, features younger than their window."""
        none: list[str] = []
        names = [none] * picked.n
        for place in np.flatnonzero(masked):
            names[place] = ["card_number_masked"]
        if self._warming.over:
            return names
        features = self.ruleset.features
        for row, (live, shadow) in enumerate(zip(verdicts.rules, verdicts.shadow, strict=True)):
            if live or shadow:
                used = dict.fromkeys(f for rule in (*live, *shadow) for f in self.ruleset.rules[rule].features)
                at, time_ms = int(judged[row]), int(picked.time_ms[row])
                warming = [f"warming:{features[f].name}" for f in used if self._warming.is_warming(f, at, time_ms)]
                if warming:
                    names[row] = names[row] + warming
        return names

    def _render(self, columns: Columns, matrix: NDArray[np.float64]) -> list[bytes]:
        """A JSON line of every declared feature for each row."""
        names, kinds, rows = self.ruleset.declared_rows()
        table = matrix[rows].T.tolist()
        lines = []
        for event, values in zip(columns.events, table, strict=True):
            named = {
                name: None if value != value else _CASTS[kind](value)
                for name, kind, value in zip(names, kinds, values, strict=True)
            }
            lines.append(_encode({"event_id": event.event_id, "features": named}))
        return lines

    def _head_ops(self, effects: Effects) -> list[bytes]:
        """The small state of the shard, where it changed."""
        ops = []
        if self._unsaved_layout:
            ops.append(pack(Op(SET, HEAD_LAYOUT, self._unsaved_layout)))
            self._unsaved_layout = b""
        if self._warming.changed:
            ops.append(pack(Op(SET, HEAD_WARMING, self._warming.dump())))
        rates = self._decoder.rates
        if rates is not None and rates is not self._rates:
            self._rates = rates
            ops.append(pack(Op(SET, HEAD_RATES, json.dumps(rates.to_dict()).encode())))
        if self._detector is not None and effects.decisions:
            ops.append(pack(Op(SET, HEAD_ANOMALY, self._detector.dump())))
        return ops


def _ignore(stage: str) -> None:
    """The probe of a partition nobody measures."""


def answer_key(customer_id: str, event_id: str) -> bytes:
    """Key of the stored answer to an event of a customer."""
    return blake2b(f"{len(customer_id)}:{customer_id}{event_id}".encode(), digest_size=16).digest()


_CASTS: Final[dict[str, Callable[[float], Any]]] = {"int": int, "number": float, "bool": bool}
