"""Which fraud model serves in which shard, and how to change it: what `steward models` and `steward train` do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from engine.ports.announce import Announcer
from engine.ports.models import ELSEWHERE, ModelArchive, ModelNote
from engine.ports.store import StateStore
from engine.scoring.fraud_storage import HEAD_PINNED, HEAD_SNAPSHOT
from engine.scoring.snapshot import Description, describe
from engine.service.model_library import note_of

START: Final = "start"
PIN: Final = "pin"
FOLLOW: Final = "follow"
LOOK_S: Final = 0.25  # between two looks at whether a shard has followed


class NoSuchModel(Exception):
    """There is no such version, or none before; the text says so to a person."""


class Serving(NamedTuple):
    """What a shard has, as committed.

    Attributes:
        shard: its number.
        learned: what it published last; None before there is anything, or where it cannot be read.
        pinned: what serves instead; None where nothing is pinned.
    """

    shard: int
    learned: Description | None
    pinned: Description | None

    @property
    def model(self) -> Description | None:
        """What serves."""
        return self.learned if self.pinned is None else self.pinned


class ModelDesk:
    """Args:
    store: the state of the shards; it is only read.
    archive: of the snapshots.
    announcer: puts control events on the shards' logs.
    shards: how many there are.
    now_ms: wall time, the event time of control events; no outcome depends on it.
    sleep: waits.
    """

    def __init__(
        self,
        store: StateStore,
        archive: ModelArchive,
        announcer: Announcer,
        shards: int,
        now_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.shards = shards
        self._store = store
        self._archive = archive
        self._announcer = announcer
        self._now_ms = now_ms
        self._sleep = sleep

    async def notes(self) -> list[ModelNote]:
        """Of all that the archive has, the oldest first."""
        return await self._archive.notes()

    async def serving(self) -> list[Serving]:
        """What each shard has."""
        found = []
        for shard in range(self.shards):
            learned, pinned = await self._store.load(shard, [HEAD_SNAPSHOT, HEAD_PINNED])
            found.append(Serving(shard, _told(learned), _told(pinned)))
        return found

    async def find(self, name: str) -> str:
        """The hash of a version, or of the beginning of a hash. Raises `NoSuchModel`: none, or several."""
        notes = await self._archive.notes()
        found = sorted({note.model for note in notes if name in (note.version, note.model)})
        found = found or sorted({note.model for note in notes if name and note.model.startswith(name)})
        if len(found) == 1:
            return found[0]
        if found:
            raise NoSuchModel(f"{name} names several models: {', '.join(found)}")
        raise NoSuchModel(f"the archive has no model {name}; `steward models list` shows what it has")

    async def read(self, name: str) -> bytes:
        """The snapshot of a version. Raises `NoSuchModel`."""
        model = await self.find(name)
        data = await self._archive.get(model)
        if data is None:
            raise NoSuchModel(f"the archive has forgotten model {model} just now")
        return data

    async def bring(self, data: bytes) -> ModelNote:
        """Archive a snapshot that comes from elsewhere. Raises `ValueError` where it is damaged."""
        note = note_of(data, ELSEWHERE, self._now_ms())
        await self._archive.put(note, data)
        return note

    async def before(self, shards: Sequence[int]) -> dict[int, str]:
        """The version of each shard before the one that serves. Raises `NoSuchModel`, naming the shard without one."""
        notes, found = await self._archive.notes(), {}
        for serving in await self.serving():
            if serving.shard not in shards:
                continue
            if serving.model is None:
                raise NoSuchModel(f"shard {serving.shard} has no model yet")
            older = _older(notes, serving.shard, serving.model)
            if older is None:
                raise NoSuchModel(
                    f"the archive has nothing that shard {serving.shard} served before {serving.model.version}"
                )
            found[serving.shard] = older.model
        return found

    async def tell(self, mode: str, models: Mapping[int, str | None], wait_s: float) -> list[int]:
        """Put a control event on the log of each shard in `models`; those that have not followed within `wait_s`.

        A shard that nobody owns follows when somebody does; one that refuses says so in an alert.
        """
        for model in dict.fromkeys(models.values()):
            if model is not None:
                await self._archive.keep(model)  # before anybody needs it
        for shard, model in models.items():
            await self._announcer.announce(shard, self._event(mode, shard, model))
        left_s, waiting = wait_s, list(models)
        while True:
            served = {serving.shard: serving for serving in await self.serving()}
            waiting = [shard for shard in waiting if not _followed(mode, models[shard], served[shard])]
            if not waiting or left_s <= 0.0:
                return waiting
            await self._sleep(LOOK_S)
            left_s -= LOOK_S

    def _event(self, mode: str, shard: int, model: str | None) -> bytes:
        now_ms = self._now_ms()
        name = model or FOLLOW
        fields = {"event_id": f"model-{mode}-{name}-{shard}-{now_ms}", "type": "control.model", "event_time": now_ms}
        return msgspec.json.encode({**fields, "mode": mode, **({} if model is None else {"model": model})})


def _told(data: bytes | None) -> Description | None:
    """What a stored snapshot says of itself; None where there is none that can be read."""
    try:
        return None if data is None else describe(data)
    except ValueError:
        return None


def _older(notes: Sequence[ModelNote], shard: int, serving: Description) -> ModelNote | None:
    """The last that a shard published before the one that serves, by its own notes of both; by time where it published
    that one never."""
    mine = [note for note in notes if note.shard == shard]
    at = next((place for place, note in enumerate(mine) if note.model == serving.model), None)
    if at is None:
        mine = [note for note in mine if note.boundary_ms < serving.boundary_ms]
        return mine[-1] if mine else None
    return mine[at - 1] if at else None


def _followed(mode: str, model: str | None, serving: Serving) -> bool:
    """Whether a shard does what it was told. One that was started may have learned on since."""
    if mode == PIN:
        return serving.pinned is not None and serving.pinned.model == model
    if mode == FOLLOW:
        return serving.pinned is None
    return serving.pinned is None and serving.learned is not None and serving.learned.model == model
