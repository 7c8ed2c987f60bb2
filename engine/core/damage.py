"""What went wrong with a fraud model: what was published before goes on, and somebody is told."""

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.core.effects import Output
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason

MODEL_FAULT: Final = "MODEL_FAULT"
MODEL_REFUSED: Final = "MODEL_REFUSED"
_encode = msgspec.json.Encoder().encode


def faults(problems: Sequence[str], shard: int, now_ms: int) -> list[Output]:
    """An alert on what is wrong, at most one, for problems in words; `now_ms` is the clock of the shard."""
    if not problems:
        return []
    identity = output_id("alert", MODEL_FAULT, str(shard), str(now_ms), *problems)
    alert = Alert(
        alert_id=identity,
        kind="operations",
        severity="high",
        event_id="",
        customer_id="",
        title=f"the fraud model of shard {shard} has faults",
        reasons=[Reason(MODEL_FAULT, "", problem) for problem in problems],
        suggested_action="find what damaged the store or stopped the learning; see hfraud/quarantined",
    )
    return [Output("alert", b"", identity, now_ms, _encode(alert))]


def model_refused(event_id: str, shard: int, detail: str, version: str, time_ms: int) -> Output:
    """An alert on a `control.model` event that a shard could not follow; `version` is of what serves instead."""
    alert = Alert(
        alert_id=output_id("alert", MODEL_REFUSED, str(shard), event_id),
        kind="operations",
        severity="high",
        event_id=event_id,
        customer_id="",
        title=f"shard {shard} refused a model",
        reasons=[Reason(MODEL_REFUSED, "", detail)],
        suggested_action=f"{version} goes on; see `steward models list` for what the archive has",
    )
    return Output("alert", b"", alert.alert_id, time_ms, _encode(alert))
