from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.adapters.cloudevents import cloud_event
from engine.core.effects import Output
from engine.domain.times import rfc3339

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(0, 130 * 366 * 86_400_000))
def test_times_are_rfc_3339_to_the_millisecond(time_ms: int) -> None:
    expected = (EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert rfc3339(time_ms) == expected


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()))
def test_an_output_is_a_cloud_event(customer: str) -> None:
    output = Output("decision", customer.encode(), "dec_1", 1_767_225_600_123, b'{"decision":"approve"}')
    assert msgspec.json.decode(cloud_event(output)) == {
        "specversion": "1.0",
        "id": "dec_1",
        "source": "steward",
        "type": "steward.decision",
        "subject": customer,
        "time": "2026-01-01T00:00:00.123Z",
        "datacontenttype": "application/json",
        "data": {"decision": "approve"},
    }


def test_an_output_without_customer_or_time_leaves_them_out() -> None:
    event = msgspec.json.decode(cloud_event(Output("dead_letter", b"", "dea_1", 0, b"{}")))
    assert "subject" not in event
    assert "time" not in event
    assert event["type"] == "steward.dead_letter"
