"""The part of the OpenAPI description that is about campaigns."""

from typing import Any, Final

from engine.adapters.http_campaigns import POINT_VALUE, POINT_VALUE_MAX
from engine.adapters.http_openapi_customers import FAULTS, JSON, PROBLEM
from engine.adapters.http_openapi_desk import COUNT, NULLABLE, SECURITY, TEXT, TEXTS

NUMBER: Final = {"type": ["number", "null"]}
DECIMAL: Final = {**TEXT, "description": "an exact decimal, in units of the reward"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": properties}


INTERVAL: Final = _object(estimate=NUMBER, low=NUMBER, high=NUMBER)
SCHEMAS: Final[dict[str, Any]] = {
    "Campaign": {
        "type": "object",
        "properties": {
            "campaign_id": TEXT, "version": COUNT, "in_force": {"type": "boolean"}, "description": NULLABLE,
            "owner": NULLABLE, "tags": {**TEXTS, "type": ["array", "null"]}, "holdout": NUMBER, "valid_from": NULLABLE,
            "valid_to": NULLABLE, "file": NULLABLE, "line": {"type": ["integer", "null"]}, "kind": NULLABLE,
            "currency": NULLABLE, "grants": COUNT, "granted": DECIMAL, "taken_back": DECIMAL, "offers": COUNT,
            "customers": COUNT, "held_out": COUNT,
            "cost": {**NUMBER, "description": "at most, in the base currency; null without a rate"},
            "budget": _object(currency=NULLABLE, amount=DECIMAL, reserved=DECIMAL, spent=DECIMAL, left=DECIMAL),
            "outcomes": _object(treated=COUNT, held_out=COUNT),
            "pending": _object(customers=COUNT, cost=NUMBER),
            "effect": _object(difference=INTERVAL, relative=INTERVAL, incremental=NUMBER, cost=NUMBER, roi=NUMBER),
        },
    },
    "Campaigns": {
        "type": "object",
        "properties": {
            "ruleset": TEXT, "base_currency": TEXT, "point_value": {"type": "number"},
            "campaigns": {"type": "array", "items": {"$ref": "#/components/schemas/Campaign"}},
        },
    },
}  # fmt: skip


def paths() -> dict[str, Any]:
    """The route."""
    value = {
        "name": "point_value", "in": "query", "required": False,
        "schema": {"type": "number", "minimum": 0, "maximum": POINT_VALUE_MAX, "default": POINT_VALUE},
        "description": "what a point costs, in the base currency",
    }  # fmt: skip
    summary = "Every campaign: what it gave, what is left of its budget, what it did"
    answer = {"description": summary, "content": {JSON: {"schema": {"$ref": "#/components/schemas/Campaigns"}}}}
    faults = {**FAULTS, 422: "`point_value` is no such number"}
    return {
        "/v1/campaigns": {
            "get": {
                "summary": summary,
                "operationId": "campaigns",
                "security": SECURITY,
                "parameters": [value],
                "responses": {
                    "200": answer,
                    **{str(n): {"description": faults[n], "content": PROBLEM} for n in (401, 403, 422, 503)},
                },
            }
        }
    }
