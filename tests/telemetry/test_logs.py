"""Logs: no card number and no password in any record, whatever way it came in."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from engine.telemetry.logs import configure, redact

CARD = "4111 1111 1111 1111"
PLAIN = CARD.replace(" ", "")
MASKED = "411111******1111"


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def logged(style: str, level: str = "debug") -> io.StringIO:
    stream = io.StringIO()
    configure(level, style, stream)
    return stream


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_card_number_is_masked_wherever_it_stands(style: str) -> None:
    stream = logged(style)
    log = logging.getLogger("steward.test")
    log.info("in the message %s", CARD)
    log.info(f"already in it: {CARD}")  # noqa: G004 - the point of the test
    log.info("as a number %d", int(PLAIN))
    log.info("split over %s%s", PLAIN[:8], PLAIN[8:])
    log.info("in a mapping %(card)s", {"card": CARD})
    log.info("as an extra", extra={"card": CARD, "deep": {"list": [PLAIN, int(PLAIN), (PLAIN.encode(),)]}})
    log.info("arguments that do not fit", CARD)  # noqa: PLE1205
    log.info("an address redis://user:hunter2@host/0")
    try:
        raise ValueError(f"refused {CARD}")
    except ValueError:
        log.exception("with a traceback")
    text = stream.getvalue()
    assert CARD not in text
    assert PLAIN not in text
    assert "hunter2" not in text
    assert text.count(MASKED) == 11
    assert "ValueError: refused 411111" in text


@pytest.mark.usefixtures("_restored")
def test_json_lines() -> None:
    stream = logged("json", "info")
    logging.getLogger("steward.test").warning("shard %d opened\nagain", 3, extra={"offset": 12, "late": True})
    logging.getLogger("steward.test").debug("not at this level")
    logging.getLogger("aiokafka.client").info("libraries are quiet")
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "warning",
        "logger": "steward.test",
        "message": "shard 3 opened\nagain",
        "offset": 12,
        "late": True,
    }


@pytest.mark.usefixtures("_restored")
def test_auto_is_json_where_nobody_watches() -> None:
    stream = logged("auto")
    logging.getLogger("steward.test").info("hello")
    assert json.loads(stream.getvalue())["message"] == "hello"


def test_what_is_not_a_card_stays() -> None:
    kept = {"at_ms": 1_767_225_600_000, "share": 0.5, "ok": True, "none": None, "id": "evt_9e3779b1", "list": [1, "x"]}
    assert redact(kept) == kept
    assert redact(object).startswith("<class")
