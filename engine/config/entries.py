"""The flat list of all settings, by name and by environment variable."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from engine.config.settings import Settings, Spec


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting of the list: `batch.events_max` is the attribute `events_max` of the group `batch`."""

    group: str
    attribute: str
    name: str
    spec: Spec
    default: Any


GROUPS: Final[Mapping[str, type]] = {
    item.name: item.default_factory  # type: ignore[misc]
    for item in fields(Settings)
    if item.name not in ("origins", "warnings")
}


def _entries() -> dict[str, Entry]:
    entries = {}
    for group, cls in GROUPS.items():
        for item in fields(cls):
            spec: Spec = item.metadata["spec"]
            short = item.name.removesuffix(spec.kind.suffix) if spec.kind.suffix else item.name
            name = f"{group}.{short}"
            env = spec.env or f"STEWARD_{group}_{short}".upper()
            entries[name] = Entry(group, item.name, name, Spec(spec.kind, spec.doc, env), item.default)
    return entries


ENTRIES: Final[Mapping[str, Entry]] = _entries()
