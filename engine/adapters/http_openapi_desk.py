"""The part of the OpenAPI description that is about analysts' routes."""

from typing import Any, Final

JSON: Final = "application/json"
SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"key": []}]
TEXT: Final = {"type": "string"}
NULLABLE: Final = {"type": ["string", "null"]}
COUNT: Final = {"type": "integer"}
TEXTS: Final = {"type": "array", "items": TEXT}
FAULTS: Final = {
    400: "the body is not JSON",
    401: "a key is needed, or this one is not known",
    403: "only analysts and admins may do this",
    404: "there is no such rule or list",
    422: "the request cannot be followed; faults of rule files are in `errors`, with file, line and column",
    429: "another backtest is running; `Retry-After` says when to come back",
    503: "the store or the log is away; `Retry-After` says when to come back",
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


RULE: Final = _object(
    id=TEXT, description=TEXT, owner=TEXT, tags=TEXTS, mode={"enum": ["shadow", "canary", "live"]},
    share={"type": "number"}, reason=TEXT, file=TEXT, line=COUNT, valid_from=NULLABLE, valid_to=NULLABLE, tests=COUNT,
    decision={"enum": ["approve", "review", "step_up", "decline", None]}, score={"type": "number"},
    allow={"type": "boolean"}, hard={"type": "boolean"}, on_degraded={"enum": ["skip", "hit"]},
)  # fmt: skip
OBSERVER: Final = _object(
    id=TEXT, description=TEXT, owner=TEXT, tags=TEXTS, mode={"enum": ["shadow", "canary", "live"]}, reason=TEXT,
    file=TEXT, line=COUNT, valid_from=NULLABLE, valid_to=NULLABLE, tests=COUNT, alert=TEXT, severity=TEXT, title=TEXT,
    action=TEXT, on=TEXTS, by=TEXTS, every=TEXT,
)  # fmt: skip
LISTED: Final = _object(
    name=TEXT, declared={"type": "boolean"}, kind={"enum": ["text", "number", "network"]},
    changed={"type": "boolean"}, values=COUNT,
)  # fmt: skip
SCHEMAS: Final[dict[str, Any]] = {
    "Rule": RULE,
    "ObserverRule": OBSERVER,
    "Rules": _object(
        ruleset={**NULLABLE, "description": "the hash in force in every shard; null where they differ"},
        shards={"type": "object", "additionalProperties": NULLABLE},
        workers={"type": "array", "items": _object(
            worker=TEXT, version=TEXT, started_at=TEXT, directory=NULLABLE, errors=TEXTS,
            shards={"type": "object", "additionalProperties": TEXT},
        )},
        rule_sets={"type": "array", "items": _object(
            ruleset=TEXT, features=COUNT, lists={"type": "object", "additionalProperties": COUNT},
            rules={"type": "array", "items": {"$ref": "#/components/schemas/Rule"}},
            observers={"type": "array", "items": {"$ref": "#/components/schemas/ObserverRule"}},
        )},
        snoozes={"type": "array", "items": _object(rule=TEXT, entity=TEXT, value=TEXT, until=TEXT)},
    ),
    "List": LISTED,
    "Lists": _object(lists={"type": "array", "items": {"$ref": "#/components/schemas/List"}}),
    "ListPage": _object(
        **LISTED["properties"], next={**NULLABLE, "description": "`after` of the next page; null on the last"},
        entries={"type": "array", "items": _object(value=TEXT, expires_at=NULLABLE)},
    ),
    "Announced": _object(event_ids=TEXTS),
}  # fmt: skip


def paths() -> dict[str, Any]:
    """The routes."""
    name = _parameter("name", "path")
    rule, alert = _parameter("rule", "path"), _parameter("alert", "path")
    page = [name, _parameter("after", "query"), _parameter("limit", "query", {"type": "integer", "maximum": 10_000})]
    whom = [rule, _parameter("entity", "query", required=True), _parameter("value", "query", required=True)]
    return {
        "/v1/rules": {"get": _route("rules", "The rules in force, by shard and by worker", "200", "Rules")},
        "/v1/rules/backtest": {
            "post": {
                **_route("backtest", "What other rules would have done with a history", "200", None, (400, 422, 429)),
                "requestBody": _body("BacktestBody"),
            }
        },
        "/v1/rules/{rule}/snooze": {
            "post": {
                **_route("snooze", "Let one entity be, for a while", "202", "Announced", (400, 404, 422), [rule]),
                "requestBody": _body("SnoozeBody"),
            },
            "delete": _route("wake", "End a snooze", "202", "Announced", (422,), whom),
        },
        "/v1/alerts/{alert}/resolve": {
            "post": {
                **_route("resolve", "Say what an alert turned out to be", "202", "Announced", (400, 422), [alert]),
                "requestBody": _body("ResolveBody"),
            }
        },
        "/v1/lists": {"get": _route("lists", "Every list", "200", "Lists")},
        "/v1/lists/{name}": {
            "get": _route("list_values", "The values of a list, in order", "200", "ListPage", (404, 422), page),
            "post": {
                **_route("change_list", "Change a list", "202", "Announced", (400, 404, 422), [name]),
                "requestBody": _body("ListBody"),
            },
        },
    }


def _route(
    operation: str,
    summary: str,
    status: str,
    answer: str | None,
    faults: tuple[int, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """One operation; `answer` names its schema, None: any object."""
    schema = {"$ref": f"#/components/schemas/{answer}"} if answer else {"type": "object"}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    answers = {
        str(fault): {"description": FAULTS[fault], "content": problem} for fault in sorted({*faults, 401, 403, 503})
    }
    described = {status: {"description": summary, "content": {JSON: {"schema": schema}}}, **answers}
    return {
        "summary": summary,
        "operationId": operation,
        "security": SECURITY,
        "parameters": parameters or [],
        "responses": described,
    }


def _body(name: str) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


def _parameter(
    name: str, place: str, schema: dict[str, Any] | None = None, *, required: bool | None = None
) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path" if required is None else required,
        "schema": schema or TEXT,
    }
