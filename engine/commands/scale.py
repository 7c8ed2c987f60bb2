"""`steward scale check`: whether shards, partitions and servers fit each other."""

import argparse
import sys
from typing import TYPE_CHECKING, Final

from engine.commands.common import Unusable, settings, settings_arguments

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.service.scale import Place

SUMMARY: Final = "how the deployment is spread over partitions and servers, and whether it fits"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb and the addresses."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    check = verbs.add_parser("check", help=SUMMARY, description=f"{SUMMARY}; exits with 1 where it does not")
    settings_arguments(check)
    check.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port]")
    check.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port")


def run(args: argparse.Namespace) -> int:
    """Print a line a shard and what does not fit; 1 where something does not."""
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka, "STEWARD_REDIS": args.redis})
    import asyncio

    from engine.ports.log import LogUnavailable
    from engine.ports.store import StoreMisconfigured, StoreUnavailable
    from engine.service.scale import faults, spread

    if not loaded.kafka.url.startswith("kafka://") or "embedded" in loaded.redis.url:
        raise Unusable("steward scale check: name the Kafka and the Redis (STEWARD_KAFKA, STEWARD_REDIS)")
    try:
        places = asyncio.run(_survey(loaded))
    except (LogUnavailable, StoreMisconfigured, StoreUnavailable) as error:
        raise Unusable(f"steward scale check: {error}") from error
    partitions = sum(place.bounds is not None for place in places)
    if not partitions:
        raise Unusable(f"steward scale check: there is no topic {loaded.topics.events}; a worker creates it")
    print(f"topic {loaded.topics.events}: {partitions} partitions")
    print("\n".join(_lines(places)))
    print("shards by server: " + ", ".join(f"{node} {count}" for node, count in spread(places).items()))
    found = faults(places, partitions)
    print("\n".join(found) or "fits", file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


def _lines(places: "list[Place]") -> list[str]:
    from engine.service.marks import born_with

    lines = ["shard  born with  processed  log begins    log ends         lag  waiting to be sent"]
    for place in places:
        born = born_with(place.head)
        first, end = place.bounds[:2] if place.bounds is not None else ("-", "-")
        cells = (place.shard, "-" if born is None else born, max(0, place.head.offset), first, end, place.lag)
        lines.append("{:>5}  {:>9}  {:>9}  {:>10}  {:>10}  {:>10}  ".format(*cells) + str(len(place.head.outbox)))
    return lines


async def _survey(loaded: "Settings") -> "list[Place]":
    """Every partition of the topic, and the shards beyond them that the store holds."""
    from engine.adapters.kafka_reader import topic_bounds
    from engine.bootstrap import build_kafka_options, build_store
    from engine.service.marks import born_with
    from engine.service.scale import Place

    bounds = await topic_bounds(build_kafka_options(loaded), loaded.topics.events)
    store = build_store(loaded)
    try:
        await store.start()
        places = [Place(shard, await store.open(shard), bounds[shard], await store.node(shard)) for shard in bounds]
        beyond = max([born_with(place.head) or 0 for place in places], default=0)
        for shard in range(len(bounds), beyond):
            places.append(Place(shard, await store.open(shard), None, await store.node(shard)))
        return places
    finally:
        await store.close()
