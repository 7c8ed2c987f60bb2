"""The part of the OpenAPI description that is about customers."""

from typing import Any, Final

from engine.adapters.http_openapi_desk import SECURITY, TEXT
from engine.domain.limits import ID_CHARS_MAX

JSON: Final = "application/json"
PROBLEM: Final = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
FAULTS: Final = {
    401: "a key is needed, or this one is not known",
    403: "the key's role may not do this",
    404: "nothing is stored of this customer",
    503: "the store or the log is away; `Retry-After` says when to come back",
}
READ: Final = (
    ("", "customer", "Who they are and where they stand", "Customer"),
    ("/features", "customer_features", "The features by customer", "CustomerFeatures"),
    ("/ledger", "customer_ledger", "Balances, and the lots they are made of", "CustomerLedger"),
    ("/payments", "customer_payments", "Payments, sums by month, decisions", "CustomerPayments"),
    ("/export", "customer_export", "Everything that is held", "CustomerExport"),
)
OBJECTS: Final = {"type": "array", "items": {"type": "object"}}
STAYS: Final = {
    "type": "array",
    "items": {"type": "object", "properties": {"what": TEXT, "why": TEXT, "until": TEXT}},
}
DECIMAL: Final = {**TEXT, "description": "an exact decimal"}
BALANCES: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "kind": {"enum": ["points", "cashback", "coupon", "tier"]}, "currency": {"type": ["string", "null"]},
            "pending": DECIMAL, "active": DECIMAL, "debt": DECIMAL,
        },
    },
}  # fmt: skip


def _described(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": ["customer_id"], "properties": {"customer_id": TEXT, **properties}}


_CUSTOMER: Final[dict[str, Any]] = {
    "shard": {"type": "integer"}, "profile": {"type": "object"}, "states": {"type": "object"},
    "feedback": {"type": "object"}, "figures": {"type": "object"}, "balances": BALANCES, "offers": OBJECTS,
    "suspected": OBJECTS,
}  # fmt: skip
SCHEMAS: Final[dict[str, Any]] = {
    "Customer": _described(**_CUSTOMER),
    "CustomerFeatures": _described(at={"type": ["string", "null"]}, ruleset=TEXT, features={"type": "object"}),
    "CustomerLedger": _described(balances=BALANCES, lots=OBJECTS, base_earn=OBJECTS),
    "CustomerPayments": _described(
        base_currency=TEXT, count={"type": "integer"}, kept=TEXT, payments=OBJECTS, months=OBJECTS, decisions=OBJECTS
    ),
    "CustomerExport": _described(
        **_CUSTOMER,
        features={"$ref": "#/components/schemas/CustomerFeatures"},
        ledger={"$ref": "#/components/schemas/CustomerLedger"},
        payments={"$ref": "#/components/schemas/CustomerPayments"},
        erased={"type": "boolean"},
        stays=STAYS,
    ),
    "Erasing": {
        "type": "object",
        "required": ["event_id", "pseudonym", "erased", "stays"],
        "properties": {
            "event_id": TEXT,
            "pseudonym": TEXT,
            "erased": {"type": "array", "items": TEXT},
            "stays": STAYS,
        },
    },
}


def paths() -> dict[str, Any]:
    """The routes."""
    customer = {
        "name": "customer", "in": "path", "required": True, "schema": {**TEXT, "maxLength": ID_CHARS_MAX},
    }  # fmt: skip
    at = {"name": "at", "in": "query", "required": False, "schema": {"type": "integer"},
          "description": "milliseconds since 1970; the customer's latest event where it is left out"}  # fmt: skip
    found: dict[str, Any] = {}
    for tail, operation, summary, schema in READ:
        parameters = [customer, at] if tail == "/features" else [customer]
        faults = (401, 403, 404, 422, 503) if tail == "/features" else (401, 403, 404, 503)
        found[f"/v1/customers/{{customer}}{tail}"] = {
            "get": _route(operation, summary, "200", schema, parameters, faults)
        }
    erase = _route("erase_customer", "Erase the customer", "202", "Erasing", [customer], (401, 403, 404, 503))
    found["/v1/customers/{customer}"]["delete"] = erase
    return found


def _route(
    operation: str, summary: str, status: str, schema: str, parameters: list[dict[str, Any]], faults: tuple[int, ...]
) -> dict[str, Any]:
    answer = {"description": summary, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}
    told = {**FAULTS, 422: "`at` is no time"}
    return {
        "summary": summary,
        "operationId": operation,
        "security": SECURITY,
        "parameters": parameters,
        "responses": {status: answer, **{str(n): {"description": told[n], "content": PROBLEM} for n in faults}},
    }
