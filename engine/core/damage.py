"""What went wrong with a fraud model: what was published before goes on, and somebody is told."""

from collections.abc import Sequence
from typing import Final

import msgspec

from engine.core.effects import Output
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason

MODEL_FAULT: Final = "MODEL_FAULT"
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
