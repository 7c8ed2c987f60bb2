"""How a deployment is spread: its shards against the partitions of its topic."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.ports.log import LogBounds
from engine.ports.store import Head
from engine.service.marks import NO_LOG, born_with


@dataclass(frozen=True, slots=True)
class Place:
    """One shard and its partition.

    Attributes:
        shard: number of both.
        head: what the store holds of it.
        bounds: what the log holds of it; None where the topic has no such partition.
        node: the server that holds it.
    """

    shard: int
    head: Head
    bounds: LogBounds | None
    node: str

    @property
    def lag(self) -> int:
        """Records on the log that are not processed yet."""
        if self.bounds is None or self.bounds.end is None:
            return 0
        return max(0, self.bounds.end - max(self.head.offset, self.bounds.first))


def faults(places: Sequence[Place], partitions: int) -> list[str]:
    """What stands in the way of a worker, a line each; empty where nothing does."""
    found = []
    for place in places:
        born, offset = born_with(place.head), place.head.offset
        if born is not None and born != partitions:
            told = "without Kafka" if born == NO_LOG else f"with {born} partitions"
            found.append(
                f"shard {place.shard}: its state was made {told}, the topic has {partitions}: go back to that number, "
                "or move the state: steward repartition --partitions M --carry"
            )
        elif place.bounds is not None and 0 <= offset < place.bounds.first:
            found.append(
                f"shard {place.shard}: processed up to {offset}, but the log begins at {place.bounds.first}: "
                "events were deleted before they were processed"
            )
        elif place.bounds is not None and place.bounds.end is not None and offset > place.bounds.end:
            found.append(
                f"shard {place.shard}: processed up to {offset}, but the log ends at {place.bounds.end}: "
                "it was truncated or made anew"
            )
    return found


def spread(places: Sequence[Place]) -> Mapping[str, int]:
    """Shards by server."""
    return dict(sorted(Counter(place.node for place in places).items()))
