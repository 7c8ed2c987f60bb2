"""`steward repartition`: a deployment with another number of partitions, its state kept."""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.commands.common import Unusable, settings, settings_arguments, whole

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.service.move_note import Note
    from engine.service.repartition import Report

SUMMARY: Final = "move the state to another number of partitions, under a new topic and a new key prefix"
PARTITIONS_MAX: Final = 10_000
PARTITIONERS: Final = ("murmur2", "crc32", "fnv1a")
_VERSION: Final = re.compile(r"(.*)\.v([0-9]+)")


def arguments(parser: argparse.ArgumentParser) -> None:
    """How many, where to, and what else can be done about a move."""
    settings_arguments(parser)
    verbs = parser.add_mutually_exclusive_group(required=True)
    verbs.add_argument("--partitions", type=whole(1, PARTITIONS_MAX), metavar="M", help="how many there shall be")
    verbs.add_argument("--undo", action="store_true", help="put the old state in service again, drop the new one")
    verbs.add_argument("--drop-old", metavar="PREFIX", help="delete the state that was moved into the one of now")
    parser.add_argument("--topic", metavar="NAME", help="the new input topic; by default the old name with .v2, .v3, …")
    parser.add_argument("--prefix", metavar="NAME", help="the new key prefix; by default the old one with .v2, .v3, …")
    parser.add_argument(
        "--partitioner",
        choices=PARTITIONERS,
        default=PARTITIONERS[0],
        help="by which your producers choose partitions: murmur2 (Java, Python), crc32 (librdkafka), fnv1a (sarama)",
    )
    parser.add_argument(
        "--customers", type=Path, metavar="FILE", help="ids of all customers, one a line, where at hand"
    )
    parser.add_argument(
        "--carry", action="store_true", help="copy records that are not processed to the new topic, by their keys"
    )
    parser.add_argument(
        "--wait", action="store_true", help="until all is processed and the workers are stopped; learn meanwhile"
    )
    parser.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port]")
    parser.add_argument("--redis", metavar="URL", help="redis://host:port/0, redis-cluster://host:port")


def run(args: argparse.Namespace) -> int:
    """Move, undo or drop, and say what to do next."""
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka, "STEWARD_REDIS": args.redis})
    import asyncio

    from engine.adapters.kafka_topics import TopicsMissing
    from engine.core.moving import UnknownTimer
    from engine.ports.copies import CopyLost
    from engine.ports.log import LogUnavailable
    from engine.ports.store import Fenced, StoreMisconfigured, StoreUnavailable
    from engine.service.move_note import NotReady
    from engine.service.new_heads import LayoutsApart
    from engine.service.owners import Stray

    if not loaded.kafka.url.startswith("kafka://") or "embedded" in loaded.redis.url:
        raise Unusable("steward repartition: name the Kafka and the Redis (STEWARD_KAFKA, STEWARD_REDIS)")
    try:
        asyncio.run(_run(loaded, args))
    except NotReady as error:
        raise Unusable(*(f"steward repartition: {problem}" for problem in error.problems)) from error
    except (
        CopyLost, Fenced, LayoutsApart, LogUnavailable, OSError, StoreMisconfigured, StoreUnavailable, Stray,
        TopicsMissing, UnknownTimer,
    ) as error:  # fmt: skip
        raise Unusable(f"steward repartition: {error}") from error
    return 0


def following(name: str) -> str:
    """The name of the next generation: `a` becomes `a.v2`, `a.v2` becomes `a.v3`."""
    found = _VERSION.fullmatch(name)
    return f"{found[1]}.v{int(found[2]) + 1}" if found else f"{name}.v2"


async def _run(loaded: "Settings", args: argparse.Namespace) -> None:
    from engine.bootstrap import build_generation
    from engine.service.move_ends import drop_old, undo
    from engine.service.move_note import Note

    prefix, topic = loaded.redis.prefix, loaded.topics.events
    note = Note("from", prefix, args.prefix or following(prefix), args.topic or following(topic), args.partitions or 0)
    if note.after == prefix or note.topic == topic:
        raise Unusable("steward repartition: the new topic and the new prefix have other names than the old ones")
    here = build_generation(loaded, prefix)
    other = build_generation(loaded, args.drop_old or note.after)
    try:
        if args.drop_old:
            await drop_old(other, here, args.drop_old, prefix)
            print(f"the state under {args.drop_old} is deleted; delete its topic yourself when nothing needs it")
        elif args.undo:
            await undo(here, other)
            print(f"{prefix} is in service again, {note.after} is deleted; let producers write to {topic}")
        else:
            await _move(loaded, args, note)
    finally:
        await here.close()
        await other.close()


async def _move(loaded: "Settings", args: argparse.Namespace, note: "Note") -> None:
    import asyncio

    from engine.adapters.kafka_past import KafkaPast
    from engine.bootstrap import build_generation, build_kafka_options
    from engine.service.repartition import Move

    await _see_to(loaded, note)
    old, new = build_generation(loaded, note.before), build_generation(loaded, note.after)
    past = KafkaPast(build_kafka_options(loaded), note.topic, args.customers)
    try:
        move = Move(
            old,
            new,
            past,
            note,
            partitioner=args.partitioner,
            take_along=args.carry,
            say=lambda line: print(line, file=sys.stderr),
        )
        _tell(note, await move.run(asyncio.sleep if args.wait else None), loaded.topics.events)
    finally:
        await past.close()
        await old.close()
        await new.close()


async def _see_to(loaded: "Settings", note: "Note") -> None:
    """The new topic is there, whole. Raises `NotReady`."""
    from engine.adapters.kafka_reader import topic_bounds
    from engine.adapters.kafka_topics import ensure_input
    from engine.bootstrap import build_kafka_options
    from engine.service.move_note import NotReady

    options = build_kafka_options(loaded)
    partitions = await ensure_input(options, note.topic, note.partitions)
    if partitions != note.partitions:
        raise NotReady(f"topic {note.topic} has {partitions} partitions, not {note.partitions}: name another (--topic)")
    begun = [shard for shard, bounds in (await topic_bounds(options, note.topic)).items() if bounds.first]
    if begun:
        raise NotReady(f"topic {note.topic} no longer has its first records: take a new one (--topic)")


def _tell(note: "Note", report: "Report", topic: str) -> None:
    keys, seconds = report.keys, report.seconds
    lines = [
        f"{report.written} keys written, {report.customers} customers known by name",
        f"{keys['known']} keys had one place to go, {keys['shared']} were logs of shared entities",
        f"{keys['spread']} keys of customers nobody named went to each shard these may come to",
        f"{keys['stale']} such copies of an earlier move were left behind",
        *([f"{report.carried} records that were not processed are on {note.topic}"] if report.carried else []),
        f"learned whose they are in {seconds['learn']:.1f} s, out of service for {seconds['closed']:.1f} s",
        *(f"note: {remark}" for remark in report.remarks),
        f"now set STEWARD_REDIS_PREFIX={note.after} and STEWARD_TOPICS_EVENTS={note.topic} for every worker and serve,",
        f"let every producer write to {note.topic} instead of {topic}, and start the workers;",
        f"when all is well: steward repartition --drop-old {note.before}",
    ]
    print("\n".join(lines))
