"""The settings as a table and as JSON, secrets masked, with where each value came from."""

from collections.abc import Collection
from typing import Any

from engine.config.entries import ENTRIES, Entry
from engine.config.settings import Settings


def rows(settings: Settings) -> list[dict[str, str]]:
    """One row a setting: `name`, `value` (masked), `origin`, `environment`, `type`, `allowed`, `meaning`."""
    return [
        {
            "name": entry.name,
            "value": masked(entry, getattr(getattr(settings, entry.group), entry.attribute)),
            "origin": settings.origins.get(entry.name, "default"),
            "environment": entry.spec.env,
            "type": entry.spec.kind.name,
            "allowed": entry.spec.kind.allowed,
            "meaning": entry.spec.doc,
        }
        for entry in ENTRIES.values()
    ]


def table(settings: Settings) -> str:
    """The settings in aligned columns: name, value, origin, meaning."""
    shown = [("setting", "value", "from", "meaning")]
    shown += [(row["name"], row["value"] or "-", row["origin"], row["meaning"]) for row in rows(settings)]
    widths = [max(len(line[column]) for line in shown) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True)), line[3]])
        for line in shown
    )


def masked(entry: Entry, value: Any) -> str:
    """A value as text that may be printed or logged."""
    return (entry.spec.kind.mask or entry.spec.kind.show)(value)


def environment(settings: Settings, groups: Collection[str]) -> dict[str, str]:
    """The settings of some groups as environment variables of another process; secrets are not masked."""
    return {
        entry.spec.env: entry.spec.kind.show(getattr(getattr(settings, entry.group), entry.attribute))
        for entry in ENTRIES.values()
        if entry.group in groups
    }
