"""The OpenAPI 3.1 description of the HTTP API, made from the same types that the engine decodes and encodes."""

import json
from functools import cache
from typing import Any, Final

import msgspec

from engine import __version__
from engine.adapters import http_openapi_campaigns, http_openapi_customers, http_openapi_desk
from engine.adapters.http_desk import BacktestBody, ListBody, ResolveBody, SnoozeBody
from engine.domain.events import EVENT_TYPES
from engine.domain.outputs import Decision

REF: Final = "#/components/schemas/{name}"
JSON: Final = "application/json"
TEXT: Final = {"type": "string"}
PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {**TEXT, "description": "about:blank, or urn:steward:problem:NAME"},
        "title": TEXT,
        "status": {"type": "integer"},
        "detail": TEXT,
        "reason": {**TEXT, "description": "of a refused event: its reason code"},
    },
}
ACCEPTED: Final = {
    "type": "object",
    "required": ["event_id", "status"],
    "properties": {"event_id": TEXT, "status": {"enum": ["accepted", "duplicate"]}},
}
RESULT: Final = {
    "type": "object",
    "required": ["event_id", "status"],
    "properties": {
        "event_id": TEXT,
        "status": {"enum": ["decision", "accepted", "duplicate", "rejected"]},
        "decision": {"$ref": REF.format(name="Decision")},
        "rejection": {"type": "object", "properties": {"reason": TEXT, "detail": TEXT}},
    },
}
RESULTS: Final = {
    "type": "object",
    "required": ["events", "counts", "results"],
    "properties": {
        "events": {"type": "integer"},
        "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        "results": {"type": "array", "items": {"$ref": REF.format(name="Result")}},
    },
}
EXPLAIN: Final = {
    "name": "explain",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "adds `explanation` to the decision: what every rule saw; null in the answer to a repeat",
}
PROBLEMS: Final = {
    401: "a key is needed, or this one is not known",
    403: "the key's role may not do this",
    408: "the body did not arrive in time",
    413: "the body is too large",
    422: "the event is refused; `reason` says why, and it is dead-lettered",
    503: "too much is waiting, or a service is away; `Retry-After` says when to come back",
    504: "no decision in time and none without the state either; sending the event again gets its answer",
}


@cache
def openapi() -> bytes:
    """The description as JSON."""
    classes = [*EVENT_TYPES.values(), Decision, ListBody, SnoozeBody, ResolveBody, BacktestBody]
    _, schemas = msgspec.json.schema_components(classes, ref_template=REF)
    events = [{"$ref": REF.format(name=cls.__name__)} for cls in EVENT_TYPES.values()]
    mapping = {name: REF.format(name=cls.__name__) for name, cls in EVENT_TYPES.items()}
    made = {
        "Event": {"oneOf": events, "discriminator": {"propertyName": "type", "mapping": mapping}},
        "Problem": PROBLEM,
        "Accepted": ACCEPTED,
        "Result": RESULT,
        "Results": RESULTS,
        **http_openapi_desk.SCHEMAS,
        **http_openapi_customers.SCHEMAS,
        **http_openapi_campaigns.SCHEMAS,
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Steward", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": _paths(),
        "components": {
            "schemas": {**schemas, **made},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _paths() -> dict[str, Any]:
    lines = {"schema": {**TEXT, "description": "one event a line"}}
    array = {"schema": {"type": "array", "items": {"$ref": REF.format(name="Event")}}}
    return {
        "/v1/decisions": {
            "post": {
                "summary": "One event in, its decision out; a repeat of an event_id returns the first answer",
                "operationId": "decide",
                "security": [{"bearer": []}, {"key": []}],
                "parameters": [EXPLAIN],
                "requestBody": {"required": True, "content": {JSON: _schema("Event")}},
                "responses": {
                    "200": _answer("the decision; made without the state where `degraded` says so", "Decision"),
                    "202": _answer("the event is accepted and carries no decision", "Accepted"),
                    **_problems(*PROBLEMS),
                },
            }
        },
        "/v1/events": {
            "post": {
                "summary": "Many events in, a result for each, in order",
                "operationId": "take_events",
                "security": [{"bearer": []}, {"key": []}],
                "requestBody": {"required": True, "content": {"application/x-ndjson": lines, JSON: array}},
                "responses": {
                    "200": _answer("what became of each event", "Results"),
                    "400": _problem("the body cannot be cut into events"),
                    **_problems(401, 403, 408, 413, 503, 504),
                },
            }
        },
        **http_openapi_desk.paths(),
        **http_openapi_customers.paths(),
        **http_openapi_campaigns.paths(),
        "/healthz": {"get": _plain("alive", "The process runs", JSON)},
        "/readyz": {"get": _plain("ready", "Decisions can be had now; `degraded`: without the state only", JSON, 503)},
        "/metrics": {"get": _plain("metrics", "For Prometheus", "text/plain")},
        "/openapi.json": {"get": _plain("describe", "This description", JSON)},
    }


def _schema(name: str) -> dict[str, Any]:
    return {"schema": {"$ref": REF.format(name=name)}}


def _answer(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": {JSON: _schema(name)}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/problem+json": _schema("Problem")}}


def _problems(*statuses: int) -> dict[str, Any]:
    return {str(status): _problem(PROBLEMS[status]) for status in statuses}


def _plain(name: str, summary: str, kind: str, *problems: int) -> dict[str, Any]:
    """A GET without arguments."""
    answers = {"200": {"description": summary, "content": {kind: {}}}, **_problems(*problems)}
    return {"summary": summary, "operationId": name, "responses": answers}
