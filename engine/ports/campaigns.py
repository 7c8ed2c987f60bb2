"""What is asked about the campaigns of a running engine or of its store."""

from typing import Any, Protocol


class CampaignResults(Protocol):
    """May raise `StoreUnavailable`. What is returned is JSON-ready."""

    async def results(self, point_value: float) -> dict[str, Any]:
        """Every campaign by id and version: what it gave, what is left of its budget, what came of it, all shards
        together. `point_value`: what a point costs, in major units of the base currency."""
