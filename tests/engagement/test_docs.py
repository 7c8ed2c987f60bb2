"""docs/engagement.md shows the tables of transitions as they are."""

import re
from pathlib import Path

from engine.engagement.customer.states import TABLES, diagram

PAGE = Path(__file__).parents[2] / "docs" / "engagement.md"


def test_the_diagrams_are_those_of_the_tables() -> None:
    found = re.findall(r"### (\w+)\n.*?```mermaid\n(.*?)\n```", PAGE.read_text(), re.DOTALL)
    assert dict(found) == {name: diagram(name) for name in TABLES}
