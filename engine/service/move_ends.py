"""What becomes of a move afterwards: it is undone, or the state it left behind is dropped."""

import msgspec

from engine.ports.generation import IN_SERVICE, OUT_OF_SERVICE, Generation
from engine.service.move_note import NotReady, read_note


async def undo(old: Generation, new: Generation) -> None:
    """Put the old generation in service again and throw the new one away. Raises `NotReady` where that has gone on."""
    told = read_note(await old.note())
    if await old.state() != OUT_OF_SERVICE or told is None:
        raise NotReady("no move from this prefix was begun")
    if await new.state() == IN_SERVICE:
        heads = [await new.store.open(shard) for shard in range(told.partitions)]
        if any(head.offset > 0 for head in heads):
            raise NotReady(f"events were processed under {told.after}: to go back now would lose them")
    await new.close_down(msgspec.structs.replace(told, role="into").text())
    await new.drop()
    await old.open_up(range(told.shards))


async def drop_old(old: Generation, new: Generation, prefix: str, current: str) -> None:
    """Delete the state that was moved. Raises `NotReady` where it was not, or where the move has not ended."""
    told = read_note(await old.note())
    if await old.state() != OUT_OF_SERVICE or told is None or (told.role, told.after) != ("from", current):
        raise NotReady(f"the state under {prefix} was not moved into {current}")
    if await new.state() != IN_SERVICE:
        raise NotReady(f"{current} is not in service yet: the move has not ended")
    await old.drop()
