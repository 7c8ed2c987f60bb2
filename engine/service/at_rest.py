"""Whether a deployment is at rest: all that came in is processed, all that it made is sent, and nobody is at work."""

from collections.abc import Mapping

from engine.ports.generation import Generation, PastLog
from engine.ports.log import LogBounds
from engine.ports.store import Head
from engine.service.marks import born_with
from engine.service.move_note import NotReady
from engine.service.scale import Place, faults


class NotAtRest(NotReady):
    """It is not yet; `heads` of its shards as they are now."""

    def __init__(self, heads: dict[int, Head], *problems: str) -> None:
        super().__init__(*problems)
        self.heads = heads


async def at_rest(
    generation: Generation, past: PastLog, partitions: int, *, unprocessed: bool = False
) -> dict[int, Head]:
    """The heads of its shards.

    Args:
        partitions: what it is to have.
        unprocessed: records may be left, also on partitions that were added to the topic since.

    Raises:
        NotAtRest: it is not at rest yet.
        NotReady: waiting will not help.
    """
    bounds = await past.bounds()
    if not bounds:
        raise NotReady("the topic of the old state does not exist")
    heads = {shard: await generation.store.open(shard) for shard in bounds}
    born = max(born_with(head) or 0 for head in heads.values())
    if unprocessed and 0 < born < len(heads):
        heads = {shard: head for shard, head in heads.items() if shard < born}
    if len(heads) == partitions == born:
        raise NotReady(f"there are {len(heads)} partitions already")
    if all(head.offset < 0 for head in heads.values()):
        raise NotReady("no shard has processed an event: create the topic with as many partitions as you want")
    wrong = faults([Place(shard, head, bounds[shard], "") for shard, head in heads.items()], len(heads))
    if wrong:
        raise NotReady(*wrong)
    left = [] if unprocessed else await _unprocessed(heads, bounds, past)
    problems = [*left, *_unsent(heads)]
    running = await generation.owners()
    if running:
        problems.append(f"workers are running: {', '.join(running)}; stop them (a killed one is forgotten after 15 s)")
    if problems:
        raise NotAtRest(heads, *problems)
    return heads


async def _unprocessed(heads: Mapping[int, Head], bounds: Mapping[int, LogBounds], past: PastLog) -> list[str]:
    found = []
    for shard, head in heads.items():
        lag = Place(shard, head, bounds[shard], "").lag
        left = await past.left(shard, max(head.offset, bounds[shard].first)) if lag else 0
        if left:
            found.append(
                f"shard {shard}: {left} records or more are not processed: stop or switch the producers of this topic, "
                "let the workers go on until steward scale check shows no lag, then stop them; or --carry them along"
            )
    return found


def _unsent(heads: Mapping[int, Head]) -> list[str]:
    return [
        f"shard {shard}: {len(head.outbox)} batches of outputs are not sent: start a worker and stop it in the "
        "ordinary way (SIGTERM); it sends them before it ends"
        for shard, head in heads.items()
        if head.outbox
    ]
