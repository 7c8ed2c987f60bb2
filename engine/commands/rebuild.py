"""`steward rebuild`: a lost store, put back from a snapshot; workers then read the log from there."""

import argparse
from typing import TYPE_CHECKING, Final

from engine.commands.common import Unusable, settings_arguments
from engine.commands.snapshot import store_arguments, store_settings

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import Settings
    from engine.ports.copies import Manifest

SUMMARY: Final = "put the state back from a snapshot; workers and serve then go on from the log"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Where from and where to."""
    settings_arguments(parser)
    store_arguments(parser)
    parser.add_argument(
        "--name", default="", metavar="SNAPSHOT", help="which one, by its folder; the newest by default"
    )
    parser.add_argument(
        "--replace", action="store_true", help="also where the store holds shards: what they hold is lost"
    )
    parser.add_argument(
        "--no-journal", action="store_true", help="do not read back the events that serve took after the snapshot"
    )


def run(args: argparse.Namespace) -> int:
    """Put it back and say how long that took."""
    loaded, directory = store_settings(args)
    import asyncio

    from engine.ports.copies import DamagedSnapshot, ShardThere
    from engine.ports.store import StoreMisconfigured, StoreUnavailable
    from engine.service.snapshots import NothingStored

    try:
        manifest, seconds = asyncio.run(_restore(loaded, directory, args))
    except ShardThere as error:
        raise Unusable(f"steward rebuild: {error}; --replace puts the snapshot in its place") from error
    except (DamagedSnapshot, NothingStored, StoreMisconfigured, StoreUnavailable, OSError) as error:
        raise Unusable(f"steward rebuild: {error}") from error
    print(f"{manifest.name}: {manifest.keys} keys are back after {seconds:.2f} s")
    for shard, offset in manifest.offsets.items():
        print(f"shard {shard} goes on at offset {max(0, offset)}")
    return 0


async def _restore(loaded: "Settings", directory: "Path", args: argparse.Namespace) -> "tuple[Manifest, float]":
    from engine.adapters.clocks import SystemClock
    from engine.adapters.snapshot_files import SnapshotDirectory
    from engine.bootstrap import build_copies, build_store
    from engine.service.snapshots import restore

    store, copies = build_store(loaded), build_copies(loaded)
    try:
        await store.start()
        return await restore(
            copies,
            SnapshotDirectory(directory),
            SystemClock(),
            name=args.name,
            replace=args.replace,
            journal=not args.no_journal,
        )
    finally:
        await copies.close()
        await store.close()
