"""Logs for people and for machines, without card numbers or passwords in them.

Masking happens twice on purpose: a filter on the handler cleans the message and extras, so that every formatter
is safe, and the formatters clean what only they make, the text of an exception.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import IO, Any, Final

import orjson

from engine.config.kinds import mask_url
from engine.domain.pan import mask

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_THIRD_PARTIES: Final = ("aiohttp.access", "aiokafka", "asyncio", "faust", "mode", "numba", "redis")


def redact(value: Any) -> Any:
    """The value as it may be written: card numbers as BIN and last four, passwords of addresses as `***`."""
    if isinstance(value, str):
        return mask(mask_url(value))
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        text = str(value)
        masked = mask(text)
        return value if masked == text else masked
    if isinstance(value, dict):
        return {redact(str(key)): redact(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    if isinstance(value, bytes | bytearray):
        return redact(bytes(value).decode("utf-8", "replace"))
    return redact(str(value))


class RedactionFilter(logging.Filter):
    """Cleans every record that passes: the message with its arguments, and each extra."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Clean `record` in place; always lets it pass."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):  # arguments that do not fit the message must not lose it
            message = f"{record.msg} {record.args!r}"
        record.msg, record.args = redact(message), None
        for name in vars(record).keys() - _STANDARD:
            setattr(record, name, redact(getattr(record, name)))
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the extras, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in _STANDARD)
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return orjson.dumps(line, default=str).decode()


class ConsoleFormatter(logging.Formatter):
    """`12:00:00 info    message key=value`, in the local time of whoever reads it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, an exception below it."""
        when = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")  # noqa: DTZ006 - for a person at this machine
        extras = "".join(f" {name}={value}" for name, value in vars(record).items() if name not in _STANDARD)
        text = f"{when} {record.levelname.lower():<7} {record.getMessage()}{extras}"
        if record.exc_info:
            text += "\n" + redact(self.formatException(record.exc_info))
        return text


def configure(level: str = "info", style: str = "auto", stream: IO[str] | None = None) -> logging.Handler:
    """Send the logs of this process to `stream` (standard error), replacing what was set up before.

    Args:
        level: `debug`, `info`, `warning` or `error`. Libraries are kept at `warning` unless it is `debug`.
        style: `console`, `json`, or `auto`: console on a terminal, JSON otherwise.

    Returns:
        The one handler of the root logger.
    """
    stream = stream or sys.stderr
    console = style == "console" or (style == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(ConsoleFormatter() if console else JsonFormatter())
    handler.addFilter(RedactionFilter())
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    for name in _THIRD_PARTIES:
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    return handler
