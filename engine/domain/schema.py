"""JSON Schemas of every event and output, and the AsyncAPI document, exported from the types.

`python -m engine.domain.schema schemas/` writes them; a test fails when the files and the types drift apart. A new kind
of output is one more line in `OUTPUTS`.
"""

import json
import sys
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

import msgspec

from engine.domain import outputs
from engine.domain.events import CONTROL_TYPES, EVENT_TYPES

BASE_URI: Final = "https://paysteward.example/schemas/"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
EVENTS: Final[tuple[tuple[str, type[Any]], ...]] = (*EVENT_TYPES.items(), *CONTROL_TYPES.items())
OUTPUTS: Final[tuple[tuple[str, type[Any]], ...]] = (
    ("decision", outputs.Decision),
    ("alert", outputs.Alert),
    ("reward", outputs.Reward),
    ("offer", outputs.Offer),
    ("lifecycle", outputs.Lifecycle),
    ("dead_letter", outputs.DeadLetter),
)
TOPICS: Final = {
    "decision": "steward.decisions",
    "alert": "steward.alerts",
    "reward": "steward.rewards",
    "offer": "steward.offers",
    "lifecycle": "steward.lifecycle",
    "dead_letter": "steward.dead-letters",
}
EVENTS_TOPIC: Final = "payments.events"


def documents() -> dict[str, dict[str, Any]]:
    """Every document by its path below schemas/."""
    found: dict[str, dict[str, Any]] = {}
    for folder, kinds in (("events", EVENTS), ("outputs", OUTPUTS)):
        for name, cls in kinds:
            path = f"{folder}/{name}.json"
            found[path] = _document(path, cls)
    found["asyncapi.json"] = _asyncapi()
    return found


def _document(path: str, cls: type[Any]) -> dict[str, Any]:
    """The schema of one type, its own object at the top level and what it refers to below `$defs`."""
    schema = msgspec.json.schema(cls)
    definitions = schema.pop("$defs", {})
    reference = schema.pop("$ref", "")
    top = definitions.pop(reference.rpartition("/")[2], {})
    document = {"$schema": DIALECT, "$id": BASE_URI + path, **schema, **top}
    if definitions:
        document["$defs"] = definitions
    return document


def _asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0: the input topic and the output topics of contract section 6."""
    classes = [cls for _, cls in (*EVENTS, *OUTPUTS)]
    _, schemas = msgspec.json.schema_components(classes, ref_template="#/components/schemas/{name}")
    messages = {name: _message(name, cls, "application/json") for name, cls in EVENTS}
    messages |= {name: _envelope(name, cls) for name, cls in OUTPUTS}
    channels = {"events": _channel(EVENTS_TOPIC, [name for name, _ in EVENTS])}
    channels |= {name: _channel(TOPICS[name], [name]) for name, _ in OUTPUTS}
    operations = {"receive_events": {"action": "receive", "channel": {"$ref": "#/channels/events"}}}
    operations |= {f"send_{name}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name, _ in OUTPUTS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Steward",
            "version": "1",
            "description": "Payment events in; decisions, alerts, rewards, offers, lifecycle and dead letters out.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(topic: str, names: list[str]) -> dict[str, Any]:
    return {
        "address": topic,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"kafka": {"topic": topic}},
    }


def _message(name: str, cls: type[Any], content_type: str) -> dict[str, Any]:
    return {
        "name": name,
        "summary": (cls.__doc__ or "").strip().partition("\n")[0],
        "contentType": content_type,
        "payload": {"$ref": f"#/components/schemas/{cls.__name__}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": "customer_id"}}},
    }


def _envelope(name: str, cls: type[Any]) -> dict[str, Any]:
    """An output: CloudEvents 1.0, structured JSON, its data as the schema says."""
    message = _message(name, cls, "application/cloudevents+json")
    text = {"type": "string"}
    message["payload"] = {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {**text, "description": "Deterministic: the same cause gives the same id."},
            "source": text,
            "type": text,
            "subject": text,
            "time": {**text, "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": message["payload"],
        },
    }
    return message


def render(document: dict[str, Any]) -> str:
    """A document as the text of its file, the same on every Python: before 3.13 docstrings keep their indentation."""
    return json.dumps(_unindented(document), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _unindented(part: Any) -> Any:
    """The part of a document with the indentation of docstrings taken out of every description."""
    if isinstance(part, dict):
        return {
            key: cleandoc(value) if key == "description" and isinstance(value, str) else _unindented(value)
            for key, value in part.items()
        }
    return [_unindented(item) for item in part] if isinstance(part, list) else part


def export(directory: Path) -> None:
    """Write every document below `directory`, and remove JSON files that no type stands for any more."""
    wanted = {directory / path: render(document) for path, document in documents().items()}
    for stale in {path for folder in ("events", "outputs") for path in (directory / folder).rglob("*.json")} - set(
        wanted
    ):
        stale.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    export(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
