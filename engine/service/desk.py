"""The desk: what analysts ask of a running engine, answered out of the store, the archive and the shards' own logs."""

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from engine.core.adoption import HEAD_RULESET
from engine.core.instants import TimeError, parse_time
from engine.core.lists import LiveList, LiveLists
from engine.core.snoozes import Snoozes
from engine.domain.limits import LIST_CHANGES_MAX
from engine.domain.times import rfc3339
from engine.ports.announce import Announcer
from engine.ports.desk import Backtester, BacktestOrder, ListChange, NotThere, Unusable
from engine.ports.store import StateStore
from engine.ports.sync import Busy
from engine.ports.workers import Worker, WorkerRegistry
from engine.ruleset.errors import RuleErrors
from engine.ruleset.ruleset import RuleSet
from engine.service.catalogue import NUMBER, entries, kind_of, list_object, ruleset_object
from engine.service.rule_sets import RuleLibrary, compile_aside

RECORD_VALUES_BYTES_MAX: Final = 48 * 1024  # of the values of one event as JSON; an event has 64 KiB
READ_SHARD: Final = 0  # lists and snoozes are changed in every shard alike; they are read from this one
RETRY_S: Final = 10  # a backtest takes some time


class ShardDesk:
    """Implements `engine.ports.desk.Desk`.

    Args:
        store: the state of the shards.
        library: rule sets by hash.
        registry: who owns which shards.
        announcer: writes to the shards' logs.
        backtester: runs backtests.
        shards: how many there are.
        now_ms: wall time.
    """

    def __init__(
        self,
        store: StateStore,
        library: RuleLibrary,
        registry: WorkerRegistry,
        announcer: Announcer,
        backtester: Backtester,
        *,
        shards: Callable[[], int],
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._library = library
        self._registry = registry
        self._announcer = announcer
        self._backtester = backtester
        self._shards = shards
        self.now_ms = now_ms
        self._testing = False

    async def rules(self) -> dict[str, Any]:
        """See `Desk.rules`."""
        by_shard = await self._in_force()
        hashes = sorted({name for name in by_shard.values() if name is not None})
        found = [ruleset for name in hashes if (ruleset := await self._library.fetch(name)) is not None]
        snoozes = Snoozes((await self._store.open(READ_SHARD)).state)
        return {
            "ruleset": hashes[0] if len(set(by_shard.values())) == 1 and hashes else None,
            "shards": {str(shard): name for shard, name in by_shard.items()},
            "workers": [_worker(worker) for worker in await self._registry.workers()],
            "rule_sets": [ruleset_object(ruleset) for ruleset in found],
            "snoozes": [
                {"rule": rule, "entity": entity, "value": value, "until": rfc3339(until_ms)}
                for (rule, entity, value), until_ms in sorted(snoozes.entries.items())
                if until_ms > self.now_ms()
            ],
        }

    async def lists(self) -> list[dict[str, Any]]:
        """See `Desk.lists`."""
        ruleset, live = await self._lists()
        names = sorted({*ruleset.lists, *live})
        return [list_object(name, ruleset.lists.get(name), live.get(name), self.now_ms()) for name in names]

    async def list_values(self, name: str, after: str, limit: int) -> dict[str, Any]:
        """See `Desk.list_values`."""
        ruleset, live = await self._lists()
        if name not in ruleset.lists and name not in live:
            raise NotThere(f"there is no list {name}: no rule file declares it and nothing was added to it")
        found = entries(ruleset.lists.get(name), live.get(name), self.now_ms())
        texts = sorted(text for text in found if text > after)
        page = [{"value": text, "expires_at": _time(found[text])} for text in texts[:limit]]
        about = list_object(name, ruleset.lists.get(name), live.get(name), self.now_ms())
        return {**about, "entries": page, "next": texts[limit - 1] if len(texts) > limit else None}

    async def change_list(self, name: str, change: ListChange) -> list[str]:
        """See `Desk.change_list`. A change that does not fit into one event is several, announced in order."""
        expires = self._ahead(change.expires, "the entries would have expired already")
        ruleset, _ = await self._lists()
        if kind_of(ruleset.lists.get(name)) == NUMBER:
            wrong = next((text for text in (*(change.values or ()), *change.add) if not _is_number(text)), None)
            if wrong is not None:
                raise Unusable(f"{name} is a list of numbers, and {wrong!r} is none")
        fixed = {"type": "control.list", "name": name, "expires_at": expires}
        return await self._announce([{**fixed, **part} for part in _parts(change)])

    async def snooze(self, rule: str, entity: str, value: str, until: int | str | None) -> list[str]:
        """See `Desk.snooze`."""
        until_ms = self._ahead(until, "the snooze would be over already")
        hashes = {name for name in (await self._in_force()).values() if name is not None}
        found = [ruleset for name in sorted(hashes) if (ruleset := await self._library.fetch(name)) is not None]
        if until_ms is not None and not any(
            known.id == rule for ruleset in found for known in (*ruleset.rules, *ruleset.observers)
        ):
            raise NotThere(f"there is no rule {rule} in force")
        event = {"type": "control.snooze", "rule": rule, "entity": entity, "value": value, "until": until_ms}
        return await self._announce([event])

    async def resolve(self, alert_id: str, resolution: str, customer_id: str, payment_id: str | None) -> list[str]:
        """See `Desk.resolve`. Every shard is told, as of all else; the customer's does something about it."""
        event = {"type": "control.alert_resolved", "alert_id": alert_id, "resolution": resolution}
        return await self._announce([{**event, "customer_id": customer_id, "payment_id": payment_id}])

    async def backtest(self, order: BacktestOrder) -> bytes:
        """See `Desk.backtest`. One at a time: it takes a processor of this machine for as long as it runs."""
        if self._testing:
            raise Busy("another backtest is running", RETRY_S)
        self._testing = True
        try:
            await _check("candidate", order.candidate)
            if order.baseline is not None:
                await _check("baseline", order.baseline)
            return await self._backtester.run(order, order.baseline or (await self._ruleset()).texts)
        finally:
            self._testing = False

    async def _in_force(self) -> dict[int, str | None]:
        """The hash in force by shard, as committed; `None` for a shard that has never committed."""
        shards = range(self._shards())
        stored = await asyncio.gather(*(self._store.load(shard, [HEAD_RULESET]) for shard in shards))
        return {shard: value.decode() if value else None for shard, (value,) in zip(shards, stored, strict=True)}

    async def _ruleset(self) -> RuleSet:
        """The rule set in force where lists are read; before the first commit, the one this process started with."""
        (value,) = await self._store.load(READ_SHARD, [HEAD_RULESET])
        found = await self._library.fetch(value.decode()) if value else None
        return found or self._library.first

    async def _lists(self) -> tuple[RuleSet, Mapping[str, LiveList]]:
        return await self._ruleset(), LiveLists((await self._store.open(READ_SHARD)).state).lists

    def _ahead(self, time: int | str | None, otherwise: str) -> int | None:
        """A time as milliseconds. Raises `Unusable` where it is none, or not ahead."""
        if time is None:
            return None
        try:
            time_ms = parse_time(time)
        except TimeError as error:
            raise Unusable(error.detail.replace("event_time", "the time")) from None
        if time_ms <= self.now_ms():
            raise Unusable(otherwise)
        return time_ms

    async def _announce(self, events: Sequence[dict[str, Any]]) -> list[str]:
        """Tell every shard; the same event in each, under one id."""
        ids = []
        for event in events:
            event_id = f"desk-{uuid.uuid4().hex}"
            record = msgspec.json.encode({"event_id": event_id, "event_time": self.now_ms(), **event})
            await asyncio.gather(*(self._announcer.announce(shard, record) for shard in range(self._shards())))
            ids.append(event_id)
        return ids


async def _check(side: str, files: Mapping[str, str]) -> None:
    """Raises `Unusable` with the place of each fault."""
    try:
        await asyncio.to_thread(compile_aside, dict(files))
    except RuleErrors as faults:
        errors = [
            {"side": side, "file": e.file, "line": e.line, "column": e.column, "message": e.message, "hint": e.hint}
            for e in faults.errors
        ]
        raise Unusable(f"the {side} rules cannot be used", errors) from faults


def _parts(change: ListChange) -> Iterator[dict[str, Any]]:
    """The change in pieces that fit into an event each: what replaces first, then what goes, then what comes."""
    if change.values is not None:
        first, *rest = list(_chunks(change.values)) or [[]]
        yield {"values": first}
        for chunk in rest:
            yield {"add": chunk}
    for chunk in _chunks(change.remove):
        yield {"remove": chunk}
    for chunk in _chunks(change.add):
        yield {"add": chunk}


def _chunks(values: Sequence[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for value in values:
        length = len(msgspec.json.encode(value)) + 1
        if chunk and (size + length > RECORD_VALUES_BYTES_MAX or len(chunk) == LIST_CHANGES_MAX):
            yield chunk
            chunk, size = [], 0
        chunk.append(value)
        size += length
    if chunk:
        yield chunk


def _worker(worker: Worker) -> dict[str, Any]:
    return {
        "worker": worker.worker,
        "version": worker.version,
        "started_at": rfc3339(worker.started_ms),
        "shards": {str(shard): name for shard, name in sorted(worker.shards.items())},
        "directory": worker.directory or None,
        "errors": list(worker.errors),
    }


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _time(time_ms: int | None) -> str | None:
    return None if time_ms is None else rfc3339(time_ms)
