"""Where the shipped rules and schemas are: in the checkout, or inside the installed wheel."""

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent


def rules_directory() -> Path:
    """The shipped rules directory. Raises `FileNotFoundError` where the installation carries none."""
    return _shipped("rules", "*.yaml")


def schemas_directory() -> Path:
    """The shipped JSON Schemas and AsyncAPI document. Raises `FileNotFoundError` where there are none."""
    return _shipped("schemas", "*.json")


def _shipped(name: str, pattern: str) -> Path:
    # A checkout comes first: there, what a developer edits must be what runs.
    candidates = (_PACKAGE.parent / name, _PACKAGE / "_data" / name)
    for directory in candidates:
        if any(directory.glob(pattern)):
            return directory
    raise FileNotFoundError(f"no {name} found in {' or '.join(str(directory) for directory in candidates)}")
