"""`steward dead-letters`: what was refused, and another chance for what would be taken now."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

from engine.commands.common import Unusable, lines_of, settings, settings_arguments, usable_rules, whole

if TYPE_CHECKING:
    from engine.config import Settings
    from engine.domain.outputs import DeadLetter
    from engine.service.letters import Judged

SUMMARY: Final = "list refused records, or give those that would be taken now another chance"
LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 1_000_000
FILE: Final = "dead_letters.ndjson"
WAY_HEADER: Final = "steward-replayed-from"


class _Raw(NamedTuple):
    """A refused record as it lies at its place."""

    key: bytes | None
    value: bytes | None


def arguments(parser: argparse.ArgumentParser) -> None:
    """A verb, and where the dead letters are."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    texts = {
        "list": "show dead letters, and how many of each reason",
        "replay": "read the refused records again where they came from; send those on that would be taken now",
    }
    for name, text in texts.items():
        verb = verbs.add_parser(name, help=text, description=text)
        settings_arguments(verb)
        verb.add_argument(
            "source", nargs="?", metavar="FILE|DIR", help=f"{FILE}, or what a replay wrote (the Kafka topic)"
        )
        verb.add_argument("--kafka", metavar="URL", help="kafka://host:port[,host:port]")
        verb.add_argument("--reason", metavar="CODE", help="only of this reason")
        verb.add_argument(
            "--limit", type=whole(1, LIMIT_MAX), metavar="N", default=LIMIT_DEFAULT if name == "list" else LIMIT_MAX,
            help="at most so many",
        )  # fmt: skip
        if name == "replay":
            verb.add_argument(
                "--out", metavar="FILE", help="write the records here (- for standard output), not to Kafka"
            )
            verb.add_argument("--dry-run", action="store_true", help="only say what would be sent")


def run(args: argparse.Namespace) -> int:
    """List or replay; 1 where a record that would be taken could not be sent."""
    loaded = settings(args, {"STEWARD_KAFKA": args.kafka})
    from engine.ports.log import LogUnavailable
    from engine.service.letters import count

    try:
        letters = [letter for letter in _letters(args.source, loaded) if args.reason in (None, letter.reason)]
        if args.verb == "list":
            _show(letters[: args.limit])
            print(f"{len(letters)} dead letters" + "".join(f"\n{n:>8}  {reason}" for reason, n in count(letters)))
            return 0
        return _replay(letters[: args.limit], loaded, args)
    except LogUnavailable as error:
        raise Unusable(f"steward dead-letters: {error}") from error


def _letters(source: str | None, loaded: "Settings") -> Iterator["DeadLetter"]:
    """The dead letters of a file, of a replay's directory, or of the topic."""
    from engine.service.letters import parse

    for place, line in _lines(source, loaded):
        try:
            yield parse(line)
        except ValueError as error:
            raise Unusable(f"steward dead-letters: {place}: not a dead letter: {error}") from error


def _lines(source: str | None, loaded: "Settings") -> Iterator[tuple[str, bytes]]:
    if source is None:
        import asyncio

        yield from asyncio.run(_topic(loaded))
        return
    yield from lines_of(source, FILE, "steward dead-letters")


async def _topic(loaded: "Settings") -> list[tuple[str, bytes]]:
    from engine.adapters.kafka_reader import read_topic
    from engine.bootstrap import build_kafka_options

    if not loaded.kafka.url.startswith("kafka://"):
        raise Unusable("steward dead-letters: name a file or directory, or a Kafka (--kafka, STEWARD_KAFKA)")
    topic = loaded.topics.dead_letters
    found = read_topic(build_kafka_options(loaded), topic)
    return [(f"{topic}/{partition}/{record.offset}", record.value or b"") async for partition, record in found]


def _show(letters: Sequence["DeadLetter"]) -> None:
    from engine.service.letters import place

    for letter in letters:
        print(f"{place(letter)}  {letter.reason}: {letter.detail}\n    {letter.raw_redacted[:160]}")


def _replay(letters: Sequence["DeadLetter"], loaded: "Settings", args: argparse.Namespace) -> int:
    import asyncio

    from engine.core.decode import Decoder
    from engine.partitions import core_settings
    from engine.service.letters import READY, judge, place

    with usable_rules():
        decoder: Decoder = Decoder(core_settings(loaded).rates)
    raws = _originals(letters, loaded)
    judged = [judge(letter, raw.value, decoder) for letter, raw in zip(letters, raws, strict=True)]
    ready = [(place(one.letter), raw) for one, raw in zip(judged, raws, strict=True) if one.state == READY]
    if not args.dry_run:
        if args.out is not None:
            _write([raw for _, raw in ready], args.out)
        else:
            asyncio.run(_send(ready, loaded))
    _tell(judged, "would be sent" if args.dry_run else "sent")
    return 0


def _originals(letters: Sequence["DeadLetter"], loaded: "Settings") -> list[_Raw]:
    """The refused records, out of the files and topics they came from."""
    found: dict[tuple[object, ...], _Raw] = {}
    topics = [tuple(letter.source[name] for name in _KAFKA) for letter in letters if "topic" in letter.source]
    if topics:
        import asyncio

        from engine.adapters.kafka_reader import read_records
        from engine.bootstrap import build_kafka_options

        for key, record in asyncio.run(read_records(build_kafka_options(loaded), topics)).items():
            found[key] = _Raw(record.key, record.value)
    wanted: dict[str, set[int]] = {}
    for letter in letters:
        if "file" in letter.source:
            wanted.setdefault(letter.source["file"], set()).add(letter.source["line"])
    for name, lines in wanted.items():
        found.update(_from_file(name, lines))
    return [found.get(_key(letter), _Raw(None, None)) for letter in letters]


_KAFKA: Final = ("topic", "partition", "offset")


def _key(letter: "DeadLetter") -> tuple[object, ...]:
    names = _KAFKA if "topic" in letter.source else ("file", "line")
    return tuple(letter.source.get(name) for name in names)


def _from_file(name: str, lines: set[int]) -> dict[tuple[object, ...], _Raw]:
    from engine.adapters.files import SourceError, open_source

    try:
        with open_source(name) as source:
            return {
                (name, line): _Raw(None, record)
                for chunk in source
                for line, record in zip(chunk.lines, chunk.records, strict=True)
                if line in lines
            }
    except SourceError as error:
        print(f"steward dead-letters: {error}", file=sys.stderr)
        return {}


def _write(records: Sequence[_Raw], name: str) -> None:
    if name == "-":
        _lines_to(sys.stdout.buffer, records)
        return
    try:
        with Path(name).open("xb") as file:
            _lines_to(file, records)
    except OSError as error:
        raise Unusable(f"steward dead-letters: {name}: {error.strerror}") from error


def _lines_to(file: BinaryIO, records: Sequence[_Raw]) -> None:
    for record in records:
        file.write((record.value or b"").replace(b"\n", b" ") + b"\n")
    file.flush()


async def _send(ready: Sequence[tuple[str, _Raw]], loaded: "Settings") -> None:
    """Append the records to the log under their own keys; those that had none, under their customer."""
    import orjson

    from engine.adapters.kafka_writer import KafkaWriter
    from engine.bootstrap import build_kafka_options

    if not ready:
        return
    if not loaded.kafka.url.startswith("kafka://"):
        raise Unusable("steward dead-letters: where to? Name a Kafka (--kafka, STEWARD_KAFKA), or a file (--out)")
    writer = KafkaWriter(build_kafka_options(loaded))
    await writer.start()
    try:
        for origin, raw in ready:
            value = raw.value or b""
            key = raw.key or str(orjson.loads(value).get("customer_id", "")).encode()
            await writer.write(key, value, [(WAY_HEADER, origin.encode())])
    finally:
        await writer.close()


def _tell(judged: Sequence["Judged"], done: str) -> None:
    from engine.service.letters import READY, place

    left = [one for one in judged if one.state != READY]
    for one in left:
        print(f"{place(one.letter)}  {one.state}: {one.told}", file=sys.stderr)
    print(f"{len(judged) - len(left)} of {len(judged)} records {done}; {len(left)} stay", file=sys.stderr)
