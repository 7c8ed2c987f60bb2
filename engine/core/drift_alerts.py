"""Alarms of the drift monitor as alerts: about a shard, not about a customer."""

from typing import Final

import msgspec

from engine.core.effects import Output
from engine.domain.ids import output_id
from engine.domain.outputs import Alert, Reason
from engine.scoring.drift.alarm import DriftAlarm

_encode: Final = msgspec.json.Encoder().encode


def drift_alert(alarm: DriftAlarm, shard: int, event_id: str) -> Output:
    """The alert of an alarm. `event_id` is of the event at which the shard's clock had come past the day.

    One shard tells of one subject once a day, so these make its id.
    """
    alert = Alert(
        alert_id=output_id("alert", "drift", str(shard), alarm.subject, str(alarm.at_ms)),
        kind="drift",
        severity=alarm.severity,
        event_id=event_id,
        customer_id="",
        title=alarm.title,
        reasons=[Reason(alarm.code, "", line) for line in alarm.details],
        suggested_action=alarm.action,
    )
    return Output("alert", b"", alert.alert_id, alarm.at_ms, _encode(alert))
