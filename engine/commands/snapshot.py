"""`steward snapshot`: a copy of the whole state, taken while the engine runs."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.commands.common import Unusable, settings, settings_arguments

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.ports.copies import Manifest

SUMMARY: Final = "copy the state into a directory, to rebuild a lost store from; the engine goes on meanwhile"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where from and where to."""
    settings_arguments(parser)
    store_arguments(parser)


def store_arguments(parser: argparse.ArgumentParser) -> None:
    """The store and the directory, for `snapshot` and `rebuild`."""
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where snapshots are kept (snapshots.directory)")
    parser.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port")


def store_settings(args: argparse.Namespace) -> "tuple[Settings, Path]":
    """Settings with a store that can be reached, and the directory. Raises `Unusable`."""
    loaded = settings(args, {"STEWARD_REDIS": args.redis, "STEWARD_SNAPSHOTS_DIRECTORY": args.directory})
    command = f"steward {args.command}"
    if loaded.redis.url == "embedded":
        raise Unusable(f"{command}: name the Redis (STEWARD_REDIS or --redis); an embedded one lives within `serve`")
    if loaded.snapshots.directory is None:
        raise Unusable(f"{command}: name the directory (STEWARD_SNAPSHOTS_DIRECTORY or --directory)")
    return loaded, loaded.snapshots.directory


def run(args: argparse.Namespace) -> int:
    """Take one, delete those that are too many, and say what it holds."""
    loaded, directory = store_settings(args)
    import asyncio

    from engine.ports.copies import CopyLost
    from engine.ports.store import StoreMisconfigured, StoreUnavailable
    from engine.service.snapshots import NothingStored

    try:
        manifest = asyncio.run(_take(loaded, directory))
    except (CopyLost, NothingStored, StoreMisconfigured, StoreUnavailable, OSError) as error:
        raise Unusable(f"steward snapshot: {error}") from error
    offsets = ", ".join(f"{shard} at {offset}" for shard, offset in manifest.offsets.items())
    print(f"{manifest.name}: {manifest.keys} keys in {manifest.seconds:.2f} s; shards by offset: {offsets}")
    return 0


async def _take(loaded: "Settings", directory: Path) -> "Manifest":
    from engine.adapters.clocks import SystemClock
    from engine.adapters.snapshot_files import SnapshotDirectory
    from engine.bootstrap import build_copies, build_store, unix_ms
    from engine.service.snapshots import take

    store, copies, shelf = build_store(loaded), build_copies(loaded), SnapshotDirectory(directory)
    try:
        await store.start()
        manifest = await take(store, copies, shelf, SystemClock(), unix_ms)
        shelf.prune(loaded.snapshots.keep)
        return manifest
    finally:
        await copies.close()
        await store.close()
