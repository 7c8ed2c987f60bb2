"""What of a stored fraud model could not be read: it is put aside, what was before it serves, and somebody is told."""

from collections.abc import Sequence

import msgspec

from engine.core.effects import Output
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason

MODEL_DAMAGED = "MODEL_DAMAGED"
_encode = msgspec.json.Encoder().encode


def damaged(problems: Sequence[str], shard: int, now_ms: int) -> list[Output]:
    """An alert on what is wrong, at most one; `now_ms` is the clock of the shard."""
    if not problems:
        return []
    identity = output_id("alert", MODEL_DAMAGED, str(shard), str(now_ms), *problems)
    alert = Alert(
        alert_id=identity,
        kind="operations",
        severity="high",
        event_id="",
        customer_id="",
        title=f"the stored fraud model of shard {shard} is damaged",
        reasons=[Reason(MODEL_DAMAGED, "", problem) for problem in problems],
        suggested_action="find out what damaged the store; what could not be read is kept under hfraud/quarantined",
    )
    return [Output("alert", b"", identity, now_ms, _encode(alert))]
