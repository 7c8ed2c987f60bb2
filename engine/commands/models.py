"""`steward models`: the versions of the fraud model, which shard serves which, and the way back."""

import argparse
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from engine.commands.common import Unusable, settings, settings_arguments, whole

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.ports.announce import Announcer
    from engine.ports.models import ModelNote, ModelOrders
    from engine.service.model_desk import ModelDesk, Serving

SUMMARY: Final = "versions of the fraud model: list, roll back, follow again, start, export, import"
WAIT_S: Final = 30.0
"""How long a command waits to see that the shards have followed."""

SHARDS_MAX: Final = 16_384
VERBS: Final = {
    "list": "the versions in the archive, and which shards serve which",
    "rollback": "serve the version before, or a named one, and nothing newer until `follow`",
    "follow": "serve what is learned again",
    "start": "take a version as the newest and go on learning from it",
    "export": "write a version to a file",
    "import": "put a version from a file into the archive",
}
T = TypeVar("T")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb and what it needs."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    made = {name: verbs.add_parser(name, help=told, description=told) for name, told in VERBS.items()}
    for name, verb in made.items():
        settings_arguments(verb)
        verb.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port")
        verb.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port]")
        if name in ("rollback", "follow", "start"):
            kind = whole(0, SHARDS_MAX - 1)
            verb.add_argument("--shard", type=kind, metavar="N", help="this shard alone (all of them)")
    version = "as decisions name it, such as gbt1-7f3a21c0, or the hash of `list`"
    made["rollback"].add_argument("version", nargs="?", metavar="VERSION", help=f"{version} (the one before)")
    for name in ("start", "export"):
        made[name].add_argument("version", metavar="VERSION", help=version)
    for name in ("export", "import"):
        made[name].add_argument("file", type=Path, metavar="FILE", help="ends in .model, so that a replay finds it")


def run(args: argparse.Namespace) -> int:
    """Do it and say what came of it; 1 where a shard has not followed yet."""
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka, "STEWARD_REDIS": args.redis})
    return at_desk(f"steward models {args.verb}", loaded, lambda desk: _ACTIONS[args.verb](desk, args))


def at_desk(command: str, loaded: "Settings", action: "Callable[[ModelDesk], Awaitable[T]]") -> T:
    """Run something at the desk of the deployment of the settings. Raises `Unusable`."""
    import asyncio

    from engine.ports.log import LogUnavailable
    from engine.ports.store import StoreMisconfigured, StoreUnavailable
    from engine.service.model_desk import NoSuchModel
    from engine.service.model_files import ModelFilesError

    if loaded.redis.url == "embedded":
        raise Unusable(f"{command}: name the Redis (STEWARD_REDIS or --redis); an embedded one lives within `serve`")

    async def whole_of_it() -> T:
        async with _desk(loaded) as desk:
            return await action(desk)

    try:
        return asyncio.run(whole_of_it())
    except (
        LogUnavailable, ModelFilesError, NoSuchModel, OSError, StoreMisconfigured, StoreUnavailable,
    ) as error:  # fmt: skip
        raise Unusable(f"{command}: {error}") from error


@asynccontextmanager
async def _desk(loaded: "Settings") -> "AsyncIterator[ModelDesk]":
    """The desk over the store, the archive and the log of the settings."""
    from engine.adapters.kafka_reader import topic_bounds
    from engine.adapters.kafka_writer import KafkaWriter
    from engine.adapters.redis_models import RedisModels
    from engine.bootstrap import build_kafka_options, build_redis_options, build_store, unix_ms
    from engine.service.model_desk import ModelDesk

    store = build_store(loaded)
    archive = RedisModels(loaded.redis.url, prefix=loaded.redis.prefix, options=build_redis_options(loaded))
    writer = None
    try:
        await store.start()
        announcer: Announcer = _ByOrder(archive)
        shards = 1
        if loaded.kafka.url.startswith("kafka://"):
            options = build_kafka_options(loaded)
            shards = len(await topic_bounds(options, loaded.topics.events))
            announcer = writer = KafkaWriter(options)
            await writer.start()
        yield ModelDesk(store, archive, announcer, shards, unix_ms)
    finally:
        if writer is not None:
            await writer.close()
        await archive.close()
        await store.close()


class _ByOrder:
    """An `Announcer` for a `serve` without Kafka: it finds what is left for it (`engine.service.model_orders`)."""

    def __init__(self, orders: "ModelOrders") -> None:
        self._orders = orders

    async def announce(self, shard: int, record: bytes) -> None:
        """See `Announcer.announce`; returns once the order is kept."""
        await self._orders.order(record)


async def _list(desk: "ModelDesk", args: argparse.Namespace) -> int:
    print("\n".join(lines(await desk.notes(), await desk.serving())))
    return 0


def lines(notes: "list[ModelNote]", serving: "list[Serving]") -> list[str]:
    """The table of versions, the oldest first, and the shards below it."""
    from engine.domain.times import rfc3339
    from engine.ports.models import ELSEWHERE

    found = ["version          labels until          from       payments    frauds  inputs  serves in            hash"]
    for note in notes:
        shards = [one for one in serving if one.model is not None and one.model.model == note.model]
        cells = (
            note.version,
            rfc3339(note.boundary_ms)[:16],
            "elsewhere" if note.shard == ELSEWHERE else f"shard {note.shard}",
            round(note.known),
            note.frauds,
            note.inputs,
            ", ".join(f"{one.shard}{' (pinned)' if one.pinned else ''}" for one in shards) or "-",
            note.model,
        )
        found.append("{:<15}  {:<20}  {:<9}  {:>9}  {:>8}  {:>6}  {:<19}  {}".format(*cells))
    for one in serving:
        version = one.model.version if one.model is not None else "no model yet"
        behind = f", pinned; learned meanwhile: {one.learned.version}" if one.pinned and one.learned else ""
        found.append(f"shard {one.shard} serves {version}{behind}")
    return found


async def _rollback(desk: "ModelDesk", args: argparse.Namespace) -> int:
    from engine.service.model_desk import PIN

    shards = _shards(desk, args)
    if args.version is None:
        models = await desk.before(shards)
    else:
        models = dict.fromkeys(shards, await desk.find(args.version))
    return await tell(desk, PIN, dict(models))


async def _follow(desk: "ModelDesk", args: argparse.Namespace) -> int:
    from engine.service.model_desk import FOLLOW

    return await tell(desk, FOLLOW, dict.fromkeys(_shards(desk, args)))


async def _start(desk: "ModelDesk", args: argparse.Namespace) -> int:
    from engine.service.model_desk import START

    return await tell(desk, START, dict.fromkeys(_shards(desk, args), await desk.find(args.version)))


async def tell(desk: "ModelDesk", mode: str, models: "dict[int, str | None]") -> int:
    """Tell shards, wait, and say what came of it; 1 where one has not followed yet."""
    waiting = await desk.tell(mode, models, WAIT_S)
    print("\n".join(lines([], [one for one in await desk.serving() if one.shard in models])[1:]))
    for shard in waiting:
        told = "was told and has not followed yet: nobody owns it, it is behind, or it refused (then an alert says why)"
        print(f"shard {shard} {told}", file=sys.stderr)
    return 1 if waiting else 0


def _shards(desk: "ModelDesk", args: argparse.Namespace) -> list[int]:
    if args.shard is None:
        return list(range(desk.shards))
    if args.shard >= desk.shards:
        raise Unusable(f"steward models {args.verb}: there is no shard {args.shard}, only {desk.shards} of them")
    return [args.shard]


async def _export(desk: "ModelDesk", args: argparse.Namespace) -> int:
    data = await desk.read(args.version)
    write_model(args.file, data)
    print(f"{args.file}: {len(data):,} bytes")
    return 0


def write_model(path: Path, data: bytes) -> None:
    """A snapshot into a file, all of it or nothing. Raises `OSError`."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


async def _import(desk: "ModelDesk", args: argparse.Namespace) -> int:
    from engine.service.model_files import read_model

    note = await desk.bring(read_model(args.file))
    print(f"{note.version} ({note.model}) is in the archive; `steward models start {note.version}` puts it to work")
    return 0


_ACTIONS: Final = {
    "list": _list,
    "rollback": _rollback,
    "follow": _follow,
    "start": _start,
    "export": _export,
    "import": _import,
}
