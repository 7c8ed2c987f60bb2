"""The files in schemas/ are what the types say, and real events pass them."""

import json
from pathlib import Path

import jsonschema
import pytest

from engine.domain.events import EVENT_TYPES
from engine.domain.schema import EVENTS, OUTPUTS, documents, export, render

ROOT = Path(__file__).parents[2] / "schemas"
PAYMENT = {
    "event_id": "e1", "event_time": "2026-01-01T00:00:00Z", "customer_id": "c1", "payment_id": "p1", "amount": "12.34",
    "currency": "EUR", "metadata": {"a": 1, "b": True, "c": "x"}, "unknown": [1], "kind": "nps", "score": 9,
    "label": "fraud",
}  # fmt: skip


def test_files_have_not_drifted_from_the_types() -> None:
    found = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in ROOT.rglob("*.json")}
    found.pop("rules.schema.json")  # made by engine.ruleset.schema, see tests/ruleset/test_schema.py
    assert found == {path: render(document) for path, document in documents().items()}, "run: make schemas"


@pytest.mark.parametrize("path", sorted(documents()))
def test_schemas_are_schemas(path: str) -> None:
    document = documents()[path]
    if path != "asyncapi.json":
        jsonschema.Draft202012Validator.check_schema(document)
        assert document["properties"]
        assert document["description"]


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_events_pass_their_schema(name: str) -> None:
    validator = jsonschema.Draft202012Validator(documents()[f"events/{name}.json"])
    validator.validate({"type": name, **PAYMENT})
    assert not validator.is_valid({"type": "other", **PAYMENT})
    assert not validator.is_valid({"type": name, **PAYMENT, "device_id": 5})
    assert not validator.is_valid({"type": name, **PAYMENT, "event_id": None})


def test_asyncapi_resolves_and_names_every_message() -> None:
    document = documents()["asyncapi.json"]
    assert document["asyncapi"] == "3.0.0"
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split('"$ref": "')[1:]}:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    assert set(document["components"]["messages"]) == {name for name, _ in (*EVENTS, *OUTPUTS)}


def test_export_removes_stale_files(tmp_path: Path) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "old.json").write_text("{}")
    (tmp_path / "of_another.json").write_text("{}")
    export(tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert found == {*documents(), "of_another.json"}


def test_no_description_keeps_the_indentation_of_its_docstring() -> None:
    assert not any("\\n    " in render(document) for document in documents().values())
